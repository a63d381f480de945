"""Numbered objects -> their measures, a column each.

In pixels they are those of `skimage.measure.regionprops`; here they are added up from stretches of pixels in rows, for
all objects at once.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.objects.regions import Found
from lamella.objects.rows import bands, runs

Column = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# Of a pixel of the outline, by the pixels of the outline beside it (2 each) and at its corners (10 each): the length of
# the line through it (K. Benkrid, D. Crookes 2000, Design and FPGA implementation of a perimeter estimator).
_LENGTHS = np.zeros(50)
_LENGTHS[[4, 6, 14, 16, 24, 26]] = 1
_LENGTHS[[20, 32]] = np.sqrt(2)
_LENGTHS[[12, 22]] = (1 + np.sqrt(2)) / 2


class Block(NamedTuple):
    """Some rows of the picture that objects were found in.

    Attributes:
        top: the number of the first of them.
        image: the levels as stored, (C, h, W).
        probability: float32 (h, W): that of the class which each pixel was given; None: not asked for.
    """

    top: int
    image: npt.NDArray[Any]
    probability: npt.NDArray[np.float32] | None = None


def measure(
    found: Found, blocks: Iterable[Block] = (), spacing_nm: tuple[float, float] | None = None
) -> dict[str, Column]:
    """The columns of `objects.csv`, each (n,), in the order of ids; they are explained in docs/using.md.

    Args:
        found: the objects.
        blocks: the picture they were found in, all rows, in any order and of any height; without it there are no
            levels and no probabilities.
        spacing_nm: height and width of a pixel; None: there is no size in micrometres.
    """
    count = len(found.class_ids)
    sums = _Sums(count)
    perimeter = np.zeros(count + 1)
    for top, bottom in bands(found.labels):
        sums.add(found.labels[top:bottom], top)
        perimeter += _perimeter(found.labels, top, bottom, count)
    levels, probability = _means(found, blocks, sums.area)
    height, width = found.labels.shape
    low, high = sums.low[1:], sums.high[1:]
    area = sums.area[1:]
    y, x = (sums.first[1:] / area[:, None]).T
    size_um = None if spacing_nm is None else (spacing_nm[0] / 1000, spacing_nm[1] / 1000)
    columns: dict[str, Column] = {
        "object": np.arange(1, count + 1),
        "class_id": found.class_ids,
        "x": x + 0.5,
        "y": y + 0.5,
        "left": low[:, 1],
        "top": low[:, 0],
        "width": high[:, 1] - low[:, 1] + 1,
        "height": high[:, 0] - low[:, 0] + 1,
        "touches_edge": (low == 0).any(axis=1) | (high == (height - 1, width - 1)).any(axis=1),
        "area": area.astype(np.int64),
        "perimeter": perimeter[1:],
        "equivalent_diameter": np.sqrt(4 * area / np.pi),
        "eccentricity": sums.eccentricity(size_um or (1.0, 1.0)),
    }
    if size_um is not None:
        down, across = size_um
        columns["area_um2"] = area * down * across
        # The length of a line is made of steps whose direction is not counted: it has none where pixels are no squares.
        square = np.isclose(down, across, rtol=1e-3)
        columns["perimeter_um"] = perimeter[1:] * (across if square else np.nan)
        columns["equivalent_diameter_um"] = np.sqrt(4 * area * down * across / np.pi)
    return columns | levels | probability


class _Sums:
    """Sums over the pixels of each object, (n + 1,) and (n + 1, 2) of rows and columns; those of id 0 mean nothing."""

    def __init__(self, count: int) -> None:
        self.area = np.zeros(count + 1)
        self.first = np.zeros((count + 1, 2))
        self.second = np.zeros((count + 1, 3))  # of rows, of columns, of both
        self.low = np.full((count + 1, 2), np.iinfo(np.int32).max, np.int64)
        self.high = np.full((count + 1, 2), -1, np.int64)
        self._origin = np.zeros((count + 1, 2))

    def add(self, rows: npt.NDArray[np.uint32], top: int) -> None:
        """Adds what lies in rows (h, W) from row `top` on."""
        ids, row, start, stop = runs(rows)
        row = row + top
        new = ids[self.high[ids, 0] < 0]
        if new.size:  # counted from a pixel of the object: squares of large numbers would swallow small differences
            where = self.high[ids, 0] < 0
            self._origin[ids[where]] = np.stack([row, start], axis=1)[where]
        np.minimum.at(self.low, ids, np.stack([row, start], axis=1))
        np.maximum.at(self.high, ids, np.stack([row, stop - 1], axis=1))
        y = row - self._origin[ids, 0]
        begin, end = start - self._origin[ids, 1], stop - 1 - self._origin[ids, 1]
        length = end - begin + 1
        x = length * (begin + end) / 2
        squares = _squares(end) - _squares(begin - 1)
        for total, values in (
            (self.area, length),
            (self.first[:, 0], y * length),
            (self.first[:, 1], x),
            (self.second[:, 0], y * y * length),
            (self.second[:, 1], squares),
            (self.second[:, 2], y * x),
        ):
            total += np.bincount(ids, values, len(self.area))

    def eccentricity(self, size: tuple[float, float]) -> Floats:
        """Of the ellipse with the same second moments, pixels being of this height and width; 0 of a circle."""
        raise NotImplementedError


def _squares(most: Floats) -> Floats:
    """0 + 1 + 4 + 9 + ... + most**2, for negative numbers continued so that differences are right."""
    return most * (most + 1) * (2 * most + 1) / 6
