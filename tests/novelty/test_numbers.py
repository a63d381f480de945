"""An image in numbers."""

import numpy as np
import pytest

from lamella.novelty.numbers import of_levels, of_texture


def test_levels_by_hand():
    found = of_levels(np.array([[10.0, 10, 10, 50], [20, 20, 20, 20]]))
    # The mean of both channels: 15, 15, 15, 35.
    assert found["mean"] == 20
    assert found["contrast"] == pytest.approx(np.log2(np.sqrt(75)))
    assert found["skew"] == pytest.approx((3 * -125 + 3375) / 4 / 75**1.5)
    assert (found["dark"], found["light"]) == (15, pytest.approx(33.8))
    assert (found["channel_1"], found["channel_2"]) == (0, 0)
    assert (found["stain_1"], found["stain_2"]) == (pytest.approx(2), 0)


def test_one_channel_has_no_colours():
    assert set(of_levels(np.zeros((1, 4)))) == {"mean", "contrast", "dark", "light", "skew"}


def test_an_empty_image_has_numbers_too():
    found = of_levels(np.full((3, 5, 5), 7.0)) | of_texture(np.full((2, 5, 1), 7.0))
    assert all(np.isfinite(list(found.values())))


def test_noise_is_measured_in_grey_levels():
    noise = np.random.default_rng(0).normal(100, 3, (4, 128, 128))
    assert 2 ** of_texture(noise)["noise"] == pytest.approx(3, rel=0.02)
    slope = np.add.outer(np.arange(128.0), 2 * np.arange(128.0))
    assert 2 ** of_texture(noise + slope)["noise"] == pytest.approx(3, rel=0.02)


def test_stripes_twice_as_wide_are_one_octave_further_up():
    def strongest(period):
        wave = np.sin(2 * np.pi * np.arange(128) / period)
        found = of_texture(np.broadcast_to(wave, (1, 128, 128)) * 50)
        return max(range(6), key=lambda octave: found[f"octave_{octave}"])

    assert [strongest(period) for period in (3, 6, 12, 24)] == [0, 1, 2, 3]
