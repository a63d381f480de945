"""The way in: Hydra's entry, with a user's mistakes turned into one message and exit code 1."""

import contextlib
import dataclasses
import functools
import itertools
import os
import re
import signal
import sys
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from lamella.config import words
from lamella.config.paths import CHECKOUT, CONF
from lamella.config.schema import SCHEMAS
from lamella.errors import LamellaError

Job = Callable[[DictConfig], Any]
Message = tuple[str, str]  # a problem in one line, and what to do about it


class Stopped(SystemExit):
    """SIGINT or SIGTERM asked the program to end.

    No KeyboardInterrupt: Lightning swallows those, and this one ends a run in the same way.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.problem = f"stopped by {signal.Signals(number).name}"


class ReportedError(Exception):
    """A job of a sweep failed and its message is on the screen; Hydra raises this when all jobs are done."""


def main(config_name: str, job: Job) -> None:
    """Runs `job` on the configuration that `conf/{config_name}.yaml` and the command line give, and exits."""
    register()
    stop_on_signals()
    debug = any(re.fullmatch(r"\++debug=(true|1|yes|on)", "+" + argument, re.IGNORECASE) for argument in sys.argv[1:])
    bugs: list[Exception] = []

    @functools.wraps(job)  # Hydra names the task after the file that defines the job
    def told(cfg: DictConfig) -> Any:
        try:
            return job(cfg)
        except Exception as error:
            message = _mistake(error)
            if message is None:
                bugs.append(error)
                raise
            if sweep_name() is None:
                sys.exit(_report(message, error if debug else None))
            which = "In job {}: {}".format(HydraConfig.get().job.num, " ".join(HydraConfig.get().overrides.task))
            _report((message[0], "\n  ".join(filter(None, (message[1], which)))), error if debug else None)
            raise ReportedError from error

    # Hydra then raises instead of printing its own report and leaving.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        # `experiment` is a choice by name for Hydra wherever it sees the folder; for comparing it is a key.
        folder = None if config_name == "compare" else str(CONF)
        hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(told)()
    except Stopped as stop:
        for number in (signal.SIGINT, signal.SIGTERM):  # an impatient second one must not disturb Python's own end
            signal.signal(number, signal.SIG_IGN)
        _report((stop.problem, ""), None)
        raise
    except ReportedError:
        sys.exit(1)
    except BrokenPipeError:  # `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if any(error is bug for bug in bugs):
            raise
        sys.exit(_report(_mistake(error) or _composing(error, config_name), error if debug else None))


def register() -> None:
    """Tells Hydra all that the files of `conf/` count on. Called before anything is composed."""
    for command, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=_composable(schema))
    OmegaConf.register_new_resolver("lamella.checkout", lambda path: str(CHECKOUT / path), replace=True)
    OmegaConf.register_new_resolver("lamella.absolute", lambda path: str(Path(path).absolute()), replace=True)
    for command, usage in _USAGE.items():
        help_ = {"app_name": "lamella", "template": _help(command, usage), "header": "", "footer": ""}
        ConfigStore.instance().store(group="hydra/help", name=command, node=help_)
    ConfigStore.instance().store(name="compare", node=OmegaConf.load(CONF / "compare.yaml"))


def _composable(schema: type) -> type:
    """A schema as Hydra needs it to compose: any keys beside a `_target_`, and nothing frozen."""
    fields: list[Any] = []
    for name, hint in words.hints_of(schema).items():
        if group := words.plain_group(hint):
            inner = _composable(group)
            fields.append((name, inner, dataclasses.field(default_factory=inner)))
        else:
            kind = words.kind_and_key(hint)[0]
            if words.target_class(hint):
                kind = dict[str, Any] | None if typing.get_args(hint) else dict[str, Any]
            fields.append((name, kind, MISSING))
    return dataclasses.make_dataclass(schema.__name__, fields)


def sweep_name() -> str | None:
    """The name that all jobs of one sweep share; None outside a sweep."""
    hydra_config = HydraConfig.get()
    return Path(hydra_config.sweep.dir).name if hydra_config.mode is RunMode.MULTIRUN else None


def stop_on_signals() -> None:
    """Lets SIGINT and SIGTERM end the program in order, with its run marked KILLED."""
    process = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:  # a loader, which has inherited this: its parent ends it, with SIGTERM
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if hasattr(signal, "SIGCHLD"):  # torch raises where a loader ends; from now on that is as it should be
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background job is deaf to Ctrl-C, and stays so
            signal.signal(number, stop)


def _report(message: Message, error: Exception | None) -> int:
    """Writes a message, and the traceback of `error`, to stderr; returns the exit code."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    problem, remedy = message
    sys.stderr.write(f"error: {problem}\n" + (f"  {remedy}\n" if remedy else ""))
    if error is not None:
        traceback.print_exception(error)
    return 1


def _mistake(error: Exception) -> Message | None:
    """What a user can mend, in words; None for anything else, which is a bug and keeps its traceback."""
    if isinstance(error, LamellaError):
        return error.problem, error.remedy
    if type(error).__name__ == "OutOfMemoryError":  # torch's, not imported here
        return "the GPU's memory is full", "Set `data.batch_size` or `data.crop` lower, or choose a smaller model."
    if isinstance(error, OSError) and not isinstance(error, (MissingConfigException, BrokenPipeError)):
        place = f"{error.filename}: " if error.filename else ""
        return (
            f"{place}{error.strerror or error}",
            "Check the path, its permissions and the free space; `paths.output`, `paths.cache` and `tracking.uri` "
            "say where things are written. `debug=true` shows more.",
        )
    return None


