"""Calibration: by hand, against torchmetrics and scikit-learn, and a temperature that is known beforehand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.metrics import brier_score_loss, log_loss

import lamella.torchvision_ops  # noqa: F401 - before torchmetrics, which imports torchvision
from lamella.metrics.calibration import (
    TEMPERATURES,
    LogitSample,
    brier,
    curve,
    ece,
    fit_temperature,
    histogram,
    logit_sample,
    pool,
    tempered,
)
from support.rows import assert_rows_add_up

from torchmetrics.functional import classification as reference  # isort: skip

seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=40, deadline=None)


def plane(*values, dtype=np.float32):
    return np.array([[values]], dtype=dtype)


def all_valid(truth):
    return np.ones(truth.shape, dtype=bool)


def random_image(seed, classes=2):
    """Probabilities (K', H, W), truth and valid."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 30, 2))
    if classes == 2:
        probability = rng.random((1, *shape), dtype=np.float32)
    else:
        probability = softmax(rng.normal(0, 2, (classes, *shape)), axis=0).astype(np.float32)
    return probability, rng.integers(0, classes, shape).astype(np.uint8), rng.random(shape) < 0.8


# --- histograms ------------------------------------------------------------------------------------------


def test_two_classes_by_hand():
    probability = plane(0.1, 0.3, 0.3, 0.8, 1.0, 0.6)
    truth, valid = np.array([[0, 1, 0, 1, 1, 1]]), np.array([[True] * 5 + [False]])
    found = histogram(probability, truth, valid, bins=2)
    assert found.pixels.tolist() == [3, 2]
    assert found.right.tolist() == [1, 2]
    assert found.probability == pytest.approx([0.7, 1.8])
    probability_, right, pixels = curve(found)
    assert probability_ == pytest.approx([0.7 / 3, 0.9])
    assert right == pytest.approx([1 / 3, 1])
    assert pixels.tolist() == [3, 2]
    assert ece(found) == pytest.approx((abs(1 - 0.7) + abs(2 - 1.8)) / 5)
    assert brier(found) == pytest.approx((0.01 + 0.49 + 0.09 + 0.04 + 0) / 5)


def test_three_classes_by_hand():
    # Pixels: 0.6 for the true class 2, and 0.5 for class 0 where class 1 is true.
    probability = np.array([[[0.3, 0.5]], [[0.1, 0.3]], [[0.6, 0.2]]], np.float32)
    found = histogram(probability, np.array([[2, 1]]), np.array([[True, True]]), bins=10)
    assert found.pixels[[5, 6]].tolist() == [1, 1]
    assert found.right[[5, 6]].tolist() == [0, 1]
    assert ece(found) == pytest.approx((0.5 + 0.4) / 2)
    assert brier(found) == pytest.approx((0.09 + 0.01 + 0.16 + 0.25 + 0.49 + 0.04) / 2)


@pytest.mark.parametrize(
    ("probability", "truth", "expected"), [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0.5, 0, 0.5), (0.5, 1, 0.5)]
)
def test_empty_and_full(probability, truth, expected):
    truth = np.full((4, 4), truth)
    found = histogram(np.full((1, 4, 4), probability, np.float32), truth, all_valid(truth))
    assert ece(found) == expected
    assert brier(found) == expected**2


@pytest.mark.filterwarnings("error")
def test_without_one_valid_pixel_nothing_is_known():
    truth = np.zeros((2, 2), np.uint8)
    found = histogram(np.ones((1, 2, 2), np.float32), truth, ~all_valid(truth))
    assert np.isnan([ece(found), brier(found)]).all()
    assert np.isnan(curve(found).right).all()


@given(seeds, st.sampled_from([2, 3, 5]))
@often
def test_equals_torchmetrics_and_scikit_learn(seed, classes):
    probability, truth, valid = random_image(seed, classes)
    if not valid.any():
        return
    found = histogram(probability, truth, valid)
    values, true = torch.from_numpy(probability[:, valid]), torch.from_numpy(truth[valid]).long()
    if classes == 2:
        expected = reference.binary_calibration_error(values[0], true, n_bins=15, norm="l1")
        error = brier_score_loss(true.numpy(), values[0].numpy(), pos_label=1)
    else:
        expected = reference.multiclass_calibration_error(values.T, true, classes, n_bins=15, norm="l1")
        error = brier_score_loss(true.numpy(), values.T.numpy(), labels=range(classes), scale_by_half=False)
    assert ece(found) == pytest.approx(expected.item(), abs=1e-5)
    assert brier(found) == pytest.approx(error, abs=1e-6)


@given(seeds, st.sampled_from([2, 3]))
@often
def test_images_pooled_are_one_large_image(seed, classes):
    one, other = random_image(seed, classes), random_image(seed + 1, classes)
    flat = [np.concatenate([a.reshape(*a.shape[: a.ndim - 2], -1) for a in pair], axis=-1)[..., None, :]
            for pair in zip(one, other, strict=True)]  # fmt: skip
    whole, parts = histogram(*flat), pool([histogram(*one), histogram(*other)])
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert ece(whole) == pytest.approx(ece(parts))


