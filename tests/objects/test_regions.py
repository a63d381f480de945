"""Objects of a picture: those of `lamella.metrics.instances`, whatever the bands, boxes and borders between them."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lamella.errors import DataError, StorageError
from lamella.metrics import cells, instances
from lamella.objects import necks, regions, rows
from lamella.objects.regions import find


def in_order(labels):
    """Ids from 1 in the order of first pixels."""
    ids, first = np.unique(labels, return_index=True)
    table = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    table[ids[ids > 0][np.argsort(first[ids > 0])]] = np.arange(1, (ids > 0).sum() + 1)
    return table[labels]


def as_tested(classes, kind, smallest, neck, border):
    """What `lamella.evaluation.image_scores` counts in an image."""
    valid = np.ones(classes.shape, bool)

    def cut(mask):
        if neck is None or kind != "cells":
            return instances.components(mask, valid, smallest=smallest)
        return instances.split_touching(mask, valid, depth=neck, smallest=smallest)

    if kind == "neurites":
        labels = ndimage.label(classes == 0)[0]
        sizes = np.bincount(labels.ravel(), minlength=1)
        found = np.where(sizes[labels] >= smallest, labels, 0)
    else:
        found = instances.of_classes(cut, classes)
    return in_order(instances.rejoined(found, valid, border))


def blobs(rng, shape, classes):
    """Class ids with regions from specks to webs."""
    picture = np.zeros(shape, np.uint8)
    for each in range(classes):
        field = ndimage.gaussian_filter(rng.random(shape), rng.choice([0.5, 1, 2, 3]))
        picture[field > np.quantile(field, rng.uniform(0.2, 0.9))] = each + 1
    return picture


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_equal_to_what_a_test_counts(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    classes = blobs(rng, rng.integers(1, 60, 2), int(rng.integers(1, 4)))
    kind = str(rng.choice(["cells", "cells", "", "neurites"]))
    smallest, border = int(rng.choice([1, 2, 5, 20])), int(rng.choice([0, 0, 1, 2]))
    neck = [None, 0.5, 1, 1.3, 2][rng.integers(5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PIXELS", int(rng.integers(1, 1500)))
        patch.setattr(necks, "CANVAS", int(rng.integers(1, 3000)))
        found = find(classes, kind, smallest=smallest, neck=neck, folder=tmp_path_factory.mktemp("it"), border=border)
    assert np.array_equal(found.labels, as_tested(classes, kind, smallest, neck, border))
    assert found.labels.max(initial=0) == len(found.class_ids)
    assert found.uncut == ()
    if not border:
        inside = found.labels > 0
        assert (found.class_ids[found.labels[inside] - 1] == classes[inside]).all()


def test_by_hand(tmp_path):
    classes = np.array([[1, 0, 2, 2], [0, 1, 2, 0], [0, 0, 0, 3]], np.uint8)
    found = find(classes, "", smallest=1, neck=None, folder=tmp_path)
    assert found.labels.tolist() == [[1, 0, 2, 2], [0, 1, 2, 0], [0, 0, 0, 3]]  # of two classes no object is one
    assert found.class_ids.tolist() == [1, 2, 3]
    assert (found.labels.dtype, found.class_ids.dtype) == (np.uint32, np.uint8)
    neurites = find(classes, "neurites", smallest=1, neck=4, folder=tmp_path)
    assert neurites.labels.tolist() == [[0, 1, 0, 0], [2, 0, 0, 3], [2, 2, 2, 0]]
    assert neurites.class_ids.tolist() == [0, 0, 0]


def test_nothing(tmp_path):
    found = find(np.zeros((3, 4), np.uint8), "cells", smallest=1, neck=4, folder=tmp_path, border=1)
    assert not found.labels.any()
    assert len(found.class_ids) == 0


def two_discs():
    y, x = np.ogrid[:30, :50]
    return np.logical_or(*((y - 15) ** 2 + (x - at) ** 2 <= 100 for at in (14, 32))).astype(np.uint8)


def test_large_regions_are_cut_in_windows_nearly_as_the_whole_would_be(tmp_path, monkeypatch):
    """Cells that all touch make one region of the whole picture; windows here are a few cells wide."""
    rng = np.random.default_rng(0)
    classes = (ndimage.gaussian_filter(rng.random((260, 310)), 3) > 0.497).astype(np.uint8)
    whole = as_tested(classes, "cells", 1, 2, 0)
    monkeypatch.setattr(necks, "LARGEST", 3000)
    monkeypatch.setattr(necks, "WINDOW", 170)
    monkeypatch.setattr(necks, "MARGIN", 50)
    found = find(classes, "cells", smallest=1, neck=2, folder=tmp_path)
    assert whole.max() > 100
    assert found.uncut == ()
    assert np.array_equal(found.labels > 0, classes > 0)  # no pixel is lost
    counts = cells.compare(np.array(found.labels, np.int32), whole.astype(np.int32))
    assert cells.f1(counts, 0.95) > 0.97


def test_webs_are_not_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(necks, "LARGEST", 100)
    monkeypatch.setattr(necks, "WINDOW", 30)
    monkeypatch.setattr(necks, "MARGIN", 10)
    classes = np.zeros((50, 70), np.uint8)
    classes[::10] = classes[:, ::10] = 1
    found = find(classes, "cells", smallest=1, neck=2, folder=tmp_path)
    assert np.array_equal(found.labels, classes)
    assert found.uncut == ()


def test_what_is_too_deep_for_windows_stays_whole_and_is_named(tmp_path, monkeypatch):
    classes = np.pad(two_discs(), ((5, 0), (0, 0)))
    classes[0, :4] = 1
    assert len(find(classes, "cells", smallest=1, neck=2, folder=tmp_path).class_ids) == 3
    monkeypatch.setattr(necks, "LARGEST", 500)
    monkeypatch.setattr(necks, "MARGIN", 15)
    found = find(classes, "cells", smallest=1, neck=2, folder=tmp_path)
    assert len(found.class_ids) == 2
    assert found.uncut == (2,)


def test_noise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "MOST", 3)
    with pytest.raises(DataError, match="more than 3 separate regions"):
        find(np.array([[1, 0] * 4], np.uint8), "", smallest=1, neck=None, folder=tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(StorageError, match=f"cannot be written in {tmp_path / 'none'}: No such file"):
        find(np.ones((2, 2), np.uint8), "", smallest=1, neck=None, folder=tmp_path / "none")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")  # noqa: PTH110
def test_a_full_disk(tmp_path):
    (tmp_path / "objects.u32").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        find(np.ones((2, 2), np.uint8), "", smallest=1, neck=None, folder=tmp_path)
