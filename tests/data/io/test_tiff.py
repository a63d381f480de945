"""TIFF of every kind a microscope writes: read exactly, or refused with the way out."""

import io
import warnings
from functools import partial

import numpy as np
import pytest
import skimage.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lamella.data.io.read import Header, header, pages, read, read_mask, size
from lamella.data.types import ImageRef, Labelling
from lamella.errors import DataError
from support import files
from support.files import GREY, MASK, RGB, attempt, cuts

RNG = np.random.default_rng(1)
STACK = RNG.integers(0, 256, (4, 12, 10), dtype=np.uint8)
STILL = {np.dtype(t): np.dtype(t) for t in (np.uint8, np.uint16)}
TYPES = ("uint8", "uint16", "int8", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
FIVE = RNG.integers(0, 65536, (12, 10, 5), dtype=np.uint16)


@pytest.fixture
def put(tmp_path):
    return partial(files.put, tmp_path)


def whole(shape, dtype, seed=0):
    """Random whole numbers that every type of 2 bytes or more and float32 hold exactly."""
    kind = np.dtype(dtype)
    high = min(2**11, np.iinfo(kind).max) if kind.kind in "iu" else 2**11
    low = 0 if kind.kind == "u" else -high
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(kind)


# --- types and layouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_type_keeps_its_values(put, dtype, byteorder):
    array = whole((20, 24), dtype)
    ref = put(array, "a.tif", byteorder=byteorder)
    found = read(ref)
    assert found.dtype == STILL.get(np.dtype(dtype), np.float32)
    assert found.dtype.isnative
    assert np.array_equal(found, array)
    assert np.array_equal(found, tifffile.imread(ref.path))
    assert np.array_equal(found, skimage.io.imread(ref.path))
    assert header(ref) == Header(20, 24, 1, found.dtype)


layouts = st.fixed_dictionaries(
    {
        "compression": st.sampled_from([None, "zlib", "lzw", "zstd", "lzma", "packbits"]),
        "predictor": st.booleans(),
        "tile": st.sampled_from([None, (16, 16), (32, 16)]),
        "byteorder": st.sampled_from("<>"),
        "bigtiff": st.booleans(),
        "rowsperstrip": st.sampled_from([None, 3]),
    }
)


@given(layouts, st.sampled_from(TYPES), st.sampled_from(["grey", "rgb", "planes", "five"]), st.integers(1, 40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_layout_keeps_its_values(tmp_path, layout, dtype, kind, width):
    array = whole({"grey": (17, width), "five": (17, width, 5)}.get(kind, (17, width, 3)), dtype, width)
    options = {
        "grey": {"photometric": "minisblack"},
        "rgb": {"photometric": "rgb", "planarconfig": "contig"},
        "planes": {"photometric": "rgb", "planarconfig": "separate"},
        "five": {"photometric": "minisblack", "planarconfig": "contig"},
    }[kind]
    unpredictable = layout["compression"] in (None, "packbits") or dtype in ("int64", "uint64", "float16")
    layout["predictor"] &= not unpredictable
    if layout["tile"]:
        layout["rowsperstrip"] = None
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array.transpose(2, 0, 1) if kind == "planes" else array, **options, **layout)
    found = read(ImageRef(path))
    assert np.array_equal(found, array)
    assert header(ImageRef(path)) == Header(17, width, array.shape[2] if array.ndim == 3 else 1, found.dtype)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize(
    "array",
    [GREY, RGB, whole((20, 24), "uint16"), whole((20, 24), "float32"), whole((20, 24), "int32")],
    ids=["8", "rgb", "16", "float", "int"],
)
def test_what_libtiff_packs_comes_back(put, array, compression, predictor, capfd):
    ref = put(Image.fromarray(array), "a.tif", compression=compression, tiffinfo={317: predictor})
    assert np.array_equal(read(ref), array)
    assert not capfd.readouterr().err


def test_pages_packed_with_lzw(put):
    pictures = [Image.fromarray(page) for page in STACK]
    ref = put(pictures[0], "a.tif", save_all=True, append_images=pictures[1:], compression="tiff_lzw")
    assert pages(ref.path) == 4
    for page in range(4):
        assert np.array_equal(read(ImageRef(ref.path, page)), STACK[page])


LOSSLESS = ["lzw", "zlib", "zstd", "lzma", "packbits", "jpeg2000", "jpegxl", "jpegxr", "webp", "png", "lerc"]


@pytest.mark.parametrize("compression", LOSSLESS)
def test_whatever_it_is_packed_with_it_comes_back(put, compression):
    ref = put(RGB, "a.tif", compression=compression, tile=(16, 16), metadata=None)
    assert np.array_equal(read(ref), RGB)
    assert np.array_equal(
        read_mask(put(np.dstack([MASK] * 3), "b.tif", compression=compression), {0: 0, 255: 1}), MASK > 0
    )


@pytest.mark.parametrize("compression", ["group3", "group4", "packbits", "tiff_lzw"])
def test_1_bit_that_libtiff_packs(put, compression):
    assert np.array_equal(read(put(Image.fromarray(MASK > 0), "a.tif", compression=compression)), MASK)


@pytest.mark.parametrize("bits", [2, 4, 6, 12])
def test_odd_numbers_of_bits_keep_their_values(put, bits):
    levels = whole((20, 24), np.uint16) % 2**bits
    array = levels.astype(np.uint8 if bits < 8 else np.uint16)
    found = read(put(array, "a.tif", bitspersample=bits, photometric="minisblack"))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def changed(path, **tags):
    """Writes other numbers into tags of a file's first page."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name, value in tags.items():
            tiff.pages[0].tags[name].overwrite(value)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits"])
def test_a_last_strip_filled_up_below_the_picture(put, compression):
    """As some writers do; codecs that are told how many bytes to expect take it for damage."""
    filled = np.vstack([GREY, GREY[:1]])
    path = put(filled, "a.tif", compression=compression, rowsperstrip=7, metadata=None).path
    changed(path, ImageLength=20)
    assert np.array_equal(read(ImageRef(path)), GREY)
    changed(path, ImageLength=15)
    assert np.array_equal(read(ImageRef(path)), GREY[:15])


def test_jpeg_inside_is_what_pillow_says_and_no_mask(put):
    smooth = np.add.outer(np.arange(32), np.arange(48))[..., None] * np.array([1, 2, 3], np.uint8)
    ref = put(Image.fromarray(smooth.astype(np.uint8)), "a.tif", compression="jpeg", quality=95)
    with Image.open(ref.path) as picture:
        assert np.abs(read(ref).astype(int) - np.asarray(picture)).max() <= 3  # decoders differ in a level or two
    with pytest.raises(DataError, match=r"mask .*a\.tif is a JPEG") as caught:
        read_mask(ref, {0: 0, 255: 1})
    assert "dataset.mask_threshold" in caught.value.remedy


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_a_mask_that_was_a_jpeg_may_be_thresholded(put, name):
    mask = np.kron(np.arange(12).reshape(3, 4) % 2, np.ones((16, 16), int)).astype(np.uint8)
    options = {"compression": "jpeg"} if name == "a.tif" else {}
    ref = put(Image.fromarray(mask * 255), name, quality=80, **options)
    assert np.array_equal(read_mask(ref, {0: 0, 1: 1}, Labelling(threshold=127)), mask)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["grey", "rgb", "planes", "lzw"])
def test_orientation_is_applied(put, orientation, kind):
    array = GREY if kind in ("grey", "lzw") else RGB
    tag = {"extratags": [(274, "H", 1, orientation, True)]}
    if kind == "lzw":
        picture = Image.fromarray(array)
        ref = put(picture, "a.tif", compression="tiff_lzw", tiffinfo={274: max(1, orientation % 9)})
    elif kind == "planes":
        ref = put(RGB.transpose(2, 0, 1), "a.tif", photometric="rgb", planarconfig="separate", **tag)
    else:
        ref = put(array, "a.tif", **tag)
    exif = Image.Exif()
    exif[274] = orientation
    with Image.open(put(array, "plain.png", exif=exif).path) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(read(ref), upright)
    assert np.array_equal(read(ref), array) == (orientation in (0, 1, 9))
    assert size(ref) == upright.shape[:2]


def test_orientation_of_a_stack(put):
    ref = put(STACK, "a.tif", photometric="minisblack", extratags=[(274, "H", 1, 6, False)])
    assert size(ImageRef(ref.path, 2)) == (10, 12)
    assert np.array_equal(read(ImageRef(ref.path, 2)), np.rot90(STACK[2], -1))


def test_1_bit(put):
    ref = put(MASK > 0, "a.tif", photometric="minisblack")
    assert np.array_equal(read(ref), MASK)
    assert header(ref).dtype == np.uint8
    assert np.array_equal(read_mask(ref, {0: 0, 255: 1}), MASK // 255)


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"ome": True}, {"compression": "zlib"}])
def test_boolean_arrays_of_python(put, options):
    """tifffile stores True as 1, and says that white is 0: every viewer shows it the other way round."""
    ref = put(MASK > 0, "a.tif", **options)
    with tifffile.TiffFile(ref.path) as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
    assert np.array_equal(read(ref), MASK)
    assert np.array_equal(read_mask(ref, {0: 0, 255: 1}), MASK // 255)


@pytest.mark.parametrize("software", ["ImageJ", None])
def test_one_bit_of_which_nobody_says_what_it_means(put, software):
    ref = put(MASK > 0, "a.tif", metadata=None, software=software or False)
    with pytest.raises(DataError, match=r"a\.tif stores its values as MINISWHITE") as caught:
        read(ref)
    assert "tifffile, scikit-image" in caught.value.remedy
    assert "ImageJ" in caught.value.remedy


@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (65535, np.uint16), (1, np.float32)])
def test_an_alpha_channel_may_be_opaque(put, top, dtype):
    colours = whole((20, 24, 3), np.uint8).astype(dtype)
    array = np.dstack([colours, np.full((20, 24), top, dtype)])
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    ref = put(array, "a.tif", **options)
    assert np.array_equal(read(ref), colours)
    assert header(ref).channels == 3
    array[3, 4, 3] = 0
    with pytest.raises(DataError, match=r"a\.tif has transparent pixels") as caught:
        read(put(array, "a.tif", **options))
    declared = ImageRef(ref.path, axes="YXC")
    assert "dataset.axes=YXC" in caught.value.remedy
    assert np.array_equal(read(declared), array)
    assert header(declared).channels == 4
    assert np.array_equal(read(put(array, "a.tif", photometric="rgb", extrasamples=["unspecified"])), array)


# --- values that are not taken ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_whole_numbers_that_float32_would_round_are_refused(put, dtype):
    array = np.zeros((4, 4), dtype)
    array[1, 1] = 2**24
    assert read(put(array, "a.tif"))[1, 1] == 2**24
    array[1, 1] += 1
    with pytest.raises(DataError, match=r"a\.tif holds whole numbers from 0 to 16777217; beyond 16777216") as caught:
        read(put(array, "a.tif"))
    assert "never rescales" in caught.value.remedy
    if dtype == "int64":
        array[1, 1] = -(2**63)
        with pytest.raises(DataError, match="beyond 16777216"):
            read(put(array, "a.tif"))


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, "float32"), (np.inf, "float16"), (1e300, "float64")])
def test_values_that_are_no_numbers_are_refused(put, value, dtype):
    array = np.zeros((4, 4), dtype)
    array[1, 1:3] = value
    with pytest.raises(DataError, match=r"a\.tif holds 2 values that are NaN, infinite"):
        read(put(array, "a.tif"))


def test_float64_is_rounded_to_float32(put):
    assert read(put(np.full((2, 2), 0.1), "a.tif"))[0, 0] == np.float32(0.1)


def test_complex_numbers_are_refused(put):
    with pytest.raises(DataError, match="complex64"):
        read(put(np.zeros((4, 4), np.complex64), "a.tif"))


@pytest.mark.parametrize("photometric", ["miniswhite", "palette", "ycbcr", "separated", "cielab"])
def test_values_that_mean_something_else_are_refused(put, photometric):
    options = {"colormap": np.zeros((3, 256), np.uint16)} if photometric == "palette" else {}
    array = (
        GREY
        if photometric in ("miniswhite", "palette")
        else np.dstack([RGB, GREY])
        if photometric == "separated"
        else RGB
    )
    ref = put(array, "a.tif", photometric=photometric, **options)
    with pytest.raises(DataError, match=rf"a\.tif stores its values as {photometric.upper()}"):
        read(ref)


@pytest.mark.parametrize(("code", "name"), [(34661, "JBIG"), (48124, "JETRAW"), (12345, "12345")])
def test_a_kind_of_packing_that_is_unknown_is_said_to_be_so(put, code, name):
    """Unknown to tifffile; known, but not built into imagecodecs; in no list."""
    ref = put(GREY, "a.tif", compression="zlib")
    changed(ref.path, Compression=code)
    with pytest.raises(
        DataError, match=rf"a\.tif is packed in a way that is not read here: compression {name}"
    ) as caught:
        read(ref)
    assert "damaged" not in str(caught.value)


def test_colours_that_a_scanner_calls_rgb_and_are_none(put):
    """Aperio's JPEG 2000 of code 33003 holds YCbCr."""
    ref = put(RGB, "a.tif", compression="jpeg2000", metadata=None)
    changed(ref.path, Compression=33003)
    with pytest.raises(DataError, match="stores its values as YCBCR"):
        read(ref)


# --- pages, channels, axes -------------------------------------------------------------------------------

ZYX = {"metadata": {"axes": "ZYX"}}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"compression": "zlib"},
        {"tile": (16, 16)},
        {"imagej": True, **ZYX},
        {"imagej": True, "truncate": True, **ZYX},  # one page stands for all, as beyond 4 GB
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, **ZYX},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"byteorder": ">", "metadata": None},
    ],
)
def test_pages_of_a_stack(put, options):
    ref = put(STACK, "stack.tif", photometric="minisblack", **options)
    assert pages(ref.path) == 4
    for page in range(4):
        assert np.array_equal(read(ImageRef(ref.path, page)), STACK[page])
        assert header(ImageRef(ref.path, page)) == Header(12, 10, 1, np.dtype(np.uint8))
    for ask in (read, size):
        with pytest.raises(DataError, match=r"stack\.tif holds 4 pages where one image was expected"):
            ask(ref)
        for wrong in (4, -1):
            with pytest.raises(DataError, match=rf"stack\.tif \(page {wrong}\) cannot be read: .* 4 page"):
                ask(ImageRef(ref.path, wrong))


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bits_behind_one_page(put, byteorder):
    stack = STACK.astype(np.uint16) * 257
    ref = put(stack, "a.tif", imagej=True, truncate=True, byteorder=byteorder, **ZYX)
    found = read(ImageRef(ref.path, 2))
    assert np.array_equal(found, stack[2])
    assert found.dtype == np.uint16
    assert found.dtype.isnative


