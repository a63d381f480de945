"""Folds put together: what chance makes of a mean difference over folds, whose training sets overlap.

The folds of a plan train on images that they have in common, so their results depend on each other, and a t-test over
folds is too sure of itself. C. Nadeau and Y. Bengio (2003, Machine Learning 52:239) take the variance of the mean of k
such results as S2 (1/k + n2/n1): S2 is their variance, n1 images train and n2 judge. For the folds of a
cross-validation: R. R. Bouckaert, E. Frank 2004, PAKDD, LNAI 3056:3. `tools/simulate_folds.py` measures how often the
tests are wrong, and showed that n2/n1 has to count as more where there are many folds: see `held_out`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.statistics.error import Alone, Chance, Error, Part
from lamella.statistics.intervals import ROUNDING, Values, freedom_of


class Folds(NamedTuple):
    """How the images and runs of a comparison are folds of one plan.

    Attributes:
        kind: "parted": each fold judges images of its own; "repeated": every fold judges the same images, and the runs
            of all methods are the folds, in one order (several of one fold: its seeds).
        of: the fold of each image ("parted") or of each run ("repeated").
        ratio: images held out of a fold's training to judge, over those that train: n2 / n1 of Nadeau and Bengio.
    """

    kind: Literal["parted", "repeated"]
    of: Sequence[str]
    ratio: float

    def those(self, there: npt.NDArray[np.bool_], runs: Sequence[int]) -> "Folds | None":
        """The folds of the images that have a score; None where fewer than two are left, which compare nothing.

        Args:
            there: (N,) which images have the score.
            runs: how many each method has.

        Raises:
            ValueError: there is not one fold for each image, or for each run of each method.
        """
        if self.kind == "parted":
            if len(self.of) != len(there):
                raise ValueError(f"{len(there)} images need as many folds, not {len(self.of)}")
            left = self._replace(of=np.asarray(self.of)[there].tolist())
        else:
            if any(len(self.of) != each for each in runs):
                raise ValueError(f"{len(self.of)} runs in folds need as many of each method, not {sorted(set(runs))}")
            left = self
        return left if len(set(left.of)) > 1 else None

    def error(self, first: Values, second: Values, without: Error) -> Chance:
        """What chance makes of the mean of `first` minus `second`, both (runs, N).

        Args:
            first: scores of the images that have one.
            second: of the same images.
            without: what images and seeds make of it, as if there were no folds.
        """
        names, place = np.unique(np.asarray(self.of), return_inverse=True)
        if self.kind == "repeated":
            over_images = first.mean(axis=1) - second.mean(axis=1)
            of_fold = np.bincount(place, over_images) / np.bincount(place)
            count = len(names)
            variance = float(of_fold.var(ddof=1)) * (1 / count + max(self.ratio, REPEATED))
            freedom = count - 1 if variance > ROUNDING**2 else np.inf
            return replace(without, seeds=np.asarray(variance), seeds_freedom=freedom)
        sizes = np.bincount(place).astype(np.float64)
        means = [_by_fold(table, place, sizes) for table in (first, second)]
        shares = sizes / sizes.sum()
        lead = means[0].mean(axis=0) - means[1].mean(axis=0)
        same = (shares**2).sum()
        between = (shares * (lead - shares @ lead) ** 2).sum() / (1 - same)
        # Of a mean over seeds, in a fold; a method that draws nothing at random has one run, and none.
        seeds = np.nan
        if not np.isnan(without.seeds):
            seeds = sum(float(shares @ each.var(axis=0, ddof=1)) / len(each) for each in means if len(each) > 1)
        ratio = held_out(self.ratio, 1 / same)
        return FoldsError(without, np.asarray(between), float(seeds), float(1 / same), freedom_of(sizes), ratio)


REPEATED = 1.0
"""What n2/n1 counts as at least where folds judge the same images, for they have nearly all training images in common:
by 1/3 the test of nearest neighbours, each of 60 images, on 200 was wrong in 8 of 100 cases, by 1 in 3."""


def held_out(ratio: float, folds: float) -> float:
    """What n2/n1 counts as: itself, but at least 1/3, as of five folds, or 3 / folds where there are more than nine.

    Of ten folds it is 1/8. Where a mean over ten seeds leaves little but what the images in common make, the test by
    1/8 was wrong in 10 of 100 cases.
    """
    return max(ratio, min(1 / 3, 3 / folds))


@dataclass(frozen=True)
class FoldsError:
    """What chance makes of a mean difference of recipes, by folds that judge images of their own.

    p is the larger one of two: that of the folds by Nadeau's and Bengio's variance, with Student's t, and that of the
    images (or groups) alone. With few folds their variance may be small by chance, when images say otherwise; images
    alone know nothing of what other training sets would make.

    Attributes:
        without: what images and seeds make of it, as if there were no folds.
        between: the variance of the folds' mean differences, S2; of any shape.
        seeds: the part of it that other seeds draw anew; NaN where it is not known.
        count: how many folds, or as many equal ones as say as much: 1 / sum of squared shares of images.
        freedom: of `between`.
        ratio: what is added to 1 / `count`.
    """

    without: Error
    between: Values
    seeds: float
    count: float
    freedom: float
    ratio: float

    @property
    def known(self) -> bool:
        """Whether other images, or groups, can be spoken of; seeds are in the folds."""
        return self.without.alone.images is not None

    @property
    def alone(self) -> Alone:
        """Images, seeds and folds, each by itself."""
        return replace(self.without.alone, folds=self._folds)

    def p(self, difference: npt.ArrayLike) -> Values:
        """How likely chance makes a difference as far from 0 (two-sided)."""
        return np.asarray(np.max([part.p(difference) for part in self._parts], axis=0))

    def reach(self, p: float) -> float:
        """The difference to each side that chance makes with the likelihood p."""
        return max(part.reach(p) for part in self._parts)

    def shown(self, p: float) -> float:
        """The lead of which such a comparison finds p or less in 4 of 5 cases."""
        return max(part.shown(p) for part in self._parts)

    def more_images(self) -> "FoldsError":
        """The same of twice as many images in as many folds, were it not for what more training brings."""
        return replace(self, without=self.without.more_images(), between=self.between - self._images / 2)

    def more_runs(self) -> "FoldsError | None":
        """The same of twice as many seeds a fold; None where what seeds make is not known."""
        if np.isnan(self.seeds):
            return None
        fewer = np.maximum(self.between - self.seeds / 2, self._images)
        return replace(self, without=self.without.more_runs(), between=fewer, seeds=self.seeds / 2)

    def more_folds(self) -> "FoldsError":
        """The same of the same images in twice as many folds: half as large, so that as much more trains."""
        ratio = held_out(self.ratio / (1 + self.count * self.ratio), 2 * self.count)
        between = self.between + self._images
        return replace(self, between=between, count=2 * self.count, freedom=2 * self.freedom + 1, ratio=ratio)

    @property
    def _folds(self) -> Part:
        return Part(self.between * (1 / self.count + self.ratio), self.freedom)

    @property
    def _parts(self) -> list[Part]:
        images = self.without.alone.images
        return [self._folds] if images is None else [self._folds, images]

    @property
    def _images(self) -> Values:
        """What the choice of images makes of the variance between folds, as far as it is found there."""
        return np.minimum(self.between, self.count * np.nan_to_num(self.without.images))


def _by_fold(table: Values, place: npt.NDArray[np.intp], sizes: Values) -> Values:
    """The mean of each run over the images of each fold, (runs, folds)."""
    return np.stack([np.bincount(place, row, minlength=len(sizes)) for row in table]) / sizes
