"""Finished runs -> cohorts: unlike protocols apart, seeds and folds of one method joined, nothing counts twice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from lamella.data.manifest import changes
from lamella.errors import StorageError
from lamella.reporting.cohorts.folds import Plan, plans, repetitions, shared
from lamella.reporting.cohorts.origin import MASKS, Origin, evaluated, origin
from lamella.reporting.cohorts.shares import TAKE, by_share, named
from lamella.reporting.cohorts.types import Cohort, Method, SeedRun
from lamella.tracking import FinishedRun, Listed, bring

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
    "run",  # of masks that were made elsewhere: whose test images they are of
}
# Of kept runs literature was called published. Which images a split gives is part of the protocol, or is the fold.
_SAME_GROUPS = ("tracking.", "paths.", "literature.", "published.", "dataset.split.")
_MOST_IN_A_LABEL = 3
RULES = "rules of undefined scores"
"""The entry of a protocol that says by which rules a score is undefined."""

OLDER = "older rules"
"""What stands there for runs that were kept before there were any."""

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

    Folds of one plan are one cohort: of a parted plan every image stands once, with its score by the fold that judged
    it; see `lamella.reporting.cohorts.folds`. Left out, each with a note: a run that repeats an earlier one's method,
    fold and seed on the same protocol (the later one counts), an evaluation that repeats its own run's test, and a run
    that was scored by an older Lamella. Masks that were made elsewhere stand in every cohort that agrees with them in
    all that their protocol says.

    Args:
        found: in the order in which they began.

    Returns:
        The cohorts, and notes on what was left out.

    Raises:
        StorageError: a run's scores cannot be read, or runs of one protocol were scored on unlike images.
    """
    notes: list[str] = []
    compared = [run for run in found if run.tags.get("lamella.kind") not in APART]
    bring(compared, ["scores/test.csv"])
    parents = evaluated(found)
    folded, rest = plans(compared, parents, notes)
    result = [cohort for plan in folded for cohort in _over_folds(plan, parents, notes)]
    for protocol, some in _by_protocol(rest).items():
        by_id = {run.run_id: run for run in some}
        methods = [
            _method(label, runs, by_id, parents)
            for label, of_method in by_method(_own(some), parents).items()
            if (runs := _by_seed(label, [(run, "") for run in of_method], notes))
        ]
        if methods:
            result.append(_cohort(json.loads(protocol), methods, by_id, notes))
    return sorted(result, key=lambda cohort: -len(cohort.methods)), notes


