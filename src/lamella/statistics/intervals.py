"""A mean over images, or a score of all images pooled, and the interval that says how sure it is."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]
Groups = Sequence[str] | npt.NDArray[Any]

RESAMPLES = 9999

FEWEST = 6
"""Groups of images below which the bootstrap has too few to draw from: Student's t from there on down."""

ENOUGH = 8
"""From here on the bootstrap's interval stands alone; below, it ends no nearer to the mean than Student's t."""

# Differences and spreads below this are rounding.
ROUNDING = 1e-9

# Weights held at once; all resamples of a few hundred images are one block.
_BLOCK = 4_000_000

_ANY = (-np.inf, np.inf)


class Interval(NamedTuple):
    """A score with its 95 % interval.

    Attributes:
        mean: over images, or the pooled score; NaN where no image has the score.
        low: NaN where it is not known.
        high: likewise.
        images: how many have the score.
        groups: of how many groups they are.
        method: "BCa bootstrap" or "Student's t"; empty where the interval is not known.
    """

    mean: float
    low: float
    high: float
    images: int
    groups: int
    method: str


class Agreement(NamedTuple):
    """How two counts of the same things agree.

    Attributes:
        bias: the mean of found minus true; NaN without an image.
        low: lower limit of agreement; NaN for fewer than two images.
        high: upper limit of agreement.
    """

    bias: float
    low: float
    high: float


class Share(NamedTuple):
    """A share of images and its exact 95 % interval."""

    share: float
    low: float
    high: float


def interval(
    values: npt.ArrayLike,
    *,
    groups: Groups | None = None,
    bounds: tuple[float, float] = _ANY,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean over images and its 95 % interval.

    From 6 images on it is a BCa bootstrap interval (B. Efron 1987, JASA 82:171) whose normal quantiles are replaced by
    sqrt(n / (n - 1)) times those of Student's t with n - 1 degrees of freedom, for a few images are less spread than
    what they were drawn from: the expanded interval of T. Hesterberg's R package `resample` (its function
    `CI.bca(expand = TRUE)`; T. Hesterberg 2015, The American Statistician 69:371). For 2 to 5 it is Student's t; for 6
    and 7, where the bootstrap is a little too short, of each end the one that is farther from the mean.

    `tools/simulate_intervals.py` measures how often such intervals hold the truth. No interval knows of images that are
    rare and not among those at hand.

    Args:
        values: (N,) one score an image; NaN where it is not defined, which is left out.
        groups: (N,) names; groups, not images, are drawn, and n is the number of groups; where some are larger than
            others, it is the number of equal groups that say as much (`freedom_of`).
        bounds: the least and the greatest value that the score can have; Student's interval is cut to them.
        resamples: bootstrap samples.
        seed: decides them.

    Returns:
        Without an interval (NaN) for one image or one group, and where values are equal but for rounding: they say
        nothing about spread. Nor is there one where the bootstrap's does not hold the score itself.
    """
    return interval_of_each(
        np.asarray(values, np.float64)[None], groups=groups, bounds=[bounds], resamples=resamples, seed=seed
    )[0]


def interval_of_each(
    values: npt.ArrayLike,
    *,
    groups: Groups | None = None,
    bounds: Sequence[tuple[float, float]],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """The `interval` of each of several scores of the same images: the same numbers, drawn at once and so much faster.

    Args:
        values: (S, N) one score a row; NaN where an image has no such score.
        groups: (N,) names, as for `interval`.
        bounds: of each score.
        resamples: bootstrap samples.
        seed: decides them.
    """
    array = np.asarray(values, np.float64)
    there = ~np.isnan(array)
    found: dict[int, Interval] = {}
    for pattern in np.unique(there, axis=0):  # what is drawn depends on which images there are
        some = np.flatnonzero((there == pattern).all(axis=1))
        kept = None if groups is None else np.asarray(_as_many(groups, pattern))[pattern]
        rows = np.concatenate([array[some][:, pattern], np.ones((1, int(pattern.sum())))]).T
        sums, freedom = by_group(rows, kept), _freedom(len(rows), kept)
        drawn = cache(partial(_resampled, sums, resamples, seed))
        for place, row in enumerate(some):
            pair = [place, len(some)]
            found[int(row)] = _interval(
                sums[:, pair], _mean, len(rows), freedom, bounds[int(row)], partial(_columns, drawn, pair)
            )
    return [found[row] for row in range(len(array))]


def _columns(drawn: Callable[[], Values], which: list[int]) -> Values:
    return drawn()[:, which]


def _mean(totals: Values) -> Values:
    return np.asarray(totals[..., 0] / totals[..., 1])


def interval_of(
    rows: npt.ArrayLike,
    statistic: Callable[[Values], Values],
    *,
    groups: Groups | None = None,
    bounds: tuple[float, float] = _ANY,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A score of all images pooled and its 95 % interval over images, by the methods of `interval`.

    Args:
        rows: (N, C) what is counted in each image, and adds up over images.
        statistic: (..., C) sums -> (...) scores, NaN where a sum has none.
        groups: (N,) names; groups, not images, are drawn.
        bounds: the least and the greatest value that the score can have.
        resamples: bootstrap samples.
        seed: decides them.
    """
    sums = by_group(rows, groups)
    freedom = _freedom(len(np.asarray(rows)), groups)
    return _interval(
        sums, statistic, len(np.asarray(rows)), freedom, bounds, partial(_resampled, sums, resamples, seed)
    )


