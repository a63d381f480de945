"""Pictures of one run, each a PNG: predictions with their wrong pixels, curves, the confusion matrix, reliability."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lamella.data.io.read import Bytes, Pixels
from lamella.data.types import IGNORE
from lamella.plots import overlays
from lamella.plots.overlays import Colour, paint

_STYLE: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
                          "text.parse_math": False}  # ids and names are shown as they are  # fmt: skip


@mpl.rc_context(_STYLE)
def prediction(
    path: Path, *, image: Pixels, truth: Bytes, predicted: Bytes, title: str, class_names: Sequence[str]
) -> None:
    """Writes input, truth, prediction and wrong pixels of one image side by side.

    Args:
        image: (C, H, W), as stored, full size, of any type and number of channels.
        truth: class ids (H, W).
        predicted: class ids (H, W).
    """
    seen = overlays.visible(image)
    height, width = truth.shape
    panels = {
        "input": seen,
        "truth": paint(truth, len(class_names)),
        "prediction": paint(predicted, len(class_names)),
        "wrong pixels": overlays.mistakes(seen, truth, predicted),
    }
    figure = Figure(figsize=(16, 4 * height / width + 0.9), layout="constrained")
    for axes, (name, pixels) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        axes.imshow(pixels, interpolation="antialiased")
        axes.set_title(name)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="0.7")
    two = len(class_names) == 2
    named = class_names[1] if two else "foreground"
    handles = [
        Patch(color=_unit(overlays.FALSE_POSITIVE), label=f"{named} predicted, not there"),
        Patch(color=_unit(overlays.FALSE_NEGATIVE), label=f"{named} missed" + ("" if two else " or confused")),
    ]
    if not two:
        colours = overlays.class_colours(class_names)
        handles = [*(Patch(color=_unit(colour), label=name) for name, colour in colours), *handles]
    if IGNORE in truth:
        handles.append(Patch(color=_unit(overlays.IGNORED), label="not counted"))
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False)
    _save(figure, path, title)


@mpl.rc_context(_STYLE)
def curves(path: Path, history: Sequence[Mapping[str, float]], title: str) -> None:
    """Writes loss, and scores on validation, over epochs."""
    epochs = np.arange(1, len(history) + 1)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    marker = "o" if len(history) < 25 else None
    panels = {
        "loss": {"train/loss": "training crops", "val/loss": "validation images"},
        "validation, mean over whole images": {f"val/{name}": name for name in ("dice", "iou", "accuracy")},
    }
    for axes, (heading, lines) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for name, label in lines.items():
            axes.plot(epochs, [h[name] for h in history], label=label, marker=marker, markersize=3)
        axes.set(title=heading, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
    _save(figure, path, title)


@mpl.rc_context(_STYLE)
def confusion_matrix(path: Path, matrix: npt.NDArray[np.int64], class_names: Sequence[str], title: str) -> None:
    """Writes pixel counts (K, K) of K classes, truth in rows, prediction in columns, shares of each row in colour."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.9 * len(class_names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        text = f"{share[row, column]:.2%}\n{matrix[row, column]:,} px"
        axes.text(column, row, text, ha="center", va="center", color="white" if share[row, column] > 0.5 else "black")
    ticks: Any = range(len(class_names))
    axes.set_xticks(ticks, class_names)
    axes.set_yticks(ticks, class_names, rotation=90, va="center")
    axes.set(xlabel="predicted", ylabel="truth")
    axes.spines[:].set_visible(False)
    _save(figure, path, title.replace(" · ", "\n"), fontsize=9)


@mpl.rc_context(_STYLE)
def reliability(path: Path, table: pd.DataFrame, temperature: float, title: str) -> None:
    """Writes how often pixels of each probability are right, as predicted and at the fitted temperature.

    Args:
        table: see `lamella.evaluation.evaluator.reliability`.
        temperature: as fitted on the validation images.
    """
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
    for (kind, part), marker in zip(table.groupby("kind", sort=False), "os", strict=True):
        label = f"at temperature {temperature:.2f}" if kind == "tempered" else str(kind)
        axes.plot(part["probability"], part["right"], marker=marker, markersize=4, label=label)
    axes.set(xlabel="probability", ylabel="share of pixels that are right", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    _save(figure, path, title.replace(" · ", "\n"), fontsize=9)


def _unit(colour: Colour) -> tuple[float, float, float]:
    return (colour[0] / 255, colour[1] / 255, colour[2] / 255)


def _save(figure: Figure, path: Path, title: str, fontsize: float = 11) -> None:
    figure.suptitle(title, fontsize=fontsize)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
