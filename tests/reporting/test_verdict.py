"""Verdicts in words, each kind of sentence by hand: reasons, what could have been seen, what nobody can tell."""

import numpy as np
import pytest

from lamella.reporting.cohorts import Cohort, Method
from lamella.reporting.summary import Sample, summary
from lamella.reporting.verdict import amount, verdict, verdict_on
from lamella.statistics import TWO_SEEDS_ERROR, UNLIKE_SEEDS_ERROR
from support.report_pages import compared, method, one_seed

TWELVE, STACK = Sample(12, 12, 12, "image"), Sample(6, 6, 1, "stack")
UNKNOWN = dict.fromkeys(("low", "high", "p", "least", "least_images", "least_runs"))


def cohort(*, runs=3, images=12, groups=None, fixed=(), phantom=False, card=None, missing=0):
    """a, b and c with Dice around 0.9, 0.8 and 0.7; the first `missing` images have none."""
    rng = np.random.default_rng(0)
    methods = []
    for label, mean in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
        dice = mean + rng.normal(0, 0.01, (1 if label in fixed else runs, images))
        dice[:, :missing] = np.nan
        ids = [f"image {n}" for n in range(images)]
        methods.append(method(label, dice.tolist(), deterministic=label in fixed, ids=ids, groups=groups or ids))
    return Cohort("blood", phantom, tuple(methods), {}, card or {})


def said(pairs, of=None, **how):
    of = of or cohort()
    labels = {label for each in pairs for label in each[:2]} or {"a"}
    methods = tuple(each for each in of.methods if each.label in labels)
    of = Cohort(of.dataset, of.phantom, methods, of.protocol, of.card)
    return verdict(of, summary(of, "dice", {}), pairs, "dice", **how)


AB, AC, BC = (compared(*pair) for pair in (("a", "b", 0.1), ("a", "c", 0.2), ("b", "c", 0.1)))


def test_a_pairs_verdict_says_why():
    on = {
        "a is better": AB._replace(better="a"),
        "not told apart: p 0.130 (images alone 0.020, seeds alone 0.090)": AB,
        "not told apart: p 0.130 (images alone 0.020)": AB._replace(noise=0.0, p_runs=0.0),
        "one seed: cannot tell": one_seed("a", "b", 0.1),
        "no spread: cannot tell": AB._replace(**UNKNOWN, p_images=None),
        "not all pairs can be tested: cannot tell": AB._replace(**UNKNOWN),
    }
    assert {words: verdict_on(pair, TWELVE, "dice") for words, pair in on.items()} == {words: words for words in on}
    nothing = AB._replace(**UNKNOWN, p_images=None)
    assert verdict_on(nothing, STACK, "dice") == "one stack: cannot tell"
    assert verdict_on(nothing, STACK._replace(noun="group"), "dice") == "one group: cannot tell"
    assert verdict_on(nothing, Sample(1, 1, 1, "image"), "dice") == "one image: cannot tell"
    assert "(groups alone 0.020" in verdict_on(AB, Sample(30, 30, 5, "group"), "dice")


def test_equality_within_a_margin_is_said_of_a_pair():
    equal = AB._replace(p_equal=0.01, equal=True)
    assert verdict_on(equal, TWELVE, "dice", 0.01) == "equal within 0.01 (p 0.010)"
    assert (
        verdict_on(equal._replace(better="a"), TWELVE, "dice", 0.01) == "a is better, yet equal within 0.01 (p 0.010)"
    )
    assert verdict_on(AB._replace(p_equal=0.3), TWELVE, "dice", 0.01).startswith("not told apart")
    assert amount(2.0, "boundary/hd95") == "2 px"


def test_a_winner_and_what_the_lead_was_held_against():
    ab, ac = (each._replace(better="a", p=0.012) for each in (AB, AC))
    words = "a lead that neither the choice of images nor the seeds explain"
    assert said([ab])[0].startswith("a is better than b: mean Dice 0.8989")
    assert said([ab])[0].endswith(f"{words} (p 0.012).")
    assert said([ab, ac, BC])[0].startswith("a is better than every other method")
    assert said([ab, ac, BC])[0].endswith(f"{words} (p < 0.05 for each pair, Holm's correction).")
    assert said([ab, ac], leader=True)[0].endswith(f"{words} (p 0.012 for all at once).")
    fixed = ab._replace(noise=0.0, p_runs=0.0)
    assert "a lead that the choice of images does not explain" in said([fixed], cohort(fixed=("a", "b")))[0]


def test_no_winner_and_why():
    text = " ".join(said([AB, AC._replace(better="a"), BC]))
    assert "a has the best mean Dice, 0.8989" in text
    assert "It is better than c, but not told apart from b (p 0.130; images alone 0.020, seeds alone 0.090)" in text
    assert "no winner is named" in text
    assert "It is not told apart from b (p 0.130; images" in " ".join(said([AB]))
    asked = said([AB, AC], leader=True)
    assert "Only whether it is better than all others was asked, not how those compare with each other." in asked
    one = " ".join(said([AB._replace(**UNKNOWN), one_seed("a", "c", 0.2)], leader=True))
    assert "Against b nothing can be said, either: all pairs of a were to be tested at once" in one