def test_one_page_is_an_image_with_and_without_a_page(put):
    for array in (GREY, GREY[None]):
        ref = put(array, "a.tif", photometric="minisblack")
        assert pages(ref.path) == 1
        for page in (None, 0):
            assert np.array_equal(read(ImageRef(ref.path, page)), GREY)
            assert np.array_equal(read(ImageRef(ref.path, page, "ZYX")), GREY)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_pages_or_channels_is_asked(put, count):
    ref = put(STACK[:count], "a.tif", photometric="minisblack", metadata=None)
    with pytest.raises(DataError, match=f"{count} pages where one image was expected") as caught:
        read(ref)
    assert "dataset.axes=CYX" in caught.value.remedy
    assert "dataset.axes=ZYX" in caught.value.remedy
    assert np.array_equal(read(ImageRef(ref.path, axes="CYX")), STACK[:count].transpose(1, 2, 0))
    assert header(ImageRef(ref.path, axes="CYX")) == Header(12, 10, count, np.dtype(np.uint8))
    assert pages(ref.path, "CYX") == 1
    assert pages(ref.path, "zyx") == count
    assert np.array_equal(read(ImageRef(ref.path, 1, "ZYX")), STACK[1])


def test_channels_last_that_were_written_as_pages(put):
    ref = put(FIVE, "a.tif", photometric="minisblack", planarconfig=None)
    with pytest.raises(DataError, match="holds 12 pages"):
        read(ref)
    assert np.array_equal(read(ImageRef(ref.path, axes="YXC")), FIVE)
    assert np.array_equal(read(ImageRef(ref.path, 3, "YXZ")), FIVE[..., 3])
    assert pages(ref.path, "YXZ") == 5


