"""Regions for ImageJ: read again by roifile and by the project's reader they are the labels."""

import zipfile

import numpy as np
import pytest
import roifile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamella.data.annotations import category_names, rasterise
from lamella.data.types import ImageRef
from lamella.objects import rois
from lamella.objects.geojson import Sheet
from lamella.objects.regions import Found

COLOURS = ((0, 0, 0), (230, 60, 60), (0, 90, 200))
LABELS = np.array([[1, 1, 1, 0], [1, 0, 1, 2], [1, 1, 1, 0], [3, 3, 0, 2]], np.uint32)


def found(labels, class_ids=None):
    ids = np.ones(labels.max(initial=0), np.uint8) if class_ids is None else np.array(class_ids, np.uint8)
    return Found(labels, ids)


def test_what_imagej_reads(tmp_path):
    path = tmp_path / "a_rois.zip"
    rois.write(path, [Sheet(found(LABELS, (1, 2, 1)))], COLOURS)
    torus, plain, specks = sorted(roifile.roiread(path), key=lambda roi: "132".index(roi.name))
    assert (plain.roitype, plain.name, plain.position) == (roifile.ROI_TYPE.TRACED, "3", 0)
    assert plain.coordinates().tolist() == [[0, 3], [2, 3], [2, 4], [0, 4]]
    assert (plain.left, plain.top, plain.right, plain.bottom) == (0, 3, 2, 4)
    assert plain.stroke_color == bytes((255, 230, 60, 60))
    assert torus.composite
    assert [len(ring) for ring in torus.coordinates(multi=True)] == [5, 5]
    assert len(specks.coordinates(multi=True)) == 2
    assert [torus.group, specks.group, plain.group] == [1, 2, 1]
    assert category_names(path) == ["group 1", "group 2"]
    assert list(tmp_path.iterdir()) == [path]


def test_two_classes_need_no_groups(tmp_path):
    rois.write(tmp_path / "a.zip", [Sheet(found(LABELS))], COLOURS[:2])
    assert category_names(tmp_path / "a.zip") == [""]


def test_pages_of_a_stack(tmp_path):
    path = tmp_path / "a.zip"
    rois.write(path, (Sheet(found(each), page) for page, each in enumerate([LABELS, LABELS[::-1]])), COLOURS)
    assert {roi.name: roi.position for roi in roifile.roiread(path)} == {
        **{f"1-{id_}": 1 for id_ in (1, 2, 3)},
        **{f"2-{id_}": 2 for id_ in (1, 2, 3)},
    }
    for page, labels in enumerate([LABELS, LABELS[::-1]]):
        read = rasterise(ImageRef(path, page=page), LABELS.shape).objects
        assert np.array_equal(read > 0, labels > 0)


@pytest.mark.parametrize("far", [40_000, 60_530, 65_530, 100_000])
def test_far_from_the_origin(tmp_path, far):
    """ImageJ keeps corners in 16 bits."""
    labels = np.zeros((5, far + 4), np.uint32)
    labels[:4, far:] = LABELS
    rois.write(tmp_path / "a.zip", [Sheet(found(labels))], COLOURS)
    for roi in roifile.roiread(tmp_path / "a.zip"):
        corners = np.concatenate(roi.coordinates(multi=True))
        box = np.argwhere(labels == int(roi.name))[:, ::-1]
        assert corners.min(axis=0).tolist() == box.min(axis=0).tolist()
        assert corners.max(axis=0).tolist() == (box.max(axis=0) + 1).tolist()


def test_no_object(tmp_path):
    rois.write(tmp_path / "a.zip", [Sheet(found(LABELS * 0))], COLOURS)
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == []


@given(arrays(np.uint32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
@settings(max_examples=60, deadline=None)
def test_read_again_it_is_the_labels(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("it") / "a.zip"
    rois.write(path, [Sheet(found(labels))], COLOURS)
    if not labels.any():
        return
    read = rasterise(ImageRef(path), labels.shape).objects
    pairs = np.unique(np.stack([labels.ravel(), read.ravel()]), axis=1)
    assert all(len(np.unique(each)) == pairs.shape[1] for each in pairs)
