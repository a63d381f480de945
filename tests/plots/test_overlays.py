"""Masks and mistakes as pictures, pixel by pixel."""

import subprocess
import sys

import numpy as np
import pytest

from lamella.data.types import IGNORE
from lamella.plots.overlays import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    IGNORED,
    class_colours,
    mistakes,
    paint,
    visible,
)


def test_two_classes_are_white_and_black():
    picture = paint(np.array([[0, 1, IGNORE]], np.uint8), 2)
    assert picture.tolist() == [[[255] * 3, [0] * 3, list(IGNORED)]]


def test_several_classes_have_the_colours_of_their_legend():
    picture = paint(np.array([[0, 1, 2, 3, IGNORE]], np.uint8), 4)
    named = class_colours(("ground", "a", "b", "c"))
    assert [name for name, _ in named] == ["a", "b", "c"]
    assert picture[0, 1:4].tolist() == [list(colour) for _, colour in named]
    assert len({colour for _, colour in named}) == 3
    assert picture[0, 0].tolist() == [255] * 3
    assert picture[0, 4].tolist() == list(IGNORED)


def test_more_classes_than_colours_begin_again():
    named = class_colours([str(number) for number in range(10)])
    assert len(named) == 9
    assert named[7][1] == named[0][1]
    assert (paint(np.array([[8, 1]], np.uint8), 10)[0, 0] == named[7][1]).all()


def test_mistakes_are_coloured_and_what_is_not_known_is_not():
    truth = np.array([[0, 0, 1, 1, 2, IGNORE]], np.uint8)
    predicted = np.array([[0, 1, 1, 0, 1, 1]], np.uint8)
    seen = np.full((1, 6, 3), 100, np.uint8)
    pale = [178, 178, 178]  # half way to white
    assert mistakes(seen, truth, predicted)[0].tolist() == [
        pale, list(FALSE_POSITIVE), pale, list(FALSE_NEGATIVE), list(FALSE_NEGATIVE), pale,
    ]  # fmt: skip


def test_bytes_stay_as_they_are_and_one_channel_is_grey():
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert (visible(image) == np.moveaxis(image, 0, -1)).all()
    assert (visible(image[:2]) == image[0][..., None]).all()  # of any number but three the first


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_other_levels_are_stretched_between_percentiles(dtype):
    image = np.linspace(1000, 3000, 10_000).astype(dtype).reshape(1, 100, 100)
    picture = visible(image)
    assert (picture.min(), picture.max()) == (0, 255)
    assert picture[50, 0, 0] == pytest.approx(128, abs=2)
    assert (np.diff(picture[..., 0].ravel().astype(int)) >= 0).all()
    assert (visible(np.full((1, 4, 4), 7, dtype)) == 0).all()  # nothing to stretch


def test_colours_need_no_plotting_library():
    code = "import sys, lamella.plots.overlays; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
