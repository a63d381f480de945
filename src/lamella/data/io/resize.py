"""Arrays of pixels -> moved and resized ones, for all types of pixels."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Bytes = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]  # uint8 or uint16 as stored, else float32


def move(image: Pixels, offset: tuple[float, float]) -> Pixels:
    """The image (C, H, W) moved by (down, right) pixels, fractions by cubic splines; edges are repeated.

    Whole numbers stay whole: what a spline overshoots is cut off at the ends of the type's range.
    """
    if offset == (0, 0):
        return image
    moved: Pixels = ndimage.shift(image, (0, *offset), np.float32, order=3, mode="nearest")
    return _rounded(moved, image.dtype)


class Strip(NamedTuple):
    """Some rows of a picture that is made smaller, and the rows of the large one that they come of.

    Attributes:
        top: the first row of the small picture.
        bottom: the row behind the last one.
        first: the first row of the large picture that is needed.
        last: the row behind the last one.
        box: left, upper, right and lower edge of what becomes the strip, in the rows that are needed.
    """

    top: int
    bottom: int
    first: int
    last: int
    box: tuple[float, float, float, float]


def strips(size: tuple[int, int], small: int, rows: int) -> Iterator[Strip]:
    """The strips, from top to bottom, in which a large picture is made smaller.

    Args:
        size: (H, W) of the large picture.
        small: the small one's height.
        rows: how many of the large one become a strip, about.
    """
    height, width = size
    step, by = max(1, rows * small // height), height / small
    for top in range(0, small, step):
        bottom = min(top + step, small)
        first, last = int(top * by), min(height, math.ceil(bottom * by))
        yield Strip(top, bottom, first, last, (0, top * by - first, width, min(bottom * by, last) - first))


def shrink(image: Pixels, scale: float, strip: Strip | None = None) -> Pixels:
    """The image (C, H, W) at `scale` times its size, by area averaging (no aliasing, no overshoot).

    With `strip`, that part of it, and `image` is what the strip needs.
    """
    if scale == 1:
        return image
    return np.stack([_box(channel, scale, strip) for channel in image])


def shrink_mask(mask: Bytes, scale: float, strip: Strip | None = None) -> Bytes:
    """The class ids (H, W) at `scale` times their size: each new pixel takes the class that covers most of it.

    In a tie the lower id does. IGNORE is a class like any other here. Shares are compared in steps of 1/255.
    With `strip`, that part of them, and `mask` is what the strip needs.
    """
    if scale == 1:
        return mask
    classes = np.flatnonzero(Image.fromarray(mask).histogram()).astype(np.uint8)
    shares = np.stack([_box(np.where(mask == c, np.uint8(255), np.uint8(0)), scale, strip) for c in classes])
    winner: Bytes = classes[np.argmax(shares, axis=0)]
    return winner


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) times `scale`, rounded, at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _box(plane: Pixels, scale: float, strip: Strip | None) -> Pixels:
    height, width = scaled_size((plane.shape[0], plane.shape[1]), scale)
    box = None
    if strip is not None:
        height, box = strip.bottom - strip.top, strip.box
    picture = Image.fromarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32))
    return _rounded(np.asarray(picture.resize((width, height), Image.Resampling.BOX, box)), plane.dtype)


def _rounded(array: Pixels, dtype: np.dtype[Any]) -> Pixels:
    if array.dtype == dtype:
        return array
    info = np.iinfo(dtype)
    return np.asarray(array.round().clip(info.min, info.max), dtype)
