"""Arrays of pixels -> moved and resized ones, for all types of pixels."""

from typing import Any

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


def shrink(image: Pixels, scale: float) -> Pixels:
    """The image (C, H, W) at `scale` times its size, by area averaging (no aliasing, no overshoot)."""
    if scale == 1:
        return image
    return np.stack([_box(channel, scale) for channel in image])


def shrink_mask(mask: Bytes, scale: float) -> Bytes:
    """The class ids (H, W) at `scale` times their size: each new pixel takes the class that covers most of it.

    In a tie the lower id does. IGNORE is a class like any other here. Shares are compared in steps of 1/255.
    """
    if scale == 1:
        return mask
    classes = np.flatnonzero(Image.fromarray(mask).histogram()).astype(np.uint8)
    shares = np.stack([_box(np.where(mask == c, np.uint8(255), np.uint8(0)), scale) for c in classes])
    winner: Bytes = classes[np.argmax(shares, axis=0)]
    return winner


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) times `scale`, rounded, at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _box(plane: Pixels, scale: float) -> Pixels:
    height, width = scaled_size((plane.shape[0], plane.shape[1]), scale)
    picture = Image.fromarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32))
    return _rounded(np.asarray(picture.resize((width, height), Image.Resampling.BOX)), plane.dtype)


def _rounded(array: Pixels, dtype: np.dtype[Any]) -> Pixels:
    if array.dtype == dtype:
        return array
    info = np.iinfo(dtype)
    return np.asarray(array.round().clip(info.min, info.max), dtype)
