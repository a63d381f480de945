"""Zarr of both versions, and OME-Zarr: the base level, with the axes and the spacing it notes."""

import sys

import numpy as np
import pytest

from lamella.data.cache.facts import Facts
from lamella.data.io.read import Header, header, located, pages, read, read_mask, spacing_nm
from lamella.data.types import ImageRef
from lamella.errors import DataError
from support.files import GREY, MASK, RGB

zarr = pytest.importorskip("zarr")

STACK = np.random.default_rng(1).integers(0, 65536, (6, 20, 24), dtype=np.uint16)


def save(path, array, name=None, version=3, **more):
    node = zarr.open_group(str(path), mode="a", zarr_format=version) if name else None
    where = {"store": str(path)} if node is None else {"store": node.store, "name": name}
    made = zarr.create_array(
        **where, shape=array.shape, dtype=array.dtype, chunks=tuple(min(16, n) for n in array.shape),
        zarr_format=version, **more,
    )  # fmt: skip
    made[...] = array
    return ImageRef(path)


@pytest.mark.parametrize("version", [2, 3])
def test_an_array(tmp_path, version):
    ref = save(tmp_path / "a.zarr", STACK, version=version)
    assert pages(ref.path) == 6
    assert np.array_equal(read(ImageRef(ref.path, 4)), STACK[4])
    assert header(ImageRef(ref.path, 4)) == Header(20, 24, 1, np.dtype(np.uint16))
    assert spacing_nm(ref) is None
    assert len(Facts(tmp_path / "facts").sha256(ref.path)) == 64


@pytest.mark.parametrize("version", [2, 3])
def test_arrays_by_name(tmp_path, version):
    path = tmp_path / "a.zarr"
    ref = save(path, GREY, "volume/raw", version)
    assert np.array_equal(read(ref), GREY)  # as long as it is the only one
    save(path, MASK, "volume/labels", version)
    with pytest.raises(DataError, match=r"a\.zarr holds 2 arrays") as caught:
        read(ref)
    assert f"{path}:/volume/labels  (20 x 24, uint8)" in caught.value.remedy
    where, inside = located(f"{path}:/volume/labels")
    assert np.array_equal(read_mask(ImageRef(where, inside=inside), {0: 0, 255: 1}), MASK > 0)
    with pytest.raises(DataError, match="holds no array '/volume/label'"):
        read(ImageRef(path, inside="/volume/label"))


@pytest.mark.parametrize("version", [2, 3])
def test_named_axes(tmp_path, version):
    names = ["c", "y", "x"]
    noted = {"dimension_names": names} if version == 3 else {"attributes": {"_ARRAY_DIMENSIONS": names}}
    ref = save(tmp_path / "a.zarr", RGB.transpose(2, 0, 1), version=version, **noted)
    assert np.array_equal(read(ref), RGB)


def ome(path, array, axes, scale, version, unit="micrometer", name=""):
    prefix = f"{name}/" if name else ""
    save(path, array, f"{prefix}0", version)
    save(path, array[..., ::2, ::2], f"{prefix}1", version)
    kinds = {"c": "channel", "t": "time"}
    notes = {
        "axes": [
            {"name": axis, "type": kinds.get(axis, "space"), **({"unit": unit} if axis in "zyx" and unit else {})}
            for axis in axes
        ],
        "datasets": [
            {"path": level, "coordinateTransformations": [{"type": "scale", "scale": [s * factor for s in scale]}]}
            for level, factor in (("0", 1), ("1", 2))
        ],
    }
    group = zarr.open_group(str(path), mode="a", zarr_format=version)
    group = group[name] if name else group
    notes["version"] = "0.4" if version == 2 else "0.5"
    group.attrs.update({"multiscales": [notes]} if version == 2 else {"ome": {"multiscales": [notes]}})
    return ImageRef(path)


@pytest.mark.parametrize("version", [2, 3])
def test_the_base_level_of_ome_zarr(tmp_path, version):
    path = tmp_path / "a.ome.zarr"
    array = STACK.reshape(1, 2, 3, 20, 24)
    ref = ome(path, array, "tczyx", [1, 1, 0.5, 0.004, 0.008], version)
    assert pages(path) == 3
    assert np.array_equal(read(ImageRef(path, 1)), array[0, :, 1].transpose(1, 2, 0))
    assert header(ImageRef(path, 1)) == Header(20, 24, 2, np.dtype(np.uint16))
    assert spacing_nm(ref) == pytest.approx((4, 8))
    labels = (STACK[:3] % 3).reshape(1, 1, 3, 20, 24)
    ome(path, labels, "tczyx", [1, 1, 0.5, 0.004, 0.008], version, name="labels/cells")
    assert np.array_equal(read(ImageRef(path, 1)), array[0, :, 1].transpose(1, 2, 0))
    assert np.array_equal(read(ImageRef(path, 1, inside="labels/cells")), labels[0, 0, 1])


def test_spacing_without_a_unit_is_none(tmp_path):
    assert spacing_nm(ome(tmp_path / "a.zarr", STACK, "zyx", [1, 1, 1], 3, unit=None)) is None


def test_a_store_of_one_series(tmp_path):
    path = tmp_path / "a.zarr"
    ome(path, STACK, "zyx", [1, 4, 8], 2, "nanometer", name="0")
    zarr.open_group(str(path), mode="a").attrs["bioformats2raw.layout"] = 3
    assert pages(path) == 6
    assert spacing_nm(ImageRef(path, 0)) == (4, 8)


def test_without_the_package(tmp_path, monkeypatch):
    ref = save(tmp_path / "a.zarr", STACK)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DataError, match="is not installed") as caught:
        read(ref)
    assert "pip install 'lamella[zarr]'" in caught.value.remedy


def test_what_is_none(tmp_path):
    with pytest.raises(DataError, match=r"a\.zarr is missing"):
        read(ImageRef(tmp_path / "a.zarr"))
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(DataError, match=r"a\.zarr cannot be read as an image"):
        read(ImageRef(tmp_path / "a.zarr"))
