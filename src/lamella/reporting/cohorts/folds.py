"""Runs that are folds of one plan -> repetitions over all folds: each image's score by a network that never saw it."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from lamella.config.paths import typed
from lamella.config.targets import translated
from lamella.reporting.cohorts.origin import MASKS
from lamella.reporting.cohorts.shares import TAKE
from lamella.reporting.cohorts.types import Folding, SeedRun, over_images
from lamella.tracking import FinishedRun, bring

_SPLIT = "dataset.split."
_FILE = "lamella.splits.file"
_GROUPING = ("dataset.group", "dataset.serial")  # they decide which images stay together, and are in no hash
_ELSEWHERE = "trained on"  # the key of networks of folds that are evaluated on other data
_WORDS = {
    "lamella.splits.hashed_folds": "folds by groups",
    "lamella.splits.blocks_folds": "folds of neighbouring sections",
    "lamella.splits.published_folds": "folds of the published train part",
    _FILE: "splits by files",
}


class _Place(NamedTuple):
    """Which fold of which plan a run is.

    Attributes:
        protocol: the run's, without the split where that is the fold's own.
        keys: all else that makes the plan: function and keys of the split but the fold's, and how images are grouped.
        fold: as it was typed.
        split: the hash of the fold's split.
    """

    protocol: Mapping[str, Any]
    keys: Mapping[str, str]
    fold: str
    split: str


@dataclass(frozen=True)
class Plan:
    """A way to make folds of a data set, of which at least two were run.

    Attributes:
        kind: see `Folding`.
        protocol: what all its runs agree in, without the split where that is the fold's own.
        keys: what else makes the plan.
        planned: how many folds there are.
        ids: fold -> part -> ids, as `data/split.json` has them; the folds in order.
        splits: fold -> the hash of its split.
        said: fold -> what is typed for it; also for those that were not run, where they are known.
        runs: every run with its fold, in the order in which they began.
    """

    kind: Literal["parted", "repeated"]
    protocol: Mapping[str, Any]
    keys: Mapping[str, str]
    planned: int
    ids: Mapping[str, Mapping[str, Sequence[str]]]
    splits: Mapping[str, str]
    said: Mapping[str, str]
    runs: Sequence[tuple[FinishedRun, str]]

    def folding(self, folds: Sequence[str], images: Sequence[str]) -> Folding:
        """How a cohort over these folds is folded, its images in this order."""
        of = {id_: fold for fold in folds for id_ in self.ids[fold]["test"]}
        held = "test" if self.kind == "parted" else "val"  # what alone is not trained on in this fold
        ratios = [len(self.ids[fold][held]) / max(1, len(self.ids[fold]["train"])) for fold in folds]
        places = tuple(of[id_] for id_ in images) if self.kind == "parted" else ()
        return Folding(self.kind, tuple(folds), self.planned, places, float(np.mean(ratios)))

    def words(self, folds: Sequence[str]) -> str:
        """The plan and which folds of it these are, for the protocol card: no two plans have the same words."""
        target = self.keys["_target_"]
        keys = {name: value for name, value in self.keys.items() if name not in ("_target_", "folds", "allow_unused")}
        more = [f"{name}={value}" for name, value in sorted(keys.items()) if value != "None"]
        if target == _FILE:
            more = [*self.ids, *more]
        said = f"{self.planned} {_WORDS.get(target, f'folds by {target}')}"
        said += f" ({', '.join(more)})" if more else ""
        some = f"; {named(folds)} of it" if len(folds) < self.planned else ""
        judged = "each image scored once, by networks that did not see it"
        if self.kind == "repeated":
            judged = "every fold scores the same images, and holds others out of its training"
        return f"{said}{some}; {judged}"

    def command(self, runs: Sequence[SeedRun], folds: Sequence[str], *, masks: bool) -> str:
        """What is typed to run these folds as the other runs of a method were run."""
        run, model = runs[-1], runs[-1].params["model.name"]
        if masks:
            these = next((other.run_id for other, fold in self.runs if fold == folds[0] and not _of_masks(other)), "ID")
            return f"`{typed('score')} masks={run.params.get('masks', 'DIR')} name={model} run={these}`"
        if _ELSEWHERE in self.keys:
            return f"`{typed('evaluate')} run=ID dataset={run.params['dataset.name']}`, once for each missing network"
        target = self.keys["_target_"]
        key = f"{_SPLIT}{'path' if target == _FILE else 'fold'}"
        seeds = sorted({each.seed for each in runs})
        varied = [f"{key}={','.join(self.said[fold] for fold in folds)}", f"seed={','.join(map(str, seeds))}"]
        command = f"{typed('train')}{' -m' if len(folds) > 1 or len(seeds) > 1 else ''}"
        tags = next(other.tags for other, _ in self.runs if other.run_id == run.run_id)
        if "lamella.typed" in tags:
            said = [each for each in json.loads(tags["lamella.typed"]) if each.partition("=")[0].lstrip("+") != key]
            return f"`{command} {shlex.join([*said, *varied])}`"
        choice = f" dataset/split={target.rpartition('.')[2]}" if target in _WORDS else ""
        known = f"{command} dataset={run.params['dataset.name']}{choice} model={model} {shlex.join(varied)}"
        return f"`{known}`, with all else as in run {run.run_id}"


def plans(
    found: Sequence[FinishedRun], parents: Mapping[str, FinishedRun], notes: list[str]
) -> tuple[list[Plan], list[FinishedRun]]:
    """The plans of which at least two folds were run, and the runs that are no fold of one.

    Masks that were made elsewhere are in each plan that agrees with their protocol, and among the other runs where they
    agree with one of those. Folds that judge an image twice are not put together, which a note says.

    Args:
        found: in the order in which they began.
        parents: the runs whose networks some of them evaluate, by their ids.
        notes: takes what a reader must know.

    Raises:
        StorageError: a run's split cannot be read.
    """
    by_id = {run.run_id: run for run in found}
    networks, masks = ([run for run in found if _of_masks(run) == wanted] for wanted in (False, True))
    made = _made(networks, parents, notes)
    fitting = {
        run.run_id: [(plan, fold) for plan in made if (fold := _fold_of(run, plan)) is not None] for run in masks
    }
    own = _made([run for run in masks if not fitting[run.run_id]], parents, notes)
    taken = {run.run_id for plan in [*made, *own] for run, _ in plan.runs}
    left = [json.loads(run.tags["lamella.protocol"]) for run in networks if run.run_id not in taken]
    for run in masks:
        protocol = json.loads(run.tags["lamella.protocol"])
        if fitting[run.run_id] and not any(protocol.items() <= each.items() for each in left):
            taken.add(run.run_id)
    order = {run.run_id: number for number, run in enumerate(found)}
    joined = []
    for plan in made:
        more = [(by_id[id_], fold) for id_, all_ in fitting.items() for other, fold in all_ if other is plan]
        joined.append(replace(plan, runs=sorted([*plan.runs, *more], key=lambda each: order[each[0].run_id])))
    return [*joined, *own], [run for run in found if run.run_id not in taken]


def shared(
    plan: Plan, methods: Mapping[str, Sequence[SeedRun]], notes: list[str], *, masks: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """The methods that are compared, and the folds that all of them have.

    The most complete method counts first; one that would leave less than half of its folds is left out. Notes say
    what is missing, and what is typed to run it.

    Args:
        plan: what they follow.
        methods: label -> its runs, each with its fold.
        notes: takes what a reader must know.
        masks: labels of those that were made elsewhere.
    """
    of = {label: {run.fold for run in runs} for label, runs in methods.items()}
    most = max(map(len, of.values()))
    folds, kept = set(plan.ids), list[str]()
    for label in sorted(of, key=lambda label: -len(of[label])):
        if kept and 2 * len(folds & of[label]) < most:
            continue
        folds &= of[label]
        kept.append(label)
    names = [fold for fold in plan.ids if fold in folds]
    for label, its in of.items():
        missing = [fold for fold in plan.ids if fold not in its]
        if not missing:
            continue
        command = plan.command(methods[label], missing, masks=label in masks)
        lacks = f"{label}: {named(missing)} of {plan.planned} {'was' if len(missing) == 1 else 'were'} not run"
        if label not in kept:
            notes.append(
                f"{lacks}, and it is left out: too little is shared with the other methods. To complete it: {command}."
            )
        else:
            notes.append(f"{lacks}: all methods are compared over {named(names)} alone. To complete it: {command}.")
    if len(plan.ids) < plan.planned:
        unrun = named([fold for fold in plan.said if fold not in plan.ids] or ["others"])
        lacking = " and the images that they judge are in no figure" if plan.kind == "parted" else ""
        notes.append(f"Of {plan.planned} folds {len(plan.ids)} were run: {unrun} by no method{lacking}.")
    return [label for label in methods if label in kept], names


def repetitions(
    kind: str, label: str, runs: Sequence[SeedRun], folds: Sequence[str], notes: list[str]
) -> tuple[SeedRun, ...]:
    """The runs of a method over folds: of a parted plan one a seed, all folds in it; of a repeated one, one a fold.

    A seed of one fold has nothing to do with the same seed of another: the i-th smallest of each fold make the i-th
    repetition of a parted plan. Of a repeated one the seeds of a fold are one run, with their mean scores.

    Args:
        kind: of the plan.
        label: of the method.
        runs: at least one of each fold; one a fold and seed.
        folds: in their order.
        notes: takes a note where seeds are not used, or unlike in number.
    """
    by_fold = {fold: sorted((run for run in runs if run.fold == fold), key=lambda run: run.seed) for fold in folds}
    numbers = [len(some) for some in by_fold.values()]
    if len(set(numbers)) > 1:
        most = [fold for fold, some in by_fold.items() if len(some) > min(numbers)]
        note = (
            f"{label}: {named(most)} {'has' if len(most) == 1 else 'have'} more seeds than the {min(numbers)} of others"
        )
        notes.append(
            f"{note}: {'those beyond are left out.' if kind == 'parted' else 'all are in the means of folds.'}"
        )
    if kind == "repeated":
        return tuple(_mean_of_seeds(some) for some in by_fold.values())
    return tuple(_put_together(parts) for parts in zip(*by_fold.values(), strict=False))


def named(folds: Sequence[str]) -> str:
    """Folds in a sentence: "fold 3", "folds 0, 1 and 4"."""
    *most, last = folds
    return f"folds {', '.join(most)} and {last}" if most else f"fold {last}"


def _of_masks(run: FinishedRun) -> bool:
    return run.tags.get("lamella.kind") == MASKS


def _fold_of(masks: FinishedRun, plan: Plan) -> str | None:
    """The fold that masks are of, by the hash of their split; None where their protocol does not agree with a plan."""
    protocol = json.loads(masks.tags["lamella.protocol"])
    if "split" in plan.protocol:  # the same in every fold
        return next(iter(plan.ids)) if protocol.items() <= plan.protocol.items() else None
    split = protocol.pop("split", None)
    fits = protocol.items() <= plan.protocol.items()
    return next((fold for fold, hash_ in plan.splits.items() if fits and hash_ == split), None)


def _place(run: FinishedRun, parents: Mapping[str, FinishedRun]) -> _Place | None:
    """Which fold of which plan a run is; None: of none.

    An evaluation on other data is of the fold that its network was trained in, however that data is split.
    """
    protocol = json.loads(run.tags["lamella.protocol"])
    parent = parents.get(run.tags.get("lamella.evaluates", ""))
    if parent is not None and json.loads(parent.tags["lamella.protocol"]).get("data") != protocol.get("data"):
        trained = _place(parent, parents)
        if trained is None:
            return None
        where = f"{parent.params['dataset.name']}, data {trained.protocol['data'][:8]}"
        return _Place(protocol, {**trained.keys, _ELSEWHERE: where}, trained.fold, trained.split)
    keys = {name.removeprefix(_SPLIT): value for name, value in run.params.items() if name.startswith(_SPLIT)}
    target = translated({"_target_": keys.get("_target_", "")}, 0)["_target_"]
    key = "fold" if "fold" in keys else "path" if target == _FILE else ""
    if key not in keys or "split" not in protocol:
        return None
    fold, split = keys.pop(key), protocol.pop("split")
    code = json.loads(run.tags.get("lamella.code", "{}"))
    own = {f"code of {name}": sha256[:15] for name, sha256 in code.items() if target.startswith(f"{name}.")}
    grouping = {name: run.params[name] for name in _GROUPING if name in run.params}
    return _Place(protocol, {**keys, "_target_": target, **grouping, **own}, fold, split)


def _made(found: Sequence[FinishedRun], parents: Mapping[str, FinishedRun], notes: list[str]) -> list[Plan]:
    """The plans that these runs follow."""
    by_plan: dict[str, list[tuple[FinishedRun, _Place]]] = {}
    for run in found:
        if place := _place(run, parents):
            by_plan.setdefault(json.dumps([place.protocol, place.keys], sort_keys=True), []).append((run, place))
    return [plan for some in by_plan.values() if (plan := _plan(some, parents, notes)) is not None]


def _plan(
    some: Sequence[tuple[FinishedRun, _Place]], parents: Mapping[str, FinishedRun], notes: list[str]
) -> Plan | None:
    """The plan of runs that share one, with as many of its folds as judge no image twice; None where those are one."""
    protocol, keys = some[0][1][:2]
    by_split: dict[str, list[FinishedRun]] = {}
    for run, place in some:
        by_split.setdefault(place.split, []).append(run)
    if len(by_split) < 2:
        return None
    fold_of = {place.split: place.fold for _, place in some}
    elsewhere = "split" in protocol
    whole = {split: max(runs, key=lambda run: float(run.params.get(TAKE, "1"))) for split, runs in by_split.items()}
    trained = {split: parents[run.tags["lamella.evaluates"]] if elsewhere else run for split, run in whole.items()}
    bring([*trained.values()], ["data/split.json"])
    ids = {split: json.loads(run.fetch("data/split.json").read_text()) for split, run in trained.items()}
    repeated = elsewhere or len({frozenset(each["test"]) for each in ids.values()}) == 1
    if repeated and not elsewhere and keys["_target_"] == _FILE:
        return None  # the same images judge what other images trained: no folds
    taken: dict[str, str] = {}
    judged: dict[str, str] = {}
    # What most runs follow is the plan, of equally many the later.
    latest = [*by_split]
    latest.reverse()
    for split in sorted(latest, key=lambda split: -len(by_split[split])):
        fold, twice = fold_of[split], None
        if not repeated:
            twice = next((id_ for id_ in ids[split]["test"] if id_ in judged), None)
        if twice is None and fold not in taken:
            taken[fold] = split
            judged |= dict.fromkeys(ids[split]["test"], fold)
        else:
            why = f"fold {fold} of other runs is another" if fold in taken else ""
            which = ", ".join(run.run_id for run in by_split[split])
            why = why or f"image {twice} is judged in fold {judged[str(twice)]}, too"
            notes.append(f"Fold {fold} of run {which} cannot be put together with the others, and stands apart: {why}.")
    if len(taken) < 2:
        return None
    short = {fold: Path(fold).stem if keys["_target_"] == _FILE else fold for fold in taken}
    names = short if len(set(short.values())) == len(short) else {fold: fold for fold in taken}
    order = sorted(taken, key=lambda fold: (not fold.isdigit(), int(fold) if fold.isdigit() else 0, fold))
    planned = int(keys["folds"]) if keys.get("folds", "").isdigit() else 0
    return Plan(
        kind="repeated" if repeated else "parted",
        protocol=protocol,
        keys=keys,
        planned=max(planned, len(taken)),
        ids={names[fold]: ids[taken[fold]] for fold in order},
        splits={names[fold]: taken[fold] for fold in order},
        said={names[fold]: fold for fold in order}
        | ({str(number): str(number) for number in range(planned)} if keys["_target_"] in _WORDS else {}),
        runs=[(run, names[fold_of[place.split]]) for run, place in some if place.split in taken.values()],
    )


def _put_together(parts: Sequence[SeedRun]) -> SeedRun:
    """One repetition of a parted plan: a run a fold, their tables as one.

    Of their metrics those remain that mean something over folds: parameters and times as the mean of a fold, what
    images without foreground say, and pooled scores of pixels, counted anew over all images.
    """
    first = parts[0]
    scores = pd.concat([part.scores for part in parts], join="inner").sort_values("id", ignore_index=True)
    return replace(
        first,
        name=f"{len(parts)} folds: {', '.join(part.name for part in parts)}",
        params=_without_fold(first.params),
        metrics=_means(parts) | _absent(parts) | _pooled(scores),
        scores=scores,
        read_curve=pd.DataFrame,
        fetch=_only_shared(first),
        fold="",
        parts=tuple(parts),
        labelled=np.nan,
    )


def _mean_of_seeds(seeds: Sequence[SeedRun]) -> SeedRun:
    """One fold of a repeated plan: its run, or the mean of its seeds, of which the median is the one that is shown."""
    if len(seeds) == 1:
        return replace(seeds[0], params=_without_fold(seeds[0].params))
    means = over_images(np.stack([run.scores["dice"].to_numpy(np.float64) for run in seeds]))
    median = seeds[int(np.argsort(means, kind="stable")[(len(seeds) - 1) // 2])]
    columns = seeds[0].scores.select_dtypes("number")
    numbers = [name for name in columns if all(name in run.scores for run in seeds)]
    mean = sum((run.scores[numbers] for run in seeds[1:]), seeds[0].scores[numbers]) / len(seeds)
    texts = median.scores[[name for name in ("id", "case", "group") if name in median.scores]]
    return replace(
        median,
        params=_without_fold(median.params),
        metrics=_means(seeds, "/absent/") | {k: v for k, v in median.metrics.items() if k.startswith("test/pooled/")},
        scores=texts.join(mean),
        parts=(median, *(run for run in seeds if run is not median)),
    )


def _means(runs: Sequence[SeedRun], *more: str) -> dict[str, float]:
    """What a run took, and its parameters: the mean over runs of metrics that all have."""
    names = [name for name in runs[0].metrics if any(part in f"/{name}" for part in ("/time/", "/model/", *more))]
    return {
        name: float(np.mean([run.metrics[name] for run in runs]))
        for name in names
        if all(name in run.metrics for run in runs)
    }


def _absent(parts: Sequence[SeedRun]) -> dict[str, float]:
    """What images without foreground say, over all folds: their number, and means over these images."""
    counts = dict.fromkeys(name for part in parts for name in part.metrics if name.endswith("/absent/images"))
    found: dict[str, float] = {}
    for name in counts:
        stem = name.removesuffix("/images")
        having = [part.metrics for part in parts if name in part.metrics]
        numbers = [metrics[name] for metrics in having]
        found[name] = float(np.sum(numbers))
        for what in ("empty", "fp"):
            found[f"{stem}/{what}"] = float(np.average([each[f"{stem}/{what}"] for each in having], weights=numbers))
    return found


def _pooled(scores: pd.DataFrame) -> dict[str, float]:
    """Pooled scores of pixels with their intervals, from the counts of all images; none where there are no counts."""
    from lamella.evaluation.pooled import pooled_scores  # torch, which few reports need, takes seconds
    from lamella.metrics.pixels import ImageTable

    classes = [name.removesuffix("/dice") for name in scores.columns if name.startswith("class/") and "/dice" in name]
    ends = [f"_{number}" for number in range(1, len(classes))] if classes else [""]
    columns = [[f"{count}{end}" for count in ("tp", "fp", "fn", "tn")] for end in ends]
    if not {*chain(*columns), "accuracy"} <= {*scores.columns}:
        return {}
    counts = np.stack([scores[some].to_numpy(np.int64) for some in columns], axis=1)
    total = counts[:, 0].sum(axis=-1)
    # The background has no columns: its counts follow from those of the others and the share of right pixels.
    right = np.rint(np.nan_to_num(scores["accuracy"].to_numpy(np.float64)) * total).astype(np.int64)
    found, there = (counts[..., [0, other]].sum(axis=(1, 2)) for other in (1, 2))  # pixels of any other class
    tp = right - counts[..., 0].sum(axis=-1)
    fp, fn = total - found - tp, total - there - tp
    background = np.stack([tp, fp, fn, total - tp - fp - fn], axis=-1)
    table = ImageTable(scores["id"].tolist(), np.concatenate([background[:, None], counts], axis=1))
    return pooled_scores(table, (), scores["group"].tolist(), classes=list(enumerate(classes)), tolerance=0)


def _without_fold(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if name not in (f"{_SPLIT}fold", f"{_SPLIT}path")}


def _only_shared(first: SeedRun) -> Callable[[str], Path]:
    """What fetches the files that are the same in every fold; asked for another one, it raises ValueError."""

    def fetch(name: str) -> Path:
        if name not in ("config.yaml", "data/manifest.json", "data/card.json"):
            raise ValueError(f"{name} is of one fold: ask the run that `of_image` gives, or `each`")
        return first.fetch(name)

    return fetch
