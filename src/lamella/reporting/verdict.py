"""The verdict on a cohort in sentences: who is better, why nobody is, what could have been seen, what is not known."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup
from lamella.reporting.cohorts import Cohort
from lamella.reporting.cohorts.types import Folding
from lamella.reporting.failures import failure_bounds
from lamella.reporting.numbers import known, probability, ranged, score_text, span
from lamella.reporting.summary import Sample, counted, listed, sample
from lamella.statistics import CERTAIN, TWO_SEEDS_ERROR, UNLIKE_SEEDS_ERROR, Comparison, best, in_order

_FEW = 20  # images, or groups of them
_MOST_NAMES = 3  # in the headline; the reasons have all
_SEEDS = "three to five seeds, such as seed=1,2,3"
_PHANTOM = "These images are phantoms, made by a program: nothing here says anything about real ones."


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to, in sentences: the answer, why, how sure it is, and what to beware of.

    Attributes:
        headline: the whole answer for a reader in a hurry: who is best, by how much, whether that is beyond chance.
        why: what is compared where that needs a word, reasons, and what could have been seen.
        warnings: of few images, few seeds, rare failures.
        phantom: that a program made the images; empty where they are real. It stands before all else.
    """

    headline: str
    why: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    phantom: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of it, in the order in which it is read."""
        return (*([self.phantom] if self.phantom else []), self.headline, *self.why, *self.warnings)


@dataclass(frozen=True)
class _Asked:
    """What a comparison stands on, and what was asked of it."""

    drawn: Sample
    score: str
    tested: int  # pairs that have a p
    margin: float | None
    leader: bool
    folds: Folding | None

    @property
    def corrected(self) -> int:
        """The pairs that a p is corrected for."""
        return 1 if self.leader else self.tested

    @property
    def parted(self) -> bool:
        return self.folds is not None and self.folds.kind == "parted"

    def amount(self, value: float) -> str:
        """A difference, or a lead, in the unit of the score."""
        return f"{score_text(value, self.score)} {lookup(self.score).unit}".rstrip()


def _asked(cohort: Cohort, comparisons: Sequence[Comparison], score: str, margin: float | None, leader: bool) -> _Asked:
    tested = sum(each.p is not None for each in comparisons)
    return _Asked(sample(cohort, score), score, tested, margin, leader, cohort.folds)


def verdict(
    cohort: Cohort,
    table: pd.DataFrame,
    comparisons: Sequence[Comparison],
    score: str,
    *,
    margin: float | None = None,
    leader: bool = False,
) -> Verdict:
    """The verdict in sentences: a winner is named only where the lead is beyond chance of images and of seeds.

    Args:
        cohort: the methods.
        table: its `summary` by `score`.
        comparisons: its `pairs` by `score`.
        score: what they were compared by.
        margin: within which equality was tested, if it was.
        leader: only the leader was compared with the others.
    """
    unit, first = lookup(score).unit, str(table["method"][0])
    asked = _asked(cohort, comparisons, score, margin, leader)
    heading = lookup(score).heading.removesuffix(f", {unit}")
    phantom = _PHANTOM if cohort.phantom else ""
    if not asked.drawn.images:
        return Verdict(f"No test image has this score ({heading}): by it nothing is compared.", phantom=phantom)
    mean, low, high = (float(table[f"{score}{end}"][0]) for end in ("", "_low", "_high"))
    figures = f"{score_text(mean, score) if np.isnan(low) else ranged(mean, low, high, score)} {unit}".rstrip()
    beside = [each for each in in_order(comparisons, table["method"].tolist()) if each.first == first]
    why = [] if cohort.folds is None else [_recipe(cohort.folds)]
    if not beside:
        headline = f"{first} has a mean {heading} of {figures}; there is nothing to compare it with."
    elif best(comparisons) == first:
        headline = _won(beside, f"{heading} {figures}", asked)
    else:
        headline = _open(beside, f"{heading} {figures}", asked)
        why += _reasons(beside, asked)
    if beside and margin is not None:
        why += _equal(beside, amount(margin, score))
    if beside and beside[0].least is not None:
        why.append(_power(cohort, beside[0], asked))
    warnings = [*_seeds(cohort, comparisons), *_few(asked.drawn, compared=bool(beside))]
    if "failed" in table and table["dice_images"][0]:
        row = table.iloc[0]
        warnings.append(
            f"Rare failures are in no interval of a mean: {first} has a Dice below {row['failed_below']:g} on "
            f"{row['failed']} of {counted(row['dice_images'], 'test image')}"
            + (f", and of all such images {failure_bounds(row)} may have." if failure_bounds(row) else ".")
        )
    return Verdict(headline, tuple(why), tuple(warnings), phantom)


def verdict_on(
    pair: Comparison,
    cohort: Cohort,
    comparisons: Sequence[Comparison],
    score: str,
    *,
    margin: float | None = None,
    leader: bool = False,
) -> str:
    """The verdict on a pair of methods with its reason: who is better, equal, not told apart, or why none can tell.

    Args:
        pair: two methods.
        cohort: of which they are.
        comparisons: the pairs that were tested with it.
        score: what they were compared by.
        margin: within which equality was tested, if it was.
        leader: only the leader was compared with the others.
    """
    asked = _asked(cohort, comparisons, score, margin, leader)
    equal = (
        f"equal within {amount(margin, score)} (p {probability(pair.p_equal or 0.0)})" if margin and pair.equal else ""
    )
    if pair.better is not None:
        return f"{pair.better} is better{f', yet {equal}' if equal else ''}"
    if equal:
        return equal
    if pair.p is None:
        return _unknown(pair, asked)
    return f"not told apart: {_reason(pair, asked)} (p {probability(pair.p)})"


def amount(margin: float, score: str) -> str:
    """A margin in the unit of a score: "0.01", "2 px"."""
    return f"{margin:g} {lookup(score).unit}".strip()


def _reason(pair: Comparison, asked: _Asked) -> str:
    """Why a pair that was tested is not told apart."""
    if pair.difference == 0:
        return "their means are the same"
    if pair.p_single is not None and pair.p_single < CERTAIN:
        if asked.leader:
            return "it would be by itself, but the leader must pass against every other method, and does not"
        return f"it would be, were it the only pair; of {asked.corrected} pairs one may lead so far by chance"
    noun = asked.drawn.noun
    by_images = pair.p_images is not None and pair.p_images >= CERTAIN
    by_others = pair.p_folds if asked.parted else pair.p_runs if pair.noise else None
    others = by_others is not None and by_others >= CERTAIN
    if asked.folds is not None:
        if by_images and others:
            return f"other {noun}s alone could make such a difference, and the folds differ among themselves as much"
        if others:
            return "the folds differ among themselves as much"
    elif by_images and others:
        return f"other {noun}s alone could make such a difference, and so could other seeds"
    elif others:
        return "other seeds alone could make such a difference"
    if by_images or by_others is None:
        return f"other {noun}s alone could make such a difference"
    chance = "folds" if asked.folds is not None else "seeds"
    return f"neither other {noun}s alone nor other {chance} alone, but both together could make such a difference"


def _unknown(pair: Comparison, asked: _Asked) -> str:
    """Why a pair has no p, and what would help."""
    drawn = asked.drawn
    if pair.noise is None and pair.p_folds is None:
        return "one seed: cannot tell how much seeds matter; train it with two more seeds"
    if drawn.groups < 2:
        more = {"stack": "other specimens", "image": "other images"}.get(drawn.noun, f"other {drawn.noun}s")
        return f"one {drawn.noun}: cannot tell what others would show; add {more}"
    if pair.p_images is None:
        return f"no spread: cannot tell, for the difference is the same on every {drawn.noun}"
    return "cannot tell: all pairs of the leader are tested at once, and one of them cannot be"


def _explains(beside: Sequence[Comparison], asked: _Asked, verb: str = "explain") -> str:
    """What does not explain a lead: "neither the choice of images nor the seeds explain"."""
    chance = "folds" if asked.folds is not None else "seeds" if any(each.noise for each in beside) else ""
    if chance:
        return f"neither the choice of {asked.drawn.noun}s nor the {chance} {verb}"
    return f"the choice of {asked.drawn.noun}s does not {verb}"


def _ahead(pair: Comparison, asked: _Asked) -> str:
    """How far the first of two is ahead: "0.1000 (0.0800 to 0.1200) ahead of b"."""
    low, high = sorted(abs(known(end)) for end in (pair.low, pair.high)) if pair.better else (np.nan, np.nan)
    ends = "" if np.isnan(low) else f" ({span(low, high, asked.score)})"
    return f"{asked.amount(abs(pair.difference))}{ends} ahead of {pair.second}"


def _won(beside: Sequence[Comparison], figures: str, asked: _Asked) -> str:
    first, next_ = beside[0].first, beside[0]
    others = next_.second if len(beside) == 1 else "every other method"
    tested = f"p {probability(next_.p or 0.0)}"
    if len(beside) > 1:
        tested = f"{tested} for all at once" if asked.leader else "p < 0.05 for each pair, Holm's correction"
    return (
        f"{first} is better than {others}: mean {figures}, {_ahead(next_, asked)}, "
        f"a lead that {_explains(beside, asked)} ({tested})."
    )


def _some(names: Sequence[str], of: int) -> str:
    """Names of methods for a headline; of many how many they are."""
    if len(names) <= _MOST_NAMES:
        return listed(names)
    return "all others" if len(names) == of else f"{len(names)} of the {of} others"


def _open(beside: Sequence[Comparison], figures: str, asked: _Asked) -> str:
    """The answer where no winner is named."""
    first, of = beside[0].first, len(beside)
    equal = [each.second for each in beside if each.equal and not each.better]
    beaten = [each.second for each in beside if each.better == first]
    open_ = [each for each in beside if not each.better and not each.equal and each.difference]
    apart = [each.second for each in open_ if each.p is not None]
    unknown = [each for each in open_ if each.p is None]
    alike = [each.second for each in beside if each.difference == 0]
    said = f"No winner: {_some([first, *alike], of)} {'have' if alike else 'has'} the best mean {figures}"
    if not alike:
        said += f", {_ahead(beside[0]._replace(better=None), asked)}"
    parts = []
    if beaten:
        parts.append(f"is better than {_some(beaten, of)}")
    if equal:
        parts.append(f"equal to {_some(equal, of)} within {amount(asked.margin or 0.0, asked.score)}")
    if apart:
        parts.append(f"not told apart from {_some(apart, of)}")
    if of == len(apart) == 1:
        return f"{said}, but chance alone may make such a lead (p {probability(known(beside[0].p))})."
    text = f"{said}; it {'' if beaten else 'is '}{listed(parts)}" if parts else said
    if not unknown:
        return f"{text}." if not apart else f"{text}: chance alone may make such a lead."
    why = {
        "one seed": "one seed does not show what chance makes",
        "one": f"one {asked.drawn.noun} does not show what others would",
        "no": f"the difference is the same on every {asked.drawn.noun}, so there is no test",
    }
    word = _unknown(unknown[0], asked).partition(":")[0]
    because = why.get(word) or why.get(word.partition(" ")[0]) or "not all pairs of the leader can be tested"
    if parts:
        return f"{text}, and against {_some([each.second for each in unknown], of)} nothing can be said: {because}."
    return f"{text}. Whether by chance, nobody can tell: {because}."


def _reasons(beside: Sequence[Comparison], asked: _Asked) -> list[str]:
    """Why the leader is not told apart from others, or cannot be; those of one reason together."""
    said = []
    if asked.leader and len(beside) > 1:
        said.append("Only whether it is better than all others was asked, not how those compare with each other.")
    if beaten := [each.second for each in beside if each.better]:
        said.append(f"{beside[0].first} is better than {listed(beaten)}.")
    apart = [each for each in beside if each.p is not None and not (each.better or each.equal)]
    for reason, pairs in _by(_reason, apart, asked):
        names = listed(f"{each.second} (p {probability(each.p or 0.0)})" for each in pairs)
        said.append(f"Not told apart from {names}: {reason}.")
    for reason, pairs in _by(_unknown, [each for each in beside if each.p is None], asked):
        names = listed(each.second for each in pairs)
        if reason.startswith("one seed"):
            said.append(
                f"Against {names} nothing can be said: one run of a method that draws at random does not show how much "
                f"seeds matter. Run {_SEEDS}."
            )
        elif reason.startswith("no spread"):
            said.append(
                f"Against {names} nothing can be said: the differences on all {asked.drawn.noun}s are the same, and "
                "without any spread there is no test."
            )
        elif reason.startswith("cannot"):
            said.append(
                f"Against {names} nothing can be said, either: all pairs of {pairs[0].first} were to be tested at "
                "once, and not all can be."
            )
        else:  # one stack, group or image; what is wrong with it stands among the warnings
            said += [_on_these(each, asked) for each in pairs[:1] if each.p_folds is not None or each.noise]
    return said


def _by(
    why: Callable[[Comparison, _Asked], str], pairs: Iterable[Comparison], asked: _Asked
) -> Iterable[tuple[str, list[Comparison]]]:
    """Pairs by their reason, in the order in which reasons appear."""
    found: dict[str, list[Comparison]] = {}
    for each in pairs:
        found.setdefault(why(each, asked), []).append(each)
    return found.items()


def _on_these(pair: Comparison, asked: _Asked) -> str:
    """What folds, or seeds, alone make of a lead on images that say nothing of others."""
    chance, p = ("folds", pair.p_folds) if pair.p_folds is not None else ("seeds", pair.p_runs)
    chance = "folds" if asked.folds is not None else chance
    return (
        f"On these very images the p of its lead over {pair.second}, by {chance} alone, is {probability(known(p))}; "
        f"that says nothing of other {asked.drawn.noun}s."
    )


def _recipe(folds: Folding) -> str:
    """What is compared where the networks of several folds are put together."""
    of = f" of {folds.planned}" if folds.planned > len(folds.names) else ""
    names = f" ({listed(folds.names)})" if of else ""
    judged = (
        "each image was scored by a network that never saw it"
        if folds.kind == "parted"
        else "each network was scored on the same test images"
    )
    return (
        f"What is compared is a recipe, not one network: each method was trained on {len(folds.names)}{of} "
        f"folds{names}, which have most of their training images in common, and {judged}."
    )


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


def _power(cohort: Cohort, pair: Comparison, asked: _Asked) -> str:
    """What lead of the first over the second method could have been seen, and what would help."""
    drawn, folds = asked.drawn, asked.folds
    methods = [each for each in cohort.methods if each.label in pair[:2] and not each.deterministic]
    runs = sorted({len(each.runs) for each in methods})
    parts = [counted(drawn.groups, drawn.noun)]
    if folds is not None:
        parts.append(counted(len(folds.names), "fold"))
    if runs and (folds is None or folds.kind == "parted"):
        seeds = counted(runs[0], "seed") if len(runs) == 1 else f"{runs[0]} to {runs[-1]} seeds"
        parts.append(f"{seeds} a fold" if folds else seeds)
    if asked.corrected > 1:
        parts.append(counted(asked.corrected, "pair"))
    said = (
        f"With {listed(parts)} only a lead over {pair.second} of {asked.amount(pair.least or 0.0)} or more is found in "
        "4 of 5 such comparisons (80 % power)"
    )
    if pair.least_images is None:
        return f"{said}."
    helps = {f"{drawn.noun}s": pair.least_images}
    if folds is not None and asked.parted and drawn.groups >= 2 * len(folds.names):
        helps |= {"folds": known(pair.least_folds)}
    if pair.noise and pair.least_runs is not None:
        helps |= {"seeds" if folds is None or asked.parted else "folds": pair.least_runs}
    first, *others = ((name, asked.amount(value)) for name, value in helps.items() if not np.isnan(value))
    said += "; " + ", ".join(
        [f"twice the {first[0]} would make that {first[1]}", *(f"twice the {name} {value}" for name, value in others)]
    )
    if others:
        if len({value for _, value in (first, *others)}) == 1:
            said += ": both help alike" if len(others) == 1 else ": all help alike"
        else:
            said += f": more {min(helps, key=lambda name: helps[name])} help {'more' if len(others) == 1 else 'most'}"
    if asked.parted and runs and pair.least_runs is None:
        said += f". What several seeds a fold would bring, one does not tell: run {_SEEDS}"
    return f"{said}."


def _seeds(cohort: Cohort, comparisons: Sequence[Comparison]) -> list[str]:
    """What two seeds, and unlike numbers of them, do to the error of verdicts; folds do not rest on them."""
    if cohort.folds is not None:
        return []
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
