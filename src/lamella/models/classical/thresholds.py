"""One threshold for an image's grey levels, halfway between two of them, so that no pixel lies on it."""

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

_BINS = 256


def otsu_threshold(plane: npt.NDArray[np.floating]) -> float | None:
    """Otsu's threshold of an image (H, W): above scikit-image's, and below the next level that the image holds.

    Every level is a bin of its own, as scikit-image has it for whole numbers; so the pixels above are the same for
    bytes and for normalised bytes. None where the image is flat.
    """
    levels, counts = np.unique(plane, return_counts=True)
    if len(levels) == 1:
        return None
    found = np.searchsorted(levels, threshold_otsu(hist=(counts, levels.astype(np.float64))))
    return (float(levels[found]) + float(levels[found + 1])) / 2


def balanced_threshold(plane: npt.NDArray[np.floating]) -> float | None:
    """The balanced threshold of an image (H, W), see `balance`; None where the image is flat.

    Bins are as wide as the smallest step between levels, as with bytes, unless that gives more than 256.
    """
    levels, counts = np.unique(plane.astype(np.float64), return_counts=True)
    if len(levels) == 1:
        return None
    width = max(np.diff(levels).min(), (levels[-1] - levels[0]) / (_BINS - 1))
    place = np.rint((levels - levels[0]) / width).astype(np.int64)
    found = balance(np.bincount(place, weights=counts).astype(np.int64))
    return float(levels[0] + (found + 0.5) * width)


def balance(histogram: npt.NDArray[np.int64]) -> int:
    """Where a histogram balances when it is weighed: the last bin of its dark side.

    The pivot is the middle of the bins from the first to the last; the middle one weighs on the left. The outermost
    bin of the heavier side (of the left one where they are equal) is taken away and the pivot moved to the new
    middle, until one bin is left.
    """
    below = np.concatenate([[0], np.cumsum(histogram)])  # below[i]: pixels in bins before i
    first, last = 0, len(histogram) - 1
    while first < last:
        middle = (first + last) // 2
        left, right = below[middle + 1] - below[first], below[last + 1] - below[middle + 1]
        first, last = (first + 1, last) if left >= right else (first, last - 1)
    return first
