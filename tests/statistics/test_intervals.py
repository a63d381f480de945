"""Intervals: against scipy, by hand, and in simulations where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lamella.metrics.pixels import dice
from lamella.statistics import agreement, interval, interval_of, interval_of_each, share
from lamella.statistics.intervals import bca, by_group

scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)
known = pytest.mark.filterwarnings("error")  # numpy's, of means of nothing


@given(scores)
@settings(max_examples=60, deadline=None)
def test_holds_the_mean_within_what_a_score_can_be(values):
    found = interval(values, resamples=499, bounds=(0, 1))
    assert found.mean == pytest.approx(values.mean())
    assert (found.images, found.groups) == (len(values), len(values))
    if found.method:
        assert -1e-9 <= found.low <= found.mean <= found.high <= 1 + 1e-9
    else:
        assert len(values) == 1 or np.ptp(values) < 1e-8
        assert np.isnan([found.low, found.high]).all()


@known
@pytest.mark.parametrize("values", [[0.7], [0.7] * 5, [0.7] * 40, [0.7, 0.7 + 1e-16, 0.7 - 1e-16]])
def test_what_tells_nothing_of_spread_has_no_interval(values):
    found = interval(values)
    assert found.mean == pytest.approx(0.7)
    assert np.isnan(found[1:3]).all()
    assert found[3:] == (len(values), len(values), "")


@known
def test_one_group_has_no_interval_however_many_images():
    found = interval(np.linspace(0, 1, 30), groups=["block"] * 30)
    assert np.isnan([found.low, found.high]).all()
    assert found[3:] == (30, 1, "")


@known
def test_images_without_the_score_are_left_out():
    values = [0.9, np.nan, 0.7, 0.8, np.nan]
    assert interval(values) == interval([0.9, 0.7, 0.8])
    assert interval(values, groups=list("abcde")).groups == 3
    for nothing in ([], [np.nan, np.nan]):
        found = interval(nothing)
        assert np.isnan(found[:3]).all()
        assert found[3:] == (0, 0, "")


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_images_have_students_interval(n):
    values = np.random.default_rng(n).random(n)
    found = interval(values)
    assert found.method == "Student's t"
    assert found[1:3] == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))
    low, high = found[1:3]
    assert interval(values, bounds=(0, 1))[1:3] == (max(low, 0), min(high, 1))


def test_few_groups_have_students_interval_over_groups():
    # Three patients of 4 images: what counts is the three means.
    means, names = np.array([0.6, 0.7, 0.9]), np.repeat(list("abc"), 4)
    found = interval(np.repeat(means, 4), groups=names)
    assert found[3:] == (12, 3, "Student's t")
    assert found[1:3] == pytest.approx(stats.t.interval(0.95, 2, means.mean(), stats.sem(means)))


def test_from_six_on_it_is_the_bootstrap():
    values = np.random.default_rng(0).random(6)
    assert interval(values).method == "BCa bootstrap"
    many = np.random.default_rng(0).random(30)
    assert interval(many) == interval(many.copy())
    assert interval(many) != interval(many, seed=1)


@pytest.mark.parametrize("n", [6, 7])
def test_the_bootstrap_of_six_is_no_shorter_than_students(n):
    for values in (np.linspace(0.8, 0.9, n), np.array([0.95] * (n - 1) + [0.2]) + np.linspace(0, 0.01, n)):
        found, student = interval(values), stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        assert found.method == "BCa bootstrap"
        assert found.low <= student[0] + 1e-12
        assert found.high >= student[1] - 1e-12


def test_bca_equals_scipy():
    values = np.random.default_rng(3).gamma(1, 1, 15)
    found = stats.bootstrap((values,), np.mean, n_resamples=999, rng=np.random.default_rng(0))
    without_each = np.array([np.delete(values, i).mean() for i in range(15)])
    ends = bca(found.bootstrap_distribution, values.mean(), without_each, stats.norm.ppf(0.975))
    assert ends == pytest.approx(tuple(found.confidence_interval))


def test_the_bootstrap_equals_scipys_but_for_what_is_drawn():
    """With Student's quantiles in scipy's hands as a higher level of confidence."""
    values = np.random.default_rng(2).beta(8, 2, 20)
    level = 2 * stats.norm.cdf(np.sqrt(20 / 19) * stats.t.ppf(0.975, 19)) - 1
    found = stats.bootstrap((values,), np.mean, n_resamples=99_999, confidence_level=level,
                            rng=np.random.default_rng(0)).confidence_interval  # fmt: skip
    width = found.high - found.low
    assert interval(values)[1:3] == pytest.approx(tuple(found), abs=0.03 * width)


def test_skewed_scores_get_a_skewed_interval():
    # One bad image of ten: the mean could be much lower, hardly higher.
    mean, low, high, *_ = interval(np.array([0.95] * 9 + [0.2]) + np.linspace(0, 0.01, 10))
    assert mean - low > 1.5 * (high - mean)


def test_groups_are_drawn_whole():
    # Four images of a group tell no more than one of them.
    values, names = np.linspace(0.5, 0.9, 8) ** 2, list("abcdefgh")
    assert interval(np.repeat(values, 4), groups=np.repeat(names, 4))[:3] == pytest.approx(interval(values)[:3])
    as_if_single = interval(np.repeat(values, 4))
    assert as_if_single.high - as_if_single.low < 0.6 * np.ptp(interval(values)[1:3])


def test_the_mean_is_over_images_even_in_groups():
    assert interval([1, 1, 1, 0], groups=["a", "a", "a", "b"]).mean == 0.75
    with pytest.raises(ValueError, match="as many groups"):
        interval(np.array([1, 2]), groups=["a"])


def test_groups_of_unlike_size_count_as_fewer():
    # 5 and five times 1 image say as much as 10^2 / 30 equal groups: too few for the bootstrap.
    values, names = np.random.default_rng(0).random(10), list("aaaaabcdef")
    found = interval(values, groups=names)
    assert found[3:] == (10, 6, "Student's t")
    without_each = np.array([values[np.array(names) != name].mean() for name in "abcdef"])
    error = np.sqrt(5 / 6 * ((without_each - without_each.mean()) ** 2).sum())
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 100 / 30 - 1) * error)
    # However unlike: as sure as two groups, never less.
    far = interval(np.linspace(0, 1, 101), groups=["a"] * 100 + ["b"])
    assert far.high - far.mean == pytest.approx(stats.t.ppf(0.975, 1) * (1 - 49.5 / 100) / 2)


def test_many_images_in_blocks_are_drawn_as_at_once(monkeypatch):
    values = np.random.default_rng(0).random(30)
    whole = interval(values)
    monkeypatch.setattr("lamella.statistics.intervals._BLOCK", 30 * 1000)
    assert interval(values) == whole


# --- pooled scores ---------------------------------------------------------------------------------------


def test_a_pooled_score_is_that_of_the_sums():
    rows = np.array([[950, 50, 50, 0], [0, 0, 10, 0]])  # two images: tp, fp, fn, tn
    found = interval_of(rows, dice, bounds=(0, 1))
    assert found.mean == 1900 / (1900 + 110)
    assert found.method == "Student's t"
    assert (found.low, found.high) == (0, 1)


def test_the_mean_is_a_pooled_score_of_one_count_an_image():
    values = np.random.default_rng(5).random(12)
    rows = np.stack([values, np.ones(12)], axis=1)
    assert interval_of(rows, lambda sums: sums[..., 0] / sums[..., 1]) == interval(values)


def test_students_interval_of_a_pooled_score_is_the_jackknifes():
    rows = np.array([[8, 2, 0, 5], [90, 10, 20, 5], [30, 0, 10, 5]])
    without_each = np.array([float(dice(np.delete(rows, i, axis=0).sum(axis=0))) for i in range(3)])
    error = np.sqrt(2 / 3 * ((without_each - without_each.mean()) ** 2).sum())
    found = interval_of(rows, dice)
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 2) * error)


@known
def test_what_one_image_alone_decides_has_no_interval():
    rows = np.array([[9, 1, 1, 5], *[[0, 0, 0, 9]] * 7])  # the class is in one image
    found = interval_of(rows, lambda sums: np.where(sums[..., 0] > 0, sums[..., 0] / sums.sum(axis=-1), np.nan))
    assert found.mean == 9 / 79
    assert np.isnan([found.low, found.high]).all()


# --- shares, agreement, groups ---------------------------------------------------------------------------


def test_what_every_resample_makes_larger_has_no_interval():
    # Errors that cancel to 0 over 20 images, and nowhere else: as a calibration error may.
    errors = np.random.default_rng(0).normal(0, 1, 20)
    errors -= errors.mean()
    found = interval_of(errors[:, None], lambda sums: np.abs(sums[..., 0]))
    assert found.mean == pytest.approx(0)
    assert np.isnan([found.low, found.high]).all()
    assert found[3:] == (20, 20, "")


def test_shares_equal_scipys_exact_interval():
    for some, of in ((0, 12), (1, 12), (7, 12), (12, 12), (3, 159)):
        found, reference = share(some, of), stats.binomtest(some, of).proportion_ci(method="exact")
        assert found == pytest.approx((some / of, *reference))
    assert share(0, 12).high == pytest.approx(0.2646, abs=1e-4)
    assert np.isnan(share(0, 0)).all()


@known
def test_agreement_by_hand():
    found = agreement([12, 9, 33, np.nan], [10, 10, 31, 4])  # 2, -1, 2: mean 1, deviation sqrt(3), t 4.3027
    reach = 4.302653 * 3**0.5 * (4 / 3) ** 0.5
    assert found == pytest.approx((1, 1 - reach, 1 + reach))
    assert agreement([4, 7], [4, 7]) == (0, 0, 0)
    assert agreement([5], [3]).bias == 2
    assert np.isnan(agreement([5], [3])[1:]).all()
    assert np.isnan(agreement([], [])).all()


def test_sums_of_groups_by_hand():
    assert by_group([[1, 1], [2, 1], [4, 1]], ["y", "x", "y"]).tolist() == [[2, 1], [5, 2]]
    assert by_group([[1.0], [2.0]], None).tolist() == [[1], [2]]
    with pytest.raises(ValueError, match="3 values need as many groups, not 2"):
        by_group([[1], [2], [3]], ["x", "y"])


# --- simulations -----------------------------------------------------------------------------------------


def test_intervals_hold_the_truth():
    """In brief; `tools/simulate_intervals.py` has the tables. 400 samples tell 95 % from 91 % no better than this."""
    for n in (3, 6, 20):
        tables = np.random.default_rng(n).beta(18, 2, (400, n))
        found = [interval(values, resamples=499, seed=i) for i, values in enumerate(tables)]
        assert 0.89 <= np.mean([each.low <= 0.9 <= each.high for each in found]) <= 0.98


@known
@pytest.mark.parametrize("n", [0, 1, 5, 7, 12, 31])
@pytest.mark.parametrize("grouped", [False, True])
def test_several_scores_at_once_have_the_interval_of_each_to_the_last_bit(n, grouped):
    rng = np.random.default_rng(n)
    values = rng.random((20, n))
    values[3:6][:, rng.random(n) < 0.3] = np.nan
    values[7, rng.random(n) < 0.2] = np.nan
    groups = [f"g{place}" for place in rng.integers(0, n // 2 + 1, n)] if grouped else None
    found = interval_of_each(values, groups=groups, bounds=[(0, 1)] * 20)
    for row, each in zip(values, found, strict=True):
        np.testing.assert_equal(tuple(each), tuple(interval(row, groups=groups, bounds=(0, 1))))
