"""Finished comparisons: a section of the report for each cohort, and the files of the whole."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from lamella.plots.style import Picture
from lamella.reporting import plots
from lamella.reporting.cohorts import Cohort
from lamella.reporting.gallery import cases
from lamella.reporting.page import Section, page
from lamella.reporting.summary import pairs, summary, verdict
from lamella.reporting.tables import latex, markdown, pairs_frame, pairs_markdown
from lamella.statistics import Comparison
from lamella.version import __version__


def section(cohort: Cohort, score: str, literature: Mapping[str, Any], *, notes: Sequence[str], k: int) -> Section:
    """All that a report shows of one cohort: its methods compared, in tables, words and pictures.

    Args:
        cohort: the methods.
        score: what they are compared by.
        literature: what others found: {"dataset": name, "scores": {model: {score: value}}, "notes": [text]}, or empty.
        notes: what a reader must know beside.
        k: cases of each kind in the gallery.

    Raises:
        ConfigError: there is no such score.
        StorageError: a run's files cannot be read.
    """
    applies = literature.get("dataset") == cohort.dataset
    table = summary(cohort, score, literature["scores"] if applies else {})
    compared = pairs(cohort, score)
    return Section(
        cohort=cohort,
        score=score,
        summary=table,
        comparisons=compared,
        verdict=verdict(cohort, table, compared, score),
        notes=[*notes, *(literature["notes"] if applies else [])],
        pictures=_pictures(cohort, score, table["method"].tolist(), compared),
        gallery=cases(cohort, score, k),
    )


def _pictures(cohort: Cohort, score: str, best_first: Sequence[str], compared: Sequence[Comparison]) -> list[Picture]:
    found = [plots.distributions(cohort, score)]
    if len(best_first) > 1:
        found += [
            plots.ranking(cohort, compared, score),
            plots.differences(compared, score),
            plots.paired_images(cohort, score, best_first[0], best_first[1]),
        ]
    may_lack = [
        plots.against(cohort, score, "model/parameters"),
        plots.against(cohort, score, "time/train_s"),
        plots.curves(cohort),
        plots.bland_altman(cohort, "count"),
        plots.bland_altman(cohort, "watershed/count"),
        plots.reliability(cohort),
    ]
    return found + [picture for picture in may_lack if picture]


def heading(cohort: Cohort) -> str:
    """The heading of a table of scores: data set, number of images, what the intervals are."""
    phantom = "PHANTOM (generated images) · " if cohort.phantom else ""
    return f"{phantom}{cohort.dataset}: {len(cohort.ids)} test images, full resolution; mean (95 % over images)"


def write(folder: Path, title: str, sections: Sequence[Section]) -> Path:
    """Writes `report.html`, which is returned, and for each section a folder of its tables: CSV, Markdown, LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in sections:
        place = _free(folder, each.cohort.dataset)
        place.mkdir()
        above = heading(each.cohort)
        each.summary.to_csv(place / "table.csv", index=False)
        (place / "table.md").write_text(
            "\n".join([*each.verdict, "", markdown(each.summary, above, each.notes)]), encoding="utf-8"
        )
        (place / "table.tex").write_text(latex(each.summary, above, each.notes), encoding="utf-8")
        pairs_frame(each.comparisons).to_csv(place / "pairs.csv", index=False)
        (place / "pairs.md").write_text(pairs_markdown(each.comparisons, each.score), encoding="utf-8")
    made = f"Lamella {__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    (folder / "report.html").write_text(page(title, sections, made), encoding="utf-8")
    return folder / "report.html"


def _free(folder: Path, name: str) -> Path:
    """A folder of that name that is not there yet: sections of one data set may differ by their protocol alone."""
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(folder / each for each in names if not (folder / each).exists())
