"""A cohort in numbers: what a score stands on, a row a method, every pair compared."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lamella.errors import ConfigError, StorageError
from lamella.metrics.catalogue import lookup, ordered
from lamella.reporting.cohorts import Cohort, Method, Values, over_images
from lamella.reporting.failures import FAILED, failures
from lamella.statistics import Comparison, Folds, Interval, compare, interval_of_each

MAIN = 5
"""How many scores the first table shows; files and the page's further tables have all."""

DISTANCES = tuple(f"boundary/{name}{unit}" for name in ("hd95", "surface_distance") for unit in ("", "_nm"))
"""The scores that are imputed where nothing was predicted of what is there."""

_IMPUTED = "boundary/imputed"


class Sample(NamedTuple):
    """What all that is said of a score stands on.

    Attributes:
        images: how many test images have it.
        of: how many there are.
        groups: of how many groups those are that have it.
        noun: what one of these is, for the statistics: "image" where each is its own group, "stack" or "group".
    """

    images: int
    of: int
    groups: int
    noun: str

    @property
    def grouped(self) -> bool:
        """Whether images come in groups, which are drawn as a whole."""
        return self.noun != "image"


def sample(cohort: Cohort, score: str) -> Sample:
    """What a score of a cohort stands on: it is defined by the truth, so for all methods on the same images."""
    known = ~np.isnan(per_image(cohort.methods[0], score))
    groups = {group for group, has in zip(cohort.groups, known, strict=True) if has}
    return Sample(int(known.sum()), len(known), len(groups), drawn(cohort))


def drawn(cohort: Cohort) -> str:
    """What statistics draw and count, one of them: "image" where each is its own group, else "stack" or "group"."""
    if len(set(cohort.groups)) == len(cohort.ids):
        return "image"
    return "stack" if "stack" in cohort.card.get("groups in the test", "") else "group"


def scores_of(cohort: Cohort) -> list[str]:
    """The scores that methods can be compared by, those most looked at first."""
    return ordered(name for name in cohort.names if lookup(name).kind != "count")


def scores_in(summary: pd.DataFrame) -> list[str]:
    """The scores of a summary's columns: those that come with an interval, in their order."""
    return [name for name in summary.columns if f"{name}_low" in summary.columns]


def of(method: Method, score: str) -> Values:
    """A score of every run and image, (runs, images); of signed errors the size."""
    values = method.score(score)
    return np.abs(values) if lookup(score).kind == "signed error" else values


def per_image(method: Method, score: str) -> Values:
    """A score of each image, mean over seeds: (images,); NaN: it has none. Of a signed count error it is the size."""
    return np.asarray(of(method, score).mean(axis=0))


def per_seed(method: Method, score: str) -> Values:
    """The same score of each seed, mean over the images that have it: (runs,)."""
    return over_images(of(method, score))


def seeds(cohort: Cohort, method: Method) -> int:
    """How many seeds of a method there are: of folds, in each."""
    repeated = cohort.folds is not None and cohort.folds.kind == "repeated"
    return min(len(run.each) for run in method.runs) if repeated else len(method.runs)


def interval_of_mean(method: Method, score: str, groups: Sequence[str]) -> Interval:
    """The mean of a score over images, of the mean over seeds, with its interval over images or their groups."""
    return intervals_of_means(method, [score], groups)[score]


def intervals_of_means(method: Method, scores: Sequence[str], groups: Sequence[str]) -> dict[str, Interval]:
    """The same of several scores, in a fraction of the time."""
    values = [per_image(method, score) for score in scores]
    bounds = [(0, np.inf) if lookup(score).kind == "signed error" else lookup(score).bounds for score in scores]
    return dict(zip(scores, interval_of_each(values, groups=groups, bounds=bounds), strict=True))


def ranked(cohort: Cohort, score: str) -> list[Method]:
    """The methods, that of the best mean first; of equal ones that which ran first; those without the score last."""
    means = np.array([over_images(per_image(method, score)[None])[0] for method in cohort.methods])
    order = np.argsort(means if lookup(score).lower_is_better else -means, kind="stable")
    return [cohort.methods[place] for place in order]


