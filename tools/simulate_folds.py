"""How often a verdict on folds put together is wrong, and what it can see: simulated cross-validations, as a table.

    python tools/simulate_folds.py                # 4,000 comparisons a setting; ten minutes
    python tools/simulate_folds.py draws=1000

Learners: every comparison draws images anew, each with features in blocks, and trains a real learner on each block, in
folds as `hashed_folds` makes them: of unequal size, one judges, the next is held out to choose by, the rest trains.
What is to be learnt depends on all blocks alike, so that no method is better: whatever one is taught by the images, all
are in another draw. A false alarm is a comparison in which anybody is called better.

Gauss: no learner, but the sum of what an image makes of a lead, of what each image that a network trained on adds to
all of its scores, and of the network's seed. Training sets that have three of four images in common have as much of
that in common; no test sees how much, so here is measured from where on it is wrong.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamella.statistics.comparison import CERTAIN, holm
from lamella.statistics.error import Error
from lamella.statistics.folds import REPEATED, FoldsError, held_out
from lamella.statistics.intervals import ROUNDING, Values, freedom_of

Places = npt.NDArray[np.intp]
FOLDS, IMAGES = (3, 5, 10), (25, 60, 200)
EFFECTS = (0.0, 0.5, 1.0, 2.0, 4.0)  # deviation of a training image's effect, in that of an image that judges
LEADS = (1.0, 1.5, 2.0)  # times the lead that 8 of 10 paired t-tests over images show
VARIANTS: dict[str, dict[str, Any]] = {
    "2 methods": {}, "patients": {"grouped": True}, "3 seeds a fold": {"seeds": 3}, "10 seeds a fold": {"seeds": 10},
    "4 methods": {"methods": 4},
}  # fmt: skip
_BLOCK = 100  # comparisons that share their folds


class Tests(NamedTuple):
    """p of all pairs, (draws, pairs), corrected by Holm: by the test in use, and by others for comparison."""

    used: Values
    folds: Values
    images: Values
    naive: Values


class Images(NamedTuple):
    """Features (D, n, p) and truth (D, n) of some images, in D draws."""

    x: Values
    y: Values


class Given(NamedTuple):
    """What a learner is given in one fold."""

    train: Images
    val: Images
    test: Images
    rng: np.random.Generator

    def some(self, share: float) -> Images:
        """A share of the images that train, drawn by the seed."""
        places = self.rng.permutation(self.train.x.shape[1])
        places = places[: max(1, round(share * len(places)))]
        return Images(self.train.x[:, places], self.train.y[:, places])


class Learner(NamedTuple):
    """Something that learns from features, and is scored on each image.

    Attributes:
        name: in the table.
        features: of each method's block.
        noise: its deviation, in the truth.
        scored: the scores of a fold's test images, (D, n).
    """

    name: str
    features: int
    noise: float
    scored: Callable[[Given], Values]


def _fitted(images: Images, penalty: float) -> Values:
    inner = np.einsum("dnp,dnq->dpq", images.x, images.x) + penalty * np.eye(images.x.shape[-1])
    return np.asarray(np.linalg.solve(inner, np.einsum("dnp,dn->dp", *images)[..., None])[..., 0])


def _squared(images: Images, weights: Values) -> Values:
    return np.asarray(-np.minimum(25, (images.y - np.einsum("dnp,dp->dn", images.x, weights)) ** 2))


def linear(given: Given) -> Values:
    """Minus the squared error of a linear fit with a small penalty, to half of the images."""
    return _squared(given.test, _fitted(given.some(0.5), 0.1))


def chosen(given: Given) -> Values:
    """The same of all images, with a penalty that the validation images choose; nothing is drawn at random."""
    fits = [_fitted(given.train, penalty) for penalty in (0.01, 1.0, 100.0)]
    best = np.argmax([_squared(given.val, each).mean(axis=1) for each in fits], axis=0)
    return _squared(given.test, np.stack(fits)[best, np.arange(len(best))])


def neighbour(given: Given) -> Values:
    """1 where the nearest of three quarters of the images is of the class, else 0."""
    some = given.some(0.75)
    apart = ((given.test.x[:, :, None] - some.x[:, None]) ** 2).sum(axis=-1)
    near = np.take_along_axis(some.y, apart.argmin(axis=-1), axis=1)
    return np.asarray(np.sign(near) == np.sign(given.test.y), np.float64)


def single(given: Given) -> Values:
    """1 where the one feature that goes best with the class says it, else 0: unstable, all or nothing."""
    with_class = np.einsum("dnp,dn->dp", given.train.x, np.sign(given.train.y))
    draws, best = np.arange(len(with_class)), np.abs(with_class).argmax(axis=1)
    says = np.sign(given.test.x[draws, :, best] * with_class[draws, best][:, None])
    return np.asarray(says == np.sign(given.test.y), np.float64)


LEARNERS = (
    Learner("linear fit, 3 features", 3, 1.0, linear),
    Learner("linear fit, 15 features", 15, 0.3, linear),
    Learner("penalty chosen", 8, 1.0, chosen),
    Learner("nearest neighbour", 2, 0.5, neighbour),
    Learner("one feature", 5, 1.5, single),
)


def folds_of(rng: np.random.Generator, groups: Places, folds: int) -> Places:
    """The fold of each image, drawn for each group by itself as a hash does; none is empty."""
    count = int(groups.max()) + 1
    while True:
        of_group = rng.integers(0, folds, count)
        if len(np.unique(of_group)) == folds:
            return np.asarray(of_group[groups])


def parts(of: Places) -> Iterator[tuple[Places, Places, Places]]:
    """The places of the images that train, choose and judge, of each fold."""
    folds = int(of.max()) + 1
    for fold in range(folds):
        test, val = of == fold, of == (fold + 1) % folds
        yield np.flatnonzero(~test & ~val), np.flatnonzero(val), np.flatnonzero(test)


def ratio_of(of: Places) -> float:
    """n2 / n1, mean over folds."""
    return float(np.mean([len(test) / len(train) for train, _, test in parts(of)]))


def groups_of(rng: np.random.Generator, images: int, grouped: bool) -> Places:
    """The group of each image: its own, or one of a fifth as many, which are of unequal size."""
    if not grouped:
        return np.arange(images)
    names = rng.choice(images // 5, images, p=rng.dirichlet(np.full(images // 5, 3.0)))
    return np.unique(names, return_inverse=True)[1]


def learnt(
    rng: np.random.Generator, learner: Learner, draws: int, methods: int, seeds: int, of: Places, groups: Places
) -> Values:
    """Scores (draws, methods, seeds, images) of a learner on each of so many exchangeable blocks of features."""
    images = len(of)
    count, shared = learner.features * methods, 0.7 * (len(set(groups.tolist())) < images)
    of_group = rng.normal(0, 1, (draws, int(groups.max()) + 1, count))[:, groups]
    x = shared**0.5 * of_group + (1 - shared) ** 0.5 * rng.normal(0, 1, (draws, images, count))
    y = x.sum(axis=-1) / count**0.5 + learner.noise * rng.normal(0, 1, (draws, images))
    scores = np.empty((draws, methods, seeds, images))
    for train, val, test in parts(of):
        for method in range(methods):
            block = x[..., method * learner.features : (method + 1) * learner.features]
            some = [Images(block[:, each], y[:, each]) for each in (train, val, test)]
            given = Given(some[0], some[1], some[2], rng)
            for seed in range(seeds):
                scores[:, method, seed, test] = learner.scored(given)
    return scores


def gauss(
    rng: np.random.Generator, draws: int, seeds: int, of: Places, *, effect: float, seed: float = 0.0, lead: float = 0.0
) -> Values:
    """Scores (draws, 2, seeds, images) of two methods; an image that judges has deviation 1 in their difference."""
    images, folds = len(of), int(of.max()) + 1
    scores = np.zeros((draws, 2, seeds, images))
    scores[:, 0] = lead + rng.normal(0, 1, (draws, 1, images))
    of_image, of_seed = rng.normal(0, effect, (draws, images)), rng.normal(0, seed, (draws, seeds, folds))
    for fold, (train, _, test) in enumerate(parts(of)):
        scores[:, 0, :, test] += of_image[:, train].mean(axis=1)[None, :, None] + of_seed[None, :, :, fold]
    return scores


def tests(scores: Values, of: Places, groups: Places) -> tuple[Values, Tests]:
    """Differences (draws, pairs), and what tests say of them; p is 1 where all images differ alike.

    Args:
        scores: (draws, methods, seeds, images).
        of: the fold of each image.
        groups: the group of each image.
    """
    first, second = np.triu_indices(scores.shape[1], 1)
    over_seeds = scores.mean(axis=2)
    lead = over_seeds[:, first] - over_seeds[:, second]
    difference = lead.mean(axis=-1)
    # Images, or groups: the jackknife, as `lamella.statistics.compare` has it.
    of_groups = np.bincount(groups).astype(np.float64)
    sums = lead @ np.eye(len(of_groups))[groups]
    without = (sums.sum(axis=-1, keepdims=True) - sums) / (len(groups) - of_groups)
    variance = without.var(axis=-1) * (len(of_groups) - 1)
    sizes = np.bincount(of).astype(np.float64)
    shares = sizes / sizes.sum()
    means = lead @ np.eye(len(sizes))[of] / sizes
    same = float((shares**2).sum())
    between = ((means - (means @ shares)[..., None]) ** 2) @ shares / (1 - same)
    error = Error(np.maximum(variance, 2 * ROUNDING**2), freedom_of(of_groups), np.asarray(np.nan), np.inf)
    used, naive = (
        FoldsError(error, between, np.nan, 1 / same, freedom_of(sizes), ratio)
        for ratio in (held_out(ratio_of(of), 1 / same), 0.0)
    )
    parts_ = (used, used.alone.folds, used.alone.images, naive.alone.folds)
    return difference, Tests(
        *(holm(np.where(variance > ROUNDING**2, part.p(difference), 1.0)) for part in parts_ if part is not None)
    )


def rates(
    draws: int, images: int, folds: int, of_scores: Callable[[np.random.Generator, int, Places, Places], Values],
    *, grouped: bool = False, leads: bool = False,
) -> Tests:  # fmt: skip
    """The share of comparisons in which anybody is called better, or with `leads` the first of two, by each test."""
    rng = np.random.default_rng([images, folds, int(grouped)])
    found = np.zeros(len(Tests._fields))
    for start in range(0, draws, _BLOCK):
        count = min(_BLOCK, draws - start)
        groups = groups_of(rng, images, grouped)
        of = folds_of(rng, groups, folds)
        difference, judged = tests(of_scores(rng, count, of, groups), of, groups)
        right = difference > 0 if leads else np.ones_like(difference, np.bool_)
        found += [((p < CERTAIN) & right).any(axis=-1).sum() for p in judged]
    return Tests(*(found / draws))


def wrong(
    draws: int, learner: Learner, images: int, folds: int, *, methods: int = 2, seeds: int = 1, grouped: bool = False
) -> Tests:
    """The share of comparisons of equal learners with a false alarm, by each test."""
    return rates(
        draws, images, folds, lambda rng, count, of, groups: learnt(rng, learner, count, methods, seeds, of, groups),
        grouped=grouped,
    )  # fmt: skip


def in_gauss(
    draws: int, images: int, folds: int, *, effect: float, seed: float = 0.0, seeds: int = 1, lead: float = 0.0
) -> Tests:
    """The same of the Gaussian world; with a lead the share in which the one that leads is found."""
    return rates(
        draws, images, folds,
        lambda rng, count, of, _: gauss(rng, count, seeds, of, effect=effect, seed=seed, lead=lead), leads=lead > 0,
    )  # fmt: skip


def on_the_same_images(
    rng: np.random.Generator, learner: Learner, draws: int, of: Places, images: int
) -> tuple[Values, Error]:
    """Differences (draws,) of two learners in folds that hold one part of the training images out, and their error.

    Args:
        of: the fold of each image that trains.
        images: how many judge, the same in every fold.
    """
    trained, folds = len(of), int(of.max()) + 1
    x = rng.normal(0, 1, (draws, trained + images, 2 * learner.features))
    y = x.sum(axis=-1) / (2 * learner.features) ** 0.5 + learner.noise * rng.normal(0, 1, x.shape[:2])
    lead = np.zeros((draws, folds, images))
    for fold in range(folds):
        places = (np.flatnonzero(of != fold), np.flatnonzero(of == fold), np.arange(trained, trained + images))
        for sign, block in ((1, x[..., : learner.features]), (-1, x[..., learner.features :])):
            some = [Images(block[:, each], y[:, each]) for each in places]
            lead[:, fold] += sign * learner.scored(Given(some[0], some[1], some[2], rng))
    ratio = float(np.mean([(of == fold).sum() / (of != fold).sum() for fold in range(folds)]))
    over_images = np.maximum(lead.mean(axis=1).var(axis=-1, ddof=1) / images, 2 * ROUNDING**2)
    between = lead.mean(axis=-1).var(axis=-1, ddof=1)
    error = Error(over_images, images - 1.0, between * (1 / folds + max(ratio, REPEATED)), folds - 1.0)
    return lead.mean(axis=(1, 2)), error


def wrong_on_the_same_images(draws: int, learner: Learner, trained: int, images: int, folds: int) -> float:
    """The share of such comparisons with a false alarm."""
    rng, found = np.random.default_rng([trained, images, folds]), 0
    for start in range(0, draws, _BLOCK):
        of = folds_of(rng, np.arange(trained), folds)
        difference, error = on_the_same_images(rng, learner, min(_BLOCK, draws - start), of, images)
        found += int((error.p(difference) < CERTAIN).sum())
    return found / draws


def _line(name: str, found: Sequence[Values] | Values) -> str:
    return f"{name:62}" + "".join(f"{100 * rate:10.2f}" for rate in found)


def main(arguments: list[str]) -> None:
    draws = int(dict(each.split("=") for each in arguments).get("draws", 4000))
    print(f"{draws:,} comparisons a setting; standard error of 5 %: {100 * (0.05 * 0.95 / draws) ** 0.5:.2f} %")
    head = f"{'':62}{'used':>10}{'folds':>10}{'images':>10}{'naive':>10}"
    print("used: the larger p of the next two; folds: by Nadeau and Bengio; images: alone; naive: t-test over folds")
    print(f"\nFALSE ALARMS in %, learners\n{head}")
    for title, how in VARIANTS.items():
        worst: dict[str, Values] = {}
        for folds, images, learner in product(FOLDS, IMAGES, LEARNERS):
            if how.get("grouped") and images < 10 * folds:
                continue  # too few patients for so many folds
            found = wrong(draws, learner, images, folds, **how)
            print(_line(f"{title}, {folds} folds, {images} images: {learner.name}", found), flush=True)
            for key in ("", f", {folds} folds", f", {learner.name}"):
                worst[key] = np.maximum(worst.get(key, 0.0), found)
        for key, most in worst.items():
            print(_line(f"HIGHEST {title}{key}", most), flush=True)
    print("\nFALSE ALARMS in %, learners, 2 methods, all folds on the same test images")
    for folds, trained, images, learner in product(FOLDS, IMAGES[1:], IMAGES, LEARNERS):
        rate = wrong_on_the_same_images(draws, learner, trained, images, folds)
        print(f"{f'{folds} folds of {trained}, {images} tested: {learner.name}':62}{100 * rate:10.2f}", flush=True)
    print(f"\nFALSE ALARMS in %, Gauss\n{head}")
    for folds, images in product(FOLDS, IMAGES):
        for effect in EFFECTS:
            title = f"{folds} folds, {images} images, effect of a training image {effect}"
            print(_line(title, in_gauss(draws, images, folds, effect=effect)), flush=True)
        found = in_gauss(draws, images, folds, effect=0, seed=0.5)
        print(_line(f"{folds} folds, {images} images, deviation over seeds 0.5", found), flush=True)
    print(f"\nPOWER in %, Gauss: a lead that 80 of 100 paired t-tests over as many images show, times\n{head}")
    for folds, images, times in product(FOLDS, IMAGES, LEADS):
        found = in_gauss(draws, images, folds, effect=0, lead=times * 2.8 / images**0.5)
        print(_line(f"{folds} folds, {images} images, times {times}", found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
