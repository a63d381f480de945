"""The tables of scores: those that lead, all others, those of all images taken as one, and where methods failed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup, ordered
from lamella.pages.render import Cell, Table
from lamella.reporting.failures import failure_bounds, failure_head, failure_rows, failure_words
from lamella.reporting.numbers import UNKNOWN, score_text, span
from lamella.reporting.parts.cells import heading, mean, of_seeds, told, words
from lamella.reporting.summary import MAIN, counted, drawn, per_seed, sample, scores_in
from lamella.reporting.tables import ABSENT, absent_rows

if TYPE_CHECKING:
    from lamella.reporting.parts.section import Section

_ACROSS = 6
"""Columns of methods, or of scores, beside a table's first that a page has room for."""


def main_table(id_: str, section: "Section") -> Table:
    """The first scores of the summary with their intervals, beside them what was published and how many failed."""
    cohort, summary = section.cohort, section.summary
    rows = summary.to_dict("records")
    head, columns = [Cell("method")], [_names(summary)]
    for name in _main(summary):
        head.append(heading(name))
        columns.append([mean(row, name) for row in rows])
        if f"{name}_published" in summary.columns:
            head.append(Cell(lookup(name).heading, ("published, ours minus it",)))
            columns.append([_published(row, name) for row in rows])
    if "failed" in summary.columns:
        head.append(Cell("failed", (f"Dice below {summary['failed_below'][0]:g}",)))
        columns.append([_failed(row) for row in rows])
    stands = sample(cohort, section.score)
    images, noun, groups = len(cohort.ids), drawn(cohort), len(set(cohort.groups))
    how = summary[f"{section.score}_interval"][0]
    explanation = f"Best {lookup(section.score).heading} first. Below a mean over images its "
    explanation += f"95\u00a0% interval over {noun}s{f' ({how})' if how else ''}"
    several = (summary["seeds"] > 1).any()
    explanation += " and, after ±, the standard deviation over seeds." if several else "."
    if stands.images < images:
        explanation += " In how many images a score is defined stands below it where it is not in all."
    title = f"{told(cohort)}{counted(len(summary), 'method')} on {counted(images, 'test image')}"
    title += f" of {counted(groups, noun)}" if stands.grouped else ""
    if folds := cohort.folds:
        each = f", each judged in one of {len(folds.names)} folds" if folds.kind == "parted" else ""
        title += each or f" in each of {len(folds.names)} folds"
    return Table(id_, title, explanation, head, list(zip(*columns, strict=True)))


def others_tables(id_: str, section: "Section") -> list[Table]:
    """What the main table leaves out; none where it has all of them."""
    cohort, summary = section.cohort, section.summary
    by_label = {method.label: method for method in cohort.methods}
    methods = [by_label[label] for label in summary["method"]]
    scores, main = scores_in(summary), _main(summary)
    means = {name: [mean(row, name) for row in summary.to_dict("records")] for name in scores if name not in main}
    means |= {
        name: [of_seeds(per_seed(each, name), name) for each in methods] for name in cohort.names if name not in scores
    }
    explanation = (
        "Means, intervals and deviations as above, counts of pixels and cells without intervals. By these no "
        "method is called better: the pairs were not tested on them."
    )
    return _by_score(id_, f"{told(cohort)}scores that the first table leaves out", explanation, summary, means)


def pooled_tables(id_: str, section: "Section") -> list[Table]:
    """Scores of all images taken as one; none where no run logged one."""
    by_label = {method.label: method for method in section.cohort.methods}
    runs = [by_label[label].median for label in section.summary["method"]]
    names = dict.fromkeys(
        name
        for run in runs
        for name in run.metrics
        if "/pooled/" in name and name.startswith("test/") and not name.endswith(("/low", "/high", "/images"))
    )
    explanation = (
        "All test images taken as one, so that those with much foreground decide. Below a score stands its 95\u00a0% "
        f"interval over {drawn(section.cohort)}s, where it is known. Of each method the run with the median Dice."
    )
    found = {name: [_pooled(run.metrics, name) for run in runs] for name in ordered(names)}
    return _by_score(id_, f"{told(section.cohort)}pooled scores", explanation, section.summary, found)


