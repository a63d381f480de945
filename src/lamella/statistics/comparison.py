"""Whether two methods differ by more than chance: that of images and that of seeds, in one test."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from lamella.statistics.error import Chance, Error
from lamella.statistics.folds import Folds
from lamella.statistics.intervals import Groups, Values, by_group, freedom_of, jackknife_variance

CERTAIN = 0.05
"""A verdict is wrong in at most this share of cases."""

TWO_SEEDS_ERROR = 0.25
"""The share of verdicts from two seeds that is wrong at worst, where one of twelve equal methods has seven times the
deviation over seeds of the others: `tools/simulate_verdicts.py`. With equal deviations it is below 0.055."""

UNLIKE_SEEDS_ERROR = 0.14
"""The same for three and more, but unlike numbers of seeds: one method has three, with three times the deviation over
seeds, beside one that has ten."""

# Of a method that seems to scatter more than the others: when its own variance begins to count. See `seed_variances`.
_UNLIKE, _UNLIKE_MOST = 0.08, 4.0


class Paired(NamedTuple):
    """A mean difference on the same images, its 95 % interval, and how likely chance alone makes one as large.

    The last three are NaN where they cannot be known.
    """

    difference: float
    low: float
    high: float
    p: float


class Comparison(NamedTuple):
    """Two methods on the same images. What cannot be known is None: see `compare`.

    Attributes:
        first: a method.
        second: another one.
        difference: the mean score of `first` minus that of `second`, over runs and images.
        low: lower end of its interval for other images and other seeds. For one pair 95 %; of several it is as wide as
            the correction for their number asks, so that it holds 0 exactly where neither is called better.
        high: upper end.
        p_images: how likely other images alone make it as large; not corrected.
        noise: a difference up to this size is what other seeds alone make (95 %).
        p_runs: how likely other seeds alone make it as large, on these very images; not corrected.
        p: how likely both together do, corrected for all pairs.
        better: the better method where p < 0.05, else None.
        least: the lead that would be shown in 4 of 5 such comparisons, from these variances; a smaller one is likelier
            missed.
        least_images: the same with twice as many images (or groups).
        least_runs: the same with twice as many seeds.
        p_equal: how likely two that differ by `margin` or more look so alike; corrected for all pairs.
        equal: p_equal < 0.05: they differ by less than the margin.
        p_single: `p` if this were the only pair: not corrected for their number.
        p_folds: how likely the folds alone make it as large, their training sets and seeds and images, corrected for
            what they train on in common; not corrected for the number of pairs. None without folds.
        least_folds: `least` with the same images in twice as many folds.

    Where the runs are the folds (`Folds.kind` "repeated"), what is said of seeds is said of folds and their seeds.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p_images: float | None
    noise: float | None
    p_runs: float | None
    p: float | None
    better: str | None
    least: float | None
    least_images: float | None
    least_runs: float | None
    p_equal: float | None
    equal: bool
    p_single: float | None = None
    p_folds: float | None = None
    least_folds: float | None = None


def seed_variances(variances: npt.ArrayLike, freedoms: Sequence[float]) -> Values:
    """The variance over seeds that each method is judged by: that of all methods together, or more.

    A few runs say little about their own deviation, so all methods share one. A method that scatters more than the
    others is not to profit from them: unless all have but two runs, what its own variance has above L times that of the
    others counts for it, widened as Student's t of its few runs is wider than the normal distribution. L is the F that
    its variance exceeds by chance in 8 of 100 cases, at most 4. The numbers were chosen by simulation
    (`tools/simulate_verdicts.py`): a method with seven times the deviation of the others then costs no false verdicts,
    and where all scatter alike little is lost to one pooled variance.

    Args:
        variances: (..., M) of each method's runs.
        freedoms: M, their number less one.
    """
    own, weights = np.asarray(variances, np.float64), np.asarray(freedoms, np.float64)
    total = (own * weights).sum(axis=-1)
    pooled = total / weights.sum()
    used = np.repeat(pooled[..., None], len(weights), axis=-1)
    for method, freedom in enumerate(weights):
        left = weights.sum() - freedom
        if left == 0 or weights.max() < 2:
            continue
        others = (total - own[..., method] * freedom) / left
        limit = min(_UNLIKE_MOST, float(stats.f.isf(_UNLIKE, freedom, left)))
        wider = (stats.t.isf(0.025, freedom) / stats.norm.isf(0.025)) ** 2
        used[..., method] = np.maximum(pooled, wider * (own[..., method] - limit * others))
    return used


def paired(first: npt.ArrayLike, second: npt.ArrayLike, *, groups: Groups | None = None) -> Paired:
    """The mean of first minus second over the same images, with its 95 % interval and p, by Student's t.

    Args:
        first: (N,) one score an image; NaN where it is not defined, then for both.
        second: (N,) of the same images in the same order.
        groups: (N,) names; groups, not images, are counted.

    Raises:
        ValueError: the two are not as long as each other, or not defined on the same images.
    """
    tables = {"first": np.asarray([first], np.float64), "second": np.asarray([second], np.float64)}
    found = compare(tables, groups=groups, deterministic=list(tables))[0]
    unknown = (found.low, found.high, found.p)
    return Paired(found.difference, *(np.nan if each is None else each for each in unknown))


