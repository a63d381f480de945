"""Composed configurations -> typed ones, refused where they are wrong; and what typed ones are good for."""

import contextlib
import copy
import dataclasses
import functools
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Annotated, Any, Literal, TypeVar, overload

import omegaconf
from omegaconf import DictConfig, OmegaConf

from lamella.config import plugins
from lamella.config.key import Texts
from lamella.config.paths import at_home, refuse_secrets
from lamella.config.schema import Config, LossTarget, Target
from lamella.config.words import hints_of, in_words, kind_and_key, plain_group, suggestion, target_class
from lamella.errors import ConfigError, LamellaError

Schema = TypeVar("Schema")


@overload
def check(cfg: DictConfig | Mapping[str, Any], *, unused: Sequence[str] = ()) -> Config: ...
@overload
def check(cfg: DictConfig | Mapping[str, Any], schema: type[Schema], unused: Sequence[str] = ()) -> Schema: ...
def check(cfg: DictConfig | Mapping[str, Any], schema: type[Any] = Config, unused: Sequence[str] = ()) -> Any:
    """The typed configuration: a composed one, resolved and held to its command's schema.

    What its keys `plugins` and `trust` name is imported; whoever composed it answers for that.

    Args:
        cfg: as Hydra composed it; or plain, as `plain` gave it: then no interpolation in it is looked at.
        schema: the dataclass that says which keys there are.
        unused: nodes that will not be built, so that code of somebody else's in them need not be trusted.

    Returns:
        An instance of `schema` with every value converted to its type.

    Raises:
        ConfigError: a key that does not exist (also one added by `+key=`), a missing or wrong value.
    """
    for name, hint in hints_of(schema).items():
        if target_class(hint) and isinstance(node := cfg.get(name), DictConfig | dict) and "_target_" not in node:
            raise ConfigError(f"{name}._target_ has no value", f"Choose one: {name}=NAME; `--help` lists them.")
    left_open = _left_open(cfg)
    # Whatever the data has to say later, the rest can be checked now, with stand-ins.
    complete = settle(cfg, channels=1, classes=2)
    if isinstance(complete, DictConfig):
        try:
            resolved: Any = OmegaConf.to_container(complete, resolve=True, throw_on_missing=True)
        except omegaconf.MissingMandatoryValue as error:
            raise ConfigError(f"{error.full_key} has no value", f"Set it: {error.full_key}=VALUE.") from error
        except omegaconf.errors.OmegaConfBaseException as error:
            raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    else:
        resolved = complete
    if left_open:
        resolved["dataset"].update(dict.fromkeys(left_open))
    named = {key: resolved.get(key) for key in ("plugins", "trust") if key in hints_of(schema)}
    modules = [
        module
        for key, names in named.items()
        if isinstance(names, list)  # else refused below
        for module in plugins.load([str(name) for name in names], key)
    ]
    return _Checker(tuple(modules), tuple(unused)).value(resolved, schema, "")


@overload
def settle(cfg: DictConfig, *, channels: int, classes: int) -> DictConfig: ...
@overload
def settle(cfg: DictConfig | Mapping[str, Any], *, channels: int, classes: int) -> DictConfig | Mapping[str, Any]: ...
def settle(cfg: DictConfig | Mapping[str, Any], *, channels: int, classes: int) -> DictConfig | Mapping[str, Any]:
    """A copy of the configuration with what only the data could say, where the dataset left it open.

    Args:
        cfg: unresolved, so that all that follows from the dataset follows; or plain.
        channels: for `dataset.in_channels`.
        classes: for `dataset.num_classes`.
    """
    values = {"in_channels": channels, "num_classes": classes}
    filled = copy.deepcopy(cfg)
    with contextlib.ExitStack() as opened:
        if isinstance(filled, DictConfig):
            opened.enter_context(omegaconf.read_write(filled))
            opened.enter_context(omegaconf.open_dict(filled))
        for name in _left_open(cfg):
            filled["dataset"][name] = values[name]
    return filled


