"""TIFF -> PNG: every value comes back, names sort, and nothing is half-written."""

import hashlib
import json

import numpy as np
import pytest
import skimage.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lamella.commands import tiff_to_png as convert
from lamella.commands.tiff_to_png import find, tiff_to_png
from lamella.data.io.read import read
from lamella.data.types import ImageRef
from lamella.errors import ConfigError, DataError, StorageError
from support import files
from support.files import DEEP_RGB, GREY, MASK, RGB

STACK = np.random.default_rng(4).integers(0, 65536, (4, 12, 10), dtype=np.uint16)
PLAIN = {"photometric": "minisblack"}


@pytest.fixture
def put(tmp_path):
    return lambda *content, **options: files.put(tmp_path, *content, **options).path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "png"


def record(out, stem="a"):
    return json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


# --- what comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train-volume", "train-labels", "test-volume"])
def test_the_em_volumes_come_back(lamella_data, out, name):
    volume = lamella_data / "em" / f"{name}.tif"
    written = tiff_to_png([volume], out)
    assert [path.name for path in written] == [f"{name}_{page:03d}.png" for page in range(30)]
    back = np.stack([skimage.io.imread(path) for path in sorted(out.glob("*.png"))])
    assert np.array_equal(back, tifffile.imread(volume))
    assert record(out, name)["source"]["sha256"] == hashlib.sha256(volume.read_bytes()).hexdigest()


@given(
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(1, 3),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 9),
    st.sampled_from([{}, {"compression": "zlib"}, {"byteorder": ">"}]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_value_comes_back(tmp_path, dtype, count, channels, width, options):
    top = np.iinfo(dtype).max
    array = np.random.default_rng(width).integers(0, top, (count, channels, 7, width), dtype, endpoint=True)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, ome=True, metadata={"axes": "ZCYX"}, **PLAIN, **options)
    written = [read(ImageRef(png)) for png in tiff_to_png([path], tmp_path / "png", overwrite=True)]
    assert all(picture.dtype == dtype for picture in written)
    expected = array.transpose(0, 2, 3, 1) if channels == 3 else array.reshape(-1, 7, width)
    assert np.array_equal(written, expected)


def test_colours_of_16_bits_are_kept_as_others_read_them(put, out):
    (path,) = tiff_to_png([put(DEEP_RGB, "a.tif", photometric="rgb")], out)
    assert np.array_equal(read(ImageRef(path)), DEEP_RGB)
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), DEEP_RGB >> 8)  # all that Pillow reads


def test_masks_of_more_bits_are_kept_where_they_fit(put, out):
    labels = STACK[0].astype(np.int32)
    (path,) = tiff_to_png([put(labels, "a.tif")], out)
    assert np.array_equal(read(ImageRef(path)), labels)
    for wrong in (-1, 65536):
        labels[0, 0] = wrong
        with pytest.raises(DataError, match=r"b\.tif .*holds int32 values from .*, which no PNG holds"):
            tiff_to_png([put(labels, "b.tif")], out)


def test_1_bit_becomes_0_and_255(put, out):
    (path,) = tiff_to_png([put(MASK > 0, "a.tif", **PLAIN)], out)
    assert np.array_equal(read(ImageRef(path)), MASK)


def test_axes_are_declared(put, out):
    path = put(STACK[:3], "a.tif", metadata=None, **PLAIN)
    (written,) = tiff_to_png([path], out, axes="CYX")
    assert np.array_equal(read(ImageRef(written)), STACK[:3].transpose(1, 2, 0))
    assert record(out)["axes"] == "CYX"


# --- names and records -----------------------------------------------------------------------------------


def test_names_sort(put, out):
    one, stack, five = (
        put(GREY, "one.tif"),
        put(STACK, "stack.tif", **PLAIN),
        put(np.dstack([STACK[0]] * 5), "five.tif", planarconfig="contig", **PLAIN),
    )
    many = put(np.zeros((1001, 2, 2), np.uint8), "many.tif", **PLAIN)
    names = [path.name for path in tiff_to_png([one, stack, five], out)]
    assert names == [
        "one.png",
        *(f"stack_{page:03d}.png" for page in range(4)),
        *(f"five_c{channel}.png" for channel in range(5)),
    ]
    planned = [name for (name,) in convert._source(many, None).names]
    assert planned == sorted(planned)
    assert planned[::500] == ["many_0000.png", "many_0500.png", "many_1000.png"]


