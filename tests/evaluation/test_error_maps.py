"""What a run keeps of a test image: codes by hand, and files that are read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lamella.data.types import IGNORE
from lamella.errors import StorageError
from lamella.evaluation import error_maps
from lamella.plots import overlays

TRUTH = np.array([[0, 0, 1, 1], [1, 2, IGNORE, IGNORE]], np.uint8)
PREDICTED = np.array([[0, 2, 1, 0], [2, 2, 0, 1]], np.uint8)
CODES = [[0, 2, 1, 3], [4, 1, 5, 5]]


def test_codes_by_hand():
    codes = error_maps.error_map(TRUTH, PREDICTED)
    assert codes.tolist() == CODES
    assert codes.dtype == np.uint8


SHAPE = (5, 7)


@given(
    arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, IGNORE])),
    arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2])),
)
def test_right_where_the_classes_are_the_same_and_nowhere_else(truth, predicted):
    codes = error_maps.error_map(truth, predicted)
    counted = truth != IGNORE
    assert ((codes == error_maps.NOT_COUNTED) == ~counted).all()
    right = np.isin(codes, (error_maps.RIGHT_BACKGROUND, error_maps.RIGHT_FOREGROUND))
    assert (right == (counted & (truth == predicted))).all()
    # The foreground of either is told by the codes alone.
    foreground = (error_maps.RIGHT_FOREGROUND, error_maps.WRONG_CLASS)
    assert (np.isin(codes, (*foreground, error_maps.FALSE_NEGATIVE)) == (counted & (truth > 0))).all()
    assert (np.isin(codes, (*foreground, error_maps.FALSE_POSITIVE)) == (counted & (predicted > 0))).all()


def test_codes_come_back_as_they_were_in_the_colours_of_the_figures(tmp_path):
    error_maps.write(tmp_path, "0007", np.zeros((1, 2, 4), np.uint8), TRUTH, PREDICTED)
    path = tmp_path / "outcomes" / "0007.png"
    assert path == tmp_path / error_maps.error_map_name("0007")
    assert error_maps.read_error_map(path).tolist() == CODES
    with Image.open(path) as picture:
        colours = np.asarray(picture.convert("RGB"))
    assert tuple(colours[0, 1]) == overlays.FALSE_POSITIVE
    assert tuple(colours[0, 3]) == tuple(colours[1, 0]) == overlays.FALSE_NEGATIVE
    assert tuple(colours[1, 3]) == overlays.IGNORED
    assert len({tuple(colours[place]) for place in ((0, 0), (0, 2), (0, 1), (0, 3), (1, 3))}) == 5


def test_codes_are_of_full_size_and_the_picture_small(tmp_path):
    mask = np.zeros((600, 1600), np.uint8)
    mask[599, 1599] = 1  # one pixel that must not be lost
    error_maps.write(tmp_path, "0000", np.zeros((3, 600, 1600), np.uint8), mask, np.zeros_like(mask))
    codes = error_maps.read_error_map(tmp_path / "outcomes" / "0000.png")
    assert codes.shape == (600, 1600)
    assert codes.sum() == codes[599, 1599] == error_maps.FALSE_NEGATIVE
    assert error_maps.read_picture(tmp_path / "pictures" / "0000.jpg").shape == (240, 640, 3)


def kept(folder, image):
    mask = np.zeros(image.shape[1:], np.uint8)
    error_maps.write(folder, "0000", image, mask, mask)
    return error_maps.read_picture(folder / error_maps.picture_name("0000")).astype(int)


def test_colours_stay_as_they_are(tmp_path):
    image = np.empty((3, 40, 60), np.uint8)
    image[:] = np.array([200, 100, 50], np.uint8)[:, None, None]
    picture = kept(tmp_path, image)
    assert picture.shape == (40, 60, 3)  # no larger than it was
    assert np.abs(picture - [200, 100, 50]).max() <= 3  # JPEG


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("size", [64, 1280])
def test_other_levels_are_stretched(tmp_path, dtype, size):
    ramp = np.linspace(1000, 3000, size).astype(dtype)
    picture = kept(tmp_path, np.broadcast_to(ramp, (1, 8, size)))[..., 0]
    assert picture.shape[1] == min(size, 640)
    assert picture[:, 0].max() <= 4
    assert picture[:, -1].min() >= 251
    assert abs(int(picture[0, picture.shape[1] // 2]) - 128) <= 6


def test_of_another_number_of_channels_the_first_is_seen(tmp_path):
    image = np.full((5, 20, 20), 255, np.uint8)
    image[0] = 90
    assert np.abs(kept(tmp_path, image) - 90).max() <= 1


def test_yes_and_no_are_black_and_white(tmp_path):
    image = np.zeros((1, 16, 16), np.bool_)
    image[:, :, 8:] = True
    picture = kept(tmp_path, image)
    assert picture[:, :8].max() <= 3
    assert picture[:, 8:].min() >= 252


def test_what_cannot_be_read_is_said_with_its_path(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (200, 200), dtype=np.uint8)
    error_maps.write(tmp_path, "0000", 255 * noise[None], noise, noise[::-1])
    codes, picture = tmp_path / "outcomes" / "0000.png", tmp_path / "pictures" / "0000.jpg"
    grey = tmp_path / "grey.png"
    Image.fromarray(noise).save(grey)
    halves = []
    for path in (codes, picture):
        halves.append(tmp_path / f"half{path.suffix}")
        halves[-1].write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read, path in (
        (error_maps.read_error_map, tmp_path / "none.png"),
        (error_maps.read_error_map, picture),
        (error_maps.read_error_map, grey),
        (error_maps.read_error_map, halves[0]),
        (error_maps.read_picture, codes),
        (error_maps.read_picture, halves[1]),
    ):
        with pytest.raises(StorageError, match=path.name):
            read(path)
