"""MRC: upright, bytes with and without a sign, spacing in angstroms."""

import struct

import mrcfile
import numpy as np
import pytest

from lamella.data.io.read import Header, header, pages, read, spacing_nm
from lamella.data.types import ImageRef
from lamella.errors import DataError

VOLUME = np.random.default_rng(1).integers(-2000, 2000, (6, 20, 24)).astype(np.int16)


@pytest.fixture
def put(tmp_path):
    def save(array, name="a.mrc", voxel=None):
        with mrcfile.new(tmp_path / name, array) as file:
            if voxel:
                file.voxel_size = voxel
        return ImageRef(tmp_path / name)

    return save


@pytest.mark.parametrize("name", ["a.mrc", "a.rec", "a.map"])
def test_sections_upright(put, name):
    """Rows are stored from the bottom up, as IMOD and ImageJ know."""
    ref = put(VOLUME, name)
    assert pages(ref.path) == 6
    assert np.array_equal(read(ImageRef(ref.path, 2)), VOLUME[2, ::-1])
    assert header(ImageRef(ref.path, 2)) == Header(20, 24, 1, np.dtype(np.float32))
    one = put(VOLUME[0].astype(np.uint16), f"one{name}")
    assert np.array_equal(read(one), VOLUME[0, ::-1].astype(np.uint16))


@pytest.mark.parametrize(
    ("stamp", "flags", "version", "maximum", "signed"),
    [
        (1146047817, 1, 20140, 127, True),
        (1146047817, 0, 20140, 127, False),
        (0, 0, 20140, 255, True),  # the standard's word
        (0, 0, 0, 255, False),  # before there was one
        (0, 0, 0, 127, True),
    ],
)
def test_bytes_with_and_without_a_sign(put, stamp, flags, version, maximum, signed):
    levels = np.arange(-128, 112, dtype=np.int8).reshape(10, 24)
    ref = put(levels)
    content = bytearray(ref.path.read_bytes())
    content[152:160] = struct.pack("<iI", stamp, flags)
    content[108:112] = struct.pack("<i", version)
    content[76:84] = struct.pack("<ff", 0, maximum)
    ref.path.write_bytes(content)
    assert np.array_equal(read(ref), (levels if signed else levels.view(np.uint8))[::-1])
    assert header(ref).dtype == read(ref).dtype


def test_spacing(put):
    assert spacing_nm(put(VOLUME, voxel=(80, 40, 500))) == pytest.approx((4, 8))  # x, y, z in angstroms
    assert spacing_nm(put(VOLUME, "b.mrc", voxel=1)) is None  # what is written where nobody knows
    assert spacing_nm(put(VOLUME, "c.mrc")) is None


def test_what_is_none(put, tmp_path):
    (tmp_path / "a.mrc").write_bytes(b"no MRC" * 400)
    with pytest.raises(DataError, match=r"a\.mrc cannot be read as an image"):
        read(ImageRef(tmp_path / "a.mrc"))
    ref = put(VOLUME, "b.mrc")
    ref.path.write_bytes(ref.path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"b\.mrc cannot be read as an image"):
        read(ImageRef(ref.path, 0))