def test_a_record_tells_the_rest(put, out):
    described = {"axes": "ZYX", "spacing": 50.0, "unit": "nm"}
    path = put(STACK, "a.tif", imagej=True, resolution=(0.25, 0.25), metadata=described)
    written = tiff_to_png([path], out)
    found = record(out)
    assert found["source"] == {
        "file": "a.tif",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
    }
    assert (found["axes"], found["shape"], found["dtype"]) == ("ZYX", [4, 12, 10], "uint16")
    assert found["resolution"] == {"XResolution": 0.25, "YResolution": 0.25}
    assert found["imagej"]["spacing"] == 50.0
    assert found["imagej"]["unit"] == "nm"
    assert found["description"].startswith("ImageJ=")
    assert found["scaling"] is None
    assert [png["file"] for png in found["png"]] == [png.name for png in written]
    assert [png["page"] for png in found["png"]] == [0, 1, 2, 3]
    for png in found["png"]:
        assert png["sha256"] == hashlib.sha256((out / png["file"]).read_bytes()).hexdigest()


def test_a_record_holds_the_ome_description(put, out):
    path = put(STACK, "a.tif", ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"})
    tiff_to_png([path], out)
    assert 'PhysicalSizeXUnit="µm"' in record(out)["description"]


# --- 8 bits ----------------------------------------------------------------------------------------------


def scaled(array, low, high):
    return np.clip(np.round((array.astype(float) - low) / (high - low) * 255), 0, 255)


@pytest.mark.parametrize("array", [STACK, STACK.astype(np.float64) / 7 - 1000, STACK.astype(np.int32) * 3 - 5])
def test_a_scaling_is_of_the_whole_file(put, out, array):
    path = put(array, "a.tif", **PLAIN)
    flat = np.sort(array, axis=None).astype(float)
    cases = [
        ({"limits": (100.0, 5000.5)}, (100, 5000.5), "range"),
        ({"limits": "minmax"}, (flat[0], flat[-1]), "minmax"),
        ({"percentiles": (1.0, 99.0)}, (flat[4], flat[475]), "percentiles 1 and 99"),  # of 480 pixels
        ({"percentiles": (0.0, 100.0)}, (flat[0], flat[-1]), "percentiles 0 and 100"),
    ]
    for keys, (low, high), by in cases:
        written = tiff_to_png([path], out, eight_bit=True, overwrite=True, **keys)
        found = np.stack([skimage.io.imread(png) for png in written])
        assert found.dtype == np.uint8
        assert np.abs(found - scaled(array, low, high)).max() <= (array.dtype.kind == "f")  # read as float32
        assert record(out)["scaling"] == {"low": pytest.approx(low), "high": pytest.approx(high), "by": by}


def test_8_bits_stay_where_nothing_else_is_said(put, out):
    (path,) = tiff_to_png([put(RGB, "a.tif")], out, eight_bit=True)
    assert np.array_equal(read(ImageRef(path)), RGB)
    assert record(out)["scaling"] is None


def test_what_no_png_holds_needs_a_scaling(put, out):
    for array, keys, said in (
        (STACK, {"eight_bit": True}, "does not hold 8 bits"),
        (STACK.astype(np.float32), {}, "float32 values from"),
        (STACK.astype(np.float32), {"eight_bit": True}, "does not hold 8 bits"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            tiff_to_png([put(array, "a.tif", **PLAIN)], out, **keys)
        assert "range=[low,high]" in caught.value.remedy
    assert not held(out)


def test_levels_that_cannot_be_scaled(put, out):
    with pytest.raises(DataError, match=r"a\.tif leaves nothing between 7 and 7"):
        tiff_to_png([put(GREY * 0 + 7, "a.tif")], out, eight_bit=True, limits="minmax")
    wrong = STACK[0].astype(np.float32)
    wrong[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        tiff_to_png([put(wrong, "a.tif")], out, eight_bit=True, limits=(0, 1))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"limits": (0, 1)}, "scale to 8 bits"),
        ({"percentiles": (1, 99)}, "scale to 8 bits"),
        ({"eight_bit": True, "limits": "minmax", "percentiles": (1, 99)}, "exclude each other"),
        ({"eight_bit": True, "limits": (5, 5)}, r"range must be .*; got \[5, 5\]"),
        ({"eight_bit": True, "limits": (0, 1, 2)}, "range must be"),
        ({"eight_bit": True, "limits": (0, float("inf"))}, "range must be"),
        ({"eight_bit": True, "limits": ("a", "b")}, "range must be"),
        ({"eight_bit": True, "limits": "auto"}, "range must be minmax or two rising levels; got auto"),
        ({"eight_bit": True, "percentiles": (99, 1)}, "percentiles must be"),
        ({"eight_bit": True, "percentiles": (-1, 101)}, "percentiles must be"),
    ],
)
def test_a_scaling_that_is_none(put, out, keys, said):
    with pytest.raises(ConfigError, match=said):
        tiff_to_png([put(STACK, "a.tif", **PLAIN)], out, **keys)


