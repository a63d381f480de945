"""Verdicts in words, each kind of sentence by hand: reasons, what could have been seen, what nobody can tell."""

from dataclasses import replace

import numpy as np
import pytest

from lamella.reporting.cohorts import Cohort, Method
from lamella.reporting.cohorts.types import Folding
from lamella.reporting.summary import summary
from lamella.reporting.verdict import amount, verdict, verdict_on
from lamella.statistics import TWO_SEEDS_ERROR, UNLIKE_SEEDS_ERROR
from support.report_pages import compared, method, one_seed

BOTH = "neither other images alone nor other seeds alone, but both together could make such a difference"
UNKNOWN = dict.fromkeys(("low", "high", "p", "least", "least_images", "least_runs"))


def cohort(*, runs=3, images=12, groups=None, fixed=(), phantom=False, card=None, missing=0, folds=None):
    """a, b and c with Dice around 0.9, 0.8 and 0.7; the first `missing` images have none."""
    rng = np.random.default_rng(0)
    methods = []
    for label, mean in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
        dice = mean + rng.normal(0, 0.01, (1 if label in fixed else runs, images))
        dice[:, :missing] = np.nan
        ids = [f"image {n}" for n in range(images)]
        methods.append(method(label, dice.tolist(), deterministic=label in fixed, ids=ids, groups=groups or ids))
    return Cohort("blood", phantom, tuple(methods), {}, card or {}, folds)


def said(pairs, of=None, **how):
    of = of or cohort()
    labels = {label for each in pairs for label in each[:2]} or {"a"}
    methods = tuple(each for each in of.methods if each.label in labels)
    of = replace(of, methods=methods)
    return list(verdict(of, summary(of, "dice", {}), pairs, "dice", **how).sentences)


AB, AC, BC = (compared(*pair) for pair in (("a", "b", 0.1), ("a", "c", 0.2), ("b", "c", 0.1)))


def on(pair, of=None, pairs=None, **how):
    return verdict_on(pair, of or cohort(), pairs or [pair], "dice", **how)


def test_a_pairs_verdict_says_why():
    assert on(AB._replace(better="a")) == "a is better"
    for of_images, of_seeds, reason in (
        (
            0.02,
            0.04,
            "neither other images alone nor other seeds alone, but both together could make such a difference",
        ),
        (0.02, 0.09, "other seeds alone could make such a difference"),
        (0.20, 0.04, "other images alone could make such a difference"),
        (0.20, 0.09, "other images alone could make such a difference, and so could other seeds"),
    ):
        assert on(AB._replace(p_images=of_images, p_runs=of_seeds)) == f"not told apart: {reason} (p 0.130)"
    fixed = AB._replace(noise=0.0, p_runs=0.0, p_images=0.13)
    assert on(fixed) == "not told apart: other images alone could make such a difference (p 0.130)"
    assert on(AB._replace(difference=0.0, p=1.0)) == "not told apart: their means are the same (p 1.000)"
    assert "other groups alone" in on(fixed, cohort(groups=list("aaaabbbbcccc")))


def test_a_pair_that_many_others_stand_beside():
    pair = AB._replace(p_single=0.01)
    assert on(pair, pairs=[AB] * 55) == (
        "not told apart: it would be, were it the only pair; of 55 pairs one may lead so far by chance (p 0.130)"
    )
    assert on(pair, leader=True).startswith("not told apart: it would be by itself, but the leader must pass against")


def test_why_a_pair_cannot_be_told():
    nothing = AB._replace(**UNKNOWN, p_images=None)
    one = "one seed: cannot tell how much seeds matter; train it with two more seeds"
    assert on(one_seed("a", "b", 0.1)) == one
    assert on(nothing) == "no spread: cannot tell, for the difference is the same on every image"
    all_ = "cannot tell: all pairs of the leader are tested at once, and one of them cannot be"
    assert on(AB._replace(**UNKNOWN)) == all_
    stack = cohort(groups=["block"] * 12, card={"groups in the test": "1 stack (specimen)"})
    assert on(nothing, stack) == "one stack: cannot tell what others would show; add other specimens"
    group = cohort(groups=["slide"] * 12)
    assert on(nothing, group) == "one group: cannot tell what others would show; add other groups"
    assert on(nothing, cohort(images=1)) == "one image: cannot tell what others would show; add other images"


