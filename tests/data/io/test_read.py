"""Pictures of every kind, sound and damaged: read exactly, or refused by name."""

import io
import struct
from contextlib import suppress
from functools import partial

import imagecodecs
import numpy as np
import pytest
import skimage.io
import tifffile
from PIL import ExifTags, Image, ImageOps

from lamella.data.io.read import Header, header, pages, read, read_image, size
from lamella.data.types import ImageRef
from lamella.errors import DataError
from support import files
from support.files import DEEP_RGB, GREY, MASK, RGB, attempt, cuts, png

DEEP = np.random.default_rng(2).integers(0, 65536, (20, 24), dtype=np.uint16)
OPAQUE = np.full(GREY.shape, 65535, np.uint16)


@pytest.fixture
def put(tmp_path):
    return partial(files.put, tmp_path)


def plain_rows(array):
    """The rows of a 16-bit PNG without filters."""
    return [b"\0" + row.astype(">u2").tobytes() for row in array]


# --- sound files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "name"),
    [(a, name) for a in (GREY, RGB) for name in ("a.png", "a.PNG", "a.bmp", "a.tif")] + [(DEEP, "a.png")],
)
def test_lossless_kinds_come_back_exactly(put, array, name):
    ref = put(array, name)
    assert np.array_equal(read(ref), array)
    assert np.array_equal(read(ref), skimage.io.imread(ref.path))
    assert header(ref) == Header(20, 24, array.shape[2] if array.ndim == 3 else 1, read(ref).dtype)
    assert size(ref) == array.shape[:2]
    assert pages(ref.path) == 1


@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_is_what_pillow_says(put, array, options):
    ref = put(array, "a.jpg", **options)
    with Image.open(ref.path) as picture:
        assert np.array_equal(read(ref), np.asarray(picture))


def test_1_bit(put):
    ref = put(Image.fromarray(MASK).convert("1"))
    assert np.array_equal(read(ref), MASK)
    assert header(ref) == Header(20, 24, 1, np.dtype(np.uint8))


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_a_palette_gives_its_colours(put, name):
    colours = Image.fromarray(RGB).quantize(16)
    ref = put(colours, name)
    assert np.array_equal(read(ref), np.asarray(colours.convert("RGB")))
    assert header(ref) == Header(20, 24, 3, np.dtype(np.uint8))


@pytest.mark.parametrize(("mode", "array"), [("LA", GREY), ("RGBA", RGB)])
def test_an_alpha_channel_may_be_opaque(put, mode, array):
    alpha = np.full(array.shape[:2], 255, np.uint8)
    ref = put(Image.fromarray(np.dstack([array, alpha]), mode))
    assert np.array_equal(read(ref), array)
    assert header(ref).channels == (3 if mode == "RGBA" else 1)
    alpha[3, 4] = 254
    with pytest.raises(DataError, match=r"picture\.png has transparent pixels"):
        read(put(Image.fromarray(np.dstack([array, alpha]), mode)))


def test_a_transparent_colour_is_transparent(put):
    with pytest.raises(DataError, match="transparent"):
        read(put(Image.fromarray(GREY), transparency=int(GREY[0, 0])))


# --- 16 bits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colour", "samples", "expected"),
    [
        (0, DEEP, DEEP),
        (2, DEEP_RGB, DEEP_RGB),
        (4, np.dstack([DEEP, OPAQUE]), DEEP),
        (6, np.dstack([DEEP_RGB, OPAQUE]), DEEP_RGB),
    ],
    ids=["grey", "rgb", "grey and alpha", "rgba"],
)
def test_16_bits_are_kept(put, colour, samples, expected):
    """Pillow itself would halve colours silently."""
    ref = put(png(24, 20, 16, colour, plain_rows(samples)))
    found = read(ref)
    assert found.dtype == np.uint16
    assert np.array_equal(found, expected)
    assert header(ref) == Header(20, 24, 3 if expected.ndim == 3 else 1, np.dtype(np.uint16))
    if samples is not expected:
        samples = samples.copy()
        samples[5, 6, -1] = 65534
        with pytest.raises(DataError, match="transparent"):
            read(put(png(24, 20, 16, colour, plain_rows(samples))))


