"""Arrays that are filled some rows at a time and lie on disk, so that a large picture is never in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Scratch:
    """An array (..., H, W) in a file of its own, filled by rows, then read as a memory-mapped array.

    It is written as any file is, not through its memory map, which could not say that the disk is full.

    Args:
        path: the file; its folder exists.
        shape: of the array.
        dtype: of its values.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._file = path.open("wb")

    def put(self, index: tuple[int, ...], top: int, rows: npt.NDArray[Any]) -> None:
        """Fills rows from row `top` on, (..., h, W), of the part of the array that `index` names (its first axes)."""
        height, width = self.shape[-2:]
        rows = np.asarray(rows, self.dtype)
        planes = rows.reshape(-1, *rows.shape[-2:])
        lead = self.shape[:-2]
        first = int(np.ravel_multi_index((*index, *[0] * (len(lead) - len(index))), lead)) if lead else 0
        for number, plane in enumerate(planes, first):
            self._file.seek((number * height + top) * width * self.dtype.itemsize)
            self._file.write(np.ascontiguousarray(plane).data)

    def array(self) -> npt.NDArray[Any]:
        """The array, to be read."""
        self._file.close()
        return np.memmap(self.path, self.dtype, "r", shape=self.shape)

    def close(self) -> None:
        """Ends the writing where nothing will be read."""
        self._file.close()
