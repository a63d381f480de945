"""What a folder of predictions says of itself, `predictions.json`: which file was made of which picture, and its hash.

By the hashes, masks that a person corrected since are told from those that nobody touched.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from lamella.data.types import ImageRef
from lamella.errors import DataError, StorageError
from lamella.plaintext import printable
from lamella.version import __version__

NAME = "predictions.json"

_FORMAT = 1

Kind = Literal["labels", "objects", "geojson", "rois"]
KINDS: tuple[Kind, ...] = ("labels", "objects", "geojson", "rois")
"""The files of a prediction that a person may correct: class ids, numbered objects, outlines of QuPath, of Fiji."""


@dataclass(frozen=True)
class Picture:
    """One picture that was predicted, and where its masks are.

    Attributes:
        name: what its files are called, NAME_labels.tif and so on; with the page, unique in the folder.
        image: the picture. Its path is absolute.
        sha256: of the picture's file, as `lamella.data.cache.facts.Facts.sha256` gives it.
        size: height and width in pixels.
        files: the kind of a file -> its name in the folder. Other kinds than `KINDS` may be among them.
        page: which page of these files is this picture's; None where they hold no other.
        values: of "labels" and "objects": `values_sha256` of this picture's page.
    """

    name: str
    image: ImageRef
    sha256: str
    size: tuple[int, int]
    files: Mapping[str, str]
    page: int | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return printable(self.name) + (f" (page {self.page})" if self.page is not None else "")


@dataclass(frozen=True)
class Predictions:
    """What was predicted into one folder, by what.

    Attributes:
        networks: the ids of the runs whose networks predicted; the path of a checkpoint where no run is known.
        class_names: one name per class id; class 0 is background.
        objects: what regions stand for, which says of what NAME_objects.tif numbers the regions.
        sha256: the name of each file that was written -> its SHA-256.
        pictures: those whose files are all there.
    """

    networks: tuple[str, ...]
    class_names: tuple[str, ...]
    objects: Literal["neurites", "cells", ""]
    sha256: Mapping[str, str]
    pictures: tuple[Picture, ...]


def values_hash() -> "hashlib._Hash":
    """What `values_sha256` is of, to be fed with rows from top to bottom: labels as uint8, objects as "<u4"."""
    return hashlib.sha256()


def values_sha256(values: npt.NDArray[np.integer[Any]], kind: Kind) -> str:
    """SHA-256 of the values of a picture's labels or objects, (H, W), whatever type and file they are kept in."""
    digest = values_hash()
    dtype = np.uint8 if kind == "labels" else np.dtype("<u4")
    for row in values:
        digest.update(np.ascontiguousarray(row, dtype).data)
    return digest.hexdigest()


def write(folder: Path, predictions: Predictions) -> None:
    """Writes `predictions.json` into a folder, whole or not at all; the one that is there is replaced.

    Raises:
        StorageError: it cannot be written.
    """
    text = json.dumps(
        {
            "format": _FORMAT,
            "lamella": __version__,
            "networks": predictions.networks,
            "class_names": predictions.class_names,
            "objects": predictions.objects,
            "sha256": dict(predictions.sha256),
            "pictures": [_as_json(picture, folder) for picture in predictions.pictures],
        },
        indent=1,
    )
    part = folder / f".{NAME}.{uuid4().hex}.part"
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(folder / NAME)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(
            f"{folder / NAME} cannot be written: {error.strerror or error}", "Free space there, or name another folder."
        ) from error


def read(folder: Path) -> Predictions:
    """What `predictions.json` in a folder says. Pictures are found where they were, or moved along with the folder.

    Raises:
        DataError: there is none, it is damaged, or a later version wrote it.
    """
    path = folder / NAME
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        format_ = held["format"]
        if format_ > _FORMAT:
            raise DataError(
                f"{path} was written by a later Lamella ({held.get('lamella')}): its format is {format_}",
                "Use that version, or predict again.",
            )
        return Predictions(
            tuple(map(str, held["networks"])),
            tuple(map(str, held["class_names"])),
            held["objects"],
            {str(name): str(hash_) for name, hash_ in held["sha256"].items()},
            tuple(_picture(row, folder) for row in held["pictures"]),
        )
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no folder of predictions: it has no {NAME}",
            "Name the output folder of `predict`, in which that file lies beside the masks.",
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "Check its rights.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged: {' '.join(str(error).split()) or type(error).__name__}",
            "Predict again, into another folder, and copy the masks that you corrected over there.",
        ) from None


def _as_json(picture: Picture, folder: Path) -> dict[str, Any]:
    path = picture.image.path.absolute()
    try:
        beside = Path(os.path.relpath(path, folder.absolute())).as_posix()
    except ValueError:  # another drive
        beside = str(path)
    return {
        "name": picture.name,
        "image": {
            "path": beside,
            "absolute": str(path),
            "page": picture.image.page,
            "axes": picture.image.axes,
            "inside": picture.image.inside,
            "sha256": picture.sha256,
        },
        "size": picture.size,
        "files": dict(picture.files),
        "page": picture.page,
        "values": dict(picture.values),
    }


def _picture(row: Mapping[str, Any], folder: Path) -> Picture:
    image = row["image"]
    places = [Path(os.path.normpath(folder.absolute() / image["path"])), Path(image["absolute"])]
    places.append(folder.absolute() / places[1].name)
    path = next((place for place in places if place.exists()), places[0])
    height, width = row["size"]
    for name in row["files"].values():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name!r} is no name of a file in the folder")
    return Picture(
        str(row["name"]),
        ImageRef(path, image["page"], image["axes"], image["inside"]),
        str(image["sha256"]),
        (int(height), int(width)),
        dict(row["files"]),
        row["page"],
        dict(row["values"]),
    )
