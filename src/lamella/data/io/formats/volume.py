"""An array in a file of any format but TIFF -> one picture: the part of it that a page is, upright, channels last."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.io.formats.axes import FEW, UNNAMED, by, by_shape, check_declared, page_axis, unclear
from lamella.data.io.pieces.blocks import some_rows
from lamella.data.io.pieces.memory import require_memory
from lamella.data.types import ImageRef
from lamella.errors import DataError

Spacing = tuple[float, float]


@dataclass(frozen=True)
class Volume:
    """An array in a file that is open.

    Attributes:
        shown: the file, and the array in it, in words.
        shape, dtype: of the array.
        take: an index (whole numbers and slices, one a dimension) -> that part of it, decoded.
        axes: a letter a dimension, as TIFF has them; None: the file does not say.
        spacing_nm: pixel size (height, width) in nanometres where the file tells it.
        whole: no part of it can be had without unpacking all.
    """

    shown: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    take: Callable[[tuple[int | slice, ...]], npt.NDArray[Any]]
    axes: str | None = None
    spacing_nm: Spacing | None = None
    whole: bool = False


def read(volume: Volume, ref: ImageRef, top: int | None = None) -> tuple[npt.NDArray[Any], int]:
    """Some rows of one picture from row `top` on, (h, W) or (h, W, C), of the stored type, and its height.

    All rows where it is small, in one piece, or `top` is None. Raises DataError.
    """
    axes, axis = _layout(volume, ref)
    index: list[int | slice] = [0 if letter == "1" else slice(None) for letter in axes]
    if axis is not None:
        index[axis] = ref.page or 0
    height = volume.shape[axes.index("Y")]
    shape = tuple(size for size, part in zip(volume.shape, index, strict=True) if isinstance(part, slice))
    size = math.prod(shape) * volume.dtype.itemsize
    rows = None if top is None else some_rows(top, height, size, None if volume.whole else 1)
    if rows is None:
        require_memory(volume.shown, shape, volume.dtype.itemsize)
    else:
        index[axes.index("Y")] = slice(rows.start, rows.stop)
    left = [letter for place, letter in enumerate(axes) if letter != "1" and place != axis]
    array = volume.take(tuple(index))
    return array.transpose([left.index(letter) for letter in "YXCS" if letter in left]), height


def header(volume: Volume, ref: ImageRef) -> tuple[int, int, int, np.dtype[Any]]:
    """Height, width, channels and type of what `read` gives, without decoding. Raises DataError."""
    axes, _ = _layout(volume, ref)
    sizes = dict(zip(axes, volume.shape, strict=True))
    return sizes["Y"], sizes["X"], sizes.get("C", 1) * sizes.get("S", 1), volume.dtype


def pages(volume: Volume, ref: ImageRef) -> tuple[int, str]:
    """The number of pictures, and the axis they count along: Z, T, "?" without a name, or "". Raises DataError."""
    axes, axis = _layout(volume, ref, counting=True)
    return (1, "") if axis is None else (volume.shape[axis], axes[axis])


def _layout(volume: Volume, ref: ImageRef, counting: bool = False) -> tuple[str, int | None]:
    """A letter a dimension, "1" for those of length 1 that are left out; and which of them pages count along.

    A few pages that may be channels are counted as pages, but not read as either before somebody says which they are.
    """
    if not volume.shape or 0 in volume.shape or len(volume.shape) < 2:
        raise DataError(
            f"{volume.shown} has the shape {by(volume.shape) or '()'}, which is no image", "Check the file."
        )
    axes = _declared(volume, ref.axes) if ref.axes is not None else volume.axes or _by_shape(volume)
    kept = "".join(
        letter if size > 1 or letter in "YX" else "1" for letter, size in zip(axes, volume.shape, strict=True)
    )
    plain = kept.replace("1", "")
    shape = [size for letter, size in zip(kept, volume.shape, strict=True) if letter != "1"]
    first = shape[0]
    if not counting and ref.axes is None and plain.startswith(UNNAMED) and first <= FEW:
        rest, last = plain[1:].replace("S", "C"), f"one image of {first} channels"
        ways = (("Z" + rest, f"{first} images"), *([("C" + rest, last)] if rest == "YX" else []))
        raise unclear(volume.shown, *ways, shape=shape)
    shown = f"{volume.shown} has the axes {plain} ({by(shape)})"
    axis = page_axis(shown, plain, shape, ImageRef(ref.path, 0) if counting else ref)
    return kept, None if axis is None else kept.index(plain[axis])


def _by_shape(volume: Volume) -> str:
    """By the lengths that are more than 1; a picture of one row or column keeps its last two axes."""
    long = [size > 1 for size in volume.shape]
    if sum(long) < 2:
        return "1" * (len(long) - 2) + "YX"
    letters = iter(by_shape(volume.shown, [size for size in volume.shape if size > 1]))
    return "".join(next(letters) if kept else "1" for kept in long)


def _declared(volume: Volume, axes: str) -> str:
    """One letter a dimension, or one a dimension longer than 1."""
    letters = check_declared(axes)
    if len(letters) == len(volume.shape):
        return letters
    long = [size > 1 for size in volume.shape]
    if sum(long) == 2 or len(volume.shape) == 2:  # the only page of a stack
        letters = "".join(letter for letter in letters if letter in "YX")
        if len(volume.shape) == 2:
            return letters
    if len(letters) != sum(long):
        raise DataError(
            f"{volume.shown} has the shape {by(volume.shape)}, which has not the axes {axes}",
            "Declare one letter for each axis, as in `dataset.axes=ZYXC` (masks: `dataset.mask_axes`).",
        )
    following = iter(letters)
    return "".join(next(following) if kept else "1" for kept in long)
