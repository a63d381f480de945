"""What each mask holds, value by value, measured once and remembered: pixels, and the regions they form."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from skimage.measure import label

from lamella.data.cache.facts import Facts
from lamella.data.datasets.meaning.words import colour
from lamella.data.io.masks import PLAIN, mask_places, mask_values
from lamella.data.types import ImageRef, Labelling, MaskValue
from lamella.errors import DataError

_VERSION = 1  # counts up when an answer means something else, so that remembered ones are not believed
_FORM = ("regions", "largest", "reach")
_WINDOW = 4096  # regions are told in at most so many rows and columns, from the middle: that bounds memory


@dataclass(frozen=True)
class Held:
    """What a mask holds of one value.

    Attributes:
        pixels: how many have it.
        regions: how many connected regions they form, neighbours by a corner included; 0 for background (0, black).
        largest: pixels of the largest region.
        reach: the squared longer side of each region's box, in all: a disc's is about its pixels, a stroke's far more.
    """

    pixels: int
    regions: int = 0
    largest: int = 0
    reach: int = 0


Masks = Mapping[ImageRef, Mapping[MaskValue, Held]]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def joined(several: Sequence[Held]) -> Held:
    """What several masks, or several values, hold together."""
    pixels, regions, reach = (sum(getattr(one, name) for one in several) for name in ("pixels", "regions", "reach"))
    return Held(pixels, regions, max(one.largest for one in several), reach)


def as_colours(held: Mapping[MaskValue, Held]) -> dict[MaskValue, Held]:
    """Grey levels as the colours that they are, for masks of which only some hold more than grey."""
    found: dict[MaskValue, list[Held]] = defaultdict(list)
    for value, one in held.items():
        found[colour(value)].append(one)
    return {value: joined(several) for value, several in found.items()}


def hold(masks: Sequence[ImageRef], facts: Facts, labelling: Labelling = PLAIN, *, regions: bool = False) -> Masks:
    """What each mask holds; masks that cannot be read are left to the audit.

    Args:
        masks: where they are.
        facts: remembers what was measured.
        labelling: their threshold or layers.
        regions: of two values, too, which are classes whatever regions they form.

    Raises DataError where not one can be read.
    """
    settings = f"{labelling.threshold} {labelling.layers}"

    def counted(ref: ImageRef) -> dict[MaskValue, Held] | DataError:
        try:
            key = f"mask values {_VERSION} {facts.source(ref)} {settings}"
            rows = facts.recall(key, lambda: list(mask_values(ref, labelling).items()))
            return {tuple(value) if isinstance(value, list) else value: Held(pixels) for value, pixels in rows}
        except DataError as fault:
            return fault

    results = dict(zip(masks, threads(counted, masks), strict=True))
    read = {ref: held for ref, held in results.items() if not isinstance(held, DataError)}
    if not read:
        raise next(fault for fault in results.values() if isinstance(fault, DataError))
    if not regions and len({colour(value) for held in read.values() for value in held}) < 3:
        return read

    def formed(ref: ImageRef) -> dict[MaskValue, Held]:
        key = f"mask regions {_VERSION} {facts.source(ref)} {settings}"
        rows = facts.recall(key, lambda: _regions(ref, list(read[ref]), labelling))
        return {value: replace(one, **dict(zip(_FORM, row, strict=True)))
                for (value, one), row in zip(read[ref].items(), rows, strict=True)}  # fmt: skip

    return dict(zip(read, threads(formed, list(read)), strict=True))


def threads(look: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """The answer for each item, in their order; in threads, because decoders work without Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(look, items))


def _regions(ref: ImageRef, values: Sequence[MaskValue], labelling: Labelling) -> list[tuple[int, int, int]]:
    """`Held`'s regions, largest and reach of each value of a mask; zeros for 0 and black."""
    places = mask_places(ref, values, labelling, _WINDOW)
    zero = next((place for place, value in enumerate(values) if set(colour(value)) == {0}), -1)
    marked, count = label(places, background=zero, return_num=True, connectivity=2)
    if not count:
        return [(0, 0, 0)] * len(values)
    y, x = np.nonzero(marked)
    of = marked[y, x] - 1
    sizes = np.bincount(of, minlength=count)
    box = np.zeros((2, count), np.int64)
    for side, at in zip(box, (y, x), strict=True):
        low, high = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
        np.minimum.at(low, of, at)
        np.maximum.at(high, of, at)
        side[:] = high - low + 1
    value = np.zeros(count, np.int64)
    value[of] = places[y, x]
    regions = np.bincount(value, minlength=len(values))
    reach = np.bincount(value, box.max(axis=0) ** 2, len(values)).astype(np.int64)
    largest = np.zeros(len(values), np.int64)
    np.maximum.at(largest, value, sizes)
    return list(zip(regions.tolist(), largest.tolist(), reach.tolist(), strict=True))