@pytest.mark.parametrize("kind", ["imagej", "ome"])
@pytest.mark.parametrize("paged", "ZT")
def test_stacks_of_channels(put, kind, paged):
    array = RNG.integers(0, 65536, (4, 3, 12, 10), dtype=np.uint16)
    ref = put(array, "a.tif", photometric="minisblack", metadata={"axes": f"{paged}CYX"}, **{kind: True})
    assert pages(ref.path) == 4
    for page in range(4):
        assert np.array_equal(read(ImageRef(ref.path, page)), array[page].transpose(1, 2, 0))
    assert header(ImageRef(ref.path, 1)) == Header(12, 10, 3, np.dtype(np.uint16))


def test_channels_before_pages(put):
    array = RNG.integers(0, 256, (3, 4, 12, 10), dtype=np.uint8)
    ref = put(array, "a.tif", photometric="minisblack", ome=True, metadata={"axes": "CZYX"})
    assert pages(ref.path) == 4
    assert np.array_equal(read(ImageRef(ref.path, 1)), array[:, 1].transpose(1, 2, 0))


def test_a_stack_of_colours(put):
    array = RNG.integers(0, 256, (4, 12, 10, 3), dtype=np.uint8)
    for options in (
        {},
        {"metadata": None},
        *({kind: True, "metadata": {"axes": "ZYXS"}} for kind in ("imagej", "ome")),
    ):
        ref = put(array, "a.tif", photometric="rgb", **options)
        assert pages(ref.path) == 4
        assert np.array_equal(read(ImageRef(ref.path, 2)), array[2])
        assert np.array_equal(read(ImageRef(ref.path, 2, "ZYXS")), array[2])
        with pytest.raises(DataError, match=r"has the axes .*YXS \(4 x 12 x 10 x 3\), which are not ZYX"):
            read(ImageRef(ref.path, 2, "ZYX"))


