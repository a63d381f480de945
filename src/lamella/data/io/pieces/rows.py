"""A page of a TIFF -> some of its rows, for pages too large to be decoded in one go."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.io.pieces.blocks import some_rows


def rows_at(top: int, page: Any, shape: tuple[int, ...], height: int) -> range | None:
    """The rows to read next, or None where the picture is to be read whole.

    It is where it is small, turned or mirrored, or where the file keeps it in one piece.

    Args:
        top: the first of the rows.
        page: the tifffile.TiffPage that speaks for all planes of the picture.
        shape: of all values of the picture.
        height: of the picture.
    """
    size = math.prod(shape) * np.dtype(page.dtype).itemsize
    return some_rows(top, height, size, _step(page)) if size > 0 else None


def read_rows(page: Any, rows: range) -> npt.NDArray[Any]:
    """Some rows of a tifffile.TiffPage, as `page.asarray()[rows]` would give them, whatever its axes are.

    Decoded are the strips or tiles alone that hold any of them.
    """
    if _step(page) is None:
        return np.take(page.asarray(maxworkers=1), rows, axis=page.axes.index("Y"))
    planes, _, _, width, samples = page.shaped
    out = np.empty((planes, len(rows), width, samples), page.dtype)
    if page.is_contiguous:
        _read_plain(page, rows, out)
    else:
        _read_packed(page, rows, out)
    shape = [len(rows) if letter == "Y" else size for letter, size in zip(page.axes, page.shape, strict=True)]
    return out.reshape(shape)


def _step(page: Any) -> int | None:
    """The least number of rows that can be read without decoding any of them twice; None where all must be."""
    turned = page.tags.valueof("Orientation", 1) != 1
    if turned or page.jpegheader is not None or page.imagedepth != 1 or page.dtype is None or 0 in page.shaped:
        return None
    if page.is_contiguous:
        return 1 if page.is_final else None
    return int(page.tilelength if page.is_tiled else page.rowsperstrip)


def _read_plain(page: Any, rows: range, out: npt.NDArray[Any]) -> None:
    planes, _, height, width, samples = page.shaped
    stored = np.dtype(page.parent.byteorder + page.dtype.char)
    row = width * samples * stored.itemsize
    for plane in range(planes):
        file = page.parent.filehandle
        file.seek(page.dataoffsets[0] + (plane * height + rows.start) * row)
        out[plane] = file.read_array(stored, len(rows) * width * samples).reshape(out.shape[1:])


def _read_packed(page: Any, rows: range, out: npt.NDArray[Any]) -> None:
    planes, _, height, width, _ = page.shaped
    tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    down, across = -(-height // tall), -(-width // wide)
    numbers = [
        (plane * down + line) * across + column
        for plane in range(planes)
        for line in range(rows.start // tall, -(-rows.stop // tall))
        for column in range(across)
    ]
    tables = {"jpegtables": page.jpegtables, "jpegheader": None} if page.compression in _JPEG else {}
    found = page.parent.filehandle.read_segments(
        [page.dataoffsets[number] for number in numbers],
        [page.databytecounts[number] for number in numbers],
        indices=numbers,
        flat=True,
    )
    for data, number in found:
        segment, (plane, _, y, x, _), shape = page.decode(data, number, _fullsize=False, **tables)
        first, last = max(y, rows.start), min(y + shape[1], rows.stop, height)
        place = out[plane, first - rows.start : last - rows.start, x : x + shape[2]]
        place[...] = page.nodata if segment is None else segment[0, first - y : last - y, : width - x]


_JPEG = (6, 7, 34892, 33007)  # as tifffile has them
