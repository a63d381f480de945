"""index.html: what was found in a folder of images, on one page; `predictions.html.j2` has the markup."""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lamella.errors import LamellaError
from lamella.inference.checkpoint import Trained
from lamella.pages.render import Cell, Table, render
from lamella.prediction.overview import colours
from lamella.prediction.record import Record
from lamella.version import __version__

_PICTURES = 200  # at most, so that the page stays small
_SIDE = 320
_ROWS = 2000
_STEPS = 24  # of a histogram
_ENOUGH = 5  # images a histogram is of, at least


def page(
    folder: Path,
    records: Sequence[Record],
    trained: Trained,
    networks: Sequence[str],
    failed: Mapping[Path, LamellaError],
    passed_over: str,
    title: str,
) -> str:
    """The HTML of the whole page.

    Args:
        folder: of the results.
        records: of all files that are finished.
        trained: the network that stands for all.
        networks: what they are called.
        failed: the files that could not be predicted, each with why.
        passed_over: the files that are no images, in words.
        title: of the page.
    """
    images = [(record, image) for record in records for image in record.images]
    flagged = [(record, image) for record, image in images if image["unlike"] == "yes"]
    shown = list({record.name: record for record, _ in [*flagged, *images]}.values())
    keys = list(
        zip(trained.class_names, ("#" + bytes(each).hex() for each in colours(trained.class_names)), strict=True)
    )
    return render(
        "predictions.html.j2",
        title=title,
        made=f"Lamella {__version__}, predicted by {', '.join(networks)}",
        counts={
            "image": len(images),
            "object": sum(image["objects"] for _, image in images),
            "flag": len(flagged),
            "failure": len(failed),
        },
        doubts=sorted(
            {reason for _, image in images if image["unlike"] == "cannot be said" for reason in image["reasons"][:1]}
        ),
        flagged=[{"name": _name(record, image), "reasons": image["reasons"]} for record, image in flagged],
        failed=[
            {"name": str(path), "problem": error.problem, "remedy": error.remedy} for path, error in failed.items()
        ],
        passed_over=passed_over,
        keys=keys[1:],
        pictures=[found for record in shown[:_PICTURES] if (found := _picture(folder, record))],
        left_out=max(0, len(shown) - _PICTURES),
        histograms=_histograms([image for _, image in images]),
        images=_table(images, trained.class_names),
    )


def _name(record: Record, image: Mapping[str, Any]) -> str:
    return record.name if image["page"] is None else f"{record.name}, page {image['page']}"


def _picture(folder: Path, record: Record) -> dict[str, str] | None:
    """The overlay of a file, made small, and what is said below; None where it is not there any longer."""
    with suppress(OSError, KeyError), Image.open(folder / record.files["overlay"]) as overlay:
        overlay.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        file = io.BytesIO()
        overlay.convert("RGB").save(file, "JPEG", quality=75)
        objects = sum(image["objects"] for image in record.images)
        pages = f"page {len(record.images) // 2} of {len(record.images)}, " if record.pages else ""
        text = f"{pages}{objects} object{'' if objects == 1 else 's'}"
        if any(image["unlike"] == "yes" for image in record.images):
            text += ", unlike the training images"
        return {"name": record.name, "text": text, "jpeg": base64.b64encode(file.getvalue()).decode()}
    return None


def _histograms(images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bars, each at most 1, of numbers that tell of each image."""
    found = []
    for name, values, text in (
        ("Objects an image", [image["objects"] for image in images], "{:.0f}"),
        ("Foreground, share of an image", [image["foreground"] for image in images], "{:.0%}"),
    ):
        low, high = min(values, default=0), max(values, default=0)
        if len(values) < _ENOUGH or low == high:
            continue
        counts, _ = np.histogram(values, _STEPS, (low, high))
        bars = (counts / counts.max()).tolist()
        found.append({"name": name, "bars": bars, "low": text.format(low), "high": text.format(high)})
    return found


def _table(images: Sequence[tuple[Record, Mapping[str, Any]]], class_names: Sequence[str]) -> Table:
    rows = []
    for record, image in sorted(images, key=lambda each: each[1]["unlike"] != "yes")[:_ROWS]:
        mean, sizes = image["mean_probability"], f"{image['width']} x {image['height']}"
        shares = [f"{count / (image['width'] * image['height']):.1%}" for count in image["pixels"][1:]]
        row = [Cell(_name(record, image)), Cell(sizes), Cell(f"{image['objects']:,}"), *map(Cell, shares)]
        row.append(Cell("" if mean is None else f"{mean:.3f}"))
        row.append(Cell(image["unlike"], image["reasons"] if image["unlike"] == "yes" else (), left=True))
        rows.append(row)
    heads = ["image", "pixels", "objects", *class_names[1:], "mean probability"]
    head = [*map(Cell, heads), Cell("unlike the training images", left=True)]
    more = f" The first {_ROWS}; images.csv has all {len(images)}." if len(images) > _ROWS else ""
    explanation = (
        "Pixels are width x height; of classes stands their share of them. The mean probability is that of the class "
        f"which each pixel was given: near 1 the network was sure. Flagged images come first.{more}"
    )
    return Table("images-table", "Images", explanation, head, rows)
