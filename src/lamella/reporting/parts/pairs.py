"""The tables of pairs: those of the leading method, which a reader looks at, and all others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamella.metrics.catalogue import lookup
from lamella.pages.render import Cell, Table
from lamella.reporting.numbers import UNKNOWN, known, probability, score_text, span
from lamella.reporting.parts.cells import told
from lamella.reporting.summary import counted, drawn
from lamella.reporting.verdict import amount
from lamella.statistics.comparison import Comparison, in_order

if TYPE_CHECKING:
    from lamella.reporting.parts.section import Section

_FEW = 3  # pairs that are shown, whoever leads


def pairs_tables(id_: str, section: "Section") -> tuple[Table | None, Table | None]:
    """The pairs of the best mean, or all where they are few, and the others; None for those that there are not."""
    shown = in_order(section.comparisons, section.summary["method"].tolist())
    if not shown:
        return None, None
    first = section.summary["method"][0]
    led = shown if len(shown) <= _FEW else [each for each in shown if each.first == first]
    rest = [each for each in shown if each not in led]
    score, head = lookup(section.score).heading, _head(section)
    title = f"{told(section.cohort)}{score}, {f'{first} and each other method' if rest else 'pair by pair'}"
    main = Table(id_, title, _explanation(section, shown), head, [_row(section, each) for each in led])
    if not rest:
        return main, None
    title = f"{told(section.cohort)}{score}, the other {counted(len(rest), 'pair')}"
    return main, Table(f"{id_}-others", title, "As above.", head, [_row(section, each) for each in rest])


def _head(section: "Section") -> list[Cell]:
    noun, chance = drawn(section.cohort), _chance(section)
    return [
        Cell("pair"),
        Cell("verdict", left=True),
        Cell("difference", ("its interval",)),
        *([Cell("seed noise")] if _noisy(section) else []),
        Cell("p", (f"{noun}s and {chance} together",)),
        Cell("p, alone", (f"{noun}s, {chance}",)),
        *([Cell("p, equal")] if section.margin is not None else []),
    ]


def _row(section: "Section", each: Comparison) -> list[Cell]:
    score = section.score
    alone = (each.p_images, each.p_runs if each.noise and each.p_folds is None else each.p_folds)
    interval = span(known(each.low), known(each.high), score, signed=True).replace(" to ", " to\u00a0")
    return [
        Cell(each.first, (f"− {each.second}",)),
        Cell(section.on(each), left=True),
        Cell(score_text(each.difference, score, signed=True), (interval,)),
        *(
            [Cell(UNKNOWN if each.noise is None else f"±\u00a0{score_text(each.noise, score)}")]
            if _noisy(section)
            else []
        ),
        Cell(_p(each.p)),
        Cell(_p(alone[0]), (_p(alone[1]),)),
        *([Cell(_p(each.p_equal))] if section.margin is not None else []),
    ]


def _noisy(section: "Section") -> bool:
    """Whether seeds are known to make anything of any pair."""
    return any(each.noise for each in section.comparisons)


def _chance(section: "Section") -> str:
    """What else a lead is held against, beside images."""
    return "seeds" if section.cohort.folds is None else "folds"


def _p(value: float | None) -> str:
    return UNKNOWN if value is None else probability(value)


def _explanation(section: "Section", shown: Sequence[Comparison]) -> str:
    score, noun, chance = lookup(section.score), drawn(section.cohort), _chance(section)
    corrected = "the largest of the leader's pairs" if section.leader else "by Holm's correction for all pairs"
    several = " Several pairs make it wider than 95\u00a0%." if len(shown) > 1 and not section.leader else ""
    said = (
        "The first one's mean minus the second one's on the same images; "
        f"{'below' if score.lower_is_better else 'above'} 0 the first one leads. The interval is of the test of p: it "
        f"leaves out 0 exactly where a method is better.{several} A method is called better where {noun}s and {chance} "
        f"together do not explain its lead: p, {corrected}, below 0.05. Alone, of {noun}s or of {chance}, p is not "
        "corrected."
    )
    if _noisy(section):
        said += " Seed noise: a difference that other seeds alone make."
    if section.margin is not None:
        said += (
            f" Equal within {amount(section.margin, section.score)}: two one-sided tests, by Holm's correction "
            "below 0.05."
        )
    if any(each.p is None or (_noisy(section) and not each.noise) for each in shown):
        said += f" {UNKNOWN}: not known, for the reason that the verdict gives, or nothing is drawn at random."
    return said
