"""The way in: Hydra's entry, with a user's mistakes turned into one message and exit code 1."""

import contextlib
import dataclasses
import functools
import os
import re
import signal
import sys
import traceback
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf

from lamella.cli.help import template
from lamella.cli.messages import Message, mistake, refusal
from lamella.cli.signals import Stopped, stop_on_signals
from lamella.config.paths import CHECKOUT, CONF
from lamella.config.schema import SCHEMAS
from lamella.config.words import hints_of, kind_and_key, plain_group, target_class

Job = Callable[[DictConfig], Any]


class ReportedError(Exception):
    """A job of a sweep failed and its message is on the screen; Hydra raises this when all jobs are done."""


def main(config_name: str, job: Job) -> None:
    """Runs `job` on the configuration that `conf/{config_name}.yaml` and the command line give, and exits."""
    register([config_name])
    stop_on_signals()
    debug = any(re.fullmatch(r"\++debug=(true|1|yes|on)", "+" + argument, re.IGNORECASE) for argument in sys.argv[1:])
    bugs: list[Exception] = []

    @functools.wraps(job)  # Hydra names the task after the file that defines the job
    def told(cfg: DictConfig) -> Any:
        try:
            return job(cfg)
        except Exception as error:
            message = mistake(error)
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
        sys.exit(_report(mistake(error) or refusal(error, config_name), error if debug else None))


def register(commands: Iterable[str] = SCHEMAS) -> None:
    """Tells Hydra all that the files of `conf/` count on. Called before anything is composed.

    Args:
        commands: those that are to be composed; each more makes `--help` slower, because Hydra copies what it was
            told for every group of choices.
    """
    store = ConfigStore.instance()
    for command in commands:
        store.store(name=f"{command}_schema", node=_composable(SCHEMAS[command]))
        help_ = {"app_name": "lamella", "template": template(command), "header": "", "footer": ""}
        store.store(group="hydra/help", name=command, node=help_)
        if command == "compare":
            store.store(name=command, node=OmegaConf.load(CONF / f"{command}.yaml"))
    OmegaConf.register_new_resolver("lamella.checkout", lambda path: str(CHECKOUT / path), replace=True)
    OmegaConf.register_new_resolver("lamella.absolute", lambda path: str(Path(path).absolute()), replace=True)


def sweep_name() -> str | None:
    """The name that all jobs of one sweep share; None outside a sweep."""
    hydra_config = HydraConfig.get()
    return Path(hydra_config.sweep.dir).name if hydra_config.mode is RunMode.MULTIRUN else None


def _composable(schema: type) -> type:
    """A schema as Hydra needs it to compose: any keys beside a `_target_`, and nothing frozen."""
    fields: list[Any] = []
    for name, hint in hints_of(schema).items():
        if group := plain_group(hint):
            inner = _composable(group)
            fields.append((name, inner, dataclasses.field(default_factory=inner)))
        else:
            kind = kind_and_key(hint)[0]
            if target_class(hint):
                kind = dict[str, Any] | None if typing.get_args(hint) else dict[str, Any]
            fields.append((name, kind, MISSING))
    return dataclasses.make_dataclass(schema.__name__, fields)


def _report(message: Message, error: Exception | None) -> int:
    """Writes a message, and the traceback of `error`, to stderr; returns the exit code."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    problem, remedy = message
    sys.stderr.write(f"error: {problem}\n" + (f"  {remedy}\n" if remedy else ""))
    if error is not None:
        traceback.print_exception(error)
    return 1
