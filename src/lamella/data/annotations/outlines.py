"""Outlines, whichever program drew them, and the pixels that lie in them.

A pixel lies in an outline where its centre does. Coordinates count from the upper left corner of the first pixel, whose
centre is (0.5, 0.5); a centre on a left or upper edge lies inside, one on a right or lower edge outside, so that two
outlines that share an edge share no pixel, and leave none out between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float64]  # (N, 2): x and y of the corners of a closed line
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bitmap:
    """A part of an object that a file keeps as pixels, (h, w), with the row and column of its first."""

    pixels: Bools
    top: int = 0
    left: int = 0


@dataclass(frozen=True)
class Ellipse:
    """A part of an object: all within an ellipse of these half axes along rows and columns, around (x, y)."""

    x: float
    y: float
    half_width: float
    half_height: float


Part = Bitmap | Ellipse | tuple[Ring, ...]  # rings in one another are holes, and islands in holes


@dataclass(frozen=True)
class Outline:
    """One object: all of its parts together.

    Attributes:
        title: what messages call it.
        name: its class; "" where the file names none.
        parts: its parts, which may overlap.
        page: the page of a stack that it is drawn on, from 0; None: the file does not say.
        crowd: it stands for several objects that nobody drew one by one.
    """

    title: str
    name: str
    parts: tuple[Part, ...]
    page: int | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Drawing:
    """The outlines of one image, later ones over earlier ones, and its size (H, W) where the file tells it."""

    outlines: list[Outline] = field(default_factory=list)
    size: tuple[int, int] | None = None


def ring(points: Any) -> Ring:
    """The corners of a closed line: at least three, all of them numbers. Raises ValueError."""
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] < 2 or len(corners) < 3:
        raise ValueError("it has fewer than three corners")
    if not np.isfinite(corners[:, :2]).all():
        raise ValueError("its corners are no numbers")
    return corners[:, :2]


def covered(outline: Outline, size: tuple[int, int]) -> tuple[tuple[slice, slice], Bools] | None:
    """The pixels of an object: a window of the image of `size` (H, W), and which of the window's pixels.

    None where the object lies wholly outside of the image.
    """
    boxes = [_box(part) for part in outline.parts]
    x0, y0 = (min(box[i] for box in boxes) for i in (0, 1))
    x1, y1 = (max(box[i] for box in boxes) for i in (2, 3))
    height, width = size
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return None
    top, left = max(0, int(np.floor(y0))), max(0, int(np.floor(x0)))
    bottom, right = min(height, int(np.ceil(y1))), min(width, int(np.ceil(x1)))
    inside = np.zeros((bottom - top, right - left), bool)
    for part in outline.parts:
        if isinstance(part, Bitmap):
            _paste(part, inside, top, left)
        elif isinstance(part, Ellipse):
            rows, columns = np.ogrid[top:bottom, left:right]
            across, down = (columns + 0.5 - part.x) / part.half_width, (rows + 0.5 - part.y) / part.half_height
            inside |= across**2 + down**2 <= 1
        else:
            inside |= _filled(part, top, left, inside.shape)
    return (slice(top, bottom), slice(left, right)), inside


def area(outline: Outline) -> float:
    """The size of the box around an object, by which larger ones can be drawn below smaller ones."""
    boxes = np.array([_box(part) for part in outline.parts])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return float((high - low).prod())


def _box(part: Part) -> tuple[float, float, float, float]:
    """x and y of the least, then of the greatest corner."""
    if isinstance(part, Bitmap):
        height, width = part.pixels.shape
        return part.left, part.top, part.left + width, part.top + height
    if isinstance(part, Ellipse):
        wide, high = part.half_width, part.half_height
        return part.x - wide, part.y - high, part.x + wide, part.y + high
    corners = np.concatenate(part)
    return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())


def _paste(part: Bitmap, inside: Bools, top: int, left: int) -> None:
    down, across = part.top - top, part.left - left
    there = part.pixels[max(0, -down) : inside.shape[0] - down, max(0, -across) : inside.shape[1] - across]
    down, across = max(0, down), max(0, across)
    inside[down : down + there.shape[0], across : across + there.shape[1]] |= there


def _filled(rings: Sequence[Ring], top: int, left: int, shape: tuple[int, ...]) -> Bools:
    """The pixels of a window that an odd number of edges lies left of, in their row.

    Each edge is counted from the pixel on whose centre it passes or lies left of; edges run downwards, so that one that
    two objects share gives both the same numbers.
    """
    height, width = shape
    ends = np.concatenate([np.concatenate([each, np.roll(each, -1, axis=0)], axis=1) for each in rings])
    x0, y0, x1, y1 = np.where((ends[:, 1] > ends[:, 3])[:, None], ends[:, [2, 3, 0, 1]], ends).T
    first = np.clip(np.ceil(y0 - 0.5) - top, 0, height).astype(np.int64)
    last = np.clip(np.ceil(y1 - 0.5) - top, 0, height).astype(np.int64)
    lengths = last - first
    edge = np.repeat(np.arange(len(lengths)), lengths)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    x = x0[edge] + (row + top + 0.5 - y0[edge]) * slope
    column = np.clip(np.ceil(x - 0.5) - left, 0, width).astype(np.int64)
    crossings = np.zeros((height, width + 1), np.int32)
    np.add.at(crossings, (row, column), 1)
    return np.asarray(crossings.cumsum(axis=1)[:, :-1] % 2, bool)
