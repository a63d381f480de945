"""The size of a pixel in the dialects of TIFF, by hand."""

from functools import partial

import pytest

from lamella.data.io.read import spacing_nm
from support import files
from support.files import GREY


@pytest.fixture
def put(tmp_path):
    return partial(files.put, tmp_path)


# An image of 20 x 24 with (columns, rows) a unit -> (height, width) of a pixel in nanometres.
@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("um", (4, 2), (500, 250)),
        ("\\u00B5m", (4, 2), (500, 250)),
        ("micron", (10, 10), (100, 100)),
        ("microns", (10, 10), (100, 100)),
        ("nm", (0.25, 0.25), (4, 4)),
        ("mm", (2000, 2000), (500, 500)),
        ("cm", (20000, 20000), (500, 500)),
        ("inch", (25400, 25400), (1000, 1000)),
        ("inch", (72, 72), None),
        ("um", (1, 1), None),  # what is written where only the distance of sections was given
        ("pixel", (2, 2), None),
        ("", (2, 2), None),
    ],
)
def test_imagej(put, unit, per_unit, expected):
    ref = put(GREY, "a.tif", imagej=True, resolution=per_unit, metadata={"unit": unit} if unit else {})
    assert spacing_nm(ref) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}, (500, 250)),
        ({"PhysicalSizeX": 4, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 5, "PhysicalSizeYUnit": "nm"}, (5, 4)),
        ({"PhysicalSizeX": 40, "PhysicalSizeXUnit": "Å", "PhysicalSizeY": 40, "PhysicalSizeYUnit": "Å"}, (4, 4)),
        ({"PhysicalSizeX": 4, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 5, "PhysicalSizeYUnit": "pixel"}, None),
        ({"PhysicalSizeX": 0.25}, None),
        ({}, None),
    ],
)
def test_ome(put, more, expected):
    ref = put(GREY, "a.ome.tif", ome=True, metadata={"axes": "YX", **more})
    assert spacing_nm(ref) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("CENTIMETER", (20000, 40000), (250, 500)),
        ("INCH", (50800, 50800), (500, 500)),
        ("MICROMETER", (4, 4), (250, 250)),
        ("NONE", (20000, 20000), None),
        *[("INCH", (dots, dots), None) for dots in (1, 72, 96, 100, 150, 300, 600, 1200, 2400)],
        *[("CENTIMETER", (dots, dots), None) for dots in (1, 28.35, 37.8, 118.11, 236.22)],
    ],
)
def test_the_tags_that_every_tiff_may_have(put, unit, per_unit, expected):
    ref = put(GREY, "a.tif", resolution=per_unit, resolutionunit=unit, metadata=None)
    assert spacing_nm(ref) == (expected if expected is None else pytest.approx(expected))


def test_none(put):
    assert spacing_nm(put(GREY, "a.tif", metadata=None)) is None
    for name in ("a.png", "a.jpg", "a.bmp"):
        assert spacing_nm(put(GREY, name, dpi=(25400, 25400))) is None


def test_a_picture_that_was_turned(put):
    tag = [(274, "H", 1, 6, True)]
    ref = put(GREY, "a.tif", resolution=(20000, 40000), resolutionunit="CENTIMETER", metadata=None, extratags=tag)
    assert spacing_nm(ref) == pytest.approx((500, 250))


def test_a_slide_of_aperio(put):
    said = "Aperio Image Library v11.2.1 \r\n24x20 |AppMag = 20|MPP = 0.4990"
    assert spacing_nm(put(GREY, "a.tif", description=said, metadata=None)) == pytest.approx((499, 499))


def test_an_electron_microscope_of_fei(put):
    said = b"[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=5e-009\r\nPixelHeight=4e-009\r\n"
    ref = put(GREY, "a.tif", extratags=[(34682, 2, len(said) + 1, said + b"\0", True)], metadata=None)
    assert spacing_nm(ref) == pytest.approx((4, 5))


def test_an_electron_microscope_of_zeiss(put):
    said = "0\r\n0\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.25 nm\r\n".encode("cp1252")
    ref = put(GREY, "a.tif", extratags=[(34118, 2, len(said) + 1, said + b"\0", True)], metadata=None)
    assert spacing_nm(ref) == pytest.approx((5.25, 5.25))
