"""Labels moved by a known way are found there, and nothing is found where nothing can be."""

import numpy as np
import pytest
from PIL import Image

from lamella.data.audit.registration import Offset, label_offset
from lamella.data.audit.sample_stats import sample_stats
from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.datasets.phantom import write_blood, write_em
from lamella.data.types import DatasetCard, ImageRef, Sample


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_em(folder / "em", seed=0, sections=8, size=192)
    write_blood(folder / "blood", seed=0, train=8, test=1, height=240, width=320)
    return folder


def measured(phantoms, name, *, scale=1.0, moved=(0.0, 0.0), only=None):
    """Labels of phantoms lie on what they outline; the store moves the images away from under them."""
    dataset = em(root=str(phantoms / "em")) if name == "em" else blood(root=str(phantoms / "blood"))
    store = Store(phantoms / "cache", dataset.card, scale, moved)
    return label_offset([sample_stats(sample, store) for sample in dataset.samples[:only]], scale)


@pytest.mark.parametrize("name", ["em", "blood"])
@pytest.mark.parametrize("moved", [(0, 0), (0.62, 0.21), (-0.5, 0), (1.5, -2.5), (-4, 6)], ids=str)
def test_a_known_offset_is_found(phantoms, name, moved):
    found = measured(phantoms, name, moved=moved)
    assert (found.down, found.right) == pytest.approx((-moved[0], -moved[1]), abs=0.1)
    assert 0 < found.down_error < 0.05
    assert 0 < found.right_error < 0.05
    assert found.beyond(0.25) == (moved != (0, 0))


def test_pixels_are_those_of_the_full_size(phantoms):
    still, moved = (measured(phantoms, "blood", scale=0.5, moved=by) for by in ((0, 0), (3, -2)))
    assert (still.down - moved.down, still.right - moved.right) == pytest.approx((3, -2), abs=0.1)


def test_few_samples_tell_nothing(phantoms):
    assert measured(phantoms, "em", only=4) is None
    assert measured(phantoms, "em", only=5)


def make(folder, draw, count=6):
    """Samples whose images and masks are drawn by `draw(rng)`."""
    card = DatasetCard("toy", "toy", ("ground", "thing"), {0: 0, 1: 1, 2: 255}, channels=1, source="made here")
    samples = []
    for number in range(count):
        image, mask = draw(np.random.default_rng(number))
        paths = folder / f"{number}.png", folder / f"{number}_mask.png"
        for path, array in zip(paths, (image, mask), strict=True):
            Image.fromarray(array.astype(np.uint8)).save(path)
        samples.append(Sample(str(number), ImageRef(paths[0]), ImageRef(paths[1]), str(number)))
    store = Store(folder / "cache", card, 1.0)
    return label_offset([sample_stats(sample, store) for sample in samples], 1.0)


def squares(rng, side=96):
    mask = np.zeros((side, side), np.uint8)
    for y, x in rng.integers(8, side - 20, (12, 2)):
        mask[y : y + 9, x : x + 9] = 1
    return mask


def test_masks_of_nothing_that_is_seen_tell_nothing(tmp_path):
    assert make(tmp_path, lambda rng: (rng.integers(0, 255, (96, 96)), squares(rng))) is None


@pytest.mark.parametrize("shape", [(16, 16), (40, 17), (96, 5)])
def test_small_pictures_tell_nothing_or_little(tmp_path, shape):
    found = make(tmp_path, lambda rng: (rng.integers(0, 255, shape), rng.integers(0, 2, shape)))
    assert found is None or not found.beyond(0.25)


def test_empty_masks_and_blank_images_tell_nothing(tmp_path):
    assert make(tmp_path, lambda rng: (rng.integers(0, 255, (96, 96)), np.zeros((96, 96)))) is None
    assert make(tmp_path, lambda rng: (np.full((96, 96), 7), squares(rng))) is None


def test_bright_or_dark_foreground(tmp_path):
    for name, sign in (("bright", 1), ("dark", -1)):
        (tmp_path / name).mkdir()

        def draw(rng, sign=sign):
            mask = squares(rng)
            return 120 + sign * 60 * np.roll(mask.astype(int), (-2, 1), (0, 1)) + rng.normal(0, 5, mask.shape), mask

        found = make(tmp_path / name, draw)
        assert (found.down, found.right) == pytest.approx((2, -1), abs=0.05)


def test_ignored_pixels_do_not_count(tmp_path):
    def draw(rng):
        mask = squares(rng)
        image = 120 + 60 * mask.astype(int) + rng.normal(0, 5, mask.shape)
        image[48:] = np.roll(image[48:], 3, axis=0)  # half of the picture is out of place, and is ignored
        return image, np.where(np.arange(96)[:, None] < 48, mask, 2)

    found = make(tmp_path, draw)
    assert (found.down, found.right) == pytest.approx((0, 0), abs=0.05)


def test_beyond_needs_to_be_clear_of_noise():
    assert Offset(0.3, 0, 0.05, 0.05).beyond(0.25)
    assert Offset(0, -0.3, 0.05, 0.05).beyond(0.25)
    assert not Offset(0.3, 0, 0.1, 0.05).beyond(0.25)
    assert not Offset(0.2, -0.2, 0.01, 0.01).beyond(0.25)
