"""Scores of pixels and cells beside MONAI's, and where its rules for nothing differ from ours.

Distances between outlines are compared with MONAI's in tests/metrics/test_boundaries.py.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import metrics as reference
from monai.losses import DiceLoss
from torch.nn.functional import one_hot

from lamella.metrics import cells
from lamella.metrics.pixels import (
    ImageTable,
    count,
    mcc,
    precision,
    recall,
    soft_dice,
    soft_iou,
    soft_sums,
    specificity,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)
MONAI_NAMES = {
    "dice": "f1 score",
    "iou": "threat score",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "sensitivity",
    "specificity": "specificity",
    "mcc": "matthews correlation coefficient",
}
NEVER = 1e-30  # what MONAI adds to denominators


# --- pixels ----------------------------------------------------------------------------------------------


def random_batch(seed, classes, images=3):
    """Ids predicted and true (images, H, W), and what is valid; often an image lacks a class."""
    rng = np.random.default_rng(seed)
    shape = (images, *rng.integers(1, 9, 2))
    there = [rng.permuted(np.arange(classes))[: rng.integers(1, classes + 1)] for _ in range(2)]
    predicted, truth = (torch.from_numpy(rng.choice(some, shape).astype(np.uint8)) for some in there)
    return predicted, truth, torch.from_numpy(rng.random(shape) < 0.8)


def channels(ids, valid, classes):
    """Ids (B, ...) as MONAI takes them: (B, K, ...) of zeros and ones, 0 for all classes where not valid."""
    return one_hot(ids.long(), classes).movedim(-1, 1).float() * valid[:, None]


def table(predicted, truth, valid, classes):
    return ImageTable([str(i) for i in range(len(truth))], count(predicted, truth, valid, classes).numpy())


@given(seeds, st.sampled_from([2, 4]))
@few
def test_counts(seed, classes):
    predicted, truth, valid = random_batch(seed, classes)
    ours = count(predicted, truth, valid, classes)
    for said, there, here, counts in zip(predicted, truth, valid, ours, strict=True):
        # MONAI masks no pixel: it gets the valid ones alone, in one row.
        row = torch.ones(1, int(here.sum()), dtype=torch.bool)
        masks = [channels(ids[here][None], row, classes) for ids in (said, there)]
        tp, fp, tn, fn = reference.get_confusion_matrix(*masks)[0].unbind(-1)
        torch.testing.assert_close(counts.float(), torch.stack([tp, fp, fn, tn], dim=-1), rtol=0, atol=0)


@given(seeds, st.sampled_from([2, 4]))
@few
def test_scores_of_each_class(seed, classes):
    """Where both have a number it is the same.

    The definitions part where the truth lacks the class: MONAI has numbers wherever its denominators allow (Dice 0
    where something was found, and precision, too), ours have none whatever was found, so that two methods lose the
    same images. And where nothing was found MONAI's precision and MCC are 0 / 0; ours are 0, for the class was missed.
    """
    predicted, truth, valid = random_batch(seed, classes)
    scores = table(predicted, truth, valid, classes)
    matrix = torch.from_numpy(scores.counts)[..., [0, 1, 3, 2]].float()
    tp, fp, fn, tn = np.moveaxis(scores.counts, -1, 0)
    for name, theirs in MONAI_NAMES.items():
        expected = reference.compute_confusion_matrix_metric(theirs, matrix).numpy()
        ours = np.stack([scores.of_class(name, class_id) for class_id in range(classes)], axis=-1)
        lacking = {"accuracy": tp + fp + fn + tn == 0, "specificity": fp + tn == 0}.get(name, tp + fn == 0)
        assert (np.isnan(ours) == lacking).all()
        both = np.isfinite(expected) & ~lacking
        np.testing.assert_allclose(ours[both], expected[both], rtol=1e-5, atol=1e-5)
        assert set(ours[~lacking & ~both]) <= ({-1.0, 0.0, 1.0} if name == "mcc" else {0.0})


@pytest.mark.parametrize(
    ("name", "score", "counts", "expected"),
    [
        ("precision", precision, (0, 0, 0, 9), np.nan),  # nothing said, nothing there
        ("precision", precision, (0, 0, 4, 5), 0),  # nothing said, something missed
        ("sensitivity", recall, (0, 0, 0, 9), np.nan),
        ("sensitivity", recall, (0, 4, 0, 5), np.nan),
        ("specificity", specificity, (9, 0, 0, 0), np.nan),
        ("specificity", specificity, (5, 0, 4, 0), np.nan),
        ("mcc", mcc, (9, 0, 0, 0), 1),
        ("mcc", mcc, (0, 0, 9, 0), -1),
        ("mcc", mcc, (5, 4, 0, 0), 0),
        ("mcc", mcc, (0, 0, 0, 9), np.nan),
    ],
)
def test_where_monai_has_no_number(name, score, counts, expected):
    tp, fp, fn, tn = counts
    assert reference.compute_confusion_matrix_metric(name, torch.tensor([float(x) for x in (tp, fp, tn, fn)])).isnan()
    assert score(np.array(counts)) == pytest.approx(expected, nan_ok=True)


@given(seeds, st.sampled_from([2, 4]))
@few
def test_dice_and_iou_with_classes_that_are_not_there(seed, classes):
    """MONAI leaves images without the class out, whatever was found in them, unless told otherwise: so do ours."""
    predicted, truth, valid = random_batch(seed, classes)
    scores = table(predicted, truth, valid, classes)
    masks = [channels(ids, valid, classes) for ids in (predicted, truth)]
    for name, function in (("dice", reference.compute_dice), ("iou", reference.compute_iou)):
        ours = np.stack([scores.of_class(name, class_id) for class_id in range(classes)], axis=-1)
        np.testing.assert_allclose(ours, function(*masks), rtol=1e-5)
        foreground = function(*masks, include_background=False)
        np.testing.assert_allclose(scores.per_image(name), foreground.nanmean(dim=1), rtol=1e-5)


@given(seeds, st.sampled_from([2, 4]))
@few
def test_soft_scores_are_the_losses_without_constants(seed, classes):
    """Per image, mean over the classes besides background that are there."""
    _, truth, valid = random_batch(seed, classes)
    valid[:, 0, 0] = True
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(truth), classes, *truth.shape[1:], generator=rng)
    probability = logits.softmax(dim=1)
    there = channels(truth, valid, classes)
    sums = soft_sums(probability[:, 1:] if classes == 2 else probability, truth, valid).numpy()
    for score, jaccard in ((soft_dice, False), (soft_iou, True)):
        theirs = DiceLoss(jaccard=jaccard, include_background=False, reduction="none", smooth_nr=0, smooth_dr=NEVER)
        of_class = 1 - theirs(probability * valid[:, None], there).mean(dim=(2, 3))
        # MONAI's loss is 1 for a class that is not there; ours leave it out.
        expected = torch.where(there[:, 1:].sum((2, 3)) > 0, of_class, torch.nan).nanmean(dim=1)
        np.testing.assert_allclose(score(sums), expected, rtol=1e-5, atol=1e-6)


# --- cells -----------------------------------------------------------------------------------------------


def random_labels(seed):
    """Two labelled images that agree in part; ids need not be connected, nor without a gap."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 2))
    truth = rng.choice([0, 1, 2, 5, 9], shape)
    return np.where(rng.random(shape) < rng.uniform(0, 0.6), rng.choice([0, 1, 3, 5, 9], shape), truth), truth


