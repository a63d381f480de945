"""Errors in words: what a user can mend, and all that Hydra and OmegaConf refuse, as a problem and a remedy."""

import contextlib
import errno
import itertools
import re
import sys
import traceback
from typing import Any

import hydra
import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from lamella.cli.help import choices, groups, names_in
from lamella.config.paths import CONF, typed
from lamella.config.schema import SCHEMAS
from lamella.config.words import expected, names_at, suggestion
from lamella.errors import LamellaError

Message = tuple[str, str]  # a problem in one line, and what to do about it

# What torch, CUDA, cuDNN, cuBLAS and the host's allocator say where memory is full.
_FULL = (
    "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory",
    "not enough memory",
)  # fmt: skip


def mistake(error: Exception) -> Message | None:
    """The message for an error that a user can mend; None for all else, which is a bug and keeps its traceback."""
    if isinstance(error, LamellaError):
        return error.problem, error.remedy
    if message := _full_memory(error) or _not_deterministic(error):
        return message
    if isinstance(error, OSError) and not isinstance(error, (MissingConfigException, BrokenPipeError)):
        place = f"{error.filename}: " if error.filename else ""
        return (
            f"{place}{error.strerror or error}",
            "Check the path, its permissions and the free space; `paths.output`, `paths.cache` and `tracking.uri` "
            "say where things are written, LAMELLA_HOME where all of them lie. `debug=true` shows more.",
        )
    return None


def _full_memory(error: Exception) -> Message | None:
    """The message where memory did not suffice. torch is not imported here, and has no one type for it: texts tell."""
    text = str(error)
    of_host = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if not of_host and not (isinstance(error, RuntimeError) and any(words in text for words in _FULL)):
        return None
    place = "this machine's" if of_host or "CPUAllocator" in text else "the GPU's"
    problem = f"{place} memory is full"
    if wanted := re.search(r"(?:[Tt]ried|Unable) to allocate ([\d.]+) (\w+)", text):
        number, unit = (float(wanted[1]) / 2**30, "GiB") if wanted[2] == "bytes" else (float(wanted[1]), wanted[2])
        problem += f": {number:g} {unit} more do not fit"
    at_work = {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)}
    if not at_work & {"lamella.inference.tiling", "lamella.inference.whole_images"}:
        return (
            problem,
            "Set `data.batch_size` or `data.crop` lower; `trainer.precision=bf16-mixed` takes less than 32-true.",
        )
    if "lamella.commands.evaluate" in at_work:
        return problem, "A run keeps its `inference.tile`: train with a lower one, or set `accelerator=cpu`."
    return problem, "Set `inference.tile` lower: an image that is larger is predicted in tiles of that side."


def _not_deterministic(error: Exception) -> Message | None:
    """The message where torch knows no algorithm that repeats exactly."""
    found = re.match(r"(\w+) does not have a deterministic implementation", str(error))
    if not found:
        return None
    problem = f"trainer.deterministic=true, but torch's {found[1]} has no algorithm that repeats exactly"
    return problem, "Choose another model, or trainer=cpu, or trainer.deterministic=false."


def refusal(error: Exception, config_name: str) -> Message:
    """The message for what Hydra raised while it put a command's configuration together."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"there is no {group or 'configuration'} {choice!r}", suggestion(choice, error.options or ())
    if match := re.search(r"Could not override '([^']+)'", lines[0]):
        return _unknown_key(match[1], config_name)
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


def _unknown_key(key: str, config_name: str) -> Message:
    """A key that no schema and no chosen group holds; what there is beside it depends on the groups chosen."""
    if key.startswith("hydra."):
        return f"there is no key {key!r}", f"`{typed('train')} --hydra-help` explains Hydra's own keys."
    chosen = [a.partition("=") for a in sys.argv[1:]]
    sets = [[f"{group}={c}" for c in names.split(",")] for group, _, names in chosen if group in groups()]
    for overrides in itertools.product(*sets):  # of a sweep, the first job that lacks the key
        node: Any = {}
        with contextlib.suppress(Exception), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            node = hydra.compose(config_name, list(overrides))
        names = [str(name) for name in node] + list(choices(config_name))
        for part in key.split("."):
            if part not in node:
                return f"there is no key {key!r}", suggestion(part, {*names} - {"_target_"})
            node = node[part] if isinstance(node[part], DictConfig) else {}
            names = [str(name) for name in node]
    return f"there is no key {key!r}", "`--help` lists all keys."


def _no_choice() -> Message:
    """A group was given a number or a truth value; Hydra does not say which."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.partition("=")
        if group in groups() and choice not in names_in(group):
            return f"there is no {group} {choice!r}", suggestion(choice, names_in(group))
    return "an override has no name before its =", "Write key=value or group=choice."