def build(node: Target, *arguments: Any, **offered: Any) -> Any:
    """What the function returns that a node names.

    Args:
        node: made by `check` or `kept`, which saw to it that its function may be called.
        arguments: in front of the node's own.
        offered: given to a function that has arguments of these names.

    Raises:
        ConfigError: a user's own function raised something; its traceback is in the message.
    """
    own = {name: _built(value) for name, value in node.arguments.items()}
    try:
        taken = inspect.signature(node.function).parameters
        return node.function(*arguments, **{name: offered[name] for name in offered if name in taken}, **own)
    except (LamellaError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if is_foreign(node) and (isinstance(error, Exception) or plugins.is_exit(error)):
            raise plugins.failed(node.target, error) from error
        raise


def kept(node: Any, schema: type[Target], modules: Sequence[str] = ()) -> Target:
    """The node of a kept run, of those of its keys that its function takes today.

    Args:
        node: plain, as a checkpoint holds it.
        schema: the kind of node.
        modules: plug-ins that it may name.

    Raises:
        ConfigError: it names something else than a function of Lamella or of a plug-in that may be named.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"a group of keys with a _target_ was expected; got {node!r}")
    checker = _Checker(tuple(modules))
    function = checker.function(node.get("_target_"), "", schema)
    own = checker.keys(function, str(node["_target_"]), "", schema)
    return Target(node["_target_"], checker.arguments(node, own, node["_target_"], ""), function=function)


def plain(node: Any) -> Any:
    """A typed configuration, or a node of one, as YAML has it: dictionaries, lists and values, `_target_` first."""
    if dataclasses.is_dataclass(node):
        values = dict(vars(node))
        if isinstance(node, Target):
            arguments, target = values.pop("arguments"), values.pop("target")
            del values["function"]
            values = {"_target_": target, **values, **arguments}
        node = values
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
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


def targets(cfg: Any) -> dict[str, Target]:
    """Every node of a typed configuration that names a function: its dotted key -> the node."""
    found: dict[str, Target] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Target):
            found[path] = node
        if dataclasses.is_dataclass(node):
            node = dict(vars(node))
            node |= node.pop("arguments", {})
        if isinstance(node, list):
            node = dict(enumerate(node))
        if isinstance(node, dict):
            for name, value in node.items():
                walk(value, f"{path}.{name}" if path else str(name))

    walk(cfg, "")
    return found


def is_foreign(node: Target) -> bool:
    """Whether a node's function is a user's own."""
    return not node.target.startswith("lamella.")


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _built(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_built(each) for each in value]
    return build(value) if isinstance(value, Target) else value


def _left_open(cfg: DictConfig | Mapping[str, Any]) -> list[str]:
    """What the dataset leaves for the data to say."""
    dataset = cfg.get("dataset")
    if not isinstance(dataset, DictConfig | dict):
        return []
    return [name for name in ("in_channels", "num_classes") if name in dataset and dataset[name] is None]


@dataclasses.dataclass(frozen=True)
class _Checker:
    """Values held to annotations, depth first.

    Attributes:
        modules: plug-ins whose functions a `_target_` may name.
        unused: nodes that will not be built: of them a function that is not Lamella's own is not looked for.
    """

    modules: tuple[str, ...]
    unused: tuple[str, ...] = ()

    def value(self, value: Any, hint: Any, full: str) -> Any:
        """One value held to its annotation, and converted as OmegaConf converts."""
        if group := plain_group(hint):
            return group(**self.values(value, hints_of(group), full))
        if kind := target_class(hint):
            # Null stands for a group of which nothing was chosen, where nothing has to be.
            return None if value is None and type(None) in typing.get_args(hint) else self.target(value, kind, full)
        kind, key = kind_and_key(hint)
        refused = ConfigError(f"{full} must be {in_words(kind, key)}; got {value!r}")
        if typing.get_origin(kind) is dict:
            if not isinstance(value, Mapping):
                raise refused
            made = typing.get_args(kind)[1]
            if made is Any:
                return dict(value)
            return {name: self.made(each, made, f"{full}.{name}") for name, each in value.items()}
        either: Any = list[str] if isinstance(value, list) else str | None  # OmegaConf knows no type for both
        holder = OmegaConf.structured(_holder(either if kind == Texts else kind))
        try:
            # Interpolations are resolved by now, or stand in a file that must not run any: OmegaConf shall see none.
            holder["value"] = _swapped(value, "${", "\0{")
        except (omegaconf.errors.OmegaConfBaseException, OverflowError) as error:
            raise refused from error
        converted = _swapped(OmegaConf.to_container(holder)["value"], "\0{", "${")  # type: ignore[call-overload, index]
        if not key.allows(converted):
            raise refused
        if key.path and isinstance(converted, str):
            refuse_secrets(converted, full)
            return at_home(converted)
        return converted

    def values(self, node: Any, hints: dict[str, Any], path: str) -> dict[str, Any]:
        """The values of one mapping, each held to its annotation; all must be there, and nothing else."""
        self._nothing_else(node, hints, path)
        place = f"{path}." if path else ""
        for name in hints:
            if name not in node:
                raise ConfigError(f"{place}{name} has no value", f"Set it: {place}{name}=VALUE.")
        return {name: self.value(node[name], hint, place + name) for name, hint in hints.items()}

    def target(self, node: Any, schema: type[Target], path: str) -> Target:
        """One mapping with a `_target_`, held to the arguments of that function and the keys of `schema`."""
        if not isinstance(node, Mapping):
            raise ConfigError(f"{path} must be a group of keys; got {node!r}")
        name = str(node.get("_target_"))
        if path in self.unused and not name.startswith("lamella."):
            rest = {key: value for key, value in node.items() if key != "_target_"}
            return schema(name, rest, function=_not_run)
        function = self.function(node.get("_target_"), f"{path}.", schema)
        of_target = {each.name for each in dataclasses.fields(Target)}
        shared = {key: hint for key, hint in hints_of(schema).items() if key not in of_target}
        own = self.keys(function, name, f"{path}.", schema)
        rest = {key: value for key, value in node.items() if key != "_target_"}
        for each in dataclasses.fields(schema):  # keys that were added since files of users' own were written
            if each.name in shared and each.default is not dataclasses.MISSING:
                rest.setdefault(each.name, each.default)
        # What a user's own function takes of the keys that every such node has (a name), it is given, too.
        self._nothing_else(rest, shared | own, path)
        values = self.values({key: rest[key] for key in shared if key in rest}, shared, path)
        return schema(name, self.arguments(rest, own, name, path), function=function, **values)

    def arguments(self, node: Mapping[str, Any], own: Mapping[str, Parameter], name: str, path: str) -> dict[str, Any]:
        """The arguments of a function, held to its signature: of ours all must be there, others have defaults."""
        place = f"{path}." if path else ""
        if name.startswith("lamella."):
            there = {key: node[key] for key in own if key in node}
            return self.values(there, {key: each.annotation for key, each in own.items()}, path)
        values = {key: self.foreign(node, each, f"{place}{key}") for key, each in own.items()}
        return {key: value for key, value in values.items() if value is not _LEFT}

    def made(self, node: Any, made: Any, path: str) -> Target:
        """One mapping with a `_target_` that must return what is asked for: a loss among the parts of a sum."""
        if issubclass(made, Target):
            return self.target(node, made, path)
        target = self.target(node, LossTarget, path)
        if not is_foreign(target) and typing.get_type_hints(target.function).get("return") is not made:
            problem = f"{path}._target_ must name a function that makes a {made.__name__}, got {target.target!r}"
            raise ConfigError(problem)
        return target

    def foreign(self, node: Mapping[str, Any], parameter: inspect.Parameter, path: str) -> Any:
        """The value of one argument of a user's own function; its default where the node has none."""
        name, hint, default = parameter.name, parameter.annotation, parameter.default
        if name not in node:
            if default is inspect.Parameter.empty:
                raise ConfigError(f"{path} has no value", f"Set it: {path}=VALUE.")
            # A default that YAML can write is written down with the run; any other is the function's own affair.
            return default if _is_plain(default) else _LEFT
        value = node[name]
        if value is None and default is None:
            return None
        return self.value(value, hint, path) if _is_known(hint) else self.nested(value, path)

    def nested(self, value: Any, path: str) -> Any:
        """A value of any kind, in which mappings with a `_target_` stand for what their functions return."""
        if isinstance(value, Mapping):
            if "_target_" in value:
                return self.target(value, Target, path)
            return {name: self.nested(each, f"{path}.{name}") for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.nested(each, f"{path}.{number}") for number, each in enumerate(value)]
        return value

    def function(self, name: Any, path: str, schema: type[Target]) -> Callable[..., Any]:
        """What a `_target_` names. The one gate: what the node's home exports, or what a plug-in defines."""
        place, home = f"{path}_target_", schema.home
        ours = isinstance(name, str) and name.startswith("lamella.")
        refused = ConfigError(f"{place} must name a function of {home or 'a plug-in'}, got {name!r}")
        if not isinstance(name, str) or "." not in name or not all(part.isidentifier() for part in name.split(".")):
            raise refused
        if (ours or not schema.plugins) and name.rpartition(".")[0] != home:
            raise refused  # not what the package exports, but what lies below it
        owner = home if ours else plugins.owner(name, self.modules)
        if owner is None:
            module = name.rpartition(".")[0]
            raise ConfigError(
                f"{place} names {name!r}, which is not Lamella's own",
                f"It is run only if you say on the command line that you trust it: plugins=[{module}], or its "
                "file, plugins=[path/to/file.py].",
            )
        try:
            found = pkgutil.resolve_name(name)
        except (AttributeError, ModuleNotFoundError, ValueError) as error:
            if isinstance(error, ModuleNotFoundError) and not name.startswith(f"{error.name}"):
                raise plugins.broken(name, place, error) from error
            of = vars(sys.modules[owner]) if owner in sys.modules and not ours else ()
            near = suggestion(name.rpartition(".")[2], [each for each in of if not each.startswith("_")])
            raise ConfigError(f"{place}: there is no function {name}", near.partition("Allowed")[0].strip()) from error
        except Exception as error:  # whatever an import raises
            raise plugins.broken(name, place, error) from error
        # What a module merely imports (mine.os.system) is not its own.
        defined = getattr(found, "__module__", "")
        if not callable(found) or not isinstance(defined, str) or not f"{defined}.".startswith(f"{owner}."):
            what = f", but {name!r} is {defined}'s" if callable(found) and defined else f", got {name!r}"
            raise ConfigError(f"{place} must name a function of {owner}{what}")
        return typing.cast(Callable[..., Any], found)

    def keys(self, function: Callable[..., Any], name: str, path: str, schema: type[Target]) -> dict[str, Parameter]:
        """The arguments of a function that are keys: of ours the keyword-only ones, of a user's own all with a name."""
        try:
            parameters = _parameters(function)
        except Exception as error:  # inspect raises what it meets
            problem = f"{path}_target_: {name} does not say which arguments it takes"
            raise ConfigError(
                problem, "Name a function of yours that takes them by their names and calls it."
            ) from error
        if name.startswith("lamella."):
            return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in schema.offered}
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise ConfigError(
                f"{path}_target_: {name} takes any argument (**{parameters[-1].name}): a misspelt key would pass",
                "Name a function of yours that takes the arguments that you use by their names and calls it.",
            )
        given = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][: schema.positional]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p not in given]
        own = {p.name: p for p in named if p.name not in schema.offered}
        if len(given) < schema.positional:
            raise ConfigError(f"{path}_target_: {name} must take what it is to work on as its first argument")
        if lacking := [each for each in schema.needed if each not in own]:
            raise ConfigError(
                f"{path}_target_: {name} does not take {' and '.join(lacking)}",
                "A network is told by these what to be made for: num_classes counts the background in; for two classes "
                "it returns one logit a pixel.",
            )
        return own

    def _nothing_else(self, node: Any, known: Mapping[str, Any], path: str) -> None:
        if not isinstance(node, Mapping):
            raise ConfigError(f"{path} must be a group of keys; got {node!r}")
        place = f"{path}." if path else ""
        for name in node:
            if name not in known:
                raise ConfigError(f"there is no key {f'{place}{name}'!r}", suggestion(str(name), known))


