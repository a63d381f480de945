"""Pictures of one run: predictions with their wrong pixels, curves, the confusion matrix."""

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

# Both wrong kinds are warm, so that "wrong" is seen at once, and differ in lightness, so that everyone can tell them.
FALSE_POSITIVE = (200, 0, 30)
FALSE_NEGATIVE = (255, 176, 0)
IGNORED = (190, 190, 190)
# Okabe & Ito 2008: told apart by everyone.
_CLASS_COLOURS = np.array(
    [(0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66)],
    np.uint8,
)

mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False})


def prediction(
    path: Path, *, image: Pixels, truth: Bytes, predicted: Bytes, title: str, class_names: Sequence[str]
) -> None:
    """Writes input, truth, prediction and wrong pixels of one image side by side.

    Args:
        path: PNG to write.
        image: (C, H, W), as stored, full size, of any type and number of channels.
        truth: class ids (H, W).
        predicted: class ids (H, W).
        title: above the panels.
        class_names: one a class.
    """
    seen = visible(image)
    height, width = truth.shape
    panels = {
        "input": seen,
        "truth": paint(truth, len(class_names)),
        "prediction": paint(predicted, len(class_names)),
        "wrong pixels": mistakes(seen, truth, predicted),
    }
    figure = Figure(figsize=(16, 4 * height / width + 0.9), layout="constrained")
    for axes, (name, pixels) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        axes.imshow(pixels, interpolation="antialiased")
        axes.set_title(name)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="0.7")
    figure.suptitle(title, fontsize=11)
    two = len(class_names) == 2
    named = class_names[1] if two else "foreground"
    handles = [
        Patch(color=_unit(FALSE_POSITIVE), label=f"{named} predicted, not there"),
        Patch(color=_unit(FALSE_NEGATIVE), label=f"{named} missed" + ("" if two else " or confused")),
    ]
    if not two:
        handles = [Patch(color=_unit(colour), label=name) for name, colour in _legend(class_names)] + handles
    if IGNORE in truth:
        handles.append(Patch(color=_unit(IGNORED), label="not counted"))
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False)
    _save(figure, path)


def visible(image: Pixels) -> Bytes:
    """An image (C, H, W) as people can look at it: uint8 (H, W, 3).

    8-bit levels stay as they are; others are stretched between their 1st and 99th percentile. Three channels
    are red, green and blue; of any other number the first is shown.
    """
    shown = image if len(image) == 3 else image[:1]
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (1, 99))
        shown = (255 * ((shown - low) / (high - low if high > low else 1)).clip(0, 1)).astype(np.uint8)
    return np.broadcast_to(np.moveaxis(shown, 0, -1), (*shown.shape[1:], 3)).astype(np.uint8)


def _legend(class_names: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    colours = _CLASS_COLOURS.tolist()
    return [(name, tuple(colours[i % len(colours)])) for i, name in enumerate(class_names[1:])]


def mistakes(seen: Bytes, truth: Bytes, predicted: Bytes) -> Bytes:
    """The picture (H, W, 3) in pale grey, false positives and false negatives (or confusions) in colour."""
    pale = 128 + seen.mean(axis=-1, keepdims=True) / 2
    out = np.repeat(pale, 3, axis=-1).astype(np.uint8)
    wrong = (truth != predicted) & (truth != IGNORE)
    out[wrong & (truth == 0)] = FALSE_POSITIVE
    out[wrong & (truth != 0)] = FALSE_NEGATIVE
    return out


def paint(mask: Bytes, num_classes: int) -> Bytes:
    """Class ids (H, W) as a picture (H, W, 3): background white; one foreground black, several coloured."""
    out: Bytes = _CLASS_COLOURS[(mask.astype(int) - 1) % len(_CLASS_COLOURS)]
    if num_classes == 2:
        out[mask == 1] = 0
    out[mask == 0] = 255
    out[mask == IGNORE] = IGNORED
    return out


def curves(path: Path, history: Sequence[Mapping[str, float]], title: str) -> None:
    """Writes loss, and scores on validation, over epochs."""
    epochs = np.arange(1, len(history) + 1)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    loss, scores = figure.subplots(1, 2)
    marker = "o" if len(history) < 25 else None
    for name, label in (("train/loss", "training crops"), ("val/loss", "validation images")):
        loss.plot(epochs, [h[name] for h in history], label=label, marker=marker, markersize=3)
    loss.set(title="loss", xlabel="epoch")
    for name in ("val/dice", "val/iou", "val/accuracy"):
        scores.plot(epochs, [h[name] for h in history], label=name.removeprefix("val/"), marker=marker, markersize=3)
    scores.set(title="validation, mean over whole images", xlabel="epoch")
    for axes in (loss, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def confusion_matrix(path: Path, matrix: npt.NDArray[np.int64], class_names: Sequence[str], title: str) -> None:
    """Writes pixel counts, truth in rows, prediction in columns, shares of each row in colour.

    Args:
        path: PNG to write.
        matrix: (K, K) pixel counts.
        class_names: K names.
        title: above the matrix.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.9 * len(class_names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        text = f"{share[row, column]:.2%}\n{matrix[row, column]:,} px"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color="white" if share[row, column] > 0.5 else "black",
        )
    ticks: Any = range(len(class_names))
    axes.set_xticks(ticks, class_names)
    axes.set_yticks(ticks, class_names, rotation=90, va="center")
    axes.set(xlabel="predicted", ylabel="truth")
    axes.spines[:].set_visible(False)
    figure.suptitle(title.replace(" · ", "\n"), fontsize=9)
    _save(figure, path)


def reliability(path: Path, table: pd.DataFrame, temperature: float, title: str) -> None:
    """Writes how often pixels of each probability are right, as predicted and at the fitted temperature.

    Args:
        path: PNG to write.
        table: see `lamella.evaluation.evaluator.reliability`.
        temperature: as fitted on the validation images.
        title: above the curves.
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
    figure.suptitle(title.replace(" · ", "\n"), fontsize=9)
    _save(figure, path)


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return (colour[0] / 255, colour[1] / 255, colour[2] / 255)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
