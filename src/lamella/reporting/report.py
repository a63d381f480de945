"""Finished comparisons: a section of the report for each cohort, and the files of the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from lamella.console import console
from lamella.plaintext import printable, write_csv
from lamella.plots.style import Picture
from lamella.reporting import plots
from lamella.reporting.cohorts import Cohort
from lamella.reporting.cohorts.budget import tried
from lamella.reporting.failures import FAILED
from lamella.reporting.gallery import gallery
from lamella.reporting.learning import learning
from lamella.reporting.numbers import UNKNOWN
from lamella.reporting.overview import Overview, apart, elsewhere, overview
from lamella.reporting.page import headings, page
from lamella.reporting.parts.section import Section
from lamella.reporting.plots.ranks import ranks
from lamella.reporting.summary import counted, drawn, pairs, sample, scores_in, summary
from lamella.reporting.tables import (
    in_markdown,
    latex,
    markdown,
    pairs_frame,
    pairs_markdown,
    short,
    show,
    show_beside,
    show_pairs,
)
from lamella.reporting.verdict import verdict
from lamella.statistics import Comparison
from lamella.tracking import Listed
from lamella.version import __version__

_MOST_PAIRS = 10  # on the terminal; the files have all


@dataclass(frozen=True, repr=False)
class Report:
    """A finished comparison: what it found, and where it was written.

    Attributes:
        title: the experiments and how many methods there are.
        sections: one a test set and protocol, the largest first; each has `verdict`, `summary`, `pairs`, `learning`.
        headings: of the sections.
        overview: of several data sets, where each method holds and where not; else None.
        page: `report.html`, beside which the tables lie.
    """

    title: str
    sections: Sequence[Section]
    headings: Sequence[str]
    overview: Overview | None
    page: Path

    @property
    def verdict(self) -> list[str]:
        """The answer in sentences: of one section its own, of several data sets where methods hold and where not."""
        if len(self.sections) == 1:
            return list(self.sections[0].verdict.sentences)
        if self.overview:
            return list(self.overview.sentences)
        named = zip(self.headings, self.sections, strict=True)
        own = [f"{name}: {' '.join(each.verdict.sentences)}" for name, each in named]
        return [*apart(self.sections, self.headings), *own]

    @property
    def summary(self) -> pd.DataFrame:
        """A table of means and intervals with a row a method, see `lamella.reporting.summary`.

        Of several sections one below the other, the column `section` first.
        """
        return self._joined([each.summary for each in self.sections])

    @property
    def pairs(self) -> pd.DataFrame:
        """A table of all pairs of methods: the fields of `lamella.statistics.Comparison`, and the `verdict` in words.

        Of several sections one below the other, the column `section` first.
        """
        return self._joined([each.pairs for each in self.sections])

    def show(self, out: Console | None = None) -> None:
        """Prints tables and verdict as the command does."""
        out = out or console()
        for each in self.sections:
            show(each.summary, heading(each), each.notes, out)
            if 0 < len(each.comparisons) <= _MOST_PAIRS:
                show_pairs(each.comparisons, [each.on(pair) for pair in each.comparisons], each.score, out)
            show_beside(each.summary, out)
            for sentence in [*each.verdict.sentences, *(each.learning.sentences if each.learning else ())]:
                out.print(sentence)
        if len(self.sections) > 1:
            if self.overview:
                self.overview.show(out)
            for sentence in apart(self.sections, self.headings):
                out.print(sentence)

    def __repr__(self) -> str:
        return f"Report({self.title}; {self.page})"

    def _repr_html_(self) -> str:
        """The verdict and a short table, which notebooks show."""
        score = self.sections[0].score
        columns = ["section", "method", "seeds", score, f"{score}_low", f"{score}_high"]
        table = self.summary[[name for name in columns if name in self.summary]]
        shown = table.map(lambda cell: printable(cell) if isinstance(cell, str) else cell)
        markup = shown.to_html(index=False, border=0, float_format="{:.4f}".format)
        texts = "".join(f"<p>{escape(printable(sentence))}</p>" for sentence in self.verdict)
        return f"{texts}{markup}<p>{escape(printable(str(self.page)))}</p>"

    def _joined(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        if len(tables) == 1:
            return tables[0]
        named = [table.assign(section=name) for name, table in zip(self.headings, tables, strict=True)]
        joined = pd.concat(named, ignore_index=True)
        return joined[["section", *(name for name in joined if name != "section")]]


def section(
    cohort: Cohort,
    score: str,
    literature: Mapping[str, Any],
    *,
    notes: Sequence[str],
    k: int,
    margin: float | None = None,
    leader: bool = False,
    failure: float = FAILED,
    listed: Sequence[Listed] = (),
) -> Section:
    """All that a report shows of one cohort: its methods compared, in tables, words and pictures.

    Args:
        cohort: the methods.
        score: what they are compared by.
        literature: what others found: {"dataset": name, "scores": {model: {score: value}}, "notes": [text]}, or empty.
        notes: what a reader must know beside.
        k: cases of each kind in the gallery.
        margin: a difference up to it counts as equality; None: equality is not tested.
        leader: only whether the best mean is better than all others is tested.
        failure: the Dice below which an image failed.
        listed: all runs of the experiment, whatever became of them, which tell what each method was given.

    Raises:
        ConfigError: there is no such score.
        StorageError: a run's files cannot be read.
    """
    given = tried(cohort, listed)
    applies = literature.get("dataset") == cohort.dataset
    table = summary(cohort, score, literature["scores"] if applies else {}, failure=failure)
    compared = pairs(cohort, score, margin=margin, leader=leader)
    shown, more = _pictures(cohort, score, table["method"].tolist(), compared)
    return Section(
        cohort=cohort,
        score=score,
        summary=table,
        comparisons=compared,
        verdict=verdict(cohort, table, compared, score, margin=margin, leader=leader),
        notes=[
            *elsewhere(cohort),
            *notes,
            *given.remarks,
            *_dashes(cohort, table),
            *(literature["notes"] if applies else []),
        ],
        pictures=shown,
        gallery=gallery(cohort, score, k),
        margin=margin,
        failure=failure,
        leader=leader,
        learning=learning(cohort, score),
        budgets=given.budgets,
        more=more,
    )


def _dashes(cohort: Cohort, table: pd.DataFrame) -> list[str]:
    """Why scores or intervals of the table are not known, where some are not."""
    noun, scores = drawn(cohort), scores_in(table)
    said = []
    if any(table[name].isna().any() for name in scores):
        said.append(f"No score ({UNKNOWN}): no test image has it.")
    if len(set(cohort.groups)) == 1:
        these = "this image" if len(cohort.ids) == 1 else f"these {len(cohort.ids)} images"
        said.append(f"No interval ({UNKNOWN}): one {noun} says nothing of others; the figures describe {these} only.")
    elif any((table[name].notna() & table[f"{name}_low"].isna()).any() for name in scores):
        said.append(f"No interval ({UNKNOWN}): one {noun} alone has the score, or all have the same.")
    return said


def _pictures(
    cohort: Cohort, score: str, best_first: Sequence[str], compared: Sequence[Comparison]
) -> tuple[list[Picture], list[Picture]]:
    """The pictures that have something to say: those that every reader looks at, and those that are folded."""
    found = [plots.ranking(cohort, compared, score)] if compared else []
    if sample(cohort, score).images > 1:
        found.append(plots.distributions(cohort, score))
    if compared:
        found.append(plots.paired_images(cohort, score, best_first[0], best_first[1]))
    may_lack = [
        plots.differences(compared, score) if len(compared) > 1 else None,
        plots.against(cohort, score, "model/parameters"),
        plots.against(cohort, score, "time/train_s"),
        plots.bland_altman(cohort, "count"),
        plots.bland_altman(cohort, "watershed/count"),
        plots.reliability(cohort),
        plots.curves(cohort),
    ]
    return found, [picture for picture in may_lack if picture]


def heading(section: Section) -> str:
    """The heading of a table of scores: data set, number of images, what the intervals are."""
    cohort, how = section.cohort, section.summary[f"{section.score}_interval"][0]
    noun, images = drawn(cohort), counted(len(cohort.ids), "test image")
    of = "" if noun == "image" else f" of {counted(len(set(cohort.groups)), noun)}"
    intervals = f" (95 % over {noun}s, {how})" if how else ""
    phantom = "PHANTOM (generated images) · " if cohort.phantom else ""
    if cohort.folds is not None:
        each = "each judged in one of" if cohort.folds.kind == "parted" else "all judged in each of"
        of += f", {each} {counted(len(cohort.folds.names), 'fold')}"
    return f"{phantom}{cohort.dataset}: {images}{of}, full resolution; mean{intervals}"


def described(sections: Sequence[Section], names: Sequence[str], above: Overview | None) -> str:
    """A report in short, as Markdown for MLflow's page of its run: of each section the verdict, and a row a method."""
    parts = [" ".join(map(in_markdown, [*(above.sentences if above else []), *apart(sections, names)]))]
    for each in sections:  # the answer first: MLflow folds what follows
        said, further = each.verdict, [*each.verdict.why, *each.verdict.warnings]
        words = [in_markdown(said.phantom), f"**{in_markdown(said.headline)}**", *map(in_markdown, further)]
        words += map(in_markdown, each.learning.sentences if each.learning else ())
        parts += [" ".join(filter(None, words)), in_markdown(heading(each)), short(each.summary, each.score)]
    return "\n\n".join(filter(None, parts))


