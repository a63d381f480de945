"""The comparison report as one HTML page: what it shows, in words and numbers; `report.html.j2` has the markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lamella.pages.render import Cell, Table, render
from lamella.plots.style import Picture
from lamella.reporting.cohorts import Cohort, differences
from lamella.reporting.cohorts.budget import Budget
from lamella.reporting.gallery import Gallery
from lamella.reporting.learning import Learning
from lamella.reporting.numbers import UNKNOWN
from lamella.reporting.overview import Overview
from lamella.reporting.parts import given, pairs, scores
from lamella.reporting.parts import words as rules
from lamella.reporting.parts.cells import told, words
from lamella.reporting.summary import sample
from lamella.reporting.verdict import Verdict, verdict_on
from lamella.statistics.comparison import Comparison

_BESIDE, _SCREEN = 3, 480  # sentences, and characters of them, under the headline: the rest folds


@dataclass(frozen=True)
class Section:
    """All that a report shows of one cohort.

    Attributes:
        cohort: the methods.
        score: the one that decides.
        summary: one row a method, best first.
        comparisons: every pair of methods by that score; none for one method.
        verdict: in sentences.
        margin: within which equality was tested, if it was.
        leader: only the best mean was compared with the others.
        notes: about the main table.
        pictures: in their order; the first one stands beside the verdict.
        gallery: test images with what each method made of them; None without any.
        learning: its learning curves; None where there are none.
        budgets: what each method was given, by its label; empty where that is not known.
        more: pictures for those who look further, folded.
    """

    cohort: Cohort
    score: str
    summary: pd.DataFrame
    comparisons: Sequence[Comparison]
    verdict: Verdict
    notes: Sequence[str]
    pictures: Sequence[Picture]
    gallery: Gallery | None
    margin: float | None = None
    leader: bool = False
    learning: Learning | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    more: Sequence[Picture] = ()

    def on(self, pair: Comparison) -> str:
        """The verdict on one of the pairs, in words."""
        return verdict_on(pair, self.cohort, self.comparisons, self.score, margin=self.margin, leader=self.leader)


def page(
    title: str,
    sections: Sequence[Section],
    made: str,
    overview: Overview | None = None,
    ranks: Picture | None = None,
) -> str:
    """The HTML of the whole report, of at least one section.

    Args:
        title: its heading.
        sections: of one cohort each.
        made: a line on what version made it, and when.
        overview: what stands above several sections.
        ranks: the methods' ranks by every score.
    """
    names = headings(sections)
    shown = [_shown(f"s{n}", *each) for n, each in enumerate(zip(names, sections, strict=True), 1)]
    if ranks and len(sections) == 1:
        shown[0]["more"] = [ranks, *shown[0]["more"]]
    return render(
        "report.html.j2",
        title=title,
        made=made,
        apart=_apart(sections, names),
        overview=overview and {"sentences": overview.sentences, "table": _overview_table(overview)},
        ranks=ranks if len(sections) > 1 else None,
        sections=shown,
    )


def headings(sections: Sequence[Section]) -> list[str]:
    """What each section is called: its data set, and what else tells it from others of the same name."""
    named = [f"{each.cohort.dataset} (phantom)" if each.cohort.phantom else each.cohort.dataset for each in sections]
    return [
        f"{name}, {named[: place + 1].count(name)} of {named.count(name)}" if named.count(name) > 1 else name
        for place, name in enumerate(named)
    ]


def _apart(sections: Sequence[Section], headings: Sequence[str]) -> dict[str, Any] | None:
    """In what sections differ, as they are not to be compared with each other; None for one."""
    if len(sections) == 1:
        return None
    entries = [{"data set": each.cohort.dataset, **each.cohort.protocol} for each in sections]
    differing = differences([each.cohort for each in sections])
    if not differing:
        return {"within": "They are scored on different test images.", "table": None}
    rows = [[Cell(label), *words(*(each.get(label, UNKNOWN) for each in entries))] for label in differing]
    head = [Cell("entry of the protocol"), *words(*headings)]
    explanation = "A row an entry of the protocol, a column a section."
    table = Table("apart-table", "What differs", explanation, head, rows)
    return {"within": f"They differ in: {', '.join(differing)}.", "table": table}


def _shown(id_: str, heading: str, section: Section) -> dict[str, Any]:
    """What the template shows of a section; it leaves out what is empty."""
    cohort, learning = section.cohort, section.learning
    first, *figures = [learning.picture, *section.pictures] if learning else [*section.pictures, None]
    led, others = pairs.pairs_tables(f"{id_}-pairs-table", section)
    return {
        "id": id_,
        "heading": heading,
        "phantom": cohort.phantom,
        "told": told(cohort),
        "verdict": _verdict(section.verdict),
        "first": first,
        "notes": section.notes,
        "learning": learning and {"sentences": learning.sentences, "table": _learning_table(id_, section, learning)},
        "scores": scores.main_table(f"{id_}-scores-table", section),
        "figures": [each for each in figures if each],
        "more": list(section.more),
        "pairs": led,
        "other_pairs": others,
        "images": section.gallery,
        "failures": scores.failures_table(f"{id_}-failures-table", section),
        "absent": scores.absent_table(f"{id_}-absent-table", section),
        "given": given.given_table(f"{id_}-given-table", section),
        "others": scores.others_tables(f"{id_}-others-table", section),
        "pooled": scores.pooled_tables(f"{id_}-pooled-table", section),
        "protocol": rules.protocol(section),
        "data": cohort.card,
        "runs": given.runs_table(f"{id_}-runs-table", section),
        "measures": rules.definitions(cohort.names),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """The headline, the sentences that a screen has room for beside the figure, and the rest, which is folded."""
    beside, rest = list[str](), {"why": list[str](), "sure": list[str]()}
    for kind, sentences in (("why", verdict.why[:1]), ("sure", verdict.warnings), ("why", verdict.why[1:])):
        for each in sentences:
            room = len(beside) < _BESIDE and len("".join([*beside, each])) <= _SCREEN
            (beside if room else rest[kind]).append(each)
    return {"headline": verdict.headline, "beside": beside, **rest}


def _learning_table(id_: str, section: Section, learning: Learning) -> Table:
    raise NotImplementedError


def _overview_table(overview: Overview) -> Table:
    raise NotImplementedError
