"""A sweep whose jobs are all checked before the first begins. Hydra finds its plugins in this package alone."""

import contextlib
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from lamella.config.check import check
from lamella.config.schema import SCHEMAS, Config
from lamella.errors import LamellaError


class CheckedSweeper(BasicSweeper):
    """Hydra's own sweeper, but every job is held to the schema before anything is made."""

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        name = Path(self.config.hydra.sweep.dir).name  # holds the time; read once, so that all jobs are given the same
        overrides = OverridesParser.create(config_loader=loader).parse_overrides([*self._parse_config(), *arguments])
        (jobs,) = self.split_arguments(overrides, None)
        for number, job_overrides in enumerate(jobs):
            job = loader.load_sweep_config(self.config, job_overrides)
            with open_dict(job):
                job.hydra.job.num, job.hydra.job.id = number, str(number)
            HydraConfig.instance().set_config(job)  # for what interpolates ${hydra:...}
            task = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
            checked: Any = check(task, SCHEMAS[job.hydra.job.config_name])
        try:
            results = super().sweep(arguments)
        except Exception:
            with contextlib.suppress(LamellaError):  # what was done before a job failed; the failure itself goes on
                _compare(checked, name)
            raise
        _compare(checked, name)
        return results

    def validate_batch_is_legal(self, batch: Any) -> None:
        """Done above, for all batches at once."""


def _compare(checked: Any, sweep: str) -> None:
    """Compares the runs of a sweep of experiments; other commands have nothing to compare."""
    if isinstance(checked, Config):
        from lamella.commands import compare as comparing  # late: the jobs have imported what it needs

        comparing.after_sweep(checked.tracking.uri, sweep, Path(checked.paths.output) / "reports")


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="checked",
    node={"_target_": f"{__name__}.{CheckedSweeper.__name__}", "max_batch_size": None, "params": None},
    provider="lamella",
)
