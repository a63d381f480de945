"""Composed configurations -> typed ones, refused where they are wrong; and what typed ones are good for."""

import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import omegaconf
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from lamella.config.schema import Config, Target
from lamella.config.words import hints_of, in_words, kind_and_key, plain_group, suggestion, target_class
from lamella.errors import ConfigError

Schema = TypeVar("Schema")


@overload
def check(cfg: DictConfig) -> Config: ...
@overload
def check(cfg: DictConfig, schema: type[Schema]) -> Schema: ...
def check(cfg: DictConfig, schema: type[Any] = Config) -> Any:
    """The typed configuration: a composed one, resolved and held to its command's schema.

    Args:
        cfg: as Hydra composed it, or as `plain` gave it.
        schema: the dataclass that says which keys there are.

    Returns:
        An instance of `schema` with every value converted to its type.

    Raises:
        ConfigError: a key that does not exist (also one added by `+key=`), a missing or wrong value.
    """
    for name, hint in hints_of(schema).items():
        if target_class(hint) and isinstance(cfg.get(name), DictConfig) and "_target_" not in cfg[name]:
            raise ConfigError(f"{name}._target_ has no value", f"Choose one: {name}=NAME; `--help` lists them.")
    # Whatever the data has to say later, the rest can be checked now, with stand-ins.
    complete = settle(cfg, channels=1, classes=2)
    try:
        resolved: Any = OmegaConf.to_container(complete, resolve=True, throw_on_missing=True)
    except omegaconf.MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value", f"Set it: {error.full_key}=VALUE.") from error
    except omegaconf.errors.OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    if left_open := _left_open(cfg):
        resolved["dataset"].update(dict.fromkeys(left_open))
    return _value(resolved, schema, "")


def settle(cfg: DictConfig, *, channels: int, classes: int) -> DictConfig:
    """A copy of the configuration with what only the data could say, where the dataset left it open.

    Args:
        cfg: unresolved, so that all that follows from the dataset follows.
        channels: for `dataset.in_channels`.
        classes: for `dataset.num_classes`.
    """
    values = {"in_channels": channels, "num_classes": classes}
    filled = copy.deepcopy(cfg)
    with omegaconf.read_write(filled), omegaconf.open_dict(filled):
        for name in _left_open(cfg):
            filled.dataset[name] = values[name]
    return filled


def build(node: Target, *arguments: Any) -> Any:
    """What the function returns that a node names, called with the node's arguments after those given here.

    Raises:
        ConfigError: the node, which a checkpoint may hold, names something else than a function of Lamella.
    """
    return _function(node.target, "")(*arguments, **{name: _built(value) for name, value in node.arguments.items()})


def kept(node: Mapping[str, Any]) -> Target:
    """The node of a kept run, of those of its keys that its function takes today; they were checked back then.

    Raises:
        ConfigError: it names something else than a function of Lamella.
    """
    wanted = _keyword_only(_function(node.get("_target_"), ""))
    return Target(node["_target_"], {name: value for name, value in node.items() if name in wanted})


def plain(node: Any) -> Any:
    """A typed configuration, or a node of one, as YAML has it: dictionaries, lists and values, `_target_` first."""
    if dataclasses.is_dataclass(node):
        values = dict(vars(node))
        if isinstance(node, Target):
            arguments = values.pop("arguments")
            values = {"_target_": values.pop("target"), **values, **arguments}
        node = values
    return {name: plain(value) for name, value in node.items()} if isinstance(node, dict) else node


def flat(cfg: Any, path: str = "") -> dict[str, Any]:
    """A typed configuration as one level of dotted keys below `path`; lists and empty groups stay whole."""
    node = plain(cfg)
    if not (isinstance(node, dict) and node):
        return {path: node}
    place = f"{path}." if path else ""
    return {key: value for name, each in node.items() for key, value in flat(each, f"{place}{name}").items()}


def as_yaml(cfg: Any, *, sort_keys: bool = False) -> str:
    """A typed configuration as the text of a YAML file."""
    return OmegaConf.to_yaml(plain(cfg), sort_keys=sort_keys)


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _built(each) for name, each in value.items()}
    return build(value) if isinstance(value, Target) else value


