"""Errors in words: what a user can mend, and all that Hydra and OmegaConf refuse, as a problem and a remedy."""

import contextlib
import errno
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from lamella import disk
from lamella.cli.help import choices, groups, names_in
from lamella.config.paths import CONF, at_home, sqlite_file, typed
from lamella.config.schema import SCHEMAS
from lamella.config.words import expected, names_at, suggestion
from lamella.disk import Place
from lamella.errors import LamellaError

Message = tuple[str, str]  # a problem in one line, and what to do about it

# What torch, CUDA, cuDNN, cuBLAS, numpy, C++ and the host's allocator say where memory is full.
_FULL = (
    "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory",
    "not enough memory", "Cannot allocate memory", "bad_alloc", "bad allocation", "Unable to allocate", "MemoryError",
)  # fmt: skip
_OF_GPU = ("CUDA", "cuda", "CUDNN", "CUBLAS", "HIP", "MPS")
_NO_PROCESS = ("can't start new thread", "Thread creation failed", "Resource temporarily unavailable")


def mistake(error: Exception, places: Sequence[Place] = ()) -> Message | None:
    """The message for an error that a user can mend; None for all else, which is a bug and keeps its traceback.

    Args:
        error: what was raised.
        places: that the command writes to, see `written`.
    """
    if message := disk.full(error, places):
        return message
    if isinstance(error, LamellaError):
        return error.problem, error.remedy
    if message := _full_memory(error) or _dead_loader(error) or _not_deterministic(error):
        return message
    if isinstance(error, RuntimeError) and "inline_container" in str(error):  # torch.save hides what the system said
        error = next((each for each in disk.behind(error) if isinstance(each, OSError)), error)
    if isinstance(error, OSError) and not isinstance(error, (MissingConfigException, BrokenPipeError)):
        place = f"{error.filename2 or error.filename}: " if error.filename else ""
        return disk.unwritable(error, places) or (
            f"{place}{error.strerror or error}",
            "Check the path, its permissions and the free space; `paths.output`, `paths.cache` and `tracking.uri` "
            "say where things are written, LAMELLA_HOME where all of them lie. `debug=true` shows more.",
        )
    return None


def written(cfg: DictConfig) -> list[Place]:
    """The places that a command writes to, as far as its composed configuration says."""
    found = []
    for key in ("paths.output", "tracking.artifacts", "paths.cache", "tracking.uri", "paths.data", "output", "html"):
        with contextlib.suppress(OmegaConfBaseException):
            value = OmegaConf.select(cfg, key)
            if not isinstance(value, str) or (key == "tracking.uri" and not sqlite_file(value)):
                continue
            place = sqlite_file(at_home(value)) or Path(at_home(value))
            is_file = key in ("tracking.uri", "html") or place.is_file()
            found.append(Place(key, place.parent if is_file else place))
    return found


def _full_memory(error: Exception) -> Message | None:
    """The message where memory did not suffice. torch is not imported here, and has no one type for it: texts tell."""
    text = str(error)
    of_host = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    of_process = isinstance(error, OSError) and error.errno == errno.EAGAIN
    if not (of_host or of_process or isinstance(error, RuntimeError)):
        return None
    loader = "DataLoader worker" in text
    at_work = {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)}
    if of_process or (any(words in text for words in _NO_PROCESS) and not of_host):
        return (
            f"this machine lets you start no more processes or threads: {text.splitlines()[0]}",
            "Set `data.workers` lower (data.workers=0 starts none) and `export OMP_NUM_THREADS=1`; `ulimit -u` and "
            "`ulimit -v` say what you are allowed.",
        )
    if not of_host and not any(words in text for words in _FULL):
        return None
    on_gpu = not of_host and "CPUAllocator" not in text and any(words in text for words in _OF_GPU)
    problem = f"{'the GPU' if on_gpu else 'this machine'}'s memory is full"
    if wanted := re.search(r"(?:[Tt]ried|Unable) to allocate ([\d.]+) (\w+)", text):
        number, unit = float(wanted[1]), wanted[2]
        if unit == "bytes":
            number, unit = (number / 2**30, "GiB") if number >= 2**30 else (number / 2**20, "MiB")
        problem += (
            f": {number:.0f} {unit} more do not fit" if number >= 100 else f": {number:.3g} {unit} more do not fit"
        )
    if {"lamella.inference.tiling", "lamella.inference.whole_images"} & at_work and not loader:
        if "lamella.commands.evaluate" in at_work:
            return problem, "A run keeps its `inference.tile`: train with a lower one, or set `accelerator=cpu`."
        if "lamella.commands.predict" in at_work:
            return problem, "Set `tile` lower, such as tile=512, or `accelerator=cpu`."
        return problem, "Set `inference.tile` lower: an image that is larger is predicted in tiles of that side."
    starting = isinstance(error, OSError) and {"multiprocessing.popen_fork", "subprocess"} & at_work
    if loader or starting:
        return problem, "Set `data.workers` lower (data.workers=0 starts none), or `data.crop` or `data.batch_size`."
    less = "; each of `data.workers` takes some, too" if not on_gpu else ""
    return (
        problem,
        "Set `data.batch_size` or `data.crop` lower; `trainer.precision=bf16-mixed` takes less than 32-true"
        + less
        + ".",
    )


