"""Finished runs -> cohorts: unlike protocols are kept apart, seeds of one method are joined, nothing counts twice."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from lamella.data.manifest import changes
from lamella.errors import StorageError
from lamella.reporting.cohorts.shares import TAKE, by_share, named
from lamella.reporting.cohorts.types import Cohort, Method, SeedRun
from lamella.tracking import FinishedRun

# What may differ between runs of one method: it changes no score, or is what its runs are there for.
_SAME = {
    "seed",
    "model.seed",
    "debug",
    "trainer.progress",
    "data.workers",
    "dataset.root",
    "score.seen",
    "score.failure",
    "dataset.corrected",  # what its masks are, the tag `lamella.corrected` says
    "dataset.accepted",
    "plugins",
    "trainer.accelerator",  # the device is part of the protocol
}
_SAME_GROUPS = ("tracking.", "paths.", "literature.", "published.")  # the last is what kept runs call literature
_MOST_IN_A_LABEL = 3
RULES = "rules of undefined scores"
"""The entry of a protocol that says by which rules a score is undefined."""

OLDER = "older rules"
"""What stands there for runs that were kept before there were any."""

MASKS = "masks"
"""The kind of a run that scores masks which were made elsewhere: no network, so no device, precision or threshold."""

REPRODUCTION = "reproduction"
"""The kind of a run that was run to see whether another comes out the same: no seed of its own."""

APART = ("comparison", REPRODUCTION)
"""Kinds of runs that no comparison counts."""

# A protocol's entries that a reader would not understand by their names.
_ENTRIES = {
    "resized": "soft scores, resized to pixels",
    "tolerance": "tolerance of outlines, pixels",
    "tolerance_nm": "tolerance of outlines, nm",
    "smallest": "smallest cell, pixels",
    "neck": "neck at which cells are cut apart, pixels",
    "rules": RULES,
    "tiles": "rules of tiles and views",
}


def cohorts(found: Sequence[FinishedRun]) -> tuple[list[Cohort], list[str]]:
    """Groups runs into cohorts, the largest first.

    Left out, each with a note: a run that repeats an earlier one's method and seed on the same protocol (the later
    one counts), an evaluation that repeats its own run's test, and a run that was scored by an older Lamella.
    Masks that were made elsewhere stand in every cohort that agrees with them in all that their protocol says.

    Args:
        found: in the order in which they began.

    Returns:
        The cohorts, and notes on what was left out.

    Raises:
        StorageError: a run's scores cannot be read, or runs of one protocol were scored on unlike images.
    """
    notes: list[str] = []
    result = []
    by_protocol = _by_protocol([run for run in found if run.tags.get("lamella.kind") not in APART])
    for protocol, some in by_protocol.items():
        own = {run.run_id for run in some}
        runs = [run for run in some if run.tags.get("lamella.evaluates") not in own]
        methods = [_method(label, of_method, notes) for label, of_method in by_method(runs).items()]
        kept = tuple(method for method in methods if method is not None)
        if kept:
            compared, learning, said = by_share(kept)
            notes += said
            result.append(_cohort(json.loads(protocol), compared, learning, runs))
    return sorted(result, key=lambda cohort: -len(cohort.methods)), notes


def by_method(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Groups runs by method: by the model's name and all settings but the seed that differ between its runs.

    The code of a user's own network is a setting, too: a changed file makes another method; so are the corrected
    predictions that trained beside a data set's own images, which is what shows whether the work was worth it. What
    was trained on a share of the images is named by that share, whatever else differs: see `by_share`.
    """
    by_model: dict[str, list[tuple[FinishedRun, dict[str, str], str]]] = {}
    for run in runs:
        settings = {key: value for key, value in run.params.items() if not key.startswith(_SAME_GROUPS)}
        for module, fingerprint in json.loads(run.tags.get("lamella.code", "{}")).items():
            settings[f"code of {module}"] = fingerprint.removeprefix("sha256:")[:8]
        settings["corrected"] = run.tags.get("lamella.corrected", "none")
        by_model.setdefault(run.params["model.name"], []).append((run, settings, named(settings.pop(TAKE, "1"))))
    result: dict[str, list[FinishedRun]] = {}
    for model, some in by_model.items():
        keys = sorted({key for _, settings, _ in some for key in settings} - _SAME)
        varied = [key for key in keys if len({settings.get(key) for _, settings, _ in some}) > 1]
        labels = [tuple(f"{key}={settings.get(key, '')}" for key in varied) for _, settings, _ in some]
        numbers = {each: number for number, each in enumerate(dict.fromkeys(labels), 1)}
        for (run, _, share), label in zip(some, labels, strict=True):
            short = " ".join(label) if len(varied) <= _MOST_IN_A_LABEL else f"setting {numbers[label]}"
            result.setdefault(f"{model} {short}".strip() + share, []).append(run)
    return result


