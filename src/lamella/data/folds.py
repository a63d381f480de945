"""k-fold: each sample judges once over all folds. A run is one fold; a sweep over `fold` is all of them."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from lamella.config.key import Key
from lamella.data.types import Sample, Split
from lamella.errors import ConfigError, DataError
from lamella.splits import draw, published_parts, whole_groups


def published(
    samples: Sequence[Sample],
    *,
    folds: Annotated[int, Key("folds of the published train part", least=2)],
    fold: Annotated[int, Key("the fold held out to choose by, counted from 0", least=0)],
    seed: Annotated[int, Key("another seed makes other folds", least=0)],
) -> Split:
    """Test is the published test part, in every fold; `fold` of the train part is validation, the rest trains.

    A group's fold follows from its name and the seed alone, so images added later move no earlier one.

    Raises:
        ConfigError: there is no such fold.
        DataError: as `lamella.splits.published`, a published validation part, or an empty fold.
    """
    _in_range(fold, folds)
    train, val, test = published_parts(samples)
    if val:
        raise DataError(
            f"{len(val)} image(s), such as {val[0].id}, are published for validation, which folds would replace",
            "Use `dataset/split=published`, or move them to the train part.",
        )
    held = _drawn({s.group for s in train}, folds, seed)[fold]
    return whole_groups(
        Split(tuple(s for s in train if s.group not in held), tuple(s for s in train if s.group in held), test)
    )


def hashed(
    samples: Sequence[Sample],
    *,
    folds: Annotated[int, Key("folds; one judges, the next is held out to choose by", least=3)],
    fold: Annotated[int, Key("the fold that judges, counted from 0", least=0)],
    seed: Annotated[int, Key("another seed makes other folds", least=0)],
) -> Split:
    """Whole groups in folds: `fold` is test, the one after it validation, the rest trains.

    A group's fold follows from its name and the seed alone, so images added later move no earlier one; folds are
    equally large on average over seeds, seldom exactly. Published parts are not heeded.

    Raises:
        ConfigError: there is no such fold.
        DataError: a fold is empty.
    """
    _in_range(fold, folds)
    drawn = _drawn({s.group for s in samples}, folds, seed)
    tested, held = drawn[fold], drawn[(fold + 1) % folds]
    return Split(
        tuple(s for s in samples if s.group not in tested | held),
        tuple(s for s in samples if s.group in held),
        tuple(s for s in samples if s.group in tested),
    )


def blocks(
    samples: Sequence[Sample],
    *,
    folds: Annotated[int, Key("contiguous runs of sections of equal length, give or take one", least=2)],
    fold: Annotated[int, Key("the run that judges, counted from 0", least=0)],
    val: Annotated[int, Key("sections beside it, held out to choose by", least=1)],
    gap: Annotated[int, Key("sections between two parts that are left out", least=0)],
) -> Split:
    """Runs of sections: `fold` is test, the `val` sections before it (after it where it is early) validation.

    The rest trains, on either side. A stack is cut, a group of several files stays whole.

    Raises:
        ConfigError: there is no such fold.
        DataError: too few sections, or a border runs through a group of several files.
    """
    _in_range(fold, folds)
    count = len(samples)
    start, end = fold * count // folds, (fold + 1) * count // folds
    # Validation and its gap fit before the test run, or else lie after it.
    first_val = start - gap - val if start >= gap + val else end + gap
    held = range(first_val, first_val + val)
    out = {n for block in (range(start, end), held) for n in range(block.start - gap, block.stop + gap)}
    training = [n for n in range(count) if n not in out]
    if start == end or held.stop > count or not training:
        raise DataError(
            f"{count} section(s) are too few for fold {fold} of {folds} with {val} for validation"
            + (f" and gaps of {gap}" if gap else ""),
            "Set `dataset.split.folds`, `dataset.split.val` or `dataset.split.gap` lower, or add sections.",
        )
    return whole_groups(
        Split(
            tuple(samples[n] for n in training),
            tuple(samples[held.start : held.stop]),
            tuple(samples[start:end]),
        )
    )


def _in_range(fold: int, folds: int) -> None:
    if fold >= folds:
        raise ConfigError(
            f"dataset.split.fold={fold}, but there are {folds} folds",
            f"Folds are counted from 0: the last is dataset.split.fold={folds - 1}.",
        )


def _drawn(groups: Iterable[str], folds: int, seed: int) -> list[set[str]]:
    """The groups of each fold. Raises DataError where a fold has none, with a seed that fills all."""
    names = sorted(groups)

    def deal(seed: int) -> list[set[str]]:
        return [{g for g in names if int(draw(g, seed) * folds) == n} for n in range(folds)]

    drawn = deal(seed)
    if not all(drawn):
        fills = next((s for s in range(1000) if all(deal(s))), None) if len(names) >= folds else None
        raise DataError(
            f"fold {drawn.index(set())} of {folds} is empty: {len(names)} group(s) are few for so many folds",
            "Set `dataset.split.folds` lower" + (f", or `dataset.split.seed={fills}`." if fills is not None else "."),
        )
    return drawn
