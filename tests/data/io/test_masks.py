"""Mask files of every kind -> class ids, or a refusal that says what stands in the file."""

import io
from functools import partial

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lamella.data.io.masks import mask_places
from lamella.data.io.read import mask_values, read, read_mask
from lamella.data.types import IGNORE, ImageRef, Labelling
from lamella.errors import DataError
from support import files
from support.files import GREY, MASK, png

BINARY = {0: 0, 255: 1}
CLASSES = GREY % 3
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 255]], np.uint8)
BY_COLOUR = {(0, 0, 0): 0, (255, 0, 0): 1, (0, 128, 255): 2}


@pytest.fixture
def put(tmp_path):
    return partial(files.put, tmp_path)


def counts(array):
    values, numbers = np.unique(array, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def indexed(array, colours):
    picture = Image.fromarray(array, "P")
    picture.putpalette(np.asarray(colours, np.uint8).tobytes())
    return picture


# --- grey ------------------------------------------------------------------------------------------------


def test_grey_and_rgb_masks(put):
    for array in (MASK, np.dstack([MASK] * 3)):
        ref = put(array)
        found = read_mask(ref, BINARY)
        assert found.dtype == np.uint8
        assert np.array_equal(found, MASK // 255)
        assert mask_values(ref) == counts(MASK)
    assert np.array_equal(read_mask(put(MASK), {255: 0, 0: 1}), 1 - MASK // 255)  # membrane is 0 in the EM files


def test_1_bit(put):
    ref = put(Image.fromarray(MASK).convert("1"))
    assert np.array_equal(read_mask(ref, BINARY), MASK // 255)
    assert mask_values(ref) == counts(MASK)


def test_a_value_may_be_ignored(put):
    found = read_mask(put(CLASSES), {0: 0, 1: 1, 2: IGNORE})
    assert np.array_equal(found, np.array([0, 1, 255])[CLASSES])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "int64", "float32", "float64"])
def test_values_of_any_whole_numbers(put, dtype):
    levels = np.array([0, 1000, 32000], dtype)
    if not dtype.startswith("u"):
        levels[0] = -1
    ref = put(levels[CLASSES], "a.tif")
    values = {int(level): id_ for id_, level in enumerate(levels)}
    assert np.array_equal(read_mask(ref, values), CLASSES)
    assert mask_values(ref) == counts(levels[CLASSES])
    with pytest.raises(DataError, match=r"unexpected values: 32000 \(\d+ px\)"):
        read_mask(ref, {int(level): id_ for id_, level in enumerate(levels[:2])})


def test_16_bit_png(put):
    ref = put(CLASSES.astype(np.uint16) * 30000)
    assert np.array_equal(read_mask(ref, {0: 0, 30000: 1, 60000: 2}), CLASSES)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_fractions_are_no_values(put, value):
    mask = CLASSES.astype(np.float32)
    mask[3, 4] = value
    for ask in (mask_values, lambda ref: read_mask(ref, {0: 0, 1: 1, 2: 2})):
        with pytest.raises(DataError, match=r"mask .*a\.tif holds fractions"):
            ask(put(mask, "a.tif"))


@pytest.mark.parametrize(("dtype", "most"), [(np.float16, 2**11), (np.float32, 2**24)])
def test_numbers_that_a_float_has_rounded(put, dtype, most):
    assert mask_values(put(np.array([[0, most]], dtype), "a.tif")) == {0: 1, most: 1}
    with pytest.raises(DataError, match=f"beyond {most:,}, which {np.dtype(dtype)} has rounded"):
        mask_values(put(np.array([[0, most, most + 4]], dtype), "b.tif"))


def test_complex_values_are_no_values(put):
    with pytest.raises(DataError, match="complex64"):
        mask_values(put(CLASSES.astype(np.complex64), "a.tif"))


@given(
    st.dictionaries(st.integers(0, 2**16 - 1), st.integers(0, 255), min_size=1, max_size=9),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pixel_gets_the_class_of_its_value(put, values, side, seed):
    levels = np.random.default_rng(seed).choice(sorted(values), (side, 7))
    dtype = np.uint8 if max(values) < 256 else np.uint16
    ref = put(levels.astype(dtype))
    assert read_mask(ref, values).tolist() == [[values[v] for v in row] for row in levels.tolist()]
    assert mask_values(ref) == counts(levels)


# --- colours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_colours_are_values(put, name):
    ref = put(COLOURS[CLASSES], name)
    assert np.array_equal(read_mask(ref, BY_COLOUR), CLASSES)
    assert mask_values(ref) == dict(zip(BY_COLOUR, np.bincount(CLASSES.flat).tolist(), strict=True))


def test_opaque_alpha_is_no_colour(put):
    array = np.dstack([COLOURS[CLASSES], np.full(CLASSES.shape, 255, np.uint8)])
    assert np.array_equal(read_mask(put(array), BY_COLOUR), CLASSES)


def test_colours_of_16_bits(put):
    array = COLOURS.astype(np.uint16)[CLASSES] * 257
    rows = [b"\0" + row.astype(">u2").tobytes() for row in array]
    values = {tuple(int(c) * 257 for c in colour): id_ for colour, id_ in BY_COLOUR.items()}
    for ref in (put(png(24, 20, 16, 2, rows)), put(array, "a.tif", photometric="rgb")):
        assert np.array_equal(read_mask(ref, values), CLASSES)
        assert set(mask_values(ref)) == set(values)
    with pytest.raises(DataError, match="16 bits"):
        read_mask(put(array.astype(np.int32) - 1, "b.tif", photometric="rgb"), values)


def test_grey_and_its_colour_are_one_value(put):
    """A mask that shows background alone looks grey, whatever the others look like."""
    black = put(COLOURS[CLASSES * 0])
    assert mask_values(black) == {0: CLASSES.size}
    assert not read_mask(black, BY_COLOUR).any()
    assert not read_mask(put(CLASSES * 0), BY_COLOUR).any()
    values = {0: 0, (255, 0, 0): 1, (0, 128, 255): 2}
    assert np.array_equal(read_mask(put(COLOURS[CLASSES]), values), CLASSES)


def test_a_coloured_mask_needs_colours(put):
    coloured = np.dstack([MASK] * 3)
    coloured[5, 5, 2] ^= 255
    with pytest.raises(DataError, match=r"picture\.png is coloured"):
        read_mask(put(coloured), BINARY)


def test_stray_colours_are_listed(put):
    array = COLOURS[CLASSES]
    array[0, :2] = 9, 8, 7
    with pytest.raises(DataError, match=r"unexpected values: #090807 \(2 px\)\n") as caught:
        read_mask(put(array), BY_COLOUR)
    assert "Allowed are #000000, #0080ff, #ff0000." in caught.value.remedy
    with pytest.raises(DataError, match="unexpected values: 7 "):
        read_mask(put(np.full((4, 4), 7, np.uint8)), BY_COLOUR)


def test_channels_that_are_no_colours(put):
    ref = put(np.dstack([CLASSES] * 5), "a.tif", photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"mask .*a\.tif has 5 channels"):
        mask_values(ref)


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_a_palette_gives_its_indices(put, name):
    ref = put(indexed(CLASSES, COLOURS), name)
    assert np.array_equal(read_mask(ref, {0: 0, 1: 1, 2: 2}), CLASSES)
    assert mask_values(ref) == counts(CLASSES)
    assert np.array_equal(read(ref), COLOURS[CLASSES])  # as an image
    assert np.array_equal(read_mask(ref, BY_COLOUR), CLASSES)  # where colours are what was named


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
@pytest.mark.parametrize("levels", [[255, 0], [0, 255], [200, 0, 100]])
def test_a_palette_of_greys_means_what_a_viewer_shows(put, name, levels):
    """Whichever index comes first: writers of two-tone pictures differ in it."""
    indices = GREY % len(levels)
    if name == "a.tif":
        colormap = np.zeros((3, 256), np.uint16)
        colormap[:, : len(levels)] = np.array(levels) * 257
        ref = put(indices, name, photometric="palette", colormap=colormap)
    else:
        ref = put(indexed(indices, [[level] * 3 for level in levels]), name)
    assert mask_values(ref) == counts(np.array(levels)[indices])
    assert np.array_equal(read_mask(ref, {level: id_ for id_, level in enumerate(levels)}), indices)
    with pytest.raises(DataError, match="unexpected values") as caught:
        read_mask(ref, {7: 0})
    assert "indices" not in caught.value.remedy


def test_a_bmp_of_two_tones_in_more_bits_than_one(put):
    """Pillow takes 8 bits a pixel for 8 pixels there."""
    ref = put(indexed(MASK // 255, [[0] * 3, [255] * 3]), "a.bmp")
    assert ref.path.read_bytes()[28] == 8
    assert np.array_equal(read(ref), MASK)
    four = bytearray(ref.path.read_bytes()[:54] + bytes([v for level in range(16) for v in (level, level, level, 0)]))
    four[28], four[46], four[10] = 4, 16, len(four)  # bits, colours, where the pixels begin
    levels = GREY % 16
    for row in levels[::-1]:
        four += bytes(row[::2] * 16 + row[1::2])
    found = put(bytes(four), "b.bmp")
    assert np.array_equal(read(found), levels)
    assert mask_values(found) == counts(levels)


def test_a_palette_that_shows_two_values_alike(put):
    ref = put(indexed(CLASSES, [[0] * 3, [255] * 3, [0] * 3]))
    with pytest.raises(DataError, match=r"the indices 0, 2 are of the same grey"):
        mask_values(ref)
    black = put(indexed(CLASSES, [[0] * 3] * 3))  # a palette that was never set shows nothing
    assert np.array_equal(read_mask(black, {0: 0, 1: 1, 2: 2}), CLASSES)


def test_two_greys_among_colours_are_indices(put):
    ref = put(indexed(MASK // 255, [[255] * 3, [0] * 3, [255, 0, 0]]))
    assert np.array_equal(read_mask(ref, {0: 0, 1: 1}), MASK // 255)


def test_a_palette_may_show_background_as_transparent(put):
    ref = put(indexed(CLASSES, COLOURS), transparency=0)
    assert np.array_equal(read_mask(ref, {0: 0, 1: 1, 2: 2}), CLASSES)


def test_a_palette_in_a_tiff(put):
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, :3] = COLOURS.T * np.uint16(257)
    ref = put(CLASSES, "a.tif", photometric="palette", colormap=colormap)
    assert np.array_equal(read_mask(ref, {0: 0, 1: 1, 2: 2}), CLASSES)
    with pytest.raises(DataError, match="unexpected values: 2 ") as caught:
        read_mask(ref, {0: 0, 1: 1})
    assert "the palette's indices" in caught.value.remedy


# --- strays and JPEG -------------------------------------------------------------------------------------


def test_stray_values_are_listed(put):
    mask = MASK.copy()
    mask[0, :3], mask[1, 0] = 7, 200
    with pytest.raises(DataError) as caught:
        read_mask(put(mask), BINARY)
    assert "7 (3 px), 200 (1 px)" in caught.value.problem
    assert "Allowed are 0, 255." in caught.value.remedy
    assert "JPEG" not in caught.value.remedy


def compressed(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "jpeg")
    return buffer.getvalue()


def test_a_mask_that_was_a_jpeg_is_known_by_its_values(put):
    with Image.open(io.BytesIO(compressed(MASK))) as picture, pytest.raises(DataError) as caught:
        read_mask(put(picture.convert("L")), BINARY)
    assert "JPEG compression or resizing" in caught.value.remedy
    assert ", ..." in caught.value.problem


def test_a_jpeg_is_no_mask_whatever_its_name_and_values(put):
    black = compressed(MASK * 0)
    for name in ("mask.jpg", "mask.png"):
        for ask in (mask_values, lambda ref: read_mask(ref, BINARY)):
            with pytest.raises(DataError, match=f"mask .*{name} is a JPEG"):
                ask(put(black, name))


# --- real files ------------------------------------------------------------------------------------------


def test_real_masks(lamella_data):
    labels = ImageRef(lamella_data / "em" / "train-labels.tif", 0)
    assert set(mask_values(labels)) == {0, 255}
    for path in sorted((lamella_data / "blood" / "test" / "mask").iterdir())[:2]:
        found = mask_values(ImageRef(path))
        assert set(found) == {0, 255}
        assert read_mask(ImageRef(path), BINARY).sum() == found[255]


def test_the_place_of_each_value(tmp_path, monkeypatch):
    """Also of colours, of rows without colour among rows with, and of the middle alone."""
    mask = np.random.default_rng(0).choice([0, 7, 300], (40, 30)).astype(np.uint16)
    colours = np.zeros((40, 30, 3), np.uint8)
    colours[20:] = np.array([(0, 0, 0), (9, 9, 9), (255, 0, 0)], np.uint8)[np.searchsorted([0, 7, 300], mask[20:])]
    for name, array in (("grey", mask), ("colours", colours)):
        ref = ImageRef(tmp_path / f"{name}.tif")
        photometric = "rgb" if array.ndim == 3 else "minisblack"
        tifffile.imwrite(ref.path, array, photometric=photometric, rowsperstrip=4)
        for large in (2**30, 100):  # at once, and some rows at a time
            monkeypatch.setattr("lamella.data.io.pieces.blocks.LARGE", large)
            monkeypatch.setattr("lamella.data.io.pieces.blocks.PIECE", 500)
            values = list(mask_values(ref))
            places = mask_places(ref, values, Labelling(), 100)
            expected = array.reshape(40, 30, -1)
            assert np.array_equal(np.array([np.broadcast_to(v, expected.shape[2]) for v in values])[places], expected)
            assert np.array_equal(mask_places(ref, values, Labelling(), 10), places[15:25, 10:20])
