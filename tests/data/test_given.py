"""Masks made elsewhere: which file is whose, and what their values can alone mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.data.given import given
from lamella.data.types import IGNORE, DatasetCard, ImageRef, Labelling, Sample
from lamella.errors import ConfigError, DataError

CARD = DatasetCard("set", "a set", ("ground", "cell"), {0: 0, 128: 1, 9: IGNORE}, 1, "made here", objects="cells")
THREE = replace(CARD, class_names=("ground", "cell", "nucleus"), mask_values={0: 0, 1: 2, 2: 1})
SHAPE = 12, 20


def sample(folder, name, page=None):
    path = folder / "images" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(path)
    return Sample(name, ImageRef(path, page), ImageRef(path), name)


def put(folder, files):
    for name, mask in files.items():
        path = folder / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, mask)
        elif path.suffix == ".tif":
            tifffile.imwrite(path, mask, photometric="minisblack")
        else:
            Image.fromarray(mask).save(path)
    return folder / "masks"


def mask(*values):
    """A block of three columns for each value, side by side."""
    found = np.zeros(SHAPE, np.int64)
    for place, value in enumerate(values):
        found[2:10, 3 * place + 1 : 3 * place + 4] = value
    return found.astype(np.uint16 if found.max() > 255 else np.uint8)


def read(folder, masks, card=CARD, **asked):
    """The mask of one image, given as `masks`; and what was understood."""
    samples = [sample(folder, f"image{n}") for n in range(len(masks))]
    place = put(folder, {f"image{n}.tif": one for n, one in enumerate(masks)})
    found = given(samples, card, place, **asked)
    return found.read("image0"), found.meaning


@pytest.mark.parametrize("value", [1, 128, 255])
def test_one_value_is_the_foreground(tmp_path, value):
    labels, meaning = read(tmp_path, [mask(value, 0, value), mask(0)])
    assert np.array_equal(labels.classes, mask(1, 0, 1))
    assert labels.objects is None
    assert meaning == f"0 ground, {value} cell"


def test_several_values_of_two_classes_number_objects(tmp_path):
    labels, meaning = read(tmp_path, [mask(1, 2, 700), mask(3)])
    assert np.array_equal(labels.objects, mask(1, 2, 3))
    assert np.array_equal(labels.classes, mask(1, 1, 1))  # the truth has no border between objects
    assert meaning == "each value is one object: 4 in 2 images"


def test_objects_are_parted_where_those_of_the_truth_are(tmp_path):
    card = replace(CARD, labelling=Labelling(objects="values"), mask_values={0: 0})
    labels, _ = read(tmp_path, [mask(1, 2)], card)
    assert labels.classes[5].tolist() == [0, 1, 1, 0, 0, 1, 1, *[0] * 13]
    assert labels.objects[5].tolist() == [0, 1, 1, 1, 2, 2, 2, *[0] * 13]
    labels, _ = read(tmp_path, [mask(1, 2)], replace(card, labelling=Labelling(objects="values", border="ignore")))
    assert labels.classes.max() == 1
    assert (labels.classes > 0).sum() == (labels.objects > 0).sum()


def test_more_classes_are_the_data_sets_own(tmp_path):
    with pytest.raises(DataError) as caught:  # their numbers, or values of its masks?
        read(tmp_path, [mask(1, 2)], THREE)
    assert caught.value.remedy == "Say what they mean: 'classes={ground: ..., cell: ..., nucleus: ...}'."
    labels, meaning = read(tmp_path, [mask(1, 2)], THREE, classes={"nucleus": 2, "ground": 0, "cell": 1})
    assert np.array_equal(labels.classes, mask(1, 2))
    assert meaning == "2 nucleus, 0 ground, 1 cell"
    plain = replace(THREE, mask_values={0: 0, 50: 1, 90: 2})
    assert np.array_equal(read(tmp_path, [mask(90, 50)], plain)[0].classes, mask(2, 1))
    assert np.array_equal(read(tmp_path, [mask(2, 1)], plain)[0].classes, mask(2, 1))


@pytest.mark.parametrize(
    ("masks", "card", "asked", "problem"),
    [
        (
            [mask(0, 255)],
            replace(CARD, mask_values={0: 1, 255: 0}),
            {},
            "hold the values 0, 255, which may mean",
        ),
        ([mask(7)], CARD, {}, "hold the values 0, 7, which may mean several things"),
        ([mask(128, 9)], CARD, {"numbered": False}, "hold the values 0, 128, 9, which may mean several things"),
        ([np.indices(SHAPE).sum(axis=0).astype(np.uint8) % 5], CARD, {}, "separate regions: are these objects"),
        ([mask(3)], CARD, {"classes": {"ground": 0, "cell": 4}}, "holds 3, which is no class"),
        ([mask(3)], CARD, {"classes": {"ground": 0, "nucleus": 3}}, "names ground, nucleus; set has ground, cell"),
        ([mask(1, 2) + 5, mask(3) + 5], CARD, {}, "5 fills 85% of the 2 masks, and is in every one: it looks like"),
        ([mask(1, 2) + 5, mask(3) + 5], CARD, {"numbered": True}, "5 fills 85% of the 2 masks"),
        ([mask(3)], THREE, {"numbered": True}, "instances=true says which object a pixel is of"),
        ([mask(3)], CARD, {"numbered": True, "classes": {"ground": 0, "cell": 3}}, "are both set"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path, masks, card, asked, problem):
    with pytest.raises((DataError, ConfigError), match=problem):
        read(tmp_path, masks, card, **asked)


def test_the_owner_may_say_that_values_are_objects(tmp_path):
    labels, meaning = read(tmp_path, [mask(7)], numbered=True)
    assert np.array_equal(labels.objects, mask(1))
    assert meaning == "each value is one object: 1 in 1 image"


def test_masks_are_found_by_image_or_id_in_any_type(tmp_path):
    samples = [replace(sample(tmp_path, name), id=id_) for name, id_ in [("a", "test/a"), ("b", "b"), ("c", "c-012")]]
    place = put(tmp_path, {"test/a.png": mask(1), "b.npy": mask(1), "c-012.tif": mask(1), "d.png": mask(1)})
    found = given(samples, CARD, place)
    assert [ref.path.name for ref in found.masks.values()] == ["a.png", "b.npy", "c-012.tif"]
    assert found.beside == 1
    put(tmp_path, {"b.png": mask(1)})
    with pytest.raises(DataError, match=r"b\.npy and b\.png both are the mask of b"):
        given(samples, CARD, place)
    twins = [replace(samples[0], id=id_) for id_ in ("one/d", "other/d")]
    with pytest.raises(DataError, match=r"d\.png would be the mask of one/d and of other/d"):
        given(twins, CARD, place)


def test_an_image_is_no_mask_of_itself(tmp_path):
    samples = [sample(tmp_path, "a")]
    Image.fromarray(mask(1)).save(tmp_path / "images/a_cp_masks.png")
    with pytest.raises(DataError, match="is the image itself, not a mask of it"):
        given(samples, CARD, tmp_path / "images")
    assert given(samples, CARD, tmp_path / "images", suffix="_cp_masks").masks["a"].path.name == "a_cp_masks.png"


def test_a_stack_goes_with_a_stack_page_by_page(tmp_path):
    pages = np.stack([np.zeros(SHAPE, np.uint8)] * 3)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    samples = [Sample(f"s-{n}", ImageRef(tmp_path / "stack.tif", n), ImageRef(Path("m")), "s") for n in (1, 2)]
    masks = np.stack([mask(0), mask(1), mask(1, 1)])
    place = put(tmp_path, {"labels.tif": masks}) / "labels.tif"
    found = given(samples, CARD, place)
    assert np.array_equal(found.read("s-2").classes, mask(1, 1))
    tifffile.imwrite(place, masks[:2], photometric="minisblack")
    with pytest.raises(DataError, match=r"has 2 page\(s\), .*stack.tif has 3"):
        given(samples, CARD, place)
