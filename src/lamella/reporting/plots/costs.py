"""What a score costs: against parameters or time, on a logarithmic axis."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lamella.metrics.catalogue import lookup
from lamella.plots import style
from lamella.plots.style import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Values
from lamella.reporting.numbers import duration, quantity, score_text
from lamella.reporting.plots.words import basis, direction, images, interval_words
from lamella.reporting.summary import interval_of_mean, listed, ranked
from lamella.statistics import Interval

_TIMES = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000, 72000, 180000, 360000)  # s
_COARSE_TIMES = (1, 10, 60, 600, 3600, 36000, 360000)
_DECADES = tuple(10.0**power for power in range(-6, 13))
# Where a number may stand, in points from its point.
_AROUND = np.array([
    (radius * np.cos(angle), radius * np.sin(angle))
    for radius, angle in product((12, 20, 30, 42), np.radians([0, 180, 45, 135, 225, 315, 90, 270]))
])  # fmt: skip


class _Point(NamedTuple):
    label: str
    cost: float
    score: Interval


@style.applied
def against(cohort: Cohort, score: str, metric: str) -> Picture | None:
    """The mean score of each method against a metric of its runs.

    Args:
        cohort: the methods; those that lack the metric in a run are left out.
        score: a column.
        metric: such as `model/parameters`; methods for which it is 0 stand at the left end of the axis.

    Returns:
        None where fewer than two methods have the metric, or none has more than 0.
    """
    points = [
        _Point(each.label, each.metric(metric), interval_of_mean(each, score, cohort.groups))
        for each in ranked(cohort, score)
    ]
    shown = [each for each in points if np.isfinite(each.cost) and np.isfinite(each.score.mean)]
    if len(shown) < 2 or not any(each.cost > 0 for each in shown):
        return None
    cost, heading = lookup(metric).heading, lookup(score).heading
    seconds = lookup(metric).unit == "s"
    key = [style.wrap(f"{rank}  {each.label}: {_amount(each.cost, seconds)}", 62) for rank, each in enumerate(shown, 1)]
    across = 2 if len(key) > 3 and max(map(len, key)) < 32 else 1
    lines = sum(map(style.lines_of, key)) / across
    figure = style.blank(3.6 + style.LINE * 1.35 * lines)
    axes = figure.subplots()
    zero = _axis(axes, [each.cost for each in shown], seconds)
    axes.set_xlabel(f"{cost} (logarithmic)")
    axes.set_ylabel(f"{heading} ({'phantom; ' if cohort.phantom else ''}{direction(score)})")
    axes.set_ylim(style.padded([each.score[:3] for each in shown], 0.08))
    axes.grid()
    nothing = [Line2D([], [], linestyle="") for _ in key]
    texts = [line.replace("\n", "\n     ") for line in key]
    figure.legend(nothing, texts, loc="outside lower left", ncols=across, handlelength=0, handletextpad=0)
    x = [each.cost or zero for each in shown]
    y = [each.score.mean for each in shown]
    for place, each in zip(x, shown, strict=True):
        if np.isfinite(each.score.low):
            axes.vlines(place, each.score.low, each.score.high, color=style.BLUE, linewidth=1.4, alpha=0.55)
    axes.plot(x, y, "o", color=style.BLUE, markersize=6)
    _number(figure, axes, np.stack([x, y], axis=1))
    told = [f"{each.label} {score_text(each.score.mean, score)} at {_amount(each.cost, seconds)}" for each in shown]
    none = [each.label for each in shown if each.cost == 0]
    left_out = [each.label for each in points if not np.isfinite(each.cost)]
    return Picture(
        title=f"{heading} against {cost}",
        svg=svg_of(figure),
        alt=f"Mean {heading} of each method over {images(cohort, score)}, and its {cost}, best first: "
        f"{'; '.join(told)}.",
        caption=f"Mean {heading} and its {interval_words(cohort, shown[0].score.method)}. Numbers: the methods, best "
        "mean first. "
        + (f"Left of the dotted line, off the logarithmic axis, because it is 0: {listed(none)}. " if none else "")
        + (f"Not known, and left out: {listed(left_out)}. " if left_out else "")
        + ("Speeds compare only where the machines were alike. " if lookup(metric).kind == "time" else "")
        + basis(cohort, score),
    )


def _axis(axes: Axes, costs: Sequence[float], seconds: bool) -> float:
    """A logarithmic axis for what is above 0; what is not gets a place at the left end, which is returned."""
    above = [cost for cost in costs if cost > 0]
    low, high = min(above) / 2.5, max(above) * 2.5
    coarse = [tick for tick in (_COARSE_TIMES if seconds else _DECADES) if low <= tick <= high]
    fine = _TIMES if seconds else [factor * tick for tick in _DECADES for factor in (1, 2, 5)]
    ticks = coarse if len(coarse) > 2 else [tick for tick in fine if low <= tick <= high]
    names = [_amount(tick, seconds) for tick in ticks]
    axes.set_xscale("log")
    zero = low / (high / low) ** 0.08
    if len(above) < len(costs):
        ticks, names = [zero, *ticks], ["0", *names]
        axes.axvline(low, color=style.GREY, linestyle=":", linewidth=1)
        low /= (high / low) ** 0.15
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, names)
    axes.set_xticks([], minor=True)
    return float(zero)


def _amount(value: float, seconds: bool) -> str:
    """In few characters that stay on one line: "7.8 M", "2.5 min"."""
    return (duration(value) if seconds else quantity(value)).replace(" ", "\N{NO-BREAK SPACE}")


def _number(figure: Figure, axes: Axes, points: Values) -> None:
    """Writes 1, 2, ... near points (x, y), where other points and numbers leave room, with a line back."""
    figure.draw_without_rendering()  # settles where points are
    unit = 72 / figure.dpi  # all below is in points, 1/72 inch
    at = axes.transData.transform(points) * unit
    lower, upper = np.asarray(axes.bbox.min) * unit + 5, np.asarray(axes.bbox.max) * unit - 5
    taken = list(at)
    for rank, (place, point) in enumerate(zip(at, points, strict=True), 1):
        spots = [spot for spot in place + _AROUND if (spot > lower).all() and (spot < upper).all()]
        spot = spots[int(np.argmax([_room(spot, taken) - 0.1 * float(np.hypot(*(spot - place))) for spot in spots]))]
        taken.append(spot)
        axes.annotate(
            str(rank), (point[0], point[1]), (spot[0] - place[0], spot[1] - place[1]), textcoords="offset points",
            ha="center", va="center", fontsize=9.5, annotation_clip=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
            arrowprops={"arrowstyle": "-", "color": style.GREY, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2},
        ).set_in_layout(False)  # fmt: skip


def _room(spot: Values, taken: Sequence[Values]) -> float:
    """How far it is to the nearest thing, in points; more than enough is enough."""
    return min(12.0, *(float(np.hypot(*(spot - other))) for other in taken))