@pytest.mark.parametrize("kind", ["NONE", "SUB", "UP", "AVG", "PAETH"])
def test_every_filter_of_png_is_undone(put, kind):
    ref = put(imagecodecs.png_encode(DEEP_RGB, filter=imagecodecs.PNG.FILTER[kind]))
    assert np.array_equal(read(ref), DEEP_RGB)
    with Image.open(ref.path) as picture:  # the upper bytes, which is all that Pillow reads
        assert np.array_equal(np.asarray(picture), DEEP_RGB >> 8)


def test_a_transparent_colour_of_16_bits(put):
    for colour, samples, key in ((0, DEEP, [DEEP[2, 3]]), (2, DEEP_RGB, DEEP_RGB[2, 3])):
        rows = plain_rows(samples)
        transparency = struct.pack(f">{len(key)}H", *key)
        with pytest.raises(DataError, match="transparent"):
            read(put(png(24, 20, 16, colour, rows, more=[(b"tRNS", transparency)])))
        absent = struct.pack(f">{len(key)}H", *[(int(v) + 1) % 65536 for v in key])
        assert np.array_equal(read(put(png(24, 20, 16, colour, rows, more=[(b"tRNS", absent)]))), samples)


def test_colours_of_16_bits_that_are_interlaced(put):
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [row for y, x, down, right in passes for row in plain_rows(DEEP_RGB[y::down, x::right])]
    assert np.array_equal(read(put(png(24, 20, 16, 2, rows, interlaced=1))), DEEP_RGB)
    with pytest.raises(DataError, match="cannot be read as an image"):
        read(put(png(24, 20, 16, 2, rows[:-1], interlaced=1)))


@pytest.mark.parametrize(
    ("rows", "said"),
    [(plain_rows(DEEP_RGB)[:-1], "Not enough image data"), ([b"\5" + bytes(144)] * 20, "bad adaptive filter")],
)
def test_pixels_of_16_bits_that_are_wrong_are_refused(put, rows, said):
    with pytest.raises(DataError, match=f"cannot be read as an image: {said}"):
        read(put(png(24, 20, 16, 2, rows)))


# --- orientation, channels -------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(put, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for name, array in (("a.jpg", RGB), ("a.png", RGB), ("grey.png", DEEP)):
        ref = put(array, name, exif=exif)
        with Image.open(ref.path) as picture:
            upright = np.asarray(ImageOps.exif_transpose(picture))
            stored = np.asarray(picture)
        assert np.array_equal(read(ref), upright)
        assert np.array_equal(read(ref), stored) == (orientation == 1)
        assert size(ref) == upright.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_16_bit_colours(put, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    ref = put(png(24, 20, 16, 2, plain_rows(DEEP_RGB), more=[(b"eXIf", block)]))
    with Image.open(put(RGB, "plain.png", exif=exif).path) as picture:
        shape = np.asarray(ImageOps.exif_transpose(picture)).shape
    channels = [np.asarray(ImageOps.exif_transpose(tagged(DEEP_RGB[..., c], exif))) for c in range(3)]
    assert np.array_equal(read(ref), np.dstack(channels))
    assert header(ref)[:3] == shape


def tagged(array, exif):
    picture = Image.fromarray(array)
    picture.info["exif"] = exif.tobytes()
    return picture


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


def test_any_number_of_channels(put):
    five = np.random.default_rng(3).integers(0, 65536, (12, 10, 5), dtype=np.uint16)
    ref = put(five, "a.tif", photometric="minisblack", planarconfig="contig")
    assert np.array_equal(read_image(ref, 5), five.transpose(2, 0, 1))
    declared = ImageRef(put(five.transpose(2, 0, 1), "b.tif", photometric="minisblack").path, axes="CYX")
    assert np.array_equal(read_image(declared, 5), five.transpose(2, 0, 1))
    assert read_image(declared, 5).flags.c_contiguous
    floats = put(five[..., 0].astype(np.float32), "c.tif")
    assert read_image(floats, 1).dtype == np.float32


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
    "deep.png": encoded(DEEP, "png"),
    "deep_rgb.png": png(24, 20, 16, 2, plain_rows(DEEP_RGB)),
    "flat.png": encoded(GREY * 0, "png"),
    "rgb.jpg": encoded(RGB, "jpeg"),
    "progressive.jpg": encoded(RGB, "jpeg", progressive=True),
    "rgb.bmp": encoded(RGB, "bmp"),
    "rgb.tif": encoded(RGB, "tif"),
    "zlib.tif": encoded(RGB, "tif", compression="zlib"),
}


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


