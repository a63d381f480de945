"""Levels of any type on one scale: against NumPy, by hand, and through the network's own normalisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lamella.data.io.intensity import intensity_stats, levels, stretch
from lamella.inference.segmenter import Normalise

RANDOM = np.random.default_rng(0)
SIZES = [(5, 7), (30, 18), (1, 1)]


def images(dtype, low, high):
    return [RANDOM.integers(low, high, (2, *size)).astype(dtype) for size in SIZES]


def pixels_of(some):
    return np.concatenate([image.reshape(2, -1) for image in some], axis=1).astype(np.float64)


def test_bytes_keep_their_scale():
    some = images(np.uint8, 20, 200)
    found = intensity_stats([levels(image) for image in some])
    assert (found.low, found.high) == (0, 255)
    assert found.mean == pytest.approx(pixels_of(some).mean(1))
    assert found.std == pytest.approx(pixels_of(some).std(1))


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint16, 100, 4096), (np.float32, -50, 1000)])
def test_other_types_are_scaled_by_what_occurs(dtype, low, high):
    some = images(dtype, low, high)
    pixels = pixels_of(some)
    found = intensity_stats([levels(image) for image in some])
    assert (found.low, found.high) == (pixels.min(), pixels.max())
    grey = (pixels - pixels.min()) / np.ptp(pixels) * 255
    assert found.mean == pytest.approx(grey.mean(1))
    assert found.std == pytest.approx(grey.std(1))


@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 256), (np.uint16, 60_000), (np.float32, 7)])
def test_the_network_sees_mean_0_and_deviation_1(dtype, high):
    some = images(dtype, 0, high)
    found = intensity_stats([levels(image) for image in some])
    normalise = Normalise(found.mean, found.std, found.low, found.high)
    seen = [normalise(normalise.grey(torch.from_numpy(image)[None]))[0].reshape(2, -1) for image in some]
    together = torch.cat(seen, dim=1)
    assert together.mean(1).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert together.std(1, correction=0).tolist() == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_channel_that_never_varies_normalises_to_0(dtype):
    flat = np.full((1, 10, 11), 37, dtype)
    found = intensity_stats([levels(flat)])
    normalise = Normalise(found.mean, found.std, found.low, found.high)
    assert not normalise(normalise.grey(torch.from_numpy(flat)[None])).any()


def test_stretch_puts_percentiles_where_it_says():
    ramp = np.arange(101, dtype=np.float32).reshape(1, 1, 101)  # its n-th percentile is n
    out = stretch(ramp, (10, 90))
    assert (out[0, 0, 10], out[0, 0, 90]) == (16384, 49151)
    assert out[0, 0, 50] == pytest.approx((16384 + 49151) / 2, abs=1)
    assert (np.diff(out[0, 0].astype(int)) > 0).all()  # nothing cut off here


@given(st.integers(1, 200), st.integers(-1000, 1000))
def test_stretch_does_not_depend_on_exposure(gain, shift):
    image = np.random.default_rng(1).normal(size=(2, 9, 8)).astype(np.float64)
    difference = stretch(image, (5, 95)).astype(int) - stretch(image * gain + shift, (5, 95))
    assert np.abs(difference).max() <= 1


def test_stretch_of_a_flat_channel_is_flat():
    assert (stretch(np.full((1, 4, 4), 9, np.uint16), (1, 99)) == 16384).all()
