"""What is kept of an image while its rows pass."""

import numpy as np
import pytest

from lamella.data.io.read import shrink
from lamella.novelty.gathered import SIDE, Gathering, gather


def image(channels=3, height=300, width=411, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (channels, height, width)).astype(dtype)


@pytest.mark.parametrize("cuts", [[300], [1] * 300, [7, 120, 1, 2, 170], [128, 128, 44]])
@pytest.mark.parametrize("how", [(1.0, None), (0.5, None), (1.0, (1, 99))])
def test_it_does_not_depend_on_how_rows_are_cut(cuts, how):
    whole, gathering, top = image(), Gathering(*how), 0
    for rows in cuts:
        gathering.add(whole[:, top : top + rows], top, 300)
        top += rows
    found, expected = gathering.gathered(), gather(whole, *how)
    assert np.array_equal(found.spread, expected.spread)
    assert np.array_equal(found.windows, expected.windows)


def test_windows_are_pieces_of_the_image_side_by_side():
    whole = image()
    found = gather(whole)
    assert found.windows.shape == (2 * 3, 3, SIDE, SIDE)
    assert np.array_equal(found.windows[0], whole[:, 11 : 11 + SIDE, 4 : 4 + SIDE])  # 150 and 137 pixels to each
    assert found.pixels == 300 * 411


def test_of_a_huge_image_no_more_is_kept_than_of_a_large_one():
    rows, gathering = np.zeros((1, 500, 20_000), np.uint8), Gathering()
    for top in range(0, 20_000, 500):
        gathering.add(rows, top, 20_000)
    found = gathering.gathered()
    assert found.windows.shape == (16, 1, SIDE, SIDE)
    assert found.spread.size < 40_000


def test_of_an_image_that_is_much_shrunk_fewer_windows_are_kept():
    rows, gathering = np.zeros((1, 500, 6000), np.uint8), Gathering(0.05)
    for top in range(0, 6000, 500):
        gathering.add(rows, top, 6000)
    assert gathering.gathered().windows.shape == (1, 1, SIDE, SIDE)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (300, 2), (127, 129)])
def test_small_images_are_their_own_window(size):
    whole = image(1, *size)
    found = gather(whole)
    assert found.windows.shape[-2:] == (min(SIDE, size[0]), min(SIDE, size[1]))
    assert found.spread.shape == (1, min(192, size[0]), min(192, size[1]))


def test_a_shrunk_image_has_windows_of_the_same_size():
    whole = image(1, 512, 512)
    found = gather(whole, 0.5)
    assert found.windows.shape == (4, 1, SIDE, SIDE)
    assert np.array_equal(found.windows[0], shrink(whole[:, :256, :256], 0.5))


def test_rows_come_in_order_and_all():
    gathering = Gathering()
    with pytest.raises(ValueError, match="0 of 0 rows"):
        gathering.gathered()
    gathering.add(image()[:, :10], 0, 300)
    with pytest.raises(ValueError, match="row 10 was to come, not row 11"):
        gathering.add(image()[:, 11:20], 11, 300)
    with pytest.raises(ValueError, match="10 of 300 rows"):
        gathering.gathered()
