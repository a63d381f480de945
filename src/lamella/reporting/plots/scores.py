"""Methods on a score's axis, a row each: their means, who is not told apart from whom, and each image as a dot."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from lamella.metrics.catalogue import lookup
from lamella.plots import style
from lamella.plots.style import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Values
from lamella.reporting.numbers import ranged
from lamella.reporting.plots.words import axis_label, basis, images, interval_words
from lamella.reporting.summary import drawn, interval_of_mean, per_image, per_seed, ranked
from lamella.statistics import Comparison

_BINS = 70  # of the score's axis: dots of one bin stand side by side


@style.applied
def ranking(cohort: Cohort, comparisons: Sequence[Comparison], score: str) -> Picture:
    """Methods on the score's axis with intervals and single seeds; bars join those that are not told apart."""
    methods = ranked(cohort, score)
    labels = [method.label for method in methods]
    names = [style.wrap(label) for label in labels]
    heights = style.row_heights(names, 0.38 if len(names) < 9 else 0.33)  # all in one screen, beside the verdict
    joined = cliques(labels, comparisons)
    figure = style.blank(0.95 + sum(heights))
    share = 0.12 + 0.04 * len(joined) if joined else 0
    ratios = [1 - share, share] if joined else [1]
    axes, *side = figure.subplots(1, len(ratios), squeeze=False, sharey=True, width_ratios=ratios)[0]
    intervals = [interval_of_mean(method, score, cohort.groups) for method in methods]
    found = [each[:3] for each in intervals]
    single = [per_seed(method, score) for method in methods]
    for middle, (mean, low, high), means in zip(style.places(heights), found, single, strict=True):
        if np.isfinite(low):
            axes.hlines(middle, low, high, color=style.BLUE, linewidth=2)
        axes.plot(mean, middle, marker="o", color=style.BLUE, markersize=7, linestyle="")
        if len(means) > 1:
            axes.vlines(means, middle - 0.13, middle - 0.03, color="black", linewidth=1.1)
    style.set_rows(axes, names, heights)
    axes.set_xlim(style.padded([*np.ravel(found), *np.concatenate(single)]))
    axes.set_xlabel(axis_label(cohort, score))
    open_ = {frozenset(each[:2]) for each in comparisons if each.p is None}
    unknown = [any(pair <= {labels[i] for i in group} for pair in open_) for group in joined]
    for panel in side:
        _join(panel, [style.places(heights)[group] for group in joined], unknown)
    heading = lookup(score).heading
    means_ = ", ".join(f"{label} {ranged(*each, score)}" for label, each in zip(labels, found, strict=True))
    groups = "; ".join(" / ".join(labels[place] for place in group) for group in joined)
    all_pairs = len(comparisons) == len(labels) * (len(labels) - 1) // 2
    apart = " All are told apart." if all_pairs else f" {labels[0]} is told apart from all others."
    told = f" Not told apart: {groups}." if joined else apart if comparisons else ""
    bars = any(np.isfinite(each.low) for each in intervals)
    dots = f"Dot and bar: mean and {interval_words(cohort, intervals[0].method)}."
    caption = [dots if bars else f"Dot: mean; no interval over {drawn(cohort)}s is known."]
    if any(len(means) > 1 for means in single):
        caption.append("Short black strokes: single seeds.")
    if joined:
        chance = "seeds" if cohort.folds is None else "folds"
        caption.append(
            f"Joined at the right: not told apart, for images and {chance} together explain their differences."
        )
    if any(unknown):
        caption.append("Dotted line: some of its pairs were not tested; the verdict says why.")
    if comparisons and not all_pairs:
        caption.append(f"Only {labels[0]} was compared with the others.")
    if bars and any(each.better for each in comparisons):
        caption.append("Intervals of methods that are told apart may overlap: they are compared on the same images.")
    return Picture(
        title=f"Methods by mean {heading}",
        svg=svg_of(figure),
        alt=f"Mean {heading} over {images(cohort, score)} and 95 % interval, best first: {means_}.{told}",
        caption=f"{' '.join(caption)} {basis(cohort, score)}",
    )