def test_channels_of_a_file_that_names_them(put):
    for options in ({"imagej": True}, {"ome": True}):
        ref = put(STACK, "a.tif", photometric="minisblack", metadata={"axes": "CYX"}, **options)
        assert pages(ref.path) == 1
        assert np.array_equal(read(ref), STACK.transpose(1, 2, 0))
        with pytest.raises(DataError, match=r"holds 1 page\(s\)") as caught:
            read(ImageRef(ref.path, 2))
        assert "dataset.axes=ZYX" in caught.value.remedy
        assert np.array_equal(read(ImageRef(ref.path, 2, "ZYX")), STACK[2])


def test_more_axes_than_a_row_of_pictures_has(put):
    array = np.zeros((2, 4, 12, 10), np.uint8)
    ome = {"ome": True, "metadata": {"axes": "TZYX"}, "photometric": "minisblack"}
    for options in (ome, {"photometric": "minisblack"}):
        path = put(array, "a.tif", **options).path
        for ask in (lambda p=path: pages(p), lambda p=path: read(ImageRef(p, 1)), lambda p=path: size(ImageRef(p, 1))):
            with pytest.raises(DataError, match=r"a\.tif has the axes .* \(2 x 4 x 12 x 10\); it takes height"):
                ask()
    assert pages(path, "CZYX") == 4
    rgb = put(np.zeros((2, 12, 10, 3), np.uint8), "b.tif", imagej=True, metadata={"axes": "CYXS"})
    with pytest.raises(DataError, match="CYXS"):
        read(rgb)


