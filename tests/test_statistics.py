"""The interval over images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lamella.statistics import interval

scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@given(scores)
@settings(max_examples=60, deadline=None)
def test_holds_the_mean_within_the_values(values):
    found = interval(values, resamples=499)
    assert found.mean == pytest.approx(values.mean())
    assert values.min() - 1e-9 <= found.low <= found.mean <= found.high <= values.max() + 1e-9


@pytest.mark.parametrize("values", [[0.7], [0.7] * 5, [0.7, 0.7 + 1e-16, 0.7 - 1e-16]])
@pytest.mark.filterwarnings("error")
def test_without_spread_it_is_the_mean(values):
    mean, low, high = interval(np.array(values))
    assert mean == low == high == pytest.approx(0.7)


def test_the_same_each_time():
    values = np.random.default_rng(1).random(12)
    assert interval(values) == interval(values.copy())
    assert interval(values) != interval(values, seed=1)


def test_equals_scipy():
    values = np.random.default_rng(2).beta(8, 2, 20)
    reference = stats.bootstrap((values,), np.mean, n_resamples=9999, rng=np.random.default_rng(0)).confidence_interval
    assert interval(values) == pytest.approx((values.mean(), reference.low, reference.high))


def test_near_the_t_interval_where_that_is_right():
    values = np.random.default_rng(3).normal(0.8, 0.05, 60)
    t = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    assert interval(values)[1:] == pytest.approx(t, abs=0.003)


def test_skewed_scores_get_a_skewed_interval():
    # One bad image of ten: the mean could be much lower, hardly higher.
    mean, low, high = interval(np.array([0.95] * 9 + [0.2]) + np.linspace(0, 0.01, 10))
    assert mean - low > 1.5 * (high - mean)
