"""Pictures of one run: predictions with their wrong pixels, curves, the confusion matrix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

Bytes = npt.NDArray[np.uint8]

# Both wrong kinds are warm, so that "wrong" is seen at once, and differ in lightness, so that everyone can tell them.
FALSE_POSITIVE = (200, 0, 30)
FALSE_NEGATIVE = (255, 176, 0)
# Okabe & Ito 2008: told apart by everyone.
_CLASS_COLOURS = np.array(
    [(0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66)],
    np.uint8,
)

mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False})


def prediction(
    path: Path, *, image: Bytes, truth: Bytes, predicted: Bytes, title: str, class_names: Sequence[str]
) -> None:
    """Writes input, truth, prediction and wrong pixels of one image side by side.

    Args:
        path: PNG to write.
        image: (C, H, W), as stored, full size.
        truth: class ids (H, W).
        predicted: class ids (H, W).
        title: above the panels.
        class_names: one a class.
    """
    seen = np.moveaxis(image, 0, -1) if image.shape[0] == 3 else np.repeat(image[0][..., None], 3, axis=-1)
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
    named = class_names[1] if len(class_names) == 2 else "foreground"
    handles = [
        Patch(color=_unit(FALSE_POSITIVE), label=f"{named} predicted, not there"),
        Patch(
            color=_unit(FALSE_NEGATIVE),
            label=f"{named} missed" + ("" if len(class_names) == 2 else " or confused"),
        ),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False)
    _save(figure, path)


def mistakes(seen: Bytes, truth: Bytes, predicted: Bytes) -> Bytes:
    """The picture (H, W, 3) in pale grey, false positives and false negatives (or confusions) in colour."""
    pale = 128 + seen.mean(axis=-1, keepdims=True) / 2
    out = np.repeat(pale, 3, axis=-1).astype(np.uint8)
    wrong = truth != predicted
    out[wrong & (truth == 0)] = FALSE_POSITIVE
    out[wrong & (truth != 0)] = FALSE_NEGATIVE
    return out


def paint(mask: Bytes, num_classes: int) -> Bytes:
    """Class ids (H, W) as a picture (H, W, 3): background white; one foreground black, several coloured."""
    if num_classes == 2:
        return np.repeat((255 * (mask == 0))[..., None], 3, axis=-1).astype(np.uint8)
    out: Bytes = _CLASS_COLOURS[(mask.astype(int) - 1) % len(_CLASS_COLOURS)]
    out[mask == 0] = 255
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


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return (colour[0] / 255, colour[1] / 255, colour[2] / 255)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
