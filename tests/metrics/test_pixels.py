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


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (0, 0, [1, 1, 1, 1, 1, 1, 1, 0]),  # nothing there, nothing said
        (0, 1, [0, 0, 0, 0, 0, 0, -1, 1]),
        (1, 0, [0, 0, 0, 0, 0, 0, -1, 1]),
        (1, 1, [1, 1, 1, 1, 1, 1, 1, 0]),
    ],
)
def test_empty_and_full(predicted, truth, expected):
    truth, predicted = (torch.full((1, 3, 3), v, dtype=torch.uint8) for v in (truth, predicted))
    scores = table(predicted, truth, all_valid(truth))
    assert [scores.per_image(name)[0] for name in ALL_SCORE_NAMES] == expected
    assert [scores.pooled(name) for name in ALL_SCORE_NAMES] == expected
    assert [scores.of_class(name, 1)[0] for name in ALL_SCORE_NAMES] == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([2, 2, 0, 0], 0),  # all was called foreground
        ([0, 0, 2, 2], 0),  # nothing was
        ([2, 0, 2, 0], 0),  # all is foreground
        ([0, 0, 0, 0], 1),
        ([3_000_000_000, 0, 0, 7_000_000_000], 1),  # the product of four sums would overflow
    ],
)
def test_correlation_where_a_row_or_column_is_empty(counts, expected):
    assert mcc(np.array(counts)) == expected


def test_an_image_without_one_valid_pixel_scores_1():
    truth = torch.ones(1, 2, 2, dtype=torch.uint8)
    scores = table(1 - truth, truth, torch.zeros_like(truth, dtype=torch.bool))
    assert [scores.per_image(name)[0] for name in ALL_SCORE_NAMES] == [1] * 7 + [0]


def test_pooled_is_not_the_mean_over_images():
    # A small image that is right, a large one where half the foreground is missed.
    counts = np.array([[[0, 0, 0, 1], [1, 0, 0, 0]], [[0, 4, 0, 4], [4, 0, 4, 0]]])
    scores = ImageTable(["small", "large"], counts)
    assert scores.per_image("dice") == pytest.approx([1, 8 / 12])
    assert scores.pooled("dice") == pytest.approx(10 / 14)
    assert scores.pooled("recall") == pytest.approx(5 / 9)
    assert scores.pooled("accuracy") == pytest.approx(5 / 9)


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
    empty = torch.zeros(1, 3, 3, dtype=torch.uint8)
    assert reference.binary_f1_score(empty, empty, multidim_average="samplewise") == 0
    assert reference.binary_jaccard_index(empty, empty) == 0
    assert table(empty, empty, all_valid(empty)).per_image("dice") == 1


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
        assert again.pooled(name) == whole.pooled(name)
        assert (again.per_image(name) == whole.per_image(name)[order]).all()


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
    assert (abs(scores.per_image("mcc")) <= 1).all()


def test_macro_takes_the_background_in():
    counts = np.array([[[6, 0, 2, 0], [0, 2, 0, 6]]])  # background missed in 2 of 8 pixels, called class 1
    scores = ImageTable(["a"], counts)
    assert scores.per_image("iou") == pytest.approx([0])
    assert scores.macro("iou") == pytest.approx([(6 / 8 + 0) / 2])


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


def test_without_a_better_one_it_is_a_half():
    assert choose_threshold(np.zeros((3, 99, 4), np.int64)) == 0.5


# --- soft scores -----------------------------------------------------------------------------------------


def test_soft_scores_by_hand():
    probability = torch.tensor([[[[0.8, 0.5], [0.2, 0.9]]]])
    truth = ids([[1, 0], [1, 1]])
    valid = torch.tensor([[[True, True], [True, False]]])
    sums = soft_sums(probability, truth, valid).numpy()
    assert sums[0, 0] == pytest.approx([1.0, 1.5, 2])
    assert soft_dice(sums) == pytest.approx([2 / 3.5])
    assert soft_iou(sums) == pytest.approx([1 / 2.5])
    assert soft_dice(soft_sums(probability, truth, valid & False).numpy()) == [1]


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
