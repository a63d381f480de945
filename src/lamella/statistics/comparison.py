"""Whether two methods differ by more than chance: the chance of images, and that of runs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from lamella.statistics.intervals import RESAMPLES, ROUNDING, Groups, Values, by_group, in_blocks, interval

# Up to this many differences all ways to flip them are tried: 8192.
_EXACT = 14

_CERTAIN = 0.05


class Paired(NamedTuple):
    """A mean difference on the same images, its 95 % interval, and how likely chance alone makes one as large."""

    difference: float
    low: float
    high: float
    p: float


class Comparison(NamedTuple):
    """Two methods on the same images.

    Attributes:
        first: a method.
        second: another one.
        difference: the mean score of `first` minus that of `second`, over runs and images.
        low: lower end of its 95 % interval over images.
        high: upper end.
        p_images: how likely images alone make it as large, see `flip_test`; not corrected.
        noise: a difference up to this size is what runs with other seeds make (Welch's t, 95 %); None where a method
            has one run, which cannot tell.
        p_runs: how likely such runs make it as large; not corrected. None likewise.
        p: the larger of the two, by Holm's correction for all pairs that could be tested. None likewise.
        better: the better method where p < 0.05, else None.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p_images: float
    noise: float | None
    p_runs: float | None
    p: float | None
    better: str | None


def paired(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    groups: Groups | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """The mean of first minus second over the same images, with `interval` and `flip_test`.

    Args:
        first: (N,) one score an image.
        second: (N,) of the same images in the same order.
        groups: (N,) names.
        resamples: bootstrap samples, and flips where not all are tried.
        seed: decides them.

    Raises:
        ValueError: the two are not as long as each other.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"a paired difference needs the same images twice, not {len(first)} and {len(second)}")
    difference = first - second
    found = interval(difference, groups=groups, resamples=resamples, seed=seed)
    return Paired(*found, flip_test(difference, groups=groups, resamples=resamples, seed=seed))


def flip_test(
    differences: npt.ArrayLike, *, groups: Groups | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """How likely a mean difference as far from 0 is, were it chance which method has which score (two-sided).

    The sign-flip permutation test (R. A. Fisher 1935, The Design of Experiments, section 21): each image's
    difference, or all of a group together, could as well have been the other way round. All ways are tried for up to
    14 differences, so p is exact; for more, p = (1 + as far) / (1 + resamples) of random ones (B. Phipson, G. Smyth
    2010, SAGMB 9:39). Below 6 images (or groups) no p can be under 0.05.

    Args:
        differences: (N,) one an image.
        groups: (N,) names.
        resamples: random flips where not all are tried.
        seed: decides them.

    Returns:
        p; exactly 1 where there is no difference in any image.
    """
    sums, _ = by_group(differences, groups)
    sums = sums[np.abs(sums) > ROUNDING]  # to flip nothing changes nothing
    n = len(sums)
    if n == 0:
        return 1.0
    # A flip of all of them is as far from 0, so the first can stay. The margin is for sums in another order.
    limit = abs(sums.sum()) - ROUNDING * np.abs(sums).sum()
    if n <= _EXACT:
        signs = 1 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1)) & 1)
        return float((np.abs(sums[0] + signs @ sums[1:]) >= limit).mean())
    rng = np.random.default_rng(seed)

    def flipped(count: int) -> Values:
        return np.asarray((1 - 2 * rng.integers(0, 2, (count, n), dtype=np.int8)) @ sums)

    as_far = int((np.abs(in_blocks(flipped, resamples, n)) >= limit).sum())
    return (1 + as_far) / (1 + resamples)


def holm(p_values: npt.ArrayLike) -> Values:
    """p-values corrected for how many there are (S. Holm 1979, Scandinavian Journal of Statistics 6:65).

    Args:
        p_values: (M,) of all comparisons that are made together.

    Returns:
        (M,) in the same order; those below 0.05 are, with 95 % certainty, all true.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def compare(
    scores: Mapping[str, npt.ArrayLike],
    *,
    groups: Groups | None = None,
    deterministic: Collection[str] = (),
    lower_is_better: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compares every pair of methods, with a verdict that names no winner inside seed noise.

    A method is called better only where its lead is too large for both kinds of chance at once, after Holm's
    correction for all pairs:

    - other images: `flip_test` on the runs' mean score of each image;
    - other seeds: Welch's t-test (B. L. Welch 1947, Biometrika 34:28) on each run's mean score over images. One run
      of a trained method tells nothing about its seeds: then nobody is called better.

    Args:
        scores: name -> (runs, N), the scores of runs with different seeds on the same N images in the same order.
        groups: (N,) names; see `interval`.
        deterministic: methods that draw nothing at random, for which one run is as good as many.
        lower_is_better: for errors and distances.
        resamples: bootstrap samples and random flips.
        seed: decides them.

    Returns:
        One entry for each pair, in the order of `scores`.

    Raises:
        ValueError: a method has no run, or another number of images.
    """
    tables = {name: np.asarray(runs, np.float64) for name, runs in scores.items()}
    sound = all(table.ndim == 2 and len(table) for table in tables.values())
    if not sound or len({table.shape[1:] for table in tables.values()}) > 1:
        shapes = ", ".join(f"{name} {table.shape}" for name, table in tables.items())
        raise ValueError(f"a comparison needs (runs, images), of the same images for each method, not {shapes}")
    runs = {name: _mean_of_runs(table, name in deterministic) for name, table in tables.items()}
    found = []
    for first, second in combinations(tables, 2):
        over_runs = tables[first].mean(axis=0), tables[second].mean(axis=0)
        images = paired(*over_runs, groups=groups, resamples=resamples, seed=seed)
        noise, p_runs = _welch(runs[first], runs[second])
        found.append(Comparison(first, second, *images, noise, p_runs, None, None))
    tested = [i for i, each in enumerate(found) if each.p_runs is not None]
    corrected = holm([max(found[i].p_images, found[i].p_runs or 0) for i in tested])
    for i, p in zip(tested, corrected.tolist(), strict=True):
        first_leads = (found[i].difference > 0) != lower_is_better
        better = (found[i].first if first_leads else found[i].second) if p < _CERTAIN else None
        found[i] = found[i]._replace(p=p, better=better)
    return found


def best(comparisons: Collection[Comparison]) -> str | None:
    """The method that is better than each other one; None where there is none."""
    names = {name for each in comparisons for name in each[:2]}
    beats = {name: {n for each in comparisons if each.better == name for n in each[:2]} for name in names}
    return next((name for name in names if beats[name] == names), None)


def in_order(comparisons: Iterable[Comparison], ranked: Sequence[str]) -> list[Comparison]:
    """The same pairs, each with the method first that `ranked` has first, and sorted by it."""
    place = {name: number for number, name in enumerate(ranked)}
    turned = []
    for pair in comparisons:
        first, second, difference, low, high = pair[:5]
        if place[first] > place[second]:
            pair = pair._replace(first=second, second=first, difference=-difference, low=-high, high=-low)
        turned.append(pair)
    return sorted(turned, key=lambda each: (place[each.first], place[each.second]))


class _Runs(NamedTuple):
    """A method's mean over runs, its squared standard error, and that error's degrees of freedom."""

    mean: float
    squared_error: float
    freedom: float


def _mean_of_runs(table: Values, deterministic: bool) -> _Runs | None:
    means = table.mean(axis=1)
    if deterministic:
        return _Runs(float(means.mean()), 0.0, np.inf)
    if len(means) < 2:
        return None
    return _Runs(float(means.mean()), float(means.var(ddof=1)) / len(means), len(means) - 1)


def _welch(first: _Runs | None, second: _Runs | None) -> tuple[float | None, float | None]:
    """The noise, and the p of Welch's t-test. Without any spread, a difference of any size is beyond it."""
    if first is None or second is None:
        return None, None
    lead, squared = abs(first.mean - second.mean), first.squared_error + second.squared_error
    if squared < ROUNDING**2:
        return 0.0, float(lead < ROUNDING)
    freedom = squared**2 / sum(each.squared_error**2 / each.freedom for each in (first, second))
    error = float(np.sqrt(squared))
    return error * float(stats.t.ppf(1 - _CERTAIN / 2, freedom)), 2 * float(stats.t.sf(lead / error, freedom))
