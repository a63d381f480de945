"""What a published data set looks like on disk: which files of an archive belong to it, and whether all are there."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from lamella.data.download.unpack import Limits, is_litter
from lamella.errors import DataError

_MIB = 1 << 20
_KINDS = ("original", "mask")
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_PARTIAL = "Or take what is there for what it is: partial=true."
_OTHER = "It is not what was published."


class Layout(Protocol):
    """How a data set lies in an archive and in its folder."""

    @property
    def limits(self) -> Limits:
        """How large an archive of it may be."""

    def pick(self, names: Sequence[str], where: str, partial: bool) -> dict[str, str]:
        """The names in an archive that belong to the data set, each with its place below the data set's folder.

        Args:
            names: of all files in the archive.
            where: the archive's own name, for messages.
            partial: whether a part of what was published is meant to be enough.

        Raises:
            DataError: none does, or they lie below more than one folder, or another number than was published.
        """

    def verify(self, folder: Path, partial: bool) -> list[str]:
        """Holds a data set on disk to what was published; returns what is worth knowing about it, in sentences.

        Args:
            folder: the data set's own.
            partial: whether a part of what was published is meant to be enough.

        Raises:
            DataError: a file is missing, unreadable or not what was published.
        """


@dataclass(frozen=True)
class Stack:
    """One TIFF of a published volume.

    Attributes:
        name: of the file.
        blob: git's hash of the organisers' own file, whose bytes a copy need not have.
        pixels: SHA-256 over all pages' pixels, in order, which a copy should have.
        values: the only pixel values there may be; None for any.
    """

    name: str
    blob: str
    pixels: str
    values: frozenset[int] | None = None


@dataclass(frozen=True)
class Stacks:
    """A few multi-page TIFFs side by side: uint8 pages, all square and of one size.

    Attributes:
        stacks: what was published.
        extras: names of further files of an archive that are kept, and not looked into.
        pages: of every stack.
        side: of every page, in pixels.
    """

    stacks: tuple[Stack, ...]
    extras: tuple[str, ...]
    pages: int
    side: int

    @property
    def limits(self) -> Limits:
        names = len(self.stacks) + len(self.extras)
        each = 4 * self.pages * self.side**2 + _MIB  # float32 pixels, were they saved so, and metadata
        return Limits(entries=20 * names + 100, each=each, total=names * each, ratio=200)

    def pick(self, names: Sequence[str], where: str, partial: bool) -> dict[str, str]:
        required = [stack.name for stack in self.stacks]
        found: dict[str, list[str]] = defaultdict(list)
        for name in names:
            path = PurePosixPath(name)
            if path.name in (*required, *self.extras):
                found[str(path.parent)].append(name)
        found = {
            root: inside for root, inside in found.items() if {PurePosixPath(n).name for n in inside} & {*required}
        }
        picked = {name: PurePosixPath(name).name for name in _below_one(found, names, where, required[0])}
        missing = [name for name in required if name not in picked.values()]
        if missing and not partial:
            raise DataError(f"{where} lacks {', '.join(missing)}", _PARTIAL)
        return picked

    def verify(self, folder: Path, partial: bool) -> list[str]:
        missing = [stack.name for stack in self.stacks if not (folder / stack.name).is_file()]
        if missing and (not partial or len(missing) == len(self.stacks)):
            raise DataError(f"{folder} lacks {', '.join(missing)}", _PARTIAL)
        present = [stack for stack in self.stacks if stack.name not in missing]
        others = [stack for stack in present if self._pixels(folder / stack.name, stack.values) != stack.pixels]
        size = f"{self.pages} pages of {self.side}x{self.side} pixels"
        notes = [f"{', '.join(stack.name for stack in present)}: {size} each"]
        if missing:
            notes.append(f"left out: {', '.join(missing)}")
        if others:
            names = ", ".join(stack.name for stack in others)
            notes.append(f"NOT THE PUBLISHED PIXELS: {names}. Scores on it are not comparable with published ones.")
        elif all(_git_blob(folder / stack.name) == stack.blob for stack in present):
            notes.append("these are the organisers' own files, byte for byte")
        else:
            notes.append("packed otherwise than the organisers' files; the pixels are the published ones")
        return notes

    def _pixels(self, path: Path, values: frozenset[int] | None) -> str:
        """SHA-256 over all pages' pixels, each page held to its size and values."""
        from lamella.data.io.read import pages, read  # late: torch takes seconds, no network should not
        from lamella.data.types import ImageRef

        count = pages(path)
        if count != self.pages:
            raise DataError(f"{path} has {count} pages; {self.pages} were published", _OTHER)
        digest = hashlib.sha256()
        for page in range(count):
            array = read(ImageRef(path, page))
            if array.shape != (self.side, self.side) or array.dtype != "uint8":
                shape = "x".join(str(n) for n in array.shape)
                expected = f"{self.side}x{self.side} uint8"
                raise DataError(f"page {page} of {path} is {shape} {array.dtype}; {expected} was published", _OTHER)
            stray = {int(value) for value in np.unique(array)} - values if values else set()
            if stray:
                allowed = " and ".join(str(value) for value in sorted(values or ()))
                strays = ", ".join(str(value) for value in sorted(stray)[:5])
                raise DataError(f"page {page} of {path} holds the value(s) {strays}; labels are {allowed}", _OTHER)
            digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Pairs:
    """Images and masks in folders: {part}/original/NAME and {part}/mask/NAME.

    Attributes:
        parts: published parts, each with its number of pairs.
        pictures: published images, counted by format and (width, height).
    """

    parts: Mapping[str, int]
    pictures: Mapping[tuple[str, tuple[int, int]], int]

    @property
    def limits(self) -> Limits:
        pairs = sum(self.parts.values())
        largest = max(3 * width * height for _, (width, height) in self.pictures)
        each = largest + _MIB  # a PNG or JPEG that is larger than its bare RGB pixels makes no sense
        return Limits(entries=20 * pairs + 1000, each=each, total=2 * pairs * each, ratio=20)

    def pick(self, names: Sequence[str], where: str, partial: bool) -> dict[str, str]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in names:
            path = PurePosixPath(name)
            part, kind = path.parts[-3:-1] if len(path.parts) > 2 else ("", "")
            if part in self.parts and kind in _KINDS:
                found[str(PurePosixPath(*path.parts[:-3]))].append(name)
        first = f"{next(iter(self.parts))}/original/"
        picked = {name: "/".join(PurePosixPath(name).parts[-3:]) for name in _below_one(found, names, where, first)}
        self._require_all(where, picked.values(), partial)
        return picked

    def verify(self, folder: Path, partial: bool) -> list[str]:
        from lamella.data.io.read import size  # late: torch takes seconds, no network should not
        from lamella.data.types import ImageRef

        try:
            inside = {f"{part}/{kind}": sorted((folder / part / kind).iterdir()) for part, kind in self._folders()}
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}", _PARTIAL) from None
        files = {place: [p for p in paths if not is_litter(p.name)] for place, paths in inside.items()}
        names = [f"{place}/{path.name}" for place, paths in files.items() for path in paths]
        self._require_all(str(folder), names, partial)
        pictures: Counter[tuple[str, tuple[int, int]]] = Counter()
        for part in self.parts:
            for path in files[f"{part}/original"]:
                height, width = size(ImageRef(path))
                pictures[_FORMATS.get(path.suffix.lower(), path.suffix), (width, height)] += 1
        if pictures != self.pictures and not partial:
            raise DataError(f"{folder} holds {_described(pictures)}; published are {_described(self.pictures)}", _OTHER)
        pairs = ", ".join(f"{len(files[f'{part}/original'])} {part}" for part in self.parts)
        notes = [f"{sum(pictures.values()):,} pairs ({pairs}); the images are {_described(pictures)}"]
        if pictures != self.pictures:
            notes.append(f"A PART of the published {sum(self.parts.values()):,}: scores on it are not comparable.")
        return notes

    def _folders(self) -> list[tuple[str, str]]:
        return [(part, kind) for part in self.parts for kind in _KINDS]

    def _require_all(self, where: str, names: Iterable[str], partial: bool) -> None:
        """Counts names {part}/{kind}/{name}."""
        counts = Counter(name.rpartition("/")[0] for name in names)
        if not partial and any(counts[f"{part}/{kind}"] != self.parts[part] for part, kind in self._folders()):
            found = "; ".join(
                f"{part}: {counts[f'{part}/original']:,} images, {counts[f'{part}/mask']:,} masks"
                for part in self.parts
            )
            published = " and ".join(f"{number:,} pairs to {part}" for part, number in self.parts.items())
            raise DataError(f"{where} holds {found}; published are {published}", _PARTIAL)


def _below_one(found: Mapping[str, list[str]], names: Sequence[str], where: str, sought: str) -> list[str]:
    """The names below the one folder of an archive that holds the data."""
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise DataError(
            f"{where} holds the data more than once: in {' and in '.join(sorted(found))}", "Unpack it by hand."
        )
    held = ", ".join(sorted({name.partition("/")[0] for name in names})[:5]) or "nothing"
    raise DataError(f"{where} holds no {sought}, in any folder; it holds {held}", "It is another archive.")


def _git_blob(path: Path) -> str:
    """Git's name for a file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def _described(pictures: Mapping[tuple[str, tuple[int, int]], int]) -> str:
    """Counts by format and size, in words, the most first."""
    ordered = sorted(pictures.items(), key=lambda item: -item[1])
    return ", ".join(f"{number:,} {name} {width}x{height}" for (name, (width, height)), number in ordered)
