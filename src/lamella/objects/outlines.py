"""Numbered objects -> polygons along the edges of their pixels.

Corners are those of pixels: the first pixel of a picture lies between (0, 0) and (1, 1), as QuPath, Fiji and
`lamella.data.annotations.outlines` count. A point of the grid is a corner of an object where one or three of the four
pixels around it are the object's, and two corners where two are that meet there alone. The corners of one object in one
row of the grid, from left to right, are ends of its horizontal edges in turn, and those in one column of its vertical
ones; so every edge is found by sorting, for all objects at once, and rings by going from edge to edge.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.errors import DataError
from lamella.objects.rows import bands, runs

Ring = npt.NDArray[np.int32]  # (N, 2): x and y of the corners of a closed line, the last joined to the first
Polygon = list[Ring]  # around a part, and around each of its holes
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Column = npt.NDArray[Any]

MOST_CORNERS = 10_000_000
"""Corners of objects that are not complete yet, which are kept in memory: 150 bytes each at the end."""


class _Corners(NamedTuple):
    """Corners of objects, (m,) each.

    Attributes:
        ids: the object.
        x: column of the grid.
        y: row of the grid.
        right: the horizontal edge leads right from here, else left.
        down: the vertical edge leads down from here, else up.
        across: going round with the object on the right hand, the horizontal edge is the next, else the vertical one.
        twice: another corner of the same object lies on the same point.
    """

    ids: Column
    x: Column
    y: Column
    right: Column
    down: Column
    across: Column
    twice: Column


class _Rings(NamedTuple):
    """Closed lines, all their corners after one another, the object on the right hand.

    Attributes:
        points: (m, 2), x and y.
        start: (r,), the first corner of each ring.
        ids: (r,), the object of each.
    """

    points: Ring
    start: Ints
    ids: Ints

    @property
    def stop(self) -> Ints:
        return np.append(self.start[1:], len(self.points))

    def around(self) -> Flags:
        """Which of the rings lie around a part, (r,); the others lie around holes."""
        points = self.points.astype(np.int64)
        following = np.arange(1, len(points) + 1)
        following[self.stop - 1] = self.start
        x, y = points.T
        return np.asarray(np.add.reduceat(x * y[following] - x[following] * y, self.start) > 0)


def polygons(labels: npt.NDArray[np.uint32]) -> Iterator[tuple[int, list[Polygon]]]:
    """The outlines of each object: its id and its polygons, one a 4-connected part.

    Every polygon is valid (OGC): its rings are simple, they touch in single points at most, and the outer one winds
    the other way than those of holes (RFC 7946: with y downwards, the outer one clockwise on the screen). Objects come
    as soon as they are complete, from top to bottom, those of one band of rows by id.

    Args:
        labels: (H, W), 0 outside objects; memory-mapped where it is large. An object may have several parts.

    Raises:
        DataError: one object, or several that are side by side, has more corners than can be kept in memory.
    """
    last = _last_rows(labels)
    above = np.zeros(labels.shape[1], labels.dtype)
    waiting: list[_Corners] = []
    for top, bottom in bands(labels):
        band = labels[top:bottom]
        waiting.append(_corners(np.concatenate([above[None], band]), top))
        above = np.array(band[-1])
        if bottom == labels.shape[0]:
            waiting.append(_corners(np.stack([above, np.zeros_like(above)]), bottom))
        corners = _Corners(*(np.concatenate(column) for column in zip(*waiting, strict=True)))
        complete = (last[corners.ids] < bottom - 1) | (bottom == labels.shape[0])
        waiting = [_Corners(*(column[~complete] for column in corners))]
        if len(waiting[0].ids) > MOST_CORNERS:
            raise DataError(
                f"its objects have outlines of more than {MOST_CORNERS:,} corners at a time",
                "One object reaches over most of the picture, or the picture is full of noise: look at its labels.",
            )
        yield from _assembled(_Corners(*(column[complete] for column in corners)))


def _last_rows(labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    """The last row of each object, by id."""
    last = np.zeros(1, np.int32)
    for top, bottom in bands(labels):
        found = runs(labels[top:bottom])
        if found.ids.size and (most := int(found.ids.max())) >= len(last):
            last = np.concatenate([last, np.zeros(most + 1 - len(last), np.int32)])
        last[found.ids] = found.row + top  # of several rows for one id the last stays
    return last


def _corners(rows: npt.NDArray[np.uint32], top: int) -> _Corners:
    """The corners between the rows (h + 1, W), of which the first pair meets in row `top` of the grid."""
    framed = np.pad(rows, ((0, 0), (1, 1)))
    around = (framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:])
    turns = ((around[0] != around[1]) | (around[2] != around[3])) & (
        (around[0] != around[2]) | (around[1] != around[3])
    )
    place = np.flatnonzero(turns)
    y, x = np.divmod(place, turns.shape[1])
    four = [each[y, x] for each in around]
    y += top
    found = []
    for number, mine in enumerate(four):
        right, down = number % 2 == 1, number >= 2
        beside, below, opposite = four[number ^ 1], four[number ^ 2], four[number ^ 3]
        alone = (mine != 0) & (beside != mine) & (below != mine)
        # Clockwise: along the lower edge to the left, along the left edge up, ...
        found.append((alone, right, down, right == down, alone & (opposite == mine)))
        around_corner = (mine != 0) & (beside == mine) & (below == mine) & (opposite != mine)
        found.append((around_corner, not right, not down, right != down, np.zeros_like(alone)))
    columns = []
    for number, (there, right, down, across, twice) in enumerate(found):
        flags = [np.full(int(there.sum()), flag) for flag in (right, down, across)]
        place_ = x[there].astype(np.int32), y[there].astype(np.int32)
        columns.append((four[number // 2][there], *place_, *flags, twice[there]))
    return _Corners(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _assembled(corners: _Corners) -> Iterator[tuple[int, list[Polygon]]]:
    """The polygons of objects of which all corners are there."""
    if not len(corners.ids):
        return
    rings = _simple(*_rings(corners))
    around = rings.around()
    parent = _parents(rings, around)
    order = np.lexsort((~around, parent, rings.ids))  # each part, then its holes
    bounds = np.stack([rings.start, rings.stop], axis=1)[order].tolist()
    outer = around[order].tolist()
    ids = rings.ids[order]
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])).tolist()
    for begin, end in zip(first, [*first[1:], len(ids)], strict=True):
        parts: list[Polygon] = []
        for (start, stop), is_outer in zip(bounds[begin:end], outer[begin:end], strict=True):
            if is_outer:
                parts.append([])
            parts[-1].append(rings.points[start:stop])
        yield int(ids[begin]), parts


def _rings(corners: _Corners) -> tuple[_Rings, Flags]:
    """The corners put in order, and which of them share their point with another of the same object."""
    order = np.lexsort((corners.right, corners.x, corners.y, corners.ids))  # two and two are one edge: left to right
    ids, x, y, _, down, across, twice = _Corners(*(column[order] for column in corners))
    beneath = np.lexsort((down, y, x, ids)).reshape(-1, 2)
    vertical = np.empty(len(ids), np.int64)
    vertical[beneath[:, 0]], vertical[beneath[:, 1]] = beneath[:, 1], beneath[:, 0]
    # Horizontal edges as one goes along them: out of the corner from which the next is across.
    tail = np.arange(0, len(ids), 2) + ~across[::2]
    following = (vertical[tail ^ 1] // 2).tolist()
    seen = bytearray(len(following))
    path: list[int] = []
    starts: list[int] = []
    for edge in range(len(following)):
        if not seen[edge]:
            starts.append(len(path))
            while not seen[edge]:
                seen[edge] = 1
                path.append(edge)
                edge = following[edge]
    tails = tail[path]
    corner = np.stack([tails, tails ^ 1], axis=1).reshape(-1)
    start = 2 * np.array(starts, np.int64)
    return _Rings(np.stack([x[corner], y[corner]], axis=1), start, ids[corner[start]].astype(np.int64)), twice[corner]


def _simple(rings: _Rings, twice: Flags) -> _Rings:
    """Rings that meet themselves in a point are cut there, into rings that do not."""
    number = np.repeat(np.arange(len(rings.start)), rings.stop - rings.start)
    doubtful = np.flatnonzero(twice)
    x, y = rings.points[doubtful].T
    order = np.lexsort((y, x, number[doubtful]))
    sorted_ = np.stack([number[doubtful], x, y])[:, order]
    same = (sorted_[:, 1:] == sorted_[:, :-1]).all(axis=0)
    meeting = np.unique(sorted_[0, 1:][same])
    if not meeting.size:
        return rings
    whole = np.ones(len(rings.start), bool)
    whole[meeting] = False
    pieces = [rings.points[whole[number]]]
    lengths = [(rings.stop - rings.start)[whole]]
    ids = [rings.ids[whole]]
    for each in meeting.tolist():
        loops = _loops(rings.points[rings.start[each] : rings.stop[each]])
        pieces += loops
        lengths.append(np.array([len(loop) for loop in loops]))
        ids.append(np.full(len(loops), rings.ids[each]))
    length = np.concatenate(lengths)
    return _Rings(np.concatenate(pieces), np.cumsum(length) - length, np.concatenate(ids))


def _loops(ring: Ring) -> list[Ring]:
    """One ring -> its loops, none of which comes to a point twice."""
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    loops = []
    for point in map(tuple, ring.tolist()):
        if point in place:
            loop = path[place[point] :]
            del path[place[point] :]
            for each in loop:
                del place[each]
            loops.append(np.array(loop, np.int32))
        place[point] = len(path)
        path.append(point)
    return [*loops, np.array(path, np.int32)]


def _parents(rings: _Rings, around: Flags) -> Ints:
    """The outer ring of each ring's part, (r,).

    Left of the leftmost edge of a hole lies the part, up to an edge of its outer ring or of another of its holes.
    """
    number = np.arange(len(rings.start))
    sole = np.bincount(rings.ids[around]) == 1
    of_object = np.zeros(len(sole), np.int64)
    of_object[rings.ids[around]] = number[around]
    parent = np.where(around, number, of_object[rings.ids])
    asked = ~around & ~sole[rings.ids]
    if not asked.any():
        return parent
    left = _left_of_holes(rings, np.unique(rings.ids[asked]))
    parent[asked] = left[asked]
    while (doubtful := ~around[parent]).any():
        parent[doubtful] = parent[parent[doubtful]]
    return parent


def _left_of_holes(rings: _Rings, objects: Ints) -> Ints:
    """For each ring of the objects the ring whose edge is the next one to the left of its leftmost edge."""
    length = rings.stop - rings.start
    number = np.repeat(np.arange(len(length)), length)
    following = np.arange(1, len(number) + 1)
    following[rings.stop - 1] = rings.start
    x, y = rings.points.T.astype(np.int64)
    edges = np.flatnonzero((x == x[following]) & np.isin(rings.ids, objects)[number])
    high, low = np.minimum(y, y[following])[edges], np.maximum(y, y[following])[edges]
    each = np.repeat(np.arange(len(edges)), low - high)  # an edge in each row that it passes
    row = np.arange(len(each)) - np.repeat(np.cumsum(low - high) - (low - high), low - high) + high[each]
    ring, column = number[edges][each], x[edges][each]
    order = np.lexsort((column, row, rings.ids[ring]))
    ring, column = ring[order], column[order]
    leftmost = np.lexsort((column, ring))
    leftmost = leftmost[np.append(True, ring[leftmost][1:] != ring[leftmost][:-1])]
    result = np.arange(len(length))
    result[ring[leftmost]] = ring[np.maximum(leftmost - 1, 0)]
    return result
