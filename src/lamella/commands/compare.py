"""Comparing: finished runs from the store to a table, a verdict and a report, which is kept in the store, too."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lamella import reporting as report
from lamella import tracking
from lamella.config.check import check
from lamella.config.paths import typed
from lamella.config.schema import Compare
from lamella.config.targets import translated
from lamella.console import console
from lamella.errors import ConfigError, StorageError
from lamella.metrics.catalogue import lookup
from lamella.reporting.cohorts import APART, MASKS, data_differences, differences
from lamella.reporting.failures import FAILED
from lamella.reporting.summary import counted
from lamella.reporting.tables import show, show_beside, show_pairs

_MOST_PAIRS = 10  # on the terminal; the files have all


def run(cfg: DictConfig) -> None:
    """Compares the runs that the configuration picks.

    Raises:
        LamellaError: anything a user can mend.
    """
    checked = check(cfg, Compare)
    uri = checked.tracking.uri
    if (checked.experiment is None) == (checked.runs is None):
        raise ConfigError(
            "what is to be compared is not said" if checked.runs is None else "experiment and runs are both set",
            "Write experiment=NAME (an MLflow experiment) or runs=[ID,ID].",
        )
    low, high = lookup(checked.metric).bounds
    if checked.margin is not None and checked.margin >= high - low:
        raise ConfigError(
            f"margin={checked.margin:g} is no margin: {checked.metric} lies between {low:g} and {high:g}",
            "It is in units of the score: margin=0.01 is one point of a Dice.",
        )
    if checked.runs is None:
        found = tracking.finished(uri, experiment=checked.experiment, where=checked.filter or "")
    else:
        found = [tracking.read(uri, run_id) for run_id in checked.runs]
    found = [run for run in found if run.tags.get("lamella.kind") not in APART]
    if not found:
        raise StorageError("no finished run matches", f"`{typed('ui')}` lists the runs and their states.")
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    asked: dict[str, Any] = {"margin": checked.margin, "leader": checked.leader, "failure": checked.failure}
    make(found, uri, score=checked.metric, k=checked.cases, output=Path(checked.output), name=now, **asked)


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
    """Compares runs of one experiment: prints, writes the files, and keeps them in the store as a run of its own.

    Args:
        found: runs, in the order in which they began.
        score: what methods are compared by.
        k: cases of each kind in the gallery.
        output: where a folder for the files is made.
        name: of that folder, behind the experiment's.
        margin: a difference up to it counts as equality; None: equality is not tested.
        leader: only whether the best mean is better than all others is tested.
        failure: the Dice below which an image failed; None: as the runs have it.
        job: what this comparison is known by, so that there is one run of it; None: a new run.

    Raises:
        ConfigError: the runs do not share such a score.
        StorageError: a run's files cannot be read, or the report cannot be kept.
    """
    out = console()
    experiment = found[0].experiment
    folder = output / (re.sub(r"[^\w.-]", "_", experiment) + f"-{name}")
    with out.status("comparing"):
        cohorts, notes = report.cohorts(found)
        if not cohorts:
            raise StorageError("there is nothing to compare", " ".join(notes))
        trained = next((run for run in found if run.tags.get("lamella.kind") != MASKS), found[0])
        config: Any = OmegaConf.to_container(OmegaConf.load(trained.fetch("config.yaml")))
        said = translated(config, 0).get("literature") or {}
        limits = (float(run.params["score.failure"]) for run in found if "score.failure" in run.params)
        below = next(limits, FAILED) if failure is None else failure
        asked: dict[str, Any] = {"margin": margin, "leader": leader, "failure": below}
        sections = [report.section(cohort, score, said, notes=notes, k=k, **asked) for cohort in cohorts]
        title = f"{experiment}: {counted(sum(len(c.methods) for c in cohorts), 'method')}"
        page = report.write(folder, title, sections)
    for section in sections:
        show(section.summary, report.heading(section), section.notes, out)
        if 0 < len(section.comparisons) <= _MOST_PAIRS:
            show_pairs(section.comparisons, [section.on(pair) for pair in section.comparisons], score, out)
        show_beside(section.summary, out)
        for sentence in [*section.verdict, *(section.learning.sentences if section.learning else ())]:
            out.print(sentence)
    if len(sections) > 1:
        differing = ", ".join(differences(cohorts)) or "their test images"
        said = f"These are {len(sections)} protocols: their scores are not to be compared. They differ in: {differing}."
        out.print(said)
        for sentence in data_differences(cohorts):
            out.print(sentence)
    params = {
        "metric": score,
        "margin": margin,
        "leader": leader,
        "failure": below,
        "runs": " ".join(run.run_id for run in found),
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
            out.print(f"report {page}", soft_wrap=True)  # the store has it, or another process keeps it
            return
        if earlier:
            before = tracking.unfinished(uri, earlier.run_id, output)
    with tracking.start(
        uri=uri,
        artifacts=None,
        experiment=experiment,
        run_name=f"comparison of {title.partition(': ')[2]}",
        params=params,
        tags=tags,
        output=output,
        before=before,
    ) as kept:
        tracking.let_go()
        kept.log_folder(folder)
    out.print(f"report {page}", soft_wrap=True)
