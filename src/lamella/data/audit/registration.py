"""Where labels lie beside what they outline, measured: an annotation tool's half pixel, a warp, a crop gone astray."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamella.data.audit.sample_stats import REACH, Floats, Measures, measure
from lamella.data.cache.arrays import Store
from lamella.data.types import Sample

_LEAST_SAMPLES = 5  # fewer say too little about how sure the estimate is
_LEAST_FIT = 0.1  # a weaker correlation between image and mask has no peak to speak of


@dataclass(frozen=True)
class Offset:
    """Labels lie `down` and `right` of what they outline, in pixels of the full size; negative: up and left.

    Attributes:
        down: the estimate.
        right: the estimate.
        down_error: its standard error.
        right_error: its standard error.
    """

    down: float
    right: float
    down_error: float
    right_error: float

    def beyond(self, least: float) -> bool:
        """Whether labels lie clearly more than `least` pixels off, down or right."""
        found = ((self.down, self.down_error), (self.right, self.right_error))
        return any(abs(value) > max(least, 4 * error) for value, error in found)


def label_offset(samples: Sequence[Sample], store: Store) -> Offset | None:
    """How far the labels lie from what they outline in the images, beyond what `store.offset` has made good.

    Images are moved against the foreground of their masks; they correlate best where the two fit. The correlations
    are added up over all samples, whatever the foreground's brightness, and the peak is found between pixels by a
    paraboloid. Errors are those of a jackknife over samples. Found are up to 7 pixels of the
    network's input (`store.scale` of the full size).

    Returns:
        None where samples are fewer than 5, or masks outline nothing that can be seen.

    Raises:
        DataError: a file is missing or unsound.
        StorageError: the store's folder cannot be written.
    """
    return estimate([measure(sample, store) for sample in samples], store.scale)


def estimate(measures: Sequence[Measures], scale: float) -> Offset | None:
    """`label_offset`, from what was measured already."""
    if len(measures) < _LEAST_SAMPLES:
        return None
    each = _smooth(np.stack([m.shifts for m in measures]))
    total = each.sum(axis=0)
    if total.flat[np.abs(total).argmax()] < 0:  # a dark foreground
        each, total = -each, -total
    middle = REACH - 1
    inner = total[1:-1, 1:-1]
    peak = tuple(int(i) + 1 for i in np.unravel_index(inner.argmax(), inner.shape))
    if total[peak] < _LEAST_FIT * len(measures):
        return None
    count = len(measures)
    without = np.stack([_top(total - one, peak) for one in each])
    error = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    down, right = ((peak + _top(total, peak) - middle) / scale).tolist()
    down_error, right_error = (error / scale).tolist()
    return Offset(down, right, down_error, right_error)


def _smooth(shifts: Floats) -> Floats:
    """(N, n, n) -> (N, n - 2, n - 2), as if the images had been blurred by 1 2 1, which rounds the peak."""
    rows = (shifts[:, :-2] + 2 * shifts[:, 1:-1] + shifts[:, 2:]) / 4
    return np.asarray((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4, np.float32)


def _top(surface: Floats, peak: tuple[int, ...]) -> Floats:
    """(2,): how far the top of a paraboloid through the highest point of the grid and its neighbours lies from it."""
    (a, b, c), (d, e, f), (g, h, i) = surface[peak[0] - 1 : peak[0] + 2, peak[1] - 1 : peak[1] + 2].astype(float)
    slope = np.array([h - b, f - d]) / 2
    across = (a - c - g + i) / 4
    bend = np.array([[b - 2 * e + h, across], [across, d - 2 * e + f]])
    if not (bend[0, 0] < 0 and np.linalg.det(bend) > 0):  # a ridge or a plain: no top
        return np.zeros(2, np.float32)
    return np.asarray(np.clip(-np.linalg.solve(bend, slope), -1, 1), np.float32)
