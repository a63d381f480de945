"""A score against the number of labelled images: the inverse power law, and what more images would bring.

score(n) = best - b n^-c: see R. L. Figueroa et al. 2012 (BMC Medical Informatics and Decision Making 12:8), whose
weights, in proportion to n, are these; J. Hestness et al. 2017 (arXiv:1712.00409); T. Viering, M. Loog 2023 (IEEE
TPAMI 45:7799).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lamella.statistics.comparison import seed_variances
from lamella.statistics.error import Error
from lamella.statistics.folds import Folds
from lamella.statistics.intervals import Groups, Values, by_group, freedom_of

EXPONENTS: Values = np.linspace(0, 3, 61)
"""The exponents that are looked at: 0 is the logarithm, where every doubling brings the same; of 3 an eighth of it."""

FEWEST = 3
"""Numbers of images below which no law can be told from another."""

_FOLLOWS = 0.05  # how seldom points that follow the law are so far from it
_STEEPER = 0.2  # the same of a rise that does not slow down: an interval that leaves it out holds far too little
_CERTAIN = 0.05  # of an interval of 95 %
_ROUNDING = 1e-14  # a variance: scores without any chance in them follow a law as well as numbers can


@dataclass(frozen=True)
class Law:
    """The inverse power law through measured scores, and how far beyond the last of them it may be believed.

    Attributes:
        last: the largest number of labelled images that was measured.
        score: the mean score there.
        before: the number, of those measured, that is nearest to half of it.
        rise: what the score there is above the one before.
        reach: how far off it may be, over images (or groups) and seeds together, for an interval of 95 % of the gain.
        exponent: of the curve that fits all points best.
        level: the score at the last point by that curve.
        slope: what it brings there, a unit of log n.
        fits: how seldom chance alone puts points that follow the law as far from it.
        steeper: how seldom chance alone makes a doubling bring so much more than those before it.
        sign: -1 where lower scores are better, else 1.
    """

    last: float
    score: float
    before: float
    rise: float
    reach: float
    exponent: float
    level: float
    slope: float
    fits: float
    steeper: float
    sign: float

    @property
    def follows(self) -> bool:
        """Whether the points lie about a curve of the law."""
        return self.fits >= _FOLLOWS

    @property
    def quickens(self) -> bool:
        """Whether the score rises, and ever faster, as none of the law's curves does."""
        return self.sign * self.rise > self.reach and self.steeper < _STEEPER

    def fitted(self, labelled: npt.ArrayLike) -> Values:
        """The score at so many images by the curve through all points."""
        ratio = np.asarray(labelled, np.float64) / self.last
        return np.asarray(self.level + self.slope * _rise(ratio, self.exponent))

    def gain(self, labelled: npt.ArrayLike) -> tuple[Values, Values, Values]:
        """What so many images, more than the last, bring: by the exponent that fits best, and the 95 % interval.

        That is what the last doubling brought, or so, times what is left of it by the law. Which exponent holds beyond
        the last point nobody has measured: the interval holds those of all.
        """
        ratio = np.asarray(labelled, np.float64)[..., None] / self.last
        left = _rise(ratio, EXPONENTS) / -_rise(self.before / self.last, EXPONENTS)
        ends = left[..., None] * np.array([self.rise - self.reach, self.rise + self.reach])
        best = left[..., int(np.argmin(np.abs(EXPONENTS - self.exponent)))]
        return np.asarray(best * self.rise), ends.min(axis=(-1, -2)), ends.max(axis=(-1, -2))


def law(
    labelled: Sequence[float],
    values: Sequence[Values],
    *,
    groups: Groups | None = None,
    deterministic: bool = False,
    lower_is_better: bool = False,
    folds: Folds | None = None,
) -> Law:
    """The inverse power law through a method's scores at several numbers of labelled images.

    Args:
        labelled: numbers of images, rising; at least `FEWEST`.
        values: of each the scores (runs, images), of the same images; at least two runs each.
        groups: (images,) names; groups, not images, are drawn. One group stands for itself: the error is that of seeds.
        deterministic: nothing is drawn at random: one run is enough.
        lower_is_better: of the score.
        folds: how images or runs are folds, whose training sets overlap.
    """
    ratio = np.asarray(labelled, np.float64) / labelled[-1]
    means = np.array([each.mean() for each in values])
    before = int(np.argmin(np.abs(np.log2(ratio[:-1]) + 1)))
    step = _step(ratio, before, -1)
    over_images, images_freedom = _over_images(values, groups)
    if folds is not None and folds.kind == "parted":
        over_folds, folds_freedom = _over_images(values, folds.of)
        over_folds *= 1 + folds_freedom * folds.ratio + folds.ratio  # 1/k becomes 1/k + n2/n1
        if step @ over_folds @ step > step @ over_images @ step:
            over_images, images_freedom = over_folds, folds_freedom
    over_seeds, seeds_freedom = np.zeros(len(means)), np.inf
    if not deterministic:
        runs = np.array([len(each) for each in values], np.float64)
        own = [each.mean(axis=1).var(ddof=1) for each in values]
        over_seeds = seed_variances(own, (runs - 1).tolist())
        over_seeds *= 1 / runs + (folds.ratio if folds is not None and folds.kind == "repeated" else 0)
        seeds_freedom = float((runs - 1).sum())

    def error(of: Values) -> Error:
        return Error(of @ over_images @ of, images_freedom, of**2 @ over_seeds, seeds_freedom)

    with np.errstate(divide="ignore"):  # one group has no variance
        reach = _reach(error(step), float(step @ means)) if error(step).size > 0 else 0.0
    middle = before or 1
    late = _step(ratio, middle, -1) / -np.log(ratio[middle])
    bend = late - _step(ratio, 0, middle) / np.log(ratio[middle] / ratio[0])
    sign = -1.0 if lower_is_better else 1.0
    more = sign * float(bend @ means)
    steeper = float(error(bend).p(more)) / 2 if error(bend).size > 0 else 0.0
    solve, off = _curves(ratio)
    over_seeds = over_seeds + _ROUNDING
    far, fits = _fits(off, means, over_images, images_freedom, over_seeds, seeds_freedom)
    best = int(np.argmin(far))
    level, slope = solve[best] @ means
    return Law(
        last=float(labelled[-1]),
        score=float(means[-1]),
        before=float(labelled[before]),
        rise=float(step @ means),
        reach=reach,
        exponent=float(EXPONENTS[best]),
        level=float(level),
        slope=float(slope),
        fits=float(fits[best]),
        steeper=steeper if more > 0 else 1 - steeper,
        sign=sign,
    )


