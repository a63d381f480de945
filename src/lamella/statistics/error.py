"""What chance makes of a mean difference: of images alone, of seeds alone, of both together."""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lamella.statistics.intervals import ROUNDING, Values

POWER = 0.8

# Degrees of freedom of the seeds: below, Satterthwaite's approximation is too bold; it never gives more than so many
# times as many.
_FEW, _TIMES = 4, 4


class Chance(Protocol):
    """What a test of a mean difference asks of its error, whatever that is made of."""

    @property
    def known(self) -> bool:
        """Whether there is a p at all."""

    @property
    def alone(self) -> "Alone":
        """Its parts, each by itself."""

    def p(self, difference: npt.ArrayLike) -> Values:
        """How likely chance makes a difference as far from 0 (two-sided)."""

    def reach(self, p: float) -> float:
        """The difference to each side that chance makes with the likelihood p."""

    def shown(self, p: float) -> float:
        """The lead of which such a comparison finds p or less in 4 of 5 cases (`POWER`)."""

    def more_images(self) -> Self:
        """The same of twice as many images (or groups)."""

    def more_runs(self) -> Self | None:
        """The same of twice as many seeds; None where what seeds make is not known."""

    def more_folds(self) -> Self | None:
        """The same of the same images in twice as many folds; None where there are no folds."""


@dataclass(frozen=True)
class Part:
    """One squared standard error with its degrees of freedom: Student's t.

    Attributes:
        variance: of the mean difference.
        freedom: of that variance.
    """

    variance: Values
    freedom: float

    def p(self, difference: npt.ArrayLike) -> Values:
        """How likely it makes a difference as far from 0 (two-sided)."""
        far = np.abs(np.asarray(difference, np.float64))
        size = np.sqrt(np.maximum(self.variance, ROUNDING**2))
        return np.where(size > ROUNDING, 2 * stats.t.sf(far / size, self.freedom), far < ROUNDING)

    def reach(self, p: float) -> float:
        """The difference to each side that it makes with the likelihood p."""
        return 0.0 if self._none else float(np.sqrt(self.variance) * stats.t.isf(p / 2, self.freedom))

    def shown(self, p: float) -> float:
        """The lead of which a test by this part alone finds p or less in 4 of 5 cases."""
        return 0.0 if self._none else self.reach(p) + float(np.sqrt(self.variance) * stats.t.ppf(POWER, self.freedom))

    @property
    def _none(self) -> bool:
        return bool(np.all(self.variance <= ROUNDING**2))


@dataclass(frozen=True)
class Alone:
    """The parts of an error; None for what is not known.

    Attributes:
        images: other images, or groups of them.
        runs: other seeds.
        folds: other folds: the training sets and seeds of their networks, and their images.
    """

    images: Part | None
    runs: Part | None
    folds: Part | None = None


@dataclass(frozen=True)
class Error:
    """What chance makes of a mean difference: squared standard errors with their degrees of freedom, of any shape.

    Attributes:
        images: variance of the difference of images (or groups), over their number.
        images_freedom: their number less one.
        seeds: the same of runs; 0 where nothing is drawn at random.
        seeds_freedom: of the seeds' variance; infinite where there is none.
    """

    images: Values
    images_freedom: float
    seeds: Values
    seeds_freedom: float

    @property
    def known(self) -> bool:
        """Whether both are known, and images differ at all."""
        return self.alone.images is not None and self.alone.runs is not None

    @property
    def alone(self) -> Alone:
        """Images and seeds, each by itself."""
        images = Part(self.images, self.images_freedom) if np.all(self.images > ROUNDING**2) else None
        return Alone(images, None if np.isnan(self.seeds).any() else Part(self.seeds, self.seeds_freedom))

    @property
    def size(self) -> Values:
        """The standard error of the difference."""
        return np.asarray(np.sqrt(self.images + self.seeds))

    def p(self, difference: npt.ArrayLike) -> Values:
        """How likely chance makes a difference as far from 0 (two-sided).

        Student's t with the degrees of freedom of F. E. Satterthwaite (1946, Biometrics Bulletin 2:110). Far out, where
        many pairs are corrected for, a few images have heavier tails than it gives them: p is never less than theirs
        times their share of the variance. That share is but estimated, too: the degrees of freedom are at most four
        times those of the seeds; and with fewer than four of those p is the mean of that of the images and that of the
        seeds, weighted by their shares.
        """
        far = np.abs(np.asarray(difference, np.float64)) / self.size
        by_images = 2 * stats.t.sf(far, self.images_freedom)
        if self.seeds_freedom < _FEW:
            by_seeds = 2 * stats.t.sf(far, self.seeds_freedom)
            return np.asarray(self._share * by_images + (1 - self._share) * by_seeds)
        return np.asarray(np.maximum(2 * stats.t.sf(far, self._freedom), self._share * by_images))

    def reach(self, p: float) -> float:
        """The difference to each side that chance makes with the likelihood p."""
        if self.seeds_freedom >= _FEW:
            by_images = stats.t.isf(np.minimum(0.5, p / 2 / self._share), self.images_freedom)
            return float(self.size * np.maximum(stats.t.isf(p / 2, self._freedom), by_images))
        most = float(self.size * stats.t.isf(p / 2, min(self.seeds_freedom, self.images_freedom)))
        return float(optimize.brentq(lambda far: float(self.p(far)) - p, 0, most * (1 + 1e-9), xtol=1e-12))

    def shown(self, p: float) -> float:
        """The lead of which such a comparison finds p or less in 4 of 5 cases (`POWER`)."""
        return self.reach(p) + float(self.size * stats.t.ppf(POWER, self._freedom))

    def more_images(self) -> "Error":
        """The same of twice as many images (or groups)."""
        return replace(self, images=self.images / 2, images_freedom=2 * self.images_freedom + 1)

    def more_runs(self) -> "Error":
        """The same of twice as many seeds."""
        return replace(self, seeds=self.seeds / 2, seeds_freedom=2 * self.seeds_freedom)

    def more_folds(self) -> None:
        """Nothing: there are none."""

    @property
    def _share(self) -> Values:
        """The images' share of the variance."""
        return np.asarray(self.images / (self.images + self.seeds))

    @property
    def _freedom(self) -> Values:
        parts = self.images**2 / self.images_freedom + self.seeds**2 / self.seeds_freedom
        return np.asarray(np.minimum((self.images + self.seeds) ** 2 / parts, _TIMES * self.seeds_freedom))
