"""The schema: every key, its type, its bounds and its meaning. Values live in `conf/`, never here.

Two kinds of node. Plain ones (`trainer`, `data`, ...) are the dataclasses below. Those with a `_target_`
(`model`, `loss`, ...) are held to the keyword-only arguments of the function they name, so that a key has one
home; third-party constructors are never named, because many swallow a misspelt argument.
"""

import copy
import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import omegaconf
from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf

from lamella.config.key import Key
from lamella.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass
class DatasetKeys:
    """What every dataset says beside its own arguments."""

    name: Annotated[str, Key("short name; also the default MLflow experiment")] = MISSING
    in_channels: Annotated[int | None, Key("channels of every image; null: found in the data", least=1)] = MISSING
    num_classes: Annotated[
        int | None, Key("classes, background included; null: found in the data", least=2, most=255)
    ] = MISSING
    scale: Annotated[float, Key("train at this times the stored size; scores stay at full size", above=0, most=1)] = (
        MISSING
    )
    offset: Annotated[list[float], Key("labels lie this many pixels (down, right) of what they outline", length=2)] = (
        MISSING
    )
    percentiles: Annotated[
        list[float] | None,
        Key("stretch each image from these of its levels; null: as stored", least=0, most=100, length=2),
    ] = MISSING
    allow: Annotated[
        list[str],
        Key(
            "faults the audit may find without stopping anything",
            choices=("mixed", "swapped", "inverted", "conflict", "leak", "neighbours"),
        ),
    ] = MISSING
    split: Annotated[dict[str, Any], Key("which sample trains, chooses, judges")] = MISSING


@dataclass
class ModelKeys:
    """What every model says beside its own arguments."""

    name: Annotated[str, Key("short name, for tables and run names")] = MISSING
    init_from: Annotated[str | None, Key("start from this run, checkpoint or state dict; null: from scratch")] = MISSING
    init_part: Annotated[str, Key("what of it", choices=("whole", "encoder"))] = MISSING


@dataclass
class DataKeys:
    """How training windows are drawn."""

    crop: Annotated[int, Key("side of a training crop in pixels of the scaled image", least=16)] = MISSING
    batch_size: Annotated[int, Key("crops a step", least=1)] = MISSING
    steps: Annotated[int, Key("steps an epoch", least=1)] = MISSING
    context: Annotated[int, Key("pixels beyond the picture that the network sees as its frame", least=0)] = MISSING
    workers: Annotated[int, Key("processes that cut crops; 0: between steps", least=0)] = MISSING


@dataclass
class TrainerKeys:
    """Where and how long training runs."""

    accelerator: Annotated[str, Key("auto: CUDA where there is one", choices=("auto", "cpu", "gpu"))] = MISSING
    precision: Annotated[
        str, Key("auto: bfloat16 where the hardware has it", choices=("auto", "32-true", "bf16-mixed"))
    ] = MISSING
    max_epochs: Annotated[int, Key("epochs at most", least=1)] = MISSING
    patience: Annotated[int | None, Key("epochs without a better val/dice before stopping; null: never", least=1)] = (
        MISSING
    )
    gradient_clip: Annotated[float, Key("largest norm of the gradient; 0: no clipping", least=0)] = MISSING
    ema: Annotated[
        float, Key("decay a step of the averaged weights that are scored; 0: none", least=0, most=0.99999)
    ] = MISSING
    deterministic: Annotated[bool, Key("only algorithms that repeat exactly; slower on a GPU")] = MISSING
    progress: Annotated[bool, Key("show progress on the terminal")] = MISSING


@dataclass
class StoreKeys:
    """Where runs are kept."""

    uri: Annotated[str, Key("MLflow tracking store: sqlite:////absolute/path.db or http://server")] = MISSING


@dataclass
class TrackingKeys(StoreKeys):
    """Where a run is kept, and how."""

    artifacts: Annotated[str | None, Key("folder of a local store's files; null: the server decides")] = MISSING
    experiment: Annotated[str, Key("MLflow experiment")] = MISSING
    run_name: Annotated[str, Key("name of the run")] = MISSING
    figures: Annotated[int, Key("test images shown as figures", least=0)] = MISSING