def holm(p_values: npt.ArrayLike) -> Values:
    """p-values corrected for how many there are (S. Holm 1979, Scandinavian Journal of Statistics 6:65).

    Args:
        p_values: (..., M) of all comparisons that are made together.

    Returns:
        (..., M) in the same order; those below 0.05 are, with 95 % certainty, all true.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, -1) * steps, axis=-1)
    np.put_along_axis(corrected, order, np.minimum(1, stepped), -1)
    return corrected


def compare(
    scores: Mapping[str, npt.ArrayLike],
    *,
    groups: Groups | None = None,
    deterministic: Collection[str] = (),
    lower_is_better: bool = False,
    margin: float | None = None,
    leader: bool = False,
    folds: Folds | None = None,
) -> list[Comparison]:
    """Compares every pair of methods, each by one test of its lead against other images and other seeds together.

    The variance of a mean difference has two parts: that of the images' differences (mean over runs), over the number
    of images; and that of each method's runs (mean over images), over the number of runs: see `seed_variances`. Both
    go into one t-test (`Error.p`); Holm's correction for all pairs follows. The interval comes from the same error.

    What cannot be known is None:

    - one run of a method that draws at random says nothing about its seeds: no `noise`, `p_runs`, `p`;
    - one group, or differences without spread, say nothing about other images: no `p_images`, `p`; `noise` and
      `p_runs` then describe these very images;
    - nobody is called better where `p` is not known.

    Of folds put together (`lamella.statistics.folds`) the question is another one: not which of some networks is
    better, but which recipe, trained on such data. Every fold trained anew, so that one seed is enough for a p; p is
    that of the folds, whose training sets overlap, and never below that of the images.

    Args:
        scores: name -> (runs, N), the scores of runs with different seeds on the same N images in the same order; NaN
            where an image has no such score, which depends on its truth alone: it is left out.
        groups: (N,) names: a slide, a patient, a stack of sections, which count once.
        deterministic: methods that draw nothing at random, for which one run is as good as many.
        lower_is_better: for errors and distances.
        margin: a difference below it does not matter: the two one-sided tests of D. J. Schuirmann (1987, Journal of
            Pharmacokinetics and Biopharmaceutics 15:657) for `equal`. None: not asked.
        leader: ask only whether the method of the best mean is better than all others. All of its pairs must then pass
            at 5 %, and no correction is due (an intersection-union test, R. L. Berger 1982, Technometrics 24:295);
            there is one entry for each of its pairs, `p` is the largest of them, and it is called better than all or
            none.
        folds: how images or runs are folds of one plan, if they are; with fewer than two that have images it is as if
            there were none. Parted, a run is a repetition of all folds with other seeds, and methods that draw nothing
            at random still depend on what they trained on.

    Returns:
        One entry for each pair, in the order of `scores`.

    Raises:
        ValueError: a method has no run, another number of images, or other images without a score; there is not one
            fold for each image (parted) or each run of each method (repeated).
    """
    tables, there = _defined(scores, groups)
    kept = None if groups is None else np.asarray(groups)[there]
    folds = None if folds is None else folds.those(there, [len(table) for table in tables.values()])
    runs = {name: table.mean(axis=1) if table.size else np.full(len(table), np.nan) for name, table in tables.items()}
    random = [name for name in tables if name not in deterministic and len(runs[name]) > 1]
    freedoms = {name: len(runs[name]) - 1.0 for name in random}
    used = dict.fromkeys(deterministic, 0.0)
    if random:
        own = [float(runs[name].var(ddof=1)) for name in random]
        used |= dict(zip(random, seed_variances(own, list(freedoms.values())).tolist(), strict=True))
    pairs = list(combinations(tables, 2))
    if leader and tables:
        means = {name: float(each.mean()) * (-1 if lower_is_better else 1) for name, each in runs.items()}
        first = max(means, key=lambda name: means[name])
        pairs = [(first, name) for name in tables if name != first]
    found, errors = [], []
    for first, second in pairs:
        over_runs = tables[first].mean(axis=0) - tables[second].mean(axis=0)
        images, freedom = _over_images(over_runs, kept)
        seeds, seeds_freedom = 0.0, np.inf
        for name in (first, second):
            seeds = seeds + used[name] / len(runs[name]) if name in used else np.nan
        if {first, second} & freedoms.keys():
            seeds_freedom = sum(freedoms.values())
        without = Error(np.asarray(images), freedom, np.asarray(seeds), seeds_freedom)
        error: Chance = without if folds is None else folds.error(tables[first], tables[second], without)
        difference = float(over_runs.mean()) if len(over_runs) else np.nan
        found.append(_alone(first, second, difference, error))
        errors.append(error)
    return _together(found, errors, lower_is_better, margin, leader)


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
        if place[pair.first] > place[pair.second]:
            low, high = (None if end is None else -end for end in (pair.high, pair.low))
            pair = pair._replace(first=pair.second, second=pair.first, difference=-pair.difference, low=low, high=high)
        turned.append(pair)
    return sorted(turned, key=lambda each: (place[each.first], place[each.second]))


def _defined(
    scores: Mapping[str, npt.ArrayLike], groups: Groups | None
) -> tuple[dict[str, Values], npt.NDArray[np.bool_]]:
    """The scores of the images that have one, and which these are. Raises ValueError."""
    tables = {name: np.asarray(runs, np.float64) for name, runs in scores.items()}
    sound = all(table.ndim == 2 and len(table) for table in tables.values())
    if not sound or len({table.shape[1:] for table in tables.values()}) > 1:
        shapes = ", ".join(f"{name} {table.shape}" for name, table in tables.items())
        raise ValueError(f"a comparison needs (runs, images), of the same images for each method, not {shapes}")
    patterns = {row.tobytes(): ~row for table in tables.values() for row in np.isnan(table)}
    if len(patterns) > 1:
        raise ValueError("the methods have a score on different images: what is not defined depends on the truth alone")
    there = next(iter(patterns.values()), np.empty(0, np.bool_))
    if groups is not None and tables and len(groups) != len(there):
        raise ValueError(f"{len(there)} images need as many groups, not {len(groups)}")
    return {name: table[:, there] for name, table in tables.items()}, there


def _over_images(differences: Values, groups: Groups | None) -> tuple[float, float]:
    """The squared standard error of the mean over images, and its degrees of freedom; NaN for fewer than two groups.

    It is the jackknife's, that of `lamella.statistics.interval`: what the mean is without each group in turn. A large
    group pulls the mean to itself, and its distance from it would show too little of what another such group may do.
    """
    sums = by_group(np.stack([differences, np.ones_like(differences)], axis=1), groups)
    if len(sums) < 2:
        return np.nan, np.nan
    left = sums.sum(axis=0) - sums
    return jackknife_variance(left[:, 0] / left[:, 1]), freedom_of(sums[:, 1])


def _alone(first: str, second: str, difference: float, error: Chance) -> Comparison:
    """A pair by itself: what images alone, seeds alone and folds alone make of it."""
    parts = error.alone
    p_images, p_runs, p_folds = (
        None if part is None else float(part.p(difference)) for part in (parts.images, parts.runs, parts.folds)
    )
    noise = None if parts.runs is None else parts.runs.reach(CERTAIN)
    return Comparison(
        first, second, difference, None, None, p_images, noise, p_runs, None, None, None, None, None, None, False,
        p_folds=p_folds,
    )  # fmt: skip


def _together(
    found: Sequence[Comparison], errors: Sequence[Chance], lower_is_better: bool, margin: float | None, leader: bool
) -> list[Comparison]:
    """The pairs with what depends on how many there are: p, verdicts, intervals, what could have been seen."""
    tested = [i for i, error in enumerate(errors) if error.known]
    result = list(found)
    if not tested or (leader and len(tested) < len(found)):
        return result
    alone = np.array([float(errors[i].p(found[i].difference)) for i in tested])
    p = np.full(len(alone), alone.max()) if leader else holm(alone)
    levels = _levels(alone, p, leader)
    first_step = CERTAIN / (1 if leader else len(tested))
    # The likelihood that the two are a margin apart, and yet so alike.
    p_equal = None
    if margin is not None:
        near = [margin - abs(found[i].difference) for i in tested]
        one_sided = [float(errors[i].p(n)) / 2 for i, n in zip(tested, near, strict=True)]
        p_equal = holm([half if n > 0 else 1 - half for half, n in zip(one_sided, near, strict=True)])
    for place, i in enumerate(tested):
        error, difference = errors[i], found[i].difference
        reach, least = error.reach(levels[place]), error.shown(first_step)
        # What is estimated of the one part can hide what more of the other would bring.
        more = [
            None if each is None else min(least, each.shown(first_step))
            for each in (error.more_images(), error.more_runs(), error.more_folds())
        ]
        leads = found[i].first if (difference > 0) != lower_is_better else found[i].second
        result[i] = found[i]._replace(
            low=difference - reach,
            high=difference + reach,
            p=float(p[place]),
            better=leads if p[place] < CERTAIN else None,
            least=least,
            least_images=more[0],
            least_runs=more[1],
            least_folds=more[2],
            p_equal=None if p_equal is None else float(p_equal[place]),
            equal=p_equal is not None and bool(p_equal[place] < CERTAIN),
            p_single=float(alone[place]),
        )
    return result


def _levels(alone: Values, p: Values, leader: bool) -> list[float]:
    """The level at which each pair was tested: its interval at that level excludes 0 exactly where p < 0.05."""
    if leader:
        most = float(alone.max())
        return [CERTAIN if most < CERTAIN else CERTAIN * min(1.0, float(each) / most) for each in alone]
    order = np.argsort(alone, kind="stable")
    levels = [CERTAIN] * len(alone)
    step = len(alone)
    for rank, place in enumerate(order):
        before = order[rank - 1]
        # Holm stops at the first that fails, whose step the rest share; so do equal ones.
        if rank == 0 or (p[before] < CERTAIN and alone[before] < alone[place]):
            step = len(alone) - rank
        levels[place] = CERTAIN / step
    return levels
