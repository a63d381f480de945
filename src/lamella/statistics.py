"""How sure a mean over images is."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def interval(values: npt.NDArray[np.float64], *, resamples: int = 9999, seed: int = 0) -> Interval:
    """The mean over images and its 95 % BCa bootstrap interval (Efron 1987, JASA 82:171).

    One value, or values that are equal but for rounding, say nothing about spread: the interval is then the mean.
    """
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) < 1e-9:
        return Interval(mean, mean, mean)
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
        vectorized=True,
    )
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))
