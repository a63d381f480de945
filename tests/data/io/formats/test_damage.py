"""A changed byte in a file of any format ends in pixels or in an error that names the file, never in a traceback."""

import io
import zipfile

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.data.io.read import header, pages, read, spacing_nm
from lamella.data.types import ImageRef
from lamella.errors import DataError
from support.files import GREY, attempt

STACK = np.stack([GREY, GREY[::-1]] * 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "a.npy", STACK)
    np.savez_compressed(folder / "a.npz", raw=STACK)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("raw", data=STACK, compression="gzip", chunks=(1, 20, 24))
    nibabel.save(nibabel.Nifti1Image(STACK.T, np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(STACK.T, np.eye(4)), folder / "a.nii.gz")
    with mrcfile.new(folder / "a.mrc", STACK.astype(np.int16)):
        pass
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(
    st.sampled_from(["a.npy", "a.npz", "a.h5", "a.nii", "a.nii.gz", "a.mrc"]),
    st.floats(0, 1, exclude_max=True),
    st.booleans(),
    st.integers(1, 255),
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte(whole, tmp_path, name, place, near, change):
    data = bytearray(whole[name])
    data[int(place * min(len(data), 400 if near else len(data)))] ^= change
    path = tmp_path / name
    path.write_bytes(data)
    for ask in (
        lambda: header(ImageRef(path, 0)),
        lambda: spacing_nm(ImageRef(path, 0)),
        lambda: [read(ImageRef(path, page)).shape for page in range(min(pages(path), 7))],
    ):
        found = attempt(ask)
        if isinstance(found, DataError):
            assert str(path) in found.problem


def test_an_archive_is_not_believed_that_promises_too_much(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<u8", "fortran_order": False, "shape": (2**24, 2**24)})
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", buffer.getvalue())
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=name):
            read(ImageRef(tmp_path / name, axes="YX"))
