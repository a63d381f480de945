"""Regions cut at their necks, many at once: each in its box, the boxes side by side on one canvas.

What `lamella.metrics.instances.split_touching` does to a region depends on the region alone: the nearest pixel outside
lies in its box or next to it. So each is cut by itself, and comes out the same to the pixel; which of them need it is
found out for many at once.

A region that is too large for that, such as tissue whose cells all touch, is cut in windows that overlap. What a pixel
belongs to is decided where it lies in the middle of a window; a part is known again in the next one by its innermost
pixel. Necks are as they are in the whole as far as `MARGIN` reaches.
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
Parted = npt.NDArray[np.int32]

CANVAS = 2_000_000
"""Pixels of boxes that are worked on at a time, about: a hundred bytes each."""

LARGEST = 4_000_000
"""Pixels of the box of a region that is cut in one go."""

WINDOW = 2000
"""Rows and columns of the windows in which larger ones are cut."""

MARGIN = 256
"""Pixels of a window on each side that are seen and not decided on."""

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
        uncut: the numbers of regions that had to be left whole, (u,): larger than `LARGEST`, and so deep that windows
            could not tell what is a neck.
    """

    region: Ints
    first: Ints
    size: Ints
    deep: Ints
    uncut: Ints


_NONE = np.zeros(0, np.int64)
NO_PARTS = Parts(*np.zeros((5, 0), np.int64))


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
    large = (boxes.bottom - boxes.top) * (boxes.right - boxes.left) > LARGEST
    for placed in _canvases(Boxes(*(column[~large] for column in boxes))):
        found.append(_cut_together(labels, number, placed, depth, value))
        value += len(found[-1].size)
        release(labels)
    for box in np.stack(boxes, axis=1)[large].tolist():
        found.append(_Large(labels, number, value, depth, *box).cut())
        value += len(found[-1].size)
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
        if max(height, width) > side:  # on a canvas of its own: beside others it would be mostly empty
            yield [_Placed(number, top, left, height, width, 1, 1)]
            continue
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
    region, first, sizes = [_NONE], [_NONE], [_NONE]
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
    numbers = np.array([each.number for each in placed], np.int64)[deep[1:]]
    return Parts(np.concatenate(region), np.concatenate(first), np.concatenate(sizes), numbers, _NONE)


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


class _Window(NamedTuple):
    """A core of pixels that are decided on, and what is seen around it.

    Attributes:
        top: the first row that is seen.
        left: the first column.
        core: where the core lies in what is seen.
        inside: (h, w), what belongs to the region.
        distance: (h, w), to the nearest pixel that does not.
    """

    top: int
    left: int
    core: tuple[slice, slice]
    inside: Flags
    distance: npt.NDArray[np.float64]


class _Large:
    """A region that is cut window by window: its number, and the box around it.

    Args:
        labels: (H, W).
        number: the region of each value; the last, 0, is of all values that parts got.
        value: the first that is free.
        depth: of necks.
        region: the number of the region.
        box: around it: first row, first column, the row behind the last, the column behind the last.
    """

    def __init__(self, labels: Numbers, number: Numbers, value: int, depth: float, region: int, *box: int) -> None:
        self._labels, self._number, self._value, self._depth, self._region = labels, number, value, depth, region
        step = max(1, WINDOW - 2 * MARGIN)
        rows, columns = range(box[0], box[2], step), range(box[1], box[3], step)
        self._cores = [(y, min(box[2], y + step), x, min(box[3], x + step)) for y in rows for x in columns]
        self._known: dict[int, int] = {}  # the place of a part's innermost pixel; -1: of all that is in no part
        self._first: list[int] = []
        self._size: list[int] = []

    def cut(self) -> Parts:
        """Its parts, which have their values in the picture then."""
        region, deepest = np.array([self._region]), 0.0
        for core in self._cores:
            seen = self._seen(core)
            deepest = max(deepest, float(seen.distance[seen.core].max(initial=0)))
            if deepest > MARGIN / 2:
                return NO_PARTS._replace(uncut=region)
        if deepest <= self._depth:
            return NO_PARTS
        for core in self._cores:
            self._decide(core)
        return Parts(region.repeat(len(self._size)), np.array(self._first), np.array(self._size), region, _NONE)

    def _seen(self, core: tuple[int, int, int, int]) -> _Window:
        height, width = self._labels.shape
        top, bottom = max(0, core[0] - MARGIN), min(height, core[1] + MARGIN)
        left, right = max(0, core[2] - MARGIN), min(width, core[3] + MARGIN)
        values = self._labels[top:bottom, left:right]
        inside = (self._number.take(values, mode="clip") == self._region) | (values >= self._value)
        release(self._labels)
        # Beyond the picture is background; beyond the window it is not known.
        above, below, before, behind = (int(each) for each in (top == 0, bottom == height, left == 0, right == width))
        framed = np.pad(inside, ((above, below), (before, behind)))
        distance = np.full(framed.shape, np.inf) if framed.all() else ndimage.distance_transform_edt(framed)
        distance = distance[above : above + inside.shape[0], before : before + inside.shape[1]]
        middle = slice(core[0] - top, core[1] - top), slice(core[2] - left, core[3] - left)
        return _Window(top, left, middle, inside, distance)

    def _decide(self, core: tuple[int, int, int, int]) -> None:
        """Gives the pixels of a core the values of their parts."""
        top, left, middle, inside, distance = self._seen(core)
        if not inside[middle].any():
            return
        pieces, count = ndimage.label(inside, _NEIGHBOURS)
        deep = np.zeros(count + 1, bool)
        deep[pieces[distance > self._depth]] = True
        parts = instances.cut(deep[pieces], distance, self._depth) if deep.any() else np.zeros(inside.shape, np.int32)
        key, width = self._keys(parts, distance, top, left), self._labels.shape[1]
        y, x = np.nonzero(inside[middle])
        part = parts[middle][y, x]
        size = np.bincount(part, minlength=len(key))
        first = np.full(len(key), self._labels.size)
        np.minimum.at(first, part, (y + core[0]) * width + x + core[2])
        values = np.zeros(len(key), np.uint32)
        for each in np.flatnonzero(size).tolist():
            place = self._known.setdefault(int(key[each]), len(self._size))
            if place == len(self._size):
                self._first.append(self._labels.size)
                self._size.append(0)
            self._first[place] = min(self._first[place], int(first[each]))
            self._size[place] += int(size[each])
            values[each] = self._value + place
        there = self._labels[core[0] : core[1], core[2] : core[3]]
        np.copyto(there, values[parts[middle]], where=inside[middle])

    def _keys(self, parts: Parted, distance: npt.NDArray[np.float64], top: int, left: int) -> Ints:
        """By which each part is known again: where in the picture its innermost pixel is; -1 of what is in none."""
        y, x = np.nonzero(parts)
        part, depth = parts[y, x], distance[y, x]
        most = np.zeros(int(parts.max()) + 1)
        np.maximum.at(most, part, depth)
        innermost = np.flatnonzero(depth == most[part])[::-1]
        key = np.full(len(most), -1)
        key[part[innermost]] = (y[innermost] + top) * self._labels.shape[1] + x[innermost] + left  # the first stays
        return key