def _own(found: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Runs of one protocol without the evaluations of one another, which repeat its test."""
    ids = {run.run_id for run in found}
    return [run for run in found if run.tags.get("lamella.evaluates") not in ids]


def _over_folds(plan: Plan, parents: Mapping[str, FinishedRun], notes: list[str]) -> list[Cohort]:
    """The cohort of a plan, over the folds that its methods share; where each has one alone, those are plain splits."""
    fold_of = {run.run_id: fold for run, fold in plan.runs}
    by_id = {run.run_id: run for run, _ in plan.runs}
    runs, masks = dict[str, list[SeedRun]](), list[str]()
    for label, some in by_method(_own(list(by_id.values())), parents).items():
        if its := _by_seed(label, [(run, fold_of[run.run_id]) for run in some], notes):
            runs[label] = its
            if all(run.tags.get("lamella.kind") == MASKS for run in some):
                masks.append(label)
                if plan.kind == "repeated":  # the same images in every fold: the same masks
                    runs[label] = [replace(its[-1], fold=fold) for fold in plan.ids]
    of = {label: {run.fold for run in its} for label, its in runs.items()}
    alone = [fold for fold in plan.ids if any(fold in folds for folds in of.values())]
    if any(len(folds) > 1 for folds in of.values()):
        labels, folds = shared(plan, runs, notes, masks=masks)
        if len(folds) > 1:
            over = {label: repetitions(plan.kind, label, runs[label], folds, notes) for label in labels}
            methods = [_method(label, some, by_id, parents, first=runs[label][0]) for label, some in over.items()]
            cohort = _cohort({**plan.protocol, "fold plan": plan.words(folds)}, methods, by_id, notes)
            return [replace(cohort, folds=plan.folding(folds, cohort.ids), card=_card(plan, folds, cohort))]
        runs, alone = {label: runs[label] for label in labels}, folds
    result = []
    for fold in alone:
        here = {label: [run for run in some if run.fold == fold] for label, some in runs.items()}
        methods = [_method(label, some, by_id, parents) for label, some in here.items() if some]
        result.append(_cohort({"split": plan.splits[fold], **plan.protocol}, methods, by_id, notes))
    return result


def _card(plan: Plan, folds: Sequence[str], cohort: Cohort) -> dict[str, str]:
    """The data card of a cohort over folds: that of its first run, with what differs between folds."""
    parts = {part: sorted(len(plan.ids[fold][part]) for fold in folds) for part in ("train", "val", "test")}
    train, val, test = (f"{all_[0]}{f' to {all_[-1]}' if all_[0] < all_[-1] else ''}" for all_ in parts.values())
    leader = cohort.methods[0].runs[0]
    by_fold = {run.fold: run for run in (leader.each if plan.kind == "parted" else cohort.methods[0].runs)}
    cards = [json.loads(by_fold[fold].fetch("data/card.json").read_text()) for fold in folds]
    said = dict.fromkeys(said for card in cards for said in card.get("warnings of the audit", "none").split("; "))
    groups = len(set(cohort.groups))
    stack = all("stack" in card.get("groups in the test", "") for card in cards)
    stacks = "1 stack (specimen)" if groups == 1 else f"{groups} stacks (specimens)"
    return {
        **cards[0],
        "images": f"{len(cohort.ids)} are tested, in {len(folds)} folds: {train} to train, {val} to choose by, "
        f"{test} to test in each",
        "groups in the test": stacks if stack else str(groups),
        "warnings of the audit": "; ".join(name for name in said if name != "none") or "none",
    }


def by_method(
    runs: Sequence[FinishedRun], parents: Mapping[str, FinishedRun] | None = None
) -> dict[str, list[FinishedRun]]:
    """Groups runs by method: by the model's name and all settings but the seed that differ between its runs.

    The code of a user's own network is a setting, too: a changed file makes another method; so are the corrected
    predictions that trained beside a data set's own images, which is what shows whether the work was worth it. What
    was trained on a share of the images is named by that share, whatever else differs: see `by_share`. Networks that
    were trained on different data are different methods, and where there are such, each is named by its data set.

    Args:
        runs: of one protocol.
        parents: the runs whose networks others evaluate, by their ids.
    """
    by_model: dict[tuple[str, Origin], list[tuple[FinishedRun, dict[str, str], str]]] = {}
    for run in runs:
        settings = settings_of(run)
        family = settings["model.name"], origin(run, parents or {})
        by_model.setdefault(family, []).append((run, settings, named(settings.pop(TAKE, "1"))))
    origins = {where for _, where in by_model if where.name}
    names = [where.name for where in origins]
    result: dict[str, list[FinishedRun]] = {}
    for (model, where), some in by_model.items():
        keys = sorted({key for _, settings, _ in some for key in settings})
        varied = [key for key in keys if len({settings.get(key) for _, settings, _ in some}) > 1]
        labels = [tuple(f"{key}={settings.get(key, '')}" for key in varied) for _, settings, _ in some]
        numbers = {each: number for number, each in enumerate(dict.fromkeys(labels), 1)}
        for (run, _, share), label in zip(some, labels, strict=True):
            short = " ".join(label) if len(varied) <= _MOST_IN_A_LABEL else f"setting {numbers[label]}"
            shown = where.name if names.count(where.name) == 1 else str(where)
            trained = f" trained on {shown}" if len(origins) > 1 and where in origins else ""
            result.setdefault(f"{model} {short}".strip() + trained + share, []).append(run)
    return result


def settings_of(run: FinishedRun | Listed) -> dict[str, str]:
    """All settings of a run that may make it another method."""
    settings = {
        key: value for key, value in run.params.items() if not key.startswith(_SAME_GROUPS) and key not in _SAME
    }
    for module, fingerprint in json.loads(run.tags.get("lamella.code", "{}")).items():
        settings[f"code of {module}"] = fingerprint.removeprefix("sha256:")[:8]
    settings["corrected"] = run.tags.get("lamella.corrected", "none")
    if "lamella.minutes" in run.tags:  # as many epochs as fit, which differ from run to run
        settings |= {"trainer.max_epochs": "", "trainer.minutes": run.tags["lamella.minutes"]}
    return settings


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


def _by_seed(label: str, runs: Sequence[tuple[FinishedRun, str]], notes: list[str]) -> list[SeedRun]:
    """The runs of a method, each with its fold, by seed: of one seed and fold the later; none by older versions."""
    found: dict[tuple[str, int], SeedRun] = {}
    for run, fold in runs:
        scores = run.scores()
        if "group" not in scores:
            notes.append(f"{label}: run {run.run_id} was scored by an older version and is left out; train it again.")
            continue
        seed = int(run.params["seed"])
        if (earlier := found.pop((fold, seed), None)) is not None:
            same = f"the same seed {seed}{f' and fold {fold}' if fold else ''}"
            notes.append(f"{label}: run {earlier.run_id} has {same} as the later {run.run_id}: left out.")
        found[fold, seed] = SeedRun(
            run.run_id, run.name, seed, run.params, run.metrics, scores=scores, read_curve=run.curve, fetch=run.fetch,
            fold=fold, labelled=float(run.tags.get("lamella.labelled", "nan")),
        )  # fmt: skip
    return sorted(found.values(), key=lambda run: run.seed)


def _method(
    label: str,
    runs: Sequence[SeedRun],
    by_id: Mapping[str, FinishedRun],
    parents: Mapping[str, FinishedRun],
    first: SeedRun | None = None,
) -> Method:
    """A method of these runs; `first` is one as it was kept, where they are put together."""
    kept = first or runs[0]
    nothing_drawn = kept.metrics.get("model/parameters") == 0 and "model.seed" not in kept.params
    masks = all(by_id[each.run_id].tags.get("lamella.kind") == MASKS for run in runs for each in run.each)
    settings = {key: value for key, value in settings_of(by_id[kept.run_id]).items() if key != TAKE}
    where = origin(by_id[kept.run_id], parents)
    return Method(label, tuple(runs), nothing_drawn or masks, settings=settings, origin=where)


def _cohort(
    protocol: Mapping[str, Any], methods: Sequence[Method], by_id: Mapping[str, FinishedRun], notes: list[str]
) -> Cohort:
    compared, learning, said = by_share(methods)
    notes += said
    leader = compared[0].runs[0]
    for each in (each for method in (*compared, *chain(*learning.values())) for each in method.runs):
        if not each.scores["id"].equals(leader.scores["id"]):
            raise StorageError(
                f"run {each.run_id} was scored on other images than {leader.run_id}, "
                "though their protocols say the same"
            )
    first = by_id[leader.run_id]
    rules = protocol.get("rules", OLDER)
    return Cohort(
        dataset=first.params["dataset.name"],
        phantom=first.tags["lamella.phantom"] == "true",
        methods=compared,
        protocol={
            _ENTRIES.get(name, name): "none" if value is None else str(value)
            for name, value in {**protocol, "rules": rules}.items()
        },
        card=json.loads(first.fetch("data/card.json").read_text()),
        learning=learning,
    )
