"""Levels as a browser shows them."""

import io

import numpy as np
import pytest
from PIL import Image

from lamella.viewer.shown import png


def seen(image, channel=None, stretched=False):
    return np.asarray(Image.open(io.BytesIO(png(np.asarray(image), channel, stretched=stretched))))


def test_bytes_are_shown_as_they_are():
    image = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    assert np.array_equal(seen(image), np.moveaxis(image, 0, -1))
    assert np.array_equal(seen(image, 1), image[1])


@pytest.mark.parametrize(("dtype", "levels", "wanted"), [
    (np.uint16, [0, 257, 65535], [0, 1, 255]),
    (np.float32, [-1, 0, 1], [0, 128, 255]),
    (np.float32, [7, 7, 7], [0, 0, 0]),
])  # fmt: skip
def test_other_levels_are_scaled(dtype, levels, wanted):
    assert seen(np.array([[levels]], dtype), 0).tolist() == [wanted]


def test_contrast_is_stretched_between_percentiles():
    image = np.arange(1001, dtype=np.uint16).reshape(1, 1, -1) + 3000  # percentiles 0.5 and 99.5: 3005 and 3995
    found = seen(image, 0, stretched=True)[0]
    assert (found[:6] == 0).all()
    assert (found[995:] == 255).all()
    assert found[500] == 128
