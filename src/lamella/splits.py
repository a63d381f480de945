"""Splits of a data set into train, validation and test: deterministic, and the same on every machine.

A function that ends in `_folds` makes one fold of several: over all folds each sample judges once, a run is one fold,
and a sweep over `fold` is all.

Where groups are drawn, a group's place or fold follows from its name and the seed alone, so images added later move
no earlier one. Shares are met, and folds equally large, on average over seeds, seldom exactly.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any

from lamella.config.key import Key
from lamella.data.types import LEFT, PARTS, Sample, Split
from lamella.errors import ConfigError, DataError


def require_sound(split: Split, samples: Sequence[Sample], name: str) -> None:
    """Nothing, or a refusal of a split by a user's own function, on which no score could be believed.

    Raises:
        DataError: a part is empty, a sample is none of the data set's or in two parts, or a group is torn that is not
            one stack.
    """
    known, place = {sample.id for sample in samples}, "a sample of each is needed"
    seen: dict[str, str] = {}
    for part in PARTS:
        chosen = getattr(split, part)
        if not chosen:
            raise DataError(f"{name} leaves nothing for {part}: {place}")
        for sample in chosen:
            if not isinstance(sample, Sample) or sample.id not in known:
                raise DataError(f"{name} puts {sample!r:.80} into {part}, which is no sample of the data set")
            if sample.id in seen:
                raise DataError(f"{name} puts {sample.id} into {seen[sample.id]} and {part}", "Each belongs in one.")
            seen[sample.id] = part
    try:
        whole_groups(split)
    except DataError as torn:
        raise DataError(f"{name} tears a group: {torn.problem}", torn.remedy) from None


def published(
    samples: Sequence[Sample],
    *,
    val_fraction: Annotated[float, Key("share of the published train part held out to choose by", above=0, most=0.9)],
    seed: Annotated[int, Key("another seed holds out other images", least=0)],
) -> Split:
    """The published split: test as published; validation as published, else whole groups held out of train.

    Groups are drawn; only where that would hold out none of them, or all, the nearest one is moved over.

    Raises:
        DataError: a sample has no published part, a part is empty, train is too small to hold anything out, or a
            group lies in two published parts.
    """
    parts = published_parts(samples)
    held = set() if parts.val else _by_draw({s.group for s in parts.train}, seed, val_fraction)[0]
    return _split(samples, lambda s: "val" if s.part == "train" and s.group in held else s.part)


def published_stack(samples: Sequence[Sample], *, val_fraction: float) -> Split:
    """The published parts, where the last sections of the one stack that trains are held out to choose by.

    A section between the two is left out where twice as many train as are held out.

    Raises DataError where nothing is published for the test, or parts share a group.
    """
    published_parts([replace(s, group=s.id) for s in samples])
    train = _in_place([s for s in samples if s.part == "train"])
    held = max(1, round(val_fraction * len(train)))
    gap = int(len(train) - 1 >= 3 * held)
    rest = train[: len(train) - held - gap]
    return whole_groups(Split(tuple(rest), tuple(train[-held:]), tuple(s for s in samples if s.part == "test")))


def hashed(
    samples: Sequence[Sample],
    *,
    val: Annotated[float, Key("share of the groups held out to choose by", above=0, most=0.9)],
    test: Annotated[float, Key("share of the groups that judges", above=0, most=0.9)],
    seed: Annotated[int, Key("another seed draws other groups", least=0)],
) -> Split:
    """A random split by whole groups, drawn by a hash of their name and the seed; published parts are not heeded.

    Only where a part would otherwise be empty (a handful of groups) the nearest group is moved over.

    Raises:
        ConfigError: the shares leave nothing to train on.
        DataError: fewer than three groups.
    """
    if val + test >= 1:
        raise ConfigError(
            f"dataset.split.val={val} and dataset.split.test={test} leave nothing to train on",
            "Their sum must be below 1.",
        )
    groups = {s.group for s in samples}
    if len(groups) < 3:
        raise DataError(
            f"{len(samples)} image(s) of {len(groups)} group(s) are too few to split: each of the three parts needs "
            "a whole group",
            "Add images or, where they have nothing in common, give them groups of their own. A stack of neighbouring "
            "sections is one group: `dataset/split=blocks` cuts it into runs, `dataset/split=blocks_folds` into folds.",
        )
    tested, held, _ = _by_draw(groups, seed, test, test + val)
    return _split(samples, lambda s: "test" if s.group in tested else "val" if s.group in held else "train")


def found(
    samples: Sequence[Sample],
    *,
    val: Annotated[float, Key("share held out to choose by, where none is published", above=0, most=0.9)],
    test: Annotated[float, Key("share that judges, where none is published", above=0, most=0.9)],
    seed: Annotated[int, Key("another seed draws other groups", least=0)],
) -> Split:
    """The split that suits the samples: `published` parts, `blocks` of one or two stacks of sections, else `hashed`.

    Blocks have a gap of one section where that leaves as many to train on as are held out. A published train part that
    is a single stack has its validation from that stack's end.

    Raises ConfigError and DataError as those do.
    """
    function, keys = suited(samples, val=val, test=test, seed=seed)
    return function(samples, **keys)


def suited(
    samples: Sequence[Sample], *, val: float, test: float, seed: int
) -> tuple[Callable[..., Split], dict[str, Any]]:
    """What `found` does with samples: which function splits them, and the keys that it is given."""
    if any(s.part for s in samples):
        train = [s for s in samples if s.part == "train"]
        if not any(s.part == "val" for s in samples) and _is_stack(train):
            return published_stack, {"val_fraction": val}
        return published, {"val_fraction": val, "seed": seed}
    count, groups = len(samples), {s.group for s in samples}
    if count > 2 and len(groups) < 3 and any(s.stack for s in samples) and val + test < 1:
        for_val, for_test = max(1, round(val * count)), max(1, round(test * count))
        return blocks, {"val": for_val, "test": for_test, "gap": int(count - 2 >= 2 * (for_val + for_test))}
    return hashed, {"val": val, "test": test, "seed": seed}


def blocks(
    samples: Sequence[Sample],
    *,
    val: Annotated[int, Key("sections before the test block, held out to choose by", least=1)],
    test: Annotated[int, Key("sections at the end of the block that judge", least=1)],
    gap: Annotated[int, Key("sections between two parts that are left out", least=0)],
) -> Split:
    """A split into contiguous blocks of sections: train first, then validation, then test.

    Neighbouring sections look alike, so a random split would leak; here only the blocks' borders touch, and not
    even those with a gap. A stack's sections are taken in their places. The one strategy that cuts a stack; any
    other group stays whole.

    Raises DataError where there are too few sections, or a border runs through a group that is not one stack.
    """
    samples = _in_place(samples)
    first_test = len(samples) - test
    first_val = first_test - gap - val
    if first_val - gap < 1:
        left_out = f" and {gap} twice in between" if gap else ""
        raise DataError(
            f"{len(samples)} section(s) cannot give {test} for test, {val} for validation{left_out} and one for "
            "training",
            "Set `dataset.split.val` and `dataset.split.test` lower, or add sections.",
        )
    return whole_groups(_cut(samples, range(first_val, first_val + val), range(first_test, len(samples)), gap))


def file(
    samples: Sequence[Sample],
    *,
    path: Annotated[str, Key('a split.json as runs save it: {"train": [ids], "val": [ids], "test": [ids]}', path=True)],
    allow_unused: Annotated[bool, Key("images that the file does not name are left out")],
) -> Split:
    """The split that a file spells out, as runs save it; what it names as `left` has no part.

    Raises DataError where the file is missing or of another form, a part is empty, an id is unknown, missing or named
    twice, or a group lies in two parts.
    """
    parts = _read_parts(Path(path))
    known = {s.id for s in samples}
    place: dict[str, str] = {}
    for part, ids in parts.items():
        for i in ids:
            if i in place:
                problem = f"{path} names {i} twice, in {place[i]} and in {part}"
                raise DataError(problem, "An image plays one part; remove one.")
            place[i] = part
    if unknown := [i for i in place if i not in known]:
        raise DataError(
            f"{path} names images that the data set lacks: {_some(unknown)}",
            "Is it the split of other data? Remove these ids, or bring the images back.",
        )
    if (missing := [s.id for s in samples if s.id not in place]) and not allow_unused:
        raise DataError(
            f"{path} names no part for {_some(missing)}",
            "Add them to a part, or leave them out with `dataset.split.allow_unused=true`.",
        )
    return _split(samples, lambda s: place.get(s.id))


def published_folds(
    samples: Sequence[Sample],
    *,
    folds: Annotated[int, Key("folds of the published train part", least=2)],
    fold: Annotated[int, Key("the fold held out to choose by, counted from 0", least=0)],
    seed: Annotated[int, Key("another seed makes other folds", least=0)],
) -> Split:
    """One fold of the published train part: `fold` is validation, the rest trains; test is the published test part.

    Raises:
        ConfigError: there is no such fold.
        DataError: as `published`, a published validation part, or an empty fold.
    """
    require_fold(fold, folds)
    parts = published_parts(samples)
    if val := parts.val:
        raise DataError(
            f"{len(val)} image(s), such as {val[0].id}, are published for validation, which folds would replace",
            "Use `dataset/split=published`, or move them to the train part.",
        )
    held = _drawn({s.group for s in parts.train}, folds, seed)[fold]
    return _split(samples, lambda s: "val" if s.part == "train" and s.group in held else s.part)


def hashed_folds(
    samples: Sequence[Sample],
    *,
    folds: Annotated[int, Key("folds; one judges, the next is held out to choose by", least=3)],
    fold: Annotated[int, Key("the fold that judges, counted from 0", least=0)],
    seed: Annotated[int, Key("another seed makes other folds", least=0)],
) -> Split:
    """One fold of whole groups: `fold` is test, the one after it validation, the rest trains.

    Published parts are not heeded.

    Raises:
        ConfigError: there is no such fold.
        DataError: a fold is empty.
    """
    require_fold(fold, folds)
    drawn = _drawn({s.group for s in samples}, folds, seed)
    tested, held = drawn[fold], drawn[(fold + 1) % folds]
    return _split(samples, lambda s: "test" if s.group in tested else "val" if s.group in held else "train")


def blocks_folds(
    samples: Sequence[Sample],
    *,
    folds: Annotated[int, Key("contiguous runs of sections of equal length, give or take one", least=2)],
    fold: Annotated[int, Key("the run that judges, counted from 0", least=0)],
    val: Annotated[int | None, Key("sections beside it, held out to choose by; null: 2 for 3 that judge", least=1)],
    gap: Annotated[int, Key("sections between two parts that are left out", least=0)],
) -> Split:
    """One fold of contiguous runs: run `fold` is test, the `val` sections before it (or else after it) validation.

    The rest trains, on either side. A stack is cut, any other group stays whole. Without `val` two sections choose for
    three that judge, of 30 in five folds four, as in the usual split of EM; at least one.

    Raises:
        ConfigError: there is no such fold.
        DataError: too few sections, or a border runs through a group that is not one stack.
    """
    require_fold(fold, folds)
    samples = _in_place(samples)
    count = len(samples)
    val = max(1, round(2 / 3 * count / folds)) if val is None else val
    start, end = fold * count // folds, (fold + 1) * count // folds
    # Validation and its gap fit before the test run, or else lie after it.
    first_val = start - gap - val if start >= gap + val else end + gap
    split = _cut(samples, range(first_val, first_val + val), range(start, end), gap)
    if start == end or first_val + val > count or not split.train:
        raise DataError(
            f"{count} section(s) are too few for fold {fold} of {folds} with {val} for validation"
            + (f" and gaps of {gap}" if gap else ""),
            "Set `dataset.split.folds`, `dataset.split.val` or `dataset.split.gap` lower, or add sections.",
        )
    return whole_groups(split)


def taken(split: Split, share: float, seed: int) -> Split:
    """The split with a share of what would train; validation and test stay.

    Shares are nested: in one order, which the seed decides, the first so many units that their images come nearest to
    the share, at least one. A unit is a whole group; where all that trains is one stack, a section of it.

    Args:
        split: whole.
        share: above 0, up to 1.
        seed: another one takes others.
    """
    if share == 1:
        return split
    sections = _is_stack(split.train)
    units: dict[str, list[str]] = defaultdict(list)
    for sample in split.train:
        units[sample.id if sections else sample.group].append(sample.id)
    order = sorted(units, key=lambda unit: (draw(f"take {unit}", seed), unit))
    sums = list(accumulate(len(units[unit]) for unit in order))
    wanted = share * len(split.train)
    count = 1 + min(range(len(sums)), key=lambda place: abs(sums[place] - wanted))
    ids = {id_ for unit in order[:count] for id_ in units[unit]}
    return replace(split, train=tuple(s for s in split.train if s.id in ids), planned=split.train)


def require_fold(fold: int, folds: int) -> None:
    """Nothing, or a refusal of a fold that is none of so many. Raises ConfigError."""
    if fold >= folds:
        raise ConfigError(
            f"dataset.split.fold={fold}, but there are {folds} folds",
            f"Folds are counted from 0: the last is dataset.split.fold={folds - 1}.",
        )


def published_parts(samples: Sequence[Sample]) -> Split:
    """The published split; val may be empty.

    Raises DataError where a sample has no published part, or there is too little in train or test.
    """
    if homeless := [s.id for s in samples if not s.part]:
        raise DataError(
            f"{len(homeless)} image(s), such as {homeless[0]}, belong to no published part",
            "Split this data set another way, such as `dataset/split=hashed`.",
        )
    split = Split(*(tuple(s for s in samples if s.part == part) for part in PARTS))
    train, test = len(split.train), len(split.test)
    groups = len({s.group for s in split.train})
    if not test or groups + bool(split.val) < 2:
        raise DataError(
            f"{train} training image(s) of {groups} group(s) and {test} test image(s) are too few to split",
            "Training and validation need at least two images (of two groups), test one.",
        )
    return split


def whole_groups(split: Split) -> Split:
    """The split as it is, if no group lies in two parts. A group that is one stack may: `blocks` cuts stacks.

    Raises DataError that names a group and its parts.
    """
    parts: dict[str, dict[str, Sample]] = defaultdict(dict)
    stacks: dict[str, set[str]] = defaultdict(set)
    for name, samples in split.parts.items():
        for s in samples:
            parts[s.group].setdefault(name, s)
            stacks[s.group].add(s.stack)
    for group, first in parts.items():
        if len(first) > 1 and (len(stacks[group]) > 1 or "" in stacks[group]):
            where = " and ".join(f"{name} ({s.id})" for name, s in first.items())
            raise DataError(
                f"the group {group} lies in {where}",
                "What belongs together must not train and judge: move it to one part, or correct the groups.",
            )
    return split


def draw(group: str, seed: int) -> float:
    """A number in [0, 1), evenly spread over groups, that depends on the group's name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _is_stack(samples: Sequence[Sample]) -> bool:
    """Whether samples are one stack, which is a group of its own."""
    return len({(s.group, s.stack) for s in samples}) == 1 < len(samples) and bool(samples[0].stack)


