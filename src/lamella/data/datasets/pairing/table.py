"""Pairs of images and masks as the rows of a CSV name them."""

import csv
import difflib
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lamella.data.datasets.pairing.coco import entry
from lamella.data.datasets.pairing.listing import composed, is_file
from lamella.data.datasets.pairing.pairs import Found, Pair
from lamella.data.io.read import located
from lamella.data.types import PARTS, ImageRef
from lamella.errors import DataError

_COLUMNS = ("image", "mask", "group", "part", "image_page", "mask_page", "class")


class _Row(NamedTuple):
    """A pair, where it stands, and the class that its mask is of; None where there is no such column."""

    line: int
    pair: Pair
    label: str | None


def from_csv(path: Path) -> Found:
    """The pairs that the rows of a CSV name.

    Its columns are image and mask and, where wanted, group, part, image_page, mask_page and class.
    Paths are relative to the CSV, pages are counted from 0; `file.h5:/volume/raw` names what is in a file. Several rows
    of one image are one mask in several files, with objects of the class that each row names. Other columns are passed
    over, unless they look like one of these misspelt. Semicolons may stand for commas, as some spreadsheets have it.

    Raises:
        DataError: it names the line where something is missing or wrong, or is there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"the file {path} is missing", "Set `dataset.pairs` to your CSV of pairs.") from None
    except OSError as error:
        raise DataError(f"the file {path} cannot be read: {error.strerror}", "Check the path.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8", "Save it as CSV in UTF-8.") from None
    lines = text.splitlines()
    header = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=";" if ";" in header and "," not in header else ",", restkey="")
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    _check_columns(path, list(reader.fieldnames))
    rows = [
        _row(path, reader.line_num, {name: (row[name] or "").strip() for name in _COLUMNS if name in row}, "" in row)
        for row in reader
    ]
    if not rows:
        raise DataError(f"{path} has no row", "Write one line for each pair below the names of the columns.")
    of_image: dict[ImageRef, list[_Row]] = {}
    for row in rows:
        of_image.setdefault(row.pair.image, []).append(row)
    several = [len(rows) for rows in of_image.values() if len(rows) > 1]
    notes = [f"{len(several)} image(s) have several masks, together {sum(several)} files"] if several else []
    return Found([_joined(path, rows) for rows in of_image.values()], Counter(), notes)


def _check_columns(path: Path, names: list[str]) -> None:
    for name in names:
        near = difflib.get_close_matches(name.lower(), _COLUMNS, n=1, cutoff=0.8)
        if name not in _COLUMNS and near and near[0] not in names:
            raise DataError(f"{path} has a column {name!r}", f"Did you mean {near[0]}?")
    if missing := [name for name in ("image", "mask") if name not in names]:
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)}; it has {', '.join(names) or 'none'}",
            f"The first line names the columns: {', '.join(_COLUMNS)}; the first two are needed.",
        )
    if twice := [name for name in _COLUMNS if names.count(name) > 1]:
        raise DataError(f"{path} has the column {twice[0]} twice", "Remove one.")


def _row(path: Path, line: int, row: dict[str, str], too_long: bool) -> _Row:
    where = f"{path}, line {line}"
    if too_long:
        raise DataError(f"{where}: more values than columns", "Quote a value that holds a comma.")
    files = {}
    for name in ("image", "mask"):
        if not row[name]:
            raise DataError(f"{where}: no {name}", "Each line needs an image and a mask.")
        files[name], inside = located(str(path.parent / row[name]))
        if not is_file(files[name]):
            remedy = "Paths are relative to the CSV's own folder."
            raise DataError(f"{where}: there is no file {path.parent / row[name]}", remedy)
        row[f"{name}_inside"] = inside or ""
    part = next((part for part in ("", *PARTS) if part == row.get("part", "")), None)
    if part is None:
        raise DataError(f"{where}: part is {row['part']!r}", "It is train, val, test or, on all lines, empty.")
    for name in ("group", "class"):
        if row.get(name) == "":
            raise DataError(f"{where}: no {name}", f"Where there is a column {name}, each line has one.")
    # Seen from the CSV, so that the data may be moved as a whole and keep its ids, and with them its split.
    id_ = Path(os.path.relpath(files["image"], path.parent)).with_suffix("").as_posix()
    pages = {name: row[name] for name in ("image_page", "mask_page") if row.get(name)}
    for name, text in pages.items():
        if not text.isdecimal():
            raise DataError(f"{where}: {name} is {text!r}", "Pages are whole numbers, counted from 0.")
    image, mask = (
        ImageRef(
            files[name],
            int(pages[f"{name}_page"]) if f"{name}_page" in pages else None,
            None,
            row[f"{name}_inside"] or None,
        )
        for name in ("image", "mask")
    )
    mask = replace(mask, inside=mask.inside or entry(image.path, mask.path))
    return _Row(line, Pair(composed(id_), image, mask, part, row.get("group")), row.get("class"))


def _joined(path: Path, rows: list[_Row]) -> Pair:
    """The rows of one image as one pair."""
    first, *others = rows
    masks: dict[ImageRef, int] = {}
    for row in rows:
        where = f"{path}, line {row.line}"
        if row.pair.mask in masks:
            raise DataError(
                f"{where}: the same image and mask as in line {masks[row.pair.mask]}", "Remove one of them."
            )
        masks[row.pair.mask] = row.line
        if (row.pair.group, row.pair.part) != (first.pair.group, first.pair.part):
            raise DataError(
                f"{where}: another group or part than in line {first.line}, of the same image",
                "All lines of an image have the same.",
            )
        if others and (row.pair.mask.page is not None or row.pair.mask.inside is not None):
            raise DataError(
                f"{where}: {row.pair.image.path} has several masks, and this one is {row.pair.mask}",
                "Of several masks each is a file of its own: save the page alone; or let one line name one mask.",
            )
    labels = tuple(row.label for row in rows if row.label is not None)
    mask = replace(first.pair.mask, others=tuple(row.pair.mask.path for row in others), labels=labels)
    return replace(first.pair, mask=mask)
