"""Files of annotation programs -> single objects, with holes, classes and what overlaps; or a sentence."""

import base64
import io
import json
import struct
import zipfile

import numpy as np
import pytest
import roifile
from PIL import Image

from lamella.data.annotations import category_names, is_annotation, pictures, rasterise, require_pages
from lamella.data.types import ImageRef
from lamella.errors import DataError

SIZE = (8, 10)
SQUARE = [[1, 1], [5, 1], [5, 5], [1, 5]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4]]
FAR = [[6, 1], [9, 1], [9, 3], [6, 3]]


def box(*corners):
    """A mask of boxes, each (top, left, bottom, right)."""
    mask = np.zeros(SIZE, bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


WITH_HOLE = box((1, 1, 5, 5)) & ~box((2, 2, 4, 4))


@pytest.fixture
def put(tmp_path):
    def save(content, name="a.json"):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        return ImageRef(tmp_path / name)

    return save


# --- COCO ------------------------------------------------------------------------------------------------


def flat(*points):
    return [float(v) for point in points for v in point]


def coco(*annotations, images=("a.png",), size=SIZE):
    return {
        "images": [
            {"id": 7 + i, "file_name": name, "height": size[0], "width": size[1]} for i, name in enumerate(images)
        ],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": 3, "iscrowd": 0, **each} for i, each in enumerate(annotations, 1)
        ],
        "categories": [{"id": 9, "name": "nucleus"}, {"id": 3, "name": "cell"}, {"id": 1, "name": "unused"}],
    }


def test_polygons_of_coco(put):
    ref = put(
        coco(
            {"segmentation": [flat(*SQUARE)]},
            {"segmentation": [flat(*FAR), flat([0, 6], [2, 6], [2, 8], [0, 8])], "category_id": 9},
            {"segmentation": [flat(*HOLE)], "image_id": 8},
            images=("a.png", "sub/b.png", "c.png"),
        )
    )
    assert is_annotation(ref.path)
    assert pictures(ref.path) == {"a.png": SIZE, "sub/b.png": SIZE, "c.png": SIZE}
    assert category_names(ref.path) == ["cell", "nucleus"]
    found = rasterise(ImageRef(ref.path, inside="a.png"), SIZE)
    assert found.objects.dtype == np.int32
    assert np.array_equal(found.objects, 1 * box((1, 1, 5, 5)) + 2 * box((1, 6, 3, 9), (6, 0, 8, 2)))
    assert found.names == ("cell", "nucleus")
    assert found.overlap == 0
    assert np.array_equal(rasterise(ImageRef(ref.path, inside="sub/b.png"), SIZE).objects, box((2, 2, 4, 4)))
    empty = rasterise(ImageRef(ref.path, inside="c.png"), SIZE)
    assert not empty.objects.any()
    assert empty.names == ()
    for inside in (None, "b.png"):
        with pytest.raises(DataError, match=r"a\.json speaks of 3 images"):
            rasterise(ImageRef(ref.path, inside=inside), SIZE)
    with pytest.raises(DataError, match=r"annotates an image of 10 x 8 pixels, and the image has 8 x 10"):
        rasterise(ImageRef(ref.path, inside="a.png"), (10, 8))


def runs(mask):
    """The run lengths of a mask, column by column, the first one of background."""
    flat_ = mask.ravel(order="F")
    starts = np.flatnonzero(np.diff(np.concatenate([[~flat_[0]], flat_])))
    lengths = np.diff([*starts, len(flat_)]).tolist()
    return [0, *lengths] if flat_[0] else lengths