def _join(side: Axes, groups: Sequence[Values], unknown: Sequence[bool]) -> None:
    """A vertical line for each group, with a dot at each of its members' rows (inches); dotted where unknown."""
    for column, (rows, dotted) in enumerate(zip(groups, unknown, strict=True)):
        side.vlines(column, rows.min(), rows.max(), color="black", linewidth=2, linestyle=":" if dotted else "-")
        side.plot(np.full(len(rows), column), rows, "o", color="black", markersize=6)
    side.set_xlim(-0.7, len(groups) - 0.3)
    side.set_xticks([])
    side.set_xlabel("not told\napart")
    side.tick_params("y", length=0, labelleft=False)
    side.spines[:].set_visible(False)


def cliques(labels: Sequence[str], comparisons: Collection[Comparison]) -> list[list[int]]:
    """The largest groups of methods of which no two are told apart.

    Args:
        labels: of the methods, best first.
        comparisons: of every pair.

    Returns:
        Places in `labels`, ascending; groups of one are left out. A group need not be without gaps.
    """
    place = {label: i for i, label in enumerate(labels)}
    alike: dict[int, set[int]] = {i: set() for i in place.values()}
    for each in comparisons:
        if each.better is None:
            first, second = place[each.first], place[each.second]
            alike[first].add(second)
            alike[second].add(first)
    return sorted(sorted(group) for group in _grown(set(), set(alike), set(), alike) if len(group) > 1)


def _grown(group: set[int], fit: set[int], done: set[int], alike: Mapping[int, set[int]]) -> list[set[int]]:
    """C. Bron, J. Kerbosch 1973, Communications of the ACM 16:575."""
    if not fit and not done:
        return [group]
    found = []
    for each in sorted(fit):
        found += _grown(group | {each}, fit & alike[each], done & alike[each], alike)
        fit, done = fit - {each}, done | {each}
    return found


@style.applied
def distributions(cohort: Cohort, score: str) -> Picture:
    """How a score is spread over images: a dot an image, quartiles, median and mean; a row a method, best first."""
    methods = ranked(cohort, score)
    values = [each[~np.isnan(each)] for each in (per_image(method, score) for method in methods)]
    names = [style.wrap(method.label) for method in methods]
    heights = style.row_heights(names, 0.62 if len(names) < 9 else 0.56)
    figure = style.blank(0.65 + sum(heights))
    axes = figure.subplots()
    style.set_rows(axes, names, heights)
    axes.set_xlim(style.padded(np.concatenate(values)))
    for middle, found in zip(style.places(heights), values, strict=True):
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
        alt=f"{heading} of {images(cohort, score)}. Medians, with the lowest and highest image, best mean first: "
        f"{medians}.",
        caption="A dot is an image; dots of about the same score stand above each other. The box holds the middle "
        f"half of the images, its line is the median, the diamond the mean. {basis(cohort, score)}",
    )


def _row(axes: Axes, middle: float, values: Values) -> None:
    """Dots above, a box below; `middle` of the row in inches."""
    heights = middle - 0.1 - 0.16 * _spread(values, *axes.get_xlim())
    style.dots(axes, values, heights, size=style.dot_size(len(values)), colour=style.BLUE, alpha=0.6)
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    box = middle + 0.19
    axes.barh(box, high - low, left=low, height=0.1, color=style.PALE, edgecolor=style.GREY, linewidth=0.8)
    axes.vlines(median, box - 0.08, box + 0.08, color="black", linewidth=2)
    axes.plot(values.mean(), box, marker="D", color="white", markeredgecolor="black", markersize=5)


def _spread(values: Values, low: float, high: float) -> Values:
    """Heights in [-1, 1] that keep style.dots of about the same value apart: the crowd of each bin, around 0."""
    bins = ((values - low) / (high - low) * _BINS).astype(int)
    sizes = np.bincount(bins, minlength=_BINS)
    # In random order within a bin, for a sorted one looks like a pattern in the data.
    order = np.lexsort((np.random.default_rng(0).permutation(len(values)), bins))
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(values))
    place[order] = np.arange(len(values)) - starts[bins[order]]  # within its bin
    step = min(0.3, 2 / max(1, sizes.max() - 1))
    return np.asarray((place - (sizes[bins] - 1) / 2) * step)
