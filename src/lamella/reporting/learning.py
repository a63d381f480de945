"""Learning curves: a score against labelled images, and what more labels would bring, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lamella.metrics.catalogue import lookup
from lamella.plots.style import Picture
from lamella.reporting.cohorts import Cohort, Method
from lamella.reporting.cohorts.shares import share_of
from lamella.reporting.numbers import score_text, span
from lamella.reporting.plots.learning import Curve, learning_curves
from lamella.reporting.summary import drawn, interval_of_mean, of, per_seed, sample
from lamella.statistics.folds import Folds
from lamella.statistics.learning import FEWEST, Law, law

_LITTLE = 0.01
"""Of a score's range, or of the score itself where it has none: what is not worth as many labels again."""

_CHANCE = 0.05
"""Of a score's range: who is no farther from its worst value has learned nothing yet."""


@dataclass(frozen=True)
class Learning:
    """What a report shows of the methods that were trained on shares of the training images.

    Attributes:
        table: one row a method and share: `method`, `share`, `labelled` (images), `seeds`, the score's mean under its
            name, its 95 % interval `low` and `high` over images, and `seed_sd`; as a file it is `learning.csv`.
        sentences: what doubling the labels would bring each method, or why it cannot be said; the answer first.
        picture: the score against labelled images, with intervals and the law that extrapolates.
    """

    table: pd.DataFrame
    sentences: Sequence[str]
    picture: Picture


def learning(cohort: Cohort, score: str) -> Learning | None:
    """The learning curves of a cohort by one score; None where no method was trained on several shares.

    So too where no test image has the score, or nobody knows how many images trained.
    """
    rows: list[dict[str, Any]] = []
    curves: list[Curve] = []
    sentences: list[str] = []
    for label, every in cohort.learning.items():
        methods = [method for method in every if all(score in run.scores for run in method.runs)]
        if not methods:
            continue
        scores = [interval_of_mean(method, score, cohort.groups) for method in methods]
        seeds = [per_seed(method, score) for method in methods]
        for method, found, means in zip(methods, scores, seeds, strict=True):
            row = {"method": label, "share": share_of(method), "labelled": method.labelled, "seeds": len(method.runs)}
            deviation = float(means.std(ddof=1)) if len(means) > 1 else np.nan
            rows.append(row | {score: found.mean, "low": found.low, "high": found.high, "seed_sd": deviation})
        known = all(np.isfinite(method.labelled) for method in methods)
        if not known or np.isnan(scores[-1].mean):
            why = f"no test image has {lookup(score).heading}" if known else "on how many images is not known"
            sentences.append(_unsaid(label, why))
            continue
        through, sentence = _said(cohort, label, methods, score)
        sentences.append(sentence)
        curves.append(Curve(label, [method.labelled for method in methods], scores, seeds, through))
    if not curves:
        return None
    return Learning(pd.DataFrame(rows), sentences, learning_curves(cohort, curves, score))


def _said(cohort: Cohort, label: str, methods: Sequence[Method], score: str) -> tuple[Law | None, str]:
    """The law that holds beyond a method's last point, None where none does; and the sentence on twice the labels."""
    entry, last = lookup(score), methods[-1]
    values = [of(method, score) for method in methods]
    there = np.asarray(~np.isnan(np.concatenate(values)).any(axis=0))
    values = [each[:, there] for each in values]
    groups = [group for group, has in zip(cohort.groups, there, strict=True) if has]
    same = all(np.array_equal(each.mean(axis=0), values[-1].mean(axis=0)) for each in values)
    if last.deterministic and same:
        return None, f"{label} scores the same with any number of labelled images: it learns nothing from them."
    if len(methods) < FEWEST:
        return None, _unsaid(
            label,
            f"a law needs {FEWEST} shares at least, {FEWEST + 1} are better, and there are {len(methods)} "
            "(dataset.take=0.1,0.25,0.5,1)",
        )
    if not last.deterministic and min(len(each) for each in values) < 2:
        return None, _unsaid(
            label, "one seed does not show how much chance there is in a curve; three would (seed=1,2,3)"
        )
    folding = cohort.folds
    folds = None
    if folding is not None:
        where = [fold for fold, has in zip(folding.of, there, strict=True) if has] if folding.of else []
        folds = Folds(folding.kind, where, folding.ratio)
    found = law(
        [method.labelled for method in methods],
        values,
        groups=groups,
        deterministic=last.deterministic,
        lower_is_better=entry.lower_is_better,
        folds=folds,
    )
    if why := reason(found, float(values[0].mean()), score):
        return None, _unsaid(label, why)
    return found, _answer(cohort, label, found, score)


