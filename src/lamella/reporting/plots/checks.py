"""Whether counts and probabilities can be believed: Bland-Altman panels and reliability curves, a panel a method."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lamella.errors import StorageError
from lamella.plots.style import BLUE, GREY, VERMILION, dot_size, dots, padded, panels, style
from lamella.plots.svg import Picture, svg_of
from lamella.reporting.cohorts import Cohort, Method
from lamella.reporting.numbers import ranged, score_text
from lamella.reporting.plots.words import Values, images, median_run, phantom, ranked
from lamella.reporting.summary import listed
from lamella.statistics import Agreement, agreement

_ERROR = "calibration/ece"
_COUNTS = {"count": "Counts of cells", "watershed/count": "Counts of cells, cells that touch cut apart by a watershed"}
_KINDS = {
    "as predicted": Line2D([], [], color=BLUE, marker="o", linewidth=1.2, markersize=4.5, label="as predicted"),
    "tempered": Line2D([], [], color=VERMILION, marker="^", linewidth=1.2, markersize=4.5, linestyle="--",
                       label="tempered"),
}  # fmt: skip


@style()
def bland_altman(cohort: Cohort, count: str) -> Picture | None:
    """The Bland-Altman plot of cell counts: found minus there, against the mean of the two; a panel a method.

    Args:
        cohort: the methods; of each the run with the median Dice.
        count: `count`, or `watershed/count`.

    Returns:
        None where not every run has counted.
    """
    columns = f"{count}/true", f"{count}/found"
    title = _COUNTS[count]
    if not set(columns) <= set(cohort.names):
        return None
    methods = ranked(cohort, "dice")
    counts = [method.median.scores[list(columns)].to_numpy(np.float64).T for method in methods]
    limits = [agreement(found, true) for true, found in counts]
    figure, axes = panels([method.label for method in methods], [_short(each) for each in limits])
    for panel, (true, found), each in zip(axes, counts, limits, strict=True):
        _counts(panel, true, found, each)
    everything = np.stack(counts)
    axes[0].set_xlim(padded(everything.mean(axis=1)))
    axes[0].set_ylim(padded([*(everything[:, 1] - everything[:, 0]).ravel(), *np.ravel(limits)], 0.12))
    figure.supxlabel(f"mean of found and true{phantom(cohort)}", fontsize=10.5)
    figure.supylabel("found − true", fontsize=10.5)
    error = f"{count}/error"
    told = "; ".join(f"{method.label} {ranged(*each, error)}" for method, each in zip(methods, limits, strict=True))
    return Picture(
        title=title,
        svg=svg_of(figure),
        alt=f"Cells found minus cells there in {images(cohort)}. Bias and limits of agreement: {told}.",
        caption="Above 0 too many cells were found, below 0 too few. Dashed line: the bias, the mean difference; "
        "dotted lines: the limits of agreement, between which 95 of 100 differences are expected if they are normal. "
        "Both stand above the panel. A larger dot stands for several images with the same counts. "
        f"{images(cohort)}; {median_run(methods)}.",
    )


def _short(limits: Agreement) -> str:
    return f"{limits.bias:z.1f} ({limits.low:z.1f} to {limits.high:z.1f})".replace("-", "−")


def _counts(axes: Axes, true: Values, found: Values, limits: Agreement) -> None:
    points, times = np.unique(np.stack([(true + found) / 2, found - true], axis=1), axis=0, return_counts=True)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axhline(limits.bias, color=VERMILION, linewidth=1.4, linestyle="--")
    for end in limits[1:]:
        axes.axhline(end, color=VERMILION, linewidth=1.2, linestyle=":")
    for many in np.unique(times):
        size = dot_size(len(true)) * float(many) ** 0.5
        dots(axes, *points[times == many].T, size=size, colour=BLUE, alpha=0.6)
    axes.locator_params(nbins=5)


@style()
def reliability(cohort: Cohort) -> Picture | None:
    """Reliability curves: stated probabilities against how often they are right, as predicted and tempered.

    Returns:
        None where no method has left a table; those that lack it are left out.
    """
    tables = [(method, _table(method)) for method in ranked(cohort, "dice")]
    shown = [(method, table) for method, table in tables if table]
    if not shown:
        return None
    errors = [{kind: _error(part) for kind, part in table.items()} for _, table in shown]
    figure, axes = panels(
        [method.label for method, _ in shown],
        [f"ECE {' → '.join(f'{error:.3f}' for error in found.values())}" for found in errors],
    )
    for panel, (_, table) in zip(axes, shown, strict=True):
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
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
        + (f" No such table, and left out: {listed(lacking)}." if lacking else ""),
    )


def _table(method: Method) -> dict[str, pd.DataFrame]:
    """Kind -> the bins that hold pixels; nothing where the method's run has left no table."""
    try:
        path = method.median.fetch("scores/reliability.csv")
    except StorageError:
        return {}
    table = pd.read_csv(path).dropna()
    return {kind: table[table.kind == kind] for kind in _KINDS if kind in set(table.kind)}


def _curve(axes: Axes, table: pd.DataFrame, line: Line2D) -> None:
    axes.plot(table.probability, table.right, color=line.get_color(), linestyle=line.get_linestyle(), linewidth=1.2)
    share = np.sqrt(table.pixels / table.pixels.sum())
    axes.scatter(table.probability, table.right, s=5 + 60 * share, color=line.get_color(), alpha=0.8,
                 marker=str(line.get_marker()), linewidths=0)  # fmt: skip


def _error(table: pd.DataFrame) -> float:
    """The expected calibration error of all pixels together."""
    return float((table.pixels * (table.right - table.probability).abs()).sum() / table.pixels.sum())