def _composing(error: Exception, config_name: str) -> Message:
    """What Hydra refused while it put the configuration together."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"there is no {group or 'configuration'} {choice!r}", words.suggestion(choice, error.options or ())
    if match := re.search(r"Could not override '([^']+)'", lines[0]):
        return _unknown_key(match[1], config_name)
    if match := re.match(r"Ambiguous value for argument '([^']+)'", lines[0]):
        key, _, values = match[1].partition("=")
        others = "" if key in _groups() else f"; for a list write '{key}=[{values}]'; for text '{key}=\"{values}\"'"
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
        if key in _groups():
            return (
                f"{key}{place} is a folder of choices, not a key",
                "Begin the file with the line `# @package _global_`.",
            )
        parent, _, name = key.rpartition(".")
        return f"there is no key {key!r}{place}", words.suggestion(name, words.names_at(parent, schema))
    if isinstance(error, ValidationError) and words.expected(key, schema):
        if match := re.search(r"is not a subclass of (\w+)Keys. value: (.*)", problem):  # has no full_key
            return f"{match[1].lower()} must be a group of keys; got {match[2]}{place}", ""
        return f"{key} must be {words.expected(key, schema)}; got {error.value!r}{place}", ""
    return (f"{key}: " if key else "") + problem + place, ""


def _unknown_key(key: str, config_name: str) -> Message:
    """A key that no schema and no chosen group holds; what there is beside it depends on the groups chosen."""
    if key.startswith("hydra."):
        return f"there is no key {key!r}", "`python train.py --hydra-help` explains Hydra's own keys."
    chosen = [a.partition("=") for a in sys.argv[1:]]
    choices = [[f"{group}={c}" for c in names.split(",")] for group, _, names in chosen if group in _groups()]
    for overrides in itertools.product(*choices):  # of a sweep, the first job that lacks the key
        node: Any = {}
        with (
            contextlib.suppress(Exception),
            hydra.initialize_config_dir(str(CONF), version_base="1.3"),
        ):
            node = hydra.compose(config_name, list(overrides))
        names = [str(name) for name in node] + list(_choices(config_name))
        for part in key.split("."):
            if part not in node:
                return f"there is no key {key!r}", words.suggestion(part, {*names} - {"_target_"})
            node = node[part] if isinstance(node[part], DictConfig) else {}
            names = [str(name) for name in node]
    return f"there is no key {key!r}", "`--help` lists all keys."


def _no_choice() -> Message:
    """A group was given a number or a truth value; Hydra does not say which."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.partition("=")
        names = [path.stem for path in (CONF / group).glob("*.yaml")]
        if group in _groups() and choice not in names:
            return f"there is no {group} {choice!r}", words.suggestion(choice, names)
    return "an override has no name before its =", "Write key=value or group=choice."


def _groups() -> list[str]:
    """What is chosen by name: the folders of conf/, those within others, too."""
    conf = CONF
    return sorted(path.relative_to(conf).as_posix() for path in conf.rglob("*") if path.is_dir())


def _choices(command: str) -> dict[str, list[str]]:
    """The groups that a command composes, each with the names there are."""
    folder = CONF
    found = {group: sorted(file.stem for file in (folder / group).glob("*.yaml")) for group in _groups()}
    mine = words.names_at("", SCHEMAS[command])
    if command == "train":
        mine += ["recipe", "experiment"]
    else:
        mine = [name for name in mine if name == "dataset"]  # the only choice by name that other commands have
    mine += ["dataset/split"] if "dataset" in mine else []  # what else lies deeper follows from other choices
    return {group: names for group, names in found.items() if group in mine}


_USAGE = {
    "train": """Lamella: run, score and compare segmentation experiments.

  python train.py dataset=blood model=ternausnet        one experiment
  python train.py -m model=unet,ternausnet seed=1,2     a sweep: every combination
  python train.py --cfg job                             show the configuration, run nothing""",
    "evaluate": """Lamella: score a finished run's best checkpoint again.

  python scripts/evaluate.py run=ID                        on its own test images
  python scripts/evaluate.py run=ID dataset=blood          on those of another data set
  python scripts/evaluate.py run=ID dataset=folder dataset.images=DIR dataset.masks=DIR part=all""",
    "compare": """Lamella: compare finished runs: table, statistics and one HTML report.

  python scripts/compare.py experiment=blood
  python scripts/compare.py experiment=blood metric=boundary/surface_dice
  python scripts/compare.py experiment=blood 'filter="params.`model.name` = \\"unet\\""'
  python scripts/compare.py runs=[ID,ID]""",
    "prepare_data": """Lamella: fetch, verify, unpack and audit a data set.

  python scripts/prepare_data.py dataset=em                        fetch, unpack, audit
  python scripts/prepare_data.py dataset=blood archive=FILE.zip    from an archive you have
  python scripts/prepare_data.py dataset=blood partial=true        a part of it is enough
  python scripts/prepare_data.py dataset=folder dataset.images=DIR dataset.masks=DIR    audit your own""",
    "tiff_to_png": """Lamella: TIFF images and stacks to numbered PNG files, losslessly.

  python scripts/tiff_to_png.py input=stack.tif output=pictures
  python scripts/tiff_to_png.py input='raw/*.tif' output=pictures eight_bit=true percentiles=[1,99]""",
}


def _help(command: str, usage: str) -> str:
    schema = SCHEMAS[command]
    choices = "\n".join(f"{group}: {', '.join(names)}" for group, names in _choices(command).items())
    return f"""{usage}

== Choices (group=choice) ==
{choices or "none"}

== Keys (key=value) ==
{words.meanings(schema)}

Keys of what was chosen by name are in the configuration below.

== Configuration ==
$CONFIG

Flags: --help, --cfg job, -m (sweep), --info, --hydra-help. `debug=true` shows tracebacks.
"""
