"""The images on which a method fails, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from lamella.reporting.failures import failure_rows, failure_text, failure_words, failures

IDS = [f"image {n}" for n in range(20)]


def row(dice, *, grouped=False, **more):
    return (
        {"method": "unet", "dice_images": int((~np.isnan(dice)).sum())}
        | failures(dice, IDS, 0.5, grouped=grouped)
        | more
    )


def test_how_many_how_badly_and_which():
    dice = np.array([0.9] * 16 + [0.2, 0.4, 0.5, 0.6])
    found = failures(dice, IDS, 0.5, grouped=False)
    assert (found["failed"], found["failure_rate"]) == (2, 0.1)  # 0.5 itself is no failure
    assert found["worst_tenth"] == pytest.approx((0.2 + 0.4) / 2)
    assert found["worst_images"] == "image 16 (0.2000), image 17 (0.4000), image 18 (0.5000)"
    assert failures(dice, IDS, 0.55, grouped=False)["failed"] == 3


def test_exact_bounds_in_words():
    none = row(np.full(12, 0.9))
    assert none["failure_high"] == pytest.approx(1 - 0.025 ** (1 / 12))  # of no failure among 12
    assert failure_text(none) == "0 of 12: up to 26 %"
    assert failure_text(row(np.full(12, 0.1))) == "12 of 12: at least 74 %"
    assert failure_text(row(np.full(12, 0.9), grouped=True)) == "0 of 12"
    assert failure_text(row(np.array([0.1, 0.9, 0.9, 0.9]))) == "1 of 4: 0.6 % to 81 %"


def test_images_without_dice_are_in_no_share():
    found = row(np.array([np.nan, 0.4, 0.9, np.nan]))
    assert (found["failed"], found["failure_rate"], found["worst_tenth"]) == (1, 0.5, 0.4)
    assert found["worst_images"] == "image 1 (0.4000), image 2 (0.9000)"
    nothing = row(np.full(3, np.nan))
    assert math.isnan(nothing["failure_rate"])
    assert failure_rows(pd.DataFrame([nothing])) == [("unet", "–", "–", "–")]


def test_a_table_without_dice_tells_of_no_failures():
    assert failure_rows(pd.DataFrame({"method": ["unet"]})) == []


def test_how_to_read_it():
    table = pd.DataFrame([row(np.full(12, 0.9))])
    words = failure_words(table, grouped=False)
    assert "below 0.5" in words
    assert "The worst tenth: one image." in words
    assert "between what shares" in words
    assert "those of a group may fail together" in failure_words(table, grouped=True)
    assert "2 images" in failure_words(pd.DataFrame([row(np.full(20, 0.9))]), grouped=False)
