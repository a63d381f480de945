"""What a command says of a run in words: its heading, what is about to run, and the table of its scores."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Column, Table

from lamella.config.paths import typed
from lamella.data.types import DatasetCard, Sample
from lamella.hardware import Hardware
from lamella.metrics.catalogue import lookup

_UNKNOWN = "not known"


def title(card: DatasetCard, model: str, seed: int | None) -> str:
    """What stands above every figure and table of a run; a phantom is always called one."""
    phantom = "PHANTOM (generated images) · " if card.phantom else ""
    return f"{phantom}{card.title} · {model}" + ("" if seed is None else f", seed {seed}")


def summary_line(heading: str, parameters: int, hardware: Hardware) -> str:
    """What is about to run, on what: heading, size of the network, device."""
    return f"{heading}\n{parameters / 1e6:.1f} M parameters, on {hardware.name} in {hardware.precision}"


def print_scores(
    out: Console,
    scores: Mapping[str, float],
    *,
    heading: str,
    samples: Sequence[Sample],
    run_id: str,
    experiment: str,
) -> None:
    """Prints the test scores as a table, and how to look at the MLflow run.

    Args:
        out: where.
        scores: by name; a mean's interval is `NAME/low` to `NAME/high`, and `NAME/images` says on how many images it
            stands where those are not all.
        heading: see `title`.
        samples: the test images.
    """
    images, groups = len(samples), len({sample.group for sample in samples})
    over = "images" if groups == images else "groups"
    numbers = (Column(name, justify="right") for name in ("mean", f"95 % interval over {over}"))
    of = f"{images} image{'s' if images > 1 else ''}"
    if over == "groups":
        of += f" in {groups} group{'s' if groups > 1 else ''}"
    named = f"Test scores: {of}, full resolution\n{heading}"
    rows = [(name, *_cells(name, scores, images)) for name in _shown(scores)]
    table = Table("score", *numbers, title=named, title_justify="left")
    if any(note for *_, note in rows):
        table.add_column("")
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    out.print(table)
    if any(interval == _UNKNOWN for _, _, interval, _ in rows):
        out.print(f"{_UNKNOWN}: {_why_unknown(images, groups)}")
    if groups == 1 < images:
        out.print("One group (a stack, a patient): the scores describe these images only.")
    out.print(f"run {run_id}")
    out.print(f"`{typed('ui')}` shows it, with pictures, in experiment {experiment}")


def _shown(scores: Mapping[str, float]) -> list[str]:
    """The names of the rows, those of scores that no image has among them."""
    without = [name.removesuffix("/images") for name, value in scores.items() if name.endswith("/images") and not value]
    return [name for name in [*scores, *without] if lookup(name).shown]


def _cells(name: str, scores: Mapping[str, float], images: int) -> tuple[str, str, str]:
    """A row's value, interval, and on what it stands."""
    score, value = lookup(name), scores.get(name)
    low, high, having = (scores.get(f"{name}/{end}") for end in ("low", "high", "images"))
    # What has a distribution over images: the mean of a column, and what is pooled.
    sampled = score.kind in ("score", "signed error") and "/agreement_" not in name and (
        score.column is not None or name.startswith(("test/pooled/", "test/macro/"))
    )  # fmt: skip
    interval = _UNKNOWN if sampled and value is not None else ""
    if low is not None and high is not None:
        interval = f"{low:.4f} to {high:.4f}"
    notes = [] if having is None else [f"in {having:.0f} of {images} images"]
    imputed = scores.get("test/boundary/imputed", 0)
    if imputed and name.startswith("test/boundary/") and score.unit in ("px", "nm"):
        notes.append(f"{imputed:.0f} image{'s' if imputed > 1 else ''}: nothing found, diagonal taken")
    said = "" if value is None else f"{value:.{score.decimals if score.kind == 'count' else 4}f}"
    return said, interval, "; ".join(notes)


def _why_unknown(images: int, groups: int) -> str:
    if groups == 1:
        return "all test images are of one group" if images > 1 else "one image says nothing of others"
    return "one image" + (" or one group" if groups < images else "") + " has the score, or all have the same"