@pytest.mark.parametrize("axes", ["", "ZY", "QYX", "ZZYX", "YYX", "hello"])
def test_axes_that_are_none(put, axes):
    ref = put(STACK, "a.tif", photometric="minisblack")
    with pytest.raises(DataError, match=f"'{axes}' are no axes"):
        read(ImageRef(ref.path, 0, axes))


def test_axes_that_do_not_fit(put):
    ref = put(STACK, "a.tif", photometric="minisblack")
    with pytest.raises(DataError, match=r"\?YX \(4 x 12 x 10\), which are not TZYX"):
        pages(ref.path, "TZYX")


def test_pages_written_one_by_one(put):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in STACK:
            writer.write(page)
    ref = put(buffer.getvalue(), "a.tif")
    assert pages(ref.path) == 4
    assert np.array_equal(read(ImageRef(ref.path, 3)), STACK[3])
    assert np.array_equal(read(ImageRef(ref.path, axes="CYX")), STACK.transpose(1, 2, 0))


def test_pages_that_differ(put):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in (GREY, RGB, GREY[:9].astype(np.uint16)):
            writer.write(page, metadata=None)
    ref = put(buffer.getvalue(), "a.tif")
    assert pages(ref.path) == 3
    assert np.array_equal(read(ImageRef(ref.path, 0)), GREY)
    assert np.array_equal(read(ImageRef(ref.path, 1)), RGB)
    assert np.array_equal(read(ImageRef(ref.path, 2)), GREY[:9])
    assert header(ImageRef(ref.path, 2)) == Header(9, 24, 1, np.dtype(np.uint16))


