"""Pairs of methods: how far apart they are, beside what chance makes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

from lamella.metrics.catalogue import lookup
from lamella.plots.style import (
    BLUE,
    GREY,
    LINE,
    PALE,
    WIDTH,
    lines_of,
    padded,
    places,
    row_heights,
    set_rows,
    style,
    wrap,
)
from lamella.plots.svg import Picture, svg_of
from lamella.reporting.numbers import ranged
from lamella.reporting.plots.words import direction
from lamella.reporting.summary import counted
from lamella.statistics import Comparison, in_order

_PAIRS = 15  # shown at most; of more, those of the leading method


@style()
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
    unknown = sum(each.noise is None for each in turned)
    told = "; ".join(
        f"{each.first} minus {each.second} {ranged(each.difference, each.low, each.high, score)}, "
        + (f"{each.better} better" if each.better else "not decided")
        for each in shown
    )
    caption = [
        f"Mean {heading} of the method in bold minus that of the method beside the row ({direction(score)}). Bars: "
        "95 % interval over images."
    ]
    if unknown < len(turned):
        caption.append(
            "Grey: the differences that seeds alone make between equal methods, in 95 of 100 cases. A pair is decided, "
            "and the method in bold better, where its difference is too large for both kinds of chance (p < 0.05). "
            "That is corrected for the number of pairs, so one beyond the grey may still be undecided."
        )
    caption.append(f"Decided: {len(decided)} of {counted(len(turned), 'pair')}.")
    if unknown:
        caption.append(
            f"For {'all' if unknown == len(turned) else unknown} of them seed noise is unknown, because a method has "
            "one seed: they cannot be decided, however large the difference."
        )
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
    names: list[str] = []
    heights: list[float] = []
    rows: list[Comparison | str] = []
    for place, each in enumerate(shown):
        if place == 0 or shown[place - 1].first != each.first:
            heading = wrap(f"{each.first} minus", 58)
            rows.append(heading)
            names.append("")
            heights.append(LINE * lines_of(heading) + 0.12)
        rows.append(each)
        names.append(wrap(each.second))
        heights.extend(row_heights(names[-1:], 0.3))
    figure = Figure(figsize=(WIDTH, 1.45 + sum(heights)), layout="constrained")
    axes = figure.subplots()
    set_rows(axes, names, heights)
    ends = [0.0] + [end for each in shown for end in (each.low, each.high)]
    reach = max(np.abs(ends))
    bands = [each.noise for each in shown if each.noise is not None]
    # Two runs tell so little about their noise that its band could make all else invisible.
    widest = min(max(bands, default=0.0), 2 * reach or np.inf)
    axes.set_xlim(padded([*ends, widest, -widest]))
    beside = blended_transform_factory(figure.transFigure, axes.transData)
    for middle, height, row in zip(places(heights), heights, rows, strict=True):
        if isinstance(row, str):
            text = axes.text(0.01, middle + 0.03, row, transform=beside, va="center", weight="bold", fontsize=9.5,
                             bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
            text.set_in_layout(False)
        else:
            _pair(axes, middle, height, row)
    axes.axvline(0, color="black", linewidth=0.9)
    axes.set_xlabel(f"difference in {lookup(score).heading}")
    figure.legend(handles=_signs(shown), loc="outside lower left", ncols=2)
    return figure, max(bands, default=0.0) > widest


def _pair(axes: Axes, middle: float, height: float, each: Comparison) -> None:
    if each.noise is not None:
        axes.barh(middle, 2 * each.noise, left=-each.noise, height=height, color=PALE, linewidth=0)
    sign = _sign(each)
    axes.hlines(middle, each.low, each.high, color=sign.get_color(), linestyle=sign.get_linestyle(), linewidth=1.8)
    axes.plot(each.difference, middle, marker=sign.get_marker(), color=sign.get_color(), markersize=6,
              markerfacecolor=sign.get_markerfacecolor(), linestyle="")  # fmt: skip


def _sign(each: Comparison) -> Line2D:
    if each.better is not None:
        return Line2D([], [], color=BLUE, marker="s", markersize=6, label="decided")
    if each.noise is not None:
        return Line2D([], [], color=GREY, marker="o", markersize=6, markerfacecolor="white", label="not decided")
    return Line2D([], [], color=GREY, marker="o", markersize=6, markerfacecolor="white", linestyle=":",
                  label="one seed: not decidable")  # fmt: skip


def _signs(shown: Sequence[Comparison]) -> list[Line2D | Patch]:
    """The legend of what occurs."""
    found: dict[str, Line2D | Patch] = {str(sign.get_label()): sign for sign in map(_sign, shown)}
    if any(each.noise is not None for each in shown):
        found["noise"] = Patch(color=PALE, label="seed noise, 95 %")
    return list(found.values())
