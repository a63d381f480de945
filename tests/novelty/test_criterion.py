"""How far numbers are from those of the training images, and the threshold that validation images set."""

import numpy as np
import pytest

from lamella.novelty.criterion import Criterion, fit
from lamella.novelty.reference import threshold

NAMES = tuple("abcdefgh")


def numbers(count, rng):
    """Eight numbers that go together, of unlike sizes."""
    mixing = np.random.default_rng(5).normal(size=(8, 8)) * np.logspace(-2, 2, 8)[:, None]
    return rng.normal(size=(count, 8)) @ mixing.T + 7


def test_what_goes_together_otherwise_is_far_though_each_number_is_usual():
    along = np.random.default_rng(0).normal(size=200)
    table = np.stack([along, along + 0.01 * np.random.default_rng(1).normal(size=200)], axis=1)
    usual, odd = fit("xy", table, 1e-6).distances(np.array([[1.0, 1.0], [1.0, -1.0]]))
    assert usual < 1 < 3 < odd


def test_one_image_in_ten_that_it_was_not_made_from_is_farther_than_1():
    rng = np.random.default_rng(0)
    shares = [(fit(NAMES, numbers(40, rng), 1e-6).distances(numbers(500, rng)) > 1).mean() for _ in range(20)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("validated", [20, 39, 100])
def test_one_new_image_in_twenty_is_flagged_at_most(validated):
    rng = np.random.default_rng(0)
    flagged = []
    for _ in range(40):
        criterion = fit(NAMES, numbers(30, rng), 1e-6)
        limit = threshold(criterion.distances(numbers(validated, rng)))
        flagged.append((criterion.distances(numbers(500, rng)) > limit).mean())
    exact = 1 - np.ceil(0.95 * (validated + 1)) / (validated + 1)  # 0.048, 0.05, 0.0495
    assert np.mean(flagged) == pytest.approx(exact, abs=0.015)
    assert exact < 0.0501


def test_the_threshold_by_hand():
    assert threshold(np.arange(19)) is None
    assert threshold(np.arange(20)) == 19  # the 20th of 20
    assert threshold(np.arange(39)) == 37  # the 38th of 39
    assert threshold(np.arange(99)[::-1]) == 94  # the 95th of 99


def test_a_number_that_never_varied_is_not_divided_by():
    criterion = fit("ab", np.array([[1.0, 5], [2, 5], [3, 5]]), 0.1)
    assert np.isfinite(criterion.distances(np.array([[2.0, 5.0], [2.0, 6.0]]))).all()


def test_it_comes_back_from_plain_numbers():
    criterion = fit(NAMES, numbers(30, np.random.default_rng(0)), 1e-6)
    again, new = Criterion.of(criterion.plain()), numbers(5, np.random.default_rng(1))
    assert again.names == criterion.names
    assert np.array_equal(again.distances(new), criterion.distances(new))


def test_damaged_numbers_are_refused():
    plain = fit(NAMES, numbers(30, np.random.default_rng(0)), 1e-6).plain()
    for changed in ({"centre": [1.0]}, {"spread": [float("nan")] * 8}, {"inverse": "x"}, {"names": ["a"]}):
        with pytest.raises((ValueError, TypeError)):
            Criterion.of(plain | changed)
