"""Learning curves: the table by hand, what is said of twice the labels, and each reason why nothing is."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lamella.reporting.cohorts import Cohort, Folding, Method, SeedRun
from lamella.reporting.learning import learning

N = (4, 10, 20, 40)
POWER = [0.9 - 0.4 * (n / 4) ** -0.6 for n in N]


def no_file(name):
    raise AssertionError(name)


def methods(label, levels, *, labelled=N, images=12, seeds=3, score="dice", seed_sd=0.003, image_sd=0.02,
            group="{}".format, deterministic=False):  # fmt: skip
    """A method a share, its scores about a level; the images are as hard for each."""
    rng = np.random.default_rng(3)
    hard = rng.normal(0, image_sd, images)
    result = []
    for level, count in zip(levels, labelled, strict=True):
        share = count / labelled[-1]
        runs = []
        for seed in range(1, seeds + 1):
            values = level + hard + rng.normal(0, seed_sd) + rng.normal(0, image_sd / 4, images)
            table = {"id": [f"image {i}" for i in range(images)], "group": [group(i) for i in range(images)],
                     "case": [f"{i:04d}" for i in range(images)], score: values}  # fmt: skip
            params = {"dataset.take": str(share), "model.name": label}
            runs.append(SeedRun(f"{seed}", label, seed, params, {}, pd.DataFrame(table), pd.DataFrame, no_file,
                                labelled=count))  # fmt: skip
        named = label if share == 1 else f"{label} dataset.take={share:g}"
        result.append(Method(named, tuple(runs), deterministic, float(count)))
    return tuple(result)


def cohort(*curves, phantom=False, card=None, folds=None):
    return Cohort(
        dataset="blood",
        phantom=phantom,
        methods=tuple(curve[-1] for curve in curves),
        protocol={},
        card=card or {},
        folds=folds,
        learning={curve[-1].label: curve for curve in curves},
    )


def said(*curves, score="dice", **more):
    found = learning(cohort(*curves, **more), score)
    return found.sentences


def test_no_curve_is_no_section():
    (only,) = methods("unet", [0.8], labelled=[20])
    assert learning(Cohort("blood", False, (only,), {}, {}), "dice") is None


def test_the_table_by_hand():
    curve = methods("unet", [0.5, 0.6, 0.7], labelled=[5, 10, 20], seeds=2)
    found = learning(cohort(curve, methods("otsu", [0.4, 0.4, 0.4], labelled=[5, 10, 20])), "dice")
    table = found.table
    assert list(table.columns) == ["method", "share", "labelled", "seeds", "dice", "low", "high", "seed_sd"]
    assert list(table.method) == ["unet"] * 3 + ["otsu"] * 3
    assert list(table.share)[:3] == [0.25, 0.5, 1]
    assert list(table.labelled)[:3] == [5, 10, 20]
    assert list(table.seeds) == [2, 2, 2, 3, 3, 3]
    means = curve[0].score("dice").mean(axis=1)
    assert table.dice[0] == pytest.approx(means.mean())
    assert table.seed_sd[0] == pytest.approx(abs(means[0] - means[1]) / np.sqrt(2))
    assert (table.low < table.dice).all()
    assert (table.dice < table.high).all()
    for label in ("unet", "otsu"):
        assert label in found.picture.alt


def test_what_twice_the_labels_bring():
    (sentence,) = said(methods("unet", POWER))
    found = re.fullmatch(
        r"Twice the labelled images \(80 for 40\) would bring unet from Dice (\S+) to about (\S+) \((\S+) to (\S+)\), "
        r"by the inverse power law\.", sentence,
    )  # fmt: skip
    assert found, sentence
    now, then, low, high = map(float, found.groups())
    true = 0.9 - 0.4 * (80 / 4) ** -0.6
    assert low <= true <= high
    assert now < low < then < high < 0.9
    assert then - now == pytest.approx(true - POWER[-1], abs=0.01)


def test_a_score_that_falls_as_it_gets_better():
    (sentence,) = said(methods("unet", [40 * (1 - p) for p in POWER], score="boundary/hd95", image_sd=0.8, seed_sd=0.1),
                       score="boundary/hd95")  # fmt: skip
    found = re.search(r"from HD95 (\S+) to about (\S+) px \((\S+) to (\S+)\)", sentence)
    assert found, sentence
    now, then, low, high = map(float, found.groups())
    assert low < then < high < now


@pytest.mark.parametrize(
    ("levels", "more", "words"),
    [
        (
            [0.8, 0.8, 0.8, 0.8],
            {"seed_sd": 0.001},
            r"Labelled images are not what unet lacks: twice as many \(80 for 40\) bring",
        ),
        ([0.6, 0.7], {"labelled": [10, 20]}, "a law needs 3 shares at least, 4 are better, and there are 2"),
        (POWER, {"seeds": 1}, "one seed does not show how much chance there is"),
        ([0.01] * 4, {"image_sd": 0.001}, "nothing has been learned yet"),
        ([0.5, 0.7, 0.9, 0.8], {}, "gets worse with more labelled images"),
        ([0.3, 0.32, 0.4, 0.7], {}, "still gets better ever faster"),
        ([0.4, 0.75, 0.66, 0.7], {}, "too far from any curve of the law"),
        ([0.73, 0.75, 0.74, 0.73], {"seed_sd": 0.05}, "which is wider than all that it changed"),
    ],
)
def test_each_reason_in_words(levels, more, words):
    (sentence,) = said(methods("unet", levels, **more))
    assert re.search(words, sentence), sentence


def test_one_specimen_speaks_for_itself_alone():
    card = {"groups in the test": "1 stack (specimen)"}
    (sentence,) = said(methods("unet", POWER, group=lambda i: "stack"), card=card)
    assert "would bring unet" in sentence
    assert sentence.endswith("for this specimen alone; of others it says nothing.")


def test_what_learns_nothing_from_labels():
    curve = [replace(method, runs=(run,)) for method in methods("otsu", [0.5] * 4, deterministic=True)
             for run in [methods("otsu", [0.5] * 4)[0].runs[0]]]  # fmt: skip
    (sentence,) = said(tuple(curve))
    assert sentence == "otsu scores the same with any number of labelled images: it learns nothing from them."


def test_a_score_that_no_image_has():
    curve = methods("unet", [np.nan] * 4)
    assert learning(cohort(curve), "dice") is None


def test_scores_of_some_images_alone():
    curve = methods("unet", POWER)
    for method in curve:
        for run in method.runs:
            run.scores.loc[3, "dice"] = np.nan
    (sentence,) = said(curve)
    assert "would bring unet" in sentence


def test_folds_are_no_surer_than_their_number():
    of = tuple(f"{i % 3}" for i in range(12))
    plain, folded = (
        re.search(r"\((\d\S+) to (\S+)\)", said(methods("unet", POWER, image_sd=0.05), folds=folds)[0])
        for folds in (None, Folding("parted", ("0", "1", "2"), 3, of, 0.5))
    )
    width = [float(each[2]) - float(each[1]) if each else np.inf for each in (plain, folded)]
    assert width[0] <= width[1]


def test_phantoms_are_called_so_and_several_methods_are_told_apart():
    found = learning(cohort(methods("unet", POWER), methods("fcn8s", [p - 0.1 for p in POWER]), phantom=True), "dice")
    assert len(found.sentences) == 2  # the verdict above them says what phantoms are
    assert "phantom test images" in found.picture.alt


def test_the_picture_is_of_real_counts():
    found = learning(cohort(methods("unet", POWER)), "dice")
    assert re.search(r"unet 0\.\d{4} of 4, 0\.\d{4} of 10, 0\.\d{4} of 20, 0\.\d{4} of 40\.", found.picture.alt)
    assert found.picture.svg.startswith("<svg")
    assert "twice its images" in found.picture.caption