def packed(counts):
    """Run lengths as COCO packs them."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * more + 48)
    return text


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths(put, compressed):
    rng = np.random.default_rng(0)
    masks = [WITH_HOLE, rng.random(SIZE) > 0.5, np.ones(SIZE, bool), box((7, 9, 8, 10))]
    for mask in masks:
        counts = packed(runs(mask)) if compressed else runs(mask)
        found = rasterise(put(coco({"segmentation": {"size": list(SIZE), "counts": counts}})), SIZE)
        assert np.array_equal(found.objects == 1, mask)


def test_run_lengths_that_were_packed_by_pycocotools(put):
    """Of a disc of 40 pixels in 64 x 48, so that numbers need several letters and differences are negative."""
    y, x = np.mgrid[:64, :48]
    disc = (y - 30) ** 2 + (x - 22) ** 2 < 400
    text = "h6=a14L4M2M4M2N2O0O2N2O0O2O0O2O000000000000000000000001N101N101N2N101N2N3L3N3L4LZ;"
    size = {"size": [64, 48]}
    found = rasterise(put(coco({"segmentation": {**size, "counts": text}}, size=(64, 48))), (64, 48))
    assert np.array_equal(found.objects == 1, disc)


def test_crowds_are_told_apart(put):
    crowd = {"segmentation": {"size": list(SIZE), "counts": runs(box((0, 0, 8, 1)))}, "iscrowd": 1}
    found = rasterise(put(coco({"segmentation": [flat(*SQUARE)]}, crowd)), SIZE)
    assert found.crowds == (2,)
    over = {"segmentation": {"size": list(SIZE), "counts": runs(box((0, 0, 8, 10)))}, "iscrowd": 1}
    found = rasterise(put(coco({"segmentation": [flat(*SQUARE)]}, over)), SIZE)
    assert ((found.objects == 1) == box((1, 1, 5, 5))).all()


def test_what_has_no_pixel_is_told(put):
    small, square = [[1.6, 1.6], [2.4, 1.6], [2.4, 2.4], [1.6, 2.4]], [flat(*SQUARE)]
    found = rasterise(put(coco({"segmentation": square}, {"segmentation": [flat(*small)]})), SIZE)
    assert found.lost == ("object 2 of a.png",)
    found = rasterise(put(coco(*({"segmentation": square} for _ in range(3)))), SIZE)
    assert found.lost == ("object 1 of a.png", "object 2 of a.png")
    assert np.array_equal(found.objects, 3 * box((1, 1, 5, 5)))


def test_numbers_in_coco_that_are_text_and_names_that_are_numbers(put):
    content = coco({"segmentation": [flat(*SQUARE)], "image_id": "7"})
    content["categories"][1]["name"] = 5
    ref = put(content)
    assert category_names(ref.path) == ["5"]
    assert rasterise(ref, SIZE).names == ("5",)


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ({"segmentation": [], "bbox": [1, 1, 4, 4]}, "object 1 of a.png has a box or points, and no outline"),
        ({}, "object 1 of a.png has a box or points, and no outline"),
        ({"segmentation": [[1, 1, 2, 2]]}, "object 1 of a.png: it has fewer than three corners"),
        ({"segmentation": [[1, 1, 2, 2, 3]]}, "object 1 of a.png: "),
        ({"segmentation": {"size": [8, 10], "counts": [3, 4]}}, "runs of 7 pixels, and its image 80"),
        ({"segmentation": {"size": [10, 8], "counts": [80]}}, r"drawn on \[10, 8\] pixels"),
        ({"segmentation": [flat(*SQUARE)], "category_id": 4}, "the category 4, which is not in `categories`"),
        ({"segmentation": [flat([20, 20], [30, 20], [30, 30])]}, "object 1 of a.png lies wholly outside"),
    ],
)
def test_what_encloses_nothing(put, each, said):
    with pytest.raises(DataError, match=said) as caught:
        rasterise(put(coco(each)), SIZE)
    assert "a.json" in caught.value.problem


# --- LabelMe ---------------------------------------------------------------------------------------------


def labelme(*shapes, size=SIZE):
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{"group_id": None, "shape_type": "polygon", "flags": {}, **shape} for shape in shapes],
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": size and size[0],
        "imageWidth": size and size[1],
    }


def test_shapes_of_labelme(put):
    bits = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [1, 1]], bool)).save(bits, "PNG")
    ref = put(
        labelme(
            {"label": "cell", "points": SQUARE},
            {"label": "box", "points": [[9, 3], [6, 1]], "shape_type": "rectangle"},
            {"label": "disc", "points": [[8, 6], [8, 8]], "shape_type": "circle"},
            {"label": "bits", "points": [[0, 6], [1, 7]], "shape_type": "mask",
             "mask": base64.b64encode(bits.getvalue()).decode()},
        )
    )  # fmt: skip
    found = rasterise(ref, SIZE)
    expected = 1 * box((1, 1, 5, 5)) + 2 * box((1, 6, 3, 9)) + 3 * box((4, 7, 8, 9), (5, 6, 7, 10))
    expected[[6, 7, 7], [0, 0, 1]] = 4
    assert np.array_equal(found.objects, expected)
    assert found.names == ("cell", "box", "disc", "bits")
    assert category_names(ref.path) == ["bits", "box", "cell", "disc"]
    assert pictures(ref.path) == {}
    with pytest.raises(DataError, match="annotates an image of 10 x 8 pixels"):
        rasterise(ref, (16, 20))


def test_shapes_of_one_group_are_one_object(put):
    found = rasterise(
        put(
            labelme(
                {"label": "cell", "points": SQUARE, "group_id": 1},
                {"label": "cell", "points": FAR, "group_id": 1},
                {"label": "other", "points": HOLE, "group_id": 1},
                size=None,
            )
        ),
        SIZE,
    )
    assert np.array_equal(found.objects == 1, box((1, 1, 5, 5), (1, 6, 3, 9)) & ~box((2, 2, 4, 4)))
    assert found.names == ("cell", "other")
    assert found.overlap == 4


@pytest.mark.parametrize("kind", ["line", "point", "linestrip", "points"])
def test_lines_and_points_of_labelme(put, kind):
    with pytest.raises(DataError, match=rf"a\.json cannot be used: shape 1 \(axon\): it is a {kind}, which encloses"):
        rasterise(put(labelme({"label": "axon", "points": SQUARE, "shape_type": kind})), SIZE)


# --- GeoJSON of QuPath -----------------------------------------------------------------------------------


def closed(points):
    return [*points, points[0]]


def feature(geometry, name=None, kind="annotation", old=False, **more):
    names = {"colorRGB": -377282} if old else {"color": [200, 0, 0]}
    properties = {"classification": {"name": name, **names}} if name else {}
    if not old:
        properties["objectType"] = kind
    id_ = f"Path{kind.capitalize()}Object" if old else "2f1c6f2b-0000-4000-8000-000000000000"
    return {"type": "Feature", "id": id_, "geometry": geometry, "properties": properties, **more}


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [closed(each) for each in rings]}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrapped", ["collection", "list"])
@pytest.mark.parametrize("name", ["a.geojson", "a.json"])
def test_regions_of_qupath(put, old, wrapped, name):
    several = {"type": "MultiPolygon", "coordinates": [[closed(FAR)], [closed([[0, 6], [2, 6], [2, 8], [0, 8]])]]}
    found_features = [feature(polygon(SQUARE, HOLE), "Tumor", old=old), feature(several, old=old)]
    held = found_features if wrapped == "list" else {"type": "FeatureCollection", "features": found_features}
    ref = put(held, name)
    assert is_annotation(ref.path)
    found = rasterise(ref, SIZE)
    by_name = dict(zip(found.names, (found.objects == id_ for id_ in (1, 2)), strict=True))
    assert np.array_equal(by_name["Tumor"], WITH_HOLE)
    assert np.array_equal(by_name[""], box((1, 6, 3, 9), (6, 0, 8, 2)))
    assert category_names(ref.path) == ["", "Tumor"]


def test_of_a_cell_the_whole(put):
    cell = feature(polygon(SQUARE), "Tumor", "cell", nucleusGeometry=polygon(HOLE))
    assert np.array_equal(rasterise(put([cell]), SIZE).objects, box((1, 1, 5, 5)))


@pytest.mark.parametrize("reverse", [False, True])
def test_smaller_objects_lie_above_larger_ones(put, reverse):
    both = [feature(polygon(SQUARE), "large"), feature(polygon(HOLE), "small")]
    found = rasterise(put(both[::-1] if reverse else both), SIZE)
    assert np.array_equal(found.objects, 1 * WITH_HOLE + 2 * box((2, 2, 4, 4)))
    assert found.names == ("large", "small")
    assert found.overlap == 4


def test_cells_beside_the_region_they_were_looked_for_in(put):
    both = [feature(polygon(SQUARE)), feature(polygon(HOLE), "Tumor", "detection")]
    with pytest.raises(DataError, match="1 annotations beside 1 cells or detections"):
        rasterise(put(both), SIZE)


@pytest.mark.parametrize("kind", ["Point", "LineString", "MultiPoint"])
def test_lines_and_points_of_qupath(put, kind):
    with pytest.raises(DataError, match=f"object 1 .Axon. is a {kind}, which encloses nothing"):
        rasterise(put([feature({"type": kind, "coordinates": [1, 1]}, "Axon")]), SIZE)


# --- regions of ImageJ -----------------------------------------------------------------------------------


def roi(points=None, kind=roifile.ROI_TYPE.POLYGON, **more):
    made = roifile.ImagejRoi(roitype=kind) if points is None else roifile.ImagejRoi.frompoints(points)
    made.roitype = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def archive(*regions):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number, each in enumerate(regions, 1):
            file.writestr(f"{number:04d}.roi", each.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["POLYGON", "FREEHAND", "TRACED"])
@pytest.mark.parametrize("whole", [True, False])
def test_regions_of_imagej(put, kind, whole):
    points = np.array(SQUARE, np.int32 if whole else np.float32) + (0 if whole else np.float32(0.25))
    region = roi(points, roifile.ROI_TYPE[kind])
    for ref in (put(region.tobytes(), "a.roi"), put(archive(region), "a.zip")):
        assert is_annotation(ref.path)
        found = rasterise(ref, SIZE)
        assert np.array_equal(found.objects, box((1, 1, 5, 5)))
        assert found.names == ("",)


def test_boxes_and_ovals_of_imagej(put):
    edges = {"left": 6, "top": 1, "right": 9, "bottom": 3}
    exact = {"options": roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION, "version": 227}
    regions = (
        roi(kind=roifile.ROI_TYPE.RECT, **edges),
        roi(kind=roifile.ROI_TYPE.OVAL, left=0, top=0, right=4, bottom=4, group=2),
        roi(
            kind=roifile.ROI_TYPE.RECT,
            left=5,
            top=5,
            right=8,
            bottom=7,
            xd=5.6,
            yd=5.4,
            widthd=2.0,
            heightd=1.2,
            **exact,
        ),
    )
    found = rasterise(put(archive(*regions), "a.zip"), SIZE)
    disc = np.zeros(SIZE, bool)
    disc[:4, :4] = [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    assert np.array_equal(found.objects, 1 * box((1, 6, 3, 9)) + 2 * disc + 3 * box((5, 6, 7, 8)))
    assert found.names == ("", "group 2", "")
    assert category_names(put(archive(*regions), "a.zip").path) == ["", "group 2"]


def test_a_composite_with_a_hole(put):
    path = []
    for points in (SQUARE, HOLE):
        path += [0.0, *points[0]]
        for point in points[1:]:
            path += [1.0, *point]
        path += [4.0]
    region = roi(kind=roifile.ROI_TYPE.RECT, left=1, top=1, right=5, bottom=5)
    region.multi_coordinates = np.array(path, np.float32)
    region.shape_roi_size = len(path)
    assert np.array_equal(rasterise(put(archive(region), "a.zip"), SIZE).objects, WITH_HOLE)


@pytest.mark.parametrize("kind", ["imagej", "qupath"])
def test_regions_of_a_stack(put, kind):
    if kind == "imagej":
        one, two, far = (roi(np.array(points), position=page) for page, points in ((1, SQUARE), (2, FAR), (1, FAR)))
        ref, single = put(archive(one, two), "a.zip"), put(archive(one, far), "b.zip")
    else:
        one, two, far = (
            feature({**polygon(points), "plane": {"c": -1, "z": page, "t": 0}})
            for page, points in ((0, SQUARE), (1, FAR), (0, FAR))
        )
        ref, single = put([one, two], "a.geojson"), put([one, far], "b.geojson")
    assert np.array_equal(rasterise(ImageRef(ref.path, 0), SIZE).objects, box((1, 1, 5, 5)))
    assert np.array_equal(rasterise(ImageRef(ref.path, 1), SIZE).objects, box((1, 6, 3, 9)))
    assert not rasterise(ImageRef(ref.path, 2), SIZE).objects.any()
    assert rasterise(single, SIZE).names == ("", "")
    with pytest.raises(DataError, match="objects of 2 pages of a stack"):
        rasterise(ref, SIZE)


def test_outlines_beyond_the_last_page(put):
    ref = put(archive(roi(np.array(SQUARE), position=1), roi(np.array(FAR), position=3)), "a.zip")
    require_pages(ref.path, 3)
    with pytest.raises(DataError, match=r"region 0002 is of page 3, and the stack has 2"):
        require_pages(ref.path, 2)


def test_outlines_without_a_page_are_of_no_stack(put):
    for ref in (put(archive(roi(np.array(SQUARE))), "a.zip"), put(labelme({"label": "cell", "points": SQUARE}))):
        assert rasterise(ref, SIZE).objects.any()
        with pytest.raises(DataError, match="is of no page, and the image is one of a stack"):
            rasterise(ImageRef(ref.path, 0), SIZE)


@pytest.mark.parametrize("kind", ["POINT", "LINE", "POLYLINE", "FREELINE", "ANGLE"])
def test_lines_and_points_of_imagej(put, kind):
    region = roi(np.array(SQUARE), roifile.ROI_TYPE[kind])
    with pytest.raises(DataError, match=f"region 0001: it is of the type {kind.lower()}, which encloses nothing"):
        rasterise(put(archive(region), "a.zip"), SIZE)


def test_later_regions_lie_above_earlier_ones(put):
    found = rasterise(put(archive(roi(np.array(SQUARE)), roi(np.array(HOLE))), "a.zip"), SIZE)
    assert np.array_equal(found.objects, box((1, 1, 5, 5)) + 1 * box((2, 2, 4, 4)))
    assert found.overlap == 4
    assert rasterise(put(archive(roi(np.array(HOLE)), roi(np.array(SQUARE))), "b.zip"), SIZE).lost == ("region 0001",)


# --- what is no annotation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "a.json"),
        (b"{", "a.json"),
        (b"\xff\xfe", "a.json"),
        (b"{}", "a.json"),
        (b"[]", "a.json"),
        (b'{"axes": "ZYX", "png": []}', "a.json"),
        (b"", "a.roi"),
        (b"no region", "a.roi"),
        (b"", "a.zip"),
        (archive(), "a.zip"),
    ],
)
def test_other_files(put, content, name):
    ref = put(content, name)
    assert not is_annotation(ref.path)
    with pytest.raises(DataError, match=name):
        rasterise(ref, SIZE)
    assert not is_annotation(ref.path.with_name("missing" + name))
    assert not is_annotation(ref.path.parent)


def test_damaged_files(put):
    region = roi(np.array(SQUARE)).tobytes()
    for ref in (put(region[:70], "a.roi"), put(archive(roi(np.array(SQUARE)))[:-40], "a.zip")):
        with pytest.raises(DataError, match=f"{ref.path.name}"):
            rasterise(ref, SIZE)
    assert struct.unpack(">h", region[4:6])[0] > 200
    lacking = coco({"segmentation": [flat(*SQUARE)]})
    del lacking["categories"]
    with pytest.raises(DataError, match=r"a\.json cannot be used: it lacks 'categories'"):
        rasterise(put(lacking), SIZE)


def test_a_file_that_changes_is_read_anew(put):
    ref = put(coco({"segmentation": [flat(*SQUARE)]}))
    assert rasterise(ref, SIZE).objects.sum() == 16
    put(coco({"segmentation": [flat(*FAR)]}, {"segmentation": [flat(*HOLE)]}))
    assert rasterise(ref, SIZE).names == ("cell", "cell")
