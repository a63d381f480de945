"""Mask files -> class ids, by the data set's table of values; nothing is guessed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lamella.data.io.decode import blocks, palette, stored
from lamella.data.io.pieces.blocks import Block
from lamella.data.io.resize import Bytes
from lamella.data.types import IGNORE, ImageRef, Labelling, MaskValue
from lamella.errors import DataError

_BASE = 2**16  # colours are counted as numbers in this base

_TINT = 0.15  # of the range: how far the channels of a grey JPEG may be apart

Codes = npt.NDArray[np.integer]
Objects = npt.NDArray[np.int32]
PLAIN = Labelling()


def read_mask(ref: ImageRef, values: Mapping[MaskValue, int], labelling: Labelling = PLAIN) -> Bytes:
    """The class ids of a mask file, uint8 (H, W).

    A grey level v and the colour (v, v, v) are the same value. A palette's indices count, unless `values` names
    colours: then its colours do.

    Args:
        ref: the file; grey, of a palette, or RGB.
        values: every value a file may hold -> its class id, or IGNORE.
        labelling: its threshold, its layers, and whether other values are to be ignored.

    Raises:
        DataError: unreadable, a JPEG without a threshold, not of whole numbers, or holding a value that `values` lacks.
    """
    blocks_ = [block.pixels for block in mask_blocks(ref, values, labelling)]
    return blocks_[0] if len(blocks_) == 1 else np.concatenate(blocks_)


def mask_blocks(ref: ImageRef, values: Mapping[MaskValue, int], labelling: Labelling = PLAIN) -> Iterator[Block]:
    """The class ids of a mask file, uint8 (h, W), some rows at a time: of a small one all at once. See `read_mask`."""
    stray: Counter[MaskValue] = Counter()
    for block in blocks(ref, not _in_colours(values), _lossy(labelling)):
        codes, coloured = _as_declared(block.pixels, ref, values, labelling)
        ids = {_code(value, coloured): class_id for value, class_id in values.items()}
        found, counts = _count(codes)
        others = {code: n for code, n in zip(found.tolist(), counts.tolist(), strict=True) if code not in ids}
        stray.update({_value(code, coloured): n for code, n in others.items()})
        ids |= dict.fromkeys(others, IGNORE)
        yield block._replace(pixels=_looked_up(codes, found, [ids[code] for code in found.tolist()]))
    if stray and not labelling.undeclared:
        raise _strays(ref, list(stray.items()), values)


def read_numbered(
    ref: ImageRef, values: Mapping[MaskValue, int], labelling: Labelling = PLAIN
) -> tuple[Objects, Bytes]:
    """The numbered objects of a mask file: int32 ids (H, W) from 1 in the order of its values, 0 elsewhere.

    Args:
        ref: the file; grey, of a palette, or RGB.
        values: those that are no objects -> their class id, or IGNORE. 0 and black are background unless they are here.
        labelling: its layers, where each holds one object.

    Returns:
        The ids, and uint8 (H, W): what `values` says where there is no object.

    Raises:
        DataError: unreadable, a JPEG, not of whole numbers, or holding a negative value that `values` lacks.
    """
    values = {0: 0, **values}
    codes, coloured = _as_declared(stored(ref, not _in_colours(values)), ref, values, labelling, objects=True)
    plain = {_code(value, coloured): class_id for value, class_id in values.items()}
    found = _count(codes)[0].tolist()
    numbered = [code for code in found if code not in plain]
    if numbered and numbered[0] < 0:
        raise DataError(
            f"mask {ref} holds the value {numbered[0]}, which numbers no object",
            f"Objects are numbered from 1. Say what it is: `dataset.ignore={numbered[0]}`.",
        )
    number = {code: place for place, code in enumerate(numbered, 1)}
    ids = np.array([number.get(code, 0) for code in found], np.int32)[np.searchsorted(found, codes)]
    return ids, _looked_up(codes, np.array(found), [plain.get(code, 0) for code in found])


def mask_values(ref: ImageRef, labelling: Labelling = PLAIN) -> dict[MaskValue, int]:
    """The values in a mask file, rising, each with its number of pixels.

    Grey levels, also where a file spells them as RGB; the indices of a palette; colours as (red, green, blue).

    Raises:
        DataError: unreadable, a JPEG without a threshold, or not of whole numbers.
    """
    total: Counter[MaskValue] = Counter()
    for block in blocks(ref, True, _lossy(labelling)):
        codes, coloured = _codes(block.pixels, ref, labelling)
        found, counts = _count(codes)
        total.update({_value(c, coloured): n for c, n in zip(found.tolist(), counts.tolist(), strict=True)})
    if any(isinstance(value, tuple) for value in total):  # rows without colour hold colours, too
        total = Counter({value if isinstance(value, tuple) else (value,) * 3: n for value, n in total.items()})
    return dict(sorted(total.items()))


def _in_colours(values: Mapping[MaskValue, int]) -> bool:
    """Whether values are declared as colours, so that a palette's count, and not its indices."""
    return any(isinstance(value, tuple) for value in values)