def _dead_loader(error: Exception) -> Message | None:
    """The message where a process that loads batches was killed; torch raises a RuntimeError wherever it notices."""
    text = str(error)
    if not (isinstance(error, RuntimeError) and re.match(r"DataLoader worker \(pid", text)):
        return None
    if "Bus error" in text:
        return "shared memory (/dev/shm) is full", (
            "Set `data.workers=0`, or `data.batch_size` or `data.crop` lower; in a container give it more: "
            "`docker run --shm-size=1g`."
        )
    how = re.search(r"killed by signal: (\w+)", text)
    return (
        f"a process that loads batches was ended from outside{f' ({how[1]})' if how else ''}",
        "Most often memory was full: set `data.workers` lower, 0 for none.",
    )


def _not_deterministic(error: Exception) -> Message | None:
    """The message where torch knows no algorithm that repeats exactly."""
    found = re.match(r"(\w+) does not have a deterministic implementation", str(error))
    if not found:
        return None
    problem = f"trainer.deterministic=true, but torch's {found[1]} has no algorithm that repeats exactly"
    return problem, "Choose another model, or trainer=cpu, or trainer.deterministic=false."


def refusal(error: Exception, config_name: str, arguments: Sequence[str]) -> Message:
    """The message for what Hydra raised while it put a command's configuration together.

    Args:
        error: what it raised.
        config_name: the command's.
        arguments: those of its command line, or of the one job of a sweep.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"there is no {group or 'configuration'} {choice!r}", suggestion(choice, error.options or ())
    if match := re.search(r"Could not override '([^']+)'", lines[0]):
        return _unknown_key(match[1], config_name, arguments)
    if match := re.match(r"Ambiguous value for argument '([^']+)'", lines[0]):
        key, _, values = match[1].partition("=")
        others = "" if key in groups() else f"; for a list write '{key}=[{values}]'; for text '{key}=\"{values}\"'"
        return f"{match[1]} is ambiguous", f"For a sweep put -m before it{others}."
    if "Config group override must be a string" in lines[0]:
        return _no_choice()
    if isinstance(error, OverrideParseException):
        problem = f"{error.override!r} cannot be read: {lines[1] if lines[0].startswith('Error parsing') else lines[0]}"
        return problem, "Write key=value or group=choice, and quote a value with special characters: 'key=\"a=b\"'."
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}", "The file is not valid YAML."
    if isinstance(cause, OmegaConfBaseException):
        match = re.match(r"In '([^']+)'", lines[0])
        return _refused(cause, f" (in {match[1]})" if match else "", SCHEMAS[config_name])
    return lines[0], " ".join(lines[1:])


def _refused(error: OmegaConfBaseException, place: str, schema: type) -> Message:
    """A key or value that the schema refused. `place` is the file it stands in, "" for the command line."""
    key = error.full_key or ""
    problem = str(error).splitlines()[0]
    if isinstance(error, ConfigKeyError):
        if key in groups():
            problem = f"{key}{place} is a folder of choices, not a key"
            return problem, "Begin the file with the line `# @package _global_`."
        parent, _, name = key.rpartition(".")
        return f"there is no key {key!r}{place}", suggestion(name, names_at(parent, schema))
    if isinstance(error, ValidationError) and expected(key, schema):
        if match := re.search(r"is not a subclass of (\w+)Keys. value: (.*)", problem):  # has no full_key
            return f"{match[1].lower()} must be a group of keys; got {match[2]}{place}", ""
        return f"{key} must be {expected(key, schema)}; got {error.value!r}{place}", ""
    return (f"{key}: " if key else "") + problem + place, ""


def _unknown_key(key: str, config_name: str, arguments: Sequence[str]) -> Message:
    """A key that no schema and no chosen group holds; what there is beside it depends on the groups chosen."""
    if key.startswith("hydra."):
        return f"there is no key {key!r}", f"`{typed('train')} --hydra-help` explains Hydra's own keys."
    node: Any = {}
    chosen = [a for a in arguments if a.partition("=")[0].lstrip("+") in choices(config_name)]
    for choice in (chosen, []):  # a file that was chosen may hold the key
        with contextlib.suppress(Exception), hydra.initialize(None, version_base="1.3"):
            node = node or hydra.compose(config_name, choice, return_hydra_config=True)
    if not node:
        return f"there is no key {key!r}", "`--help` lists all keys."
    choices_made = node.hydra.runtime.choices
    whole = OmegaConf.masked_copy(node, [str(name) for name in node if name != "hydra"])
    value = next((a.partition("=")[2] for a in arguments if a.partition("=")[0].lstrip("+") == key), "VALUE")
    held = [name for name in _dotted(whole) if _is_meant(key, name)]
    if 0 < len(held) < 6 and ("." not in key or len(held) == 1):
        return f"there is no key {key!r}", f"Did you mean {' or '.join(_assigned(name, value) for name in held)}?"
    having = [] if held else _choices_with(key, config_name)
    names, at, place = [*map(str, whole), *choices(config_name)], whole, ""
    for part in key.split("."):
        if part not in names:
            break
        place = f"{place}.{part}" if place else part
        at = at[part] if part in at and isinstance(at[part], DictConfig) else OmegaConf.create()
        names = [*map(str, at)]
    group = place.replace(".", "/")
    of = f" for {group}={choices_made[group]}" if choices_made.get(group) else ""
    if having and having[0][1] != key:
        more = f" Others that have it: {', '.join(each for each, _ in having[1:])}." if having[1:] else ""
        return f"there is no key {key!r}", f"Did you mean {having[0][0]} {_assigned(having[0][1], value)}?{more}"
    near = suggestion(part, {*names} - {"_target_"})
    if having:
        swept = {f"{g}={c}" for g, _, names in (a.partition("=") for a in sys.argv[1:]) for c in names.split(",")}
        some = next((each.partition("=")[2] for each, _ in having if each in swept), None)
        alone = f" `{key}@{some}={value}` is for the jobs of {some} alone." if some else ""
        near = f"Only others have it: {', '.join(each for each, _ in having)}.{alone} {near}"
    return f"there is no key {key!r}{of}", near


# How other programs call it; what is spelt as one of our keys needs no line here.
_ALSO_CALLED = {
    "trainer.max_epochs": ("epoch", "epochs", "n_epochs", "num_epochs"),
    "optimizer.lr": ("learning_rate", "learningrate"),
    "data.batch_size": ("batch", "batchsize", "bs"),
    "data.workers": ("num_workers", "n_workers"),
    "data.crop": ("crop_size", "patch", "patch_size", "imgsz"),
    "trainer.accelerator": ("device", "gpu", "gpus", "cuda"),
    "dataset.images": ("image", "image_dir", "images_dir", "img_dir"),
    "dataset.masks": ("mask", "mask_dir", "masks_dir", "labels"),
    "model.encoder": ("backbone", "encoder_name"),
    "model.encoder_weights": ("pretrained", "weights"),
}


def _is_meant(key: str, name: str) -> bool:
    """Whether a key that stands nowhere may mean one that does: by its last part, or by what other programs call it."""
    last = key.rpartition(".")[2]
    return name.endswith(f".{last}") or last.lower() in _ALSO_CALLED.get(name, ())


def _choices_with(key: str, config_name: str) -> list[tuple[str, str]]:
    """Choices that are not made and have a key that may be meant: the choice, and the key."""
    return [
        (f"{group}={file.stem}", name)
        for group in choices(config_name)
        for file in sorted((CONF / group).glob("*.yaml"))
        if isinstance(node := OmegaConf.load(file), DictConfig) and "_target_" in node
        for name in (f"{group.replace('/', '.')}.{field}" for field in map(str, node))
        if name == key or ("." not in key and _is_meant(key, name))
    ]


def _assigned(name: str, value: str) -> str:
    """The override that is proposed."""
    if name == "trainer.accelerator":
        value = "cpu" if value == "cpu" else "gpu"
    return f"{name}={value}"


def _dotted(node: DictConfig, place: str = "") -> list[str]:
    """The keys of a configuration, those that hold others not among them."""
    names = []
    for name in map(str, node):
        below = node._get_node(name)
        names += _dotted(below, f"{place}{name}.") if isinstance(below, DictConfig) else [f"{place}{name}"]
    return [name for name in names if not name.endswith("_target_")]


def _no_choice() -> Message:
    """A group was given a number or a truth value; Hydra does not say which."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.partition("=")
        if group in groups() and choice not in names_in(group):
            return f"there is no {group} {choice!r}", suggestion(choice, names_in(group))
    return "an override has no name before its =", "Write key=value or group=choice."