def test_what_could_have_been_seen_and_what_helps_more():
    text = said([AB])[2]
    assert text == (
        "With 12 images and 3 seeds only a lead over b of 0.0210 or more is found in 4 of 5 such comparisons (80 % "
        "power); twice the images would make that 0.0150, twice the seeds 0.0200: more images help more."
    )
    seeds = AB._replace(least_images=0.02, least_runs=0.015)
    assert said([seeds])[2].endswith("more seeds help more.")
    assert said([AB._replace(least_runs=0.015)])[2].endswith("both help alike.")
    assert said([AB, AC, BC])[2].startswith("With 12 images, 3 seeds and 3 pairs only a lead")
    fixed = said([AB._replace(noise=0.0, p_runs=0.0)], cohort(fixed=("a", "b")))[2]
    assert fixed.startswith("With 12 images only a lead over b of 0.0210 or")
    assert fixed.endswith("twice the images would make that 0.0150.")
    assert "With 3 groups and 3 seeds" in said([AB], cohort(groups=list("aaaabbbbcccc")))[2]
    assert not any("80 % power" in each for each in said([one_seed("a", "b", 0.1)], cohort(runs=1)))


def test_one_seed_and_two():
    text = " ".join(said([one_seed("a", "b", 0.1)], cohort(runs=1)))
    assert "Against b nothing can be said: one run of a method that draws at random" in text
    assert "Run three to five seeds, such as seed=1,2,3." in text
    two = " ".join(said([AB], cohort(runs=2)))
    assert f"in up to {100 * TWO_SEEDS_ERROR:.2g} % of comparisons, not 5 %" in two
    assert not any("Two seeds" in each or "as many seeds" in each for each in said([AB]))


def test_unlike_numbers_of_seeds():
    a, b, c = cohort(runs=5).methods
    unlike = Cohort("blood", False, (Method("a", a.runs[:3], False), b, c), {}, {})
    text = " ".join(said([AB, AC, BC], unlike))
    assert "The methods have 3 to 5 seeds" in text
    assert f"in up to {100 * UNLIKE_SEEDS_ERROR:.2g} % of comparisons, not 5 %. Run as many seeds of each." in text


def test_one_stack_says_nothing_of_others():
    nothing = AB._replace(**UNKNOWN, p_images=None)
    of = cohort(images=6, groups=["block"] * 6, card={"groups in the test": "1 stack (specimen)"})
    text = said([nothing], of)
    assert "On these very images the p of its lead over b, by seeds alone, is 0.090." in text
    assert (
        "6 test images of one stack: these figures describe these 6 sections only, and nothing tells how far they hold "
        "for others. Other specimens are needed, to tell which method is better on them." in text
    )
    assert not any("few" in each for each in text)
    alone = said([], cohort(images=1))
    assert "1 test image: these figures describe this image only" in " ".join(alone)
    assert "there is nothing to compare it with" in alone[0]


def test_equal_scores_have_no_test():
    same = AB._replace(**UNKNOWN, p_images=None, difference=0.0)
    text = " ".join(said([same], margin=0.01))
    assert "a and b have the best mean Dice, 0.8989" in text
    assert "Whether a is equal to b within 0.01 cannot be tested, either." in text
    text = " ".join(said([AB._replace(**UNKNOWN, p_images=None)]))
    assert "a has the best mean Dice, 0.8989" in text
    assert "Against b nothing can be said: the differences on all images are the same" in text


def test_few_are_counted_by_groups():
    assert "12 test images are few" in " ".join(said([AB]))
    assert "few" not in " ".join(said([AB], cohort(images=20)))
    groups = [f"patient {n % 3}" for n in range(40)]
    assert "40 test images of 3 groups: 3 groups are few" in " ".join(said([AB], cohort(images=40, groups=groups)))


def test_the_leaders_equality():
    equal, not_ = {"p_equal": 0.01, "equal": True}, {"p_equal": 0.3}
    one = said([AB._replace(**equal), AC._replace(**not_), BC], margin=0.01)
    assert "Within a margin of 0.01, a is equal to b (p 0.010): b is no worse than a by 0.01 or more." in one
    assert "That a is equal within 0.01 is not shown for c (p 0.300)." in one
    both = said([AB._replace(**equal), AC._replace(p_equal=0.02, equal=True), BC], margin=0.01)
    assert (
        "Within a margin of 0.01, a is equal to b and c (p at most 0.020): none of them is worse than a by 0.01 or "
        "more." in both
    )
    assert not any("margin" in each for each in said([AB]))
    assert not any("is not shown" in each for each in said([AB._replace(better="a", p_equal=0.9)], margin=0.01))


def test_images_without_the_score_are_said():
    assert "12 test images (of 14; the others lack this score) are few" in " ".join(
        said([AB], cohort(images=14, missing=2))
    )
    many = " ".join(said([AB], cohort(images=40, missing=2)))
    assert "All this is over the 38 test images that have this score, of 40." in many
    none = said([], cohort(images=3, missing=3), margin=None)
    assert none == ["No test image has this score (Dice): by it nothing is compared."]


def test_rare_failures_stand_in_no_interval():
    assert said([AB])[-1] == (
        "Rare failures are in no interval of a mean: a has a Dice below 0.5 on 0 of 12 test images, and of all such "
        "images up to 26 % may have."
    )


def test_groups_fail_together_so_there_are_no_bounds():
    text = said([AB], cohort(groups=list("aaaabbbbcccc")))[-1]
    assert text.endswith("a has a Dice below 0.5 on 0 of 12 test images.")


def test_phantoms_are_called_so_first():
    assert said([AB], cohort(phantom=True))[0].startswith("These images are phantoms")


@pytest.mark.parametrize("runs", [1, 3])
def test_a_method_alone_has_nothing_to_be_compared_with(runs):
    assert said([], cohort(runs=runs))[0].startswith("a has a mean Dice of 0.")
