"""What a command says of a run in words: its heading, what is about to run, and the table of its scores."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Column, Table

from lamella.config.paths import typed
from lamella.data.prepared import PreparedData
from lamella.data.types import DatasetCard
from lamella.hardware import Hardware
from lamella.metrics.catalogue import lookup


def title(card: DatasetCard, model: str, seed: int) -> str:
    """What stands above every figure and table of a run; a phantom is always called one."""
    phantom = "PHANTOM (generated images) · " if card.phantom else ""
    return f"{phantom}{card.title} · {model}, seed {seed}"


def summary_line(heading: str, data: PreparedData, parameters: int, hardware: Hardware) -> str:
    """What is about to run, on what: heading, size of the network, device, numbers of images."""
    split = data.split
    return (
        f"{heading}\n{parameters / 1e6:.1f} M parameters, on {hardware.name} in {hardware.precision}; images: "
        f"{len(split.train)} to train, {len(split.val)} to choose by, {len(split.test)} to test"
    )


def print_scores(
    out: Console, scores: Mapping[str, float], *, heading: str, images: int, run_id: str, experiment: str
) -> None:
    """Prints the test scores of so many images as a table, and how to look at the MLflow run.

    Args:
        out: where.
        scores: by name; a mean's interval is `NAME/low` to `NAME/high`.
        heading: see `title`.
    """
    numbers = (Column(name, justify="right") for name in ("mean", "95 % interval over images"))
    named = f"Test scores: {images} images, full resolution\n{heading}"
    table = Table("score", *numbers, title=named, title_justify="left")
    for name, value in scores.items():
        if lookup(name).shown:
            low, high = scores.get(f"{name}/low"), scores.get(f"{name}/high")
            table.add_row(name, f"{value:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}")
    out.print(table)
    out.print(f"run {run_id}", highlight=False)
    out.print(f"`{typed('ui')}` shows it, with pictures, in experiment {experiment}", highlight=False)
