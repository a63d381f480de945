"""Folds put together: variances by hand, against scipy, and in words that never contradict each other."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lamella.statistics import Folds, compare, holm
from lamella.statistics.error import Error
from lamella.statistics.folds import held_out
from support.tools import tool

# Six images in folds of 3, 2 and 1; the leads of a over b.
LEAD = np.array([0.1, 0.2, 0.3, 0.4, 0.2, 0.6])
OF = ("0", "0", "0", "1", "1", "2")


def two(lead, folds, **how):
    (found,) = compare({"a": np.atleast_2d(lead), "b": np.zeros((1, np.shape(lead)[-1]))}, folds=folds, **how)
    return found


def test_the_variance_of_unequal_folds_by_hand():
    found = two(LEAD, Folds("parted", OF, 1 / 3))
    # Folds 0.2, 0.3, 0.6 with shares 1/2, 1/3, 1/6: mean 0.3. Of squares 0.01, 0, 0.09 the weighted mean is 0.02; over
    # 1 - (1/4 + 1/9 + 1/36) = 11/18 it is 0.36/11, times (7/18 + 1/3): 0.0236363..., freedom 18/7 - 1 = 11/7.
    assert found.difference == pytest.approx(0.3)
    assert found.p_folds == pytest.approx(2 * stats.t.sf(0.3 / 0.02363636363636364**0.5, 11 / 7))
    means, shares = np.array([0.2, 0.3, 0.6]), np.array([3, 2, 1]) / 6
    variance = (shares * (means - 0.3) ** 2).sum() / (1 - (shares**2).sum()) * ((shares**2).sum() + 1 / 3)
    assert variance == pytest.approx(0.02363636363636364)
    # The images alone would say more; p is the larger one.
    assert found.p_images == pytest.approx(stats.ttest_1samp(LEAD, 0).pvalue)
    assert found.p == found.p_single == found.p_folds > found.p_images
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, 11 / 7) * variance**0.5)
    # One seed is enough for a p, and says nothing of seeds.
    assert (found.noise, found.p_runs, found.least_runs) == (None, None, None)
    assert found.least_folds < found.least


def test_equal_folds_without_correction_are_a_t_test_over_folds():
    lead = np.random.default_rng(0).normal(0.05, 0.1, (4, 6))
    folds = Folds("parted", np.repeat(list("wxyz"), 6).tolist(), 1.0)
    error = folds.error(lead.reshape(1, -1), np.zeros((1, 24)), Error(np.asarray(0.01), 23, np.asarray(np.nan), 3))
    reference = stats.ttest_1samp(lead.mean(axis=1), 0)
    assert replace(error, ratio=0.0).alone.folds.p(lead.mean()) == pytest.approx(reference.pvalue)
    # n2/n1 counts as 1/3 or more: sqrt((1/4 + 1/3) / (1/4)) deviations.
    found = two(lead.ravel(), folds._replace(ratio=1 / 8))
    assert found.p_folds == pytest.approx(2 * stats.t.sf(abs(reference.statistic) / (7 / 3) ** 0.5, 3))
    assert [held_out(ratio, folds) for ratio, folds in ((1, 3), (1 / 3, 5), (1 / 8, 10), (1 / 18, 20))] == [
        1, 1 / 3, 0.3, 0.15,
    ]  # fmt: skip


def test_images_alone_are_never_undercut():
    lead = np.array([0.3, -0.1, 0.29, -0.11, 0.31, -0.09])  # the folds agree by chance
    found = two(lead, Folds("parted", list("aabbcc"), 0.5))
    assert found.p == found.p_images == pytest.approx(stats.ttest_1samp(lead, 0).pvalue)
    assert found.p_folds < 0.05 < found.p
    # Groups, not images, are counted: of two patients nothing is known so well.
    groups = ["p", "q"] * 3
    assert two(lead, Folds("parted", list("aabbcc"), 0.5), groups=groups).p > 0.6


def test_seeds_of_a_fold_are_averaged_and_their_part_is_known():
    rng = np.random.default_rng(1)
    of, networks = np.repeat(np.arange(5), 8), rng.normal(0, 0.05, (2, 3, 5))
    a, b = 0.8 + networks[..., of] + rng.normal(0, 0.01, (2, 1, 40))
    folds = Folds("parted", [str(each) for each in of], 1 / 3)
    (found,) = compare({"a": a, "b": b}, folds=folds)
    lead = a.mean(axis=0) - b.mean(axis=0)
    variance = lead.reshape(5, 8).mean(axis=1).var(ddof=1) * (1 / 5 + 1 / 3)
    assert found.p_folds == pytest.approx(2 * stats.t.sf(abs(found.difference) / variance**0.5, 4))
    seeds = compare({"a": a, "b": b})[0]
    assert (found.noise, found.p_runs) == (seeds.noise, seeds.p_runs)
    # Here networks differ far more than images do.
    assert found.least_runs < found.least_images <= found.least
    # With nothing else drawn at random one run is as good: what is chosen still depends on what it trained on.
    (fixed,) = compare({"a": a[:1], "b": b[:1]}, folds=folds, deterministic="ab")
    assert fixed.p == pytest.approx(compare({"a": a[:1], "b": b[:1]}, folds=folds)[0].p)
    assert fixed.noise == 0


def test_one_group_has_a_p_by_folds_only():
    found = two(LEAD, Folds("parted", OF, 1 / 3), groups=["block"] * 6)
    assert (found.p, found.better, found.low, found.least) == (None,) * 4
    assert found.p_folds == two(LEAD, Folds("parted", OF, 1 / 3)).p_folds


@pytest.mark.filterwarnings("error")
def test_folds_whose_images_all_lack_the_score_drop_out():
    nan = np.nan
    table = {"a": [[*LEAD, nan, nan]], "b": [[*np.zeros(6), nan, nan]]}
    (found,) = compare(table, folds=Folds("parted", (*OF, "3", "0"), 1 / 3))
    assert found == two(LEAD, Folds("parted", OF, 1 / 3))
    # One fold is as none: a single seed of networks tells nothing.
    assert two(LEAD, Folds("parted", ["0"] * 6, 1 / 3)) == two(LEAD, None)
    assert two(LEAD, Folds("parted", ["0"] * 6, 1 / 3)).p is None


def test_repeated_folds_are_paired_runs_by_hand():
    image = np.array([0.3, 0.1, 0.2, 0.4, 0.0, 0.2])
    lead = np.array([0.1, 0.3, 0.2, 0.0, 0.4])  # of each fold
    shared = np.array([0.0, 0.2, -0.1, 0.05, 0.1])  # what a fold makes of both, which cancels
    a, b = image + (lead + shared)[:, None], np.zeros(6) + shared[:, None]
    (found,) = compare({"a": a, "b": b}, folds=Folds("repeated", list("01234"), 0.25))
    of_images, of_folds = image.var(ddof=1) / 6, 0.025 * (1 / 5 + 1)  # the deviations squared add up to 0.1
    error = (of_images + of_folds) ** 0.5
    freedom = error**4 / (of_images**2 / 5 + of_folds**2 / 4)
    assert found.difference == pytest.approx(0.4)
    assert found.p_images == pytest.approx(2 * stats.t.sf(0.4 / of_images**0.5, 5))
    assert found.p_runs == pytest.approx(2 * stats.t.sf(0.4 / of_folds**0.5, 4))
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    # Two seeds of each fold count once.
    again = Folds("repeated", list("0123401234"), 0.25)
    assert compare({"a": np.vstack([a, a]), "b": np.vstack([b, b])}, folds=again) == [found]
    # Methods that come out alike in every fold leave the images alone.
    (fixed,) = compare({"a": [image] * 5, "b": np.zeros((5, 6))}, folds=Folds("repeated", list("01234"), 0.25))
    assert fixed.p == fixed.p_images == pytest.approx(stats.ttest_1samp(image, 0).pvalue)


def test_what_is_no_folds_is_refused():
    with pytest.raises(ValueError, match="6 images need as many folds, not 2"):
        two(LEAD, Folds("parted", ["0", "1"], 0.3))
    with pytest.raises(ValueError, match=r"2 runs in folds need as many of each method, not \[1\]"):
        two(LEAD, Folds("repeated", ["0", "1"], 0.3))


@given(
    st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 3), st.sampled_from([12, 40]), st.integers(2, 6),
    st.sampled_from([0.0, 0.01, 0.1]), st.booleans(), st.sampled_from(["parted", "repeated"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_interval_p_and_verdict_never_contradict(seed, methods, count, images, folds, network, leader, kind):
    rng = np.random.default_rng(seed)
    count = count if kind == "parted" else folds * count
    of = np.concatenate([np.arange(folds), rng.integers(0, folds, images - folds)])
    tables = rng.normal(0, 0.03, methods)[:, None, None] + rng.normal(0, 0.03, (methods, count, images))
    tables += rng.normal(0, network, (methods, count, folds))[..., of]
    of = of.tolist() if kind == "parted" else [n % folds for n in range(count)]
    how = Folds(kind, [str(each) for each in of], 1 / folds)
    names = "abcd"[:methods]
    found = compare(dict(zip(names, tables, strict=True)), folds=how, leader=leader, margin=0.02)
    single = np.array([each.p_single for each in found])
    assert [each.p for each in found] == pytest.approx(np.full(len(found), single.max()) if leader else holm(single))
    for each in found:
        assert (each.p < 0.05) == (each.better is not None) == (each.low > 0 or each.high < 0)
        assert each.better in (None, each.first if each.difference > 0 else each.second)
        assert each.least_images <= each.least
        assert each.least_runs is None or each.least_runs <= each.least
        if kind == "parted":
            assert each.p_single == max(each.p_images, each.p_folds)
            assert each.least_folds <= each.least
        else:
            assert each.p_folds is each.least_folds is None


# --- simulations; `tools/simulate_folds.py` has the tables -------------------------------------------------


@pytest.fixture(scope="module")
def simulation():
    return tool("simulate_folds")


@pytest.mark.parametrize(("methods", "seeds", "grouped"), [(2, 1, False), (3, 2, True)])
def test_the_simulation_asks_what_compare_answers(simulation, methods, seeds, grouped):
    """The simulation reckons in whole arrays; of the same scores `compare` says the same."""
    rng = np.random.default_rng(3)
    groups = simulation.groups_of(rng, 40, grouped)
    of = simulation.folds_of(rng, groups, 3)
    scores = simulation.learnt(rng, simulation.LEARNERS[0], 3, methods, seeds, of, groups)
    difference, judged = simulation.tests(scores, of, groups)
    names = [str(each) for each in of]
    for draw, table in enumerate(scores):
        methods_ = dict(zip("abcd", table, strict=False))
        found = compare(methods_, groups=groups, folds=Folds("parted", names, simulation.ratio_of(of)))
        assert [each.difference for each in found] == pytest.approx(difference[draw])
        assert [each.p for each in found] == pytest.approx(judged.used[draw])
        assert holm([each.p_folds for each in found]) == pytest.approx(judged.folds[draw])
        assert holm([each.p_images for each in found]) == pytest.approx(judged.images[draw])


@pytest.mark.parametrize(("learner", "images", "folds", "how"), [
    (0, 60, 5, {}), (1, 25, 3, {}), (2, 60, 5, {"grouped": True}), (3, 60, 10, {"seeds": 3}),
    (4, 60, 5, {"methods": 4}), (1, 60, 10, {"seeds": 3}),
])  # fmt: skip
def test_equal_learners_are_seldom_told_apart(simulation, learner, images, folds, how):
    found = simulation.wrong(400, simulation.LEARNERS[learner], images, folds, **how)
    assert found.used <= 0.055 + 2 * 0.011
    assert found.used <= min(found.folds, found.images)


def test_images_alone_and_plain_folds_would_be_wrong_where_this_test_is_not(simulation):
    found = simulation.in_gauss(1000, 60, 5, effect=1.0)
    assert found.used <= 0.055 + 2 * 0.007
    assert found.naive > 0.06
    assert found.images > 0.12


def test_equal_learners_on_the_same_images_are_seldom_told_apart(simulation):
    assert simulation.wrong_on_the_same_images(300, simulation.LEARNERS[3], 60, 60, 10) <= 0.055 + 2 * 0.013


def test_a_clear_lead_is_seen(simulation):
    found = simulation.in_gauss(1000, 60, 5, effect=0, lead=0.75)
    assert found.used > 0.6


@pytest.mark.slow
def test_at_most_5_of_100_comparisons_of_equal_learners_in_folds_name_anybody(simulation):
    for folds in simulation.FOLDS:
        for images in simulation.IMAGES:
            for learner in simulation.LEARNERS:
                found = simulation.wrong(2000, learner, images, folds, seeds=3)
                assert found.used <= 0.055 + 2 * 0.005, (folds, images, learner.name)
