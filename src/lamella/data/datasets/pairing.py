"""Which image goes with which mask: by their stems in folders, as two stacks, or as a CSV says.

No file is ever dropped silently.
"""

import csv
import difflib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lamella.data.download.unpack import is_litter
from lamella.data.io.read import SUFFIXES
from lamella.data.types import PARTS, ImageRef, Role
from lamella.errors import DataError

_Named = tuple[str, Path, Path]  # stem, image, mask
_COLUMNS = ("image", "mask", "group", "part", "image_page", "mask_page")


@dataclass(frozen=True)
class Affixes:
    """What the names of images and of masks begin and end in, beside what image and mask have in common.

    A suffix is the end of the name without its file type (`_mask`), or of all of it (`_mask.png`, `.bmp`).
    """

    image_prefix: str = ""
    image_suffix: str = ""
    mask_prefix: str = ""
    mask_suffix: str = ""


@dataclass(frozen=True)
class Pair:
    """An image and its mask, with what their place or a CSV says about them.

    Attributes:
        id: unique, but for rows of a CSV that name pages.
        image: one file; its page as a CSV has it, else None: the only one, or all of a stack.
        mask: the same, or several files, each with objects of its own, and their classes; or annotations.
        part: where it was published.
        group: as a CSV has it.
    """

    id: str
    image: ImageRef
    mask: ImageRef
    part: Role = ""
    group: str | None = None


class Found(NamedTuple):
    """The pairs, and what a person should be told of how they were found.

    Attributes:
        pairs: in the order of their names; of a CSV in its own.
        passed_over: files that are neither image nor mask, counted by the end of their names: {"*_seg.npy": 40}.
        notes: one sentence each on what was not as plain as it could be, such as names that differ in case.
    """

    pairs: list[Pair]
    passed_over: Counter[str]
    notes: list[str]


def from_places(images: str, masks: str | None, affixes: Affixes = Affixes()) -> Found:
    """The pairs of two stacks, of two folders (which may be one), or of their sub-folders train/, val/ and test/.

    Args:
        images: a folder or a stack.
        masks: the same; None: they lie among the images.
        affixes: what tells their names apart.

    Raises:
        DataError: see `pair_by_stem`; a file where a folder is wanted; files beside the sub-folders; a sub-folder of
            one that the other lacks.
    """
    return Found(_from_places(Path(images), Path(images if masks is None else masks), affixes), Counter(), [])


def _from_places(images: Path, masks: Path, affixes: Affixes) -> list[Pair]:
    for path, key in ((images, "images"), (masks, "masks")):
        if not path.exists():
            raise DataError(f"{path} is missing", f"Set `dataset.{key}` to your folder of {key}, or to a stack.")
    kind, mask_kind = ("file" if path.is_file() else "folder" for path in (images, masks))
    if kind != mask_kind:
        raise DataError(
            f"{images} is a {kind}, {masks} a {mask_kind}",
            "`dataset.images` and `dataset.masks` must be two files (stacks) or two folders.",
        )
    if kind == "file":
        return [Pair(composed(images.stem), ImageRef(images), ImageRef(masks))]
    parts = _published(images)
    if parts != _published(masks):
        raise DataError(
            f"{images} and {masks} hold different ones of the sub-folders train/, val/ and test/",
            "Both need the same ones.",
        )
    return [
        Pair(f"{part}/{stem}" if part else stem, ImageRef(image), ImageRef(mask), part)
        for part in parts
        for stem, image, mask in pair_by_stem(images / part, masks / part, affixes.image_suffix, affixes.mask_suffix)
    ]


