"""Moving and shrinking: what must stay stays, and the rest is what NumPy says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lamella.data.io.read import move, scaled_size, shrink, shrink_mask
from lamella.data.types import IGNORE
from support.files import GREY, RGB

TYPES = [np.uint8, np.uint16, np.float32]
TOP = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}

sides = st.integers(1, 40)
types = st.sampled_from(TYPES)


def noise(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, TOP[dtype], shape, dtype, endpoint=True)


@given(sides, sides, st.floats(0.05, 1), st.integers(0, 255), types)
@settings(max_examples=60, deadline=None)
def test_what_is_constant_stays_constant(height, width, scale, value, dtype):
    expected = scaled_size((height, width), scale)
    assert min(expected) >= 1
    small = shrink(np.full((2, height, width), value, dtype), scale)
    assert small.shape == (2, *expected)
    assert small.dtype == dtype
    assert np.allclose(small, value, rtol=1e-6)
    small = shrink_mask(np.full((height, width), value, np.uint8), scale)
    assert small.shape == expected
    assert (small == value).all()


def blocks(array, factor):
    """(..., H, W) -> (..., H / f, W / f, f * f)."""
    *rest, height, width = array.shape
    cut = array.reshape(*rest, height // factor, factor, width // factor, factor)
    return np.moveaxis(cut, -3, -2).reshape(*rest, height // factor, width // factor, factor**2)


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.integers(2, 4), types)
@settings(max_examples=60, deadline=None)
def test_whole_factors_equal_numpy(factor, seed, classes, dtype):
    rng = np.random.default_rng(seed)
    image = noise((2, 5 * factor, 4 * factor), dtype, seed)
    mean = blocks(image, factor).mean(-1, dtype=np.float64)
    near = {np.uint8: 1, np.uint16: 0.51, np.float32: 1e-5}[dtype]  # 8 bits are rounded twice
    assert np.abs(shrink(image, 1 / factor) - mean).max() <= near
    mask = rng.choice(np.array([0, 1, 7, IGNORE], np.uint8)[:classes], image.shape[1:])
    ids = np.unique(mask)
    share = np.stack([(blocks(mask, factor) == c).mean(-1) for c in ids])
    best, second = np.sort(share, axis=0)[[-1, -2]] if len(ids) > 1 else (share[0], share[0] - 1)
    clear = best > second + 0.01
    assert np.array_equal(shrink_mask(mask, 1 / factor)[clear], ids[share.argmax(0)][clear])


def test_8_bits_are_what_pillow_gives():
    expected = np.asarray(Image.fromarray(GREY).resize((9, 7), Image.Resampling.BOX))
    assert np.array_equal(shrink(GREY[None], 0.37)[0], expected)


def test_a_tie_goes_to_the_lower_class():
    mask = np.array([[0, 1], [0, 1]], np.uint8)
    assert shrink_mask(mask, 0.5).tolist() == [[0]]
    assert shrink_mask(mask + 3, 0.5).tolist() == [[3]]
    assert shrink_mask(np.where(mask, np.uint8(IGNORE), np.uint8(4)), 0.5).tolist() == [[4]]


def test_what_is_ignored_wins_where_it_covers_most():
    mask = np.array([[IGNORE, 1, 0], [IGNORE, IGNORE, 0]], np.uint8)
    assert shrink_mask(mask, 0.5).tolist()[0][0] == IGNORE


def test_a_picture_and_its_mask_shrink_to_the_same_size():
    for height, width in [(1383, 1944), (1200, 1600), (7, 9)]:
        image, mask = np.zeros((1, height, width), np.uint8), np.zeros((height, width), np.uint8)
        assert shrink(image, 0.25).shape[1:] == shrink_mask(mask, 0.25).shape


def test_scale_1_is_the_array_itself():
    assert shrink(RGB, 1.0) is RGB
    assert shrink_mask(GREY, 1.0) is GREY


@pytest.mark.parametrize("dtype", TYPES)
def test_moved_by_nothing_is_the_array_itself(dtype):
    image = noise((1, 8, 8), dtype)
    assert move(image, (0.0, 0.0)) is image


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("offset", [(2, 0), (0, -3), (1, 2), (-2, -1)])
def test_whole_pixels_are_moved_down_and_right(dtype, offset):
    image = noise((2, 30, 26), dtype)
    moved = move(image, offset)
    assert moved.dtype == dtype
    inner = (slice(None), slice(5, -5), slice(5, -5))
    difference = moved[inner].astype(np.float64) - np.roll(image, offset, (1, 2))[inner]
    assert np.abs(difference).max() <= (1e-4 if dtype == np.float32 else 0)


@pytest.mark.parametrize("dtype", TYPES)
def test_fractions_are_moved_there_and_back(dtype):
    y, x = np.mgrid[:60, :50]
    smooth = (0.5 + 0.3 * np.sin(y / 4) * np.cos(x / 5)) * TOP[dtype]
    image = (smooth if dtype == np.float32 else smooth.round())[None].astype(dtype)
    there = move(image, (0.62, 0.21))
    exact = (0.5 + 0.3 * np.sin((y - 0.62) / 4) * np.cos((x - 0.21) / 5)) * TOP[dtype]
    inner = (slice(8, -8), slice(8, -8))
    near = max(0.001 * TOP[dtype], 0 if dtype == np.float32 else 1.2)  # rounded before and after
    assert np.abs(there[0].astype(np.float64) - exact)[inner].max() <= near
    back = move(there, (-0.62, -0.21))
    assert np.abs(back[0].astype(np.float64) - image[0])[inner].max() <= 2 * near


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_a_spline_overshoots_is_cut_off(dtype):
    image = np.zeros((1, 20, 20), dtype)
    image[:, :, 10:] = TOP[dtype]
    moved = move(image, (0, 0.5))[0]
    assert moved[:, :8].max() < TOP[dtype] // 10  # nothing wrapped around
    assert moved[:, 13:].min() > TOP[dtype] - TOP[dtype] // 10
    as_float = move(image.astype(np.float32), (0, 0.5))
    assert as_float.max() > TOP[dtype]  # the overshoot is there


def test_what_comes_in_repeats_the_edge():
    image = np.arange(20, dtype=np.uint8)[None, :, None].repeat(5, axis=2)
    assert (move(image, (3, 0))[0, :3] == 0).all()
