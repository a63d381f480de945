"""Mask files -> class ids, by the data set's table of values; nothing is guessed."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from lamella.data.io.decode import has_palette, stored
from lamella.data.io.resize import Bytes
from lamella.data.io.tiff import jpeg_mask
from lamella.data.types import ImageRef, MaskValue
from lamella.errors import DataError

_BASE = 2**16  # colours are counted as numbers in this base

Codes = npt.NDArray[np.integer]


def read_mask(ref: ImageRef, values: dict[MaskValue, int]) -> Bytes:
    """The class ids of a mask file, uint8 (H, W).

    A grey level v and the colour (v, v, v) are the same value. A palette's indices count, unless `values` names
    colours: then its colours do.

    Args:
        ref: the file; grey, of a palette, or RGB.
        values: every value a file may hold -> its class id, or IGNORE.

    Raises:
        DataError: unreadable, a JPEG, not of whole numbers, or holding a value that `values` lacks.
    """
    colours = any(isinstance(value, tuple) for value in values)
    codes, coloured = _codes(ref, indices=not colours)
    if coloured and not colours:
        raise DataError(
            f"mask {ref} is coloured: its channels differ",
            'Say which colour is which class: \'dataset.classes={background: "#000000", cell: "#ff0000"}\'. Or save '
            "the mask grey, one value per class.",
        )
    ids = {_code(value, coloured): class_id for value, class_id in values.items()}
    found, counts = _count(codes)
    stray = [(c, n) for c, n in zip(found.tolist(), counts.tolist(), strict=True) if c not in ids]
    if stray:
        raise _strays(ref, [(_value(c, coloured), n) for c, n in stray], values)
    if codes.dtype == np.uint8:
        table = np.zeros(256, np.uint8)
        table[found] = [ids[code] for code in found.tolist()]
    else:
        table = np.array([ids[code] for code in found.tolist()], np.uint8)
        codes = np.searchsorted(found, codes)
    return np.asarray(table[codes])


def mask_values(ref: ImageRef) -> dict[MaskValue, int]:
    """The values in a mask file, rising, each with its number of pixels.

    Grey levels, also where a file spells them as RGB; the indices of a palette; colours as (red, green, blue).

    Raises:
        DataError: unreadable, a JPEG, or not of whole numbers.
    """
    codes, coloured = _codes(ref, indices=True)
    found, counts = _count(codes)
    return {_value(c, coloured): n for c, n in zip(found.tolist(), counts.tolist(), strict=True)}


def _codes(ref: ImageRef, indices: bool) -> tuple[Codes, bool]:
    """One whole number a pixel, (H, W), and whether it stands for a colour. See `_code`."""
    array = stored(ref, indices)
    with ref.path.open("rb") as file:
        if file.read(2) == b"\xff\xd8":
            raise jpeg_mask(ref)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == array.round()).all() and abs(array).max() < 2**63):
            raise DataError(f"mask {ref} holds fractions", "Masks are whole numbers: one value per class.")
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise DataError(f"mask {ref} holds {array.dtype} values", "Masks are whole numbers: one value per class.")
    if array.ndim == 2:
        return array, False
    if array.shape[2] != 3:
        raise DataError(f"mask {ref} has {array.shape[2]} channels", "Masks are grey, of a palette, or RGB.")
    red, green, blue = (array[..., c] for c in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return np.ascontiguousarray(red), False
    if array.min() < 0 or array.max() >= _BASE:
        raise DataError(f"the colours of mask {ref} have more than 16 bits", "Save it as RGB of 8 bits, or grey.")
    return (red.astype(np.int64) * _BASE + green) * _BASE + blue, True


def _code(value: MaskValue, coloured: bool) -> MaskValue:
    """The number that stands for a value in a file; a colour itself in a file that has none."""
    if coloured:
        red, green, blue = value if isinstance(value, tuple) else (value, value, value)
        return (red * _BASE + green) * _BASE + blue
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _value(code: int, coloured: bool) -> MaskValue:
    return (code // _BASE**2, code // _BASE % _BASE, code % _BASE) if coloured else code


def _count(codes: Codes) -> tuple[Codes, npt.NDArray[np.int64]]:
    """The numbers that occur, rising, and how often each does."""
    if codes.dtype != np.uint8:
        found, counts = np.unique(codes, return_counts=True)
        return found, counts
    histogram = np.array(Image.fromarray(codes).histogram())
    return np.flatnonzero(histogram), histogram[histogram > 0]


def _strays(ref: ImageRef, stray: list[tuple[MaskValue, int]], values: dict[MaskValue, int]) -> DataError:
    shown = ", ".join(f"{_shown(v)} ({n} px)" for v, n in stray[:5]) + (", ..." if len(stray) > 5 else "")
    allowed = ", ".join(_shown(v) for v in sorted(values, key=lambda v: v if isinstance(v, tuple) else (v, v, v)))
    hint = ""
    if len(stray) > 20:
        hint = " So many values look like JPEG compression or resizing."
    elif has_palette(ref.path):
        hint = " It has a palette: its values are the palette's indices."
    return DataError(
        f"mask {ref} holds unexpected values: {shown}",
        f"Allowed are {allowed}.{hint} Repair the mask; Lamella does not guess a threshold.",
    )


def _shown(value: MaskValue) -> str:
    """As a user writes it: 255 or #ff0000. Colours of 16 bits have no such spelling."""
    if isinstance(value, int):
        return str(value)
    return "#" + bytes(value).hex() if max(value) < 256 else str(value)
