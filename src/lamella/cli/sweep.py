"""A sweep: its jobs are checked before the first begins, and its finished runs compared after the last."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from lamella.cli.command_line import Only, Typed
from lamella.cli.help import groups
from lamella.cli.jobs import Jobs
from lamella.config.check import check, is_foreign
from lamella.config.schema import SCHEMAS, Config
from lamella.config.words import suggestion
from lamella.console import console
from lamella.errors import ConfigError
from lamella.splits import require_fold


@dataclass(frozen=True)
class Sweep:
    """A sweep whose jobs are sound.

    Attributes:
        jobs: what all of them know, in whatever process they run.
        checked: the configuration of one of its jobs.
        one_store: whether all its runs are kept in one place.
    """

    jobs: Jobs
    checked: Any
    one_store: bool

    def carry_out(self, launch: Callable[[], Any]) -> int:
        """The exit code, when all jobs have come to an end: 1 where one failed, now or in an earlier sweep.

        The store that they share is made before the first begins. What became of them is told at the end, also where
        that comes too soon; the finished ones are compared.

        Args:
            launch: has Hydra run all jobs.

        Raises:
            LamellaError: the store cannot be used, or what was made cannot be compared.
        """
        self._ready()
        self.jobs.clear()
        try:
            launch()
        except BaseException:
            if self.jobs.records():
                with contextlib.suppress(OSError):  # nobody reads any more: what ended it goes on
                    self.jobs.table(console())
            raise
        self._look_elsewhere()
        self.jobs.table(console())
        self._compare()
        return int(self.jobs.failed)

    def _ready(self) -> None:
        """Makes the store, so that no two jobs do, and what is wrong with it is known before anything is computed."""
        if isinstance(self.checked, Config) and self.one_store and not self.checked.tracking.offline:
            from lamella import tracking  # late: it takes seconds

            keys = self.checked.tracking
            tracking.ready(keys.uri, keys.artifacts, keys.experiment)

    def _look_elsewhere(self) -> None:
        """Looks once more at jobs that another process was at work on: it may have finished them meanwhile."""
        elsewhere = [each for each in self.jobs.records() if each.state == "running elsewhere"]
        if elsewhere and isinstance(self.checked, Config):
            from lamella import tracking

            uri = self.checked.tracking.uri
            found = tracking.finished(uri, where=tracking.only([each.run_id for each in elsewhere]))
            scores = {run.run_id: run.metrics.get("test/dice") for run in found}
            for each in elsewhere:
                if each.run_id in scores:
                    self.jobs.write(replace(each, state="finished elsewhere", score=scores[each.run_id]))

    def _compare(self) -> None:
        """Compares the finished runs of a sweep of experiments; other commands have nothing to compare.

        Where another process is at work on a job of it, that is left to who ends last.
        """
        if not isinstance(self.checked, Config) or self.checked.tracking.offline:
            return
        records = self.jobs.records()
        if all(each.state != "running elsewhere" for each in records):
            from lamella.commands import compare as comparing

            output = Path(self.checked.paths.output) / "reports"
            run_ids = [each.run_id for each in records if each.state.startswith("finished")]
            comparing.after_sweep(self.checked.tracking.uri, run_ids, output, self.jobs.sweep)


class RefusedJobError(Exception):
    """A job of a sweep that cannot be composed, or is no sound configuration; its cause says why.

    Attributes:
        which: the job, in words.
        overrides: what it is given.
    """

    def __init__(self, which: str, overrides: Sequence[str]) -> None:
        super().__init__(which, overrides)
        self.which, self.overrides = which, overrides


def checked(command: str, typed: Typed) -> Sweep:
    """The sweep that somebody typed, every job of it held to the schema; nothing is built or written.

    Args:
        command: whose schema it is.
        typed: the command line.

    Raises:
        RefusedJobError: a job would be refused.
        ConfigError: there is no such sweep.
    """
    with hydra.initialize(None, job_name=command, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        said = [*typed.overrides, "hydra.mode=MULTIRUN"]
        whole = loader.load_configuration(typed.config_name or command, said, RunMode.MULTIRUN)
        choices = whole.hydra.runtime.choices
        chosen = _jobs(whole, loader, typed.only)
        folder = Path(whole.hydra.sweep.dir)
        count = len(chosen) if choices["hydra/sweeper"] == "basic" else None
        shared = frozenset[str]().union(*chosen[:1]).intersection(*chosen) if len(chosen) > 1 else frozenset()
        jobs = Jobs(folder.name, folder.absolute(), count, shared)
        stores = set()
        for number, overrides in enumerate(chosen):
            try:
                job = loader.load_sweep_config(whole, overrides)
                with open_dict(job):
                    job.hydra.job.num, job.hydra.job.id = number, str(number)
                HydraConfig.instance().set_config(job)  # for what interpolates ${hydra:...}
                task = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
                result: Any = check(task, SCHEMAS[command])
                _require_fold(result)
            except Exception as error:
                raise RefusedJobError(jobs.which(number, overrides), overrides) from error
            if isinstance(result, Config):
                stores.add((result.tracking.uri, result.tracking.artifacts))
    return Sweep(jobs, result, len(stores) == 1)


def _require_fold(checked: Any) -> None:
    """Nothing, or a refusal of a fold that there is not: a sweep would find out when its other folds are trained."""
    dataset = getattr(checked, "dataset", None)
    if dataset is not None and not is_foreign(dataset.split):
        keys = dataset.split.arguments
        if {"fold", "folds"} <= keys.keys():
            require_fold(keys["fold"], keys["folds"])


def _combinations(
    overrides: Sequence[Override], batch: int | None, only: Sequence[tuple[str, Override]] = ()
) -> list[list[list[str]]]:
    """The overrides of each job, every combination of values, in the batches that are run at a time.

    Args:
        overrides: what all jobs are given; of a key that is said twice the last counts.
        batch: jobs a batch; None: all.
        only: what is given to those jobs alone that made the choice before it.
    """
    values = {each.get_key_element(): each for each in overrides}
    for override in (*values.values(), *(each for _, each in only)):
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(
                f"{override.input_line} has no end of values, and a sweep runs all",
                f"List those you mean: {override.key_or_group}=0.1,0.2; or choose a sweeper that searches.",
            )
    jobs = []
    for job in itertools.product(*([f"{key}={value}" for value in _values(each)] for key, each in values.items())):
        made = {value for key, _, value in (each.partition("=") for each in job) if key.lstrip("+") in groups()}
        meant = [each for choice, each in only if choice in made]
        more = itertools.product(*([f"{each.key_or_group}={value}" for value in _values(each)] for each in meant))
        jobs += [[*job, *these] for these in more]
    return [jobs[start : start + (batch or len(jobs))] for start in range(0, len(jobs), batch or len(jobs))]


def _jobs(whole: DictConfig, loader: ConfigLoader, only: Sequence[Only]) -> list[list[str]]:
    """The overrides of every job. Other sweepers than Hydra's own choose for themselves: every value once is enough."""
    said = OmegaConf.select(whole, "hydra.sweeper.params") or OmegaConf.create()
    params: Any = OmegaConf.to_container(said, resolve=True)
    parser = OverridesParser.create(config_loader=loader)
    task: Any = OmegaConf.to_container(whole.hydra.overrides.task, resolve=False)
    overrides = parser.parse_overrides([*(f"{key}={value}" for key, value in params.items()), *task])
    values = {
        each.get_key_element(): _values(each) for each in overrides
    }  # of a key that is said twice the last counts
    if empty := [each.input_line for each in overrides if not _values(each)]:
        raise ConfigError(f"{empty[0]}: there is no such value", "A sweep needs one at least.")
    if whole.hydra.runtime.choices["hydra/sweeper"] != "basic":
        if only:
            its = f"hydra/sweeper={whole.hydra.runtime.choices['hydra/sweeper']}"
            problem = f"{only[0].override} for {only[0].choice} alone: {its} chooses for itself what a job is given"
            raise ConfigError(problem, "Set it for all jobs, or leave the sweeper out.")
        first = {key: [f"{key}={each[0]}"] for key, each in values.items()}
        others = [{**first, key: [f"{key}={value}"]} for key, each in values.items() for value in each[1:]]
        return [list(itertools.chain(*job.values())) for job in (first, *others)]
    for each in only:
        choices = {*itertools.chain(*(values[key] for key in values if key.lstrip("+") in groups()))}
        if each.choice not in choices:
            problem = f"{each.override} is for the jobs of {each.choice} alone, and there is none"
            raise ConfigError(problem, suggestion(each.choice, choices) or "Name the choices: -m model=unet,otsu.")
    meant = [(each.choice, parser.parse_override(each.override)) for each in only]
    # Hydra's own sweeper, which knows no such keys, parts its arguments by this. It is found where Hydra finds it.
    sweeper: Any = Plugins.instance().class_name_to_class["hydra._internal.core_plugins.basic_sweeper.BasicSweeper"]
    sweeper.split_arguments = functools.partial(_combinations, only=meant)
    (jobs,) = _combinations(overrides, None, meant)
    return jobs


def _values(override: Override) -> list[str]:
    """What a key is given in turn; of an interval both ends."""
    if override.is_discrete_sweep():
        return list(override.sweep_string_iterator())
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    return [override.get_value_element_as_str()]
