"""The inverse power law through points: found where it is exact, and no surer than it should be where it is not."""

import numpy as np
import pytest
from scipy import stats

from lamella.statistics.folds import Folds
from lamella.statistics.learning import EXPONENTS, law

N = [8, 20, 40, 80]


def exact(score, *, images=6, seeds=3):
    return [np.full((seeds, images), score(n)) for n in N]


def noisy(levels, *, images=12, seeds=3, by_image=0.05, by_seed=0.01, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, by_image, images)
    return [level + hard + rng.normal(0, by_image / 3, images) + rng.normal(0, by_seed, (seeds, 1)) for level in levels]


@pytest.mark.parametrize("exponent", [0.3, 0.6, 1, 2])
def test_a_law_is_recovered_from_exact_points(exponent):
    found = law(N, exact(lambda n: 0.9 - 0.4 * (n / 8) ** -exponent))
    assert found.exponent == pytest.approx(exponent)
    assert found.reach == pytest.approx(0, abs=1e-12)
    assert found.fits == pytest.approx(1)
    assert not found.quickens
    assert found.fitted(N) == pytest.approx([0.9 - 0.4 * (n / 8) ** -exponent for n in N])
    gain, low, high = found.gain(160)
    assert gain == pytest.approx(0.4 * 10**-exponent * (1 - 2**-exponent))
    rise = 0.4 * (5**-exponent - 10**-exponent)
    assert found.rise == pytest.approx(rise)
    assert (low, high) == (pytest.approx(rise / 8), pytest.approx(rise))  # of the exponents 3 and 0


def test_the_logarithm_is_the_law_of_exponent_0():
    found = law(N, exact(lambda n: 0.5 + 0.05 * np.log2(n / 8)))
    assert found.exponent == 0
    assert found.gain(160)[0] == pytest.approx(0.05)
    assert found.gain([80, 120])[0] == pytest.approx([0, 0.05 * np.log2(1.5)])


def test_points_of_no_law_do_not_follow_it():
    assert not law(N, noisy([0.4, 0.75, 0.66, 0.7], by_image=0.01, by_seed=0.001)).follows
    some = [0.8 - 0.4 * (n / 8) ** -0.65 for n in N]
    assert law(N, noisy(some, by_image=0.01, by_seed=0.001)).follows


def test_what_gets_better_ever_faster_is_no_law():
    levels = [0.2, 0.22, 0.3, 0.6]
    assert law(N, noisy(levels)).quickens
    assert law(N, noisy([1 - level for level in levels]), lower_is_better=True).quickens
    assert not law(N, noisy([1 - level for level in levels])).quickens
    assert not law(N, noisy([0.4, 0.55, 0.62, 0.66])).quickens


def test_the_error_of_a_step_by_hand():
    values = noisy([0.4, 0.55, 0.62, 0.66], images=7, seeds=2)
    found = law(N, values, deterministic=True)  # images alone
    step = values[3].mean(axis=0) - values[2].mean(axis=0)
    error = step.std(ddof=1) / 7**0.5
    assert found.rise == pytest.approx(step.mean())
    # Of a range as wide as this beside the error one end alone can be missed: nearly the one-sided quantile.
    least, most = (error * stats.t.isf(share, 6) for share in (0.05, 0.025))
    assert least <= found.reach <= most * 1.0001
    flat = law(N, [each - each.mean() for each in values], deterministic=True)
    assert flat.rise == pytest.approx(0, abs=1e-12)
    assert flat.reach == pytest.approx(most, rel=1e-3)


def test_one_group_stands_for_itself_and_several_count_as_many():
    values = noisy([0.4, 0.55, 0.62, 0.66])
    alone, some, all_ = (law(N, values, groups=groups).reach for groups in (["a"] * 12, [*"abcd"] * 3, None))
    assert alone < all_ < some * 3
    folded = law(N, values, folds=Folds("parted", [*"abcd"] * 3, 0.5)).reach
    assert folded >= all_


def test_repeated_folds_overlap_which_makes_it_less_sure():
    values = noisy([0.4, 0.55, 0.62, 0.66])
    assert law(N, values, folds=Folds("repeated", [*"abc"], 0.5)).reach > law(N, values).reach


def test_the_nearest_to_a_half_is_the_step():
    values = noisy([0.4, 0.55, 0.62])
    assert law([8, 45, 80], values).before == 45
    assert law([10, 30, 32], values).before == 10
    assert EXPONENTS[0] == 0