@given(seeds)
@often
def test_rows_of_images_add_up_to_their_pool(seed):
    assert_rows_add_up([histogram(*random_image(seed + i)) for i in range(3)], pool, (ece, brier))


# --- temperature -----------------------------------------------------------------------------------------


def drawn(temperature, classes=2, seed=0, side=400):
    """Probabilities of a network whose logits are `temperature` times too large, with a truth drawn accordingly."""
    rng = np.random.default_rng(seed)
    if classes == 2:
        logits = rng.normal(0, 2, (side, side))
        truth = rng.random((side, side)) < expit(logits)
        return expit(logits * temperature)[None].astype(np.float32), truth.astype(np.uint8)
    logits = rng.normal(0, 1.5, (classes, side, side))
    truth = (softmax(logits, axis=0).cumsum(axis=0) < rng.random((side, side))).sum(axis=0)
    return softmax(logits * temperature, axis=0).astype(np.float32), truth.astype(np.uint8)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_finds_the_temperature_it_was_drawn_with(temperature, classes):
    probability, truth = drawn(temperature, classes)
    fitted = fit_temperature([logit_sample(probability, truth, all_valid(truth), most=100_000)])
    assert fitted == pytest.approx(temperature, rel=0.03)
    before, after = (histogram(each, truth, all_valid(truth)) for each in (probability, tempered(probability, fitted)))
    assert ece(after) < 0.01
    assert temperature == 1 or (ece(after) < ece(before) / 4 and brier(after) < brier(before))


@given(seeds, st.sampled_from([2, 3]))
@settings(max_examples=25, deadline=None)
def test_no_other_temperature_is_likelier(seed, classes):
    probability, truth, valid = random_image(seed, classes)
    if not valid.any():
        return
    fitted = fit_temperature([logit_sample(probability, truth, valid)])

    def loss(temperature):
        values = tempered(probability, temperature)[:, valid]
        values = values.T if classes > 2 else np.stack([1 - values[0], values[0]], axis=1)
        values = np.clip(values.astype(np.float64), 1e-12, 1)
        return log_loss(truth[valid], values / values.sum(axis=1, keepdims=True), labels=range(classes))

    least = loss(fitted)
    assert TEMPERATURES[0] <= fitted <= TEMPERATURES[1]
    for other in (*TEMPERATURES, 1.0, fitted * 1.1, fitted / 1.1):
        if TEMPERATURES[0] <= other <= TEMPERATURES[1]:
            assert least <= loss(other) * (1 + 1e-5) + 1e-5


def test_a_few_pixels_of_each_image_are_enough():
    probability, truth = drawn(2.0)
    samples = [logit_sample(probability, truth, all_valid(truth), most=2000, seed=s) for s in range(20)]
    assert {sample.logits.shape for sample in samples} == {(2000, 2)}
    assert fit_temperature(samples) == pytest.approx(2, rel=0.05)


def test_samples_hold_valid_pixels_only():
    probability, truth = plane(0.9, 0.2, 0.0, 1.0), np.array([[1, 255, 0, 255]])
    sample = logit_sample(probability, truth, np.array([[True, False, True, False]]))
    assert sample.classes.tolist() == [1, 0]
    assert sample.logits[0, 1] - sample.logits[0, 0] == pytest.approx(np.log(9), rel=1e-5)
    assert np.isfinite(sample.logits).all()


def test_where_no_temperature_is_best():
    right, wrong = plane(0.9, 0.2), plane(0.2, 0.9)
    truth = np.array([[1, 0]])
    assert fit_temperature([logit_sample(right, truth, all_valid(truth))]) == TEMPERATURES[0]
    assert fit_temperature([logit_sample(wrong, truth, all_valid(truth))]) == TEMPERATURES[1]
    assert fit_temperature([logit_sample(plane(0.5, 0.5), truth, all_valid(truth))]) == 1
    assert fit_temperature([]) == fit_temperature([LogitSample(np.zeros((0, 2), np.float32), np.zeros(0, int))]) == 1


@given(seeds, st.floats(0.05, 20), st.sampled_from([2, 4]))
@often
def test_another_temperature_keeps_the_order(seed, temperature, classes):
    probability, _, _ = random_image(seed, classes)
    changed = tempered(probability, temperature)
    assert changed.dtype == np.float32
    assert changed.shape == probability.shape
    assert tempered(probability, 1.0) is probability
    if classes == 2:
        order = np.argsort(probability, axis=None)
        assert (np.diff(changed.reshape(-1)[order]) >= -1e-6).all()
    else:
        np.testing.assert_allclose(changed.sum(axis=0), 1, atol=1e-5)
        chosen = np.take_along_axis(changed, probability.argmax(axis=0)[None], axis=0)[0]
        np.testing.assert_allclose(chosen, changed.max(axis=0))


def test_certain_probabilities_stay_certain_and_finite():
    changed = tempered(plane(0.0, 1.0, 0.5), 2.0)
    assert changed[0, 0] == pytest.approx([0.001, 0.999, 0.5], abs=1e-5)
