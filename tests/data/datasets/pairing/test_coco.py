"""One COCO file for all images: each entry finds its image, or an error counts those that do not."""

import json

import pytest

from lamella.data.datasets.pairing import Affixes, from_csv, from_places
from lamella.errors import DataError


def coco(path, names):
    """A file that names images and outlines a square in the first."""
    square = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]], "iscrowd": 0}
    images = [{"id": number, "file_name": name, "height": 8, "width": 8} for number, name in enumerate(names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {"images": images, "annotations": [square], "categories": [{"id": 1, "name": "cell"}]}
    path.write_text(json.dumps(held))
    return str(path)


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def inside(found):
    return {pair.id: (pair.mask.path.name, pair.mask.inside) for pair in found.pairs}


def test_each_image_has_its_entry(tmp_path):
    """Also where it is named by a path of another machine, and where it has no object."""
    masks = coco(tmp_path / "all.json", ["a.png", "C:\\pictures\\b.png", "set/x/c.tif"])
    found = from_places(put(tmp_path / "i", "a.png", "b.png", "x/c.tif", "a.json"), masks)
    assert inside(found) == {
        "a": ("all.json", "a.png"),
        "b": ("all.json", "C:\\pictures\\b.png"),
        "x/c": ("all.json", "set/x/c.tif"),
    }
    assert found.passed_over == {"*.json": 1}
    assert found.notes == ["all.json outlines the objects of 3 images"]


@pytest.mark.parametrize(
    ("images", "names", "problem"),
    [
        (["a.png"], ["a.png", "b.png", "c.png"], r"of 3 images that .*all\.json names 2 are not in .*: b\.png, c\.png"),
        (["a.png", "b.png"], ["a.png"], r"1 of 2 images in .*i have no entry in .*all\.json: .*b\.png"),
        (["a.png"], ["a.png", "./a.png"], r"names .*a\.png again"),
        (["p/a.png", "q/a.png"], ["a.png", "q/a.png"], r"not in .*, or more than once: a\.png"),
    ],
)
def test_images_and_entries_that_do_not_meet_are_counted(tmp_path, images, names, problem):
    with pytest.raises(DataError, match=problem):
        from_places(put(tmp_path / "i", *images), coco(tmp_path / "all.json", names))


def test_the_file_may_lie_among_its_images_part_by_part(tmp_path):
    for part in ("train", "test"):
        put(tmp_path / part, "a.png", f"{part}.png")
        coco(tmp_path / part / "_annotations.coco.json", ["a.png", f"{part}.png"])
    found = from_places(str(tmp_path), None)
    assert {pair.id: (pair.part, pair.mask.path.parent.name) for pair in found.pairs} == {
        "test/a": ("test", "test"),
        "test/test": ("test", "test"),
        "train/a": ("train", "train"),
        "train/train": ("train", "train"),
    }


@pytest.mark.parametrize("place", ["instances.json", "annotations/instances.json"])
def test_the_file_may_lie_beside_the_folder_of_images(tmp_path, place):
    put(tmp_path, "images/a.png")
    masks = coco(tmp_path / place, ["a.png"])
    assert inside(from_places(str(tmp_path), None)) == {"a": ("instances.json", "a.png")} or place == "instances.json"
    if place == "instances.json":
        with pytest.raises(DataError) as caught:
            from_places(str(tmp_path / "images"), None)
        assert caught.value.remedy == f"Did you mean `dataset.masks={masks}`? It names all 1 images."
    else:
        assert inside(from_places(str(tmp_path / "images"), str(tmp_path / "annotations")))["a"][1] == "a.png"


def test_an_annotation_an_image_pairs_by_name(tmp_path):
    labelme = {"shapes": [], "imagePath": "a.png", "imageHeight": 8, "imageWidth": 8, "version": "5"}
    for name in "ab":
        put(tmp_path, f"{name}.png")
        (tmp_path / f"{name}.json").write_text(json.dumps(labelme))
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(DataError, match="nothing in their names") as caught:
        from_places(str(tmp_path), None)
    assert caught.value.remedy == "Did you mean `dataset.mask_suffix=.json`? It pairs 2 of 2."
    found = from_places(str(tmp_path), None, Affixes(mask_suffix=".json"))
    assert inside(found) == {"a": ("a.json", None), "b": ("b.json", None)}
    assert found.passed_over == {"*.json": 1}


def test_a_table_may_name_it(tmp_path):
    put(tmp_path, "a.png", "b.png")
    coco(tmp_path / "all.json", ["set/a.png", "set/b.png"])
    (tmp_path / "pairs.csv").write_text("image,mask\na.png,all.json\nb.png,all.json\n")
    assert inside(from_csv(tmp_path / "pairs.csv")) == {"a": ("all.json", "set/a.png"), "b": ("all.json", "set/b.png")}
    put(tmp_path, "c.png")
    (tmp_path / "pairs.csv").write_text("image,mask\nc.png,all.json\n")
    with pytest.raises(DataError, match=r"all\.json has 0 entries for .*c\.png, not one"):
        from_csv(tmp_path / "pairs.csv")
