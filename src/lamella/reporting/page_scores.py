"""The page's tables of scores: the main one, the pairs of methods, and every other score."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup
from lamella.reporting.cohorts import Cohort, Scores
from lamella.reporting.page_table import UNKNOWN, Cell, decimals, duration, number, probability, quantity, table
from lamella.reporting.summary import counted, of, verdict_on
from lamella.statistics.comparison import Comparison, in_order

_FIRST = 5  # scores of the main table; beside them those that something was published on

# Columns of the summary that are no scores: heading and how to write them.
_COSTS = {
    "parameters": (Cell("parameters"), quantity),
    "train_s": (Cell("training", ("time",)), duration),
    "images_per_s": (Cell("training", ("crops / s",)), quantity),
    "test_images_per_s": (Cell("testing", ("images / s",)), quantity),
}


def main_table(id_: str, cohort: Cohort, summary: pd.DataFrame, score: str) -> str:
    """The first scores of the summary with their intervals, beside them what was published, and what a method costs.

    Args:
        id_: unique in the page.
        cohort: what the summary is about.
        summary: one row a method, best first.
        score: the one that the summary begins with.
    """
    rows = summary.to_dict("records")
    costs = [name for name in _COSTS if not summary[name].isna().all()]
    head, columns = [Cell("method"), Cell("seeds")], [_names(summary), _seeds(summary)]
    for name in _main(summary):
        places = _places(summary, name)
        head.append(_heading(name))
        columns.append([_mean(row, name, places) for row in rows])
        if f"{name}_published" in summary.columns:
            head.append(Cell(lookup(name).heading, ("published, ours minus it",)))
            columns.append([_published(row, name, places) for row in rows])
    for name in costs:
        heading, write = _COSTS[name]
        head.append(heading)
        columns.append([Cell(write(value)) for value in summary[name]])
    explanation = (
        f"Each score is the mean over images of the mean over seeds. Below it stand its 95\u00a0% "
        f"interval over {'groups of images' if _grouped(cohort) else 'images'} and, after ±, the standard deviation "
        f"over seeds where there are several. Best {lookup(score).heading} first."
    )
    title = f"{told(cohort)}{counted(len(summary), 'method')} on {_images(cohort)}"
    return table(id_, title, explanation, head, zip(*columns, strict=True))


def pairs_table(id_: str, cohort: Cohort, comparisons: Sequence[Comparison], score: str, ranked: Sequence[str]) -> str:
    """Every pair of methods with the verdict on it; `ranked`, best first, gives the order of pairs and within them."""
    places = decimals([value for each in comparisons for value in (each.low, each.high)])
    head = ["pair", "verdict", "difference", "95\u00a0% interval", "seed noise", "p, images", "p, seeds", "p, both"]
    rows = [
        [
            Cell(each.first, (f"− {each.second}",)),
            Cell(verdict_on(each), left=True),
            Cell(number(each.difference, places, signed=True)),
            Cell(f"{number(each.low, places, signed=True)} to {number(each.high, places, signed=True)}"),
            Cell(UNKNOWN if each.noise is None else f"± {number(each.noise, places)}"),
            Cell(probability(each.p_images)),
            Cell(UNKNOWN if each.p_runs is None else probability(each.p_runs)),
            Cell(UNKNOWN if each.p is None else probability(each.p)),
        ]
        for each in in_order(comparisons, ranked)
    ]
    better = "below 0 the first one leads" if lookup(score).lower_is_better else "above 0 the first one leads"
    explanation = (
        f"The first one's mean minus the second one's on the same images; {better}. Seed noise: a difference that "
        "other seeds alone make. A method is called better where neither images nor seeds explain its lead: p of both, "
        "by Holm's correction for all pairs, below 0.05."
    )
    heads = [Cell(text, left=text == "verdict") for text in head]
    return table(id_, f"{told(cohort)}{lookup(score).heading}, pair by pair", explanation, heads, rows)


def others_table(id_: str, cohort: Cohort, summary: pd.DataFrame) -> str:
    """What the main table leaves out, a row a score, a column a method; nothing where it has all of them."""
    by_label = {method.label: method for method in cohort.methods}
    methods = [by_label[label] for label in summary["method"]]
    rows = []
    for name in (each for each in _scores(summary) if each not in _main(summary)):
        places = _places(summary, name)
        rows.append([_heading(name), *(_mean(row, name, places) for row in summary.to_dict("records"))])
    for name in (each for each in cohort.names if each not in _scores(summary)):
        runs = [of(method, name).mean(axis=1) for method in methods]
        places = decimals([each.mean() for each in runs])
        rows.append([_heading(name), *(_with_deviation(each, places) for each in runs)])
    if not rows:
        return ""
    explanation = (
        "Means, intervals and deviations as above, counts of pixels and cells without intervals. By these no "
        "method is called better: the pairs were not tested on them."
    )
    head = [Cell("score"), *(Cell(method.label) for method in methods)]
    return table(id_, f"{told(cohort)}scores that the first table leaves out", explanation, head, rows)


def told(cohort: Cohort) -> str:
    """What stands before the name of whatever shows scores of generated images."""
    return "Phantom: " if cohort.phantom else ""


def _scores(summary: pd.DataFrame) -> list[str]:
    """The columns that come with an interval."""
    return [name for name in summary.columns if f"{name}_low" in summary.columns]


def _main(summary: pd.DataFrame) -> list[str]:
    names = _scores(summary)
    return names[:_FIRST] + [name for name in names[_FIRST:] if f"{name}_published" in summary.columns]


def _places(summary: pd.DataFrame, name: str) -> int:
    return decimals(summary[[f"{name}_low", f"{name}_high"]])


def _images(cohort: Cohort) -> str:
    text = counted(len(cohort.ids), "test image")
    return f"{text} of {counted(len(set(cohort.groups)), 'group')}" if _grouped(cohort) else text


def _grouped(cohort: Cohort) -> bool:
    return len(set(cohort.groups)) < len(cohort.ids)


def _heading(name: str) -> Cell:
    return Cell(lookup(name).heading, ("lower is better",) if lookup(name).lower_is_better else ())


def _names(summary: pd.DataFrame) -> list[Cell]:
    return [Cell(label) for label in summary["method"]]


def _seeds(summary: pd.DataFrame) -> list[Cell]:
    pairs = zip(summary["seeds"], summary["deterministic"], strict=True)
    return [Cell(str(count), ("not random",) if deterministic else ()) for count, deterministic in pairs]


def _mean(row: dict[Any, Any], name: str, places: int) -> Cell:
    below = [f"{number(row[f'{name}_low'], places)} to {number(row[f'{name}_high'], places)}"]
    deviation = row[f"{name}_seed_sd"]
    if not np.isnan(deviation):
        below.append(f"± {number(deviation, places)}")
    return Cell(number(row[name], places), below)


def _published(row: dict[Any, Any], name: str, places: int) -> Cell:
    value, difference = row[f"{name}_published"], row[f"{name}_difference"]
    return Cell(number(value, places), () if np.isnan(value) else (number(difference, places, signed=True),))


def _with_deviation(runs: Scores, places: int) -> Cell:
    deviation = (f"± {number(float(runs.std(ddof=1)), places)}",) if len(runs) > 1 else ()
    return Cell(number(float(runs.mean()), places), deviation)
