"""images.csv and objects.csv: a row an image, a row an object, of all files of a folder."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lamella.novelty.collector import Judgement
from lamella.plaintext import to_cell, write_csv
from lamella.prediction.inputs import Input
from lamella.prediction.record import Record

Row = dict[str, Any]


def image_row(
    given: Input,
    page: int | None,
    size: tuple[int, int],
    pixels: npt.NDArray[np.int64],
    mean: float | None,
    seconds: float,
) -> Row:
    """What is known of a predicted picture before its objects are.

    Args:
        given: its file.
        page: its number, where the file has pages.
        size: (H, W).
        pixels: of each class.
        mean: of the probability of the class that each pixel was given; None of a method without.
        seconds: that the prediction took.
    """
    return {
        "file": given.path.name,
        "name": given.name,
        "page": page,
        "height": size[0],
        "width": size[1],
        "pixels": pixels.tolist(),
        "foreground": 1 - int(pixels[0]) / (size[0] * size[1]),
        "mean_probability": mean,
        "seconds": round(seconds, 3),
    }


def judged(found: Judgement) -> Row:
    """What images.csv says of whether a picture is like those that the network learned from."""
    unlike = "cannot be said" if found.unlike is None else "yes" if found.unlike else "no"
    return {
        "unlike": unlike,
        "novelty": found.score,
        "reasons": list(found.reasons),
        "uncertainty": found.uncertainty,
    }


def areas(row: Row, class_names: Sequence[str], spacing_nm: tuple[float, float] | None) -> Row:
    """The area of each class: pixels and, where their size is known, square micrometres."""
    found: Row = {}
    for name, count in zip(class_names, row["pixels"], strict=True):
        found[f"area_{name}_px"] = count
        if spacing_nm is not None:
            found[f"area_{name}_um2"] = float(f"{count * spacing_nm[0] * spacing_nm[1] / 1e6:.9g}")
    return found


def write_objects(
    file: IO[str], page: int | None, columns: Mapping[str, npt.NDArray[Any]], classes: Sequence[str], head: bool
) -> None:
    """Adds the objects of one picture to a file's rows of objects.csv, under headings where it is the first."""
    lead = {"page": ["" if page is None else page] * len(classes), "class": [to_cell(each) for each in classes]}
    pd.DataFrame({**lead, **columns}).to_csv(file, index=False, header=head, float_format="%.7g")


def write_images(path: Path, records: Iterable[Record]) -> None:
    """Writes images.csv, one row a picture. Raises OSError."""
    rows = [_shown(image) for record in records for image in record.images]
    fullest = max(rows, key=len, default={})  # where the size of a pixel is known there are more columns
    write_csv(pd.DataFrame(rows, columns=list(fullest)), path, float_format="%.7g")


def join_objects(path: Path, records: Iterable[Record], parts: Mapping[str, Path]) -> None:
    """Writes objects.csv: the rows of all files, each with its file's name in front. Raises OSError."""
    records = [*records]
    head: dict[str, None] = {}
    for record in records:
        with parts[record.name].open(encoding="utf-8", newline="") as part:
            head |= dict.fromkeys(next(csv.reader(part), []))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", *head])
        for record in records:
            name = to_cell(record.images[0]["name"])
            with parts[record.name].open(encoding="utf-8", newline="") as part:
                lines = csv.reader(part)
                own = next(lines, [])
                if own == [*head]:
                    writer.writerows([name, *line] for line in lines)
                    continue
                places = [own.index(each) if each in own else None for each in head]
                writer.writerows([name, *("" if at is None else line[at] for at in places)] for line in lines)


def _shown(image: Row) -> Row:
    """A row of images.csv: what tells of the picture first, then of its classes, then whether it can be trusted."""
    last = ("unlike", "novelty", "uncertainty", "seconds")
    row = {key: value for key, value in image.items() if key not in ("pixels", "reasons", *last)}
    return row | {key: image[key] for key in last} | {"reasons": "; ".join(image["reasons"])}
