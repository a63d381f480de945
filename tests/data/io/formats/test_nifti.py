"""NIfTI: x, y, z in this order, a section a page, and the file's own scaling and units."""

import nibabel
import numpy as np
import pytest

from lamella.data.io.read import Header, header, pages, read, spacing_nm
from lamella.data.types import ImageRef
from lamella.errors import DataError

VOLUME = np.random.default_rng(1).integers(0, 2000, (24, 20, 6)).astype(np.int16)  # x, y, z


@pytest.fixture
def put(tmp_path):
    def save(array, name="a.nii.gz", zooms=None, unit=None, scaling=None):
        image = nibabel.Nifti1Image(array, np.eye(4))
        if zooms:
            image.header.set_zooms(zooms)
        if unit:
            image.header.set_xyzt_units(unit)
        if scaling:
            image.header.set_slope_inter(*scaling)
        nibabel.save(image, tmp_path / name)
        return ImageRef(tmp_path / name)

    return save


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_sections_along_z(put, name):
    ref = put(VOLUME, name)
    assert pages(ref.path) == 6
    found = read(ImageRef(ref.path, 2))
    assert np.array_equal(found, VOLUME[:, :, 2].T)
    assert header(ImageRef(ref.path, 2)) == Header(20, 24, 1, np.dtype(np.float32))
    assert np.array_equal(read(put(VOLUME[:, :, :1], name)), VOLUME[:, :, 0].T)
    assert np.array_equal(read(put(VOLUME[:, :, 0].astype(np.uint8), name)), VOLUME[:, :, 0].T.astype(np.uint8))
    with pytest.raises(DataError, match="holds 6 pages"):
        read(put(VOLUME, name))


def test_time(put):
    films = np.stack([VOLUME[:, :, :1], VOLUME[:, :, 1:2]], axis=3)
    ref = put(films)
    assert pages(ref.path) == 2
    assert np.array_equal(read(ImageRef(ref.path, 1)), VOLUME[:, :, 1].T)
    with pytest.raises(DataError, match=r"has the axes XYZT \(24 x 20 x 6 x 2\)"):
        pages(put(np.stack([VOLUME, VOLUME], axis=3)).path)


def test_values_are_as_the_file_scales_them(put):
    ref = put(VOLUME, scaling=(0.5, 3))
    with_scale = nibabel.load(ref.path)
    assert np.array_equal(read(ImageRef(ref.path, 0)), np.asarray(with_scale.dataobj)[:, :, 0].T.astype(np.float32))
    assert header(ImageRef(ref.path, 0)).dtype == read(ImageRef(ref.path, 0)).dtype


@pytest.mark.parametrize(
    ("unit", "expected"), [("mm", (3e6, 2e6)), ("micron", (3e3, 2e3)), ("meter", (3e9, 2e9)), (None, None)]
)
def test_spacing(put, unit, expected):
    assert spacing_nm(put(VOLUME, zooms=(2, 3, 5), unit=unit)) == expected


def test_what_is_none(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_bytes(b"no NIfTI at all")
        with pytest.raises(DataError, match=f"{name} cannot be read as an image"):
            read(ImageRef(tmp_path / name))
        with pytest.raises(DataError, match="is missing"):
            read(ImageRef(tmp_path / f"b{name}"))