def test_a_flipped_bit_in_a_png_is_never_read_as_pixels(put):
    for name, array in (("rgb.png", RGB), ("deep_rgb.png", DEEP_RGB)):
        for place in range(0, len(FILES[name]), 7):
            damaged = bytearray(FILES[name])
            damaged[place] ^= 1 << (place % 8)
            with suppress(DataError):  # a bit behind the last pixel may pass
                assert np.array_equal(read(put(bytes(damaged))), array)


def test_a_png_whose_check_sum_is_wrong_is_refused(put):
    whole = png(2, 1, 8, 0, [b"\0\1\2"])
    assert read(put(whole)).tolist() == [[1, 2]]
    damaged = bytearray(whole)
    damaged[whole.index(b"IEND") - 5] ^= 1  # of the pixels' chunk: either they are wrong, or it is
    with pytest.raises(DataError, match="cannot be read"):
        read(put(bytes(damaged)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
@pytest.mark.parametrize("content", [b"", b"no image, just a line of text\n"])
def test_what_is_no_image_is_refused(put, name, content):
    for ask in (read, size):
        with pytest.raises(DataError, match=f"{name} cannot be read as an image") as caught:
            ask(put(content, name))
        assert "\n" not in caught.value.problem


@pytest.mark.parametrize("ask", [read, header])
def test_colours_of_print_are_refused(put, ask):
    with pytest.raises(DataError, match=r"a\.jpg stores its values as CMYK, not as grey or RGB"):
        ask(put(Image.fromarray(RGB).convert("CMYK"), "a.jpg"))


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "MPO")])
def test_several_pictures_in_one_file_are_refused(put, name, kind, tmp_path):
    first, *others = (Image.fromarray(picture) for picture in (RGB, RGB[::-1], RGB[:, ::-1]))
    first.save(tmp_path / name, kind, save_all=True, append_images=others)
    for ask in (read, header, lambda ref: pages(ref.path)):
        with pytest.raises(DataError, match=rf"{name} holds 3 pictures where one image was expected"):
            ask(ImageRef(tmp_path / name))


def test_missing(tmp_path):
    for name in ("a.png", "a.tif"):
        with pytest.raises(DataError, match=f"{name} is missing"):
            read(ImageRef(tmp_path / name))
        for ask in (pages, lambda path: header(ImageRef(path))):
            with pytest.raises(DataError, match=f"{name} is missing"):
                ask(tmp_path / name)


def test_a_picture_that_is_too_large_is_said_to_be_so(put):
    ref = put(png(2**31 - 1, 20000, 8, 0, [b"\0"]))
    with pytest.raises(DataError, match=r"picture\.png does not fit into memory") as caught:
        read(ref)
    assert "TIFF" in caught.value.remedy


# --- real files ------------------------------------------------------------------------------------------


def test_pictures_of_blood(lamella_data):
    paths = sorted((lamella_data / "blood" / "test" / "original").iterdir())
    kinds = {path.suffix: path for path in paths}
    assert set(kinds) == {".jpg", ".png"}
    for path in kinds.values():
        found = read(ImageRef(path))
        assert np.array_equal(found, skimage.io.imread(path))
        assert header(ImageRef(path)) == Header(*found.shape, found.dtype)
