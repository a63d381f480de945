"""Which images a user means by a file, a folder or a glob, and what the files that come of each are called."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lamella.data import predictions
from lamella.data.datasets.pairing.listing import File, composed, ending, is_file, lies_beside, made, named, walk
from lamella.data.io.read import SUFFIXES, foreign, located, suffix
from lamella.errors import ConfigError, DataError, LamellaError
from lamella.prediction import record

_WILD = frozenset("*?[")
_CONTAINERS = (".npz", ".h5", ".hdf5", ".hdf", ".zarr")


class Input(NamedTuple):
    """A file to be predicted.

    Attributes:
        path: of the file.
        inside: which of its arrays, where its user named one.
        name: of what comes of it, below the output folder: "sub/a" for sub/a_labels.tif and so on.
    """

    path: Path
    inside: str | None
    name: str


class Found(NamedTuple):
    """What a user's words name.

    Attributes:
        inputs: what is to be predicted, sorted.
        unread: files that are pictures, of a format that is not read, with what their owner can do about it.
        passed_over: files that are none, by the ends of their names.
        results: how many files earlier calls of predict wrote there.
    """

    inputs: list[Input]
    unread: list[tuple[Path, LamellaError]]
    passed_over: Counter[str]
    results: int


def find(what: str, output: Path) -> Found:
    """The files that `input=` names: a file, all below a folder, or what a glob matches; in order of their names.

    What earlier calls of predict wrote is not among them, nor is anything in the output folder, unless that is the
    input folder itself. Sub-folders count; what is written keeps them.

    Args:
        what: as the user typed it, `file.h5:/inside` and `FOLDER:/inside` included.
        output: where results go.

    Raises:
        DataError: there is no such file, or none that may be an image.
        ConfigError: the results of two files would have the same name.
    """
    place, inside = located(str(Path(what).expanduser()))
    base, files = _files(place, output)
    ours = _Results()
    kept = [file for file in files if not ours.hold(file.path, base)]
    pictures, passed_over = [], Counter[str]()
    unread: list[tuple[Path, LamellaError]] = []
    for file in kept:
        if file.type in SUFFIXES and not lies_beside(file):
            pictures.append(file)
        elif lies_beside(file) or (error := foreign(file.path)) is None:
            passed_over[ending(file)] += 1
        else:
            unread.append((file.path, error))
    if is_file(place):  # named by its owner: whatever it is, reading it says so
        pictures, unread, passed_over = kept, [], Counter()
    byproducts = made(pictures) if not is_file(place) else set()
    passed_over.update(map(ending, byproducts))
    found = [
        Input(file.path, inside if suffix(file.path) in _CONTAINERS else None, file.key)
        for file in pictures
        if file not in byproducts
    ]
    if not found and not unread:
        raise DataError(f"input={what} names no image{_beside(passed_over, ours.count)}", _NAME)
    _require_names(found)
    return Found(found, unread, passed_over, ours.count)


def told(passed_over: Counter[str]) -> str:
    """Files that are no images in words: 3 *.csv, 1 notes."""
    return ", ".join(f"{count} {name}" for name, count in sorted(passed_over.items()))


_NAME = "Name a file, a folder that holds images, or a glob in quotes, such as input='raw/*.tif'."


def _files(place: Path, output: Path) -> tuple[Path, list[File]]:
    """The folder from which names count, and all files that are named."""
    if is_file(place):
        return place.parent, [named(place)]
    if place.is_dir():
        without = set() if output.resolve() == place.resolve() else {output.resolve()}
        return place, [named(path, folder) for path, folder in walk(place, without)]
    base = Path(*_fixed(place.parts)) if any(_WILD & set(part) for part in place.parts) else None
    if base is None or not base.is_dir():
        raise DataError(f"there is no {place}", _NAME)
    paths: Iterable[Path] = ()
    with suppress(ValueError):  # no pattern
        paths = sorted(path for path in base.glob(str(place.relative_to(base))) if is_file(path))
    shown = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(base).parts)]
    if not shown:
        raise DataError(f"no file matches {place}", _NAME)
    return base, [named(path, _folder(path, base)) for path in shown]


def _folder(path: Path, base: Path) -> str:
    return composed(path.relative_to(base).parent.as_posix()).removeprefix(".")


def _fixed(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of a pattern before the first that holds a wildcard."""
    wild = next(number for number, part in enumerate(parts) if _WILD & set(part))
    return parts[:wild]


class _Results:
    """Tells what predict wrote before, by the records that it leaves in its folders."""

    def __init__(self) -> None:
        self.count = 0
        self._names: dict[Path, set[str]] = {}

    def hold(self, path: Path, base: Path) -> bool:
        for folder in path.parents:
            if folder not in self._names:
                self._names[folder] = record.written_in(folder)
            if path.relative_to(folder).as_posix() in self._names[folder]:
                self.count += path.name != predictions.NAME
                return True
            if folder == base:
                break
        return False


def _require_names(found: list[Input]) -> None:
    taken: dict[str, Input] = {}
    for each in found:
        other = taken.setdefault(each.name.casefold(), each)
        if other is not each:
            raise ConfigError(
                f"what comes of {other.path} and of {each.path} would have one name, {each.name}_labels.tif",
                "Predict them into two folders, or choose with a glob: input='FOLDER/*.tif'.",
            )


def _beside(passed_over: Counter[str], results: int) -> str:
    said = [told(passed_over)] if passed_over else []
    if results:
        said.append(f"{results} that predict wrote")
    return f", only {' and '.join(said)}" if said else ""