def mask_places(ref: ImageRef, values: Sequence[MaskValue], labelling: Labelling, side: int) -> Objects:
    """Which of a mask's values each pixel has, int32 (h, w), from 0: of at most `side` rows and columns in the middle.

    Args:
        ref: the mask.
        values: all of them, as `mask_values` gives them.
        labelling: its threshold or layers.
        side: so many rows and columns.

    Raises:
        DataError: see `mask_values`.
    """
    place = {value: number for number, value in enumerate(values)}
    coloured_ones = any(isinstance(value, tuple) for value in values)
    pieces = []
    for block in blocks(ref, True, _lossy(labelling)):
        width = block.pixels.shape[1]
        top, left = (max(0, (n - side) // 2) for n in (block.height, width))
        rows = slice(max(0, top - block.top), max(0, top + side - block.top))
        pixels = block.pixels[rows, left : left + side]
        if not len(pixels):
            continue
        codes, coloured = _codes(pixels, ref, labelling)
        found, _ = _count(codes)
        held = [_value(code, coloured) for code in found.tolist()]
        held = [(v,) * 3 if coloured_ones and isinstance(v, int) else v for v in held]
        table = np.array([place[value] for value in held], np.int32)
        pieces.append(table[np.searchsorted(found, codes)])
    return np.concatenate(pieces)


def _lossy(labelling: Labelling) -> bool:
    """Whether compression may have changed the values: where a threshold parts them again."""
    return labelling.threshold is not None


def _as_declared(
    array: npt.NDArray[Any],
    ref: ImageRef,
    values: Mapping[MaskValue, int],
    labelling: Labelling,
    objects: bool = False,
) -> tuple[Codes, bool]:
    """The codes of a mask whose values are declared as grey levels, or as colours."""
    codes, coloured = _codes(array, ref, labelling)
    if coloured and not _in_colours(values) and not objects:
        raise DataError(
            f"mask {ref} is coloured: its channels differ",
            'Say which colour is which class: \'dataset.classes={background: "#000000", cell: "#ff0000"}\'. Or save '
            "the mask grey, one value per class.",
        )
    return codes, coloured


def _looked_up(codes: Codes, found: Codes, ids: list[int]) -> Bytes:
    """The id of each code, where `found` are all codes there are, rising."""
    if codes.dtype == np.uint8:
        table = np.zeros(256, np.uint8)
        table[found] = ids
        return np.asarray(table[codes])
    return np.asarray(np.array(ids, np.uint8)[np.searchsorted(found, codes)])


def _codes(array: npt.NDArray[Any], ref: ImageRef, labelling: Labelling) -> tuple[Codes, bool]:
    """One whole number a pixel as stored, (H, W), and whether it stands for a colour. See `_code`."""
    if labelling.layers:
        return _of_layers(array, ref, labelling.layers), False
    if labelling.threshold is not None:
        return _above(array, ref, labelling.threshold), False
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == array.round()).all()):
            raise DataError(f"mask {ref} holds fractions", "Masks are whole numbers: one value per class.")
        if abs(array).max(initial=0) > (most := 2 ** (np.finfo(array.dtype).nmant + 1)):
            raise DataError(
                f"mask {ref} holds whole numbers beyond {most:,}, which {array.dtype} has rounded: some are one now",
                "Save it again as whole numbers of 32 bits, uint32 or int32.",
            )
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


def _above(array: npt.NDArray[Any], ref: ImageRef, threshold: int) -> Codes:
    """1 where grey levels are above a threshold, else 0; of several channels that are all but equal, their mean."""
    if array.ndim == 3:
        spread = np.ptp(array.astype(np.float32), axis=-1).max(initial=0)
        if spread > _TINT * np.iinfo(array.dtype).max if array.dtype.kind in "iu" else spread > 0:
            raise DataError(
                f"mask {ref} is coloured: its channels differ by up to {spread:g}",
                "`dataset.mask_threshold` is for grey masks. Save it grey, or leave the key out.",
            )
        array = array.mean(axis=-1)
    return (array > threshold).astype(np.uint8)


def _of_layers(array: npt.NDArray[Any], ref: ImageRef, layers: str) -> Codes:
    """One value a pixel of a mask that has a layer a value, (H, W, layers)."""
    if array.ndim != 3:
        raise DataError(f"mask {ref} has one layer where one a class was expected", "Check `dataset.mask_axes`.")
    inside = array != 0
    count = inside.sum(axis=-1)
    wrong = int((count > 1).sum() if layers == "rest" else (count != 1).sum())
    if wrong:
        raise DataError(
            f"{wrong} pixels of mask {ref} are in several of its {array.shape[-1]} layers, or in none",
            "Each pixel has one class: repair the mask.",
        )
    code = inside.argmax(axis=-1)
    return np.asarray(code if layers == "all" else np.where(count, code + 1, 0), np.uint8)


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


def _strays(ref: ImageRef, stray: list[tuple[MaskValue, int]], values: Mapping[MaskValue, int]) -> DataError:
    shown = ", ".join(f"{_shown(v)} ({n} px)" for v, n in stray[:5]) + (", ..." if len(stray) > 5 else "")
    allowed = ", ".join(_shown(v) for v in sorted(values, key=lambda v: v if isinstance(v, tuple) else (v, v, v)))
    hint = ""
    if len(stray) > 20:
        hint = " So many values look like JPEG compression or resizing."
    elif palette(ref.path) is not None:
        hint = " It has a palette: its values are the palette's indices."
    return DataError(
        f"mask {ref} holds unexpected values: {shown}",
        f"Allowed are {allowed}.{hint} Repair the mask; or, of a folder of your own, leave such pixels out: "
        "`dataset.ignore=undeclared`.",
    )


def _shown(value: MaskValue) -> str:
    """As a user writes it: 255 or #ff0000. Colours of 16 bits have no such spelling."""
    if isinstance(value, int):
        return str(value)
    return "#" + bytes(value).hex() if max(value) < 256 else str(value)
