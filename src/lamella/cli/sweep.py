"""A sweep: its jobs are checked before the first begins, and its finished runs compared after the last."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from lamella.config.check import check
from lamella.config.schema import SCHEMAS, Config
from lamella.errors import ConfigError


@dataclass(frozen=True)
class Sweep:
    """A sweep whose jobs are sound.

    Attributes:
        name: what all its runs share as the tag `lamella.sweep`, in whatever process they are made.
        elsewhere: whether its jobs run in processes of their own.
        checked: the configuration of one of its jobs.
    """

    name: str
    elsewhere: bool
    checked: Any

    def end(self) -> None:
        """Ends what still counts as running after all: a launcher that is stopped kills its processes outright.

        Raises:
            LamellaError: there is no store, or it cannot be written.
        """
        if self.elsewhere and isinstance(self.checked, Config):
            from lamella import tracking  # late: it takes seconds

            tracking.kill(self.checked.tracking.uri, self.name)

    def compare(self) -> None:
        """Compares the finished runs of a sweep of experiments; other commands have nothing to compare.

        Raises:
            LamellaError: there is no store, or it cannot be read.
        """
        if isinstance(self.checked, Config):
            from lamella.commands import compare as comparing  # late: it takes seconds

            output = Path(self.checked.paths.output) / "reports"
            comparing.after_sweep(self.checked.tracking.uri, self.name, output)


def checked(command: str, config_name: str, overrides: Sequence[str]) -> Sweep:
    """The sweep that these overrides ask for, every job of it held to the schema; nothing is built or written.

    Args:
        command: whose schema it is.
        config_name: the file of `conf/` that Hydra begins with.
        overrides: the command line, without flags.

    Raises:
        LamellaError: a job would be refused.
    """
    with hydra.initialize(None, job_name=command, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        whole = loader.load_configuration(config_name, [*overrides, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
        name = Path(whole.hydra.sweep.dir).name
        for number, chosen in enumerate(_jobs(whole, loader)):
            job = loader.load_sweep_config(whole, chosen)
            with open_dict(job):
                job.hydra.job.num, job.hydra.job.id = number, str(number)
            HydraConfig.instance().set_config(job)  # for what interpolates ${hydra:...}
            task = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
            result: Any = check(task, SCHEMAS[command])
    return Sweep(name, whole.hydra.runtime.choices["hydra/launcher"] != "basic", result)


def _jobs(whole: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """The overrides of every job. Other sweepers than Hydra's own choose for themselves: every value once is enough."""
    said = OmegaConf.select(whole, "hydra.sweeper.params") or OmegaConf.create()
    params: Any = OmegaConf.to_container(said, resolve=True)
    listed = [f"{key}={value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=loader)
    values = {}  # of a key that is said twice the last counts
    for override in parser.parse_overrides([*listed, *whole.hydra.overrides.task]):
        key = override.get_key_element()
        values[key] = [f"{key}={value}" for value in _values(override)]
        if not values[key]:
            raise ConfigError(f"{override.input_line}: there is no such value", "A sweep needs one at least.")
    if whole.hydra.runtime.choices["hydra/sweeper"] == "basic":
        return [list(job) for job in itertools.product(*values.values())]
    first = {key: each[0] for key, each in values.items()}
    others = [{**first, key: value} for key, each in values.items() for value in each[1:]]
    return [list(job.values()) for job in (first, *others)]


def _values(override: Override) -> list[str]:
    """What a key is given in turn; of an interval both ends."""
    if override.is_discrete_sweep():
        return list(override.sweep_string_iterator())
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    return [override.get_value_element_as_str()]
