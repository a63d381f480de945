"""The comparison report as one HTML page: what it shows, in words and numbers; `report.html.j2` has the markup."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamella.metrics.catalogue import lookup
from lamella.pages.render import Cell, Table, render
from lamella.plots.style import Picture
from lamella.reporting.cohorts import differences
from lamella.reporting.learning import Learning
from lamella.reporting.numbers import UNKNOWN, percent, score_text, span
from lamella.reporting.overview import Overview, apart
from lamella.reporting.parts import given, pairs, scores
from lamella.reporting.parts import words as rules
from lamella.reporting.parts.cells import told, words
from lamella.reporting.parts.section import Section
from lamella.reporting.summary import counted
from lamella.reporting.verdict import Verdict

_BESIDE, _SCREEN = 3, 480  # sentences, and characters of them, under the headline: the rest folds


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
        overview=overview and {"sentences": overview.sentences, "table": overview.as_table("overview-table")},
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
    within = " ".join(apart(sections, headings))
    entries = [{"data set": each.cohort.dataset, **each.cohort.protocol} for each in sections]
    differing = differences([each.cohort for each in sections])
    if not differing:
        return {"within": within, "table": None}
    rows = [[Cell(label), *words(*(each.get(label, UNKNOWN) for each in entries))] for label in differing]
    head = [Cell("entry of the protocol"), *words(*headings)]
    explanation = "A row an entry of the protocol, a column a section."
    table = Table("apart-table", "What differs", explanation, head, rows)
    return {"within": within, "table": table}


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
        "verdict": _verdict(section.verdict, learning.sentences[0] if learning else "", len(cohort.methods)),
        "first": first,
        "notes": section.notes,
        "learning": learning
        and {"sentences": learning.sentences[1:], "table": _learning_table(id_, section, learning)},
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


def _verdict(verdict: Verdict, labels: str, methods: int) -> dict[str, Any]:
    """The headline, the sentences that a screen has room for beside the figure, and the rest, which is folded.

    Args:
        verdict: in sentences.
        labels: what more labels would bring; empty if that was not asked. Of one method that is the answer.
        methods: how many are compared.
    """
    headline, *beside = [labels, verdict.headline] if labels and methods == 1 else [verdict.headline, labels]
    beside, rest = [each for each in beside if each], {"why": list[str](), "sure": list[str]()}
    for kind, sentences in (("why", verdict.why[:1]), ("sure", verdict.warnings), ("why", verdict.why[1:])):
        for each in sentences:
            room = len(beside) < _BESIDE and len("".join([*beside, each])) <= _SCREEN
            (beside if room else rest[kind]).append(each)
    return {"headline": headline, "beside": beside, **rest}


def _learning_table(id_: str, section: Section, learning: Learning) -> Table:
    """A row a method, a column a share of the training images."""
    score, table = section.score, learning.table
    shares = sorted(set(table["share"]))
    images = {share: sorted(set(table["labelled"][table["share"] == share])) for share in shares}
    head = [Cell("method"), *(Cell(f"{' or '.join(f'{n:,.0f}' for n in images[share])} images", (percent(share),))
                              for share in shares)]  # fmt: skip
    rows = []
    for label, own in table.groupby("method", sort=False):
        counts = sorted(set(own["seeds"]))
        seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else counted(counts[0], "seed")
        found = {row["share"]: row for row in own.to_dict("records")}
        rows.append([Cell(str(label), (seeds,)), *(_at(found.get(share), score) for share in shares)])
    explanation = (
        f"Mean {lookup(score).heading} by the number of labelled images that trained. Below it stand its 95\u00a0% "
        "interval over test images and, after ±, the standard deviation over seeds."
    )
    return Table(f"{id_}-learning-table", f"{told(section.cohort)}by labelled images", explanation, head, rows)


def _at(row: Mapping[Any, Any] | None, score: str) -> Cell:
    """A method's mean at one share; a dash where it was not trained on it."""
    if row is None:
        return Cell(UNKNOWN)
    interval = span(row["low"], row["high"], score).replace(" to ", " to\u00a0")
    spread = [] if np.isnan(row["seed_sd"]) else [f"±\u00a0{score_text(row['seed_sd'], score)}"]
    return Cell(score_text(row[score], score), [interval, *spread])