# --- what is there already -------------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked(put, out):
    path = put(STACK, "a.tif", **PLAIN)
    tiff_to_png([path], out)
    before = held(out)
    with pytest.raises(StorageError, match=r"a.*\.(png|json) is there already") as caught:
        tiff_to_png([path], out)
    assert "overwrite=true" in caught.value.remedy
    assert held(out) == before
    for name in before:
        alone = out.with_name(f"only {name}")
        alone.mkdir()
        (alone / name).write_text("mine")
        with pytest.raises(StorageError):
            tiff_to_png([path], alone)
        assert held(alone) == {name: b"mine"}


def test_what_a_longer_stack_left_goes(put, out):
    tiff_to_png([put(STACK, "a.tif", **PLAIN)], out)
    (out / "a_009.png").write_text("of somebody else")
    written = tiff_to_png([put(STACK[:2] + 1, "a.tif", **PLAIN)], out, overwrite=True)
    assert sorted(held(out)) == ["a.json", "a_000.png", "a_001.png", "a_009.png"]
    assert np.array_equal([read(ImageRef(png)) for png in written], STACK[:2] + 1)


@pytest.mark.parametrize("text", ['{"png": [{"file": "../mine.png"}]}', "[]", "no JSON", '{"png": 3}'])
def test_a_record_of_somebody_else_removes_nothing(put, out, text, tmp_path):
    (tmp_path / "mine.png").write_text("mine")
    out.mkdir()
    (out / "a.json").write_text(text)
    tiff_to_png([put(GREY, "a.tif")], out, overwrite=True)
    assert (tmp_path / "mine.png").read_text() == "mine"
    assert record(out)["source"]["file"] == "a.tif"


def test_a_damaged_file_leaves_nothing_behind(put, out, tmp_path):
    good = put(GREY, "good.tif")
    stack = put(STACK, "stack.tif", metadata=None, compression="zlib", **PLAIN)
    with tifffile.TiffFile(stack) as tiff:
        place = tiff.pages[3].dataoffsets[0]
    data = bytearray(stack.read_bytes())
    data[place : place + 20] = bytes(20)
    stack.write_bytes(data)
    with pytest.raises(DataError, match=r"stack\.tif"):
        tiff_to_png([good, stack], out)
    assert sorted(held(out)) == ["good.json", "good.png"]


def test_an_interruption_leaves_nothing_behind(put, out):
    def interrupt(done, total):
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiff_to_png([put(STACK, "a.tif", **PLAIN)], out, progress=interrupt)
    assert not held(out)


def test_two_files_of_one_name(put, tmp_path, out):
    (tmp_path / "other").mkdir()
    one = put(GREY, "a.tif")
    for other, content in (("other/A.tif", GREY), ("a_000.tif", GREY)):
        first = one if other.startswith("other") else put(STACK, "a.tif", **PLAIN)
        with pytest.raises(DataError, match=r"would both become [aA].*\.(png|json)"):
            tiff_to_png([first, put(content, other)], out)
    assert not held(out)


def test_an_output_that_cannot_be_written(put, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"PNG files cannot be written to .*file") as caught:
        tiff_to_png([put(GREY, "a.tif")], tmp_path / "file")
    assert "output=FOLDER" in caught.value.remedy


# --- which files -----------------------------------------------------------------------------------------


def test_a_file_a_folder_and_a_glob(put, tmp_path, monkeypatch):
    paths = [put(GREY, name) for name in ("a.tif", "b.tif")]
    upper = tmp_path / "C.TIFF"
    paths[0].rename(upper)
    put(b"", ".hidden.tif")
    put(GREY, "picture.png")
    odd = put(GREY, "[odd].tif")
    assert find(str(paths[1])) == [paths[1]]
    assert find(str(odd)) == [odd]
    assert find(str(tmp_path)) == [upper, odd, paths[1]]
    assert find(str(tmp_path / "?.tif")) == [paths[1]]
    assert find(str(tmp_path / "**" / "b.tif")) == [paths[1]]
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in find("*.tif*")] == ["[odd].tif", "b.tif"]
    assert [path.name for path in find(f"../{tmp_path.name}/b*")] == ["b.tif"]


@pytest.mark.parametrize("what", ["none.tif", "*.tif", "**x/*.tif", ""])
def test_no_file_at_all(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="names no TIFF file"):
        find(what)


def test_a_file_that_is_no_tiff(put, out):
    path = put(GREY)
    with pytest.raises(DataError, match=r"picture\.png is no TIFF by its name"):
        find(str(path))
    with pytest.raises(DataError, match=r"a\.tif cannot be read"):
        tiff_to_png([put(b"no TIFF", "a.tif")], out)
