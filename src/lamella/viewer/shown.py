"""Levels as stored -> a PNG that a browser shows."""

import io

import numpy as np
from PIL import Image

from lamella.data.io.read import Bytes, Pixels

_TAILS = (0.5, 99.5)  # percent of the levels between which contrast is stretched


def png(image: Pixels, channel: int | None, *, stretched: bool) -> bytes:
    """A picture of an image (C, H, W).

    Args:
        image: levels as stored.
        channel: the one that is shown, grey; None: three as red, green and blue.
        stretched: each channel from the 0.5th to the 99.5th percentile of its levels; else from 0 to the greatest that
            whole numbers of its type can be, or from the least to the greatest fraction.
    """
    planes = image if channel is None else image[channel : channel + 1]
    shown = np.stack([_eight_bits(plane, stretched) for plane in planes], axis=-1)
    file = io.BytesIO()
    Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else shown).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _eight_bits(plane: Pixels, stretched: bool) -> Bytes:
    if stretched:
        low, high = np.percentile(plane, _TAILS)
    elif plane.dtype.kind == "u":
        low, high = 0, np.iinfo(plane.dtype).max
    else:
        low, high = plane.min(), plane.max()
    if plane.dtype == np.uint8 and (low, high) == (0, 255):
        return np.asarray(plane, np.uint8)
    scaled = (plane.astype(np.float32) - low) * (255 / (high - low if high > low else 1))
    return np.asarray(scaled.clip(0, 255).round(), np.uint8)
