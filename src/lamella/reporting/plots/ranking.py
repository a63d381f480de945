"""The methods on a score's axis, and who is not told apart from whom."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lamella.metrics.catalogue import lookup
from lamella.plots.style import BLUE, WIDTH, padded, places, row_heights, set_rows, style, wrap
from lamella.plots.svg import Picture, svg_of
from lamella.reporting.cohorts import Cohort
from lamella.reporting.numbers import ranged
from lamella.reporting.plots.words import Values, axis_label, basis, images, per_image, per_seed, ranked
from lamella.statistics import Comparison, interval


@style()
def ranking(cohort: Cohort, comparisons: Sequence[Comparison], score: str) -> Picture:
    """Methods on the score's axis with intervals and single seeds; bars join those that are not told apart."""
    methods = ranked(cohort, score)
    labels = [method.label for method in methods]
    names = [wrap(label) for label in labels]
    heights = row_heights(names, 0.38)
    joined = cliques(labels, comparisons)
    figure = Figure(figsize=(WIDTH, 0.95 + sum(heights)), layout="constrained")
    share = 0.12 + 0.04 * len(joined) if joined else 0
    axes, *side = figure.subplots(1, 2 if joined else 1, squeeze=False, sharey=True,
                                  width_ratios=[1 - share, share] if joined else [1])[0]  # fmt: skip
    found = [interval(per_image(method, score), groups=cohort.groups) for method in methods]
    single = [per_seed(method, score) for method in methods]
    for middle, (mean, low, high), means in zip(places(heights), found, single, strict=True):
        axes.hlines(middle, low, high, color=BLUE, linewidth=2)
        axes.plot(mean, middle, marker="o", color=BLUE, markersize=7, linestyle="")
        if len(means) > 1:
            axes.vlines(means, middle - 0.13, middle - 0.03, color="black", linewidth=1.1)
    set_rows(axes, names, heights)
    axes.set_xlim(padded([*np.ravel(found), *np.concatenate(single)]))
    axes.set_xlabel(axis_label(cohort, score))
    open_ = {frozenset(each[:2]) for each in comparisons if each.noise is None}
    unknown = [any(pair <= {labels[i] for i in group} for pair in open_) for group in joined]
    for panel in side:
        _join(panel, [places(heights)[group] for group in joined], unknown)
    heading = lookup(score).heading
    means_ = ", ".join(f"{label} {ranged(*each, score)}" for label, each in zip(labels, found, strict=True))
    groups = "; ".join(" / ".join(labels[place] for place in group) for group in joined)
    told = f" Not told apart: {groups}." if joined else " All are told apart." if comparisons else ""
    caption = ["Dot and bar: mean and 95 % interval over images."]
    if any(len(means) > 1 for means in single):
        caption.append("Short black strokes: single seeds.")
    if joined:
        caption.append(
            "Methods with dots on one line at the right are not told apart: no two of them differ by more than chance, "
            "that of images or that of seeds, can explain."
        )
    if any(unknown):
        caption.append("Dotted line: some of its methods have one seed, so nothing is known of the chance of seeds.")
    if comparisons:
        caption.append("Methods whose intervals overlap may still be told apart, for they are compared image by image.")
    return Picture(
        title=f"Methods by mean {heading}",
        svg=svg_of(figure),
        alt=f"Mean {heading} over {images(cohort)} and 95 % interval, best first: {means_}.{told}",
        caption=f"{' '.join(caption)} {basis(cohort)}",
    )


def _join(side: Axes, groups: Sequence[Values], unknown: Sequence[bool]) -> None:
    """A vertical line for each group, with a dot at each of its members' rows (inches); dotted where seeds are few."""
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