@pytest.mark.parametrize("other", [GREY.T, GREY.astype(np.uint16), RGB])
def test_pages_that_differ_are_no_channels(put, other):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in (GREY, other):
            writer.write(page, metadata=None)
    ref = put(buffer.getvalue(), "a.tif")
    assert np.array_equal(read(ImageRef(ref.path, 1)), other)
    with pytest.raises(DataError, match="differ in size or type"):
        read(ImageRef(ref.path, axes="CYX"))


def test_an_imagej_stack_whose_pages_differ_is_refused(put):
    """tifffile takes the first page's word for all."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        described = "ImageJ=1.54f\nimages=2\nslices=2\n"
        writer.write(GREY, metadata=None, description=described)
        writer.write(GREY[:, :12], metadata=None)
    ref = put(buffer.getvalue(), "a.tif")
    for page in range(2):
        with pytest.raises(DataError, match=r"a\.tif"):
            read(ImageRef(ref.path, page))


@pytest.mark.parametrize("subifds", [True, False])
@pytest.mark.parametrize("flagged", [True, False])
def test_the_base_of_a_pyramid(put, subifds, flagged):
    base = RNG.integers(0, 256, (256, 192, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(base, tile=(64, 64), metadata=None, **({"subifds": 2} if subifds else {}))
        for level in (2, 4):
            writer.write(base[::level, ::level], tile=(64, 64), metadata=None, subfiletype=int(flagged))
    ref = put(buffer.getvalue(), "a.tif")
    assert pages(ref.path) == 1
    assert size(ref) == (256, 192)
    assert np.array_equal(read(ref), base)


def test_a_thumbnail_is_no_page(put):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in STACK:
            writer.write(page, metadata=None, photometric="minisblack")
        writer.write(STACK[0, ::5, ::5], metadata=None, subfiletype=1)
    ref = put(buffer.getvalue(), "a.tif")
    assert pages(ref.path) == 4
    assert np.array_equal(read(ImageRef(ref.path, 3)), STACK[3])


@pytest.mark.parametrize("code", [270, 305, 296, 65000])
def test_odd_remarks_do_not_make_a_file_unsound(put, code):
    ref = put(GREY, "a.tif", extratags=[(code, 2, 9, b"\x81\x8d\x8f\x90\x9d1234", True)], metadata=None)
    assert np.array_equal(read(ref), GREY)


def test_a_file_of_an_ome_set_is_a_picture_of_its_own(put):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0">'
        '<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="24" SizeY="20" SizeZ="2" SizeC="1" SizeT="1">'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="b.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    ref = put(GREY, "a.tif", description=xml, metadata=None)
    for other in (False, True):
        assert pages(ref.path) == 1
        assert np.array_equal(read(ref), GREY)
        if not other:
            put(255 - GREY, "b.tif", metadata=None)


def test_several_images_of_several_planes(put):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True) as writer:
        for _ in range(2):
            writer.write(STACK, metadata={"axes": "CYX"}, photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif holds 2 images of several planes each"):
        read(put(buffer.getvalue(), "a.tif"))


# --- damaged files ---------------------------------------------------------------------------------------


def encoded(array, **options):
    buffer = io.BytesIO()
    if "compression" in options and options["compression"].startswith("tiff_"):
        pictures = [Image.fromarray(page) for page in array]
        pictures[0].save(buffer, "TIFF", save_all=True, append_images=pictures[1:], **options)
    else:
        tifffile.imwrite(buffer, array, photometric="minisblack", **options)
    return buffer.getvalue()


STACKS = {
    "stack.tif": encoded(STACK),
    "plain.tif": encoded(STACK, metadata=None),
    "zlib.tif": encoded(STACK, compression="zlib"),
    "lzw.tif": encoded(STACK, compression="tiff_lzw"),
    "imagej.tif": encoded(STACK, imagej=True, **ZYX),
    "virtual.tif": encoded(STACK, imagej=True, truncate=True, **ZYX),
    "ome.tif": encoded(STACK, ome=True, **ZYX),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_cut_off_is_read_whole_or_refused(put, name, caplog, capfd):
    warnings.simplefilter("ignore")  # Pillow's, about the last bytes
    for length in cuts(len(STACKS[name])):
        path = put(STACKS[name][:length], name).path
        found = attempt(lambda path=path: [read(ImageRef(path, page)) for page in range(pages(path))])
        if isinstance(found, DataError):
            assert str(path) in found.problem
        else:
            assert np.array_equal(found, STACK), f"wrong pages from the first {length} bytes"
    assert not caplog.records  # what decoders log would stand above the error
    assert name == "lzw.tif" or not capfd.readouterr().err  # libtiff speaks of the last bytes, even where it needs none


@pytest.mark.parametrize("compression", [*LOSSLESS, "jpeg"])
def test_packed_pixels_that_were_cut_off_are_never_made_up(put, tmp_path, compression):
    """Some codecs (JPEG, LZW, JPEG XR) go on without a word where their bytes end."""
    smooth = np.add.outer(np.arange(32), np.arange(48))[..., None] * np.array([1, 2, 3])
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, smooth.astype(np.uint8), compression=compression, rowsperstrip=16, metadata=None)
    content = buffer.getvalue()
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        *_, (start, count) = zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True)
    assert read(put(content, "a.tif")).shape == (32, 48, 3)
    changed(put(content, "b.tif").path, ImageLength=2**24)
    with pytest.raises(DataError, match=r"b\.tif cannot be read as an image"):
        read(ImageRef(tmp_path / "b.tif"))
    for length in {start + count - 1, start + count - 3, start + count // 2, start + 1, start - 5}:
        with pytest.raises(DataError, match=r"a\.tif cannot be read as an image"):
            read(put(content[:length], "a.tif"))


def test_pages_that_were_cut_off_are_said_to_be_damage(put):
    whole_file = encoded(STACK, metadata=None)
    with tifffile.TiffFile(put(whole_file, "a.tif").path) as tiff:
        second = tiff.pages[1].offset
    ref = put(whole_file[: second + 40], "a.tif")
    with pytest.raises(DataError, match=r"a\.tif cannot be read as an image") as caught:
        read(ImageRef(ref.path, 3))
    assert "truncated" in caught.value.remedy


@given(st.sampled_from(sorted(STACKS)), st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_ends_in_pixels_or_in_an_error_that_names_the_file(tmp_path, name, place, value):
    data = bytearray(STACKS[name])
    data[place % len(data)] = value
    path = tmp_path / name
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata
        found = attempt(lambda: [read(ImageRef(path, page)).shape for page in range(min(pages(path), 9))])
    if isinstance(found, DataError):
        assert str(path) in found.problem


# --- real files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train-volume", "train-labels", "test-volume"])
def test_sections_of_the_em_volumes(lamella_data, name):
    path = lamella_data / "em" / f"{name}.tif"
    whole_volume = tifffile.imread(path)
    assert pages(path) == len(whole_volume) == 30
    for page in (0, 1, 29):
        assert np.array_equal(read(ImageRef(path, page)), whole_volume[page])
        assert header(ImageRef(path, page)) == Header(512, 512, 1, np.dtype(np.uint8))
