"""Large TIFFs a few rows at a time: together what they are in one go, whatever their layout."""

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.data.io import decode
from lamella.data.io.pieces import blocks, memory
from lamella.data.types import ImageRef
from lamella.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 9, (70, 53), np.uint8)
RGB = RNG.integers(0, 9, (70, 53, 3), np.uint8)
STACK = RNG.integers(0, 9, (4, 70, 53), np.uint8)
TILES = {"tile": (16, 32)}
STRIPS = {"rowsperstrip": 8}
PACKED = {"compression": "zlib"}
CHANNELS = {"metadata": {"axes": "CYX"}, "photometric": "minisblack"}


@pytest.fixture
def small(monkeypatch):
    """All pictures are large, and pieces are of about 8 rows."""
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setattr(blocks, "PIECE", 450)


@pytest.mark.parametrize(
    ("array", "options", "page"),
    [
        (GREY, STRIPS | PACKED, None),
        (GREY, STRIPS | PACKED | {"predictor": True}, None),
        (GREY, STRIPS | {"byteorder": ">"}, None),
        (GREY.astype(np.uint16), STRIPS | PACKED | {"byteorder": ">"}, None),
        (GREY.astype(np.uint16), {"byteorder": ">"}, None),
        (GREY.astype(np.float32), TILES, None),
        (GREY, TILES | PACKED, None),
        (GREY > 4, STRIPS | PACKED | {"photometric": "minisblack"}, None),
        (GREY > 4, STRIPS | {"photometric": "minisblack"}, None),
        (RGB, STRIPS | {"compression": "lzw"}, None),
        (RGB, TILES | PACKED, None),
        (RGB, {}, None),
        (np.moveaxis(RGB, -1, 0), TILES | PACKED | {"photometric": "rgb", "planarconfig": "separate"}, None),
        (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}, None),
        (STACK, STRIPS | PACKED | {"photometric": "minisblack"}, 2),
        (STACK, {"photometric": "minisblack"}, 3),
        (STACK, STRIPS | PACKED | CHANNELS, None),
        (STACK, TILES | CHANNELS, None),
        (STACK, {"imagej": True, "metadata": {"axes": "ZYX"}}, 1),
    ],
    ids=[
        *("deflate", "predictor", "big-endian strips", "16 bits", "plain", "floats in tiles", "tiles"),
        *("packed bits", "bits", "rgb lzw", "rgb tiles", "rgb plain", "planes in tiles", "planes"),
        *("a page", "a plain page", "pages are channels", "channels in tiles", "imagej"),
    ],
)
def test_blocks_are_the_picture(tmp_path, small, array, options, page):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    ref = ImageRef(tmp_path / "a.tif", page)
    found = list(decode.blocks(ref))
    blocks = [block.pixels for block in found]
    assert len(blocks) >= 4
    assert [block.top for block in found] == np.cumsum([0, *map(len, blocks)])[:-1].tolist()
    assert {block.height for block in found} == {70}
    whole = decode.stored(ref)
    assert {block.dtype for block in blocks} == {whole.dtype}
    assert all(block.flags.c_contiguous for block in blocks)
    assert np.array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("name", ["a.npy", "a.h5:/raw", "a.mrc", "a.nii"])
def test_volumes_come_in_blocks_too(tmp_path, small, name):
    file, _, inside = name.partition(":")
    if file == "a.npy":
        np.save(tmp_path / file, STACK)
    elif file == "a.h5":
        with h5py.File(tmp_path / file, "w") as volume:
            volume["raw"] = STACK
    elif file == "a.mrc":
        mrcfile.write(tmp_path / file, STACK)
    else:
        nibabel.Nifti1Image(STACK.T, np.eye(4)).to_filename(tmp_path / file)
    ref = ImageRef(tmp_path / file, 2, "ZYX" if file in ("a.npy", "a.h5") else None, inside or None)
    found = [block.pixels for block in decode.blocks(ref)]
    assert len(found) >= 4
    assert np.array_equal(np.concatenate(found), decode.stored(ref))


@pytest.mark.parametrize("orientation", [2, 6])
def test_a_turned_picture_is_read_whole(tmp_path, small, orientation):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **STRIPS, extratags=[(274, "H", 1, orientation, True)])
    (block,) = decode.blocks(ImageRef(tmp_path / "a.tif"))
    assert np.array_equal(block.pixels, decode.stored(ImageRef(tmp_path / "a.tif")))


def test_a_spare_row_of_the_last_strip_is_left_out(tmp_path, small):
    tifffile.imwrite(tmp_path / "a.tif", np.pad(GREY, ((0, 2), (0, 0))), **STRIPS, compression="lzw", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(70)
    blocks = [block.pixels for block in decode.blocks(ImageRef(tmp_path / "a.tif"))]
    assert np.array_equal(np.concatenate(blocks), GREY)


def test_what_is_cut_off_is_told(tmp_path, small):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **STRIPS, **PACKED)
    path = tmp_path / "a.tif"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"a\.tif cannot be read"):
        list(decode.blocks(ImageRef(path)))


def test_small_pictures_are_one_block(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **STRIPS, **PACKED)
    assert len(list(decode.blocks(ImageRef(tmp_path / "a.tif")))) == 1


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_what_does_not_fit_is_told_before_it_is_decoded(tmp_path, monkeypatch, name):
    Image.fromarray(np.zeros((9000, 9000), np.uint8)).save(tmp_path / name)
    whole = np.fromfile(tmp_path / name, np.uint8)
    whole[len(whole) // 2 :] = 7  # decoding would stumble
    if name == "a.png":
        whole.tofile(tmp_path / name)
    monkeypatch.setattr(memory, "free_memory", lambda: 200_000_000)
    with pytest.raises(DataError, match="does not fit into memory: 9000 x 9000") as caught:
        decode.stored(ImageRef(tmp_path / name))
    assert "take 0.2 GB to decode in one go, 0.2 GB are free" in caught.value.problem
    assert "TIFF in tiles" in caught.value.remedy
