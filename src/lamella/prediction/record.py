"""What a folder of predictions remembers of itself: a finished file is not done again, and none that was edited lost.

Beside the results lies `.predict`: a record a finished file, its objects' rows, a lock, and the unfinished work of the
call that runs, which the next call removes. `predictions.json`, which other commands read, is made of the records.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lamella.data import predictions
from lamella.data.cache.facts import Facts
from lamella.data.predictions import Picture, Predictions
from lamella.data.types import ImageRef
from lamella.errors import DataError, StorageError
from lamella.version import __version__

HIDDEN = ".predict"
SUMMARIES = ("index.html", "images.csv", "objects.csv", predictions.NAME)
_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What was made of one file.

    Attributes:
        name: see `lamella.prediction.inputs.Input`.
        path, inside, axes: of the input.
        sha256: of the input's file.
        made_by: the networks and settings that decide what is found.
        files: the kind of each file -> its name, below the folder.
        written: the name of each -> its SHA-256.
        pages: whether the input has pages.
        images: what is known of each page, in order: a row of images.csv each.
        values: of each page: the kind of a file -> `lamella.data.predictions.values_sha256`.
    """

    name: str
    path: str
    inside: str | None
    axes: str | None
    sha256: str
    made_by: dict[str, Any]
    files: dict[str, str]
    written: dict[str, str]
    pages: bool
    images: list[dict[str, Any]] = field(default_factory=list)
    values: list[dict[str, str]] = field(default_factory=list)


class Store:
    """The records of one folder.

    Args:
        folder: where results go.
        facts: that remember the hashes of files.
    """

    def __init__(self, folder: Path, facts: Facts) -> None:
        self.folder, self.facts = folder, facts
        self.hidden = folder / HIDDEN
        self.work = self.hidden / "work"
        self.records: dict[str, Record] = {}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Holds the folder for this process alone; what an earlier call left unfinished goes.

        Raises:
            StorageError: another process predicts into it, or it cannot be written.
        """
        try:
            self.hidden.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.hidden / "lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise StorageError(
                f"another predict is writing into {self.folder}", "Wait until it has ended, or name another folder."
            ) from None
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            shutil.rmtree(self.work, ignore_errors=True)
            self.records = {each.name: each for each in _records(self.hidden)}
            yield
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
            lock.release()

    def rows(self, name: str) -> Path:
        """The file of the rows of objects.csv that a file brings."""
        return self.hidden / "objects" / f"{name}.csv"

    def state(self, record: Record) -> tuple[list[str], list[str]]:
        """Which of the files of a record are missing, and which are not as they were written."""
        missing = [name for name in record.written if not (self.folder / name).exists()]
        there = [name for name in record.written if name not in missing]
        edited = [name for name in there if self.facts.sha256(self.folder / name) != record.written[name]]
        if not self.rows(record.name).exists():
            missing.append(f"{HIDDEN}/objects/{record.name}.csv")
        return missing, edited

    def strangers(self, names: Mapping[str, str], name: str) -> list[str]:
        """Those of some names of files below the folder that are there, and that predict did not write for `name`."""
        mine = self.records[name].written if name in self.records else {}
        return [each for each in names.values() if (self.folder / each).exists() and each not in mine]

    def publish(self, record: Record, work: Path) -> None:
        """Moves what was made of a file from `work` to its place. The record goes first, so that nothing is orphaned.

        Args:
            record: of the file.
            work: holds the files by the last part of their names, and `objects.csv`.

        Raises:
            OSError: it cannot be written.
        """
        if old := self.records.get(record.name):
            for name in old.written:
                (self.folder / name).unlink(missing_ok=True)
        text = json.dumps({"format": _FORMAT, "lamella": __version__, **asdict(record)}, indent=1)
        part = work / "record.json"
        part.write_text(text, encoding="utf-8")
        for source, target in (
            (work / "objects.csv", self.rows(record.name)),
            (part, self._path(record.name)),
            *((work / Path(name).name, self.folder / name) for name in record.written),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        self.records[record.name] = record

    def tell(self, networks: tuple[str, ...], class_names: tuple[str, ...], objects: Any) -> None:
        """Writes `predictions.json`. Raises StorageError."""
        pictures, written = [], dict[str, str]()
        for record in self.records.values():
            written |= record.written
            for number, (image, values) in enumerate(zip(record.images, record.values, strict=True)):
                page = number if record.pages else None
                ref = ImageRef(Path(record.path), page, record.axes, record.inside)
                size = int(image["height"]), int(image["width"])
                pictures.append(Picture(record.name, ref, record.sha256, size, record.files, page, values))
        predictions.write(self.folder, Predictions(networks, class_names, objects, written, tuple(pictures)))

    def _path(self, name: str) -> Path:
        return self.hidden / "files" / f"{name}.json"


def written_in(folder: Path) -> set[str]:
    """The names, below a folder, of all that predict wrote into it; none where it did not."""
    names: set[str] = set()
    with suppress(DataError):
        names |= set(predictions.read(folder).sha256) if (folder / predictions.NAME).exists() else set()
    for each in _records(folder / HIDDEN):
        names |= set(each.written)
    return names | set(SUMMARIES) if names else names


def unwritable(folder: Path, error: OSError) -> StorageError:
    """The error over a folder that cannot be written, to be raised."""
    return StorageError(
        f"results cannot be written to {folder}: {error.strerror or error}",
        "Free space there, or name another folder: output=FOLDER. What is finished stays; the same command goes on "
        "where this one stopped.",
    )


def _records(hidden: Path) -> Iterator[Record]:
    for path in sorted((hidden / "files").rglob("*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):  # damaged: its file is done again
            held = json.loads(path.read_text(encoding="utf-8"))
            if held.pop("format") == _FORMAT:
                held.pop("lamella")
                yield Record(**held)
