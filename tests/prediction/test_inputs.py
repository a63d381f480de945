"""Which files a user's words name, what comes of them is called, and what is told of the others."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.errors import ConfigError, DataError
from lamella.prediction.inputs import find, told


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def put(raw: Path, *names: str) -> None:
    for name in names:
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
        elif path.suffix == ".tif":
            tifffile.imwrite(path, np.zeros((9, 9), np.uint8))
        else:
            path.write_text("x")


def names(found) -> list[str]:
    return [each.name for each in found.inputs]


def test_a_folder_with_its_sub_folders(raw, tmp_path):
    put(raw, "b.png", "a.tif", "sub/a.tif", "sub/deep/a.png")
    found = find(str(raw), tmp_path / "out")
    assert names(found) == ["a", "b", "sub/a", "sub/deep/a"]
    assert found.passed_over == {}


def test_a_file_of_any_name(raw, tmp_path):
    put(raw, "[a] =1+1*.tif", "b.tif")
    assert names(find(str(raw / "[a] =1+1*.tif"), tmp_path)) == ["[a] =1+1*"]


def test_a_glob_keeps_folders_below_its_first_wildcard(raw, tmp_path):
    put(raw, "p1/img.tif", "p2/img.tif", "p2/other.png", "p3/img.png")
    assert names(find(str(raw / "*" / "img.tif"), tmp_path)) == ["p1/img", "p2/img"]
    assert names(find(str(raw / "**" / "*.png"), tmp_path)) == ["p2/other", "p3/img"]


def test_an_array_inside_of_each_container(raw, tmp_path):
    put(raw, "a.png")
    np.savez(raw / "b.npz", raw=np.zeros((9, 9)), other=np.zeros((9, 9)))
    found = find(f"{raw}:raw", tmp_path / "out")
    assert [(each.name, each.inside) for each in found.inputs] == [("a", None), ("b", "raw")]
    (one,) = find(f"{raw}/b.npz:raw", tmp_path / "out").inputs
    assert (one.name, one.inside) == ("b", "raw")


def test_what_is_no_image_is_counted_and_what_is_not_read_is_told(raw, tmp_path):
    put(raw, "a.tif", "notes.txt", "b.csv", "c.csv", "odd.zzz", "x.czi", "a_cp_output.tif", "README", ".hidden.tif")
    found = find(str(raw), tmp_path / "out")
    assert names(found) == ["a"]
    assert told(found.passed_over) == "2 *.csv, 1 *.txt, 1 *.zzz, 1 *_cp_output.tif, 1 README"
    ((path, error),) = found.unread
    assert path.name == "x.czi"
    assert "ZEISS" in error.problem


@pytest.mark.parametrize("what", ["raw/none.tif", "raw/*.jpg", "raw/empty", "raw/[", "raw/texts"])
def test_nothing_there_is_an_error(raw, tmp_path, what):
    put(raw, "a.tif", "texts/a.txt")
    (raw / "empty").mkdir()
    with pytest.raises(DataError, match=r"raw"):
        find(str(tmp_path / what), tmp_path / "out")


@pytest.mark.parametrize("pair", [("a.tif", "a.png"), ("A.tif", "a.png"), ("sub/a.tif", "SUB/a.tif")])
def test_two_files_of_one_name_are_refused(raw, tmp_path, pair):
    put(raw, *pair)
    with pytest.raises(ConfigError, match="one name"):
        find(str(raw), tmp_path / "out")
    assert len(find(str(raw / pair[0]), tmp_path / "out").inputs) == 1


def test_links_that_lead_in_circles_end(raw, tmp_path):
    put(raw, "a/x.tif", "b/y.tif")
    (raw / "a" / "to_b").symlink_to(raw / "b")
    (raw / "b" / "to_a").symlink_to(raw / "a")
    (raw / "self").symlink_to(raw)
    (raw / "broken.tif").symlink_to(raw / "gone.tif")
    assert names(find(str(raw), tmp_path / "out")) == ["a/to_b/y", "a/x", "b/to_a/x", "b/y", "broken"]


def test_an_output_folder_below_the_input_is_left_out(raw):
    put(raw, "a.tif", "found/a_labels.tif", "found/more.png")
    assert names(find(str(raw), raw / "found")) == ["a"]


@pytest.mark.parametrize("where", ["", "found"])
def test_what_predict_wrote_is_no_input(raw, tmp_path, where):
    ours = ["a_labels.tif", "a_overlay.png", "sub/b_labels.tif"]
    put(raw, "a.tif", "sub/b.tif", *(f"{where}/{name}".strip("/") for name in ours))
    told_ = {
        "format": 1,
        "networks": [],
        "class_names": [],
        "objects": "",
        "pictures": [],
        "sha256": dict.fromkeys(ours, "0"),
    }
    (raw / where / "predictions.json").write_text(json.dumps(told_))
    (raw / where / "index.html").write_text("")
    for what in (raw, raw / "**" / "*.*"):
        found = find(str(what), raw if not where else tmp_path / "other")
        assert names(found) == ["a", "sub/b"]
        assert found.results >= 3
    with pytest.raises(DataError, match="only 1 that predict wrote"):
        find(str(raw / where / "a_labels.tif"), tmp_path)
