"""NumPy's files: every type and every shape that is plain, and both ways to say what is not."""

import numpy as np
import pytest

from lamella.data.io.read import Header, header, located, mask_values, pages, read, read_image, read_mask, spacing_nm
from lamella.data.types import ImageRef
from lamella.errors import DataError
from support.files import GREY, MASK, RGB, attempt, cuts

STACK = np.random.default_rng(1).integers(0, 256, (6, 20, 24), dtype=np.uint8)


@pytest.fixture
def put(tmp_path):
    def save(array, name="a.npy", **more):
        if name.endswith(".npz"):
            np.savez_compressed(tmp_path / name, **array)
        else:
            np.save(tmp_path / name, array, **more)
        return ImageRef(tmp_path / name)

    return save


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "uint16", "int16", "int32", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_keeps_its_values(put, dtype, order):
    array = np.asarray(GREY % 2 if dtype == "bool" else GREY, dtype, order=order)
    ref = put(array)
    found = read(ref)
    plain = {"uint8": np.uint8, ">u2": np.uint16, "uint16": np.uint16, "bool": np.uint8}.get(dtype, np.float32)
    assert found.dtype == plain
    assert np.array_equal(found, GREY % 2 * 255 if dtype == "bool" else GREY)
    assert found.flags.c_contiguous
    assert header(ref) == Header(20, 24, 1, np.dtype(plain))
    assert pages(ref.path) == 1
    assert spacing_nm(ref) is None


def test_masks(put):
    assert np.array_equal(read_mask(put(MASK > 0), {0: 0, 255: 1}), MASK > 0)
    ids = GREY.astype(np.int32) * 300
    assert mask_values(put(ids)) == dict(
        zip(*(each.tolist() for each in np.unique(ids, return_counts=True)), strict=True)
    )


@pytest.mark.parametrize("shape", [(1, 20, 24), (20, 24, 1), (1, 20, 24, 1), (1, 1, 20, 24)])
def test_axes_of_length_1_are_none(put, shape):
    ref = put(GREY.reshape(shape))
    assert np.array_equal(read(ref), GREY)
    assert pages(ref.path) == 1


def test_colours_come_last(put):
    ref = put(RGB)
    assert np.array_equal(read(ref), RGB)
    assert header(ref) == Header(20, 24, 3, np.dtype(np.uint8))
    stack = put(np.stack([RGB, RGB[::-1]] * 3))
    assert pages(stack.path) == 6
    assert np.array_equal(read(ImageRef(stack.path, 1)), RGB[::-1])


def test_pages_of_a_stack(put):
    ref = put(STACK)
    assert pages(ref.path) == 6
    for page in range(6):
        assert np.array_equal(read(ImageRef(ref.path, page)), STACK[page])
    with pytest.raises(DataError, match=r"a\.npy holds 6 pages where one image was expected"):
        read(ref)
    with pytest.raises(DataError, match=r"a\.npy \(page 6\) cannot be read: the file holds 6 page"):
        read(ImageRef(ref.path, 6))


@pytest.mark.parametrize(
    ("shape", "ways"),
    [
        ((3, 20, 24), ["ZYX", "CYX"]),  # three sections, or three channels
        ((20, 24, 4), ["YXC", "ZYX"]),
        ((20, 24, 5), ["YXC", "ZYX"]),
        ((64, 64, 20), ["YXC", "ZYX"]),  # twenty channels, or 64 sections of 64 x 20
        ((4, 3, 20, 24), ["ZYXC", "ZCYX"]),
        ((2, 20, 24, 3), ["ZYXC"]),
    ],
)
def test_what_a_shape_does_not_make_plain_is_asked(put, shape, ways):
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    ref = put(array)
    for page in (None, 0):
        with pytest.raises(
            DataError, match=f"a.npy has the shape {' x '.join(map(str, shape))} and does not"
        ) as caught:
            read(ImageRef(ref.path, page))
        for axes in ways:
            assert f"`dataset.axes={axes}`" in caught.value.remedy
    for axes in ways:  # and each answer is taken
        where = ImageRef(ref.path, 0 if "Z" in axes else None, axes)
        expected = array[0] if "Z" in axes else array
        left = axes.replace("Z", "")
        assert np.array_equal(
            read(where), expected.transpose([left.index(letter) for letter in "YXC" if letter in left])
        )
        assert header(where)[:2] == read(where).shape[:2]


def test_channels_first(put):
    ref = ImageRef(put(RGB.transpose(2, 0, 1)).path, axes="CYX")
    assert np.array_equal(read(ref), RGB)
    assert read_image(ref, 3).shape == (3, 20, 24)
    assert pages(ref.path, "CYX") == 1
    assert pages(ref.path) == 3  # so that layers of a mask can be counted before anybody says what they are


@pytest.mark.parametrize("axes", ["ZYXC", "YX", "ZZ"])
def test_axes_that_do_not_fit(put, axes):
    with pytest.raises(DataError, match="axes"):
        read(ImageRef(put(STACK).path, 0, axes))


def test_an_array_by_name(put):
    ref = put({"raw": GREY, "label": MASK}, "a.npz")
    with pytest.raises(DataError, match=r"a\.npz holds 2 arrays; which is meant is not said") as caught:
        read(ref)
    assert f"{ref.path}:label  (20 x 24, uint8)" in caught.value.remedy
    path, inside = located(f"{ref.path}:label")
    assert np.array_equal(read(ImageRef(path, inside=inside)), MASK)
    assert header(ImageRef(path, inside=inside)) == Header(20, 24, 1, np.dtype(np.uint8))
    with pytest.raises(DataError, match="holds no array 'labels'") as caught:
        read(ImageRef(path, inside="labels"))
    assert ":raw" in caught.value.remedy
    assert np.array_equal(read(put({"only": GREY, "spacing": np.ones(3)}, "b.npz")), GREY)


def test_where_a_name_ends(tmp_path, put):
    assert located(f"{tmp_path}:raw") == (tmp_path, "raw")  # of every file in the folder
    assert located(str(tmp_path)) == (tmp_path, None)
    odd = tmp_path / "12:30.png"
    odd.touch()
    assert located(str(odd)) == (odd, None)
    assert located("missing:x.tif")[1] is None


def test_python_objects_are_never_loaded(put):
    with pytest.raises(DataError, match=r"a\.npy holds Python objects") as caught:
        read(put(np.array([{"a": 1}], object), allow_pickle=True))
    assert "numpy.save" in caught.value.remedy
    with pytest.raises(DataError, match="Python objects") as caught:
        read(put(np.array({"masks": MASK}, object), "x_seg.npy", allow_pickle=True))
    assert "_cp_masks" in caught.value.remedy


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((0, 4)), np.float32(3)])
def test_what_is_no_image(put, array):
    with pytest.raises(DataError, match=r"a\.npy has the shape .*, which is no image"):
        read(put(array))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_file_cut_off_is_refused(put, name):
    ref = put({"a": GREY} if name == "a.npz" else GREY, name)
    content = ref.path.read_bytes()
    for length in cuts(len(content)):
        ref.path.write_bytes(content[:length])
        found = attempt(lambda: read(ref))
        assert isinstance(found, DataError), length
        assert name in found.problem
