"""The way in: Hydra's entry, with a user's mistakes turned into one message and exit code 1."""

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lamella import config
from lamella.errors import LamellaError

Job = Callable[[DictConfig], Any]


class CheckedSweeper(BasicSweeper):
    """Hydra's own sweeper, but every job is held to the schema before the first one starts."""

    def validate_batch_of_jobs(self, batch: list[list[str]]) -> None:
        assert self.config_loader is not None
        assert self.config is not None
        for number, overrides in enumerate(batch):
            job = self.config_loader.load_sweep_config(self.config, overrides)
            hydra_node = job.pop("hydra")
            hydra_node.job.num, hydra_node.job.id = number, str(number)
            config.check(job)


def main(config_name: str, job: Job) -> None:
    """Runs `job` on the configuration that `conf/{config_name}.yaml` and the command line give."""
    config.register()
    Plugins.instance().register(CheckedSweeper)
    store = ConfigStore.instance()
    target = f"{CheckedSweeper.__module__}.{CheckedSweeper.__qualname__}"
    store.store(
        group="hydra/sweeper",
        name="checked",
        node={"_target_": target, "max_batch_size": None, "params": None},
    )
    store.store(group="hydra/help", name="lamella", node={"app_name": "lamella", "template": _help(), "header": "", "footer": ""})  # fmt: skip
    # Hydra then raises instead of printing its own report and leaving.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    debug = any(argument.lstrip("+") in ("debug=true", "debug=True", "debug=1") for argument in sys.argv[1:])
    try:
        hydra.main(version_base="1.3", config_path=str(config.CHECKOUT / "conf"), config_name=config_name)(job)()
    except KeyboardInterrupt:
        sys.exit(_report("interrupted", "", 130))
    except (LamellaError, HydraException, OmegaConfBaseException, OSError) as error:
        if debug:
            traceback.print_exc()
        sys.exit(_report(*_explain(error)))


def sweep_name() -> str | None:
    """The name that all jobs of one sweep share; None outside a sweep."""
    hydra_config = HydraConfig.get()
    return str(hydra_config.sweep.dir).rsplit("/", 1)[-1] if hydra_config.mode.name == "MULTIRUN" else None


def _report(problem: str, remedy: str, code: int = 1) -> int:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.write(f"error: {problem}\n" + (f"  {remedy}\n" if remedy else ""))
    return code


def _explain(error: BaseException) -> tuple[str, str]:
    """A problem in one line, and what to do about it."""
    if isinstance(error, LamellaError):
        return error.problem, error.remedy
    if isinstance(error, OSError):
        return _os_error(error)
    cause = error.__cause__
    text = str(error)
    if match := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(match[1].split("@")[0])
    if match := re.search(r"Could not find '([^']+)'\s+Available options in '([^']+)':\s*(.*)", text, re.DOTALL):
        group, options = match[2], match[3].split()
        wrong = match[1].removeprefix(f"{group}/")
        return f"there is no {group} {wrong!r}", config.suggestion(wrong, options)
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        text = str(cause)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    return (f"{key}: " if key else "") + lines[0], "" if len(lines) < 2 or key else " ".join(lines[1:])


def _unknown_key(key: str) -> tuple[str, str]:
    """A key that no schema and no chosen group holds. Its siblings are read from the files Hydra composes."""
    parent, _, name = key.rpartition(".")
    try:
        with hydra.initialize_config_dir(str(config.CHECKOUT / "conf"), version_base="1.3"):
            node: Any = hydra.compose("train")
        for part in parent.split(".") if parent else []:
            node = node[part]
        names = [str(k) for k in node if k != "_target_"]
    except Exception:  # the parent does not exist either
        return f"there is no key {key!r}", "`--help` lists all keys."
    return f"there is no key {key!r}", config.suggestion(name, names)


def _os_error(error: OSError) -> tuple[str, str]:
    place = f"{error.filename}: " if error.filename else ""
    return (
        f"{place}{error.strerror or error}",
        "Check the path, its permissions and the free space. `debug=true` shows where.",
    )


def _help() -> str:
    return (
        """Lamella: run, score and compare segmentation experiments.

  python train.py dataset=blood model=ternausnet        one experiment
  python train.py -m model=unet,ternausnet seed=1,2     a sweep: every combination
  python train.py --cfg job                             show the configuration, run nothing

== Choices (group=choice) ==
$APP_CONFIG_GROUPS

== Keys (key=value) ==
"""
        + config.meanings()
        + """

Keys of the chosen dataset, model, loss, optimizer and scheduler are in the configuration below.

== Configuration ==
$CONFIG

Flags: --help, --cfg job, -m (sweep), --info, --hydra-help. `debug=true` shows tracebacks.
"""
    )
