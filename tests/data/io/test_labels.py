"""Masks that number objects: ids and classes by hand, borders between what touches, several files, colours."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.segmentation import find_boundaries

from lamella.data.io.labels import Labels, meaning, parted, read_labels, shrink_objects
from lamella.data.io.masks import mask_values, read_mask
from lamella.data.types import IGNORE, DatasetCard, ImageRef, Labelling
from lamella.errors import DataError

CARD = DatasetCard(
    name="cells", title="cells", class_names=("background", "cell"), mask_values={}, channels=1, source="by hand",
    labelling=Labelling("values"),
)  # fmt: skip
TOUCHING = np.array([[7, 7, 7, 2, 2, 2], [7, 7, 7, 2, 2, 2], [0, 0, 0, 0, 0, 0], [9, 9, 0, 0, 0, 0]])


def put(folder, array, name="mask.tif", **how):
    path = folder / name
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, **how)
    else:
        Image.fromarray(array).save(path)
    return ImageRef(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32])
def test_every_value_is_an_object(tmp_path, dtype):
    factor = 1 if dtype == np.uint8 else 7000  # beyond 8 bits, and beyond 16
    ref = put(tmp_path, (TOUCHING * factor).astype(dtype) if dtype != np.uint16 else TOUCHING.astype(dtype) * 5000)
    found = read_labels(ref, CARD, ref)
    assert found.classes.tolist() == (TOUCHING > 0).astype(int).tolist()
    assert found.objects is not None
    assert found.objects.dtype == np.int32
    # Numbered in the order of their values: 2, 7, 9.
    assert found.objects.tolist() == [[2, 2, 2, 1, 1, 1], [2, 2, 2, 1, 1, 1], [0] * 6, [3, 3, 0, 0, 0, 0]]


def test_what_has_a_meaning_is_no_object(tmp_path):
    ref = put(tmp_path, np.array([[-1, 0, 3], [65535, 0, 3]], np.int32))
    card = replace(CARD, mask_values={0: 0, 65535: IGNORE, -1: IGNORE})
    found = read_labels(ref, card, ref)
    assert found.classes.tolist() == [[IGNORE, 0, 1], [IGNORE, 0, 1]]
    assert found.objects is not None
    assert found.objects.tolist() == [[0, 0, 1], [0, 0, 1]]
    with pytest.raises(DataError, match=r"the value -1, which numbers no object") as caught:
        read_labels(ref, CARD, ref)
    assert "dataset.ignore=-1" in caught.value.remedy


def test_colours_are_objects(tmp_path):
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:2, :3], colours[:2, 3:] = (255, 0, 0), (0, 200, 7)
    ref = put(tmp_path, colours, "mask.png")
    found = read_labels(ref, CARD, ref)
    assert found.objects is not None
    assert found.objects[:3].tolist() == [[2, 2, 2, 1, 1, 1]] * 2 + [[0] * 6]
    white = np.where(colours.any(-1, keepdims=True), colours, 255).astype(np.uint8)
    ref = put(tmp_path, white, "white.png")
    found = read_labels(ref, replace(CARD, mask_values={(255, 255, 255): 0}), ref)
    assert found.objects is not None
    assert found.objects.max() == 2
    assert not found.objects[2:].any()


def test_one_file_an_object_and_its_class(tmp_path):
    first = put(tmp_path, np.array([[255, 255, 0, 0]], np.uint8), "1.png")
    second = put(tmp_path, np.array([[0, 255, 255, 0]], np.uint8), "2.png")
    ref = ImageRef(first.path, others=(second.path,), labels=("red", "white"))
    card = replace(CARD, class_names=("background", "red cell", "white cell"),
                   labelling=Labelling("files", names={"red": 1, "white": 2}))  # fmt: skip
    found = read_labels(ref, card, ref)
    assert found.classes.tolist() == [[1, 2, 2, 0]]  # where two claim a pixel, the later has it
    assert found.objects is not None
    assert found.objects.tolist() == [[1, 2, 2, 0]]
    with pytest.raises(DataError, match="the class 'white', which the data set does not have"):
        read_labels(ref, replace(card, labelling=Labelling("files", names={"red": 1})), ref)
    ignored = read_labels(ref, replace(card, labelling=Labelling("files", names={"red": 1, "white": IGNORE})), ref)
    assert ignored.classes.tolist() == [[1, IGNORE, IGNORE, 0]]
    assert ignored.objects is not None
    assert ignored.objects.tolist() == [[1, 0, 0, 0]]
    put(tmp_path, np.zeros((2, 4), np.uint8), "2.png")
    with pytest.raises(DataError, match="4x1 and 4x2 pixels"):
        read_labels(ref, card, ref)


def test_a_crowd_is_ignored(tmp_path):
    """Of COCO: pixels of several objects that nobody drew one by one are neither one object nor background."""
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    runs = {"size": [4, 6], "counts": [16, 8]}  # down the columns: the last two
    held = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
            {"image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": runs},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(held))
    card = replace(CARD, labelling=Labelling("drawn", names={"cell": 1}))
    found = read_labels(ImageRef(tmp_path / "a.json", inside="a.png"), card, ImageRef(tmp_path / "a.png"))
    assert found.classes.tolist() == [[1, 1, 0, 0, 255, 255]] * 2 + [[0, 0, 0, 0, 255, 255]] * 2
    assert found.objects is not None
    assert found.objects.tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[0] * 6] * 2


def test_what_touches_is_parted(tmp_path):
    ref = put(tmp_path, TOUCHING.astype(np.uint8))
    labels = read_labels(ref, CARD, ref)
    assert parted(labels, "background").tolist() == [[1, 1, 0, 0, 1, 1]] * 2 + [[0] * 6, [1, 1, 0, 0, 0, 0]]
    assert parted(labels, "ignore").tolist() == [[1, 1, 255, 255, 1, 1]] * 2 + [[0] * 6, [1, 1, 0, 0, 0, 0]]
    assert parted(labels, "none").tolist() == labels.classes.tolist()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_border_is_scikit_images_between_objects(seed):
    ids = np.random.default_rng(seed).integers(0, 4, (5, 6)).astype(np.int32).repeat(3, 0).repeat(3, 1)
    labels = Labels((ids > 0).astype(np.uint8), ids)
    inner = np.zeros(ids.shape, bool)  # boundaries of each object against the others alone
    for each in np.unique(ids[ids > 0]):
        others = np.where((ids > 0) & (ids != each), 1, 0)
        grown = find_boundaries(others, connectivity=2, mode="outer")
        inner |= grown & (ids == each)
    assert np.array_equal(parted(labels, "background") == 0, (ids == 0) | inner)


def test_ids_at_another_scale_are_those_nearest():
    ids = np.arange(1, 17, dtype=np.int32).reshape(4, 4).repeat(2, 0).repeat(2, 1) * 100_000
    assert np.array_equal(shrink_objects(ids, 0.5), np.arange(1, 17).reshape(4, 4) * 100_000)
    assert shrink_objects(ids, 1) is ids


# --- values: thresholds, layers, what nobody declared ----------------------------------------------------------


def test_a_threshold_reads_what_a_jpeg_made_of_a_mask(tmp_path):
    truth = np.zeros((32, 32), np.uint8)
    truth[8:24, 4:20] = 255
    Image.fromarray(truth).save(tmp_path / "mask.jpg", quality=60)
    ref, how = ImageRef(tmp_path / "mask.jpg"), Labelling(threshold=127)
    assert np.array_equal(read_mask(ref, {0: 0, 1: 1}, how), truth // 255)
    assert mask_values(ref, how) == {0: 32 * 32 - 16 * 16, 1: 16 * 16}
    with pytest.raises(DataError, match="is a JPEG"):
        mask_values(ref)
    Image.fromarray(np.dstack([truth, 255 - truth, truth])).save(tmp_path / "mask.jpg")
    with pytest.raises(DataError, match="coloured"):
        mask_values(ref, how)


@pytest.mark.parametrize(("layers", "wanted"), [("all", [[0, 1], [2, 1]]), ("rest", [[1, 2], [3, 2]])])
def test_a_layer_a_value(tmp_path, layers, wanted):
    planes = np.array([[[1, 0], [0, 0]], [[0, 1], [0, 1]], [[0, 0], [1, 0]]], np.uint8)
    put(tmp_path, planes, photometric="minisblack")
    ref = ImageRef(tmp_path / "mask.tif", axes="CYX")
    values = {n: n for n in range(4)}
    assert read_mask(ref, values, Labelling(layers=layers)).tolist() == wanted
    planes[0] = 1
    put(tmp_path, planes, photometric="minisblack")
    with pytest.raises(DataError, match=r"3 pixels of mask .* are in several of its 3 layers"):
        read_mask(ref, values, Labelling(layers=layers))


def test_pixels_in_no_layer_are_the_rest(tmp_path):
    planes = np.array([[[1, 0]], [[0, 0]]], np.uint8)
    put(tmp_path, planes, photometric="minisblack")
    ref = ImageRef(tmp_path / "mask.tif", axes="CYX")
    assert read_mask(ref, {0: 0, 1: 1, 2: 2}, Labelling(layers="rest")).tolist() == [[1, 0]]
    with pytest.raises(DataError, match="or in none"):
        read_mask(ref, {0: 0, 1: 1}, Labelling(layers="all"))


def test_values_that_nobody_declared_may_be_ignored(tmp_path):
    ref = put(tmp_path, np.array([[0, 1, 2, 254]], np.uint8))
    assert read_mask(ref, {0: 0, 1: 1}, Labelling(undeclared=True)).tolist() == [[0, 1, IGNORE, IGNORE]]
    with pytest.raises(DataError, match="unexpected values: 2"):
        read_mask(ref, {0: 0, 1: 1})


def test_two_cards_that_read_alike_mean_the_same():
    plain = replace(CARD, labelling=Labelling(), mask_values={255: 1, 0: 0})
    assert meaning(plain) == [("0", 0), ("255", 1)]  # as all runs have it that were made before
    assert meaning(plain) != meaning(CARD) != meaning(replace(CARD, labelling=Labelling("values", border="none")))
