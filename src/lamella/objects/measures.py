"""Numbered objects -> their measures, a column each.

In pixels they are those of `skimage.measure.regionprops`; here they are added up from stretches of pixels in rows, for
all objects at once.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.io.pieces.blocks import release
from lamella.objects.regions import Found
from lamella.objects.rows import Runs, bands, runs

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
        blocks: the picture they were found in, every row once, in bands of any height; without it there are no levels
            and no probabilities.
        spacing_nm: height and width of a pixel; None: there is no size in micrometres.

    Raises:
        ValueError: the blocks are not the whole picture.
    """
    count = len(found.class_ids)
    sums, perimeter = _Sums(count), np.zeros(count + 1)
    for top, bottom in bands(found.labels):
        sums.add(runs(found.labels[top:bottom]), top)
        _add_perimeter(perimeter, found.labels, top, bottom)
    levels = _means(found, blocks, sums.area)
    area, perimeter = sums.area[1:], perimeter[1:]
    low_y, high_y, low_x, high_x = (each[1:] for each in (sums.low_y, sums.high_y, sums.low_x, sums.high_x))
    height, width = found.labels.shape
    size_um = None if spacing_nm is None else (spacing_nm[0] / 1000, spacing_nm[1] / 1000)
    y, x = sums.centre()
    columns: dict[str, Column] = {
        "object": np.arange(1, count + 1),
        "class_id": found.class_ids,
        "x": x,
        "y": y,
        "left": low_x,
        "top": low_y,
        "width": high_x - low_x + 1,
        "height": high_y - low_y + 1,
        "touches_edge": (low_y == 0) | (low_x == 0) | (high_y == height - 1) | (high_x == width - 1),
        "area": area.astype(np.int64),
        "perimeter": perimeter,
        "equivalent_diameter": np.sqrt(4 * area / np.pi),
        "eccentricity": sums.eccentricity(size_um or (1.0, 1.0)),
    }
    if size_um is not None:
        down, across = size_um
        columns["area_um2"] = area * down * across
        # An outline's length is made of steps whose direction is not counted: pixels that are no squares give none.
        columns["perimeter_um"] = perimeter * (across if np.isclose(down, across, rtol=1e-3) else np.nan)
        columns["equivalent_diameter_um"] = np.sqrt(4 * area * down * across / np.pi)
    return columns | levels


class _Sums:
    """Sums over the pixels of each object, (n + 1,) each, by id; those of 0 mean nothing."""

    def __init__(self, count: int) -> None:
        self.low_y, self.low_x = np.full((2, count + 1), np.iinfo(np.int64).max)
        self.high_y, self.high_x = np.full((2, count + 1), -1)
        # Counted from a pixel of the object: in squares of large numbers small differences would drown.
        self.from_y, self.from_x = np.zeros((2, count + 1), np.int64)
        self.area, self.y, self.x, self.yy, self.xx, self.yx = np.zeros((6, count + 1))

    def add(self, found: Runs, top: int) -> None:
        """Adds what lies in a band of rows from row `top` on."""
        ids, row, start, last = found.ids, found.row + top, found.start, found.stop - 1
        new = self.high_y[ids] < 0
        self.from_y[ids[new]], self.from_x[ids[new]] = row[new], start[new]
        np.minimum.at(self.low_y, ids, row)
        np.minimum.at(self.low_x, ids, start)
        np.maximum.at(self.high_y, ids, row)
        np.maximum.at(self.high_x, ids, last)
        y = (row - self.from_y[ids]).astype(np.float64)
        begin, end = ((each - self.from_x[ids]).astype(np.float64) for each in (start, last))
        length = end - begin + 1
        x = length * (begin + end) / 2
        np.add.at(self.area, ids, length)
        np.add.at(self.y, ids, y * length)
        np.add.at(self.x, ids, x)
        np.add.at(self.yy, ids, y * y * length)
        np.add.at(self.xx, ids, _squares_to(end) - _squares_to(begin - 1))
        np.add.at(self.yx, ids, y * x)

    def centre(self) -> tuple[Floats, Floats]:
        """y and x of the middle of each object; that of the picture's first pixel is at (0.5, 0.5)."""
        y, x = self.y[1:] / self.area[1:], self.x[1:] / self.area[1:]
        return y + self.from_y[1:] + 0.5, x + self.from_x[1:] + 0.5

    def eccentricity(self, size: tuple[float, float]) -> Floats:
        """Of the ellipse with the same second moments, pixels having this height and width; 0 of a circle."""
        area = self.area[1:]
        y, x = self.y[1:] / area, self.x[1:] / area
        yy = np.maximum(self.yy[1:] / area - y * y, 0) * size[0] ** 2
        xx = np.maximum(self.xx[1:] / area - x * x, 0) * size[1] ** 2
        yx = (self.yx[1:] / area - y * x) * size[0] * size[1]
        middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
        longest = middle + half
        share = np.maximum(middle - half, 0) / np.where(longest > 0, longest, 1)
        return np.asarray(np.where(longest > 0, np.sqrt(1 - share), 0.0))


def _squares_to(most: Floats) -> Floats:
    """0 + 1 + 4 + ... + most**2, and for negative numbers what makes differences right."""
    return most * (most + 1) * (2 * most + 1) / 6


def _add_perimeter(total: Floats, labels: npt.NDArray[np.uint32], top: int, bottom: int) -> None:
    """Adds the lengths of lines through the pixels of outlines in some rows."""
    height, width = labels.shape
    around = np.zeros((bottom - top + 4, width + 4), labels.dtype)
    first, last = max(0, top - 2), min(height, bottom + 2)
    around[first - top + 2 : last - top + 2, 2:-2] = labels[first:last]
    middle = around[1:-1, 1:-1]
    outline = middle != 0
    outline &= (
        (middle != around[:-2, 1:-1])
        | (middle != around[2:, 1:-1])
        | (middle != around[1:-1, :-2])
        | (middle != around[1:-1, 2:])
    )
    y, x = np.nonzero(outline[1:-1, 1:-1])
    ids = around[y + 2, x + 2]
    code = np.zeros(len(ids), np.intp)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down or right:
                there = outline[y + 1 + down, x + 1 + right] & (around[y + 2 + down, x + 2 + right] == ids)
                code += (10 if down and right else 2) * there
    np.add.at(total, ids, _LENGTHS[code])


def _means(found: Found, blocks: Iterable[Block], area: Floats) -> dict[str, Column]:
    """The mean level of each object in each channel, and its mean probability where that is known."""
    sums: dict[str, Floats] = {}
    rows = 0
    for block in blocks:
        bottom = block.top + block.image.shape[1]
        rows += bottom - block.top
        within = runs(found.labels[block.top : bottom])
        release(found.labels)
        width = found.labels.shape[1]
        bounds = np.stack([within.row * width + within.start, within.row * width + within.stop], axis=1).reshape(-1)
        single = len(block.image) == 1
        planes = {f"mean_intensity{'' if single else f'_{n}'}": plane for n, plane in enumerate(block.image, 1)}
        if block.probability is not None:
            planes["mean_probability"] = block.probability
        for name, plane in planes.items():
            values = np.append(np.ravel(plane), plane.dtype.type(0))  # the last stretch may end with the block
            summed = np.add.reduceat(values, bounds, dtype=np.float64)[::2] if bounds.size else np.zeros(0)
            np.add.at(sums.setdefault(name, np.zeros(len(area))), within.ids, summed)
    if sums and rows != found.labels.shape[0]:
        raise ValueError(f"blocks of {rows} rows of a picture of {found.labels.shape[0]}")
    return {name: total[1:] / area[1:] for name, total in sums.items()}