def failures_table(id_: str, section: "Section") -> Table | None:
    """How often each method failed, how badly, and on which images; None where no Dice was measured."""
    rows = [[Cell(method), Cell(failed), Cell(worst), *words(images)]
            for method, failed, worst, images in failure_rows(section.summary)]  # fmt: skip
    if not rows:
        return None
    explanation = failure_words(section.summary, grouped=sample(section.cohort, section.score).grouped)
    *numbers, worst_images = failure_head(section.summary)
    head = [*map(Cell, numbers), *words(worst_images)]
    return Table(id_, f"{told(section.cohort)}failed images", explanation, head, rows)


def absent_table(id_: str, section: "Section") -> Table | None:
    """What each method found where there is nothing to find; None where there is no such image."""
    rows = [list(map(Cell, row)) for row in absent_rows(section.summary)]
    explanation = (
        "Their truth has nothing of what is looked for (of the class, where one is named): they have no Dice of it, "
        "and are in no mean of that. Means over seeds; false positives are pixels taken for it, mean over these images."
    )
    title = f"{told(section.cohort)}images without foreground"
    return Table(id_, title, explanation, list(map(Cell, ABSENT)), rows) if rows else None


def _by_score(
    id_: str, title: str, explanation: str, summary: pd.DataFrame, cells: Mapping[str, Sequence[Cell]]
) -> list[Table]:
    """Scores of few methods as one table, a row a score; of many as tables of some scores each, a row a method."""
    names = list(cells)
    if not names:
        return []
    if len(summary) <= _ACROSS:
        head = [Cell("score"), *map(Cell, summary["method"])]
        return [Table(id_, title, explanation, head, [[heading(name), *cells[name]] for name in names])]
    found = []
    for place in range(0, len(names), _ACROSS):
        some = names[place : place + _ACROSS]
        head = [Cell("method"), *map(heading, some)]
        rows = list(zip(map(Cell, summary["method"]), *(cells[name] for name in some), strict=True))
        of = f", part {place // _ACROSS + 1} of {-(-len(names) // _ACROSS)}" if len(names) > _ACROSS else ""
        found.append(Table(f"{id_}-{place // _ACROSS + 1}", title + of, "" if place else explanation, head, rows))
    return found


def _names(summary: pd.DataFrame) -> list[Cell]:
    """The methods, below each how many seeds it had, in how many folds."""
    folds = [f"{counted(count, 'fold')}, " for count in summary.get("folds", [])] or [""] * len(summary)
    seeds = zip(summary["method"], summary["seeds"], summary["deterministic"], folds, strict=True)
    return [
        Cell(label, (f"{of}{'not random' if fixed else counted(count, 'seed')}",)) for label, count, fixed, of in seeds
    ]


def _main(summary: pd.DataFrame) -> list[str]:
    names = scores_in(summary)
    return names[:MAIN] + [name for name in names[MAIN:] if f"{name}_published" in summary.columns]


def _published(row: dict[Any, Any], name: str) -> Cell:
    value, difference = row[f"{name}_published"], row[f"{name}_difference"]
    return Cell(score_text(value, name), () if np.isnan(value) else (score_text(difference, name, signed=True),))


def _failed(row: dict[Any, Any]) -> Cell:
    if not row["dice_images"]:
        return Cell(UNKNOWN)
    bounds = failure_bounds(row)
    return Cell(f"{row['failed']} of {row['dice_images']}", (bounds,) if bounds else ())


def _pooled(metrics: Mapping[str, float], name: str) -> Cell:
    value, low, high = (metrics.get(f"{name}{end}", np.nan) for end in ("", "/low", "/high"))
    interval = span(low, high, name).replace(" to ", " to\u00a0")
    return Cell(score_text(value, name), () if np.isnan(low) else (interval,))
