"""Comparing: finished runs from the store to a table, a verdict and a report, which is kept in the store, too."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lamella import reporting, tracking
from lamella.config.check import check
from lamella.config.paths import home, store_file, typed
from lamella.config.schema import Compare
from lamella.config.targets import translated
from lamella.console import console
from lamella.errors import ConfigError, StorageError
from lamella.metrics.catalogue import lookup
from lamella.reporting import Report
from lamella.reporting.cohorts import APART, MASKS
from lamella.reporting.failures import FAILED
from lamella.reporting.summary import counted, listed

_MOST_NAMES = 3  # of experiments in the name of a folder


def run(cfg: DictConfig) -> None:
    """Compares the runs that the configuration picks.

    Raises:
        LamellaError: anything a user can mend.
    """
    checked = check(cfg, Compare)
    _require_margin(checked.margin, checked.metric)
    found = _found(checked.tracking.uri, checked.experiment, checked.runs, checked.filter)
    asked: dict[str, Any] = {"margin": checked.margin, "leader": checked.leader, "failure": checked.failure}
    place: dict[str, Any] = {"output": Path(checked.output), "name": _now()}
    make(found, checked.tracking.uri, score=checked.metric, k=checked.cases, **place, **asked)


def report(
    experiment: str | Sequence[str] | None,
    *,
    runs: Sequence[str] | None,
    filter: str | None,
    metric: str,
    margin: float | None,
    leader: bool,
    failure: float | None,
    cases: int,
    output: str | Path | None,
    uri: str | None,
    keep: bool,
) -> Report:
    """Finished runs compared, from Python: see `lamella.report`, which has the defaults."""
    _require_margin(margin, metric)
    store = uri or f"sqlite:///{store_file()}"
    found = _found(store, experiment, runs, filter)
    place = home() / "outputs" / "reports" if output is None else Path(output).expanduser()
    asked: dict[str, Any] = {"margin": margin, "leader": leader, "failure": failure}
    made = _compared(found, store, score=metric, k=cases, output=place, name=_now(), **asked)
    if keep:
        _keep(made, found, store, place, asked)
    return made


def after_sweep(uri: str, run_ids: Sequence[str], output: Path, name: str) -> None:
    """Compares the finished runs of a sweep's jobs, one report for each MLflow experiment they went to.

    A sweep with a single finished run in an experiment has nothing to compare there. One comparison of the same runs
    is kept; where it was interrupted, its run is gone on with.

    Args:
        uri: where the runs are kept.
        run_ids: of its jobs, also of those that earlier sweeps finished.
        output: where a folder for the files is made.
        name: of that folder, behind the experiment's.

    Raises:
        StorageError: the store cannot be read.
    """
    found = tracking.finished(uri, where=tracking.only(run_ids)) if run_ids else []
    for experiment in dict.fromkeys(run.experiment for run in found):
        runs = [run for run in found if run.experiment == experiment]
        if len(runs) > 1:
            job = hashlib.sha256(" ".join(run.run_id for run in runs).encode()).hexdigest()
            make(runs, uri, score="dice", k=3, output=output, name=name, job=job)


def make(
    found: Sequence[tracking.FinishedRun],
    uri: str,
    *,
    score: str,
    k: int,
    output: Path,
    name: str,
    margin: float | None = None,
    leader: bool = False,
    failure: float | None = None,
    job: str | None = None,
) -> None:
    """Compares runs: prints, writes the files, and keeps them in the store as a run of its own.

    Args:
        found: runs, in the order in which they began.
        score: what methods are compared by.
        k: cases of each kind in the gallery.
        output: where a folder for the files is made.
        name: of that folder, behind the experiments'.
        margin: a difference up to it counts as equality; None: equality is not tested.
        leader: only whether the best mean is better than all others is tested.
        failure: the Dice below which an image failed; None: as the runs have it.
        job: what this comparison is known by, so that there is one run of it; None: a new run.

    Raises:
        ConfigError: the runs do not share such a score.
        StorageError: a run's files cannot be read, or the report cannot be kept.
    """
    out = console()
    asked: dict[str, Any] = {"margin": margin, "leader": leader, "failure": failure}
    with out.status("comparing"):
        made = _compared(found, uri, score=score, k=k, output=output, name=name, **asked)
    made.show(out)
    _keep(made, found, uri, output, asked, job)
    out.print(f"report {made.page}", soft_wrap=True)


def _require_margin(margin: float | None, score: str) -> None:
    """Raises ConfigError where a margin is none: not above 0, or as wide as all that the score can be."""
    low, high = lookup(score).bounds
    if margin is not None and not 0 < margin < high - low:
        raise ConfigError(
            f"margin={margin:g} is no margin: {score} lies between {low:g} and {high:g}",
            "It is above 0, in units of the score: margin=0.01 is one point of a Dice.",
        )


def _found(
    uri: str, experiment: str | Sequence[str] | None, runs: Sequence[str] | None, where: str | None
) -> list[tracking.FinishedRun]:
    """The runs that are asked for, in the order in which they began.

    Raises:
        ConfigError: it is not said which, or said twice.
        StorageError: the store cannot be read, or has no such experiment or run, or none that matches.
    """
    names = [experiment] if isinstance(experiment, str) else None if experiment is None else list(experiment)
    if (not names) == (not runs):
        raise ConfigError(
            "experiment and runs are both set" if runs else "what is to be compared is not said",
            "Write experiment=NAME (an MLflow experiment), experiment=[NAME,NAME] or runs=[ID,ID].",
        )
    if names:
        found = tracking.finished(uri, experiment=names, where=where or "")
    else:
        found = [tracking.read(uri, run_id) for run_id in runs or ()]
    found = [run for run in found if run.tags.get("lamella.kind") not in APART]
    lacking = [name for name in names or () if name not in {run.experiment for run in found}]
    if lacking or not found:
        of = f" of experiment {lacking[0]!r}" if names and len(names) > 1 else ""
        raise StorageError(f"no finished run{of} matches", f"`{typed('ui')}` lists the runs and their states.")
    return found


def _now() -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}"


def _compared(
    found: Sequence[tracking.FinishedRun],
    uri: str,
    *,
    score: str,
    k: int,
    output: Path,
    name: str,
    margin: float | None,
    leader: bool,
    failure: float | None,
) -> Report:
    """Runs compared, and the files of the comparison written; see `make`."""
    experiments = list(dict.fromkeys(run.experiment for run in found))
    cohorts, notes = reporting.cohorts(found)
    if not cohorts:
        raise StorageError("there is nothing to compare", " ".join(notes))
    published = _published(found)
    limits = (float(run.params["score.failure"]) for run in found if "score.failure" in run.params)
    below = next(limits, FAILED) if failure is None else failure
    asked: dict[str, Any] = {"notes": notes, "k": k, "margin": margin, "leader": leader, "failure": below}
    asked["listed"] = tracking.listed(uri, experiments)
    sections = [reporting.section(each, score, published.get(each.dataset, {}), **asked) for each in cohorts]
    named = [*experiments[:_MOST_NAMES], *(["more"] if len(experiments) > _MOST_NAMES else [])]
    folder = output / ("-".join(re.sub(r"[^\w.-]", "_", each) for each in named) + f"-{name}")
    title = f"{listed(experiments)}: {counted(len(reporting.matched(sections)), 'method')}"
    return reporting.write(folder, title, sections)


def _published(found: Sequence[tracking.FinishedRun]) -> dict[str, Any]:
    """What others found on each data set: of each experiment what its first trained run was given to stand beside."""
    first: dict[str, tracking.FinishedRun] = {}
    for run in sorted(found, key=lambda run: run.tags.get("lamella.kind") == MASKS):
        first.setdefault(run.experiment, run)
    published: dict[str, Any] = {}
    for run in first.values():
        config: Any = OmegaConf.to_container(OmegaConf.load(run.fetch("config.yaml")))
        said = translated(config, 0).get("literature") or {}
        published.setdefault(said.get("dataset", ""), said)
    return published


def _keep(
    made: Report,
    found: Sequence[tracking.FinishedRun],
    uri: str,
    output: Path,
    asked: Mapping[str, Any],
    job: str | None = None,
) -> None:
    """Keeps a comparison in the store, as a run of the first experiment whose runs it compares; a job's only once."""
    experiment = found[0].experiment
    ids = " ".join(run.run_id for run in found)
    params = {
        "metric": made.sections[0].score,
        **asked,
        "failure": made.sections[0].failure,
        "runs": ids if len(ids) <= tracking.PARAM_LIMIT else f"{len(found)}, by their ids on the page",
    }
    tags = {"lamella.kind": "comparison"}
    before = None
    if job is not None:
        tags |= {"lamella.job": job}
        tracking.claim(uri, output, job)
        earlier = next(iter(tracking.attempts(uri, experiment, job, output)), None)
        if earlier and (earlier.status == "FINISHED" or (earlier.status == "RUNNING" and not earlier.gone)):
            tracking.let_go()
            if earlier.status == "FINISHED":
                tracking.clear_away(earlier.run_id, output)
            return  # the store has it, or another process keeps it
        if earlier:
            before = tracking.unfinished(uri, earlier.run_id, output)
    with tracking.start(
        uri=uri,
        artifacts=None,
        experiment=experiment,
        run_name=f"comparison of {made.title.rpartition(': ')[2]}",
        params=params,
        tags=tags,
        output=output,
        before=before,
    ) as kept:
        tracking.let_go()
        kept.describe(reporting.described(made.sections, made.headings, made.overview), made.page.name)
        kept.log_folder(made.page.parent)