@dataclass
class ScoreKeys:
    """What is measured on whole images."""

    choose_threshold: Annotated[
        bool, Key("take the threshold that is best on the validation images, not inference.threshold (two classes)")
    ] = MISSING
    tolerance: Annotated[float, Key("pixels two outlines may lie apart and still be one (surface Dice)", least=0)] = (
        MISSING
    )
    tolerance_nm: Annotated[float, Key("the same in nanometres, where a pixel's size is known", least=0)] = MISSING
    min_cell_size: Annotated[int, Key("regions of fewer pixels are no cell", least=1)] = MISSING
    split_neck: Annotated[float, Key("pixels a region is narrower in between where two cells touch", above=0)] = MISSING
    seen: Annotated[bool, Key("also score the training images, logged under seen/")] = MISSING
    resized: Annotated[
        int | None, Key("also score soft predictions resized to this square, as some papers do; null: no", least=16)
    ] = MISSING


@dataclass
class PathsKeys:
    """Folders. What a user types is relative to where they stand; defaults lie in the checkout."""

    data: Annotated[str, Key("holds em/ and blood/")] = MISSING
    cache: Annotated[str, Key("decoded images and phantoms")] = MISSING
    output: Annotated[str, Key("one folder a run: log and working files")] = MISSING


@dataclass
class Config:
    """Everything one experiment needs."""

    dataset: Annotated[dict[str, Any], Key("the data")] = MISSING
    model: Annotated[dict[str, Any], Key("the network")] = MISSING
    loss: Annotated[dict[str, Any], Key("what training minimises")] = MISSING
    optimizer: Annotated[dict[str, Any], Key("how it is minimised")] = MISSING
    scheduler: Annotated[dict[str, Any], Key("the learning rate over time")] = MISSING
    augment: Annotated[dict[str, Any], Key("random changes of training crops")] = MISSING
    inference: Annotated[dict[str, Any], Key("how whole images are predicted")] = MISSING
    data: DataKeys = dataclasses.field(default_factory=DataKeys)
    trainer: TrainerKeys = dataclasses.field(default_factory=TrainerKeys)
    tracking: TrackingKeys = dataclasses.field(default_factory=TrackingKeys)
    score: ScoreKeys = dataclasses.field(default_factory=ScoreKeys)
    paths: PathsKeys = dataclasses.field(default_factory=PathsKeys)
    seed: Annotated[int, Key("decides weights, crops and augmentation", least=0, most=2**32 - 1)] = MISSING
    literature: Annotated[
        dict[str, Any] | None, Key("what a comparison shows beside: dataset, scores by model, notes")
    ] = MISSING
    debug: Annotated[bool, Key("show tracebacks")] = MISSING


@dataclass
class PrepareData:
    """Everything that fetching and auditing a data set needs."""

    dataset: Annotated[dict[str, Any], Key("the data")] = MISSING
    archive: Annotated[str | None, Key("an archive on disk; null: fetch it from where it was published")] = MISSING
    url: Annotated[str | None, Key("fetch the archive from this address (a mirror); null: the published one")] = MISSING
    sha256: Annotated[str | None, Key("what the archive's SHA-256 must be; null: it is only said")] = MISSING
    partial: Annotated[bool, Key("a part of the published data set is enough")] = MISSING
    audit: Annotated[bool, Key("look into every image and mask, too")] = MISSING
    html: Annotated[str, Key("where the audit's page goes")] = MISSING
    timeout: Annotated[float, Key("seconds without a byte after which a connection is broken", above=0, most=3600)] = (
        MISSING
    )
    retries: Annotated[int, Key("how often to try again without getting any further", least=0, most=100)] = MISSING
    paths: PathsKeys = dataclasses.field(default_factory=PathsKeys)
    debug: Annotated[bool, Key("show tracebacks")] = MISSING