def _left_open(cfg: DictConfig) -> list[str]:
    """What the dataset leaves for the data to say."""
    dataset = cfg.get("dataset")
    names = ("in_channels", "num_classes") if isinstance(dataset, DictConfig) else ()
    return [name for name in names if name in dataset and dataset[name] is None]


def _target(node: Any, schema: type[Target], path: str) -> Target:
    """One mapping with a `_target_`, held to that function's keyword-only arguments and the keys of `schema`."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path} must be a group of keys; got {node!r}")
    own = _keyword_only(_function(node.get("_target_"), f"{path}."))
    shared = {name: hint for name, hint in hints_of(schema).items() if name not in ("target", "arguments")}
    values = _values({name: value for name, value in node.items() if name != "_target_"}, shared | own, path)
    arguments = {name: values[name] for name in own}
    return schema(node["_target_"], arguments, **{name: values[name] for name in shared})


def _made(node: Any, made: Any, path: str) -> Target:
    """One mapping with a `_target_` that must return what an argument takes: a loss among the parts of a sum."""
    target = _target(node, Target, path)
    if typing.get_type_hints(_function(target.target, f"{path}.")).get("return") is not made:
        raise ConfigError(f"{path}._target_ must name a function that makes a {made.__name__}, got {target.target!r}")
    return target


def _values(node: Any, hints: dict[str, Any], path: str) -> dict[str, Any]:
    """The values of one mapping, each held to its annotation; all must be there, and nothing else."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path} must be a group of keys; got {node!r}")
    place = f"{path}." if path else ""
    for name in node:
        if name not in hints:
            raise ConfigError(f"there is no key {f'{place}{name}'!r}", suggestion(str(name), hints))
    for name in hints:
        if name not in node:
            raise ConfigError(f"{place}{name} has no value", f"Set it: {place}{name}=VALUE.")
    return {name: _value(node[name], hint, place + name) for name, hint in hints.items()}


def _value(value: Any, hint: Any, full: str) -> Any:
    """One value held to its annotation, depth first, and converted as OmegaConf converts."""
    if group := plain_group(hint):
        return group(**_values(value, hints_of(group), full))
    if target := target_class(hint):
        # Null stands for a group of which nothing was chosen, where nothing has to be.
        return None if value is None and type(None) in typing.get_args(hint) else _target(value, target, full)
    kind, key = kind_and_key(hint)
    refused = ConfigError(f"{full} must be {in_words(kind, key)}; got {value!r}")
    if typing.get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise refused
        made = typing.get_args(kind)[1]
        return {name: each if made is Any else _made(each, made, f"{full}.{name}") for name, each in value.items()}
    holder = OmegaConf.structured(_holder(kind))
    try:
        holder["value"] = value
    except omegaconf.errors.OmegaConfBaseException as error:
        raise refused from error
    converted = OmegaConf.to_container(holder)["value"]  # type: ignore[call-overload, index]
    if not key.allows(converted):
        raise refused
    return converted


@functools.cache
def _holder(kind: Any) -> type:
    """A dataclass with one value of a type, for OmegaConf to convert to."""
    return dataclasses.make_dataclass("value", [("value", kind)])


def _function(target: Any, path: str) -> Callable[..., Any]:
    """What a `_target_` names. The one gate: only functions and classes that Lamella itself defines may be named."""
    try:
        found = get_object(target) if isinstance(target, str) and target.startswith("lamella.") else None
    except Exception as error:  # Hydra raises what the import raised
        raise ConfigError(f"{path}_target_: there is no function {target}") from error
    # What a module of ours merely imports (lamella.config.check.Target) is not ours.
    if not callable(found) or not str(getattr(found, "__module__", "")).startswith("lamella."):
        raise ConfigError(f"{path}_target_ must name a function of lamella, got {target!r}")
    return typing.cast(Callable[..., Any], found)


def _keyword_only(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's keyword-only arguments and their annotations."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}
