"""Grey levels of any type -> the 0..255 scale that augmentation and networks work on."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lamella.data.io.read import Pixels


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


def intensity_stats(images: Iterable[Pixels]) -> IntensityStats:
    """Range, mean and standard deviation of the training images, (C, h, w) each, all of one type.

    8-bit images keep their scale: 0 stands for 0 and 255 for 255. Of all others the least and the greatest
    level that occur do, whatever the camera's bits were.
    """
    bytes_: npt.NDArray[np.int64] | int = 0
    others: list[tuple[float, float, npt.NDArray[np.float64], npt.NDArray[np.float64], int]] = []
    for image in images:
        if image.dtype == np.uint8:
            bytes_ = bytes_ + np.array([Image.fromarray(plane).histogram() for plane in image])
        else:
            flat = image.reshape(len(image), -1).astype(np.float64)
            others.append((flat.min(), flat.max(), flat.mean(axis=1), flat.var(axis=1), flat.shape[1]))
    if isinstance(bytes_, np.ndarray):
        grey = np.arange(256)
        counts = bytes_.sum(axis=1)
        mean = bytes_ @ grey / counts
        return _stats(0, 255, mean, bytes_ @ grey**2 / counts - mean**2)
    low, high = min(o[0] for o in others), max(o[1] for o in others)
    high = high if high > low else low + 1
    means, variances = np.array([o[2] for o in others]), np.array([o[3] for o in others])
    weights = np.array([o[4] for o in others]) / sum(o[4] for o in others)
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
