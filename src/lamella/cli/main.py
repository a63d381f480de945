"""The way in: Hydra's entry, with a user's mistakes turned into one message and exit code 1."""

import dataclasses
import os
import re
import sys
import threading
import typing
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from lamella.cli import signals
from lamella.cli.command_line import read
from lamella.cli.help import refuse_hidden, template
from lamella.cli.messages import mistake, refusal, written
from lamella.cli.sources import search
from lamella.cli.sweep import RefusedJobError, Sweep, checked
from lamella.config.key import Texts
from lamella.config.paths import CONF, at_home, data, home, store_file
from lamella.config.schema import SCHEMAS
from lamella.config.words import hints_of, kind_and_key, plain_group, target_class
from lamella.errors import report
from lamella.training.stopping import REQUEST, Stopped

WITHOUT_CHOICES = (
    "compare",
    "review",
    "predict",
    "export",
    "look",
    "reproduce",
    "sync",
    "tidy",
)  # commands that choose nothing by name


class Job:
    """What Hydra runs, here or in a process that a launcher started: one job, a user's mistakes put into words."""

    def __init__(self, job: Callable[[DictConfig], Any], sweep: Sweep | None, debug: bool) -> None:
        self.__wrapped__ = job  # Hydra names the task after the file that defines the job
        self.bugs: list[Exception] = []
        self._jobs = sweep.jobs if sweep else None
        self._debug, self._process = debug, os.getpid()

    def __call__(self, cfg: DictConfig) -> Any:
        if os.getpid() != self._process and threading.current_thread() is threading.main_thread():
            from lamella.data.loaders.workers import die_with_parent  # late: it takes seconds

            die_with_parent()
            signals.listen()
        if self._jobs is not None:
            return self._jobs.run(self.__wrapped__, cfg, self._debug)
        try:
            return self.__wrapped__(cfg)
        except Exception as error:
            if number := signals.asked():  # what it meets on its way out is no mistake
                raise Stopped(number) from error
            message = mistake(error, written(cfg))
            if message is None:
                self.bugs.append(error)
                raise
            sys.exit(report(message, error if self._debug else None))


def main(command: str, job: Callable[[DictConfig], Any]) -> None:
    """Runs `job` on the configuration that `conf/{command}.yaml` and the command line give, and exits.

    Raises:
        Stopped: a signal asked for the end; see `lamella.cli.signals.heard`.
    """
    debug = any(re.fullmatch(r"\++debug=(true|1|yes|on)", "+" + argument, re.IGNORECASE) for argument in sys.argv[1:])
    bugs: list[Exception] = []
    # Hydra then raises instead of printing its own report and leaving.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        register()
        refuse_hidden()
        typed = read(sys.argv[1:], SCHEMAS[command])
        sys.argv[1:] = typed.arguments  # where Hydra reads them
        # `experiment` is a choice by name for Hydra wherever it sees the folder; for these it is a key.
        search([*([] if command in WITHOUT_CHOICES else [str(CONF)]), *typed.folders])
        sweep = checked(command, typed) if typed.sweep else None
        if sweep and command == "train":
            REQUEST.remedy = "The same command again goes on with the sweep."
        task = Job(job, sweep, debug)
        bugs = task.bugs
        launch = hydra.main(version_base="1.3", config_path=None, config_name=command)(task)
        if sweep:
            sys.exit(sweep.carry_out(launch))
        launch()
    except BrokenPipeError:  # `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except RefusedJobError as job:
        cause = job.__cause__
        assert isinstance(cause, Exception)
        problem, remedy = mistake(cause) or refusal(cause, command, job.overrides)
        message = problem, "\n  ".join(filter(None, (remedy, job.which)))
        sys.exit(report(message, cause if debug else None))
    except Exception as error:
        if number := signals.asked():
            raise Stopped(number) from error
        if any(error is bug for bug in bugs):
            raise
        sys.exit(report(mistake(error) or refusal(error, command, sys.argv[1:]), error if debug else None))


def register() -> None:
    """Tells Hydra all that the files of `conf/` count on. Called before anything is composed."""
    store = ConfigStore.instance()
    # For `--help` Hydra copies its store once for every group of choices, which takes most of a second. What it loads
    # from the store is a copy anyway: the store itself needs none.
    vars(store)["__deepcopy__"] = lambda _memo: store
    for command, schema in SCHEMAS.items():
        store.store(name=f"{command}_schema", node=_composable(schema))
        help_ = {"app_name": "lamella", "template": template(command), "header": "", "footer": ""}
        store.store(group="hydra/help", name=command, node=help_)
    # Where no file is looked for; what is stored by the name of a file that is looked for, Hydra takes for its schema.
    for name, file in (*zip(WITHOUT_CHOICES, WITHOUT_CHOICES, strict=True), ("stored_folders", "folders")):
        store.store(name=name, node=OmegaConf.load(CONF / f"{file}.yaml"))
    OmegaConf.register_new_resolver("lamella.home", lambda path: str(home() / path), replace=True)
    OmegaConf.register_new_resolver("lamella.store", lambda: f"sqlite:///{store_file()}", replace=True)
    started = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"  # one for all processes of a sweep
    OmegaConf.register_new_resolver("lamella.started", lambda: started, replace=True)
    OmegaConf.register_new_resolver("lamella.data", lambda: str(data()), replace=True)
    OmegaConf.register_new_resolver("lamella.absolute", lambda path: str(Path(at_home(path)).absolute()), replace=True)


def _composable(schema: type) -> type:
    """A schema as Hydra needs it to compose: any keys beside a `_target_`, and nothing frozen."""
    fields: list[Any] = []
    for name, hint in hints_of(schema).items():
        if group := plain_group(hint):
            inner = _composable(group)
            fields.append((name, inner, dataclasses.field(default_factory=inner)))
        elif target_class(hint):
            fields.append((name, dict[str, Any] | None if typing.get_args(hint) else dict[str, Any], MISSING))
        else:
            kind = kind_and_key(hint)[0]
            taken = Any if kind == Texts else dict[str, Any] if typing.get_origin(kind) is dict else kind
            fields.append((name, taken, MISSING))
    return dataclasses.make_dataclass(schema.__name__, fields)
