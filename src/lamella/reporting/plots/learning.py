"""Learning curves: a score against labelled images, and what the law makes of twice as many."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from lamella.metrics.catalogue import lookup
from lamella.plots import style
from lamella.plots.style import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Values
from lamella.reporting.numbers import score_text
from lamella.reporting.plots.words import axis_label, images, interval_words
from lamella.statistics import Interval
from lamella.statistics.learning import Law

_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.GREY)
_MARKERS = "osD^v"
_LABEL = 16  # characters on a line, right of the axes
_APART = 0.085  # of the axes' height: labels of one line


class Curve(NamedTuple):
    """A method's learning curve.

    Attributes:
        label: of the method.
        labelled: images, rising.
        scores: the mean at each, with its interval over images.
        seeds: at each the mean of each run.
        law: through them; None where it carries no further.
    """

    label: str
    labelled: Sequence[float]
    scores: Sequence[Interval]
    seeds: Sequence[Values]
    law: Law | None


@style.applied
def learning_curves(cohort: Cohort, curves: Sequence[Curve], score: str) -> Picture:
    """The mean score of each method against labelled images, with intervals, single seeds and the law's curve."""
    figure = style.blank(3.9)
    axes = figure.subplots()
    axes.set_xscale("log")
    ends: list[tuple[float, str, str]] = []
    shown: list[float] = []
    bounds = lookup(score).bounds
    for place, curve in enumerate(curves):
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
        n = np.array(curve.labelled) * 1.015 ** (place - (len(curves) - 1) / 2)  # beside each other
        means = [each.mean for each in curve.scores]
        shown += [value for each in curve.scores for value in each[:3]]
        shown += np.concatenate(curve.seeds).tolist()
        for x, each in zip(n, curve.scores, strict=True):
            if np.isfinite(each.low):
                axes.vlines(x, each.low, each.high, color=colour, linewidth=1.6, alpha=0.55)
        for x, runs in zip(n, curve.seeds, strict=True):
            if len(runs) > 1:
                style.dots(axes, np.full(len(runs), x * 1.045), runs, size=2.6, colour="black", alpha=0.7)
        axes.plot(n, means, marker, color=colour, markersize=6, linestyle="none" if curve.law else "-", linewidth=1)
        end = means[-1]
        if curve.law is not None:
            within = np.geomspace(curve.labelled[0], curve.labelled[-1], 60)
            axes.plot(within, curve.law.fitted(within), color=colour, linewidth=1.4)
            beyond = np.geomspace(1, 2, 30) * curve.labelled[-1]
            gain, low, high = (np.clip(curve.law.score + each, *bounds) for each in curve.law.gain(beyond))
            axes.fill_between(beyond, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(beyond, gain, color=colour, linewidth=1.4, linestyle=(0, (4, 2)))
            shown += [low[-1], high[-1]]
            end = float(gain[-1])
        ends.append((end, style.wrap(curve.label, _LABEL), colour))
    most = max(curve.labelled[-1] for curve in curves) * (2 if any(curve.law for curve in curves) else 1)
    _counts(axes, sorted({n for curve in curves for n in curve.labelled} | {most}))
    axes.set_ylim(style.padded(shown, 0.06))
    axes.set_xlabel("labelled images that train (logarithmic)")
    axes.set_ylabel(axis_label(cohort, score))
    axes.grid(axis="y")
    _label(axes, ends)
    heading = lookup(score).heading
    told = "; ".join(
        f"{curve.label} "
        + ", ".join(
            f"{score_text(each.mean, score)} of {n:g}" for n, each in zip(curve.labelled, curve.scores, strict=True)
        )
        for curve in curves
    )
    caption = [f"Marker and bar: mean and {interval_words(cohort, curves[0].scores[-1].method)}."]
    if any(len(each) > 1 for curve in curves for each in curve.seeds):
        caption.append("Small black dots: single seeds, each with other images of a share.")
    if any(curve.law for curve in curves):
        caption.append(
            "Line: the inverse power law; dashed beyond the last point, to twice its images, with the 95\u00a0% "
            "interval of what these bring, over images, seeds and exponents together."
        )
    return Picture(
        title=f"{heading} against labelled images",
        svg=svg_of(figure),
        alt=f"Mean {heading} over {images(cohort, score)}, by the number of labelled images that trained: {told}.",
        caption=f"{' '.join(caption)} {images(cohort, score)}.",
    )


def _counts(axes: Axes, counts: Sequence[float]) -> None:
    """Ticks at numbers of images, those that would stand on others left out; the last one stays."""
    low, high = counts[0] / 1.12, counts[-1] * 1.06
    axes.set_xlim(low, high)
    least = 0.07 * np.log(high / low)
    kept: list[float] = []
    for count in reversed(counts):
        if not kept or np.log(kept[-1] / count) >= least:
            kept.append(count)
    axes.set_xticks(kept, [f"{count:.3g}" if count < 1000 else f"{count:,.0f}" for count in kept])
    axes.set_xticks([], minor=True)


def _label(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Writes each method's name right of the axes at the height of its end, none upon another."""
    low, high = axes.get_ylim()
    above = -np.inf
    for end, label, colour in sorted(ends):
        half = _APART * style.lines_of(label) / 2
        place = max((end - low) / (high - low), above + half)
        above = place + half
        axes.annotate(label, (1.01, place), xycoords="axes fraction", color=colour, va="center", fontsize=9.5,
                      annotation_clip=False)  # fmt: skip
