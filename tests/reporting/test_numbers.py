"""Numbers as a report writes them, by hand."""

import numpy as np
import pytest

from lamella.reporting.numbers import (
    duration,
    known,
    number,
    percent,
    plain,
    probability,
    quantity,
    ranged,
    score_text,
    span,
)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (number(0.98765, 4), "0.9877"),
        (number(-0.00001, 4), "0.0000"),
        (number(-0.00001, 4, signed=True), "+0.0000"),
        (number(-1234.5, 1), "−1,234.5"),
        (number(np.nan, 2), "–"),
        (plain(-1234.5, 1), "-1,234.5"),
        (plain(0.5, 2, signed=True), "+0.50"),
        (plain(np.nan, 2), ""),
        (number(known(None), 2), "–"),
        (percent(0.265), "26 %"),
        (percent(0.006), "0.6 %"),
        (percent(0.0), "0 %"),
        (probability(0.0009), "< 0.001"),
        (probability(0.04), "0.040"),
        (duration(0.123), "0.12 s"),
        (duration(42), "42 s"),
        (duration(90), "1.5 min"),
        (duration(60), "1 min"),
        (duration(9000), "2.5 h"),
        (duration(np.nan), "–"),
        (quantity(999.9), "1 k"),
        (quantity(31_040_000), "31 M"),
        (quantity(7_762_465), "7.76 M"),
        (quantity(2.5e9), "2.5 G"),
        (quantity(12.34), "12.3"),
        (quantity(0), "0"),
        (quantity(np.nan), "–"),
    ],
)
def test_numbers_by_hand(found, text):
    assert found == text


@pytest.mark.parametrize(
    ("value", "score", "text"),
    [
        (0.91234, "dice", "0.9123"),
        (-0.00001, "dice", "0.0000"),
        (-0.05, "class/nucleus/dice", "−0.0500"),
        (12.345, "boundary/hd95", "12.35"),
        (0.5, "boundary/surface_dice", "0.5000"),
        (-3, "watershed/count/error", "−3.00"),
        (0.8, "val/dice", "0.8000"),
        (1234.4, "tp", "1,234"),
    ],
)
def test_a_score_has_the_decimals_of_its_catalogue(value, score, text):
    assert score_text(value, score) == text


def test_an_interval_stands_behind_its_mean():
    assert ranged(0.9, 0.8, 0.95, "dice") == "0.9000 (0.8000 to 0.9500)"
    assert ranged(4, -5, 3, "boundary/hd95") == "4.00 (−5.00 to 3.00)"
    assert span(-0.1, 0.2, "dice", signed=True) == "−0.1000 to +0.2000"


def test_an_interval_that_is_not_known_is_a_dash():
    assert ranged(0.9, np.nan, np.nan, "dice") == "0.9000 (–)"
    assert ranged(np.nan, np.nan, np.nan, "dice") == span(np.nan, np.nan, "dice") == "–"
