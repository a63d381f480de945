"""How training went: validation Dice and losses over epochs, a line a seed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lamella.metrics.catalogue import lookup
from lamella.plots.style import BLUE, GREEN, LINE, ORANGE, WIDTH, lines_of, style, wrap
from lamella.plots.svg import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Method, SeedRun
from lamella.reporting.numbers import score_text
from lamella.reporting.plots.words import phantom, ranked, repeats
from lamella.reporting.summary import listed

_DICE = "val/dice"
_HEIGHT = 1.2  # inches of a panel
_LINES = {
    _DICE: Line2D([], [], color=BLUE, linewidth=1.1, label=lookup(_DICE).heading),
    "train/loss": Line2D([], [], color=ORANGE, linewidth=1.1, label=lookup("train/loss").heading),
    "val/loss": Line2D([], [], color=GREEN, linewidth=1.1, linestyle="--", label=lookup("val/loss").heading),
}
_KEPT = Line2D([], [], color=BLUE, marker="o", markersize=4.5, linestyle="", label="the epoch that is kept")


@style()
def curves(cohort: Cohort) -> Picture | None:
    """Training curves: validation Dice and losses over epochs, a row a method, a line a seed. None without training."""
    methods = [method for method in ranked(cohort, "dice") if _trained(method)]
    if not methods:
        return None
    names = [wrap(method.label, 58) for method in methods]
    heights = [_HEIGHT + LINE * lines_of(name) for name in names]
    figure = Figure(figsize=(WIDTH, 0.8 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(names), 2, squeeze=False, sharex=True, height_ratios=heights)
    for method, name, (left, right) in zip(methods, names, grid, strict=True):
        for each in _trained(method):
            _draw(left, each, _DICE)
            for loss in ("train/loss", "val/loss"):
                _draw(right, each, loss)
        left.set_title(name, loc="left", fontsize=9.5)
        left.set_ylabel("Dice", fontsize=9.5)
        right.set_ylabel("loss", fontsize=9.5)
        for axes in (left, right):
            axes.grid()
            axes.locator_params(axis="y", nbins=4)
            axes.locator_params(axis="x", nbins=5, integer=True)
    _same_dice_axis(grid[:, 0].tolist())
    for axes in grid[-1]:
        axes.set_xlabel(f"epoch{phantom(cohort)}")
    figure.legend(handles=[*_LINES.values(), _KEPT], loc="outside lower left", ncols=2)
    untrained = [method.label for method in cohort.methods if not _trained(method)]
    kept = ", ".join(f"{method.label} {_kept(method)}" for method in methods)
    return Picture(
        title="Training",
        svg=svg_of(figure),
        alt=f"Validation Dice and losses of each method over epochs{phantom(cohort)}. Best validation Dice: {kept}.",
        caption="A line is a seed. Dice is the mean over whole validation images, on one scale for all methods; losses "
        "compare within a method only, for methods may minimise different ones. The weights of the epoch with the best "
        f"validation Dice (dot) are those that are tested. Trained: {repeats(methods)}"
        f"{', on phantom images' if cohort.phantom else ''}. "
        + (f"Without training: {listed(untrained)}." if untrained else ""),
    )


def _trained(method: Method) -> list[SeedRun]:
    return [each for each in method.runs if not each.curve.empty]


def _draw(axes: Axes, run: SeedRun, name: str) -> None:
    found = run.curve[name].to_numpy(np.float64)
    epochs = np.arange(1, len(found) + 1)
    axes.plot(epochs, found, color=_LINES[name].get_color(), linestyle=_LINES[name].get_linestyle(), linewidth=1.1)
    if name == _DICE:
        best = int(np.nanargmax(found))
        axes.plot(epochs[best], found[best], marker="o", color=BLUE, markersize=4.5)


def _same_dice_axis(panels: list[Axes]) -> None:
    low, high = (min(axes.get_ylim()[0] for axes in panels), max(axes.get_ylim()[1] for axes in panels))
    for axes in panels:
        axes.set_ylim(low, high)


def _kept(method: Method) -> str:
    """The best validation Dice of each seed and its epoch."""
    dice = [each.curve[_DICE].to_numpy(np.float64) for each in _trained(method)]
    return listed(f"{score_text(float(np.nanmax(found)), _DICE)} in epoch {np.nanargmax(found) + 1}" for found in dice)
