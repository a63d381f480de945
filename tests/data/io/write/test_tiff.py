"""What is made of a file says of itself what the file did, to tifffile's views of ImageJ's and OME's dialects."""

from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from lamella.data.io.decode import blocks, row_of_pages, spacing_nm
from lamella.data.io.masks import mask_values
from lamella.data.io.write import tiff as module
from lamella.data.io.write.like import like, sized
from lamella.data.io.write.scratch import Scratch
from lamella.data.io.write.tiff import write_tiff
from lamella.data.types import ImageRef

STACK = np.random.default_rng(0).integers(0, 255, (4, 30, 41), np.uint8)
CLASSES = (STACK > 99).astype(np.uint8)
Z = {"axes": "ZYX"}
RED = [(0, 0, 0), (255, 0, 0)]
IMAGEJ = {"imagej": True, "resolution": (5, 4)}
OME = {"PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm"}


@pytest.fixture
def source(tmp_path):
    def put(array=STACK, name="a.tif", **options):
        if name.endswith(".npy"):
            np.save(tmp_path / name, array)
        else:
            tifffile.imwrite(tmp_path / name, array, photometric="minisblack", **options)
        return ImageRef(tmp_path / name)

    return put


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.tif"


def test_a_z_stack_of_imagej_stays_one(source, out):
    told = like(source(**IMAGEJ, metadata={"axes": "ZYX", "unit": "um", "spacing": 0.7}))
    write_tiff(out, CLASSES, told, most=1, colours=RED)
    with tifffile.TiffFile(out) as file:
        notes = file.imagej_metadata
        assert (file.series[0].axes, notes["slices"], notes["spacing"], notes["unit"]) == ("ZYX", 4, 0.7, "um")
        assert file.pages[0].resolution == (5, 4)
        assert (notes["min"], notes["max"]) == (0, 1)
        assert np.array_equal(file.asarray(), CLASSES)
        assert file.pages[0].colormap[:, :2].tolist() == [[0, 65535], [0, 0], [0, 0]]
    assert spacing_nm(ImageRef(out, 0)) == (250, 200)


def test_frames_stay_frames(source, out):
    told = like(source(**IMAGEJ, metadata={"axes": "TYX", "unit": "um", "finterval": 2.5}))
    write_tiff(out, CLASSES, told, most=1, colours=RED)
    with tifffile.TiffFile(out) as file:
        assert (file.series[0].axes, file.imagej_metadata["frames"], file.imagej_metadata["finterval"]) == (
            "TYX",
            4,
            2.5,
        )
    assert row_of_pages(out) == (4, "T")


def test_ome_stays_ome(source, out):
    sizes = OME | {"PhysicalSizeZ": 2, "PhysicalSizeZUnit": "µm", "TimeIncrement": 3, "TimeIncrementUnit": "s"}
    told = like(source(name="a.ome.tif", metadata={"axes": "ZYX", **sizes}))
    write_tiff(out, CLASSES, told, most=1, colours=RED, name="a")
    with tifffile.TiffFile(out) as file:
        assert file.is_ome
        assert file.series[0].axes == "ZYX"
        (pixels,) = [e for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.endswith("}Pixels")]
        for name, value in sizes.items():
            assert pixels.get(name) == str(value)
        assert np.array_equal(file.asarray(), CLASSES)
    assert spacing_nm(ImageRef(out, 0)) == pytest.approx((250, 200))


@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_what_says_nothing_of_itself_opens_as_a_stack(source, out, name):
    options = {} if name == "a.npy" else {"metadata": None, "resolution": (72, 72)}
    told = like(source(name=name, **options))
    write_tiff(out, CLASSES, told, most=1, colours=RED)
    with tifffile.TiffFile(out) as file:
        assert file.imagej_metadata["slices"] == 4
        assert file.pages[0].resolution == ((72, 72) if options else (1, 1))
    assert spacing_nm(ImageRef(out, 0)) is None


def test_one_picture_has_no_pages_and_keeps_its_resolution(source, out):
    told = like(source(STACK[0], metadata=None, resolution=(50_000, 50_000), resolutionunit="CENTIMETER"))
    write_tiff(out, CLASSES[0], told, most=1, colours=RED)
    assert row_of_pages(out) == (1, "")
    assert spacing_nm(ImageRef(out)) == pytest.approx((200, 200))


def test_the_word_of_the_owner_counts(source, out):
    for ref in (
        source(name="a.ome.tif", metadata={"axes": "ZYX", **OME}),
        source(**IMAGEJ, metadata=Z),
        source(name="a.npy"),
    ):
        write_tiff(out, CLASSES, sized(like(ref), (30, 20)), most=1, colours=RED)
        assert spacing_nm(ImageRef(out, 0)) == pytest.approx((30, 20))


