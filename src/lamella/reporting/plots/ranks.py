"""The rank of every method by every score on one small figure."""

from collections.abc import Sequence

import numpy as np

from lamella.metrics.catalogue import lookup
from lamella.plots import style
from lamella.plots.style import Picture, svg_of
from lamella.reporting.overview import matched, ranks_of
from lamella.reporting.parts.section import Section
from lamella.reporting.summary import counted, listed, scores_of

_MOST = 12  # columns, which a telephone can show
_MIRRORED = {"accuracy": "pixel_error"}  # the same order, told backwards
_ROW, _HEAD = 0.27, 1.35  # inches


@style.applied
def ranks(sections: Sequence[Section], headings: Sequence[str]) -> Picture | None:
    """The rank of every method by every score: a row a method, a block of columns a section; None: nothing to rank.

    Args:
        sections: of one test set each.
        headings: of them.
    """
    blocks = [(name, each, _ranked(each)) for name, each in zip(headings, sections, strict=True)]
    blocks = [(name, each, found) for name, each, found in blocks if found]
    if not blocks:
        return None
    most = max(1, _MOST // len(blocks))
    left = sum(max(0, len(found) - most) for _, _, found in blocks)
    rows = matched([each for _, each, _ in blocks])
    names = [style.wrap(row.name) for row in rows]
    heights = style.row_heights(names, _ROW)
    figure = style.blank(sum(heights) + _HEAD + (0.25 if len(blocks) > 1 else 0))
    widths = [min(most, len(found)) for _, _, found in blocks]
    grid = figure.subplots(1, len(blocks), squeeze=False, sharey=True, width_ratios=widths)[0]
    told = []
    for place, (axes, (name, each, found)) in enumerate(zip(grid, blocks, strict=True)):
        shown = _varied(list(found), most)
        middles = style.places(heights)
        for column, score in enumerate(shown):
            count = len(found[score])
            held = list(found[score].values())
            for middle, height, row in zip(middles, heights, rows, strict=True):
                rank = found[score].get(row.labels[place])
                if rank is None:
                    continue
                share = 1 - (rank - 1) / max(1, count - 1)
                axes.barh(middle, 0.94, left=column - 0.47, height=height - 0.03, color=_shade(share), linewidth=0)
                axes.text(column, middle, f"{rank}{'=' if held.count(rank) > 1 else ''}", ha="center", va="center",
                          fontsize=9.5, color=style.ON_DARK if share > 0.85 else style.ON_LIGHT)  # fmt: skip
        style.set_rows(axes, names, heights)
        axes.grid(visible=False)
        axes.set_xlim(-0.5, len(shown) - 0.5)
        axes.set_xticks(range(len(shown)), [lookup(score).heading for score in shown], rotation=90)
        axes.xaxis.tick_top()
        axes.tick_params("x", length=0)
        axes.spines[:].set_visible(False)
        if len(blocks) > 1:
            axes.set_xlabel(style.wrap(name, max(8, 5 * len(shown))), fontsize=9.5)
        first = {row.name: found[shown[0]].get(row.labels[place]) for row in rows}
        order = ", ".join(f"{rank} {row}" for row, rank in sorted(
            ((row, rank) for row, rank in first.items() if rank is not None), key=lambda each: each[1]))  # fmt: skip
        wins = [row.name for row in rows if sum(found[s].get(row.labels[place]) == 1 for s in shown) == len(shown)]
        always = f"; {listed(wins)} {'is' if len(wins) == 1 else 'are'} first by every score shown" if wins else ""
        told.append(f"{name}, by {lookup(shown[0]).heading}: {order}{always}")
    caption = (
        "Each number is a method's rank by the mean of one score, 1 the best (dark); = marks equal means, and nothing "
        "stands where a method was not run or no image has the score. Ranks say nothing of how far apart methods are: "
        "neighbours need not be told apart. No mean rank is given, for scores of the same pixels are not independent."
    )
    if left:
        caption += f" {counted(left, 'more column')} would not fit: the tables have all scores."
    return Picture("Ranks by every score", svg_of(figure), f"Ranks. {'. '.join(told)}.", caption)


def _ranked(section: Section) -> dict[str, dict[str, int]]:
    """Score -> method -> rank, of scores that images have and that have a direction; the deciding one first."""
    if len(section.summary) < 2:
        return {}
    names = [section.score, *(name for name in scores_of(section.cohort) if name != section.score)]
    found = {}
    for name in names:
        if lookup(name).direction == "none" or (_MIRRORED.get(name) in names and name != section.score):
            continue
        if name in section.summary and section.summary[name].notna().sum() > 1:
            found[name] = ranks_of(section, name)
    return found


def _varied(names: Sequence[str], most: int) -> list[str]:
    """So many scores, in their order: of each family (pixels, outlines, cells, ...) one, then of each a second."""
    families = [name.partition("/")[0] if "/" in name else "" for name in names]
    nth = [families[:place].count(family) for place, family in enumerate(families)]
    return [names[place] for place in sorted(sorted(range(len(names)), key=nth.__getitem__)[:most])]


def _shade(share: float) -> tuple[float, float, float]:
    """From a pale grey, for the last, to blue, for the first."""
    low, high = np.array([0.93, 0.93, 0.93]), np.array([0.0, 0.447, 0.698])
    red, green, blue = (low + share * (high - low)).tolist()
    return red, green, blue
