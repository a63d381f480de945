"""Large arrays of pixels some rows at a time, and the stretches of one number in them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.io.pieces.blocks import release

PIXELS = 4_000_000  # at a time: some hundred megabytes for what is worked out of them

Ints = npt.NDArray[np.int64]


class Runs(NamedTuple):
    """Stretches of one number within rows, (m,) each, row by row from left to right; none of 0.

    Attributes:
        ids: the numbers.
        row: from the first row that was given.
        start: column of the first pixel.
        stop: column behind the last.
    """

    ids: Ints
    row: Ints
    start: Ints
    stop: Ints


def bands(array: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """First row and the row behind the last of bands that make up an array (H, W), from top to bottom.

    What was touched of a memory-mapped file is let go of after each band: it would count as memory in use.
    """
    height, width = array.shape
    step = max(1, PIXELS // max(1, width))
    for top in range(0, height, step):
        yield top, min(height, top + step)
        release(array)


def runs(labels: npt.NDArray[Any]) -> Runs:
    """The stretches of one number in the rows of an array (h, W)."""
    changes = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=changes[:, 1:])
    begin = np.flatnonzero(changes)
    end = np.append(begin[1:], labels.size)[: len(begin)]
    ids = labels[np.unravel_index(begin, labels.shape)].astype(np.int64)
    kept = ids > 0
    ids, begin, end = ids[kept], begin[kept], end[kept]
    row = begin // max(1, labels.shape[1])
    return Runs(ids, row, begin - row * labels.shape[1], end - row * labels.shape[1])
