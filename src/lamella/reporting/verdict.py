"""The verdict on a cohort in sentences: who is better, why nobody is, what could have been seen, what is not known."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup
from lamella.reporting.cohorts import Cohort
from lamella.reporting.failures import failure_bounds
from lamella.reporting.numbers import probability, ranged, score_text
from lamella.reporting.summary import Sample, counted, listed, sample
from lamella.statistics import TWO_SEEDS_ERROR, UNLIKE_SEEDS_ERROR, Comparison, best, in_order

_FEW = 20  # images, or groups of them
_NOT_ALL = "not all pairs can be tested"
_SEEDS = "three to five seeds, such as seed=1,2,3"


def verdict(
    cohort: Cohort,
    table: pd.DataFrame,
    comparisons: Sequence[Comparison],
    score: str,
    *,
    margin: float | None = None,
    leader: bool = False,
) -> list[str]:
    """The verdict in sentences: a winner is named only where the lead is beyond chance of images and of seeds.

    Args:
        cohort: the methods.
        table: its `summary` by `score`.
        comparisons: its `pairs` by `score`.
        score: what they were compared by.
        margin: within which equality was tested, if it was.
        leader: only the leader was compared with the others.
    """
    unit, first, drawn = lookup(score).unit, str(table["method"][0]), sample(cohort, score)
    heading = lookup(score).heading.removesuffix(f", {unit}")
    said = []
    if cohort.phantom:
        said.append("These images are phantoms, made by a program: nothing here says anything about real ones.")
    if not drawn.images:
        return [*said, f"No test image has this score ({heading}): by it nothing is compared."]
    mean, low, high = (float(table[f"{score}{end}"][0]) for end in ("", "_low", "_high"))
    figures = f"{score_text(mean, score) if np.isnan(low) else ranged(mean, low, high, score)} {unit}".rstrip()
    beside = [each for each in in_order(comparisons, table["method"].tolist()) if each.first == first]
    if not beside:
        said.append(f"{first} has a mean {heading} of {figures}; there is nothing to compare it with.")
    elif best(comparisons) == first:
        said.append(_won(beside, f"{heading} {figures}", drawn, leader=leader))
    else:
        said += _open(beside, f"{heading}, {figures}", drawn, leader=leader)
    if beside and margin is not None:
        said += _equal(beside, amount(margin, score))
    if beside and beside[0].least is not None:
        said.append(_power(cohort, comparisons, beside[0], score, drawn, leader=leader))
    said += [*_seeds(cohort, comparisons), *_few(drawn, compared=bool(beside))]
    if "failed" in table and table["dice_images"][0]:
        row = table.iloc[0]
        said.append(
            f"Rare failures are in no interval of a mean: {first} has a Dice below {row['failed_below']:g} on "
            f"{row['failed']} of {counted(row['dice_images'], 'test image')}"
            + (f", and of all such images {failure_bounds(row)} may have." if failure_bounds(row) else ".")
        )
    return said


def verdict_on(pair: Comparison, drawn: Sample, score: str, margin: float | None = None) -> str:
    """The verdict on a pair of methods with its reason: who is better, equal, not told apart, or why none can tell.

    Args:
        pair: two methods.
        drawn: what their scores stand on.
        score: what they were compared by.
        margin: within which equality was tested, if it was.
    """
    equal = (
        f"equal within {amount(margin, score)} (p {probability(pair.p_equal or 0.0)})" if margin and pair.equal else ""
    )
    if pair.better is not None:
        return f"{pair.better} is better{f', yet {equal}' if equal else ''}"
    if equal:
        return equal
    if pair.p is None:
        why = _unknown(pair, drawn)
        return f"{why}: cannot tell"
    alone = _alone(pair, drawn)
    return f"not told apart: p {probability(pair.p)}{f' ({alone})' if alone else ''}"


def amount(margin: float, score: str) -> str:
    """A margin in the unit of a score: "0.01", "2 px"."""
    return f"{margin:g} {lookup(score).unit}".strip()


def _unknown(pair: Comparison, drawn: Sample) -> str:
    """Why a pair has no p."""
    if pair.noise is None:
        return "one seed"
    if drawn.groups < 2:
        return f"one {drawn.noun}"
    return "no spread" if pair.p_images is None else _NOT_ALL


def _alone(pair: Comparison, drawn: Sample) -> str:
    """The p of images and of seeds, each alone; where nothing is drawn at random there is one of images only."""
    parts = [] if pair.p_images is None else [f"{drawn.noun}s alone {probability(pair.p_images)}"]
    if pair.noise and pair.p_runs is not None:
        parts.append(f"seeds alone {probability(pair.p_runs)}")
    return ", ".join(parts)


def _won(beside: Sequence[Comparison], figures: str, drawn: Sample, *, leader: bool) -> str:
    first = beside[0].first
    others = beside[0].second if len(beside) == 1 else "every other method"
    chance = "the choice of {0}s does not explain"
    if any(each.noise for each in beside):
        chance = "neither the choice of {0}s nor the seeds explain"
    tested = f"p {probability(beside[0].p or 0.0)}"
    if len(beside) > 1:
        tested = f"{tested} for all at once" if leader else "p < 0.05 for each pair, Holm's correction"
    return f"{first} is better than {others}: mean {figures}, a lead that {chance.format(drawn.noun)} ({tested})."


def _open(beside: Sequence[Comparison], figures: str, drawn: Sample, *, leader: bool) -> list[str]:
    """Sentences where no winner is named: from whom the leader is not told apart, and why."""
    first, alike = beside[0].first, [each.second for each in beside if each.difference == 0]
    said = [f"{listed([first, *alike])} {'have' if alike else 'has'} the best mean {figures}."]
    if leader and len(beside) > 1:
        said.append("Only whether it is better than all others was asked, not how those compare with each other.")
    beaten = [each.second for each in beside if each.better]
    apart = [each for each in beside if each.p is not None and not each.better]
    if apart:
        names = []
        for each in apart:
            alone = _alone(each, drawn)
            names.append(f"{each.second} (p {probability(each.p or 0.0)}{f'; {alone}' if alone else ''})")
        better = f"It is better than {listed(beaten)}, but not" if beaten else "It is not"
        said.append(f"{better} told apart from {listed(names)}: no winner is named.")
    elif beaten:
        said.append(f"It is better than {listed(beaten)}.")
    unknown: dict[str, list[str]] = {}
    for each in beside:
        if each.p is None:
            unknown.setdefault(_unknown(each, drawn), []).append(each.second)
    for why, others in unknown.items():
        if why == "one seed":
            said.append(
                f"Against {listed(others)} nothing can be said: one run of a method that draws at random does not show "
                f"how much seeds matter. Run {_SEEDS}."
            )
        elif why == "no spread":
            said.append(
                f"Against {listed(others)} nothing can be said: the differences on all {drawn.noun}s are the same, "
                "and without any spread there is no test."
            )
        elif why == _NOT_ALL:
            said.append(
                f"Against {listed(others)} nothing can be said, either: all pairs of {beside[0].first} were to be "
                "tested at once, and not all can be."
            )
        elif why == f"one {drawn.noun}" and beside[0].noise and beside[0].p_runs is not None:
            said.append(
                f"On these very images the p of its lead over {beside[0].second}, by seeds alone, is "
                f"{probability(beside[0].p_runs)}."
            )
    return said


def _equal(beside: Sequence[Comparison], within: str) -> list[str]:
    """Sentences on the equality of the leader with others."""
    first, said = beside[0].first, []
    if equal := [each for each in beside if each.equal]:
        names = listed(each.second for each in equal)
        p = probability(max(each.p_equal or 0.0 for each in equal))
        none = f"{names} is no" if len(equal) == 1 else "none of them is"
        said.append(
            f"Within a margin of {within}, {first} is equal to {names} "
            f"({'p' if len(equal) == 1 else 'p at most'} {p}): {none} worse than {first} by {within} or more."
        )
    if unequal := [each for each in beside if not (each.equal or each.better) and each.p_equal is not None]:
        names = listed(f"{each.second} (p {probability(each.p_equal or 0.0)})" for each in unequal)
        said.append(f"That {first} is equal within {within} is not shown for {names}.")
    if unknown := [each.second for each in beside if each.p_equal is None]:
        said.append(f"Whether {first} is equal to {listed(unknown)} within {within} cannot be tested, either.")
    return said


def _power(
    cohort: Cohort, comparisons: Sequence[Comparison], pair: Comparison, score: str, drawn: Sample, *, leader: bool
) -> str:
    """What lead of the first over the second method could have been seen, and what would help."""
    methods = [each for each in cohort.methods if each.label in pair[:2] and not each.deterministic]
    runs = sorted({len(each.runs) for each in methods})
    parts = [counted(drawn.groups, drawn.noun)]
    if runs:
        parts.append(counted(runs[0], "seed") if len(runs) == 1 else f"{runs[0]} to {runs[-1]} seeds")
    tested = sum(each.p is not None for each in comparisons)
    if not leader and tested > 1:
        parts.append(counted(tested, "pair"))
    least, images, seeds = (
        None if value is None else f"{score_text(value, score)} {lookup(score).unit}".rstrip()
        for value in (pair.least, pair.least_images, pair.least_runs)
    )
    said = (
        f"With {listed(parts)} only a lead over {pair.second} of {least} or more is found in 4 of 5 such comparisons "
        "(80 % power)"
    )
    if images is None:
        return f"{said}."
    said += f"; twice the {drawn.noun}s would make that {images}"
    if not pair.noise or seeds is None or pair.least_images is None or pair.least_runs is None:
        return f"{said}."
    helps = (
        "both help alike"
        if images == seeds
        else (f"more {drawn.noun}s help more" if pair.least_images < pair.least_runs else "more seeds help more")
    )
    return f"{said}, twice the seeds {seeds}: {helps}."


def _seeds(cohort: Cohort, comparisons: Sequence[Comparison]) -> list[str]:
    """What two seeds, and unlike numbers of them, do to the error of verdicts."""
    tested = {name for each in comparisons if each.p is not None for name in each[:2]}
    runs = {len(each.runs) for each in cohort.methods if each.label in tested and not each.deterministic}
    if 2 in runs:
        return [
            "Two seeds say little of how much seeds matter: where those of one method vary several times as much as "
            f"another's, a method is called better by mistake in up to {100 * TWO_SEEDS_ERROR:.2g} % of comparisons, "
            f"not 5 %. Run {_SEEDS}."
        ]
    if len(runs) > 1:
        return [
            f"The methods have {min(runs)} to {max(runs)} seeds: where those of one with few vary several times as "
            f"much as another's, a method is called better by mistake in up to {100 * UNLIKE_SEEDS_ERROR:.2g} % of "
            "comparisons, not 5 %. Run as many seeds of each."
        ]
    return []


def _few(drawn: Sample, *, compared: bool) -> list[str]:
    """What so few images, or groups of them, do not tell."""
    images = counted(drawn.images, "test image")
    of_all = f" (of {drawn.of}; the others lack this score)" if drawn.images < drawn.of else ""
    if drawn.groups >= _FEW:
        return [f"All this is over the {images} that have this score, of {drawn.of}."] if of_all else []
    if drawn.groups == 1:
        one = "" if drawn.noun == "image" else f" of one {drawn.noun}"
        noun = "section" if drawn.noun == "stack" else "image"
        these = f"this {noun}" if drawn.images == 1 else f"these {drawn.images} {noun}s"
        needed = ", to tell which method is better on them" if compared else ""
        return [
            f"{images}{of_all}{one}: these figures describe {these} only, and nothing tells how far they hold "
            f"for others. Other specimens are needed{needed}."
        ]
    groups = counted(drawn.groups, drawn.noun)
    few = f"{images}{of_all} of {groups}: {groups} are" if drawn.grouped else f"{images}{of_all} are"
    return [f"{few} few: intervals are wide, and rare failures may not be among them."]
