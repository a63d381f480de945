"""A mean over images, and the interval that says how sure it is."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]
Groups = Sequence[str] | npt.NDArray[Any]

RESAMPLES = 9999

# Differences and spreads below this are rounding.
ROUNDING = 1e-9

# Drawn numbers held at once; all resamples of a few hundred images are one block.
_BLOCK = 4_000_000


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


class Agreement(NamedTuple):
    """How two counts of the same things agree.

    Attributes:
        bias: the mean of found minus true.
        low: lower limit of agreement, bias - 1.96 deviations.
        high: upper limit of agreement, bias + 1.96 deviations.
    """

    bias: float
    low: float
    high: float


def interval(
    values: npt.ArrayLike, *, groups: Groups | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean over images and its 95 % BCa bootstrap interval (Efron 1987, JASA 82:171).

    The bootstrap's normal quantiles are replaced by sqrt(n / (n - 1)) times those of Student's t (T. Hesterberg
    2015, The American Statistician 69:371), for a few images are less spread than what they were drawn from. In
    simulations with 20 images plain BCa intervals held the truth in 90 to 94 of 100 cases, these in 92 to 96; with
    6 images in 84 and 92; with 40 to 160 these in 94 to 96. No interval knows of images that are rare and not among
    those at hand: where one in ten fails badly, with 20 images it was 85, with 40 it was 93.

    Args:
        values: (N,) one score an image.
        groups: (N,) names; groups, not images, are drawn, and n is the number of groups.
        resamples: bootstrap samples.
        seed: decides them.

    Returns:
        Values that are equal but for rounding, a single image or a single group say nothing about spread: the
        interval is then the mean. Never beyond the lowest and highest value (or mean of a group).
    """
    sums, sizes = by_group(values, groups)
    mean = float(sums.sum() / sizes.sum())
    if len(sums) < 2 or np.ptp(sums / sizes) < ROUNDING:
        return Interval(mean, mean, mean)
    rng = np.random.default_rng(seed)

    def means(count: int) -> Values:
        drawn = rng.integers(0, len(sums), (count, len(sums)))
        return np.asarray(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))

    n = len(sums)
    reach = float(np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    without_each = (sums.sum() - sums) / (sizes.sum() - sizes)
    return Interval(mean, *bca(in_blocks(means, resamples, n), mean, without_each, reach))


def bca(resampled: Values, estimate: float, without_each: Values, reach: float) -> tuple[float, float]:
    """The two ends of a bias-corrected and accelerated bootstrap interval.

    Args:
        resampled: the estimate on each bootstrap sample.
        estimate: on all data.
        without_each: on all data but one image (or group), each left out in turn.
        reach: how many standard normal deviations to each side: 1.96 for 95 % and many images.
    """
    below = ((resampled < estimate).mean() + (resampled <= estimate).mean()) / 2
    bias = stats.norm.ppf(below)
    away = without_each.mean() - without_each
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    ends = bias + np.array([-reach, reach])
    shares = stats.norm.cdf(bias + ends / (1 - acceleration * ends))
    low, high = np.quantile(resampled, shares)
    return float(low), float(high)


def agreement(found: npt.ArrayLike, true: npt.ArrayLike) -> Agreement:
    """Bias and limits of agreement (J. M. Bland, D. G. Altman 1986, The Lancet 327:307).

    95 of 100 differences are expected between the limits, if they are normal and do not grow with the count.

    Args:
        found: (N,) one count an image; at least one.
        true: (N,) of the same images.

    Returns:
        A single image has no deviation: its limits are the bias.
    """
    difference = np.asarray(found, np.float64) - np.asarray(true, np.float64)
    bias = float(difference.mean())
    reach = 1.96 * float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    return Agreement(bias, bias - reach, bias + reach)


def by_group(values: npt.ArrayLike, groups: Groups | None) -> tuple[Values, Values]:
    """Sum and number of the values of each group; without groups each value is its own."""
    array = np.asarray(values, np.float64)
    if groups is None:
        return array, np.ones_like(array)
    if len(groups) != len(array):
        raise ValueError(f"{len(array)} values need as many groups, not {len(groups)}")
    place = np.unique(np.asarray(groups), return_inverse=True)[1]
    return np.bincount(place, array).astype(np.float64), np.bincount(place).astype(np.float64)


def in_blocks(draw: Callable[[int], Values], count: int, width: int) -> Values:
    """The result of `draw(count)`, drawn in parts that fit into memory."""
    block = max(1, _BLOCK // width)
    return np.concatenate([draw(min(block, count - start)) for start in range(0, count, block)])
