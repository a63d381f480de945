"""Regions cut at their necks, many at once: each in its box, the boxes side by side on one canvas.

What `lamella.metrics.instances.split_touching` does to a region depends on the region alone: the nearest pixel outside
lies in its box or next to it. So each is cut by itself, and comes out the same to the pixel; which of them need it is
found out for many at once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lamella.data.io.pieces.blocks import release
from lamella.metrics import instances

Numbers = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CANVAS = 2_000_000
"""Pixels of boxes that are worked on at a time, about: a hundred bytes each."""

_LEVELS = 32
_NEIGHBOURS = np.ones((3, 3), np.bool_)


class Boxes(NamedTuple):
    """Regions that may have to be cut, (n,) each: their numbers and the boxes around them."""

    number: Ints
    top: Ints
    left: Ints
    bottom: Ints  # the row behind the last
    right: Ints


class Parts(NamedTuple):
    """What regions were cut into, (p,) each; a region without a neck has none.

    Attributes:
        region: the number of the region.
        first: place of the first pixel of the part, counted row by row.
        size: pixels.
        deep: the numbers of all regions that are deeper than a neck, (q,), with and without one.
    """

    region: Ints
    first: Ints
    size: Ints
    deep: Ints


NO_PARTS = Parts(*np.zeros((4, 0), np.int64))


class _Placed(NamedTuple):
    """A region on the canvas: its number, its box in the picture, and where the box begins on the canvas."""

    number: int
    top: int
    left: int
    height: int
    width: int
    y: int
    x: int

    def on(self, canvas: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return canvas[self.y : self.y + self.height, self.x : self.x + self.width]

    def within(self, labels: Numbers) -> Numbers:
        return labels[self.top : self.top + self.height, self.left : self.left + self.width]


def cut(labels: Numbers, number: Numbers, boxes: Boxes, depth: float) -> Parts:
    """Cuts regions at their necks, in place: their parts get the values that come after those that `number` knows.

    Args:
        labels: (H, W), values in which regions are found by `number`.
        number: the region of each value.
        boxes: the regions that may have to be cut.
        depth: see `lamella.metrics.instances.split_touching`.
    """
    found = [NO_PARTS]
    value = len(number)
    number = np.append(number, np.uint32(0))  # of all values that parts got
    for placed in _canvases(boxes):
        found.append(_cut_together(labels, number, placed, depth, value))
        value += len(found[-1].size)
        release(labels)
    return Parts(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _canvases(boxes: Boxes) -> Iterator[list[_Placed]]:
    """The regions, some at a time, from top to bottom, laid out with lines of background between them."""
    order = np.argsort(boxes.top, kind="stable")
    sides = np.stack([boxes.number, boxes.top, boxes.left, boxes.bottom - boxes.top, boxes.right - boxes.left])
    side = round(CANVAS**0.5)
    placed: list[_Placed] = []
    y = x = 1
    tallest = 0
    for number, top, left, height, width in sides.T[order].tolist():
        if x > 1 and x + width > side:
            y, x, tallest = y + tallest + 1, 1, 0
        if placed and y + height > side:
            yield placed
            placed, y, x, tallest = [], 1, 1, 0
        placed.append(_Placed(number, top, left, height, width, y, x))
        x, tallest = x + width + 1, max(tallest, height)
    if placed:
        yield placed


def _cut_together(labels: Numbers, number: Numbers, placed: list[_Placed], depth: float, value: int) -> Parts:
    size = max(each.y + each.height for each in placed) + 1, max(each.x + each.width for each in placed) + 1
    canvas = np.zeros(size, np.int32)  # the place of each region in the list, from 1
    for place, each in enumerate(placed, 1):
        there = number.take(each.within(labels), mode="clip") == each.number
        np.copyto(each.on(canvas), place, where=there)
    distance = np.asarray(ndimage.distance_transform_edt(canvas))
    deep = np.zeros(len(placed) + 1, bool)
    deep[canvas[distance > depth]] = True
    region, first, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for place in np.flatnonzero(deep & _may_have_necks(canvas, distance, depth)).tolist():
        each = placed[place - 1]
        component = each.on(canvas) == place
        parts = instances.cut(component, each.on(distance), depth)
        count = int(parts.max())
        if count > 1:
            np.copyto(each.within(labels), (parts + (value - 1)).astype(np.uint32), where=component)
            value += count
            there = np.flatnonzero(parts)
            ids, begin = np.unique(parts.reshape(-1)[there], return_index=True)
            y, x = np.divmod(there[begin], each.width)
            region.append(np.full(count, each.number))
            first.append((y + each.top) * labels.shape[1] + x + each.left)
            sizes.append(np.bincount(parts.reshape(-1))[ids])
    numbers = np.array([each.number for each in placed], np.int64)
    return Parts(np.concatenate(region), np.concatenate(first), np.concatenate(sizes), numbers[deep[1:]])


def _may_have_necks(canvas: npt.NDArray[np.int32], distance: npt.NDArray[np.float64], depth: float) -> Flags:
    """Which regions may be cut, by their place on the canvas: a quick look that spares most of them the real one.

    Where a neck is lower than the tops on both sides by the depth, one of the levels that are so far apart lies
    between: what is above it is in two pieces.
    """
    step, most = depth * (1 - 1e-9), float(distance.max())
    levels = np.arange(step, most, step)[:_LEVELS]
    several = np.zeros(int(canvas.max()) + 1, bool)
    several[canvas[distance > step * (_LEVELS + 1)]] = True
    for level in levels.tolist():
        above = distance > level
        pieces, count = ndimage.label(above, _NEIGHBOURS)
        of_piece = np.zeros(count + 1, np.int64)
        of_piece[pieces[above]] = canvas[above]
        several |= np.bincount(of_piece[1:], minlength=len(several)) > 1
    return several
