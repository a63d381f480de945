"""What lies in a folder: pictures, annotations, and what other programs left beside them."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
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
    for path, inside in _walk(folder, "", None if without is None else without.resolve()):
        file = named(path, inside)
        if file.type in ANNOTATIONS:
            annotations.append(file)
        elif file.type in _BESIDE or path.name.upper() in _TEXTS or path.name.lower().endswith("_seg.npy"):
            passed_over[ending(file)] += 1
        else:
            if file.type not in SUFFIXES:
                header(ImageRef(path))  # raises what is known of its format
            pictures.append(file)
    stems = {file.key for file in pictures}
    made = {file for file in pictures for end in _MADE if file.stem.endswith(end) and file.key[: -len(end)] in stems}
    passed_over.update(map(ending, made))
    return Listing([file for file in pictures if file not in made], annotations, passed_over)


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


def _walk(folder: Path, inside: str, without: Path | None) -> Iterator[tuple[Path, str]]:
    """Every file below a folder with the folder it is in, sorted."""
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
        elif not (entry.is_symlink() and folder.resolve().is_relative_to(path.resolve())) and path.resolve() != without:
            yield from _walk(path, joined(inside, composed(entry.name)), without)
