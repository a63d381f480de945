"""Pictures and arrays some rows at a time, so that a large one is never in memory as a whole."""

import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.data.io.pieces.memory import LARGE

Places = npt.NDArray[np.integer]
PIECE = 16 * 2**20  # bytes at a time, about


class Block(NamedTuple):
    """Some rows of a picture.

    Attributes:
        pixels: the rows.
        top: the number of the first of them.
        height: rows of the whole picture.
    """

    pixels: npt.NDArray[Any]
    top: int
    height: int


def some_rows(top: int, height: int, size: int, step: int | None) -> range | None:
    """The rows of a picture to be decoded next, or None where all are to be, because it is small or in one piece.

    Args:
        top: the first of them.
        height: of the picture.
        size: of all of it, decoded, in bytes.
        step: how many rows its file keeps together, which are decoded together; None: all.
    """
    if size <= LARGE or step is None or step >= height:
        return None
    return range(top, min(top + max(1, PIECE * height // size // step) * step, height))


def is_large(array: npt.NDArray[Any]) -> bool:
    """Whether an array is better not held in memory as a whole."""
    return array.nbytes > LARGE


def rows_at_a_time(array: npt.NDArray[Any]) -> int:
    """How many rows of an array (..., H, W) are good to work on at a time: all of a small one."""
    height = int(array.shape[-2])
    return max(1, PIECE * height // array.nbytes) if is_large(array) else height


def blocks_of(array: npt.NDArray[Any]) -> Iterator[Block]:
    """The rows of an array (..., H, W) from top to bottom: of a small one all at once, of a large one a few."""
    height, step = array.shape[-2], rows_at_a_time(array)
    for top in range(0, height, step):
        yield Block(rows_of(array, top, top + step), top, height)


def rows_of(array: npt.NDArray[Any], top: int, bottom: int) -> npt.NDArray[Any]:
    """Rows of an array (..., H, W); of a large one on disk a copy, whose source takes no memory any longer."""
    rows = array[..., max(0, top) : bottom, :]
    if is_large(array) and isinstance(array, np.memmap):
        rows = np.array(rows)
        release(array)
    return np.asarray(rows)


def values_at(array: npt.NDArray[Any], rows: Places, columns: Places) -> npt.NDArray[Any]:
    """The values of an array (..., H, W) in some of its rows and columns, from a large one few rows at a time.

    A system maps up to 2 MB around each row that is touched.
    """
    some = 16 if is_large(array) else max(1, len(rows))
    parts = []
    for start in range(0, len(rows), some):
        parts.append(array[..., rows[start : start + some], :][..., columns])
        release(array)
    return np.asarray(np.concatenate(parts, axis=-2))


def release(array: npt.NDArray[Any]) -> None:
    """Gives back the memory that the read pages of a memory-mapped array take; they are read anew when asked for."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED") and is_large(array):
        mapped.madvise(mmap.MADV_DONTNEED)
