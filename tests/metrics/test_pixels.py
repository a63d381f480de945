"""Pixel scores: values worked out by hand, equality with torchmetrics, and what must never change a score."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lamella.torchvision_ops  # noqa: F401 - before torchmetrics, which imports torchvision
from lamella.metrics.pixels import (
    ALL_SCORE_NAMES,
    THRESHOLDS,
    ImageTable,
    accuracy,
    choose_threshold,
    count,
    count_at,
    defined_mean,
    dice,
    iou,
    mcc,
    pixel_error,
    precision,
    recall,
    soft_dice,
    soft_iou,
    soft_sums,
    specificity,
)

from torchmetrics.functional import classification as reference  # isort: skip

seeds = st.integers(0, 2**32 - 1)
NAN = float("nan")


def ids(rows):
    return torch.tensor([rows], dtype=torch.uint8)


def all_valid(batch):
    return torch.ones_like(batch, dtype=torch.bool)


def random_batch(seed, images=4, classes=2):
    rng = torch.Generator().manual_seed(seed)
    shape = (images, 7, 9)
    predicted, truth = (torch.randint(classes, shape, generator=rng, dtype=torch.uint8) for _ in range(2))
    return predicted, truth, torch.rand(shape, generator=rng) < 0.8


def table(predicted, truth, valid, classes=2):
    return ImageTable([str(i) for i in range(len(truth))], count(predicted, truth, valid, classes).numpy())


# --- counts ----------------------------------------------------------------------------------------------


def test_counts_by_hand():
    predicted = ids([[1, 1, 1, 0], [0, 0, 0, 1]])
    truth = ids([[1, 1, 0, 1], [0, 0, 0, 0]])
    counts = count(predicted, truth, all_valid(truth), 2)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[[3, 1, 2, 2], [2, 2, 1, 3]]]  # background, foreground: TP, FP, FN, TN


def test_three_classes_by_hand():
    predicted = ids([[0, 1, 2], [0, 2, 2]])
    truth = ids([[0, 1, 1], [2, 2, 2]])
    counts = count(predicted, truth, all_valid(truth), 3)
    assert counts.tolist() == [[[1, 1, 0, 4], [1, 0, 1, 4], [2, 1, 1, 2]]]
    scores = ImageTable(["a"], counts.numpy())
    assert scores.per_image("accuracy") == pytest.approx([4 / 6])  # right pixels, whatever their class
    assert scores.per_image("dice") == pytest.approx([(2 / 3 + 4 / 6) / 2])  # classes 1 and 2; no background
    assert scores.per_image("iou") == pytest.approx([(1 / 2 + 2 / 4) / 2])
    assert scores.of_class("precision", 2) == pytest.approx([2 / 3])


def test_invalid_pixels_count_nowhere():
    predicted, truth = ids([[1, 1, 0, 0]]), ids([[1, 0, 1, 0]])
    valid = torch.tensor([[[True, False, False, True]]])
    assert count(predicted, truth, valid, 2).tolist() == [[[1, 0, 0, 1], [1, 0, 0, 1]]]
    assert count(predicted, truth, valid & False, 2).sum() == 0
    # What is not valid may even hold ids that do not exist.
    assert count(predicted, torch.where(valid, truth, 255), valid, 2).tolist() == [[[1, 0, 0, 1], [1, 0, 0, 1]]]


@given(seeds, st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_every_valid_pixel_is_counted_once_for_each_class(seed, classes):
    predicted, truth, valid = random_batch(seed, classes=classes)
    counts = count(predicted, truth, valid, classes)
    assert (counts.sum(-1) == valid.sum((1, 2))[:, None]).all()
    assert (counts >= 0).all()


# --- scores ----------------------------------------------------------------------------------------------


def test_scores_by_hand():
    counts = np.array([2, 2, 1, 3])  # TP, FP, FN, TN
    assert dice(counts) == pytest.approx(4 / 7)
    assert iou(counts) == pytest.approx(2 / 5)
    assert accuracy(counts) == pytest.approx(5 / 8)
    assert precision(counts) == pytest.approx(2 / 4)
    assert recall(counts) == pytest.approx(2 / 3)
    assert specificity(counts) == pytest.approx(3 / 5)
    assert mcc(counts) == pytest.approx((2 * 3 - 2 * 1) / (4 * 3 * 5 * 4) ** 0.5)
    assert pixel_error(counts) == pytest.approx(3 / 8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        # Dice, IoU, accuracy, precision, recall, specificity, MCC, pixel error
        (0, 0, [NAN, NAN, 1, NAN, NAN, 1, NAN, 0]),  # nothing there: undefined, whatever was said
        (1, 0, [NAN, NAN, 0, NAN, NAN, 0, NAN, 1]),
        (0, 1, [0, 0, 0, 0, 0, NAN, -1, 1]),  # all is of the class: nothing to leave out
        (1, 1, [1, 1, 1, 1, 1, NAN, 1, 0]),
    ],
)
def test_empty_and_full(predicted, truth, expected):
    truth, predicted = (torch.full((1, 3, 3), v, dtype=torch.uint8) for v in (truth, predicted))
    scores = table(predicted, truth, all_valid(truth))
    for found in (
        [scores.per_image(name)[0] for name in ALL_SCORE_NAMES],
        [scores.pooled(name) for name in ALL_SCORE_NAMES],
        [scores.of_class(name, 1)[0] for name in ALL_SCORE_NAMES],
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((4, 0, 2, 3), {"dice": 8 / 10, "iou": 4 / 6, "precision": 1, "recall": 4 / 6, "specificity": 1}),
        # There and nothing said: 0, precision, too.
        ((0, 0, 2, 7), {"dice": 0, "iou": 0, "precision": 0, "recall": 0, "specificity": 1, "mcc": 0}),
        # Not there and something said: undefined, but for what judges the background.
        ((0, 3, 0, 6), {"dice": NAN, "iou": NAN, "precision": NAN, "recall": NAN, "specificity": 6 / 9, "mcc": NAN}),
        # All of the class, half of it found.
        ((4, 0, 4, 0), {"dice": 8 / 12, "precision": 1, "recall": 1 / 2, "specificity": NAN, "mcc": 0}),
        # All of the class, all found.
        ((8, 0, 0, 0), {"dice": 1, "precision": 1, "recall": 1, "specificity": NAN, "mcc": 1, "accuracy": 1}),
        ((0, 0, 0, 0), dict.fromkeys(ALL_SCORE_NAMES, NAN)),
    ],
)
def test_what_is_undefined_by_hand(counts, expected):
    # As an image of two classes: what is false for one is false for the other.
    tp, fp, fn, tn = counts
    scores = ImageTable(["a"], np.array([[[tn, fn, fp, tp], counts]]))
    found = {name: scores.per_image(name)[0] for name in expected}
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([2, 2, 0, 0], 0),  # all was called foreground
        ([0, 0, 2, 2], 0),  # nothing was
        ([2, 0, 2, 0], 0),  # all is foreground
        ([3_000_000_000, 0, 0, 7_000_000_000], 1),  # the product of four sums would overflow
    ],
)
def test_correlation_where_a_row_or_column_is_empty(counts, expected):
    assert mcc(np.array(counts)) == expected


@pytest.mark.filterwarnings("error")
def test_an_image_without_one_valid_pixel_has_no_score():
    truth = torch.ones(1, 2, 2, dtype=torch.uint8)
    scores = table(1 - truth, truth, torch.zeros_like(truth, dtype=torch.bool))
    assert np.isnan([scores.per_image(name)[0] for name in ALL_SCORE_NAMES]).all()
    assert np.isnan([scores.pooled(name) for name in ALL_SCORE_NAMES]).all()


def test_what_is_ignored_can_take_a_class_away():
    truth, predicted = ids([[1, 0, 0, 0]]), ids([[1, 1, 0, 0]])
    valid = torch.tensor([[[False, True, True, True]]])
    assert table(predicted, truth, all_valid(truth)).per_image("dice") == pytest.approx([2 / 3])
    scores = table(predicted, truth, valid)
    assert np.isnan(scores.per_image("dice")).all()
    assert scores.per_image("accuracy") == pytest.approx([2 / 3])
    assert scores.per_image("specificity") == pytest.approx([2 / 3])


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_not_there_is_left_out_of_an_images_mean():
    """Three images of three classes: with both kinds of foreground, with the first alone, with none."""
    truth = torch.tensor([[[0, 1, 2, 2]], [[0, 1, 1, 0]], [[0, 0, 0, 0]]], dtype=torch.uint8)
    predicted = torch.tensor([[[0, 1, 2, 1]], [[0, 1, 2, 0]], [[0, 2, 0, 0]]], dtype=torch.uint8)
    scores = table(predicted, truth, all_valid(truth), 3)
    first, second = 2 / 3, 2 / 3
    np.testing.assert_allclose(scores.of_class("dice", 1), [first, 2 / 3, NAN])
    np.testing.assert_allclose(scores.of_class("dice", 2), [second, NAN, NAN])  # though found in all
    np.testing.assert_allclose(scores.per_image("dice"), [(first + second) / 2, 2 / 3, NAN])
    np.testing.assert_allclose(scores.macro("dice"), [(1 + first + second) / 3, (1 + 2 / 3) / 2, 6 / 7])
    np.testing.assert_allclose(scores.per_image("specificity"), [(2 / 3 + 1) / 2, (1 + 3 / 4) / 2, (1 + 3 / 4) / 2])
    # Pooled: class 1 with TP 2, FP 1, FN 1; class 2 with TP 1, FP 2, FN 1.
    assert scores.pooled("dice") == pytest.approx((4 / 6 + 2 / 5) / 2)
    nowhere = table(predicted[2:], truth[2:], all_valid(truth[2:]), 3)
    assert np.isnan(nowhere.pooled("dice"))
    assert nowhere.pooled("accuracy") == 3 / 4


def test_pooled_is_not_the_mean_over_images():
    # A small image that is right, a large one where half the foreground is missed.
    counts = np.array([[[0, 0, 0, 1], [1, 0, 0, 0]], [[0, 4, 0, 4], [4, 0, 4, 0]]])
    scores = ImageTable(["small", "large"], counts)
    assert scores.per_image("dice") == pytest.approx([1, 8 / 12])
    assert scores.pooled("dice") == pytest.approx(10 / 14)
    assert scores.pooled("recall") == pytest.approx(5 / 9)
    assert scores.pooled("accuracy") == pytest.approx(5 / 9)


def test_a_mean_of_what_is_defined_is_numpys_to_the_last_bit():
    values = np.random.default_rng(0).random((3, 1001))
    assert (defined_mean(values) == values.mean(axis=-1)).all()
    assert (defined_mean(values, axis=0) == values.mean(axis=0)).all()
    assert defined_mean([NAN, 0.25, 0.75]) == 0.5
    assert np.isnan(defined_mean([NAN, NAN]))
    assert np.isnan(defined_mean([]))


def test_a_table_holds_each_image_once():
    counts = np.zeros((2, 2, 4), np.int64)
    for names in (["a", "a"], ["a"]):
        with pytest.raises(ValueError, match="exactly once"):
            ImageTable(names, counts)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_two_classes_equal_torchmetrics(seed):
    predicted, truth, _ = random_batch(seed)
    scores = table(predicted, truth, all_valid(truth))
    same = {
        "dice": reference.binary_f1_score,
        "accuracy": reference.binary_accuracy,
        "precision": reference.binary_precision,
        "recall": reference.binary_recall,
        "specificity": reference.binary_specificity,
    }
    for name, function in same.items():
        np.testing.assert_allclose(scores.per_image(name), function(predicted, truth, multidim_average="samplewise"))
        np.testing.assert_allclose(scores.pooled(name), function(predicted, truth), rtol=1e-6)
    each = [reference.binary_jaccard_index(p, t) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(scores.per_image("iou"), each, rtol=1e-6)
    correlation = [reference.binary_matthews_corrcoef(p, t) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(scores.per_image("mcc"), correlation, atol=1e-6)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_more_classes_equal_torchmetrics(seed):
    predicted, truth, _ = random_batch(seed, images=1, classes=3)
    scores = table(predicted, truth, all_valid(truth), 3)
    f1 = reference.multiclass_f1_score(predicted, truth, 3, average="none")
    jaccard = reference.multiclass_jaccard_index(predicted, truth, 3, average="none")
    np.testing.assert_allclose(scores.macro("dice")[0], f1.mean(), rtol=1e-6)
    np.testing.assert_allclose(scores.macro("iou")[0], jaccard.mean(), rtol=1e-6)
    for class_id in range(3):
        np.testing.assert_allclose(scores.of_class("dice", class_id), f1[class_id], rtol=1e-6)
        np.testing.assert_allclose(scores.of_class("iou", class_id), jaccard[class_id], rtol=1e-6)
    np.testing.assert_allclose(
        scores.per_image("accuracy"), reference.multiclass_accuracy(predicted, truth, 3, average="micro"), rtol=1e-6
    )


def test_where_torchmetrics_has_another_rule_for_nothing():
    """It says 0 where the class is not there, whether found or not: a mean over images falls with each such image."""
    empty = torch.zeros(1, 3, 3, dtype=torch.uint8)
    for predicted in (empty, 1 - empty):
        assert reference.binary_f1_score(predicted, empty, multidim_average="samplewise") == 0
        assert reference.binary_jaccard_index(predicted, empty) == 0
        assert np.isnan(table(predicted, empty, all_valid(empty)).per_image("dice")).all()


@given(seeds, st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_batch_size_and_order_change_nothing(seed, batch, random):
    predicted, truth, valid = random_batch(seed, images=5, classes=3)
    whole = table(predicted, truth, valid, 3)
    order = list(range(5))
    random.shuffle(order)
    parts = [order[i : i + batch] for i in range(0, 5, batch)]
    counts = torch.cat([count(predicted[p], truth[p], valid[p], 3) for p in parts])
    again = ImageTable([str(i) for i in order], counts.numpy())
    for name in ALL_SCORE_NAMES:
        np.testing.assert_array_equal(again.pooled(name), whole.pooled(name))
        np.testing.assert_array_equal(again.per_image(name), whole.per_image(name)[order])


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_the_two_classes_seen_from_the_other_side(seed):
    predicted, truth, valid = random_batch(seed)
    scores, turned = table(predicted, truth, valid), table(1 - predicted, 1 - truth, valid)
    for name, other in {"specificity": "recall", "mcc": "mcc", "pixel_error": "pixel_error"}.items():
        np.testing.assert_allclose(scores.per_image(name), turned.per_image(other))
    swapped = table(truth, predicted, valid)
    for name in ("dice", "iou", "accuracy", "mcc"):
        np.testing.assert_allclose(scores.per_image(name), swapped.per_image(name))
    assert not (abs(scores.per_image("mcc")) > 1).any()


def test_macro_takes_the_background_in():
    counts = np.array([[[6, 0, 2, 1], [1, 2, 0, 6]]])  # background missed in 2 of 8 pixels, called class 1
    scores = ImageTable(["a"], counts)
    assert scores.per_image("iou") == pytest.approx([1 / 3])
    assert scores.macro("iou") == pytest.approx([(6 / 8 + 1 / 3) / 2])


# --- the threshold ---------------------------------------------------------------------------------------


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_counts_at_thresholds_are_those_of_each_mask(seed):
    _, truth, valid = random_batch(seed)
    random = torch.Generator().manual_seed(seed)
    probability = torch.rand((4, 1, 7, 9), generator=random)
    on_edge = torch.tensor(THRESHOLDS)[torch.randint(99, probability.shape, generator=random)]
    probability = torch.where(torch.rand(probability.shape, generator=random) < 0.3, on_edge, probability)
    counts = count_at(probability, truth, valid)
    assert counts.shape == (4, 99, 4)
    for place, threshold in enumerate(THRESHOLDS):
        expected = count((probability[:, 0] > threshold).to(torch.uint8), truth, valid, 2)[:, 1]
        assert (counts[:, place] == expected).all()


def test_only_two_classes_have_a_threshold():
    truth = ids([[0, 1]])
    with pytest.raises(ValueError, match="two classes"):
        count_at(torch.rand(1, 3, 1, 2), truth, all_valid(truth))
    with pytest.raises(ValueError, match="ascend"):
        count_at(torch.rand(1, 1, 1, 2), truth, all_valid(truth), (0.5, 0.4))


def test_the_chosen_threshold_has_the_best_mean():
    truth = ids([[1, 1, 1, 0, 0, 0]])
    probability = torch.tensor([[[[0.9, 0.4, 0.3, 0.25, 0.1, 0.0]]]])
    counts = count_at(probability, truth, all_valid(truth), (0.2, 0.28, 0.35, 0.5)).numpy()
    assert choose_threshold(counts, (0.2, 0.28, 0.35, 0.5)) == 0.28
    assert choose_threshold(counts, (0.2, 0.28, 0.35, 0.5), "pixel_error") == 0.28
    assert choose_threshold(counts, (0.2, 0.28, 0.35, 0.5), "precision") == 0.5  # of three equals
    # An image counts by its score, not by its pixels.
    large, small = [0, 500, 500, 0], [5, 0, 0, 95]
    assert choose_threshold(np.array([[large, [10, 490, 490, 10]], [small, [0, 0, 5, 95]]]), (0.3, 0.4)) == 0.3


def test_images_without_foreground_choose_no_threshold():
    # The first image is best at 0.4; the second has no foreground, and would vote for 0.3 with all its pixels.
    counts = np.array([[[4, 2, 0, 94], [4, 0, 0, 96]], [[0, 0, 0, 100], [0, 50, 0, 50]]])
    assert choose_threshold(counts, (0.3, 0.4)) == 0.4
    with pytest.raises(ValueError, match="has a mean"):
        choose_threshold(counts[1:], (0.3, 0.4))


def test_without_a_better_one_it_is_a_half():
    assert choose_threshold(np.ones((3, 99, 4), np.int64)) == 0.5


# --- soft scores -----------------------------------------------------------------------------------------


def test_soft_scores_by_hand():
    probability = torch.tensor([[[[0.8, 0.5], [0.2, 0.9]]]])
    truth = ids([[1, 0], [1, 1]])
    valid = torch.tensor([[[True, True], [True, False]]])
    sums = soft_sums(probability, truth, valid).numpy()
    assert sums[0, 0] == pytest.approx([1.0, 1.5, 2])
    assert soft_dice(sums) == pytest.approx([2 / 3.5])
    assert soft_iou(sums) == pytest.approx([1 / 2.5])
    for sums in (soft_sums(probability, truth, valid & False), soft_sums(probability, truth * 0, valid)):
        assert np.isnan([soft_dice(sums.numpy()), soft_iou(sums.numpy())]).all()
    # Of two classes besides background one is not there.
    assert soft_dice(np.array([[1.0, 1.5, 2.0], [0.0, 0.7, 0.0]])) == pytest.approx(2 / 3.5)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_soft_scores_of_certain_probabilities_are_the_hard_ones(seed):
    predicted, truth, valid = random_batch(seed, classes=3)
    scores = table(predicted, truth, valid, 3)
    certain = torch.nn.functional.one_hot(predicted.long(), 3).permute(0, 3, 1, 2).float()
    sums = soft_sums(certain, truth, valid).numpy()
    np.testing.assert_allclose(soft_dice(sums), scores.per_image("dice"))
    np.testing.assert_allclose(soft_iou(sums), scores.per_image("iou"))


def test_soft_dice_is_another_number():
    truth = ids([[1, 1, 0, 0]])
    probability = torch.tensor([[[[0.6, 0.6, 0.4, 0.4]]]])
    scores = table((probability[:, 0] > 0.5).to(torch.uint8), truth, all_valid(truth))
    assert scores.per_image("dice") == [1]
    assert soft_dice(soft_sums(probability, truth, all_valid(truth)).numpy()) == pytest.approx([2 * 1.2 / 4])