def panoptic(predicted, truth, **how):
    labels = [torch.from_numpy(each) for each in (predicted, truth)]
    return reference.compute_panoptic_quality(*labels, smooth_numerator=NEVER, **how)


@given(seeds)
@few
def test_panoptic_quality(seed):
    predicted, truth = random_labels(seed)
    if not truth.any():  # ours are undefined, see below
        return
    counts = cells.compare(predicted, truth)
    found = cells.panoptic_quality(counts), cells.segmentation_quality(counts), cells.recognition_quality(counts)
    theirs = [panoptic(predicted, truth, metric_name=name).item() for name in ("pq", "sq", "rq")]
    assert found == pytest.approx(theirs, rel=1e-5)


def test_panoptic_quality_of_nothing():
    """No cell, and none or one found: 0 in MONAI, undefined here, so that two methods lose the same images."""
    empty, one = np.zeros((3, 3), int), np.ones((3, 3), int)
    for found in (empty, one):
        assert panoptic(found, empty) == 0
        assert np.isnan(cells.panoptic_quality(cells.compare(found, empty)))


@given(seeds)
@few
def test_pairs_at_each_threshold(seed):
    """MONAI pairs above a threshold, ours at it, too: so MONAI's is set a little lower."""
    predicted, truth = random_labels(seed)
    counts = cells.compare(predicted, truth)
    for iou, hits in list(zip(cells.IOU_THRESHOLDS, counts.hits, strict=True))[1:]:
        # A share of at most 64 pixels is a threshold itself, or 1/1280 or more away from it.
        pairs, wrong, missed, _ = panoptic(
            predicted, truth, match_iou_threshold=iou - 1e-4, output_confusion_matrix=True
        )
        assert (hits, counts.predicted - hits, counts.truth - hits) == (pairs, wrong, missed)


@given(st.lists(seeds, min_size=1, max_size=4))
@few
def test_pooled_panoptic_quality(several):
    images = [random_labels(seed) for seed in several]
    pooled = cells.pool([cells.compare(*image) for image in images])
    if not pooled.truth:
        return
    metric = reference.PanopticQualityMetric(num_classes=1, reduction="sum_batch", smooth_numerator=NEVER)
    for image in images:
        # Beside the instances MONAI wants their classes, of which there is one.
        metric(*(torch.from_numpy(np.stack([each, each > 0]))[None] for each in image))
    assert cells.panoptic_quality(pooled) == pytest.approx(metric.aggregate().item(), rel=1e-5)
