"""The published data sets: where they are, which files of an archive belong to them, and whether all are there."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from lamella.data.download.unpack import ArchiveLimits, is_litter
from lamella.errors import DataError

_MIB = 1 << 20
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_PARTIAL = "Or take what is there for what it is: partial=true."
_OTHER = "It is not what was published."


@dataclass(frozen=True)
class PublishedTiff:
    """One multi-page TIFF as it was published, with its hashes.

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
class VolumeLayout:
    """The layout of a published volume: a few multi-page TIFFs of uint8 pages, all square and of one size.

    `partial` says that a part of what was published is meant to be enough.

    Attributes:
        files: what was published.
        extras: names of further files of an archive that are kept, and not looked into.
        pages: of every file.
        side: of every page, in pixels.
    """

    files: tuple[PublishedTiff, ...]
    extras: tuple[str, ...]
    pages: int
    side: int

    @property
    def limits(self) -> ArchiveLimits:
        """How large an archive of it may be."""
        names = len(self.files) + len(self.extras)
        each = 4 * self.pages * self.side**2 + _MIB  # float32 pixels, were they saved so, and metadata
        return ArchiveLimits(entries=20 * names + 100, each=each, total=names * each, ratio=200)

    def pick(self, names: Sequence[str], where: str, partial: bool) -> dict[str, str]:
        """The names in an archive that belong to the data set, each with its place below the data set's folder.

        Args:
            names: of all files in the archive.
            where: the archive's own name, for messages.

        Raises DataError where none does, or they lie below more than one folder, or another number than was published.
        """
        required = [file.name for file in self.files]
        places = {name: PurePosixPath(name).name for name in names}
        places = {name: place for name, place in places.items() if place in (*required, *self.extras)}
        picked = _below_one(places, names, where, required[0], self.extras)
        if not partial and (missing := [name for name in required if name not in picked.values()]):
            raise DataError(f"{where} lacks {', '.join(missing)}", _PARTIAL)
        return picked

    def verify(self, folder: Path, partial: bool) -> list[str]:
        """What is worth knowing about a data set on disk, in sentences, once it was held to what was published.

        Raises DataError where a file is missing, unreadable or not what was published.
        """
        present = [file for file in self.files if (folder / file.name).is_file()]
        missing = ", ".join(file.name for file in self.files if file not in present)
        if missing and not (partial and present):
            raise DataError(f"{folder} lacks {missing}", _PARTIAL)
        others = [file.name for file in present if self._pixels(folder / file.name, file.values) != file.pixels]
        names = ", ".join(file.name for file in present)
        notes = [f"{names}: {self.pages} pages of {self.side}x{self.side} pixels each"]
        if missing:
            notes.append(f"left out: {missing}")
        if others:
            names = ", ".join(others)
            notes.append(f"NOT THE PUBLISHED PIXELS: {names}. Scores on it are not comparable with published ones.")
        elif all(_git_blob(folder / file.name) == file.blob for file in present):
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
            found, expected = f"{'x'.join(map(str, array.shape))} {array.dtype}", f"{self.side}x{self.side} uint8"
            if found != expected:
                raise DataError(f"page {page} of {path} is {found}; {expected} was published", _OTHER)
            if values and (stray := {*np.unique(array).tolist()} - values):
                allowed, strays = " and ".join(map(str, sorted(values))), ", ".join(map(str, sorted(stray)[:5]))
                raise DataError(f"page {page} of {path} holds the value(s) {strays}; labels are {allowed}", _OTHER)
            digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class PairsLayout:
    """The layout of published pairs: images and masks in {part}/original/NAME and {part}/mask/NAME.

    Attributes:
        parts: published parts, each with its number of pairs.
        pictures: published images, counted by format and (width, height).
    """

    parts: Mapping[str, int]
    pictures: Mapping[tuple[str, tuple[int, int]], int]

    @property
    def limits(self) -> ArchiveLimits:
        """How large an archive of it may be."""
        pairs = sum(self.parts.values())
        largest = max(3 * width * height for _, (width, height) in self.pictures)
        each = largest + _MIB  # a PNG or JPEG that is larger than its bare RGB pixels makes no sense
        return ArchiveLimits(entries=20 * pairs + 1000, each=each, total=2 * pairs * each, ratio=20)

    def pick(self, names: Sequence[str], where: str, partial: bool) -> dict[str, str]:
        """The names in an archive that belong to the data set, with their places: as `VolumeLayout.pick`."""
        places = {name: "/".join(PurePosixPath(name).parts[-3:]) for name in names}
        places = {name: place for name, place in places.items() if place.rpartition("/")[0] in self._counts}
        picked = _below_one(places, names, where, f"{next(iter(self.parts))}/original/")
        self._require_all(where, Counter(place.rpartition("/")[0] for place in picked.values()), partial)
        return picked

    def verify(self, folder: Path, partial: bool) -> list[str]:
        """What is worth knowing about a data set on disk, once it was verified: as `VolumeLayout.verify`."""
        from lamella.data.io.read import size  # late: torch takes seconds, no network should not
        from lamella.data.types import ImageRef

        try:
            inside = {place: sorted((folder / place).iterdir()) for place in self._counts}
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}", _PARTIAL) from None
        files = {place: [p for p in paths if not is_litter(p.name)] for place, paths in inside.items()}
        self._require_all(str(folder), Counter({place: len(paths) for place, paths in files.items()}), partial)
        pictures: Counter[tuple[str, tuple[int, int]]] = Counter()
        for path in (path for part in self.parts for path in files[f"{part}/original"]):
            height, width = size(ImageRef(path))
            pictures[_FORMATS.get(path.suffix.lower(), path.suffix), (width, height)] += 1
        if pictures != self.pictures and not partial:
            raise DataError(f"{folder} holds {_described(pictures)}; published are {_described(self.pictures)}", _OTHER)
        pairs = ", ".join(f"{len(files[f'{part}/original'])} {part}" for part in self.parts)
        notes = [f"{sum(pictures.values()):,} pairs ({pairs}); the images are {_described(pictures)}"]
        if pictures != self.pictures:
            notes.append(f"A PART of the published {sum(self.parts.values()):,}: scores on it are not comparable.")
        return notes

    @property
    def _counts(self) -> Counter[str]:
        """How many files were published in each folder."""
        return Counter({f"{part}/{kind}": pairs for part, pairs in self.parts.items() for kind in ("original", "mask")})

    def _require_all(self, where: str, counts: Counter[str], partial: bool) -> None:
        if not partial and counts != self._counts:
            found = "; ".join(
                f"{part}: {counts[f'{part}/original']:,} images, {counts[f'{part}/mask']:,} masks"
                for part in self.parts
            )
            published = " and ".join(f"{number:,} pairs to {part}" for part, number in self.parts.items())
            raise DataError(f"{where} holds {found}; published are {published}", _PARTIAL)


