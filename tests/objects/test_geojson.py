"""GeoJSON for QuPath: what is in it, and that it is the labels when it is read again."""

import json
from uuid import UUID

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamella.data.annotations import category_names, rasterise
from lamella.data.types import ImageRef
from lamella.objects import geojson
from lamella.objects.geojson import Sheet
from lamella.objects.regions import Found

NAMES, COLOURS = ("background", "cell", "dirt"), ((0, 0, 0), (230, 60, 60), (0, 90, 200))
LABELS = np.array([[1, 1, 1, 0], [1, 0, 1, 2], [1, 1, 1, 0], [0, 0, 0, 2]], np.uint32)


def found(labels, class_ids=None):
    ids = np.ones(labels.max(initial=0), np.uint8) if class_ids is None else np.array(class_ids, np.uint8)
    return Found(labels, ids)


def same_objects(labels, others):
    """Whether two label images differ in their numbers alone."""
    pairs = np.unique(np.stack([labels.ravel(), others.ravel()]), axis=1)
    return all(len(np.unique(each)) == pairs.shape[1] for each in pairs)


def test_what_qupath_reads(tmp_path):
    path = tmp_path / "a.geojson"
    measures = {"area": np.array([8, 2]), 'of "C1" 100%': np.array([0.5, np.nan])}
    geojson.write(path, [Sheet(found(LABELS, (1, 2)), None, measures)], NAMES, COLOURS, picture="a.tif")
    held = json.loads(path.read_text())
    assert held["type"] == "FeatureCollection"
    torus, specks = held["features"]
    assert torus["type"] == "Feature"
    assert torus["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]], [[2, 1], [1, 1], [1, 2], [2, 2], [2, 1]]],
    }
    assert torus["properties"] == {
        "objectType": "annotation",
        "name": "1",
        "classification": {"name": "cell", "color": [230, 60, 60]},
        "measurements": {"area": 8, 'of "C1" 100%': 0.5},
    }
    assert specks["geometry"]["type"] == "MultiPolygon"
    assert len(specks["geometry"]["coordinates"]) == 2
    assert specks["properties"]["measurements"] == {"area": 2}  # JSON has no NaN
    assert len({UUID(each["id"]) for each in held["features"]}) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_objects_have_the_same_ids(tmp_path):
    def ids(picture, page=None):
        geojson.write(tmp_path / "a", [Sheet(found(LABELS), page)], NAMES, COLOURS, picture=picture)
        return [each["id"] for each in json.loads((tmp_path / "a").read_text())["features"]]

    assert ids("a.tif") == ids("a.tif")
    assert len({*ids("a.tif"), *ids("b.tif"), *ids("a.tif", 0), *ids("a.tif", 1)}) == 8


def test_detections_without_measures(tmp_path):
    path = tmp_path / "a.geojson"
    geojson.write(path, [Sheet(found(LABELS))], NAMES, COLOURS, picture="a", detections=True)
    for feature in json.loads(path.read_text())["features"]:
        assert feature["properties"].keys() == {"objectType", "name", "classification"}
        assert feature["properties"]["objectType"] == "detection"
    assert same_objects(rasterise(ImageRef(path), LABELS.shape).objects, LABELS)


@pytest.mark.parametrize("axis", ["Z", "T"])
def test_pages_of_a_stack(tmp_path, axis):
    path = tmp_path / "a.geojson"
    sheets = (Sheet(found(each), page, axis=axis) for page, each in enumerate([LABELS, LABELS[::-1], LABELS * 0]))
    geojson.write(path, sheets, NAMES, COLOURS, picture="a")
    planes = [each["geometry"]["plane"] for each in json.loads(path.read_text())["features"]]
    assert sorted({plane[axis.lower()] for plane in planes}) == [0, 1]
    for page, labels in enumerate([LABELS, LABELS[::-1]]):
        assert same_objects(rasterise(ImageRef(path, page=page), LABELS.shape).objects, labels)


def test_no_object(tmp_path):
    path = tmp_path / "a.geojson"
    geojson.write(path, [Sheet(found(LABELS * 0), None, {"area": np.zeros(0)})], NAMES, COLOURS, picture="a")
    assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}


@pytest.mark.parametrize("name", ['"},"id":"x', "\x1b[31m\n", "Zelle ä \u202e", "\ud800", "=1+1", "<b>"])
def test_names_are_text(tmp_path, name):
    path = tmp_path / "a.geojson"
    geojson.write(path, [Sheet(found(LABELS))], ("background", name), COLOURS[:2], picture=name)
    assert path.read_text().isascii()
    assert json.loads(path.read_text())["features"][0]["properties"]["classification"]["name"] == name
    assert category_names(path) == [name]


def test_nothing_half_written_is_left(tmp_path):
    def broken():
        yield Sheet(found(LABELS))
        raise KeyboardInterrupt

    path = tmp_path / "a.geojson"
    path.write_text("kept")
    with pytest.raises(KeyboardInterrupt):
        geojson.write(path, broken(), NAMES, COLOURS, picture="a")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "kept"


@given(arrays(np.uint32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
@settings(max_examples=60, deadline=None)
def test_read_again_it_is_the_labels(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("it") / "a.geojson"
    geojson.write(path, [Sheet(found(labels))], NAMES, COLOURS, picture="a")
    shapes = shapely.get_parts(shapely.from_geojson(path.read_text()))
    assert len(shapes) == len(np.unique(labels[labels > 0]))
    assert shapely.is_valid(shapes).all()
    if labels.any():
        assert same_objects(rasterise(ImageRef(path), labels.shape).objects, labels)
