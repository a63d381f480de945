"""Grey levels of any type -> the 0..255 scale that augmentation and networks work on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lamella.data.io.pieces.blocks import blocks_of
from lamella.data.io.read import Pixels

# Of 8-bit images how often each level occurs, int64 (C, 256); of others float64 (C, 5): least and greatest level of
# all channels, mean, variance, pixels.
Levels = npt.NDArray[Any]


class IntensityStats(NamedTuple):
    """The range, mean and standard deviation of the training images' grey levels.

    Attributes:
        low: the stored level that stands for 0.
        high: the stored level that stands for 255.
        mean: per channel over all pixels, on the 0..255 scale.
        std: likewise; 1 for a channel that never varies, so that it normalises to zero.
    """

    low: float
    high: float
    mean: list[float]
    std: list[float]


def levels(image: Pixels) -> Levels:
    """What `intensity_stats` needs to know of an image, (C, h, w)."""
    if image.dtype == np.uint8:
        counts = np.zeros((len(image), 256), np.int64)
        for block in blocks_of(image):
            counts += np.array([Image.fromarray(plane).histogram() for plane in block.pixels])
        return counts
    found = []
    for block in blocks_of(image):
        flat = block.pixels.reshape(len(image), -1).astype(np.float64)
        least, greatest = np.full(len(flat), flat.min()), np.full(len(flat), flat.max())
        pixels = np.full(len(flat), flat.shape[1])
        found.append(np.stack([least, greatest, flat.mean(axis=1), flat.var(axis=1), pixels], axis=1))
    return found[0] if len(found) == 1 else _joined(np.stack(found))


def _joined(found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, C, 5) of parts of an image -> (C, 5) of the whole."""
    least, greatest, means, variances, pixels = np.moveaxis(found, -1, 0)
    total = pixels.sum(axis=0)
    mean = (means * pixels).sum(axis=0) / total
    variance = ((variances + (means - mean) ** 2) * pixels).sum(axis=0) / total
    return np.stack([least.min(axis=0), greatest.max(axis=0), mean, variance, total], axis=1)


def intensity_stats(images: Sequence[Levels]) -> IntensityStats:
    """Range, mean and standard deviation of the training images, all of one type, from the `levels` of each.

    8-bit images keep their scale: 0 stands for 0 and 255 for 255. Of all others the least and the greatest
    level that occur do, whatever the camera's bits were.
    """
    if images[0].dtype == np.int64:
        counts, grey = sum(images[1:], images[0]), np.arange(256)
        pixels = counts.sum(axis=1)
        mean = counts @ grey / pixels
        return _stats(0, 255, mean, counts @ grey**2 / pixels - mean**2)
    least, greatest, means, variances, numbers = np.moveaxis(np.stack(images), -1, 0)
    low, high = least.min(), greatest.max()
    high = high if high > low else low + 1
    weights = numbers[:, 0] / numbers[:, 0].sum()
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    unit = 255 / (high - low)
    return _stats(low, high, (mean - low) * unit, variance * unit**2)


def _stats(low: float, high: float, mean: npt.NDArray[np.float64], variance: npt.NDArray[np.float64]) -> IntensityStats:
    std = np.sqrt(np.maximum(variance, 0))
    return IntensityStats(float(low), float(high), mean.tolist(), np.where(std > 0, std, 1).tolist())


def stretch(image: Pixels, percentiles: Sequence[float]) -> npt.NDArray[np.uint16]:
    """The image with each channel's own percentiles at fixed levels, for images whose exposure says nothing.

    The lower percentile becomes 16384, the upper one 49151, a quarter and three quarters of the range; what
    lies further out than half their distance is cut off. A channel without contrast becomes 16384.

    Args:
        image: (C, H, W), any type.
        percentiles: the lower and the upper one.

    Returns:
        uint16 (C, H, W).
    """
    return stretched(image, np.percentile(image, list(percentiles), axis=(1, 2), keepdims=True))


def stretched(image: Pixels, limits: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """What `stretch` makes of an image, or of some of its rows, whose percentiles are known: (2, C, 1, 1)."""
    low, high = limits
    share = (image - low) / np.where(high > low, high - low, 1)
    return np.asarray((16384 + share * 32767).round().clip(0, 65535), np.uint16)


def counted_percentiles(counts: npt.NDArray[np.int64], percentiles: Sequence[float]) -> npt.NDArray[np.float64]:
    """The percentiles of each channel's levels, (2, C, 1, 1), from how often each level from 0 on occurs, (C, levels).

    The same as `np.percentile` gives, between two levels, too.
    """
    found = np.zeros((len(percentiles), len(counts), 1, 1))
    for channel, below in enumerate(counts.cumsum(axis=1)):
        for number, percent in enumerate(percentiles):
            place = percent / 100 * (below[-1] - 1)
            lower, upper = np.searchsorted(below, [np.floor(place), np.ceil(place)], side="right")
            found[number, channel] = lower + (upper - lower) * (place - np.floor(place))
    return found