def test_a_turned_picture_is_written_upright_with_its_sizes(source, out):
    tags = [(274, "H", 1, 6, True)]  # a quarter turn
    ref = source(STACK[0], metadata=None, resolution=(50_000, 40_000), resolutionunit=3, extratags=tags)
    told = like(ref)
    write_tiff(out, CLASSES[0].T, told, most=1, colours=RED)
    assert told.spacing_nm == spacing_nm(ref) == pytest.approx(spacing_nm(ImageRef(out)))


@pytest.mark.parametrize("dialect", ["imagej", "ome"])
@pytest.mark.parametrize("kind", [np.float32, np.uint16, np.uint32])
def test_values_come_back_whatever_they_are(source, out, dialect, kind):
    ref = source(**IMAGEJ, metadata=Z) if dialect == "imagej" else source(name="a.ome.tif", metadata={"axes": "ZYX"})
    values = np.random.default_rng(1).random((4, 30, 41)) * (1 if kind == np.float32 else 60_000)
    array = values.astype(kind)
    write_tiff(out, array, like(ref), most=60_000)
    with tifffile.TiffFile(out) as file:
        assert file.is_ome == (dialect == "ome" or kind == np.uint32)  # ImageJ's has no room for the last
        assert file.series[0].axes == "ZYX"
        back = file.asarray()
    assert back.dtype == kind
    assert np.array_equal(back, array)


@pytest.mark.parametrize("dialect", ["imagej", "ome"])
def test_channels_have_their_names(source, out, dialect):
    ref = source(**IMAGEJ, metadata=Z) if dialect == "imagej" else source(name="a.ome.tif", metadata={"axes": "ZYX"})
    array = np.stack([STACK, STACK, STACK], 1).astype(np.float32)
    write_tiff(out, array, like(ref), most=1, channels=["ground", "cell", "dirt"])
    with tifffile.TiffFile(out) as file:
        assert file.series[0].axes == "ZCYX"
        assert np.array_equal(file.asarray(), array)
        told = file.ome_metadata if dialect == "ome" else str(file.imagej_metadata["Labels"])
        assert "dirt" in told


def test_what_is_larger_than_classic_tiff_becomes_a_big_one(source, out, monkeypatch):
    monkeypatch.setattr(module, "_CLASSIC", 1000)
    write_tiff(out, CLASSES, like(source(**IMAGEJ, metadata={"unit": "um", "spacing": 2, **Z})), most=1, colours=RED)
    with tifffile.TiffFile(out) as file:
        assert file.is_bigtiff
        assert file.is_ome
        assert 'PhysicalSizeZ="2.0"' in file.ome_metadata
        assert np.array_equal(file.asarray(), CLASSES)


def test_converted_and_not_packed(source, out):
    write_tiff(
        out,
        CLASSES,
        like(source(**IMAGEJ, metadata=Z)),
        most=1,
        dtype=np.float32,
        convert=lambda a: 1 - a,
        packed=False,
    )
    with tifffile.TiffFile(out) as file:
        assert file.pages[0].compression == 1
        assert np.array_equal(file.asarray(), 1 - CLASSES.astype(np.float32))


def test_labels_are_read_as_masks(source, out):
    write_tiff(out, CLASSES, like(source(**IMAGEJ, metadata=Z)), most=1, colours=RED)
    assert mask_values(ImageRef(out, 2)) == {0: int((CLASSES[2] == 0).sum()), 1: int(CLASSES[2].sum())}


def test_of_a_large_picture_some_rows_are_read_again(source, out, monkeypatch):
    from lamella.data.io.pieces import blocks as pieces

    large = np.tile(CLASSES, (1, 20, 30))
    write_tiff(out, large, like(source(**IMAGEJ, metadata=Z)), most=1, colours=RED)
    monkeypatch.setattr(pieces, "LARGE", 1000)
    monkeypatch.setattr(pieces, "PIECE", 20_000)
    monkeypatch.setattr(module, "_STRIP", 20_000)
    write_tiff(out, large, like(source(**IMAGEJ, metadata=Z)), most=1, colours=RED)
    found = list(blocks(ImageRef(out, 1), indices=True))
    assert len(found) > 10
    assert np.array_equal(np.concatenate([each.pixels for each in found]), large[1])


def test_scratch_is_filled_by_rows_of_any_height(tmp_path):
    scratch = Scratch(tmp_path / "a", (2, 3, 10, 5), np.float32)
    values = np.random.default_rng(2).random((2, 3, 10, 5)).astype(np.float32)
    for page in range(2):
        for top, bottom in ((0, 4), (4, 5), (5, 10)):
            scratch.put((page,), top, values[page][:, top:bottom])
    assert np.array_equal(scratch.array(), values)


def test_a_full_disk_is_told(source, tmp_path):
    array = np.random.default_rng(3).random((900, 900)).astype(np.float32)
    with pytest.raises(OSError, match="No space left"):
        write_tiff(tmp_path.joinpath("/dev/full"), array, like(source(STACK[0])), most=1)
