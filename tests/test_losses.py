"""Losses: hand-worked values, invalid pixels, empty masks, and equality with other people's."""

from math import log

import pytest
import torch
from torch.nn.functional import logsigmoid

import lamella.torchvision_ops  # noqa: F401 - before segmentation_models_pytorch, which imports torchvision
from lamella.errors import ConfigError
from lamella.losses import bce_dice, cross_entropy, soft_dice

from segmentation_models_pytorch.losses import DiceLoss  # isort: skip

LOSSES = [cross_entropy, soft_dice, bce_dice(bce_weight=1, dice_weight=1)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=["cross_entropy", "soft_dice", "bce_dice"])
each_k = pytest.mark.parametrize("k", [1, 3])


def logit(probability):
    return log(probability / (1 - probability))


def example(k, seed=0, dtype=torch.float32):
    """Logits (2, k, 5, 6), ids of max(k, 2) classes, about three quarters valid."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, k, 5, 6, generator=rng).to(dtype).requires_grad_()
    target = torch.randint(max(k, 2), (2, 5, 6), generator=rng, dtype=torch.uint8)
    return logits, target, torch.rand(2, 5, 6, generator=rng) < 0.75


# One image of four pixels, the last one invalid: probabilities .9 .2 .6 (.5), truth 1 0 0 (1).
LOGITS = torch.tensor([[[[logit(0.9), logit(0.2), logit(0.6), 0.0]]]])
TARGET = torch.tensor([[[1, 0, 0, 1]]], dtype=torch.uint8)
VALID = torch.tensor([[[True, True, True, False]]])


def test_binary_by_hand():
    expected_entropy = -(log(0.9) + log(0.8) + log(0.4)) / 3
    expected_dice = 1 - (2 * 0.9 + 1) / (1.7 + 1 + 1)
    assert cross_entropy(LOGITS, TARGET, VALID).item() == pytest.approx(expected_entropy, rel=1e-6)
    assert soft_dice(LOGITS, TARGET, VALID).item() == pytest.approx(expected_dice, rel=1e-6)
    both = bce_dice(bce_weight=0.5, dice_weight=2)(LOGITS, TARGET, VALID)
    assert both.item() == pytest.approx(0.5 * expected_entropy + 2 * expected_dice, rel=1e-6)


def test_three_classes_by_hand():
    shares = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])  # of two pixels, truth 1 and 2
    logits, target = shares.log().T.reshape(1, 3, 1, 2), torch.tensor([[[1, 2]]])
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    assert cross_entropy(logits, target, valid).item() == pytest.approx(-(log(0.3) + log(0.8)) / 2, rel=1e-6)
    of_1, of_2 = 1 - (2 * 0.3 + 1) / (0.4 + 1 + 1), 1 - (2 * 0.8 + 1) / (1.0 + 1 + 1)
    assert soft_dice(logits, target, valid).item() == pytest.approx((of_1 + of_2) / 2, rel=1e-6)


@each_loss
@each_k
def test_invalid_pixels_change_nothing(loss, k):
    logits, target, valid = example(k)
    value = loss(logits, target, valid)
    value.backward()
    assert (logits.grad.movedim(1, -1)[~valid] == 0).all()
    assert (logits.grad.movedim(1, -1)[valid] != 0).any()
    other_logits = torch.where(valid[:, None], logits.detach(), 50)
    other_target = torch.where(valid, target, 255)  # an id that is no class at all
    assert loss(other_logits, other_target, valid) == value


@each_loss
@each_k
def test_nothing_valid_is_0(loss, k):
    logits, target, valid = example(k)
    value = loss(logits, target, valid & False)
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


@each_loss
@each_k
def test_an_empty_mask_still_teaches(loss, k):
    logits, target, valid = example(k)
    loss(logits, target * 0, valid).backward()
    gradient = logits.grad.movedim(1, -1)[valid]
    assert (gradient != 0).all()
    # Downhill is away from the foreground.
    assert (gradient.sum(0) > 0)[0 if k == 1 else slice(1, None)].all()


@each_loss
def test_one_logit_equals_two_where_the_first_is_0(loss):
    logits, target, valid = example(1)
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    torch.testing.assert_close(loss(two, target, valid), loss(logits, target, valid))


@each_loss
@each_k
def test_perfect_is_almost_0_and_wrong_is_not(loss, k):
    _, target, valid = example(k)
    right = torch.nn.functional.one_hot(target.long(), max(k, 2)).movedim(-1, 1).float() * 40 - 20
    right = right[:, 1:] if k == 1 else right
    assert loss(right, target, valid) < 1e-6
    assert loss(-right, target, valid) > 0.5


@each_loss
@each_k
def test_half_precision_logits(loss, k):
    logits, target, valid = example(k, dtype=torch.bfloat16)
    value = loss(logits, target, valid)
    value.backward()
    assert value.dtype == torch.float32
    assert logits.grad.isfinite().all()
    assert value == loss(logits.detach().float(), target, valid)  # nothing is summed in bfloat16


@each_loss
def test_very_sure_logits_stay_finite(loss):
    logits = torch.tensor([[[[1e4, -1e4]]]]).requires_grad_()
    value = loss(logits, torch.tensor([[[0, 1]]]), torch.ones(1, 1, 2, dtype=torch.bool))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@each_k
def test_dice_equals_segmentation_models_pytorch(k):
    logits, target, _ = example(k)
    valid = torch.ones_like(target, dtype=torch.bool)
    # Theirs divides both sums by two before it adds.
    theirs = DiceLoss("binary", smooth=0.5) if k == 1 else DiceLoss("multiclass", classes=[1, 2], smooth=0.5)
    torch.testing.assert_close(soft_dice(logits, target, valid), theirs(logits, target.long()))


def test_dice_differs_from_theirs_on_empty_masks():
    logits, target, _ = example(1)
    valid, empty = torch.ones_like(target, dtype=torch.bool), target * 0
    assert DiceLoss("binary", smooth=0.5)(logits, empty.long()) == 0
    expected = 1 - 1 / (logsigmoid(logits).exp().sum() + 1)
    torch.testing.assert_close(soft_dice(logits, empty, valid), expected)


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="both 0"):
        bce_dice(bce_weight=0, dice_weight=0)