def write(folder: Path, title: str, sections: Sequence[Section]) -> Report:
    """The comparison of these sections, written: `report.html`, and of each a folder of tables: CSV, Markdown, LaTeX.

    Of several data sets the overview stands beside, as `overview.csv` and `overview.md`.
    """
    names = headings(sections)
    above = overview(sections, names)
    folder.mkdir(parents=True, exist_ok=True)
    for each in sections:
        place = _free(folder, each.cohort.dataset)
        place.mkdir()
        title_, verdicts = heading(each), [each.on(pair) for pair in each.comparisons]
        write_csv(each.summary, place / "table.csv")
        said = list(each.verdict.sentences)
        if each.learning is not None:
            write_csv(each.learning.table, place / "learning.csv")
            said += each.learning.sentences
        (place / "table.md").write_text(
            "\n".join([*said, "", markdown(each.summary, title_, each.notes)]), encoding="utf-8"
        )
        (place / "table.tex").write_text(latex(each.summary, title_, each.notes), encoding="utf-8")
        write_csv(pairs_frame(each.comparisons), place / "pairs.csv")
        (place / "pairs.md").write_text(pairs_markdown(each.comparisons, verdicts, each.score), encoding="utf-8")
    if above:
        write_csv(above.table, folder / "overview.csv")
        (folder / "overview.md").write_text(above.markdown(), encoding="utf-8")
    made = f"Lamella {__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    text = page(title, sections, made, above, ranks(sections, names))
    (folder / "report.html").write_text(text, encoding="utf-8")
    return Report(title, sections, names, above, folder / "report.html")


def _free(folder: Path, name: str) -> Path:
    """A folder of that name that is not there yet: sections of one data set may differ by their protocol alone."""
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(folder / each for each in names if not (folder / each).exists())
