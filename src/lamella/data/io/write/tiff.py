"""Class ids, numbered objects and probabilities -> TIFF that Fiji, QuPath and napari open, with the input's axes.

Planes lie in packed strips, one layout that all of them read (ImageJ's own reader knows no tiles), and that is read
some rows at a time again.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from lamella.data.io.pieces.blocks import release
from lamella.data.io.write.like import Like, as_ome

_STRIP = 2**18  # bytes, about
_CLASSIC = 2**32 - 2**26  # bytes that a TIFF of 32-bit offsets holds, with room for its tags
_FAST, _SMALL = 1, 6  # levels of compression: of fractions, which hardly pack, and of whole numbers

Colours = Sequence[tuple[int, int, int]]
Array = npt.NDArray[Any]


def write_tiff(
    path: Path,
    array: Array,
    like: Like,
    *,
    most: float,
    colours: Colours | None = None,
    name: str = "",
    channels: Sequence[str] = (),
    convert: Callable[[Array], Array] | None = None,
    dtype: npt.DTypeLike | None = None,
    packed: bool = True,
) -> None:
    """Writes an array as TIFF with the axes and the pixel size of the file that it was made of.

    In OME's dialect where that file has it, or where the values have no room in ImageJ's (4 GB, whole numbers of 32
    bits); else in ImageJ's. BigTIFF where it is needed.

    Args:
        path: the file.
        array: ([pages,] [channels,] H, W), on disk or in memory; pages where `like` has an axis of them.
        like: what the input says of itself.
        most: the value that viewers show brightest; 0 is darkest.
        colours: of the values 0, 1, 2, ... of bytes: they are stored as indices of a palette, so that all viewers show
            what else would look black, and programs read the values.
        name: of the image, in OME's dialect.
        channels: the name of each, where there are several.
        convert: what is made of each piece of the array before it is written.
        dtype: of what is written; None: of the array.
        packed: compress it.

    Raises:
        OSError: it cannot be written.
    """
    kind = np.dtype(array.dtype if dtype is None else dtype)
    axes = like.pages + ("C" if channels else "") + "YX"
    if len(axes) != array.ndim:
        raise ValueError(f"an array of {array.ndim} axes cannot be written as {axes}")
    size = array.size * kind.itemsize
    if size > _CLASSIC or (kind.itemsize > 2 and kind.kind in "iu"):
        like = as_ome(like)
    big = size > _CLASSIC
    notes: dict[str, Any] = {"axes": axes, **like.notes}
    height, width = array.shape[-2:]
    options: dict[str, Any] = {}
    if colours is not None:
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(colours)] = np.array(colours, np.uint16).T * 257
        options |= {"photometric": "palette", "colormap": table}
    else:
        options["photometric"] = "minisblack"
    if like.ome:
        notes["Name"] = name
        if channels:
            notes["Channel"] = {"Name": [*channels]}
    else:
        notes |= {"min": 0, "max": most or 1}
        if channels:
            notes |= {"Labels": [*channels] * (array.shape[0] if like.pages else 1), "mode": "grayscale"}
    if like.resolution is not None:
        (x, y), unit = like.resolution
        options |= {"resolution": (x, y), "resolutionunit": unit}
    rows = max(1, min(height, _STRIP // (width * kind.itemsize)))
    pieces = _pieces(array, rows, kind, convert)
    if packed:
        level = _FAST if kind.kind == "f" else _SMALL
        pieces = (bytes(imagecodecs.zlib_encode(piece, level)) for piece in pieces)
        options |= {"compression": "zlib", "rowsperstrip": rows}
    with tifffile.TiffWriter(path, bigtiff=big, byteorder="<", ome=like.ome, imagej=not like.ome) as file:
        file.write(
            pieces, shape=array.shape, dtype=kind.newbyteorder("<"), metadata=notes, software="Lamella", **options
        )


def _pieces(array: Array, rows: int, kind: np.dtype[Any], convert: Callable[[Array], Array] | None) -> Iterator[bytes]:
    """The bytes of its strips, plane by plane."""
    height, width = array.shape[-2:]
    for plane in array.reshape(-1, height, width):
        for top in range(0, height, rows):
            piece = np.asarray(plane[top : top + rows])
            yield (piece if convert is None else convert(piece)).astype(kind.newbyteorder("<"), order="C").tobytes()
        release(array)
