"""Samples -> train, validation, test. Deterministic, and the same on every machine."""

import hashlib
from collections.abc import Sequence
from typing import Annotated

from lamella.data.types import Sample, Split
from lamella.errors import DataError
from lamella.keys import Key


def published(
    samples: Sequence[Sample],
    *,
    val_fraction: Annotated[float, Key("share of the published train part held out to choose by", above=0, most=0.9)],
    seed: Annotated[int, Key("another seed holds out other images", least=0)],
) -> Split:
    """Test is the published test part; validation is carved from train, whole groups at a time.

    A group's place follows from its name and the seed alone, so images added later move no earlier one. Only
    where that would hold out none of the groups, or all of them, the nearest one is moved over. The share is
    met on average over seeds, seldom exactly.

    Raises:
        DataError: a sample has no published part, a part is empty, or train is too small to hold anything out.
    """
    homeless = [s.id for s in samples if not s.part]
    if homeless:
        raise DataError(
            f"{len(homeless)} image(s), such as {homeless[0]}, belong to no published part",
            "Split this data set another way: see `dataset.split`.",
        )
    train = [s for s in samples if s.part == "train"]
    test = [s for s in samples if s.part == "test"]
    by_draw = sorted({s.group for s in train}, key=lambda g: _draw(g, seed))
    if len(by_draw) < 2 or not test:
        raise DataError(
            f"{len(train)} training and {len(test)} test image(s) are too few to split",
            "Training and validation need at least two images (of two groups), test one.",
        )
    held = {g for g in by_draw if _draw(g, seed) < val_fraction} or {by_draw[0]}
    if len(held) == len(by_draw):
        held.remove(by_draw[-1])
    return Split(
        tuple(s for s in train if s.group not in held),
        tuple(s for s in train if s.group in held),
        tuple(test),
    )


def blocks(
    samples: Sequence[Sample],
    *,
    val: Annotated[int, Key("sections before the test block, held out to choose by", least=1)],
    test: Annotated[int, Key("sections at the end of the block that judge", least=1)],
) -> Split:
    """Contiguous blocks of sections: train first, then validation, then test.

    Neighbouring sections look alike, so a random split would leak; here only the blocks' borders touch.

    Raises:
        DataError: too few sections.
    """
    if len(samples) < val + test + 1:
        raise DataError(
            f"{len(samples)} section(s) cannot give {test} for test, {val} for validation and one for training",
            "Set `dataset.split.val` and `dataset.split.test` lower, or add sections.",
        )
    first_test = len(samples) - test
    first_val = first_test - val
    return Split(tuple(samples[:first_val]), tuple(samples[first_val:first_test]), tuple(samples[first_test:]))


def _draw(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
