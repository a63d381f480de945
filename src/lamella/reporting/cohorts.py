"""Finished runs -> cohorts: unlike protocols are kept apart, seeds of one method are joined, nothing counts twice."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lamella.errors import StorageError
from lamella.reporting.cohort import Cohort, Method, Repetition
from lamella.tracking import FinishedRun

# What may differ between repetitions of one method: it changes no score, or is what repetitions are there for.
_SAME = ("seed", "model.seed", "debug", "trainer.progress", "data.workers", "dataset.root", "score.seen")
_SAME_GROUPS = ("tracking.", "paths.", "published.")
_MOST_IN_A_LABEL = 3
# A protocol's entries that a reader would not understand by their names.
_ENTRIES = {
    "resized": "soft scores, resized to pixels",
    "tolerance": "tolerance of outlines, pixels",
    "tolerance_nm": "tolerance of outlines, nm",
    "smallest": "smallest cell, pixels",
    "neck": "neck at which cells are cut apart, pixels",
}


def cohorts(found: Sequence[FinishedRun]) -> tuple[list[Cohort], list[str]]:
    """Groups runs into cohorts, the largest first.

    Left out, each with a note: a run that repeats an earlier one's method and seed on the same protocol (the later
    one counts), an evaluation that repeats its own run's test, and a run that was scored by an older Lamella.

    Args:
        found: in the order in which they began.

    Returns:
        The cohorts, and notes on what was left out.

    Raises:
        StorageError: a run's scores cannot be read, or runs of one protocol were scored on unlike images.
    """
    notes: list[str] = []
    by_protocol: dict[str, list[FinishedRun]] = {}
    for run in found:
        if run.tags.get("lamella.kind") != "comparison":
            by_protocol.setdefault(run.tags["lamella.protocol"], []).append(run)
    result = []
    for protocol, some in by_protocol.items():
        own = {run.run_id for run in some}
        runs = [run for run in some if run.tags.get("lamella.evaluates") not in own]
        methods = [_method(label, of_method, notes) for label, of_method in by_method(runs).items()]
        kept = tuple(method for method in methods if method is not None)
        if kept:
            result.append(_cohort(json.loads(protocol), kept, runs))
    return sorted(result, key=lambda cohort: -len(cohort.methods)), notes


def by_method(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Runs by method: the model's name and whatever else, beside the seed, differs between runs of that model."""
    by_model: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_model.setdefault(run.params["model.name"], []).append(run)
    result: dict[str, list[FinishedRun]] = {}
    for model, some in by_model.items():
        keys = sorted({key for run in some for key in run.params if _matters(key)})
        varied = [key for key in keys if len({run.params.get(key) for run in some}) > 1]
        settings = [tuple(f"{key}={run.params.get(key, '')}" for key in varied) for run in some]
        numbers = {each: number for number, each in enumerate(dict.fromkeys(settings), 1)}
        for run, setting in zip(some, settings, strict=True):
            short = " ".join(setting) if len(varied) <= _MOST_IN_A_LABEL else f"setting {numbers[setting]}"
            result.setdefault(f"{model} {short}".strip(), []).append(run)
    return result


def _matters(key: str) -> bool:
    return key not in _SAME and not key.startswith(_SAME_GROUPS)


def _method(label: str, runs: Sequence[FinishedRun], notes: list[str]) -> Method | None:
    by_seed: dict[int, Repetition] = {}
    for run in runs:
        scores = run.scores()
        if "group" not in scores:
            notes.append(f"{label}: run {run.run_id} was scored by an older version and is left out; train it again.")
            continue
        seed = int(run.params["seed"])
        if seed in by_seed:
            notes.append(
                f"{label}: run {by_seed[seed].run_id} has the same seed {seed} as the later {run.run_id}: left out."
            )
        by_seed[seed] = Repetition(
            run_id=run.run_id,
            name=run.name,
            seed=seed,
            params=run.params,
            metrics=run.metrics,
            scores=scores,
            curve=run.curve(),
            fetch=run.fetch,
        )
    if not by_seed:
        return None
    first = next(iter(by_seed.values()))
    deterministic = first.metrics.get("model/parameters") == 0 and "model.seed" not in first.params
    return Method(label, tuple(by_seed[seed] for seed in sorted(by_seed)), deterministic)


def _cohort(protocol: Mapping[str, Any], methods: tuple[Method, ...], runs: Sequence[FinishedRun]) -> Cohort:
    ids = methods[0].repetitions[0].scores["id"]
    for method in methods:
        for each in method.repetitions:
            if not each.scores["id"].equals(ids):
                raise StorageError(
                    f"run {each.run_id} was scored on other images than {methods[0].repetitions[0].run_id}, "
                    "though their protocols say the same"
                )
    first = next(run for run in runs if run.run_id == methods[0].repetitions[0].run_id)
    return Cohort(
        dataset=first.params["dataset.name"],
        phantom=first.tags["lamella.phantom"] == "true",
        methods=methods,
        protocol={_ENTRIES.get(name, name): str(value) for name, value in protocol.items()},
        card=json.loads(first.fetch("data/card.json").read_text()),
    )
