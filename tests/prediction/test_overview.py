"""The picture for people: what was found, over the image, however large it is and however its rows come."""

import numpy as np
import pytest
from PIL import Image

from lamella.prediction import overview
from lamella.prediction.overview import Overview

NAMES = ("ground", "cell")


def drawn(path, image, classes, heights):
    found = Overview(classes.shape)
    top = 0
    for height in heights:
        rows = slice(top, top + height)
        found.add(top, image[:, rows], classes[rows])
        top += height
    found.write(path, NAMES)
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("side", [4096, 40])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_it_does_not_depend_on_how_rows_come(tmp_path, monkeypatch, side, channels):
    monkeypatch.setattr(overview, "SIDE", side)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (channels, 101, 67), np.uint8)
    classes = np.zeros((101, 67), np.uint8)
    classes[20:60, 10:50] = 1
    whole = drawn(tmp_path / "a.png", image, classes, [101])
    assert whole.shape == ((101, 67, 3) if side == 4096 else (34, 23, 3))
    assert np.array_equal(drawn(tmp_path / "b.png", image, classes, [1, 7, 13, 80]), whole)
    if side == 4096:
        assert np.array_equal(
            whole[:10], np.broadcast_to(np.moveaxis(image if channels == 3 else image[:1], 0, -1), (101, 67, 3))[:10]
        )
        assert whole[20, 30].tolist() == [0, 210, 255]  # its outline


def test_levels_of_16_bits_are_made_visible(tmp_path):
    image = np.linspace(300, 900, 50 * 60).reshape(1, 50, 60).astype(np.uint16)
    found = drawn(tmp_path / "a.png", image, np.zeros((50, 60), np.uint8), [50])
    assert found.min() == 0
    assert found.max() == 255
