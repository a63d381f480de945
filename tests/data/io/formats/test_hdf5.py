"""HDF5: found by name or alone, with the axes and the spacing that its writer noted."""

import json

import h5py
import numpy as np
import pytest

from lamella.data.io.read import Header, header, located, pages, read, read_mask, spacing_nm
from lamella.data.types import ImageRef
from lamella.errors import DataError
from support.files import GREY, MASK, RGB

STACK = np.random.default_rng(1).integers(0, 65536, (6, 20, 24), dtype=np.uint16)


@pytest.fixture
def put(tmp_path):
    def save(name="a.h5", **arrays):
        with h5py.File(tmp_path / name, "w") as file:
            for place, array in arrays.items():
                file.create_dataset(
                    place.replace("__", "/"), data=array, compression="gzip" if np.ndim(array) else None
                )
        return ImageRef(tmp_path / name)

    return save


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.HDF"])
def test_the_only_array(put, name):
    ref = put(name, volume__raw=STACK, note=3, table=np.arange(4))
    assert pages(ref.path) == 6
    assert np.array_equal(read(ImageRef(ref.path, 4)), STACK[4])
    assert header(ImageRef(ref.path, 4)) == Header(20, 24, 1, np.dtype(np.uint16))


def test_several_are_listed_ready_to_copy(put):
    ref = put(volume__raw=GREY, volume__labels=MASK)
    with pytest.raises(DataError, match=r"a\.h5 holds 2 arrays; which is meant is not said") as caught:
        header(ref)
    assert f"{ref.path}:/volume/raw  (20 x 24, uint8)" in caught.value.remedy
    for spelt in ("/volume/labels", "volume/labels"):
        path, inside = located(f"{ref.path}:{spelt}")
        assert np.array_equal(read_mask(ImageRef(path, inside=inside), {0: 0, 255: 1}), MASK > 0)
    with pytest.raises(DataError, match="holds no array '/volume/label'"):
        read(ImageRef(ref.path, inside="/volume/label"))


def test_none(put):
    with pytest.raises(DataError, match=r"a\.h5 holds no array of pixels"):
        read(put(table=np.arange(4)))


def test_axes_as_ilastik_notes_them(put):
    ref = put(exported_data=STACK[..., None].transpose(1, 2, 0, 3))
    with h5py.File(ref.path, "r+") as file:
        tags = {"axes": [{"key": key, "typeFlags": 2, "resolution": 0} for key in "yxzc"]}
        file["exported_data"].attrs["axistags"] = json.dumps(tags)
    assert pages(ref.path) == 6
    assert np.array_equal(read(ImageRef(ref.path, 4)), STACK[4])


def test_axes_by_labels_of_dimensions(put):
    ref = put(a=RGB.transpose(2, 0, 1))
    with pytest.raises(DataError, match="does not say which axis is which"):
        read(ref)
    with h5py.File(ref.path, "r+") as file:
        for dimension, label in zip(file["a"].dims, "cyx", strict=True):
            dimension.label = label
    assert np.array_equal(read(ref), RGB)
    assert np.array_equal(read(ImageRef(ref.path, 1, "ZYX")), RGB[..., 1])  # its owner knows better


def test_spacing(put):
    ref = put(a=STACK)
    assert spacing_nm(ref) is None
    with h5py.File(ref.path, "r+") as file:
        file["a"].attrs["element_size_um"] = [0.05, 0.004, 0.008]
    assert spacing_nm(ref) == pytest.approx((4, 8), rel=1e-12)


def test_what_is_none_by_its_content(put, tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"a\.h5 cannot be read as an image"):
        read(ImageRef(tmp_path / "a.h5"))
    with pytest.raises(DataError, match=r"b\.h5 is missing"):
        read(ImageRef(tmp_path / "b.h5"))
    ref = put(a=GREY)
    ref.path.rename(tmp_path / "c.tif")
    with pytest.raises(DataError, match=r"c\.tif is HDF5 by its content") as caught:
        read(ImageRef(tmp_path / "c.tif"))
    assert "c.h5" in caught.value.remedy