def _reach(error: Error, rise: float) -> float:
    """How far beyond the range that the exponents leave the interval ends at each side.

    Where that range is wide beside the error, the truth lies near one of its ends at most, so that only one can be
    missed: G. Imbens, C. Manski 2004, Econometrica 72:1845.
    """
    wide = abs(rise) * (1 - 2.0 ** -EXPONENTS[-1]) / float(error.size)
    least, most = (float(stats.norm.isf(share)) for share in (_CERTAIN, _CERTAIN / 2))

    def missed(z: float) -> float:
        return 1 - _CERTAIN - float(stats.norm.cdf(z + wide) - stats.norm.cdf(-z))

    ends = float(optimize.brentq(missed, least - 1e-6, most + 1e-6))
    return error.reach(2 * float(stats.norm.sf(ends)))


def _step(ratio: Values, first: int, last: int) -> Values:
    """What makes of scores the difference of two of them."""
    step = np.zeros(len(ratio))
    step[[first, last]] = -1, 1
    return step


def _rise(ratio: npt.ArrayLike, exponents: npt.ArrayLike) -> Values:
    """(1 - ratio^-c) / c, which is log(ratio) where c is 0."""
    ratio, exponents = np.broadcast_arrays(np.asarray(ratio, np.float64), np.asarray(exponents, np.float64))
    some = np.where(exponents == 0, 1.0, exponents)
    return np.asarray(np.where(exponents == 0, np.log(ratio), (1 - ratio**-some) / some))


def _curves(ratio: Values) -> tuple[Values, Values]:
    """For each exponent what makes level and slope of scores, (C, 2, points), and what the curve leaves of them."""
    columns = np.broadcast_to(_rise(ratio, EXPONENTS[:, None]), (len(EXPONENTS), len(ratio)))
    design = np.stack([np.ones_like(columns), columns], axis=-1)
    weighted = design.swapaxes(-1, -2) * ratio
    solve = np.linalg.solve(weighted @ design, weighted).astype(np.float64)
    return solve, np.eye(len(ratio)) - design @ solve


def _fits(
    off: Values, means: Values, over_images: Values, images_freedom: float, over_seeds: Values, seeds_freedom: float
) -> tuple[Values, Values]:
    """For each exponent how far points are from its curve, and how seldom chance puts them as far.

    By the test of H. Hotelling 1931, Annals of Mathematical Statistics 2:360.
    """
    count = len(means) - 2
    far = off @ means
    images = off @ over_images @ off.swapaxes(-1, -2)
    seeds = off @ np.diag(over_seeds) @ off.swapaxes(-1, -2)
    traces = [np.trace(each, axis1=-2, axis2=-1) for each in (images, seeds)]
    tiny = np.finfo(float).tiny
    freedom = (traces[0] + traces[1] + tiny) ** 2 / (
        traces[0] ** 2 / images_freedom + traces[1] ** 2 / seeds_freedom + tiny
    )
    freedom = np.clip(freedom, count, 1e6)
    inverse = np.linalg.pinv(images + seeds, rcond=1e-6, hermitian=True)
    square = np.einsum("ci,cij,cj->c", far, inverse, far) / count
    rest = freedom - count + 1
    return square, np.asarray(stats.f.sf(square * rest / freedom, count, rest))


def _over_images(values: Sequence[Values], groups: Groups | None) -> tuple[Values, float]:
    """The covariance of the means over images or their groups, by the jackknife, and its degrees of freedom."""
    each = np.stack([scores.mean(axis=0) for scores in values], axis=1)
    sums = by_group(np.concatenate([each, np.ones((len(each), 1))], axis=1), groups)
    if len(sums) < 2:
        return np.zeros((each.shape[1], each.shape[1])), np.inf
    rest = sums.sum(axis=0) - sums
    without = rest[:, :-1] / rest[:, -1:]
    away = without - without.mean(axis=0)
    return (len(sums) - 1) / len(sums) * away.T @ away, freedom_of(sums[:, -1])
