"""Class ids of a picture of any size -> its single objects, numbered.

The picture is never in memory: regions are found in bands of rows and joined where bands meet, and cut at their necks
in boxes around them. What comes out is what `lamella.metrics.instances` gives for the whole picture, which is what the
test of a run counts, in another order: that of first pixels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from lamella.errors import DataError, StorageError
from lamella.metrics import instances
from lamella.objects.necks import NO_PARTS, Boxes, Parts, cut
from lamella.objects.rows import bands, runs

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]

MOST = 5_000_000
"""Regions that are told apart in one picture."""

_CORNERS = np.ones((3, 3), np.bool_)
_CROSS = ndimage.generate_binary_structure(2, 1)


class Found(NamedTuple):
    """The objects of one picture.

    Attributes:
        labels: uint32 (H, W), memory-mapped: 0 outside objects, ids 1..n in the order of their first pixels.
        class_ids: uint8 (n,): the class of each.
        uncut: ids of regions too large to be cut at their necks (`lamella.objects.necks`): each may be several objects.
    """

    labels: Numbers
    class_ids: Bytes
    uncut: tuple[int, ...] = ()


class _Regions(NamedTuple):
    """Regions of pixels of one class, (n,) each.

    Attributes:
        class_id: their class.
        first: the place of the first pixel, counted row by row.
        size: pixels.
        top: the first row.
        left: the first column.
        bottom: the row behind the last.
        right: the column behind the last.
    """

    class_id: Ints
    first: Ints
    size: Ints
    top: Ints
    left: Ints
    bottom: Ints
    right: Ints


def find(classes: Bytes, kind: str, *, smallest: int, neck: float | None, folder: Path, border: int = 0) -> Found:
    """The objects of a picture, as `lamella.metrics.instances` finds them in one that fits into memory.

    Args:
        classes: (H, W), class ids; memory-mapped where they are large.
        kind: what regions stand for, as a data set's card has it. "neurites": the regions of class 0, 4-connected;
            "cells" and "": those of every other class, 8-connected.
        smallest: objects of fewer pixels are none.
        neck: pixels by which a region of cells must be narrower in between to be cut there
            (`lamella.metrics.instances.split_touching`); None: nothing is cut.
        folder: where the numbers are kept, in a file of 4 bytes a pixel that is the caller's to delete.
        border: pixels on each side that part touching objects in the class ids (`lamella.metrics.instances.rejoined`).

    Raises:
        DataError: there are more regions than can be told apart.
        StorageError: the file cannot be written.
    """
    path = folder / "objects.u32"
    neurites = kind == "neurites"
    try:
        pieces, meeting = _in_bands(classes, neurites, smallest, path)
    except OSError as error:
        raise StorageError(
            f"numbered objects cannot be written in {folder}: {error.strerror or error}",
            f"A picture of {classes.shape[1]:,} x {classes.shape[0]:,} pixels takes {4 * classes.size / 1e9:.1f} GB.",
        ) from error
    labels: Numbers = np.memmap(path, np.uint32, "r+", shape=classes.shape)
    number, regions = _united(pieces, meeting)
    parts = _at_necks(labels, number, regions, smallest, neck) if kind == "cells" and neck is not None else NO_PARTS
    # Objects are regions that are whole, and the parts of others, which have values of their own.
    owner = np.concatenate([np.arange(len(regions.size)), parts.region - 1])
    class_id = regions.class_id[owner]
    first = np.concatenate([regions.first, parts.first])
    size = np.concatenate([regions.size, parts.size])
    size[parts.region - 1] = 0
    of_value = np.concatenate([number, len(regions.size) + 1 + np.arange(len(parts.size))])
    kept = np.flatnonzero(size >= smallest)
    # Where a pixel between two objects is given to one of them their order decides: that of `metrics.instances`.
    deep = np.isin(owner, parts.deep - 1)
    kept = kept[np.lexsort((owner[kept], deep[kept], class_id[kept]) if border else (first[kept],))]
    ids = np.zeros(len(owner) + 1, np.uint32)
    ids[kept + 1] = np.arange(1, len(kept) + 1)
    class_id = class_id[kept]
    if border:
        order = np.argsort(_rejoined(labels, ids[of_value], border, len(kept)), kind="stable")
        again = np.zeros(len(kept) + 1, np.uint32)
        again[order + 1] = np.arange(1, len(kept) + 1)
        _replace(labels, again)
        class_id, ids = class_id[order], again[ids]
    else:
        _replace(labels, ids[of_value])
    return Found(labels, class_id.astype(np.uint8), tuple(sorted(ids[parts.uncut].tolist())))


def _in_bands(classes: Bytes, neurites: bool, smallest: int, path: Path) -> tuple[_Regions, Ints]:
    """Numbers the regions of each band of rows on their own, and writes the numbers as they lie in the picture.

    What is whole within a band and too small is left out.

    Returns:
        The pieces, by number - 1, and (m, 2) numbers of those that meet where two bands do.
    """
    height = classes.shape[0]
    found, meeting, count = [], [np.zeros((0, 2), np.int64)], 0
    with path.open("wb") as file:
        above, above_classes = np.zeros(0, np.uint32), np.zeros(0, np.uint8)
        for top, bottom in bands(classes):
            band = np.asarray(classes[top:bottom])
            labels, class_id = _labelled(band, neurites)
            pieces = _described(labels, class_id, top)
            kept = pieces.size >= smallest
            for there, edge in ((top > 0, labels[0]), (bottom < height, labels[-1])):
                kept[edge[edge > 0] - 1] |= there
            table = np.zeros(len(kept) + 1, np.uint32)
            table[1:][kept] = count + 1 + np.arange(kept.sum())
            rows = table[labels]
            found.append(_Regions(*(column[kept] for column in pieces)))
            if top:
                meeting.append(_meeting(above, above_classes, rows[0], band[0], neurites))
            file.write(rows.data)
            above, above_classes = rows[-1].copy(), band[-1].copy()
            count += int(kept.sum())
            if count > MOST:
                raise DataError(
                    f"it holds more than {MOST:,} separate regions of class ids",
                    "That is noise, or far more than the network was trained for: look at a small part of it.",
                )
    return _Regions(*(np.concatenate(column) for column in zip(*found, strict=True))), np.concatenate(meeting)


def _labelled(band: Bytes, neurites: bool) -> tuple[npt.NDArray[np.int32], Ints]:
    """The connected regions of each class, numbered from 1, and the class of each."""
    present = np.flatnonzero(np.bincount(band.reshape(-1), minlength=1)[1:]) + 1
    labels = np.zeros(band.shape, np.int32)
    class_id = [np.zeros(0, np.int64)]
    count = 0
    for each in [0] if neurites else present.tolist():
        there, more = ndimage.label(band == each, _CROSS if neurites else _CORNERS)
        labels += np.where(there > 0, there + count, 0)
        class_id.append(np.full(more, each))
        count += more
    return labels, np.concatenate(class_id)


def _described(labels: npt.NDArray[np.int32], class_id: Ints, top: int) -> _Regions:
    count = len(class_id)
    found = runs(labels)
    which, row = found.ids - 1, found.row + top
    first, upper, left = np.full((3, count), np.iinfo(np.int64).max)
    lower, right, size = np.zeros((3, count), np.int64)
    np.minimum.at(first, which, row * labels.shape[1] + found.start)
    np.minimum.at(upper, which, row)
    np.minimum.at(left, which, found.start)
    np.maximum.at(lower, which, row + 1)
    np.maximum.at(right, which, found.stop)
    np.add.at(size, which, found.stop - found.start)
    return _Regions(class_id, first, size, upper, left, lower, right)


def _meeting(upper: Numbers, upper_class: Bytes, lower: Numbers, lower_class: Bytes, neurites: bool) -> Ints:
    """Which numbers of one class meet in two rows, one above the other."""
    width = len(upper)
    pairs = []
    for shift in (0,) if neurites else (-1, 0, 1):
        above, below = slice(max(0, shift), width + min(0, shift)), slice(max(0, -shift), width - max(0, shift))
        same = (upper[above] > 0) & (lower[below] > 0) & (upper_class[above] == lower_class[below])
        pairs.append(np.stack([upper[above][same], lower[below][same]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0).astype(np.int64)


def _united(pieces: _Regions, meeting: Ints) -> tuple[Numbers, _Regions]:
    """Pieces that meet are one region: the number of each value, and the regions, by class, then by first pixel."""
    count = len(pieces.size)
    links = sparse.coo_array((np.ones(len(meeting), bool), tuple(meeting.T - 1)), shape=(count, count))
    number, which = sparse.csgraph.connected_components(links, directed=False) if count else (0, np.zeros(0, np.int64))
    first, top, left = np.full((3, number), np.iinfo(np.int64).max)
    class_id, size, bottom, right = np.zeros((4, number), np.int64)
    class_id[which] = pieces.class_id
    np.add.at(size, which, pieces.size)
    for least, column in ((first, pieces.first), (top, pieces.top), (left, pieces.left)):
        np.minimum.at(least, which, column)
    for most, column in ((bottom, pieces.bottom), (right, pieces.right)):
        np.maximum.at(most, which, column)
    order = np.lexsort((first, class_id))
    place = np.empty(number, np.uint32)
    place[order] = np.arange(1, number + 1)
    regions = _Regions(class_id, first, size, top, left, bottom, right)
    return np.append(np.uint32(0), place[which]), _Regions(*(column[order] for column in regions))


def _at_necks(labels: Numbers, number: Numbers, regions: _Regions, smallest: int, neck: float) -> Parts:
    """The parts of regions that have necks."""
    deepest = 2 * int(neck) + 1  # rows and columns at least of a region with a pixel further inside than the neck
    height, width = regions.bottom - regions.top, regions.right - regions.left
    chosen = np.flatnonzero((np.minimum(height, width) >= deepest) & (regions.size >= smallest))
    return cut(labels, number, Boxes(chosen + 1, *(column[chosen] for column in regions[3:])), neck)


def _replace(labels: Numbers, table: Numbers) -> None:
    """Replaces every value, in place, by what the table has for it."""
    for top, bottom in bands(labels):
        labels[top:bottom] = table[labels[top:bottom]]


def _rejoined(labels: Numbers, ids: Numbers, border: int, count: int) -> Ints:
    """Replaces values by ids and gives objects their border back, in place; the first pixel of each then, by id - 1."""
    height, width = labels.shape
    first = np.full(count, labels.size, np.int64)
    reach = 3 * border  # rows on either side that may decide on a pixel
    above = np.zeros((0, width), np.int32)
    for top, bottom in bands(labels):
        rows = np.concatenate([above, ids[labels[top : min(height, bottom + reach)]].astype(np.int32)])
        start, stop = len(above), len(above) + bottom - top
        done = instances.rejoined(rows, np.ones(rows.shape, bool), border)[start:stop]
        above = rows[max(0, stop - reach) : stop]
        labels[top:bottom] = done
        found = runs(done)
        np.minimum.at(first, found.ids - 1, (found.row + top) * width + found.start)
    return first