def test_equality_within_a_margin_is_said_of_a_pair():
    equal = AB._replace(p_equal=0.01, equal=True)
    assert on(equal, margin=0.01) == "equal within 0.01 (p 0.010)"
    assert on(equal._replace(better="a"), margin=0.01) == "a is better, yet equal within 0.01 (p 0.010)"
    assert on(AB._replace(p_equal=0.3), margin=0.01).startswith("not told apart")
    assert amount(2.0, "boundary/hd95") == "2 px"


def test_a_winner_and_what_the_lead_was_held_against():
    ab, ac = (each._replace(better="a", p=0.012) for each in (AB, AC))
    words = "a lead that neither the choice of images nor the seeds explain"
    assert said([ab])[0].startswith("a is better than b: mean Dice 0.8989")
    assert "0.1000 (0.0800 to 0.1200) ahead of b, a lead" in said([ab])[0]
    assert said([ab])[0].endswith(f"{words} (p 0.012).")
    assert said([ab, ac, BC])[0].startswith("a is better than every other method")
    assert said([ab, ac, BC])[0].endswith(f"{words} (p < 0.05 for each pair, Holm's correction).")
    assert said([ab, ac], leader=True)[0].endswith(f"{words} (p 0.012 for all at once).")
    fixed = ab._replace(noise=0.0, p_runs=0.0)
    assert "a lead that the choice of images does not explain" in said([fixed], cohort(fixed=("a", "b")))[0]


def test_no_winner_and_why():
    answer, *why = said([AB._replace(p_images=0.2), AC._replace(better="a"), BC])
    assert answer.startswith("No winner: a has the best mean Dice 0.8989 (")
    assert answer.endswith(
        "), 0.1000 ahead of b; it is better than c and not told apart from b: chance alone may make such a lead."
    )
    assert why[0] == "a is better than c."
    reason = "other images alone could make such a difference, and so could other seeds"
    assert why[1] == f"Not told apart from b (p 0.130): {reason}."
    assert said([AB])[0].endswith(", 0.1000 ahead of b, but chance alone may make such a lead (p 0.130).")
    answer, *why = said([AB, AC, BC])
    assert answer.endswith("; it is not told apart from b and c: chance alone may make such a lead.")
    assert why[0] == "Not told apart from b (p 0.130) and c (p 0.130): other seeds alone could make such a difference."
    asked = said([AB, AC], leader=True)
    assert "Only whether it is better than all others was asked, not how those compare with each other." in asked
    one = " ".join(said([AB._replace(**UNKNOWN), one_seed("a", "c", 0.2)], leader=True))
    assert "Against b nothing can be said, either: all pairs of a were to be tested at once" in one


def test_many_methods_are_counted_in_the_answer_and_named_in_the_reasons():
    rng = np.random.default_rng(0)
    labels = [f"m{n:02}" for n in range(11)]
    methods = [method(each, (0.9 - n / 100 + rng.normal(0, 1e-3, (3, 4)))) for n, each in enumerate(labels)]
    pairs = [compared(labels[0], each, n / 100) for n, each in enumerate(labels[1:], 1)]
    answer, why, *_ = said(pairs, Cohort("blood", False, tuple(methods), {}, {}))
    assert "it is not told apart from 10 of the 10 others" not in answer
    assert "it is not told apart from all others: chance alone may make such a lead." in answer
    assert len(answer.split()) <= 45
    assert all(each in why for each in labels[1:])


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
    assert ". Whether by chance, nobody can tell: one seed does not show what chance makes." in text
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
    assert "Whether by chance, nobody can tell: one stack does not show what others would." in text[0]
    these = (
        "On these very images the p of its lead over b, by seeds alone, is 0.090; that says nothing of other stacks."
    )
    assert these in text
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
    assert "No winner: a and b have the best mean Dice 0.8989" in text
    assert "Whether a is equal to b within 0.01 cannot be tested, either." in text
    tested = said([AB._replace(difference=0.0, p=1.0), AC._replace(better="a")])
    assert tested[0].endswith("; it is better than c.")
    assert "Not told apart from b (p 1.000): their means are the same." in tested
    text = " ".join(said([AB._replace(**UNKNOWN, p_images=None)]))
    assert "a has the best mean Dice 0.8989" in text
    assert "nobody can tell: the difference is the same on every image, so there is no test." in text
    assert "Against b nothing can be said: the differences on all images are the same" in text