@dataclass(frozen=True)
class PublishedArchive:
    """One data set as it was published: where its archive is, and what lies in it.

    Attributes:
        title: what it is.
        url: where a program fetches the archive.
        by_hand: where a person finds it, in a sentence.
        file_name: what the archive is called on disk.
        layout: what is in it.
    """

    title: str
    url: str
    by_hand: str
    file_name: str
    layout: VolumeLayout | PairsLayout


# Neither archive was published with a hash. The challenge's own hashes are those of its TIFFs.
EM = PublishedArchive(
    title="ISBI-2012 (serial-section electron micrographs)",
    url="https://downloads.imagej.net/ISBI-2012-challenge.zip",
    by_hand="Get https://downloads.imagej.net/ISBI-2012-challenge.zip with a browser "
    "(described at https://imagej.net/events/isbi-2012-segmentation-challenge).",
    file_name="ISBI-2012-challenge.zip",
    layout=VolumeLayout(
        files=(
            PublishedTiff(
                "train-volume.tif",
                blob="358e48bed4f747c20da43251eb7138727d98cec3",
                pixels="200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
            ),
            PublishedTiff(
                "train-labels.tif",
                blob="74ab9858c0be80842c94c41c6fb980aab49e9558",
                pixels="a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
                values=frozenset({0, 255}),
            ),
            PublishedTiff(
                "test-volume.tif",
                blob="3e3612ff0786d278b4d2712a29383c7ca58288ad",
                pixels="1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
            ),
        ),
        extras=("test-labels.tif",),  # found beside the others in unpacked copies; the challenge kept it secret
        pages=30,
        side=512,
    ),
)

BLOOD = PublishedArchive(
    title="BBBC041Seg (stained blood smears)",
    url="https://drive.google.com/uc?export=download&id=1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71",
    by_hand="Get the archive with a browser from "
    "https://drive.google.com/file/d/1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71/view or from "
    "https://www.kaggle.com/datasets/jeetblahiri/bccd-dataset-with-mask (asks for an account).",
    file_name="BBBC041Seg.zip",
    layout=PairsLayout(
        parts={"train": 1169, "test": 159},
        pictures={("PNG", (1600, 1200)): 1208, ("JPEG", (1944, 1383)): 119, ("PNG", (1944, 1383)): 1},
    ),
)

PUBLISHED: Mapping[str, PublishedArchive] = {"em": EM, "blood": BLOOD}  # by the function that reads them: dataset=NAME


def _below_one(
    places: Mapping[str, str], names: Sequence[str], where: str, sought: str, extras: Sequence[str] = ()
) -> dict[str, str]:
    """Those of `places` (names with their places) that lie below the one folder of an archive that holds the data."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name, place in places.items():
        found[name.removesuffix(place).rstrip("/") or "."][name] = place
    roots = [root for root, inside in found.items() if not {*inside.values()} <= {*extras}]
    if len(roots) == 1:
        return found[roots[0]]
    if roots:
        raise DataError(
            f"{where} holds the data more than once: in {' and in '.join(sorted(roots))}", "Unpack it by hand."
        )
    held = ", ".join(sorted({name.partition("/")[0] for name in names})[:5]) or "nothing"
    raise DataError(f"{where} holds no {sought}, in any folder; it holds {held}", "It is another archive.")


def _git_blob(path: Path) -> str:
    """Git's name for a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _described(pictures: Mapping[tuple[str, tuple[int, int]], int]) -> str:
    """Counts by format and size, in words, the most first."""
    ordered = Counter(pictures).most_common()
    return ", ".join(f"{number:,} {name} {width}x{height}" for (name, (width, height)), number in ordered)
