"""Files of every kind, sound and damaged: read exactly, or refused by name."""

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from lamella.data.images import pages, read, read_image, read_mask, scaled_size, shrink, shrink_mask, size
from lamella.data.types import ImageRef
from lamella.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
STACK = RNG.integers(0, 256, (4, 12, 10), dtype=np.uint8)
MASK = (GREY > 127).astype(np.uint8) * 255
BINARY = {0: 0, 255: 1}


@pytest.fixture
def put(tmp_path):
    """Writes an array, a Pillow image or bytes to a file, and gives the reference to it."""

    def write(content, name="picture.png", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".tif":
            tifffile.imwrite(path, content, **options)
        else:
            picture = content if isinstance(content, Image.Image) else Image.fromarray(content)
            picture.save(path, **options)
        return ImageRef(path)

    return write


def png(width, height, depth, colour, rows):
    """A PNG file from raw rows, of a kind that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# --- sound files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif"])
def test_lossless_kinds_come_back_exactly(put, array, name):
    ref = put(array, name)
    assert np.array_equal(read(ref), array)
    assert read(ref).dtype == np.uint8
    assert size(ref) == array.shape[:2]


@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_is_what_pillow_says(put, array, options):
    ref = put(array, "a.jpg", **options)
    with Image.open(ref.path) as picture:
        assert np.array_equal(read(ref), np.asarray(picture))


def test_1_bit(put):
    ref = put(Image.fromarray(MASK).convert("1"))
    assert np.array_equal(read(ref), MASK)
    assert np.array_equal(read_mask(ref, BINARY), MASK // 255)


def test_a_palette_gives_its_colours(put):
    colours = Image.fromarray(RGB).quantize(16)
    assert np.array_equal(read(put(colours)), np.asarray(colours.convert("RGB")))
    two = Image.fromarray(MASK // 255, "P")
    two.putpalette([0, 0, 0, 255, 255, 255])
    assert np.array_equal(read_mask(put(two), BINARY), MASK // 255)


@pytest.mark.parametrize(("mode", "array"), [("LA", GREY), ("RGBA", RGB)])
def test_an_alpha_channel_may_be_opaque(put, mode, array):
    alpha = np.full(array.shape[:2], 255, np.uint8)
    assert np.array_equal(read(put(Image.fromarray(np.dstack([array, alpha]), mode))), array)
    alpha[3, 4] = 254
    with pytest.raises(DataError, match=r"picture\.png has transparent pixels"):
        read(put(Image.fromarray(np.dstack([array, alpha]), mode)))


def test_a_transparent_colour_is_transparent(put):
    with pytest.raises(DataError, match="transparent"):
        read(put(Image.fromarray(GREY), transparency=int(GREY[0, 0])))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GREY.astype(np.uint16), "a.png"),
        (png(2, 1, 16, 2, [bytes(12)]), "rgb.png"),  # Pillow itself would halve it silently
        (png(2, 1, 16, 6, [bytes(16)]), "rgba.png"),
        (png(2, 1, 16, 4, [bytes(8)]), "grey_alpha.png"),
        (GREY.astype(np.uint16), "a.tif"),
        (GREY.astype(np.float32), "float.tif"),
        (MASK > 0, "bool.tif"),
    ],
)
def test_only_8_bits_a_channel(put, content, name):
    options = {"photometric": "minisblack"} if name.endswith(".tif") else {}
    with pytest.raises(DataError, match=f"{name} holds .* values; only 8 bits") as caught:
        read(put(content, name, **options))
    assert "never rescales" in caught.value.remedy


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(put, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for name in ("a.jpg", "a.png"):
        ref = put(RGB, name, exif=exif)
        with Image.open(ref.path) as picture:
            upright = np.asarray(ImageOps.exif_transpose(picture))
            stored = np.asarray(picture)
        assert np.array_equal(read(ref), upright)
        assert np.array_equal(read(ref), stored) == (orientation == 1)
        assert size(ref) == upright.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(put, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert np.array_equal(read(put(RGB, exif=exif)), RGB)


def test_channels_come_first_and_are_counted(put):
    assert np.array_equal(read_image(put(RGB), 3), RGB.transpose(2, 0, 1))
    assert np.array_equal(read_image(put(GREY), 1), GREY[None])
    assert read_image(put(RGB), 3).flags.c_contiguous
    with pytest.raises(DataError, match=r"has 1 channel\(s\), the data set has 3"):
        read_image(put(GREY), 3)
    with pytest.raises(DataError, match=r"has 4 channel\(s\)"):
        read_image(put(Image.fromarray(RGB).convert("CMYK"), "a.jpg"), 3)


# --- TIFF ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}, {"tile": (16, 16)}])
def test_pages_of_a_stack(put, options):
    ref = put(STACK, "stack.tif", photometric="minisblack", **options)
    assert pages(ref.path) == 4
    for page in range(4):
        assert np.array_equal(read(ImageRef(ref.path, page)), STACK[page])
        assert size(ImageRef(ref.path, page)) == STACK.shape[1:]
    with pytest.raises(DataError, match="holds 4 pages where one image was expected"):
        read(ref)
    with pytest.raises(DataError, match="cannot be read"):
        read(ImageRef(ref.path, 4))


def test_separate_planes_are_channels(put):
    ref = put(RGB.transpose(2, 0, 1), "planes.tif", photometric="rgb", planarconfig="separate")
    assert np.array_equal(read(ref), RGB)


@pytest.mark.parametrize("photometric", ["miniswhite", "palette"])
def test_values_that_mean_something_else_are_refused(put, photometric):
    options = {"colormap": np.zeros((3, 256), np.uint16)} if photometric == "palette" else {}
    ref = put(GREY, "a.tif", photometric=photometric, **options)
    with pytest.raises(DataError, match=f"a.tif stores its values as {photometric.upper()}"):
        read(ref)


# --- damaged files ---------------------------------------------------------------------------------------


def encoded(array, kind, **options):
    buffer = io.BytesIO()
    if kind == "tif":
        tifffile.imwrite(buffer, array, **options)
    else:
        Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


FILES = {
    "grey.png": encoded(GREY, "png"),
    "rgb.png": encoded(RGB, "png"),
    "flat.png": encoded(GREY * 0, "png"),
    "rgb.jpg": encoded(RGB, "jpeg"),
    "progressive.jpg": encoded(RGB, "jpeg", progressive=True),
    "rgb.bmp": encoded(RGB, "bmp"),
    "rgb.tif": encoded(RGB, "tif"),
    "zlib.tif": encoded(RGB, "tif", compression="zlib"),
}
STACKS = {
    "stack.tif": encoded(STACK, "tif", photometric="minisblack"),
    "zlib.tif": encoded(STACK, "tif", photometric="minisblack", compression="zlib"),
    "imagej.tif": encoded(STACK, "tif", imagej=True),
    "ome.tif": encoded(STACK, "tif", ome=True, photometric="minisblack"),
}


def cuts(whole):
    """Lengths to cut a file to: all near both ends, some between."""
    return sorted({*range(0, whole, 23), *range(0, min(250, whole), 3), *range(max(0, whole - 30), whole)})


def attempt(function):
    """What it returns, or its DataError; anything else that it raises is a bug."""
    try:
        return function()
    except DataError as error:
        return error


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_is_read_whole_or_refused(put, name, caplog):
    whole = read(put(FILES[name], name))
    for length in cuts(len(FILES[name])):
        ref = put(FILES[name][:length], name)
        found = attempt(lambda ref=ref: read(ref))
        if isinstance(found, DataError):
            assert str(ref.path) in found.problem
        else:
            assert np.array_equal(found, whole), f"wrong pixels from the first {length} bytes"
            assert length > len(FILES[name]) - 30
    assert not caplog.records  # what decoders log would stand above the error


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_cut_off_is_read_whole_or_refused(put, name, caplog):
    for length in cuts(len(STACKS[name])):
        path = put(STACKS[name][:length], name).path
        found = attempt(lambda path=path: [read(ImageRef(path, page)) for page in range(pages(path))])
        if isinstance(found, DataError):
            assert str(path) in found.problem
        else:
            assert np.array_equal(found, STACK), f"wrong pages from the first {length} bytes"
    assert not caplog.records


def test_a_flipped_bit_in_a_png_is_never_read_as_pixels(put):
    for place in range(0, len(FILES["rgb.png"]), 7):
        damaged = bytearray(FILES["rgb.png"])
        damaged[place] ^= 1 << (place % 8)
        with suppress(DataError):  # a bit behind the last pixel may pass
            assert np.array_equal(read(put(bytes(damaged))), RGB)


def test_a_png_whose_check_sum_is_wrong_is_refused(put):
    whole = png(2, 1, 8, 0, [b"\x01\x02"])
    assert read(put(whole)).tolist() == [[1, 2]]
    damaged = bytearray(whole)
    damaged[whole.index(b"IEND") - 5] ^= 1  # of the pixels' chunk: either they are wrong, or it is
    with pytest.raises(DataError, match="cannot be read"):
        read(put(bytes(damaged)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
@pytest.mark.parametrize("content", [b"", b"no image, just a line of text\n", b"GIF89a" + bytes(50)])
def test_what_is_no_image_is_refused(put, name, content):
    for ask in (read, size):
        with pytest.raises(DataError, match=f"{name} cannot be read as an image") as caught:
            ask(put(content, name))
        assert "\n" not in caught.value.problem


def test_a_kind_the_suffix_does_not_promise_is_refused(put, tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png", "GIF")
    with pytest.raises(DataError, match="cannot be read"):
        read(ImageRef(tmp_path / "a.png"))


def test_missing(tmp_path):
    for name in ("a.png", "a.tif"):
        with pytest.raises(DataError, match=f"{name} is missing"):
            read(ImageRef(tmp_path / name))
    with pytest.raises(DataError, match="is missing"):
        pages(tmp_path / "a.tif")


# --- masks -----------------------------------------------------------------------------------------------


def test_grey_and_rgb_masks(put):
    for array in (MASK, np.dstack([MASK] * 3)):
        found = read_mask(put(array), BINARY)
        assert found.dtype == np.uint8
        assert np.array_equal(found, MASK // 255)
    assert np.array_equal(read_mask(put(MASK), {255: 0, 0: 1}), 1 - MASK // 255)  # membrane is 0 in the EM files


def test_a_coloured_mask_is_refused(put):
    coloured = np.dstack([MASK] * 3)
    coloured[5, 5, 2] ^= 255
    with pytest.raises(DataError, match=r"picture\.png is coloured"):
        read_mask(put(coloured), BINARY)


def test_stray_values_are_listed(put):
    mask = MASK.copy()
    mask[0, :3], mask[1, 0] = 7, 200
    with pytest.raises(DataError) as caught:
        read_mask(put(mask), BINARY)
    assert "7 (3 px), 200 (1 px)" in caught.value.problem
    assert "Allowed are 0, 255." in caught.value.remedy
    assert "JPEG" not in caught.value.remedy


def test_a_mask_that_was_a_jpeg_is_known_by_its_values(put):
    with Image.open(put(MASK, "a.jpg").path) as compressed, pytest.raises(DataError) as caught:
        read_mask(put(compressed.convert("L")), BINARY)
    assert "JPEG compression or resizing" in caught.value.remedy
    assert ", ..." in caught.value.problem


def test_a_jpeg_is_no_mask_whatever_its_name_and_values(put):
    black = encoded(MASK * 0, "jpeg")
    for name in ("mask.jpg", "mask.png"):
        with pytest.raises(DataError, match=f"mask .*{name} is a JPEG"):
            read_mask(put(black, name), BINARY)


# --- sizes -----------------------------------------------------------------------------------------------

sides = st.integers(1, 40)


@given(sides, sides, st.floats(0.05, 1), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_what_is_constant_stays_constant(height, width, scale, value):
    expected = scaled_size((height, width), scale)
    assert min(expected) >= 1
    small = shrink(np.full((2, height, width), value, np.uint8), scale)
    assert small.shape == (2, *expected)
    assert (small == value).all()
    small = shrink_mask(np.full((height, width), value, np.uint8), scale)
    assert small.shape == expected
    assert (small == value).all()


def blocks(array, factor):
    """(..., H, W) -> (..., H / f, W / f, f * f)."""
    *rest, height, width = array.shape
    cut = array.reshape(*rest, height // factor, factor, width // factor, factor)
    return np.moveaxis(cut, -3, -2).reshape(*rest, height // factor, width // factor, factor**2)


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_whole_factors_equal_numpy(factor, seed, classes):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, 5 * factor, 4 * factor), dtype=np.uint8)
    assert np.abs(shrink(image, 1 / factor) - blocks(image, factor).mean(-1)).max() <= 1  # rounded twice
    mask = rng.integers(0, classes, image.shape[1:], dtype=np.uint8)
    share = np.stack([(blocks(mask, factor) == c).mean(-1) for c in range(classes)])
    best, second = np.sort(share, axis=0)[[-1, -2]]
    clear = best > second + 0.01
    assert np.array_equal(shrink_mask(mask, 1 / factor)[clear], share.argmax(0)[clear])


def test_a_tie_goes_to_the_lower_class():
    mask = np.array([[0, 1], [0, 1]], np.uint8)
    assert shrink_mask(mask, 0.5).tolist() == [[0]]
    assert shrink_mask(mask + 3, 0.5).tolist() == [[3]]


def test_a_picture_and_its_mask_shrink_to_the_same_size():
    for height, width in [(1383, 1944), (1200, 1600), (7, 9)]:
        image, mask = np.zeros((1, height, width), np.uint8), np.zeros((height, width), np.uint8)
        assert shrink(image, 0.25).shape[1:] == shrink_mask(mask, 0.25).shape


def test_scale_1_is_the_array_itself():
    assert shrink(RGB, 1.0) is RGB
    assert shrink_mask(GREY, 1.0) is GREY
