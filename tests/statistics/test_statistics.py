"""Intervals, tests and verdicts: against scipy, by hand, and in simulations where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lamella.statistics import Comparison, Interval, agreement, best, compare, in_order, interval
from lamella.statistics.comparison import flip_test, holm, paired
from lamella.statistics.intervals import bca, by_group, in_blocks

scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)
seeds = st.integers(0, 2**32 - 1)


# --- intervals -------------------------------------------------------------------------------------------


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
    """With Student's quantiles in scipy's hands as a higher level of confidence."""
    values = np.random.default_rng(2).beta(8, 2, 20)
    reach = np.sqrt(20 / 19) * stats.t.ppf(0.975, 19)
    level = 2 * stats.norm.cdf(reach) - 1
    found = stats.bootstrap((values,), np.mean, n_resamples=9999, confidence_level=level, rng=np.random.default_rng(0))
    assert interval(values) == pytest.approx((values.mean(), *found.confidence_interval))


def test_bca_equals_scipy():
    values = np.random.default_rng(3).gamma(1, 1, 15)
    found = stats.bootstrap((values,), np.mean, n_resamples=999, rng=np.random.default_rng(0))
    without_each = np.array([np.delete(values, i).mean() for i in range(15)])
    ends = bca(found.bootstrap_distribution, values.mean(), without_each, stats.norm.ppf(0.975))
    assert ends == pytest.approx(tuple(found.confidence_interval))


def test_near_the_t_interval_where_that_is_right():
    values = np.random.default_rng(3).normal(0.8, 0.05, 60)
    t = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    assert interval(values)[1:] == pytest.approx(t, abs=0.003)


def test_skewed_scores_get_a_skewed_interval():
    # One bad image of ten: the mean could be much lower, hardly higher.
    mean, low, high = interval(np.array([0.95] * 9 + [0.2]) + np.linspace(0, 0.01, 10))
    assert mean - low > 1.5 * (high - mean)


@given(scores)
@settings(max_examples=30, deadline=None)
def test_groups_of_one_image_are_images(values):
    names = [f"{i:02}" for i in range(len(values))]
    assert interval(values, groups=names, resamples=199) == pytest.approx(interval(values, resamples=199))


def test_groups_are_drawn_whole():
    # Two images of a group tell no more than one of them.
    values, names = np.array([0.5, 0.7, 0.6, 0.9, 0.8]), list("abcde")
    assert interval(np.repeat(values, 4), groups=np.repeat(names, 4)) == pytest.approx(interval(values))
    as_if_single = interval(np.repeat(values, 4))
    assert as_if_single.high - as_if_single.low < 0.6 * np.ptp(interval(values)[1:])


def test_the_mean_is_over_images_even_in_groups():
    found = interval(np.array([1, 1, 1, 0]), groups=["a", "a", "a", "b"])
    assert found.mean == 0.75
    assert (found.low, found.high) == (0, 1)
    assert interval(np.array([0.2, 0.9]), groups=["a", "a"]) == Interval(0.55, 0.55, 0.55)
    with pytest.raises(ValueError, match="as many groups"):
        interval(np.array([1, 2]), groups=["a"])


def test_many_images_in_blocks_are_drawn_as_at_once(monkeypatch):
    values = np.random.default_rng(0).random(30)
    whole = interval(values)
    monkeypatch.setattr("lamella.statistics.intervals._BLOCK", 30 * 1000)
    assert interval(values) == whole


# --- the flip test ---------------------------------------------------------------------------------------


def test_flips_by_hand():
    # Of 8 ways to sign 1, 2, 3 two sums are as far from 0 as 6; as far as 4 (3 + 2 - 1) are four.
    assert flip_test([1, 2, 3]) == 2 / 8
    assert flip_test([-1, 2, 3]) == 4 / 8
    assert flip_test([0.1] * 6) == 2 / 64
    assert flip_test([0.1] * 5) == 2 / 32  # too few images to be sure of anything
    assert flip_test([0.3, -0.1, -0.2]) == 1


def test_no_difference_is_no_difference():
    values = np.random.default_rng(0).random(40)
    assert paired(values, values.copy()) == (0, 0, 0, 1)
    assert flip_test(np.zeros(3)) == 1
    assert paired(values, values + 1e-15)[3] == 1  # rounding is no difference
    assert flip_test([0, 0, 0, 0.1, 0.2, 0]) == flip_test([0.1, 0.2])


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=9).map(np.array))
@settings(max_examples=40, deadline=None)
def test_exact_flips_equal_scipy(differences):
    reference = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples", vectorized=True, n_resamples=np.inf,
    )  # fmt: skip
    assert flip_test(differences) == pytest.approx(reference.pvalue)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_the_order_of_images_and_methods_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 9))
    order = rng.permutation(9)
    one, other = paired(first, second, resamples=199), paired(second, first, resamples=199)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p == other.p == flip_test((first - second)[order])


def test_random_flips_are_near_the_exact_ones(monkeypatch):
    differences = np.random.default_rng(4).normal(0.3, 1, 14)
    exact = flip_test(differences)
    monkeypatch.setattr("lamella.statistics.comparison._EXACT", 1)
    assert flip_test(differences) == pytest.approx(exact, abs=4 * (exact / 9999) ** 0.5)
    assert flip_test(differences) == flip_test(differences)
    assert flip_test(np.ones(30)) == 1 / 10_000  # never 0


def test_groups_flip_together():
    differences = np.array([1, 1, 1, 1, 2, 2])
    assert flip_test(differences, groups=["a", "a", "a", "a", "b", "b"]) == flip_test([4, 4]) == 2 / 4


def test_a_paired_difference_needs_the_same_images():
    with pytest.raises(ValueError, match="the same images"):
        paired([0.1, 0.2], [0.1])


# --- corrections and agreement ---------------------------------------------------------------------------


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1])
    assert holm([0.04]) == pytest.approx([0.04])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_holm_lies_between_nothing_and_bonferroni(p_values):
    corrected = holm(p_values)
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(1, np.array(p_values) * len(p_values))).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_agreement_by_hand():
    found = agreement([12, 9, 33], [10, 10, 31])  # 2, -1, 2: mean 1, deviation sqrt(3)
    assert found == pytest.approx((1, 1 - 1.96 * 3**0.5, 1 + 1.96 * 3**0.5))
    assert agreement([5], [3]) == (2, 2, 2)
    assert agreement([4, 7], [4, 7]) == (0, 0, 0)


# --- verdicts --------------------------------------------------------------------------------------------


def runs(*means, images=20, seed=0):
    """Runs of a method, one for each mean, all with the same ups and downs over images."""
    return np.array(means)[:, None] + np.random.default_rng(seed).normal(0, 0.002, images)


def test_a_clear_lead_names_the_better_one():
    (found,) = compare({"a": runs(0.90, 0.902), "b": runs(0.80, 0.801, seed=1)})
    assert found.better == "a"
    assert found.p < 0.05
    assert found.low < found.difference < found.high
    assert found.difference == pytest.approx(0.1, abs=0.005)
    (found,) = compare({"a": runs(0.90, 0.902), "b": runs(0.80, 0.801, seed=1)}, lower_is_better=True)
    assert found.better == "b"


def test_a_lead_inside_seed_noise_names_nobody():
    # On these images a leads in every one, but so does one run of b over the other.
    (found,) = compare({"a": runs(0.90, 0.92), "b": runs(0.89, 0.91)})
    assert found.p_images < 0.001
    assert found.difference == pytest.approx(0.01)
    assert found.noise > 0.01
    assert found.better is None


def test_a_lead_on_few_images_names_nobody():
    (found,) = compare({"a": runs(0.900, 0.901, images=5), "b": runs(0.800, 0.801, images=5)})
    assert found.p_runs < 0.05
    assert found.p_images == 2 / 32
    assert found.better is None


def test_one_run_tells_nothing_about_seeds():
    (found,) = compare({"a": runs(0.9), "b": runs(0.5, 0.51)})
    assert (found.noise, found.p_runs, found.p, found.better) == (None, None, None, None)
    assert found.p_images < 0.001
    # A method without chance needs but one.
    (found,) = compare({"otsu": runs(0.9), "b": runs(0.5, 0.501)}, deterministic=["otsu"])
    assert found.better == "otsu"
    (found,) = compare({"otsu": runs(0.9), "bht": runs(0.5)}, deterministic=["otsu", "bht"])
    assert (found.noise, found.p_runs, found.better) == (0, 0, "otsu")


def test_identical_predictions_are_never_told_apart():
    table = runs(0.9, 0.92, 0.91)
    found = compare({"a": table, "b": table.copy(), "c": table.copy()}, deterministic=["c"])
    assert [(each.difference, each.p_images, each.better) for each in found] == [(0, 1, None)] * 3
    assert best(found) is None


def test_seed_noise_equals_scipy():
    a, b = runs(0.90, 0.92, 0.93), runs(0.89, 0.90)
    (found,) = compare({"a": a, "b": b})
    reference = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    assert found.p_runs == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval()
    assert found.noise == pytest.approx((high - low) / 2)


def test_all_pairs_are_corrected_together():
    found = compare({"a": runs(0.9, 0.901), "b": runs(0.8, 0.803), "c": runs(0.79, 0.801), "d": runs(0.5)})
    assert [each[:2] for each in found] == [tuple(p) for p in ("ab", "ac", "ad", "bc", "bd", "cd")]
    tested = [each for each in found if each.p is not None]
    assert len(tested) == 3
    assert [each.p for each in tested] == pytest.approx(holm([max(e.p_images, e.p_runs) for e in tested]))


def test_the_best_beats_each_other_one():
    tables = {"c": runs(0.70, 0.7001), "a": runs(0.90, 0.9001, seed=1), "b": runs(0.80, 0.8001, seed=2)}
    assert best(compare(tables)) == "a"
    assert best(compare(tables | {"d": runs(0.89, 0.91, seed=3)})) is None
    assert best(compare({"a": runs(0.9)})) is None


def test_unlike_images_are_refused():
    with pytest.raises(ValueError, match=r"a \(2, 20\), b \(2, 19\)"):
        compare({"a": runs(0.9, 0.9), "b": runs(0.9, 0.9, images=19)})
    with pytest.raises(ValueError, match="the same images"):
        compare({"a": np.zeros(4)})


# --- simulations -----------------------------------------------------------------------------------------

DRAWS = {  # scores and differences of scores: how they are drawn, and their mean
    "normal": (lambda rng, size: rng.normal(0.8, 0.05, size), 0.8),
    "beta(8, 2)": (lambda rng, size: rng.beta(8, 2, size), 8 / 10),
    "beta(30, 2)": (
        lambda rng, size: rng.beta(30, 2, size),
        30 / 32,
    ),  # a little more skewed than Otsu's Dice on blood smears
    "beta(12, 1)": (lambda rng, size: rng.beta(12, 1, size), 12 / 13),
    "uniform": (lambda rng, size: rng.random(size), 1 / 2),
    "gamma(2)": (lambda rng, size: rng.gamma(2, 1, size), 2.0),
    "counts": (lambda rng, size: rng.poisson(5, size) - rng.poisson(4, size), 1.0),
    "laplace": (lambda rng, size: rng.laplace(0, 0.02, size), 0.0),
    "failures": (  # one image in ten
        lambda rng, size: np.where(rng.random(size) < 0.9, rng.beta(40, 3, size), rng.beta(4, 4, size)),
        0.9 * 40 / 43 + 0.1 / 2,
    ),
}


def coverage(name, images, simulations, resamples):
    """How often the interval of images drawn from a distribution holds its mean."""
    draw, mean = DRAWS[name]
    tables = draw(np.random.default_rng((7, images)), (simulations, images))
    found = [interval(values, resamples=resamples, seed=i) for i, values in enumerate(tables)]
    return np.mean([each.low <= mean <= each.high for each in found])


def false_alarms(differences, groups=None, resamples=1999):
    return np.mean(
        [flip_test(d, groups=groups, resamples=resamples, seed=i) <= 0.05 for i, d in enumerate(differences)]
    )


def test_intervals_hold_the_truth():
    """In brief; 600 draws tell 95 % from 93 % no better than this."""
    assert 0.92 <= coverage("beta(30, 2)", 20, 600, 499) <= 0.98


def test_the_paired_test_raises_few_false_alarms():
    """Exactly, for the flips of 12 images are all tried; the two methods are alike but for noise."""
    first, second = np.random.default_rng(1).beta(30, 2, (2, 4000, 12))
    assert 0.04 <= false_alarms(first - second) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("images", [20, 40, 80, 160])
@pytest.mark.parametrize("name", DRAWS)
def test_intervals_hold_the_truth_in_93_to_97_of_100_cases(name, images):
    held = coverage(name, images, 4000, 1999)
    known = {("laplace", 20): (0.91, 0.93), ("failures", 20): (0.83, 0.87)}  # what `interval` says it cannot do
    least, most = known.get((name, images), (0.93, 0.97))
    assert least <= held <= most


@pytest.mark.slow
def test_intervals_over_groups_hold_the_truth():
    rng, held, as_if_single = np.random.default_rng(3), 0, 0
    for i in range(4000):
        group = np.repeat(np.arange(20), rng.integers(3, 9, 20))
        values = 0.8 + rng.normal(0, 0.05, 20)[group] + rng.normal(0, 0.03, len(group))
        found, naive = interval(values, groups=group, resamples=1999, seed=i), interval(values, resamples=1999, seed=i)
        held += found.low <= 0.8 <= found.high
        as_if_single += naive.low <= 0.8 <= naive.high
    assert 0.93 <= held / 4000 <= 0.97
    assert as_if_single / 4000 < 0.75


@pytest.mark.slow
@pytest.mark.parametrize("images", [8, 20, 60, 160])
@pytest.mark.parametrize("name", ["normal", "beta(12, 1)", "laplace", "failures"])
def test_the_paired_test_raises_false_alarms_in_4_to_6_of_100_cases(name, images):
    first, second = DRAWS[name][0](np.random.default_rng(images), (2, 6000, images))
    assert 0.04 <= false_alarms(first - second) <= 0.06


@pytest.mark.slow
def test_the_paired_test_over_groups_raises_false_alarms_in_4_to_6_of_100_cases():
    rng, group = np.random.default_rng(5), np.repeat(np.arange(10), 4)
    differences = rng.normal(0, 0.05, (6000, 10))[:, group] + rng.normal(0, 0.03, (6000, 40))
    assert 0.04 <= false_alarms(differences, group) <= 0.06
    assert false_alarms(differences[:1000]) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3, 5])
def test_verdicts_name_a_winner_among_equals_in_at_most_5_of_100_cases(number):
    """Three methods that differ by their seeds alone, which the test over images takes for a difference."""
    rng, named, fooled = np.random.default_rng(number), 0, 0
    for _ in range(1500):
        image, seed = rng.normal(0.85, 0.05, 20), rng.normal(0, 0.01, (3, number, 1))
        tables = image + seed + rng.normal(0, 0.01, (3, number, 20))
        found = compare(dict(zip("abc", tables, strict=True)), resamples=199)
        named += any(each.better for each in found)
        fooled += any(each.p_images < 0.05 / 3 for each in found)
    assert named / 1500 <= 0.06
    assert fooled / 1500 > 0.3


# --- helpers ---------------------------------------------------------------------------------------------


def test_pairs_are_turned_so_that_the_better_ranked_stands_first():
    pair = Comparison("b", "a", 0.1, -0.2, 0.3, 0.04, 0.05, 0.06, 0.07, "b")
    other = Comparison("c", "a", 0.5, 0.4, 0.6, 0.04, None, None, None, None)
    first, second = in_order([other, pair], ["a", "b", "c"])
    assert first == Comparison("a", "b", -0.1, -0.3, 0.2, 0.04, 0.05, 0.06, 0.07, "b")
    assert second[:5] == ("a", "c", -0.5, -0.6, -0.4)
    assert in_order([pair], ["b", "a"]) == [pair]


def test_sums_and_sizes_of_groups_by_hand():
    sums, sizes = by_group([1, 2, 4], ["y", "x", "y"])
    assert (sums.tolist(), sizes.tolist()) == ([2, 5], [1, 2])
    assert by_group([1, 2], None)[1].tolist() == [1, 1]
    with pytest.raises(ValueError, match="3 values need as many groups, not 2"):
        by_group([1, 2, 3], ["x", "y"])


def test_blocks_are_drawn_until_there_are_enough():
    asked = []

    def draw(count):
        asked.append(count)
        return np.full(count, len(asked), float)

    drawn = in_blocks(draw, 5, 2_000_000)  # two rows of that width fit at once
    assert asked == [2, 2, 1]
    assert drawn.tolist() == [1, 1, 2, 2, 3]