def from_csv(path: Path) -> Found:
    """The pairs that the rows of a CSV name.

    Its columns are image and mask and, where wanted, group, part, image_page and mask_page.
    Paths are relative to the CSV, pages are counted from 0. Other columns are passed over, unless they look like
    one of these misspelt. Semicolons may stand for commas, as some spreadsheets have it. Raises DataError that names
    the line where something is missing or wrong.
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
    return Found(pairs, Counter(), [])


def pair_by_stem(images: Path, masks: Path, image_suffix: str = "", mask_suffix: str = "") -> list[_Named]:
    """The images of a folder, each with the mask of the same stem.

    Hidden files (`.DS_Store`, `._copy.png`) and Windows' `Thumbs.db` and `desktop.ini` are nobody's images and
    are passed over; any other file that is no image is an error, and so is a folder.

    Args:
        images, masks: folders. They may be one: then the longer suffix that a stem ends in decides.
        image_suffix: what every image's stem ends in, and its mask's lacks: "_img" in `a_img.tif`.
        mask_suffix: the same of masks.

    Returns:
        (stem without its suffix, image, mask), sorted by stem.

    Raises:
        DataError: a folder is missing or empty or holds something else, an image has no mask, a mask no image,
            a stem occurs twice or lacks its suffix, or one folder holds both and no suffix tells them apart.
    """
    if images.is_dir() and masks.is_dir() and images.samefile(masks):
        image_paths, mask_paths = _told_apart(images, image_suffix, mask_suffix)
    else:
        image_paths, mask_paths = _pictures(images), _pictures(masks)
    image_files = _by_stem(image_paths, image_suffix, "image_suffix")
    mask_files = _by_stem(mask_paths, mask_suffix, "mask_suffix")
    problems = []
    if lonely := [image_files[stem] for stem in sorted(image_files.keys() - mask_files.keys())]:
        problems.append(f"{_some(lonely)} without a mask in {masks}")
    if orphans := [mask_files[stem] for stem in sorted(mask_files.keys() - image_files.keys())]:
        problems.append(f"{_some(orphans)}: a mask without an image in {images}")
    if problems:
        apart = f", apart from {image_suffix!r} and {mask_suffix!r}" if image_suffix + mask_suffix else ""
        raise DataError(
            "; ".join(problems),
            f"Image and mask must have the same name{apart} (any suffix). Add what is missing, or remove what is left "
            "over.",
        )
    return [(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]


def contents(folder: Path) -> list[Path]:
    """The files and folders in a folder, sorted, without hidden files and what systems leave behind.

    Raises DataError where the folder is missing or may not be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"the folder {folder} is missing", "Put the data there, or name another folder.") from None
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}", "Allow yourself to read it.") from None
    return [path for path in paths if not is_litter(path.name)]


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): macOS spells an umlaut as two characters, others as one."""
    return unicodedata.normalize("NFC", text)


def _published(folder: Path) -> list[Role]:
    """Which of the sub-folders there are; [""] where the folder holds images itself."""
    paths = contents(folder)
    parts = [part for part in PARTS if (folder / part).is_dir()]
    beside = [path for path in paths if path.name not in parts]
    if parts and beside:
        raise DataError(
            f"{beside[0]} lies beside the sub-folder {parts[0]}/ of {folder}",
            "Images lie either in the folder itself or in sub-folders train/, val/ and test/, and nothing else does.",
        )
    return parts or [""]


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
            remedy = "Paths are relative to the CSV's own folder."
            raise DataError(f"{where}: there is no file {path.parent / row[name]}", remedy)
    part = next((part for part in ("", *PARTS) if part == row.get("part", "")), None)
    if part is None:
        raise DataError(f"{where}: part is {row['part']!r}", "It is train, val, test or, on all lines, empty.")
    if row.get("group") == "":
        raise DataError(f"{where}: no group", "Where there is a column group, each line has one.")
    image = path.parent / row["image"]
    # Seen from the CSV, so that the data may be moved as a whole and keep its ids, and with them its split.
    id_ = Path(os.path.relpath(image, path.parent)).with_suffix("").as_posix()
    pages = {name: row[name] for name in ("image_page", "mask_page") if row.get(name)}
    for name, text in pages.items():
        if not text.isdecimal():
            raise DataError(f"{where}: {name} is {text!r}", "Pages are whole numbers, counted from 0.")
    numbers = {name: int(text) for name, text in pages.items()}
    mask = ImageRef(path.parent / row["mask"], numbers.get("mask_page"))
    return Pair(composed(id_), ImageRef(image, numbers.get("image_page")), mask, part, row.get("group"))


def _told_apart(folder: Path, image_suffix: str, mask_suffix: str) -> tuple[list[Path], list[Path]]:
    """The images and the masks of one folder."""
    if image_suffix == mask_suffix:
        raise DataError(
            f"images and masks are both in {folder}, and nothing in their names tells them apart",
            "Name the folder of masks, `dataset.masks=FOLDER`, or what their names end in: "
            "`dataset.mask_suffix=_mask` where `a.tif` has the mask `a_mask.png`.",
        )
    longer = max(image_suffix, mask_suffix, key=len)
    paths = _pictures(folder)
    with_longer = [path for path in paths if _ends(path, longer)]
    others = [path for path in paths if not _ends(path, longer)]
    images, masks = (with_longer, others) if longer == image_suffix else (others, with_longer)
    for files, what, suffix in ((images, "image", image_suffix), (masks, "mask", mask_suffix)):
        if not files:
            raise DataError(
                f"no {what} in {folder}" + (f": no file's stem ends in {suffix}" if suffix else ""),
                f"Set `dataset.{what}_suffix` to what the stems of {what}s end in.",
            )
    return images, masks


def _pictures(folder: Path) -> list[Path]:
    """The images of a folder that holds nothing else, at least one."""
    paths = contents(folder)
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            raise DataError(
                f"{path} is not an image this program reads",
                f"It reads files named {', '.join(SUFFIXES)}. Move everything else out of the folder.",
            )
    if not paths:
        raise DataError(f"the folder {folder} is empty", "Put the images there, or name another folder.")
    return paths


def _by_stem(paths: Iterable[Path], suffix: str, key: str) -> dict[str, Path]:
    """Files by their stem without `suffix`, which `key` sets."""
    files: dict[str, Path] = {}
    for path in paths:
        if not _ends(path, suffix):
            raise DataError(
                f"the stem of {path} does not end in {suffix}",
                f"Correct `dataset.{key}`, or move out of the folder what does not belong there.",
            )
        stem = composed(path.stem).removesuffix(composed(suffix))
        if (other := files.setdefault(stem, path)) is not path:
            problem = f"{other} and {path.name} have the same stem, so their pair is ambiguous"
            raise DataError(problem, "Rename or remove one.")
    return files


def _ends(path: Path, suffix: str) -> bool:
    stem, suffix = composed(path.stem), composed(suffix)
    return stem.endswith(suffix) and stem != suffix


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(str(p) for p in paths[:3]) + more
