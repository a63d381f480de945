"""Methods two by two: how far apart all pairs are, beside what chance makes, and where one pair differs by image."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from lamella.metrics.catalogue import lookup
from lamella.plots import style
from lamella.plots.style import Picture, svg_of
from lamella.reporting.cohorts import Cohort
from lamella.reporting.numbers import known, ranged, score_text
from lamella.reporting.plots.words import direction, images, seeds
from lamella.reporting.summary import counted, per_image
from lamella.statistics import Comparison, in_order

_PAIRS = 15  # shown at most; of more, those of the leading method


@style.applied
def differences(comparisons: Sequence[Comparison], score: str) -> Picture:
    """A forest plot: each pair's mean difference, its interval, the band of seed noise, and whether it is decided.

    Args:
        comparisons: at least one.
        score: that they compare.
    """
    order = _order(comparisons, lookup(score).lower_is_better)
    turned = in_order(comparisons, order)
    shown = turned if len(turned) <= _PAIRS else [each for each in turned if each.first == order[0]]
    figure, clipped = _forest(shown, score)
    heading = lookup(score).heading
    decided = [each for each in turned if each.better is not None]
    unknown = sum(each.p is None and each.noise is None and each.p_folds is None for each in turned)
    grey = any(each.noise is not None for each in turned)
    chance = "seeds" if all(each.p_folds is None for each in turned) else "folds"
    told = "; ".join(
        f"{each.first} minus {each.second} {ranged(each.difference, known(each.low), known(each.high), score)}, "
        + (f"{each.better} better" if each.better else "not decided")
        for each in shown
    )
    caption = [
        f"Mean {heading} of the method in bold minus that of the method beside the row ({direction(score)}). Bars: "
        "its interval by the test that decides; they leave out 0 exactly where a pair is decided."
    ]
    if grey:
        caption.append(
            "Grey: the differences that seeds alone make between equal methods, in 95 of 100 cases. A pair is decided, "
            "and the method in bold better, where its difference is too large for the chance of images and "
            f"{chance} together (p < 0.05); so one beyond the grey may still be undecided."
        )
    caption.append(f"Decided: {len(decided)} of {counted(len(turned), 'pair')}.")
    if unknown:
        caption.append(
            f"For {'all' if unknown == len(turned) else unknown} of them seed noise is unknown, because a method has "
            "one seed: they cannot be decided, however large the difference."
        )
    if untested := sum(each.p is None for each in turned) - unknown:
        caption.append(f"{counted(untested, 'pair')} could not be tested, or was not to be: the verdict says why.")
    if clipped:
        caption.append("Grey that reaches the edge of the picture goes on beyond it.")
    if len(shown) < len(turned):
        caption.append(f"Only the pairs of {order[0]}, which has the best mean, are drawn; the table of pairs has all.")
    return Picture(f"Differences in {heading}", svg_of(figure), f"Differences in {heading}: {told}.", " ".join(caption))


def _order(comparisons: Sequence[Comparison], lower_is_better: bool) -> list[str]:
    """The methods, best mean first: differences of means tell how far apart they are."""
    sums: dict[str, float] = {}
    for each in comparisons:
        sums[each.first] = sums.get(each.first, 0) + each.difference
        sums[each.second] = sums.get(each.second, 0) - each.difference
    return sorted(sums, key=lambda name: sums[name] if lower_is_better else -sums[name])


def _forest(shown: Sequence[Comparison], score: str) -> tuple[Figure, bool]:
    """The figure, and whether a band was cut off; rows stand below their first method's name."""
    rows, names, heights = list[Comparison | str](), list[str](), list[float]()
    for first, group in groupby(shown, lambda each: each.first):
        heading, pairs = style.wrap(f"{first} minus", 58), list(group)
        seconds = [style.wrap(each.second) for each in pairs]
        rows += [heading, *pairs]
        names += ["", *seconds]
        heights += [style.LINE * style.lines_of(heading) + 0.12, *style.row_heights(seconds, 0.3)]
    figure = style.blank(1.45 + sum(heights))
    axes = figure.subplots()
    style.set_rows(axes, names, heights)
    ends = [0.0] + [end for each in shown for end in (each.difference, each.low, each.high) if end is not None]
    band = max((each.noise for each in shown if each.noise is not None), default=0.0)
    # Two runs tell so little about their noise that its band could make all else invisible.
    widest = min(band, 2 * max(np.abs(ends)) or np.inf)
    axes.set_xlim(style.padded([*ends, widest, -widest]))
    beside = blended_transform_factory(figure.transFigure, axes.transData)
    for middle, height, row in zip(style.places(heights), heights, rows, strict=True):
        if isinstance(row, str):
            text = axes.text(0.01, middle + 0.03, row, transform=beside, va="center", weight="bold", fontsize=9.5,
                             bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
            text.set_in_layout(False)
        else:
            _pair(axes, middle, height, row)
    axes.axvline(0, color="black", linewidth=0.9)
    axes.set_xlabel(f"difference in {lookup(score).heading}")
    figure.legend(handles=_signs(shown), loc="outside lower left", ncols=2)
    return figure, band > widest


def _pair(axes: Axes, middle: float, height: float, each: Comparison) -> None:
    if each.noise is not None:
        axes.barh(middle, 2 * each.noise, left=-each.noise, height=height, color=style.PALE, linewidth=0)
    sign = _sign(each)
    if each.low is not None and each.high is not None:
        axes.hlines(middle, each.low, each.high, color=sign.get_color(), linestyle=sign.get_linestyle(), linewidth=1.8)
    axes.plot(each.difference, middle, marker=sign.get_marker(), color=sign.get_color(), markersize=6,
              markerfacecolor=sign.get_markerfacecolor(), linestyle="")  # fmt: skip


def _sign(each: Comparison) -> Line2D:
    if each.better is not None:
        return Line2D([], [], color=style.BLUE, marker="s", markersize=6, label="decided")
    open_: dict[str, Any] = {"color": style.GREY, "marker": "o", "markersize": 6, "markerfacecolor": "white"}
    if each.p is not None:
        return Line2D([], [], **open_, label="not decided")
    return Line2D([], [], **open_, linestyle=":", label="not tested: see the verdict")


def _signs(shown: Sequence[Comparison]) -> list[Line2D | Patch]:
    """The legend of what occurs."""
    found: dict[str, Line2D | Patch] = {str(sign.get_label()): sign for sign in map(_sign, shown)}
    if any(each.noise is not None for each in shown):
        found["noise"] = Patch(color=style.PALE, label="seed noise, 95 %")
    return list(found.values())


@style.applied
def paired_images(cohort: Cohort, score: str, first: str, second: str) -> Picture:
    """A bar an image: by how much two methods differ on it, sorted, with the mean. Raises KeyError: no such method."""
    methods = {method.label: method for method in cohort.methods}
    pair = methods[first], methods[second]
    difference = per_image(pair[0], score) - per_image(pair[1], score)
    has = ~np.isnan(difference)
    ids, difference = np.array(cohort.ids)[has], difference[has]
    better = -difference if lookup(score).lower_is_better else difference
    wins = [int((better > 0).sum()), int((better < 0).sum())]
    order = np.argsort(-better, kind="stable")
    heading = lookup(score).heading
    figure = style.blank(3.3)
    axes = figure.subplots()
    colours = np.where(better[order] > 0, style.BLUE, style.ORANGE)
    ranks = np.arange(1, len(order) + 1)
    axes.bar(ranks, difference[order], width=0.85 if len(order) < 60 else 1, color=colours.tolist())
    axes.axhline(float(difference.mean()), color="black", linewidth=1.3, linestyle="--")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(0.4, len(order) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f"{images(cohort, score)}, sorted", ylabel=f"difference in {heading}")
    axes.grid(axis="y")
    signs = [Patch(color=colour) for colour in (style.BLUE, style.ORANGE)]
    texts = [
        style.wrap(f"{name} better: {counted(n, 'image')}", 48) for name, n in zip((first, second), wins, strict=True)
    ]
    figure.legend(signs, texts, loc="outside upper left", ncols=1)
    mean, lowest, highest = (
        score_text(each, score) for each in (difference.mean(), difference.min(), difference.max())
    )
    equal = len(order) - sum(wins)
    return Picture(
        title=f"{heading} image by image: {first} minus {second}",
        svg=svg_of(figure),
        alt=f"Of {images(cohort, score)}, {first} is better in {heading} on {counted(wins[0], 'image')}, "
        f"{second} on {wins[1]}"
        f"{f', {equal} are equal' if equal else ''}. Mean difference {mean}; from {lowest} to {highest}.",
        caption=f"{heading} of {first} minus that of {second}, a bar an image, from the image where {first} does best "
        f"by comparison ({ids[order[0]]}) to that where {second} does ({ids[order[-1]]}). Dashed line: the mean "
        f"difference, {mean}. {images(cohort, score)}; {seeds(pair, cohort.folds)}.",
    )