def _freedom(count: int, groups: Groups | None) -> float:
    """Of the mean of so many images."""
    return freedom_of(by_group(np.ones((count, 1)), groups)[:, 0])


def _interval(
    sums: Values,
    statistic: Callable[[Values], Values],
    count: int,
    freedom: float,
    bounds: tuple[float, float],
    drawn: Callable[[], Values],
) -> Interval:
    """That of a score of the sums (G, C) of groups, of `count` images; `drawn` gives the sums of bootstrap samples."""
    n = len(sums)
    totals = np.ascontiguousarray(sums.T).sum(axis=1)
    estimate = float(statistic(totals)) if n else np.nan
    unknown = Interval(estimate, np.nan, np.nan, count, n, "")
    if n < 2 or np.isnan(estimate):
        return unknown
    without_each = statistic(totals - sums)
    if np.isnan(without_each).any() or np.ptp(without_each) * n < ROUNDING:
        return unknown
    error = float(np.sqrt(jackknife_variance(without_each)))
    away = error * float(stats.t.ppf(0.975, freedom))
    low, high = np.clip([estimate - away, estimate + away], *bounds).tolist()
    like = freedom + 1  # as of so many equal groups
    if like < FEWEST:
        return Interval(estimate, low, high, count, n, "Student's t")
    resampled = statistic(drawn())
    reach = float(np.sqrt(like / freedom) * stats.t.ppf(0.975, freedom))
    ends = bca(resampled[~np.isnan(resampled)], estimate, without_each, reach)
    if not ends[0] <= estimate <= ends[1]:  # a calibration error near 0 is larger in nearly every resample
        return unknown
    if like < ENOUGH:
        ends = min(low, ends[0]), max(high, ends[1])
    return Interval(estimate, *ends, count, n, "BCa bootstrap")


def bca(resampled: Values, estimate: float, without_each: Values, reach: float) -> tuple[float, float]:
    """The two ends of a bias-corrected and accelerated bootstrap interval.

    Args:
        resampled: the estimate on each bootstrap sample.
        estimate: on all data.
        without_each: on all data but one image (or group), each left out in turn.
        reach: how many standard normal deviations to each side: 1.96 for 95 % and many images.

    Returns:
        NaN where the estimate is beyond all bootstrap samples.
    """
    below = ((resampled < estimate).mean() + (resampled <= estimate).mean()) / 2
    bias = stats.norm.ppf(below)
    away = without_each.mean() - without_each
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    ends = bias + np.array([-reach, reach])
    if np.isinf(bias):
        return np.nan, np.nan
    shares = stats.norm.cdf(bias + ends / (1 - acceleration * ends))
    low, high = np.quantile(resampled, shares)
    return float(low), float(high)


