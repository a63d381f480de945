"""Whether training went well, and whether counts and probabilities can be believed: a panel a method."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lamella.errors import StorageError
from lamella.metrics.calibration import BINS
from lamella.metrics.catalogue import lookup
from lamella.plots import style
from lamella.plots.style import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Method, SeedRun, Values
from lamella.reporting.numbers import UNKNOWN, ranged, score_text
from lamella.reporting.plots.words import images, median_run, phantom, repeats
from lamella.reporting.summary import listed, ranked
from lamella.statistics import Agreement, agreement

_DICE = "val/dice"
_HEIGHT = 1.2  # inches of a panel
_LINES = {
    _DICE: Line2D([], [], color=style.BLUE, linewidth=1.1, label=lookup(_DICE).heading),
    "train/loss": Line2D([], [], color=style.ORANGE, linewidth=1.1, label=lookup("train/loss").heading),
    "val/loss": Line2D([], [], color=style.GREEN, linewidth=1.1, linestyle="--", label=lookup("val/loss").heading),
}
_KEPT = Line2D([], [], color=style.BLUE, marker="o", markersize=4.5, linestyle="", label="the epoch that is kept")
_ERROR = "calibration/ece"
_COUNTS = {"count": "Counts of cells", "watershed/count": "Counts of cells, cells that touch cut apart by a watershed"}
_KINDS = {
    "as predicted": Line2D([], [], color=style.BLUE, marker="o", linewidth=1.2, markersize=4.5, label="as predicted"),
    "tempered": Line2D([], [], color=style.VERMILION, marker="^", linewidth=1.2, markersize=4.5, linestyle="--",
                       label="tempered"),
}  # fmt: skip
_MOST = 6  # methods with a panel of their own: more are hard to tell apart, and take a report's time


def _best_of(shown: Sequence[object], of: Sequence[object]) -> str:
    """A sentence that ends a caption, where not every method is drawn."""
    return f" Drawn are the {len(shown)} best of {len(of)} methods by their mean Dice." if len(shown) < len(of) else ""


@style.applied
def curves(cohort: Cohort) -> Picture | None:
    """Training curves: validation Dice and losses over epochs, a row a method, a line a seed. None without training."""
    trained = [method for method in ranked(cohort, "dice") if _trained(method)]
    if not trained:
        return None
    methods = trained[:_MOST]
    titles = [style.wrap(method.label, 58) for method in methods]
    heights = [_HEIGHT + style.LINE * style.lines_of(title) for title in titles]
    figure = style.blank(0.8 + sum(heights))
    grid = figure.subplots(len(titles), 2, squeeze=False, sharex=True, height_ratios=heights)
    for method, title, (left, right) in zip(methods, titles, grid, strict=True):
        for each in _trained(method):
            for name in _LINES.keys() & each.curve.columns:
                _draw(left if name == _DICE else right, each, name)
        left.set_title(title, loc="left", fontsize=9.5)
        left.set_ylabel("Dice", fontsize=9.5)
        right.set_ylabel("loss", fontsize=9.5)
        for axes in (left, right):
            axes.grid()
            axes.locator_params(axis="y", nbins=4)
            axes.locator_params(axis="x", nbins=5, integer=True)
    ends = [axes.get_ylim() for axes in grid[:, 0]]
    for axes in grid[:, 0]:
        axes.set_ylim(np.min(ends), np.max(ends))
    for axes in grid[-1]:
        axes.set_xlabel(f"epoch{phantom(cohort)}")
    figure.legend(handles=[*_LINES.values(), _KEPT], loc="outside lower left", ncols=2)
    untrained = [method.label for method in cohort.methods if not _trained(method)]
    kept = ", ".join(f"{method.label} {_kept(method)}" for method in methods)
    return Picture(
        title="Training",
        svg=svg_of(figure),
        alt=f"Validation Dice and losses of each method over epochs{phantom(cohort)}. Best validation Dice: {kept}.",
        caption=f"A line is {'the run of a fold' if cohort.folds else 'a seed'}. Dice is the mean over whole "
        "validation images, on one scale for all methods; losses compare within a method only, for methods may "
        "minimise different ones. The weights of the epoch with the best "
        f"validation Dice (dot) are those that are tested. Trained: {repeats(methods)}"
        f"{', on phantom images' if cohort.phantom else ''}. "
        + (f"Without training: {listed(untrained)}." if untrained else "")
        + _best_of(methods, trained),
    )


def _trained(method: Method) -> list[SeedRun]:
    return [each for run in method.runs for each in run.each if _DICE in each.curve]


def _draw(axes: Axes, run: SeedRun, name: str) -> None:
    found = run.curve[name].to_numpy(np.float64)
    epochs = np.arange(1, len(found) + 1)
    axes.plot(epochs, found, color=_LINES[name].get_color(), linestyle=_LINES[name].get_linestyle(), linewidth=1.1)
    if name == _DICE:
        best = int(np.nanargmax(found))
        axes.plot(epochs[best], found[best], marker="o", color=style.BLUE, markersize=4.5)


def _kept(method: Method) -> str:
    """The best validation Dice of each seed and its epoch."""
    dice = [each.curve[_DICE].to_numpy(np.float64) for each in _trained(method)]
    return listed(f"{score_text(float(np.nanmax(found)), _DICE)} in epoch {np.nanargmax(found) + 1}" for found in dice)


@style.applied
def bland_altman(cohort: Cohort, count: str) -> Picture | None:
    """The Bland-Altman plot of cell counts: found minus there, against the mean of the two; a panel a method.

    Args:
        cohort: the methods; of each the run with the median Dice.
        count: `count`, or `watershed/count`.

    Returns:
        None where not every run has counted.
    """
    columns = [f"{count}/true", f"{count}/found"]
    if not set(columns) <= set(cohort.names):
        return None
    methods = ranked(cohort, "dice")[:_MOST]
    counts = [method.median.scores[columns].to_numpy(np.float64).T for method in methods]
    limits = [agreement(found, true) for true, found in counts]
    figure, axes = style.panels([method.label for method in methods], [_short(each) for each in limits])
    for panel, (true, found), each in zip(axes, counts, limits, strict=True):
        _counts(panel, true, found, each)
    everything = np.stack(counts)
    axes[0].set_xlim(style.padded(everything.mean(axis=1)))
    axes[0].set_ylim(style.padded([*(everything[:, 1] - everything[:, 0]).ravel(), *np.ravel(limits)], 0.12))
    figure.supxlabel(f"mean of found and true{phantom(cohort)}", fontsize=10.5)
    figure.supylabel("found − true", fontsize=10.5)
    told = "; ".join(
        f"{method.label} {ranged(*each, f'{count}/error')}" for method, each in zip(methods, limits, strict=True)
    )
    return Picture(
        title=_COUNTS[count],
        svg=svg_of(figure),
        alt=f"Cells found minus cells there in {images(cohort)}. Bias and limits of agreement: {told}.",
        caption="Above 0 too many cells were found, below 0 too few. Dashed line: the bias, the mean difference; "
        "dotted lines: the limits of agreement, between which 95 of 100 differences are expected if they are normal "
        "(with Student's t; of a single image there are none). "
        "Both stand above the panel. A larger dot stands for several images with the same counts. "
        f"{images(cohort)}; {median_run(methods)}.{_best_of(methods, cohort.methods)}",
    )


def _short(limits: Agreement) -> str:
    if np.isnan(limits.low):
        return f"{limits.bias:z.1f} ({UNKNOWN})".replace("-", "−")
    return f"{limits.bias:z.1f} ({limits.low:z.1f} to {limits.high:z.1f})".replace("-", "−")


def _counts(axes: Axes, true: Values, found: Values, limits: Agreement) -> None:
    points, times = np.unique(np.stack([(true + found) / 2, found - true], axis=1), axis=0, return_counts=True)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axhline(limits.bias, color=style.VERMILION, linewidth=1.4, linestyle="--")
    for end in limits[1:] if np.isfinite(limits.low) else ():
        axes.axhline(end, color=style.VERMILION, linewidth=1.2, linestyle=":")
    for many in np.unique(times):
        size = style.dot_size(len(true)) * float(many) ** 0.5
        style.dots(axes, *points[times == many].T, size=size, colour=style.BLUE, alpha=0.6)
    axes.locator_params(nbins=5)


@style.applied
def reliability(cohort: Cohort) -> Picture | None:
    """Reliability curves: stated probabilities against how often they are right, as predicted and tempered.

    Returns:
        None where no method has left a table; those that lack it are left out.
    """
    tables = [(method, _table(method)) for method in ranked(cohort, "dice")]
    kept = [(method, table) for method, table in tables if table]
    if not kept:
        return None
    shown = kept[:_MOST]
    errors = [{kind: _error(part) for kind, part in table.items()} for _, table in shown]
    notes = [f"ECE {' → '.join(f'{error:.3f}' for error in found.values())}" for found in errors]
    figure, axes = style.panels([method.label for method, _ in shown], notes)
    for panel, (_, table) in zip(axes, shown, strict=True):
        panel.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8)
        for kind, part in table.items():
            _curve(panel, part, _KINDS[kind])
    axes[0].set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    figure.supxlabel(f"stated probability{phantom(cohort)}", fontsize=10.5)
    figure.supylabel("share that is right", fontsize=10.5)
    figure.legend(handles=list(_KINDS.values()), loc="outside upper left", ncols=2)
    told = "; ".join(
        f"{method.label} " + ", ".join(f"{score_text(error, _ERROR)} {kind}" for kind, error in found.items())
        for (method, _), found in zip(shown, errors, strict=True)
    )
    lacking = [method.label for method, table in tables if not table]
    return Picture(
        title="Calibration",
        svg=svg_of(figure),
        alt=f"Stated probabilities against the share that is right of the pixels of {images(cohort)}. Expected "
        f"calibration error: {told}.",
        caption="Two classes: the probability is that of foreground, right is what is foreground, and a curve flatter "
        "than the grey diagonal is of a method too sure of itself. More classes: the probability is that of the "
        "likeliest one, and too sure is what lies below the diagonal. A larger mark stands for more pixels. Tempered: "
        "with the temperature fitted on validation images. Above each panel: the expected calibration error over all "
        f"pixels together, as predicted → tempered. {images(cohort)}; {median_run([method for method, _ in shown])}."
        + (f" No such table, and left out: {listed(lacking)}." if lacking else "")
        + _best_of(shown, kept),
    )


def _table(method: Method) -> dict[str, pd.DataFrame]:
    """Kind -> the bins that hold pixels, of all folds together; nothing where the method's run has left no table."""
    try:
        paths = [run.fetch("scores/reliability.csv") for run in method.median.judges]
    except StorageError:
        return {}
    table = pd.concat([pd.read_csv(path).dropna() for path in paths], ignore_index=True)
    if len(paths) > 1:
        place = (table.probability * BINS).clip(upper=BINS - 1).astype(int)
        weighted = table.assign(probability=table.probability * table.pixels, right=table.right * table.pixels)
        sums = weighted.groupby(["kind", place.rename("bin")])[["probability", "right", "pixels"]].sum().reset_index()
        table = sums.assign(probability=sums.probability / sums.pixels, right=sums.right / sums.pixels)
    return {kind: table[table.kind == kind] for kind in _KINDS if kind in set(table.kind)}


def _curve(axes: Axes, table: pd.DataFrame, line: Line2D) -> None:
    axes.plot(table.probability, table.right, color=line.get_color(), linestyle=line.get_linestyle(), linewidth=1.2)
    share = np.sqrt(table.pixels / table.pixels.sum())
    axes.scatter(table.probability, table.right, s=5 + 60 * share, color=line.get_color(), alpha=0.8,
                 marker=str(line.get_marker()), linewidths=0)  # fmt: skip


def _error(table: pd.DataFrame) -> float:
    """The expected calibration error of all pixels together."""
    return float((table.pixels * (table.right - table.probability).abs()).sum() / table.pixels.sum())
