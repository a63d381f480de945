"""What lies in a folder: pictures, annotations, and what other programs left beside them."""

import os
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lamella.data import annotations as drawn
from lamella.data.download.unpack import is_litter
from lamella.data.io.read import SUFFIXES, header, suffix
from lamella.data.types import ImageRef
from lamella.errors import DataError

ANNOTATIONS = drawn.suffixes
TYPES = (*SUFFIXES, *ANNOTATIONS)
# Tables, texts, settings, scripts, places on a map, weights: nobody's images.
_BESIDE = (
    *(".csv", ".tsv", ".txt", ".xml", ".md", ".rst", ".log", ".ini", ".cfg", ".conf", ".yaml", ".yml", ".toml", ".lnk"),
    *(".properties", ".tfw", ".jgw", ".pgw", ".bpw", ".wld", ".prj", ".ovr", ".xlsx", ".xls", ".ods", ".doc", ".docx"),
    *(".odt", ".rtf", ".pdf", ".htm", ".html", ".ppt", ".pptx", ".svg", ".db", ".sqlite", ".url", ".bak", ".tmp"),
    *(".py", ".ipynb", ".ijm", ".groovy", ".m", ".r", ".sh", ".bat", ".md5", ".sha1", ".sha256", ".qpproj"),
    *(".cppipe", ".cpproj", ".pkl", ".pickle", ".pt", ".pth", ".ckpt"),
)
_TEXTS = {"README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "CHANGELOG", "MAKEFILE", "CITATION"}
_MADE = ("_flows", "_outlines", "_cp_output")  # pictures that Cellpose makes of an image, and that are no masks
_THUMBNAILS = "@eaDir"  # Synology's


class File(NamedTuple):
    """A file as its name has it.

    Attributes:
        path: where it is.
        folder: its folder, seen from the one that was named; "" for that one itself.
        stem: the name without its type, in Unicode's composed form.
        type: the suffix in small letters; of `a.nii.gz` both.
    """

    path: Path
    folder: str
    stem: str
    type: str

    @property
    def key(self) -> str:
        """Folder and stem."""
        return joined(self.folder, self.stem)


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        pictures: what may be an image or a mask.
        annotations: what may hold outlines, or else is a file beside.
        passed_over: all others, counted by the end of their names.
    """

    pictures: list[File]
    annotations: list[File]
    passed_over: Counter[str]


def listed(folder: Path, without: Path | None = None) -> Listing:
    """All files below a folder, sorted, apart from hidden ones and what systems leave behind.

    Args:
        folder: the folder; its sub-folders count, but for a `.zarr`, which is one file.
        without: a folder that is left out where it lies below.

    Raises:
        DataError: the folder is missing or may not be read, or holds a file of a type that is neither read nor known
            to lie beside images: a known format says itself what it is.
    """
    pictures, annotations, passed_over = [], [], Counter[str]()
    for path, inside in walk(folder, () if without is None else (without.resolve(),)):
        file = named(path, inside)
        if file.type in ANNOTATIONS:
            annotations.append(file)
        elif lies_beside(file):
            passed_over[ending(file)] += 1
        else:
            if file.type not in SUFFIXES:
                header(ImageRef(path))  # raises what is known of its format
            pictures.append(file)
    found = made(pictures)
    passed_over.update(map(ending, found))
    return Listing([file for file in pictures if file not in found], annotations, passed_over)


def lies_beside(file: File) -> bool:
    """Whether it is known by its name to lie beside images, and to be none: tables, texts, what Cellpose keeps."""
    name = file.path.name
    return file.type in _BESIDE or name.upper() in _TEXTS or name.lower().endswith("_seg.npy")


def made(pictures: Sequence[File]) -> set[File]:
    """Those of some pictures that a program made of another one of them, and that are neither images nor masks."""
    stems = {file.key for file in pictures}
    return {file for file in pictures for end in _MADE if file.stem.endswith(end) and file.key[: -len(end)] in stems}


def named(path: Path, folder: str = "") -> File:
    """A file by its path, in `folder`."""
    type_ = suffix(path)
    return File(path, folder, composed(path.name[: len(path.name) - len(type_)]), type_)


def ending(file: File) -> str:
    """What a file is counted under: "*_seg.npy" of Cellpose's, else "*.csv", or the whole name where it has no type."""
    for end in (*_MADE, "_seg"):
        if file.stem.endswith(end):
            return f"*{end}{file.type}"
    return f"*{file.type}" if file.type else file.path.name


def is_file(path: Path) -> bool:
    """Whether a path is one file, or a folder that stands for one (Zarr)."""
    return path.is_file() or (suffix(path) == ".zarr" and path.is_dir())


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): macOS spells an umlaut as two characters, others as one."""
    return unicodedata.normalize("NFC", text)


def joined(*parts: str) -> str:
    """Names of folders and files as one path; "" is no folder."""
    return "/".join(part for part in parts if part)


def walk(folder: Path, without: Container[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Every file below a folder with the folder it is in, seen from that one; sorted, litter left out.

    A `.zarr` is one file. A link to a folder that is being walked through already leads nowhere.

    Args:
        folder: where to begin.
        without: folders that are left out, resolved.

    Raises:
        DataError: a folder is missing or may not be read.
    """
    yield from _walk(folder, "", without, (folder.resolve(),))


def _walk(folder: Path, inside: str, without: Container[Path], above: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"the folder {folder} is missing", "Put the data there, or name another folder.") from None
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}", "Allow yourself to read it.") from None
    for entry in entries:
        path = folder / entry.name
        if is_litter(entry.name) or entry.name == _THUMBNAILS:
            continue
        if not entry.is_dir() or suffix(path) == ".zarr":
            yield path, inside
            continue
        place = path.resolve() if entry.is_symlink() else above[-1] / entry.name
        if place not in above and place not in without:
            yield from _walk(path, joined(inside, composed(entry.name)), without, (*above, place))
