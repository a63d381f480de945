"""How far labels lie beside what they outline, measured: an annotation tool's half pixel, a warp, a wrong crop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamella.data.audit.sample_stats import REACH, Floats, SampleStats

_LEAST_SAMPLES = 5  # fewer say too little about how sure the estimate is
_LEAST_FIT = 0.1  # a weaker correlation between image and mask has no peak to speak of


@dataclass(frozen=True)
class Offset:
    """How far labels lie below and to the right of what they outline, with standard errors.

    Attributes:
        down: in pixels of the full size; negative where labels lie above.
        right: likewise; negative where labels lie to the left.
        down_error: standard error of `down`.
        right_error: standard error of `right`.
    """

    down: float
    right: float
    down_error: float
    right_error: float

    def beyond(self, least: float) -> bool:
        """Whether labels lie clearly more than `least` pixels off, down or right."""
        found = ((self.down, self.down_error), (self.right, self.right_error))
        return any(abs(value) > max(least, 4 * error) for value, error in found)


def label_offset(stats: Sequence[SampleStats], scale: float) -> Offset | None:
    """How far the labels lie from what they outline in the images, beyond the offset that is corrected already.

    Images are moved against the foreground of their masks; the cross-correlation peaks where the two fit. The
    correlations are summed over all samples, whatever the foreground's brightness, and the peak is refined below a
    pixel by a paraboloid. Standard errors are those of a jackknife over samples. Found are up to 7 pixels of the
    network's input.

    Args:
        stats: of the samples, by one store.
        scale: the store's: the network's input as a share of the full size.

    Returns:
        None where samples are fewer than 5, or masks outline nothing that can be seen.
    """
    count = len(stats)
    if count < _LEAST_SAMPLES:
        return None
    correlations = _smooth(np.stack([one.shifts for one in stats]))
    total = correlations.sum(axis=0)
    if total.flat[np.abs(total).argmax()] < 0:  # a dark foreground
        correlations, total = -correlations, -total
    inner = total[1:-1, 1:-1]
    peak = tuple(int(i) + 1 for i in np.unravel_index(inner.argmax(), inner.shape))
    if total[peak] < _LEAST_FIT * count:
        return None
    jackknife = np.stack([_subpixel_peak(total - one, peak) for one in correlations])
    error = np.sqrt((count - 1) / count * ((jackknife - jackknife.mean(axis=0)) ** 2).sum(axis=0))
    down, right = ((peak + _subpixel_peak(total, peak) - (REACH - 1)) / scale).tolist()  # from where it is unmoved
    down_error, right_error = (error / scale).tolist()
    return Offset(down, right, down_error, right_error)


def _smooth(shifts: Floats) -> Floats:
    """(N, n, n) -> (N, n - 2, n - 2), as if the images had been blurred by 1 2 1, which rounds the peak."""
    rows = (shifts[:, :-2] + 2 * shifts[:, 1:-1] + shifts[:, 2:]) / 4
    return np.asarray((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4, np.float32)


def _subpixel_peak(surface: Floats, peak: tuple[int, ...]) -> Floats:
    """(2,): how far the top of a paraboloid through the highest point of the grid and its neighbours lies from it."""
    (a, b, c), (d, e, f), (g, h, i) = surface[peak[0] - 1 : peak[0] + 2, peak[1] - 1 : peak[1] + 2].astype(float)
    gradient = np.array([h - b, f - d]) / 2
    mixed = (a - c - g + i) / 4
    hessian = np.array([[b - 2 * e + h, mixed], [mixed, d - 2 * e + f]])
    if not (hessian[0, 0] < 0 and np.linalg.det(hessian) > 0):  # a ridge or a plain: no top
        return np.zeros(2, np.float32)
    return np.asarray(np.clip(-np.linalg.solve(hessian, gradient), -1, 1), np.float32)
