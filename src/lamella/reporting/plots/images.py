"""A score image by image: how it is spread for each method, and where two methods differ."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lamella.metrics.catalogue import lookup
from lamella.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    WIDTH,
    dot_size,
    dots,
    padded,
    places,
    row_heights,
    set_rows,
    style,
    wrap,
)
from lamella.plots.svg import Picture, svg_of
from lamella.reporting.cohorts import Cohort
from lamella.reporting.numbers import ranged, score_text
from lamella.reporting.plots.words import Values, axis_label, basis, images, per_image, ranked, seeds
from lamella.reporting.summary import counted
from lamella.statistics import interval

_BINS = 70  # of the score's axis: dots of one bin stand side by side


@style()
def distributions(cohort: Cohort, score: str) -> Picture:
    """How a score is spread over images: a dot an image, quartiles, median and mean; a row a method, best first."""
    methods = ranked(cohort, score)
    values = [per_image(method, score) for method in methods]
    names = [wrap(method.label) for method in methods]
    heights = row_heights(names, 0.62)
    figure = Figure(figsize=(WIDTH, 0.65 + sum(heights)), layout="constrained")
    axes = figure.subplots()
    set_rows(axes, names, heights)
    axes.set_xlim(padded(values))
    for middle, found in zip(places(heights), values, strict=True):
        _row(axes, middle, found)
    axes.set_xlabel(axis_label(cohort, score))
    medians = ", ".join(
        f"{method.label} {ranged(float(np.median(found)), found.min(), found.max(), score)}"
        for method, found in zip(methods, values, strict=True)
    )
    heading = lookup(score).heading
    return Picture(
        title=f"{heading} of each {'phantom ' if cohort.phantom else ''}image",
        svg=svg_of(figure),
        alt=f"{heading} of {images(cohort)}. Medians, with the lowest and highest image, best mean first: {medians}.",
        caption="A dot is an image; dots of about the same score stand above each other. The box holds the middle "
        f"half of the images, its line is the median, the diamond the mean. {basis(cohort)}",
    )


def _row(axes: Axes, middle: float, values: Values) -> None:
    """Dots above, a box below; `middle` of the row in inches."""
    dots(
        axes,
        values,
        middle - 0.1 - 0.16 * _spread(values, *axes.get_xlim()),
        size=dot_size(len(values)),
        colour=BLUE,
        alpha=0.6,
    )
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    box = middle + 0.19
    axes.barh(box, high - low, left=low, height=0.1, color=PALE, edgecolor=GREY, linewidth=0.8)
    axes.vlines(median, box - 0.08, box + 0.08, color="black", linewidth=2)
    axes.plot(values.mean(), box, marker="D", color="white", markeredgecolor="black", markersize=5)


def _spread(values: Values, low: float, high: float) -> Values:
    """Heights in [-1, 1] that keep dots of about the same value apart: the crowd of each bin, around 0."""
    bins = ((values - low) / (high - low) * _BINS).astype(int)
    sizes = np.bincount(bins, minlength=_BINS)
    # In random order within a bin, for a sorted one looks like a pattern in the data.
    order = np.lexsort((np.random.default_rng(0).permutation(len(values)), bins))
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(values))
    place[order] = np.arange(len(values)) - starts[bins[order]]  # within its bin
    step = min(0.3, 2 / max(1, sizes.max() - 1))
    return np.asarray((place - (sizes[bins] - 1) / 2) * step)


@style()
def paired_images(cohort: Cohort, score: str, first: str, second: str) -> Picture:
    """A bar an image: by how much two methods differ on it, sorted, with the mean. Raises KeyError: no such method."""
    methods = {method.label: method for method in cohort.methods}
    pair = methods[first], methods[second]
    difference = per_image(pair[0], score) - per_image(pair[1], score)
    better = -difference if lookup(score).lower_is_better else difference
    wins = [int((better > 0).sum()), int((better < 0).sum())]
    order = np.argsort(-better, kind="stable")
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    colours = np.where(better[order] > 0, BLUE, ORANGE)
    ranks = np.arange(1, len(order) + 1)
    axes.bar(ranks, difference[order], width=0.85 if len(order) < 60 else 1, color=colours.tolist())
    found = interval(difference, groups=cohort.groups)
    axes.axhspan(found.low, found.high, color=GREY, alpha=0.22, linewidth=0)
    axes.axhline(found.mean, color="black", linewidth=1.3, linestyle="--")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(0.4, len(order) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    heading = lookup(score).heading
    axes.set(xlabel=f"{images(cohort)}, sorted", ylabel=f"difference in {heading}")
    axes.grid(axis="y")
    _wins(figure, (first, second), wins)
    mean = ranged(*found, score)
    lowest, highest = (score_text(end, score) for end in (difference.min(), difference.max()))
    equal = len(order) - sum(wins)
    return Picture(
        title=f"{heading} image by image: {first} minus {second}",
        svg=svg_of(figure),
        alt=f"Of {images(cohort)}, {first} is better in {heading} on {counted(wins[0], 'image')}, {second} on {wins[1]}"
        f"{f', {equal} are equal' if equal else ''}. Mean difference {mean}; from {lowest} to {highest}.",
        caption=f"{heading} of {first} minus that of {second}, a bar an image, from the image where {first} does best "
        f"by comparison ({cohort.ids[order[0]]}) to that where {second} does ({cohort.ids[order[-1]]}). Dashed line "
        f"and grey band: the mean difference and its 95 % interval over images, {mean}. {images(cohort)}; "
        f"{seeds(pair)}.",
    )


def _wins(figure: Figure, labels: Sequence[str], wins: Sequence[int]) -> None:
    """What the colours mean, above the bars: a line for each method."""
    handles = [Patch(color=colour) for colour in (BLUE, ORANGE)]
    texts = [wrap(f"{label} better: {counted(n, 'image')}", 48) for label, n in zip(labels, wins, strict=True)]
    figure.legend(handles, texts, loc="outside upper left", ncols=1)