def reason(found: Law, first: float, score: str) -> str:
    """Why nothing can be said of twice the labels by a law; "" where it can.

    Args:
        found: the law.
        first: the mean score at the smallest number of images.
        score: its name.
    """
    entry, heading = lookup(score), lookup(score).heading
    low, high = entry.bounds
    worst = high if entry.lower_is_better else low
    if np.isfinite([low, high]).all() and abs(found.score - worst) <= _CHANCE * (high - low):
        return f"with {heading} {score_text(found.score, score)} nothing has been learned yet, and no law begins before"
    _, least, most = _gain(found, score)
    if most <= _little(found, score) and least > -_little(found, score):
        return ""
    if found.sign * found.rise < -found.reach:
        return f"{heading} gets worse with more labelled images, which no law of learning explains"
    if found.quickens:
        return (
            f"{heading} still gets better ever faster, the last step the most; the law is of curves that slow down: "
            "label more, and look again"
        )
    if not found.follows:
        return f"the points lie too far from any curve of the law for chance to explain it ({_p(found.fits)})"
    rise = abs(found.score - first)
    if most - least > max(rise, 4 * _little(found, score)):
        lower, upper = sorted((found.sign * least, found.sign * most))
        ends = span(lower, upper, score, signed=True)
        return (
            f"by the law {heading} would change by {ends}, which is wider than all that it changed from the "
            f"smallest share to the largest ({score_text(rise, score)}); more seeds or test images make it narrower"
        )
    return ""


def _answer(cohort: Cohort, label: str, found: Law, score: str) -> str:
    """What twice the labels would bring, in a sentence or two."""
    entry = lookup(score)
    gain, least, most = _gain(found, score)
    unit = f" {entry.unit}" if entry.unit else ""
    heading = entry.heading.removesuffix(f", {entry.unit}")
    stands = sample(cohort, score)
    specimen = ""
    if stands.groups == 1:
        one = "this specimen" if drawn(cohort) == "stack" else "this one group" if stands.grouped else "this one image"
        specimen = f" This holds for more labels of the same kind and for {one} alone; of others it says nothing."
    twice = f"{2 * found.last:.3g} for {found.last:.3g}"
    if most <= _little(found, score):
        bring = f"at most {score_text(most, score)}{unit}" if most > 0 else "nothing"
        return f"Labelled images are not what {label} lacks: twice as many ({twice}) bring {bring} {heading}.{specimen}"
    low, high = entry.bounds
    at, *ends = np.clip([found.score + found.sign * each for each in (gain, least, most)], low, high).tolist()
    lower, upper = sorted(ends)
    nothing = " They may bring nothing." if least <= 0 else ""
    from_, to = score_text(found.score, score), f"{score_text(at, score)}{unit} ({span(lower, upper, score)})"
    return (
        f"Twice the labelled images ({twice}) would bring {label} from {heading} {from_} to about {to}, by the inverse "
        f"power law.{nothing}{specimen}"
    )


def _gain(found: Law, score: str) -> tuple[float, float, float]:
    """What twice the labels bring, above 0 where that is better, with its interval: no more than the score can be."""
    low, high = lookup(score).bounds
    gains = [float(np.clip(found.score + each, low, high)) - found.score for each in found.gain(2 * found.last)]
    gain, *ends = (found.sign * each for each in gains)
    return gain, min(ends), max(ends)


def _little(found: Law, score: str) -> float:
    low, high = lookup(score).bounds
    return _LITTLE * (high - low if np.isfinite([low, high]).all() else abs(found.score))


def _p(share: float) -> str:
    return "p < 0.001" if share < 0.001 else f"p {share:.3f}"


def _unsaid(label: str, reason: str) -> str:
    return f"What twice the labelled images would bring {label} cannot be said: {reason}."