@dataclass
class TiffToPng:
    """Everything that turning TIFF into PNG needs."""

    input: Annotated[str, Key("a TIFF file, a folder of them, or a glob in quotes")] = MISSING
    output: Annotated[str, Key("folder for the PNG files; made where it is missing")] = MISSING
    axes: Annotated[str | None, Key("axes of files that do not say themselves, such as ZYX or CYX")] = MISSING
    eight_bit: Annotated[bool, Key("scale to 8 bits by range or percentiles; false: 16 bits stay 16 bits")] = MISSING
    range: Annotated[Any, Key("levels that become 0 and 255: [low,high], or minmax of each file; null: none")] = MISSING
    percentiles: Annotated[
        list[float] | None, Key("the same, as percentiles of each file; null: none", least=0, most=100, length=2)
    ] = MISSING
    overwrite: Annotated[bool, Key("replace files that are there")] = MISSING
    debug: Annotated[bool, Key("show tracebacks")] = MISSING


@dataclass
class Evaluate:
    """Everything that scoring a finished run again needs."""

    run: Annotated[str, Key("the MLflow run whose best checkpoint is scored")] = MISSING
    dataset: Annotated[dict[str, Any] | None, Key("another data set; null: the run's own")] = MISSING
    part: Annotated[str, Key("the images that are scored: the test's, or all of them", choices=("test", "all"))] = (
        MISSING
    )
    accelerator: Annotated[str | None, Key("null: as the run", choices=("auto", "cpu", "gpu"))] = MISSING
    precision: Annotated[str | None, Key("null: as the run", choices=("auto", "32-true", "bf16-mixed"))] = MISSING
    tracking: StoreKeys = dataclasses.field(default_factory=StoreKeys)
    paths: PathsKeys = dataclasses.field(default_factory=PathsKeys)
    debug: Annotated[bool, Key("show tracebacks")] = MISSING


@dataclass
class Compare:
    """Everything that comparing finished runs needs."""

    experiment: Annotated[str | None, Key("the MLflow experiment whose runs are compared")] = MISSING
    runs: Annotated[list[str] | None, Key("or these runs, by their ids")] = MISSING
    filter: Annotated[str | None, Key("only runs that MLflow's filter language says; null: all")] = MISSING
    metric: Annotated[str, Key("the score of scores/test.csv that methods are compared by")] = MISSING
    cases: Annotated[int, Key("worst, typical and best images shown, each", least=0)] = MISSING
    output: Annotated[str, Key("folder of the reports")] = MISSING
    tracking: StoreKeys = dataclasses.field(default_factory=StoreKeys)
    debug: Annotated[bool, Key("show tracebacks")] = MISSING


_TARGETS = ("dataset", "model", "loss", "optimizer", "scheduler", "augment", "inference")
_SCHEMAS: dict[str, type] = {
    "train": Config,
    "evaluate": Evaluate,
    "compare": Compare,
    "prepare_data": PrepareData,
    "tiff_to_png": TiffToPng,
}
_SHARED: dict[str, type] = {"dataset": DatasetKeys, "model": ModelKeys}


def register() -> None:
    """Tells Hydra the schema and the resolvers. See `lamella.cli.main.register`."""
    for command, schema in _SCHEMAS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=schema)
    OmegaConf.register_new_resolver("lamella.checkout", lambda path: str(CHECKOUT / path), replace=True)
    OmegaConf.register_new_resolver("lamella.absolute", lambda path: str(Path(path).absolute()), replace=True)


def schema_of(command: str) -> type:
    """The keys of a command: the name of its file in `conf/`, without the suffix."""
    return _SCHEMAS[command]


def check(cfg: DictConfig, schema: type = Config) -> DictConfig:
    """Holds a composed configuration to its command's schema and resolves it.

    Returns:
        A new, resolved configuration with every value converted to its type.

    Raises:
        ConfigError: a key that does not exist (also one added by `+key=`), a missing or wrong value.
    """
    for name in _TARGETS:
        if name in cfg and isinstance(cfg[name], DictConfig) and "_target_" not in cfg[name]:
            raise ConfigError(f"{name}._target_ has no value", f"Choose one: {name}=NAME; `--help` lists them.")
    # Whatever the data has to say later, the rest can be checked now, with stand-ins.
    resolved = OmegaConf.create(_resolve(settle(cfg, channels=1, classes=2)))
    checked = _check_node(resolved, schema, "")
    for name in checked.keys() & _TARGETS:
        if checked[name] is not None:  # a group of which nothing was chosen, where nothing has to be
            checked[name] = _check_target(checked[name], name)
    if checked.get("dataset") is not None:
        checked["dataset"]["split"] = _check_target(checked["dataset"]["split"], "dataset.split")
        checked["dataset"].update(dict.fromkeys(_left_open(cfg)))
    return OmegaConf.create(checked)