def _by_protocol(found: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """The runs of each protocol; masks that were made elsewhere stand with all runs whose protocol has theirs in it."""
    own = {run.run_id: json.loads(run.tags["lamella.protocol"]) for run in found}
    of_masks = {run.run_id for run in found if run.tags.get("lamella.kind") == MASKS}
    full = [run.run_id for run in found if run.run_id not in of_masks]
    result: dict[str, list[FinishedRun]] = {}
    for run in found:
        protocols = [run.tags["lamella.protocol"]]
        if run.run_id in of_masks:
            fitting = [id_ for id_ in full if own[run.run_id].items() <= own[id_].items()]
            protocols = [each.tags["lamella.protocol"] for each in found if each.run_id in fitting] or protocols
        for protocol in dict.fromkeys(protocols):
            result.setdefault(protocol, []).append(run)
    return result


def differences(cohorts: Sequence[Cohort]) -> list[str]:
    """The entries in which the protocols of cohorts differ, such as "device" or "data set"."""
    entries = [{"data set": each.dataset, **each.protocol} for each in cohorts]
    labels = dict.fromkeys(key for each in entries for key in each)
    return [label for label in labels if len({each.get(label) for each in entries}) > 1]


def data_differences(cohorts: Sequence[Cohort]) -> list[str]:
    """A sentence for each cohort of other data than the first one that is said of the same data set: what differs."""
    first: dict[str, Cohort] = {}
    sentences = []
    for each in cohorts:
        other = first.setdefault(each.dataset, each)
        if each.protocol.get("data") != other.protocol.get("data"):
            runs = [cohort.methods[0].runs[0] for cohort in (other, each)]
            rows = [json.loads(run.fetch("data/manifest.json").read_text()) for run in runs]
            sentences.append(f"Run {runs[1].run_id} is of other data than {runs[0].run_id}: {changes(*rows)}.")
    return sentences


def _method(label: str, runs: Sequence[FinishedRun], notes: list[str]) -> Method | None:
    by_seed: dict[int, SeedRun] = {}
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
        by_seed[seed] = SeedRun(
            run.run_id, run.name, seed, run.params, run.metrics, scores=scores, read_curve=run.curve, fetch=run.fetch,
            labelled=float(run.tags.get("lamella.labelled", "nan")),
        )  # fmt: skip
    if not by_seed:
        return None
    first = next(iter(by_seed.values()))
    nothing_drawn = first.metrics.get("model/parameters") == 0 and "model.seed" not in first.params
    deterministic = nothing_drawn or all(run.tags.get("lamella.kind") == MASKS for run in runs)
    return Method(label, tuple(by_seed[seed] for seed in sorted(by_seed)), deterministic)


def _cohort(
    protocol: Mapping[str, Any],
    methods: tuple[Method, ...],
    learning: Mapping[str, tuple[Method, ...]],
    runs: Sequence[FinishedRun],
) -> Cohort:
    leader = methods[0].runs[0]
    for each in (each for method in (*methods, *chain(*learning.values())) for each in method.runs):
        if not each.scores["id"].equals(leader.scores["id"]):
            raise StorageError(
                f"run {each.run_id} was scored on other images than {leader.run_id}, "
                "though their protocols say the same"
            )
    first = next(run for run in runs if run.run_id == leader.run_id)
    rules = protocol.get("rules", OLDER)
    return Cohort(
        dataset=first.params["dataset.name"],
        phantom=first.tags["lamella.phantom"] == "true",
        methods=methods,
        protocol={
            _ENTRIES.get(name, name): "none" if value is None else str(value)
            for name, value in {**protocol, "rules": rules}.items()
        },
        card=json.loads(first.fetch("data/card.json").read_text()),
        learning=learning,
    )