_LEFT = object()  # an argument that is not given


def _not_run(*_arguments: Any, **_named: Any) -> typing.NoReturn:
    raise AssertionError("this node was said to be unused")


@functools.cache
def _holder(kind: Any) -> type:
    """A dataclass with one value of a type, for OmegaConf to convert to."""
    return dataclasses.make_dataclass("value", [("value", kind)])


def _swapped(value: Any, old: str, new: str) -> Any:
    """A text, or each of a list, with one piece of it replaced."""
    if isinstance(value, list):
        return [_swapped(each, old, new) for each in value]
    return value.replace(old, new) if isinstance(value, str) else value


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    """A function's arguments, with their annotations evaluated where that is possible."""
    made = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]

    def evaluated(parameter: Parameter) -> Parameter:
        alone = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
        try:
            hint = typing.get_type_hints(alone, globalns=getattr(made, "__globals__", {}), include_extras=True)["it"]
        except Exception:  # a name that only a type checker knows
            hint = Any
        return parameter.replace(annotation=Any if hint is Parameter.empty else hint)

    return [evaluated(parameter) for parameter in inspect.signature(function).parameters.values()]


def _is_plain(value: Any) -> bool:
    """Whether YAML can write a value."""
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return value is None or type(value) in (bool, int, float, str)


def _is_known(hint: Any) -> bool:
    """Whether values can be held to an annotation: numbers, texts, truth values, lists of them, and null."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        others = [each for each in parts if each is not type(None)]
        return len(others) == 1 and _is_known(others[0])
    if origin is Literal:
        return all(isinstance(each, str) for each in parts)
    if origin is list:
        return bool(parts) and parts[0] in (bool, int, float, str)
    return hint in (bool, int, float, str)