def settle(cfg: DictConfig, *, channels: int, classes: int) -> DictConfig:
    """Fills in what only the data could say, where the dataset left it open; else returns `cfg` as it is.

    Args:
        cfg: unresolved, so that all that follows from the dataset follows.
        channels: for `dataset.in_channels`.
        classes: for `dataset.num_classes`.
    """
    values = {"in_channels": channels, "num_classes": classes}
    left_open = _left_open(cfg)
    if not left_open:
        return cfg
    filled = copy.deepcopy(cfg)
    with omegaconf.read_write(filled), omegaconf.open_dict(filled):
        filled.dataset.update({name: values[name] for name in left_open})
    return filled


def _left_open(cfg: DictConfig) -> list[str]:
    """What the dataset leaves for the data to say."""
    dataset = cfg.get("dataset")
    names = ("in_channels", "num_classes") if isinstance(dataset, DictConfig) else ()
    return [name for name in names if name in dataset and dataset[name] is None]


def build(node: DictConfig, *arguments: Any) -> Any:
    """Calls the function a checked node's `_target_` names, shared keys left out. See `check`."""
    function = _function(node.get("_target_"), "")
    wanted = _keyword_only(function)
    values = {k: OmegaConf.to_object(v) if OmegaConf.is_config(v) else v for k, v in node.items() if k in wanted}
    return function(*arguments, **values)


