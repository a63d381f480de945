"""Outlines: by hand, valid for shapely, and drawn again equal to the labels to the pixel."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from lamella.data.annotations.outlines import Outline, covered
from lamella.errors import DataError
from lamella.objects import outlines, rows
from lamella.objects.outlines import polygons

often = settings(max_examples=200, deadline=None)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
labelled = shapes.flatmap(lambda shape: arrays(np.uint32, shape, elements=st.integers(0, 3)))
one_object = shapes.flatmap(lambda shape: arrays(np.uint32, shape, elements=st.integers(0, 1)))


def drawn(*text):
    return np.array([[0 if each == "." else int(each) for each in row] for row in text], np.uint32)


def rasterised(found, shape):
    """Pixels whose centres lie inside, as the project's reader of annotations takes them."""
    labels = np.zeros(shape, np.uint32)
    for id_, parts in found:
        window, inside = covered(Outline("it", "", tuple(map(tuple, parts))), shape)
        assert not labels[window][inside].any()  # nothing twice
        labels[window][inside] = id_
    return labels


def assert_outlined(labels):
    found = list(polygons(labels))
    assert sorted(id_ for id_, _ in found) == np.unique(labels[labels > 0]).tolist()
    assert np.array_equal(rasterised(found, labels.shape), labels)
    for id_, parts in found:
        assert len(parts) == label(labels == id_, connectivity=1).max()
        for outer, *holes in parts:
            polygon = shapely.Polygon(outer, holes)
            assert polygon.is_valid, shapely.is_valid_reason(polygon)
            assert polygon.exterior.is_ccw  # in numbers; y goes down on the screen
            assert not any(each.is_ccw for each in polygon.interiors)
            for ring in (outer, *holes):
                steps = np.diff(np.concatenate([ring, ring[:2]]), axis=0)
                assert ((steps == 0).sum(axis=1) == 1).all()  # along the edges of pixels
                assert ((steps[1:] == 0) != (steps[:-1] == 0)).all()  # no corner on a straight line
        assert sum(shapely.Polygon(part[0], part[1:]).area for part in parts) == (labels == id_).sum()
        whole = shapely.MultiPolygon([(part[0], part[1:]) for part in parts])
        assert whole.is_valid, shapely.is_valid_reason(whole)


def test_one_pixel():
    ((id_, [[ring]]),) = polygons(drawn("....", "..7."))
    assert id_ == 7
    assert ring.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]  # from the first corner, clockwise on the screen


def test_a_hole_winds_the_other_way():
    ((_, [[outer, hole]]),) = polygons(drawn("111", "1.1", "111"))
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert hole.tolist() == [[2, 1], [1, 1], [1, 2], [2, 2]]


SHAPES = {
    "torus": drawn(".111.", "11.11", "1...1", "11.11", ".111."),
    "torus in torus": drawn("1111111", "1.....1", "1.111.1", "1.1.1.1", "1.111.1", "1.....1", "1111111"),
    "other object in a torus": drawn("11111", "1...1", "1.2.1", "1...1", "11111"),
    "fills a hole": drawn("111", "121", "111"),
    "chessboard": drawn("1.1.1", ".1.1.", "1.1.1"),
    "chessboard of two": drawn("12121", "21212", "12121"),
    "diagonal": drawn("1..", ".1.", "..1"),
    "pinched ring": drawn(".11", "1.1", "111"),
    "ring pinched twice": drawn(".111.", "1.1.1", "11.11", "1.1.1", ".111."),
    "holes that touch": drawn("1111", "1.11", "11.1", "1111"),
    "hole touches the outside": drawn("1111", "1.11", "11.1", "111."),
    "two parts": drawn("11..1", "11..1"),
    "two parts with holes": drawn("111.111", "1.1.1.1", "111.111"),
    "all of the picture": drawn("111", "111"),
    "frame": drawn("1111", "1..1", "1111"),
    "spiral": drawn("1111111", "......1", "11111.1", "1...1.1", "1.111.1", "1.....1", "1111111"),
    "one row": drawn("1.11.2"),
    "one column": drawn("1", ".", "1", "2"),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("pixels", [1, 10**6])
def test_shapes(name, pixels, monkeypatch):
    monkeypatch.setattr(rows, "PIXELS", pixels)  # of bands: one row, all
    assert_outlined(SHAPES[name])


@given(one_object)
@often
def test_any_object(labels):
    assert_outlined(labels)


@given(labelled, st.integers(1, 30))
@often
def test_any_labels_in_bands_of_any_height(labels, pixels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PIXELS", pixels)
        assert_outlined(labels)


def test_noise_of_one_object():
    """Thousands of holes and parts, nested in one another."""
    assert_outlined((np.random.default_rng(0).random((80, 90)) < 0.6).astype(np.uint32))


def test_nothing():
    assert list(polygons(np.zeros((3, 4), np.uint32))) == []


def test_objects_come_as_soon_as_they_are_complete(monkeypatch):
    monkeypatch.setattr(rows, "PIXELS", 3)
    labels = drawn("..3", "1..", "1.2", "...", ".4.")
    assert [id_ for id_, _ in polygons(labels)] == [3, 1, 2, 4]


def test_outlines_too_long_for_memory_are_refused(monkeypatch):
    monkeypatch.setattr(rows, "PIXELS", 6)
    monkeypatch.setattr(outlines, "MOST_CORNERS", 10)
    with pytest.raises(DataError, match="outlines of more than 10 corners at a time"):
        list(polygons(drawn("1.1.1.", "111111", "1.1.1.")))