def jackknife_variance(without_each: Values) -> float:
    """The variance of an estimate, from what it is without each image (or group) in turn; at least two.

    J. W. Tukey 1958, Annals of Mathematical Statistics 29:614. Of a mean over equal groups it is the variance of the
    groups over their number.
    """
    n = len(without_each)
    return float((n - 1) / n * ((without_each - without_each.mean()) ** 2).sum())


def agreement(found: npt.ArrayLike, true: npt.ArrayLike) -> Agreement:
    """Bias and limits of agreement (J. M. Bland, D. G. Altman 1986, The Lancet 327:307).

    The difference in another image lies between the limits in 95 of 100 cases, if differences are normal and do not
    grow with the count. As few images know their deviation badly, the limits are those of a prediction: Student's t
    with n - 1 degrees of freedom times the deviation times sqrt(1 + 1 / n), in place of 1.96 deviations.

    Args:
        found: (N,) one count an image; NaN is left out.
        true: (N,) of the same images.
    """
    difference = np.asarray(found, np.float64) - np.asarray(true, np.float64)
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    bias = float(difference.mean()) if n else np.nan
    if n < 2:
        return Agreement(bias, np.nan, np.nan)
    reach = float(stats.t.ppf(0.975, n - 1) * difference.std(ddof=1) * np.sqrt(1 + 1 / n))
    return Agreement(bias, bias - reach, bias + reach)


def share(some: int, of: int) -> Share:
    """The share of images and its exact interval (C. J. Clopper, E. S. Pearson 1934, Biometrika 26:404).

    None of 12 images failed: up to 26 % of all may. NaN throughout where there is no image.
    """
    if of == 0:
        return Share(np.nan, np.nan, np.nan)
    low = float(stats.beta.ppf(0.025, some, of - some + 1)) if some else 0.0
    high = float(stats.beta.ppf(0.975, some + 1, of - some)) if some < of else 1.0
    return Share(some / of, low, high)


def by_group(rows: npt.ArrayLike, groups: Groups | None) -> Values:
    """The sums of the rows (N, C) of each group, (G, C); without groups each row is its own."""
    array = np.asarray(rows, np.float64)
    if groups is None:
        return array
    place = np.unique(np.asarray(_as_many(groups, array)), return_inverse=True)[1]
    return np.stack([np.bincount(place, column) for column in array.T], axis=1)


def freedom_of(sizes: Values) -> float:
    """The degrees of freedom of a mean over groups of so many images: as of as many equal groups, less one.

    A few large groups among small ones decide the mean alone; it is as sure as one of (sum of sizes)^2 / sum of squared
    sizes groups (L. Kish 1965, Survey Sampling, section 8.2). Equal groups count in full; two groups leave one degree
    of freedom whatever their sizes, and more no less.
    """
    return max(1.0, float(sizes.sum() ** 2 / (sizes**2).sum()) - 1) if len(sizes) else np.nan


def _as_many(groups: Groups, values: Values) -> Groups:
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} values need as many groups, not {len(groups)}")
    return groups


def _resampled(sums: Values, resamples: int, seed: int) -> Values:
    """The sums (resamples, C) of bootstrap samples of groups (G, C)."""
    # A row a column of the product: the same to the last bit, however many columns there are.
    drawn = [sums.T @ weights.T for weights in _weights(len(sums), resamples, seed)]
    return np.concatenate(drawn, axis=1).T


@lru_cache(maxsize=2)
def _kept_weights(n: int, resamples: int, seed: int) -> Values:
    return _drawn(np.random.default_rng(seed), n, resamples)


def _weights(n: int, resamples: int, seed: int) -> list[Values] | Any:
    """How often each of n groups is drawn in each bootstrap sample, (resamples, n), in parts that fit into memory."""
    if n * resamples <= _BLOCK:  # the same for every score of a run
        return [_kept_weights(n, resamples, seed)]
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // n)
    return (_drawn(rng, n, min(block, resamples - start)) for start in range(0, resamples, block))


def _drawn(rng: np.random.Generator, n: int, count: int) -> Values:
    places = rng.integers(0, n, (count, n)) + np.arange(count)[:, None] * n
    return np.bincount(places.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)
