"""Sizes and places in figures of a report, by hand."""

import pytest

from lamella.plots.style import LINE, lines_of, padded, places, row_heights


def test_rows_stand_below_each_other():
    assert places([1.0, 2.0, 1.0]).tolist() == [0.5, 2.0, 3.5]


def test_rows_are_as_high_as_their_labels_need():
    assert lines_of("a") == 1
    assert lines_of("a\nb\nc") == 3
    assert row_heights(["a", "a\nb\nc"], 0.3) == [0.3, pytest.approx(3 * LINE + 0.08)]


@pytest.mark.parametrize("values", [[0.2, 0.7], [0.5], [0.0, 0.0], [-3, -3]])
def test_an_axis_has_a_margin_and_a_width_whatever_it_shows(values):
    low, high = padded(values)
    assert low < min(values)
    assert high > max(values)


def test_the_margin_is_a_share_of_the_width():
    assert padded([0, 10], 0.1) == (-1, 11)
