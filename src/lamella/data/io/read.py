"""Files <-> arrays: TIFF, PNG, JPEG, BMP, whatever a microscope wrote. Nothing is rescaled silently.

    file -> decode (tiff, pillow) -> as stored -> read: one of three types -> resize
                                                 -> masks: class ids

All that others need of it is named here.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.io import decode
from lamella.data.io.decode import SUFFIXES, Header, located, pages, spacing_nm, suffix
from lamella.data.io.formats.foreign import foreign
from lamella.data.io.masks import mask_blocks, mask_values, read_mask
from lamella.data.io.pieces.blocks import Block
from lamella.data.io.resize import Bytes, Pixels, move, scaled_size, shrink, shrink_mask
from lamella.data.types import ImageRef
from lamella.errors import DataError

__all__ = [
    "SUFFIXES",
    "Bytes",
    "Header",
    "Pixels",
    "foreign",
    "header",
    "image_blocks",
    "located",
    "mask_blocks",
    "mask_values",
    "move",
    "pages",
    "plain",
    "read",
    "read_image",
    "read_mask",
    "scaled_size",
    "shrink",
    "shrink_mask",
    "size",
    "spacing_nm",
    "suffix",
]

_KEPT = (np.uint8, np.uint16)
_EXACT = 2**24  # float32 holds all whole numbers up to here


def read(ref: ImageRef) -> Pixels:
    """The pixels of one picture, (H, W) or (H, W, C), upright: the values as stored, never rescaled.

    uint8 and uint16 stay; all other numbers become float32, which only rounds what was float64. A picture that
    says it was taken turned or mirrored (EXIF, TIFF orientation) is turned upright, as every viewer shows it and
    as its mask was drawn. 1-bit pictures give 0 and 255, a palette gives its colours, an opaque alpha channel is
    left out, a pyramid gives its base level.

    Raises:
        DataError: the file is missing, truncated, damaged, not an image, packed in a way that cannot be read here,
            transparent, of inverted or otherwise unplain values, holds NaN, infinite or too great values, or more
            than one page where none is named, or has axes that it does not name and `ref` does not declare.
    """
    return plain(decode.stored(ref), ref)


def plain(array: npt.NDArray[Any], ref: object) -> Pixels:
    """The values of an array, in this machine's byte order, as one of the three types of `read`.

    `ref` names it in errors. Raises DataError for values that are no finite real numbers, or beyond float32.
    """
    if array.dtype in _KEPT:
        return array
    if array.dtype.kind not in "iuf":
        raise DataError(f"{ref} holds {array.dtype} values", "Save real numbers.")
    if array.dtype.kind in "iu" and array.dtype.itemsize > 2 and max(int(array.max()), -int(array.min())) > _EXACT:
        raise DataError(
            f"{ref} holds whole numbers from {array.min()} to {array.max()}; beyond {_EXACT} they would be rounded",
            "Save it as 16 bits or as float, with a scaling you chose yourself: Lamella never rescales silently.",
        )
    with np.errstate(over="ignore"):
        plain = array.astype(np.float32)
    wrong = plain.size - np.count_nonzero(np.isfinite(plain))
    if wrong:
        raise DataError(
            f"{ref} holds {wrong} values that are NaN, infinite or beyond float32",
            "Replace them by a value you chose yourself: Lamella does not guess one.",
        )
    return plain


def read_image(ref: ImageRef, channels: int) -> Pixels:
    """The pixels of an image with `channels` channels, (C, H, W). See `read`.

    Raises:
        DataError: unreadable, or another number of channels.
    """
    return _planes(read(ref), ref, channels)


def image_blocks(ref: ImageRef, channels: int) -> Iterator[Block]:
    """The rows of an image with `channels` channels, (C, h, W), from top to bottom: of a small one all at once.

    Raises:
        DataError: unreadable, or another number of channels.
    """
    for block in decode.blocks(ref):
        yield block._replace(pixels=_planes(plain(block.pixels, ref), ref, channels))


def _planes(array: Pixels, ref: ImageRef, channels: int) -> Pixels:
    """(H, W) or (H, W, C) -> (C, H, W)."""
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if array.shape[0] != channels:
        raise DataError(
            f"{ref} has {array.shape[0]} channel(s), the data set has {channels}",
            "All images of a data set have the same channels: convert this one.",
        )
    return np.ascontiguousarray(array)


def header(ref: ImageRef) -> Header:
    """Height, width, channels and type of the array that `read` gives, without decoding. Raises DataError."""
    found = decode.header(ref)
    return found._replace(dtype=_type(found.dtype))


def size(ref: ImageRef) -> tuple[int, int]:
    """(H, W) of the picture that `read` gives, without decoding. Raises DataError."""
    return header(ref)[:2]


def _type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    kept = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
    return kept if kept in _KEPT else np.dtype(np.float32)