def flat(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as one level of dotted keys."""
    result: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            result[path] = node

    walk(OmegaConf.to_container(cfg, resolve=True), "")
    return result


def meanings(schema: type) -> str:
    """Every key of a schema's plain nodes with type, bounds and meaning, for `--help`."""
    lines = []

    def walk(node: type, path: str) -> None:
        for name, hint in typing.get_type_hints(node, include_extras=True).items():
            full = f"{path}{name}"
            if dataclasses.is_dataclass(hint):
                walk(typing.cast(type, hint), f"{full}.")
            elif full not in _TARGETS:
                kind, key = _kind_and_key(hint)
                lines.append(f"  {full:<23} {key.meaning} ({_words(kind, key)})")

    walk(schema, "")
    return "\n".join(lines)


def suggestion(wrong: str, names: Iterable[str]) -> str:
    """The remedy for a misspelt name: the nearest one, then all."""
    allowed = sorted(names)
    near = difflib.get_close_matches(wrong, allowed, n=1)
    return (f"Did you mean {near[0]}? " if near else "") + (f"Allowed: {', '.join(allowed)}." if allowed else "")


def names_at(path: str, schema: type) -> list[str]:
    """The keys a plain node holds, "" for the top; none where the schema ends."""
    hint = _hint(path, schema)
    return [field.name for field in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []


def expected(path: str, schema: type) -> str:
    """What a plain key takes, in words; "" where the schema ends."""
    hint = _hint(path, schema)
    return "" if hint is None else "a group of keys" if dataclasses.is_dataclass(hint) else _words(*_kind_and_key(hint))


def _hint(path: str, schema: type) -> Any:
    """The annotation of a dotted key of the plain nodes; None where there is none."""
    hint: Any = schema
    for name in path.split(".") if path else []:
        hints = typing.get_type_hints(hint, include_extras=True) if dataclasses.is_dataclass(hint) else {}
        hint = hints.get(name)
    return hint


def _resolve(cfg: DictConfig) -> Any:
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except omegaconf.MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value", f"Set it: {error.full_key}=VALUE.") from error
    except omegaconf.errors.OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def _check_node(node: Any, schema: type, path: str) -> dict[str, Any]:
    """One mapping against a dataclass: names, types, bounds, depth first."""
    if not isinstance(node, (Mapping, DictConfig)):
        raise ConfigError(f"{path} must be a group of keys; got {node!r}")
    hints = typing.get_type_hints(schema, include_extras=True)
    for name in node:
        if name not in hints:
            full = f"{path}.{name}" if path else str(name)
            raise ConfigError(f"there is no key {full!r}", suggestion(str(name), list(hints)))
    result: dict[str, Any] = {}
    fields = {f.name: f for f in dataclasses.fields(schema)}
    for name, hint in hints.items():
        full = f"{path}.{name}" if path else name
        if name not in node:
            field = fields[name]
            if field.default not in (dataclasses.MISSING, MISSING):
                result[name] = field.default
                continue
            raise ConfigError(f"{full} has no value", f"Set it: {full}=VALUE.")
        if dataclasses.is_dataclass(hint):
            result[name] = _check_node(node[name], typing.cast(type, hint), full)
        else:
            result[name] = _check_value(node[name], hint, full)
    return result


def _check_target(node: dict[str, Any], path: str) -> dict[str, Any]:
    """One mapping with a `_target_` against that function's keyword-only arguments."""
    function = _function(node.get("_target_"), f"{path}.")
    shared = _SHARED.get(path)
    bases = (shared,) if shared else ()
    fields: list[Any] = [
        (name, hint, dataclasses.field(default=MISSING)) for name, hint in _keyword_only(function).items()
    ]
    schema = make_dataclass(function.__name__, fields, bases=bases)
    return {
        "_target_": node["_target_"],
        **_check_node({k: v for k, v in node.items() if k != "_target_"}, schema, path),
    }


def _function(target: Any, path: str) -> Callable[..., Any]:
    """What a `_target_` names; only functions and classes that Lamella itself defines may be named."""
    try:
        found = get_object(target) if isinstance(target, str) and target.startswith("lamella.") else None
    except Exception as error:  # Hydra raises what the import raised
        raise ConfigError(f"{path}_target_: there is no function {target}") from error
    # What a module of ours merely imports (lamella.config.schema.Path) is not ours.
    if not callable(found) or not str(getattr(found, "__module__", "")).startswith("lamella."):
        raise ConfigError(f"{path}_target_ must name a function of lamella, got {target!r}")
    return typing.cast(Callable[..., Any], found)


def _keyword_only(function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}


def _check_value(value: Any, hint: Any, full: str) -> Any:
    """One value against `Annotated[type, Key]`, converted as OmegaConf converts."""
    kind, key = _kind_and_key(hint)
    refused = ConfigError(f"{full} must be {_words(kind, key)}; got {value!r}")
    if kind == dict[str, Any]:
        if not isinstance(value, (Mapping, DictConfig)):
            raise refused
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else dict(value)
    holder = OmegaConf.structured(make_dataclass("value", [("value", kind)]))
    try:
        holder["value"] = value
    except omegaconf.errors.OmegaConfBaseException as error:
        raise refused from error
    converted = OmegaConf.to_container(holder)["value"]  # type: ignore[call-overload, index]
    if not key.allows(converted):
        raise refused
    return converted


def _kind_and_key(hint: Any) -> tuple[Any, Key]:
    """`Annotated[type, Key]` taken apart; a bare type has no bounds, a Literal is text with choices."""
    kind, key = typing.get_args(hint)[:2] if typing.get_origin(hint) is Annotated else (hint, Key(""))
    if typing.get_origin(kind) is Literal:
        return str, dataclasses.replace(key, choices=typing.get_args(kind))
    return kind, key


def _words(kind: Any, key: Key) -> str:
    """Type and bounds in a user's words: "a whole number or null, at least 1"."""
    if key.choices:
        return key.allowed() + (" or null" if type(None) in typing.get_args(kind) else "")
    return ", ".join(filter(None, (_type_name(kind), key.allowed())))


def _type_name(kind: Any) -> str:
    names = {Any: "any value", int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    many = {int: "whole numbers", float: "numbers", bool: "truth values", str: "texts"}
    arguments = typing.get_args(kind)
    if type(None) in arguments:
        return " or ".join([*(_type_name(a) for a in arguments if a is not type(None)), "null"])
    if typing.get_origin(kind) is list:
        return f"a list of {many[arguments[0]]}"
    return names.get(kind, "a group of keys")
