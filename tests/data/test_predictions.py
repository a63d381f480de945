"""A folder of predictions says what was made of what; moved folders find their pictures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lamella.data import predictions
from lamella.data.predictions import Picture, Predictions, values_hash, values_sha256
from lamella.data.types import ImageRef
from lamella.errors import DataError


def made(tmp_path: Path) -> tuple[Path, Predictions]:
    """A folder `work/found` of the predictions of `work/raw/a.tif`."""
    (tmp_path / "work" / "raw").mkdir(parents=True)
    image = tmp_path / "work" / "raw" / "a.tif"
    image.write_bytes(b"picture")
    folder = tmp_path / "work" / "found"
    folder.mkdir()
    files = {"labels": "a_labels.tif", "objects": "a_objects.tif"}
    picture = Picture(
        "a", ImageRef(image, 3, "ZYX", "/raw"), "5" * 64, (7, 5), files, page=3, values={"labels": "6" * 64}
    )
    return folder, Predictions(("1" * 32,), ("ground", "cell"), "cells", {"a_labels.tif": "7" * 64}, (picture,))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder, wanted = made(tmp_path)
    predictions.write(folder, wanted)
    assert predictions.read(folder) == wanted
    assert [path.name for path in folder.iterdir()] == ["predictions.json"]


@pytest.mark.parametrize("what", ["all", "folder", "image beside"])
def test_moved_folders_find_their_pictures(tmp_path: Path, what: str) -> None:
    folder, wanted = made(tmp_path)
    predictions.write(folder, wanted)
    image, new = wanted.pictures[0].image.path, tmp_path / "elsewhere" / "deep"
    new.parent.mkdir()
    if what == "all":
        shutil.move(folder.parent, new)
        folder, image = new / "found", new / "raw" / "a.tif"
    elif what == "folder":
        shutil.move(folder, new)
        folder = new
    else:
        image = Path(shutil.move(image, folder / "a.tif"))
    assert predictions.read(folder).pictures[0].image == replace(wanted.pictures[0].image, path=image)


def test_values_are_the_same_in_whatever_type_and_pieces() -> None:
    labels = np.arange(35, dtype=np.uint8).reshape(7, 5)
    whole = values_sha256(labels, "labels")
    assert whole == values_sha256(labels.astype(np.int32)[:, ::-1][:, ::-1], "labels")
    assert whole != values_sha256(labels, "objects")
    pieces = values_hash()
    for rows in (labels[:3], labels[3:]):
        pieces.update(np.ascontiguousarray(rows, "<u4").data)
    assert pieces.hexdigest() == values_sha256(labels.astype(">u2"), "objects")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "has no predictions.json"),
        ({"format": 2, "lamella": "9.9"}, r"later Lamella \(9\.9\)"),
        ({"format": "x"}, "damaged"),
        ({"pictures": 1}, "damaged"),
        ({"sha256": []}, "damaged"),
        ("[]", "damaged"),
        ("{", "damaged"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, change: object, said: str) -> None:
    folder, wanted = made(tmp_path)
    if change is not None:
        predictions.write(folder, wanted)
        path = folder / "predictions.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change) if isinstance(change, dict) else str(change))
    with pytest.raises(DataError, match=said):
        predictions.read(folder)


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, wanted = made(tmp_path)
    picture = replace(wanted.pictures[0], files={"labels": "../raw/a.tif"})
    predictions.write(folder, replace(wanted, pictures=(picture,)))
    with pytest.raises(DataError, match=r"'\.\./raw/a\.tif' is no name of a file in the folder"):
        predictions.read(folder)