# --- folds -----------------------------------------------------------------------------------------------

FIVE = Folding("parted", tuple("01234"), 5, tuple("012340123401"), 1 / 3)
IN_FOLDS = AB._replace(p_images=0.02, noise=None, p_runs=None, p_folds=0.13, least_runs=None, least_folds=0.012)


def test_folds_compare_a_recipe():
    answer, recipe, *_ = said([IN_FOLDS._replace(better="a", p=0.01)], cohort(runs=1, folds=FIVE))
    assert answer.endswith("a lead that neither the choice of images nor the folds explain (p 0.010).")
    assert recipe == (
        "What is compared is a recipe, not one network: each method was trained on 5 folds, which have most of their "
        "training images in common, and each image was scored by a network that never saw it."
    )
    some = replace(FIVE, names=("0", "2"), of=tuple("02" * 6))
    assert "was trained on 2 of 5 folds (0 and 2), " in said([IN_FOLDS], cohort(runs=1, folds=some))[1]
    repeated = replace(FIVE, kind="repeated", of=())
    assert "each network was scored on the same test images." in said([AB], cohort(runs=5, folds=repeated))[1]


def test_why_folds_tell_nothing_apart():
    folded = cohort(runs=1, folds=FIVE)
    differ = "the folds differ among themselves as much"
    images = "other images alone could make such a difference"
    for of_images, of_folds, reason in (
        (0.02, 0.13, differ),
        (0.13, 0.02, images),
        (0.13, 0.1, f"{images}, and {differ}"),
    ):
        pair = IN_FOLDS._replace(p_images=of_images, p_folds=of_folds)
        assert on(pair, folded) == f"not told apart: {reason} (p 0.130)"
    repeated = cohort(runs=5, folds=replace(FIVE, kind="repeated", of=()))
    assert on(AB._replace(p_runs=0.04), repeated) == f"not told apart: {BOTH.replace('seeds', 'folds')} (p 0.130)"
    assert on(AB, repeated) == f"not told apart: {differ} (p 0.130)"


def test_what_helps_beside_more_folds():
    text = said([IN_FOLDS], cohort(runs=1, folds=FIVE))[3]
    assert text == (
        "With 12 images, 5 folds and 1 seed a fold only a lead over b of 0.0210 or more is found in 4 of 5 such "
        "comparisons (80 % power); twice the images would make that 0.0150, twice the folds 0.0120: more folds help "
        "more. What several seeds a fold would bring, one does not tell: run three to five seeds, such as seed=1,2,3."
    )
    seeds = IN_FOLDS._replace(noise=0.01, p_runs=0.1, least_runs=0.01)
    assert said([seeds], cohort(folds=FIVE))[3].endswith("twice the seeds 0.0100: more seeds help most.")
    assert not any("Two seeds" in each for each in said([seeds], cohort(runs=2, folds=FIVE)))
    groups = said([IN_FOLDS], cohort(runs=1, folds=FIVE, groups=list("abcdefghiaaa")))[3]
    assert "folds 0.0120" not in groups  # nine groups are too few for ten
    repeated = said([AB], cohort(runs=5, folds=replace(FIVE, kind="repeated", of=())))[3]
    assert repeated.startswith("With 12 images and 5 folds only a lead")
    assert repeated.endswith("twice the folds 0.0200: more images help more.")


def test_folds_of_one_stack_speak_of_it_alone():
    stack = cohort(runs=1, groups=["block"] * 12, card={"groups in the test": "1 stack"}, folds=FIVE)
    text = said([IN_FOLDS._replace(**UNKNOWN, p_images=None, p_folds=0.02, least_folds=None)], stack)
    assert text[0].endswith("nobody can tell: one stack does not show what others would.")
    these = (
        "On these very images the p of its lead over b, by folds alone, is 0.020; that says nothing of other stacks."
    )
    assert these in text


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