def summary(
    cohort: Cohort, score: str, literature: Mapping[str, Mapping[str, float]], *, failure: float = FAILED
) -> pd.DataFrame:
    """A table of means and intervals with one row a method, the best first.

    Values are means over the test images that have a score of the mean over seeds, with a 95 % interval over images
    (or their groups); so an image counts once, however many seeds there are. Of folds they are of the recipe, which
    made another network for each.

    Args:
        cohort: the methods.
        score: what they are sorted by; its columns come first.
        literature: model -> {score: value}, what others published, shown beside.
        failure: the Dice below which an image failed.

    Returns:
        `method`, `seeds` (of folds in each), `folds` (where runs are folds of one plan), `deterministic`, `images`; for
        each score S the columns `S` (NaN: no image has it), `S_images` (how many have it), `S_low` and `S_high` (NaN:
        not known), `S_interval` (its method), `S_seed_sd` (over seeds, or over folds that judge the same images; NaN:
        one) and, where something was published, `S_published` and `S_difference`; `S_imputed` of distances
        (in how many images of all runs); those of `lamella.reporting.failures`, where there is a Dice;
        where images without foreground were tested `absent/images`, `absent/empty` (the share of them that was
        predicted empty) and `absent/fp` (false-positive pixels in one, mean), of several classes
        `class/NAME/absent/...`; then `parameters`, `train_s`, `images_per_s` and `test_images_per_s`.

    Raises:
        ConfigError: there is no such score.
    """
    names = scores_of(cohort)
    require(score, names)
    rows = []
    for method in cohort.methods:
        said = literature.get(method.runs[0].params["model.name"], {})
        row: dict[str, Any] = {"method": method.label, "seeds": seeds(cohort, method)}
        row |= {"folds": len(cohort.folds.names)} if cohort.folds else {}
        row |= {"deterministic": method.deterministic, "images": len(cohort.ids)}
        first_it = [score, *(each for each in names if each != score)]
        for name, found in intervals_of_means(method, first_it, cohort.groups).items():
            means = per_seed(method, name)
            row |= {name: found.mean, f"{name}_images": found.images, f"{name}_low": found.low}
            row |= {f"{name}_high": found.high, f"{name}_interval": found.method}
            row[f"{name}_seed_sd"] = float(means.std(ddof=1)) if len(means) > 1 else np.nan
            if any(name in each for each in literature.values()):
                row[f"{name}_published"] = said.get(name, np.nan)
                row[f"{name}_difference"] = found.mean - said.get(name, np.nan)
            if _IMPUTED in cohort.names and name in DISTANCES:
                row[f"{name}_imputed"] = int((method.score(_IMPUTED) > 0).sum())
        if "dice" in names:
            row |= failures(per_image(method, "dice"), cohort.ids, failure, grouped=drawn(cohort) != "image")
        absent = [name for name in method.runs[0].metrics if "/absent/" in name and name.startswith("test/")]
        row |= {name.removeprefix("test/"): method.metric(name) for name in absent}
        row |= {"parameters": method.metric("model/parameters"), "train_s": method.metric("time/train_s")}
        row |= {name: method.metric(f"time/{name}") for name in ("images_per_s", "test_images_per_s")}
        rows.append(row)
    lower = lookup(score).lower_is_better
    return pd.DataFrame(rows).sort_values(score, ascending=lower, ignore_index=True, kind="stable")


def pairs(cohort: Cohort, score: str, *, margin: float | None = None, leader: bool = False) -> list[Comparison]:
    """All pairs of methods compared by one score, see `lamella.statistics.compare`; none where no image has it.

    Args:
        cohort: the methods.
        score: what they are compared by.
        margin: a difference up to it counts as equality; None: equality is not tested.
        leader: only whether the best mean is better than all others is tested.

    Raises:
        ConfigError: there is no such score.
        StorageError: some images have it by some methods only.
    """
    require(score, scores_of(cohort))
    undefined = {method.label: np.isnan(per_image(method, score)) for method in cohort.methods}
    first, *others = undefined
    for label in others:
        if (undefined[label] != undefined[first]).any():
            image = cohort.ids[int(np.argmax(undefined[label] != undefined[first]))]
            raise StorageError(
                f"image {image} has a score {score} by one of {first} and {label} only, so the two cannot be compared",
                "Score both with the same version, or compare by another metric=.",
            )
    if undefined[first].all():
        return []
    return compare(
        {method.label: of(method, score) for method in cohort.methods},
        groups=cohort.groups,
        deterministic=[method.label for method in cohort.methods if method.deterministic],
        lower_is_better=lookup(score).lower_is_better,
        margin=margin,
        leader=leader,
        folds=_folds(cohort),
    )


def _folds(cohort: Cohort) -> Folds | None:
    """What the statistics must know of a cohort's folds: of each image, or of each run where folds are the runs."""
    if cohort.folds is None:
        return None
    plan = cohort.folds
    return Folds(plan.kind, plan.of if plan.kind == "parted" else plan.names, plan.ratio)


def require(score: str, names: Sequence[str]) -> None:
    """Raises ConfigError where the runs do not share such a score."""
    if score not in names:
        raise ConfigError(
            f"metric={score} is no score that all these runs have", f"They share: {', '.join(sorted(names))}."
        )


def counted(count: int, noun: str) -> str:
    """A number and its noun: "1 image", "2 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    """Parts as a list in a sentence: "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
