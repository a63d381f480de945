"""Which image goes with which mask, and what else is known of the two: from folders, from files, from a CSV."""

import csv
import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lamella.data.datasets.pairing import composed, contents, pair_by_stem
from lamella.errors import DataError

Part = Literal["train", "val", "test", ""]
PARTS: tuple[Part, ...] = ("train", "val", "test")
_WHOLE: list[Part] = [""]
_COLUMNS = ("image", "mask", "group", "part", "image_page", "mask_page")


@dataclass(frozen=True)
class Pair:
    """Two files that belong together.

    Attributes:
        id: unique, but for rows of a CSV that name pages.
        image: the file.
        mask: the file.
        part: where it was published.
        group: as a CSV has it.
        image_page: as a CSV has it; None: the only one, or all of a stack.
        mask_page: the same.
    """

    id: str
    image: Path
    mask: Path
    part: Part = ""
    group: str | None = None
    image_page: int | None = None
    mask_page: int | None = None


def from_places(images: Path, masks: Path, *, image_suffix: str, mask_suffix: str) -> list[Pair]:
    """Two files, or the pairs of two folders (which may be one), or of their sub-folders train/, val/ and test/.

    Raises:
        DataError: see `pair_by_stem`; a file where a folder is wanted; files beside the sub-folders; a sub-folder of
            one that the other lacks.
    """
    for path, key in ((images, "images"), (masks, "masks")):
        if not path.exists():
            raise DataError(f"{path} is missing", f"Set `dataset.{key}` to your folder of {key}, or to a stack.")
    if images.is_file() != masks.is_file():
        raise DataError(
            f"{images} is a {'file' if images.is_file() else 'folder'}, {masks} a "
            f"{'file' if masks.is_file() else 'folder'}",
            "`dataset.images` and `dataset.masks` must be two files (stacks) or two folders.",
        )
    if images.is_file():
        return [Pair(composed(images.stem), images, masks)]
    parts = _parts(images)
    if parts != _parts(masks):
        raise DataError(
            f"{images} and {masks} hold different ones of the sub-folders train/, val/ and test/",
            "Both need the same ones.",
        )
    return [
        Pair(f"{part}/{stem}" if part else stem, image, mask, part)
        for part in parts or _WHOLE
        for stem, image, mask in pair_by_stem(
            images / part, masks / part, image_suffix=image_suffix, mask_suffix=mask_suffix
        )
    ]


def from_csv(path: Path) -> list[Pair]:
    """The rows of a CSV with the columns image and mask and, where wanted, group, part, image_page and mask_page.

    Paths are relative to the CSV, pages are counted from 0. Other columns are passed over, unless they look like
    one of these misspelt. Semicolons may stand for commas, as some spreadsheets have it.

    Raises:
        DataError: names the line where something is missing or wrong.
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
    pairs = [
        _pair(path, reader.line_num, {name: (row[name] or "").strip() for name in _COLUMNS if name in row}, "" in row)
        for row in reader
    ]
    if not pairs:
        raise DataError(f"{path} has no row", "Write one line for each pair below the names of the columns.")
    return pairs


def _parts(folder: Path) -> list[Part]:
    """Which of the sub-folders there are; none where the folder holds images itself."""
    paths = contents(folder)
    parts = [part for part in PARTS if (folder / part).is_dir()]
    beside = [p for p in paths if p.name not in parts]
    if parts and beside:
        raise DataError(
            f"{beside[0]} lies beside the sub-folder {parts[0]}/ of {folder}",
            "Images lie either in the folder itself or in sub-folders train/, val/ and test/, and nothing else does.",
        )
    return parts


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


def _pair(path: Path, line: int, row: dict[str, str], too_long: bool) -> Pair:
    where = f"{path}, line {line}"
    if too_long:
        raise DataError(f"{where}: more values than columns", "Quote a value that holds a comma.")
    for name in ("image", "mask"):
        if not row[name]:
            raise DataError(f"{where}: no {name}", "Each line needs an image and a mask.")
        if not (path.parent / row[name]).is_file():
            raise DataError(
                f"{where}: there is no file {path.parent / row[name]}", "Paths are relative to the CSV's own folder."
            )
    part = next((part for part in ("", *PARTS) if part == row.get("part", "")), None)
    if part is None:
        raise DataError(f"{where}: part is {row['part']!r}", "It is train, val, test or, on all lines, empty.")
    if row.get("group") == "":
        raise DataError(f"{where}: no group", "Where there is a column group, each line has one.")
    image = path.parent / row["image"]
    # Seen from the CSV, so that the data may be moved as a whole and keep its ids, and with them its split.
    id_ = Path(os.path.relpath(image, path.parent)).with_suffix("").as_posix()
    return Pair(
        id=composed(id_),
        image=image,
        mask=path.parent / row["mask"],
        part=part,
        group=row.get("group"),
        image_page=_page(where, "image_page", row),
        mask_page=_page(where, "mask_page", row),
    )


def _page(where: str, name: str, row: dict[str, str]) -> int | None:
    text = row.get(name, "")
    if text and not text.isdecimal():
        raise DataError(f"{where}: {name} is {text!r}", "Pages are whole numbers, counted from 0.")
    return int(text) if text else None
