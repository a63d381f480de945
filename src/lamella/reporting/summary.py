"""A cohort in numbers and sentences: a row a method, every pair compared, the verdict."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lamella.errors import ConfigError
from lamella.metrics.catalogue import lookup, ordered
from lamella.reporting.cohorts import Cohort, Method, Values
from lamella.reporting.numbers import ranged
from lamella.statistics import Comparison, best, compare, interval

MAIN = 5
"""How many scores the first table shows; files and the page's further tables have all."""

_CERTAIN = 0.05


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
    """A score of each image, mean over seeds: (images,). Of a signed count error it is the size."""
    return np.asarray(of(method, score).mean(axis=0))


def per_seed(method: Method, score: str) -> Values:
    """The same score of each seed, mean over images: (runs,)."""
    return np.asarray(of(method, score).mean(axis=1))


def ranked(cohort: Cohort, score: str) -> list[Method]:
    """The methods, that of the best mean first; of equal ones that which ran first."""
    means = np.array([per_image(method, score).mean() for method in cohort.methods])
    order = np.argsort(means if lookup(score).lower_is_better else -means, kind="stable")
    return [cohort.methods[place] for place in order]


def summary(cohort: Cohort, score: str, literature: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A table of means and intervals with one row a method, the best first.

    Values are means over test images of the mean over seeds, with a 95 % interval over images (or their groups); so
    an image counts once, however many seeds there are.

    Args:
        cohort: the methods.
        score: what they are sorted by; its columns come first.
        literature: model -> {score: value}, what others published, shown beside.

    Returns:
        `method`, `seeds`, `deterministic`; for each score S the columns `S`, `S_low`, `S_high`, `S_seed_sd` (NaN: one
        seed) and, where something was published, `S_published` and `S_difference`; then `parameters`, `train_s`,
        `images_per_s` and `test_images_per_s`.

    Raises:
        ConfigError: there is no such score.
    """
    names = scores_of(cohort)
    require(score, names)
    rows = []
    for method in cohort.methods:
        said = literature.get(method.runs[0].params["model.name"], {})
        row: dict[str, Any] = {"method": method.label, "seeds": len(method.runs), "deterministic": method.deterministic}
        for name in (score, *(each for each in names if each != score)):
            values = of(method, name)
            found = interval(values.mean(axis=0), groups=cohort.groups)
            row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
            row[f"{name}_seed_sd"] = float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else np.nan
            if any(name in each for each in literature.values()):
                row[f"{name}_published"] = said.get(name, np.nan)
                row[f"{name}_difference"] = found.mean - said.get(name, np.nan)
        row |= {"parameters": method.metric("model/parameters"), "train_s": method.metric("time/train_s")}
        row |= {name: method.metric(f"time/{name}") for name in ("images_per_s", "test_images_per_s")}
        rows.append(row)
    lower = lookup(score).lower_is_better
    return pd.DataFrame(rows).sort_values(score, ascending=lower, ignore_index=True, kind="stable")


def pairs(cohort: Cohort, score: str) -> list[Comparison]:
    """All pairs of methods compared by one score, see `lamella.statistics.compare`. Raises ConfigError."""
    require(score, scores_of(cohort))
    return compare(
        {method.label: of(method, score) for method in cohort.methods},
        groups=cohort.groups,
        deterministic=[method.label for method in cohort.methods if method.deterministic],
        lower_is_better=lookup(score).lower_is_better,
    )


def verdict(cohort: Cohort, table: pd.DataFrame, comparisons: Sequence[Comparison], score: str) -> list[str]:
    """The verdict in sentences: a winner is named only where the lead is beyond chance of images and of seeds.

    Args:
        cohort: the methods.
        table: its `summary` by `score`.
        comparisons: its `pairs` by `score`.
        score: what they were compared by.
    """
    heading, leader = lookup(score).heading, str(table["method"][0])
    said = []
    if cohort.phantom:
        said.append("These images are phantoms, made by a program: nothing here says anything about real ones.")
    mean, low, high = (float(table[f"{score}{end}"][0]) for end in ("", "_low", "_high"))
    figures = ranged(mean, low, high, score)
    if len(cohort.methods) == 1:
        return [*said, f"{leader} has a mean {heading} of {figures}; there is nothing to compare it with."]
    if best(comparisons) == leader:
        said.append(
            f"{leader} is better than every other method: mean {heading} {figures}, a lead that neither the choice of "
            "images nor the seeds explain (p < 0.05 for each pair, Holm's correction)."
        )
    else:
        said.append(f"{leader} has the best mean {heading}, {figures}.")
        beside = [
            (each, each.second if each.first == leader else each.first) for each in comparisons if leader in each[:2]
        ]
        unknown = [name for each, name in beside if each.p is None]
        if apart := [name for each, name in beside if each.p is not None and each.better != leader]:
            said.append(f"It is not told apart from {listed(apart)}: no winner is named.")
        tested, groups = sum(each.p is not None for each in comparisons), len(set(cohort.groups))
        if tested and tested * 2.0 ** (1 - groups) >= _CERTAIN:  # the least that a sign-flip test can give, by Holm
            said.append(
                f"With {groups} independent test images and {counted(tested, 'pair')} no lead could be told from "
                "chance, however large: that takes more images, or fewer methods at a time."
            )
        if unknown:
            said.append(
                f"Against {listed(unknown)} nothing can be said: a trained method with a single seed does not show "
                "how much seeds matter. Run two or more, better three: seed=1,2,3."
            )
    if len(cohort.ids) < 20:
        said.append(
            f"{len(cohort.ids)} test images are few: intervals are wide, and rare failures may not be among them."
        )
    return said


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


def verdict_on(pair: Comparison) -> str:
    """The verdict on a pair of methods: who is better, not told apart, or one seed: cannot tell."""
    if pair.better is not None:
        return f"{pair.better} is better"
    return "one seed: cannot tell" if pair.p is None else "not told apart"
