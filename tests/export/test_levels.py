"""What a graph does to levels is what training did to them."""

import numpy as np
import pytest
import torch

from lamella.data.io.intensity import stretch
from lamella.data.io.resize import scaled_size, shrink
from lamella.export.levels import Shrunk, Stretched, scaled

SIZES = [(37, 61), (64, 50), (1, 1), (2, 90), (45, 71)]


def image(dtype, size):
    random = np.random.default_rng(sum(size))
    if dtype == "float32":
        return random.normal(0, 1000, (2, *size)).astype(dtype)
    return random.integers(0, 256 if dtype == "uint8" else 65536, (2, *size)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("scale", [0.25, 0.5, 0.16, 0.7, 1 / 3, 0.9553])
def test_images_shrink_as_pillow_shrinks_them(dtype, scale):
    for size in SIZES:
        pixels = image(dtype, size)
        found = Shrunk(scale, dtype)(torch.from_numpy(pixels)[None])[0].numpy()
        wanted = shrink(pixels, scale).astype(np.float64)
        if dtype == "float32":  # sums in another order
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-3)
        else:
            assert np.array_equal(found, wanted)


def test_bytes_of_a_high_picture_differ_by_a_level_at_most():
    pixels = image("uint8", (300, 40))
    found = Shrunk(0.5, "uint8")(torch.from_numpy(pixels)[None])[0].numpy()
    assert np.abs(found - shrink(pixels, 0.5)).max() <= 1


def test_sides_are_rounded_as_everywhere():
    for scale in (0.1, 0.25, 0.7, 0.32, 1 / 3):
        assert [scaled(side, scale) for side in range(1, 500)] == [
            scaled_size((side, 1), scale)[0] for side in range(1, 500)
        ]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_are_stretched_as_in_training(dtype):
    for size in SIZES:
        pixels = image(dtype, size)
        found = Stretched((1, 99.5))(torch.from_numpy(np.stack([pixels, pixels // 2])))[0].numpy()
        assert np.array_equal(found, stretch(pixels, (1, 99.5)))
    flat = np.full((1, 5, 6), 7, dtype)
    assert (Stretched((1, 99))(torch.from_numpy(flat)[None]) == 16384).all()
