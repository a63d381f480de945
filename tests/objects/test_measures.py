"""Measures of objects: by hand, and equal to scikit-image's."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from lamella.config.paths import CHECKOUT
from lamella.objects import rows
from lamella.objects.measures import Block, measure
from lamella.objects.regions import Found


def of(labels):
    labels = np.asarray(labels, np.uint32)
    return Found(labels, np.ones(labels.max(initial=0), np.uint8))


def blocks(image, probability, cuts):
    bounds = sorted({0, *cuts, image.shape[1]})
    return [Block(a, image[:, a:b], probability[a:b]) for a, b in pairwise(bounds)]


def test_by_hand():
    found = of([[1, 1, 0, 0], [1, 1, 0, 2], [0, 0, 0, 0]])
    image = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    columns = measure(found, [Block(0, image)], (500, 2000))
    assert {name: column.tolist() for name, column in columns.items() if not name.startswith("equiv")} == {
        "object": [1, 2],
        "class_id": [1, 1],
        "x": [1.0, 3.5],  # from the upper left corner of the picture
        "y": [1.0, 1.5],
        "left": [0, 3],
        "top": [0, 1],
        "width": [2, 1],
        "height": [2, 1],
        "touches_edge": [True, True],
        "area": [4, 1],
        "perimeter": [4.0, 0.0],
        "eccentricity": pytest.approx([np.sqrt(1 - 1 / 16), 0.0]),  # four times as wide as high
        "area_um2": [4.0, 1.0],
        "perimeter_um": pytest.approx([np.nan, np.nan], nan_ok=True),  # pixels are no squares
        "mean_intensity": [2.5, 7.0],
    }
    assert columns["equivalent_diameter"].tolist() == pytest.approx([np.sqrt(16 / np.pi), np.sqrt(4 / np.pi)])
    assert measure(found, spacing_nm=(500, 500))["perimeter_um"].tolist() == [2.0, 0.0]


def test_every_column_is_explained():
    image, probability = np.zeros((1, 1, 1), np.uint8), np.ones((1, 1), np.float32)
    columns = measure(of([[1]]), [Block(0, image, probability)], (1, 1))
    explained = (CHECKOUT / "docs" / "using.md").read_text().partition("### objects.csv")[2].partition("### ")[0]
    assert set(re.findall(r"`(\w+)`", explained)) >= columns.keys()


def test_an_object_inside_touches_no_edge():
    assert measure(of(np.pad([[1]], 1)))["touches_edge"].tolist() == [False]


def test_no_object():
    columns = measure(of(np.zeros((3, 4))), [Block(0, np.zeros((3, 3, 4), np.uint8))], (1, 1))
    assert {len(column) for column in columns.values()} == {0}
    assert {"area_um2", "mean_intensity_1", "mean_intensity_3"} < columns.keys()


def test_blocks_that_are_not_the_whole_picture():
    with pytest.raises(ValueError, match="2 rows of a picture of 3"):
        measure(of(np.ones((3, 4))), [Block(0, np.zeros((1, 2, 4)))])


def test_far_from_the_origin_nothing_is_lost():
    """Squares of large coordinates would leave no digit for the differences."""
    shape = np.array([[1, 1, 1], [0, 1, 0]])
    far = np.zeros((4, 2_000_003), np.uint32)
    far[1:3, -3:] = shape
    near, there = measure(of(shape)), measure(of(far))
    assert there["eccentricity"] == pytest.approx(near["eccentricity"], rel=1e-12)
    assert there["x"] == near["x"] + 2_000_000


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_equal_to_scikit_image(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 14, 2))
    labels = rng.integers(1, rng.integers(2, 4), shape) * (rng.random(shape) < rng.random())
    labels = (np.unique(labels, return_inverse=True)[1] + (labels.min(initial=0) > 0)).reshape(shape)
    image = rng.integers(0, 65536, (2, *shape)).astype(np.uint16)
    probability = rng.random(shape).astype(np.float32)
    size = tuple(rng.uniform(0.5, 2, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PIXELS", int(rng.integers(1, 60)))
        columns = measure(of(labels), blocks(image, probability, rng.integers(0, shape[0] + 1, 2).tolist()))
        in_um = measure(of(labels), spacing_nm=(1000 * size[0], 1000 * size[1]))
    pixels, um = regionprops(labels, np.moveaxis(image, 0, -1)), regionprops(labels, spacing=size)
    assert columns["area"].tolist() == [each.area for each in pixels]
    assert columns["perimeter"] == pytest.approx([each.perimeter for each in pixels])
    assert columns["eccentricity"] == pytest.approx([each.eccentricity for each in pixels], abs=1e-6)
    assert columns["equivalent_diameter"] == pytest.approx([each.equivalent_diameter_area for each in pixels])
    centre = np.stack([columns["y"], columns["x"]], axis=1) - 0.5
    assert centre.ravel() == pytest.approx(np.ravel([each.centroid for each in pixels]))
    box = [columns[name] for name in ("top", "left", "height", "width")]
    boxes = [(top, left, top + high, left + wide) for top, left, high, wide in zip(*box, strict=True)]
    assert boxes == [each.bbox for each in pixels]
    levels = np.stack([columns["mean_intensity_1"], columns["mean_intensity_2"]], axis=1)
    assert levels.ravel() == pytest.approx(np.ravel([each.intensity_mean for each in pixels]))
    means = [probability[labels == id_].mean() for id_ in range(1, len(pixels) + 1)]
    assert columns["mean_probability"] == pytest.approx(means, rel=1e-5)
    assert in_um["area_um2"] == pytest.approx([each.area for each in um])
    assert in_um["eccentricity"] == pytest.approx([each.eccentricity for each in um], abs=1e-6)