def _split(samples: Sequence[Sample], part_of: Callable[[Sample], str | None]) -> Split:
    """Each sample in the part it is given, no group in two."""
    return whole_groups(Split(*(tuple(s for s in samples if part_of(s) == part) for part in PARTS)))


def _cut(samples: Sequence[Sample], val: range, test: range, gap: int) -> Split:
    """Two runs of samples for validation and test; what is more than `gap` away from both trains."""
    out = {n for run in (val, test) for n in range(run.start - gap, run.stop + gap)}
    train = tuple(s for n, s in enumerate(samples) if n not in out)
    return Split(train, tuple(samples[val.start : val.stop]), tuple(samples[test.start : test.stop]))


def _in_place(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, those of a stack in their places; stacks, and images of none, as they come."""
    first: dict[str, int] = {}
    order = [(first.setdefault(s.stack, n) if s.stack else n, s.place or 0) for n, s in enumerate(samples)]
    return [samples[n] for n in sorted(range(len(samples)), key=lambda n: order[n])]


def _drawn(groups: set[str], folds: int, seed: int) -> list[set[str]]:
    """The groups of each fold. Raises DataError where a fold has none, with a seed that fills all."""

    def deal(seed: int) -> list[set[str]]:
        return [{g for g in groups if int(draw(g, seed) * folds) == n} for n in range(folds)]

    drawn = deal(seed)
    if not all(drawn):
        fills = next((s for s in range(1000) if all(deal(s))), None) if len(groups) >= folds else None
        raise DataError(
            f"fold {drawn.index(set())} of {folds} is empty: {len(groups)} group(s) are few for so many folds",
            "Set `dataset.split.folds` lower"
            + (f", or `dataset.split.seed={fills}`." if fills is not None else ".")
            + (_STACKS if len(groups) < 3 else ""),
        )
    return drawn


def _by_draw(groups: set[str], seed: int, *borders: float) -> list[set[str]]:
    """The groups drawn below the first border, below the second, ..., and the rest: none of them empty."""
    drawn = sorted((draw(g, seed), g) for g in groups)
    cuts = [0]
    for number, border in enumerate(borders):
        below = sum(place < border for place, _ in drawn)
        cuts.append(min(max(below, cuts[-1] + 1), len(drawn) - len(borders) + number))
    return [{g for _, g in drawn[start:end]} for start, end in pairwise([*cuts, len(drawn)])]


def _read_parts(path: Path) -> dict[str, list[str]]:
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"the split file {path} is missing", "Set `dataset.split.path=FILE`.") from None
    except OSError as error:
        raise DataError(f"the split file {path} cannot be read: {error.strerror}", "Check the path.") from None
    except ValueError as error:
        raise DataError(f"the split file {path} is no JSON: {error}", _FORM) from None
    if not isinstance(parts, dict) or set(parts) - {LEFT} != set(PARTS):
        raise DataError(f"the split file {path} does not hold exactly train, val and test", _FORM)
    for part, ids in parts.items():
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise DataError(f"{part} in the split file {path} is no list of image ids", _FORM)
        if not ids:
            raise DataError(f"{part} in the split file {path} is empty", "Every part needs at least one image.")
    return parts


_STACKS = " A stack of neighbouring sections is one group: `dataset/split=blocks_folds` cuts it into runs."
_FORM = 'It looks like {"train": ["id", ...], "val": ["id", ...], "test": ["id", ...]}; see data/split.json of any run.'


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
