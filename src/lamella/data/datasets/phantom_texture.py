"""What both phantoms are drawn with: array types, smooth noise, bytes."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bytes = NDArray[np.uint8]
Floats = NDArray[np.floating]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]


def clouds(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Floats:
    """Smooth noise of shape (H, W), mean about 0, deviation about 1; blobs about `scale` pixels wide."""
    height, width = shape
    knots = (math.ceil(height / scale) + 4, math.ceil(width / scale) + 4)
    coarse = rng.standard_normal(knots, dtype=np.float32)
    at = np.meshgrid(1.5 + np.arange(height) / scale, 1.5 + np.arange(width) / scale, indexing="ij")
    smooth: Floats = ndimage.map_coordinates(coarse, np.stack(at), order=3, output=np.float32)
    return smooth / np.float32(0.73)


def to_bytes(image: Floats) -> Bytes:
    """The grey levels rounded to whole numbers from 0 to 255, uint8."""
    levels: Bytes = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return levels
