"""What every loss keeps: invalid pixels, empty masks, precision, and a gradient that leads to the truth."""

import pytest
import torch
from torch.nn.functional import one_hot

from lamella.losses import (
    bce,
    bce_dice,
    boundary_weighted,
    cldice,
    dice,
    focal,
    lovasz,
    soft_jaccard,
    tversky,
    weighted_bce,
    weighted_sum,
)

PARTS = {
    "bce": bce(),
    "cldice": cldice(alpha=1.0, iterations=3),
}
MAKE = {
    "bce": lambda _: bce(),
    "weighted_bce": lambda k: weighted_bce(num_classes=max(k, 2), weights=[3.0]),
    "dice": lambda _: dice(),
    "bce_dice": lambda _: bce_dice(bce_weight=1, dice_weight=1),
    "soft_jaccard": lambda _: soft_jaccard(bce_weight=1, jaccard_weight=1),
    "focal": lambda _: focal(gamma=2, alpha=0.25),
    "focal of a root": lambda _: focal(gamma=0.5, alpha=None),
    "tversky": lambda _: tversky(alpha=0.3, beta=0.7),
    "lovasz": lambda _: lovasz(),
    "boundary_weighted": lambda _: boundary_weighted(w0=10, sigma=2, cells="foreground"),
    "boundary_weighted, EM": lambda _: boundary_weighted(w0=10, sigma=2, cells="background"),
    "cldice": lambda _: cldice(alpha=0.5, iterations=3),
    "weighted_sum": lambda _: weighted_sum(terms={"bce": 1, "cldice": 0.5}, parts=PARTS),
}
each = pytest.mark.parametrize("name", MAKE)
each_k = pytest.mark.parametrize("k", [1, 3])


def example(k, seed=0, dtype=torch.float32, shape=(2, 9, 10)):
    """Logits (B, k, H, W), ids of max(k, 2) classes, about three quarters valid."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], k, *shape[1:], generator=rng).to(dtype).requires_grad_()
    target = torch.randint(max(k, 2), shape, generator=rng, dtype=torch.uint8)
    return logits, target, torch.rand(shape, generator=rng) < 0.75


def in_pixels(logits):
    """A gradient with classes last, so that a mask of pixels selects from it."""
    return logits.grad.movedim(1, -1)


def sure(target, k, size=20.0):
    """Logits that say the truth, size times."""
    right = (one_hot(target.long(), max(k, 2)).movedim(-1, 1).float() * 2 - 1) * size
    return right[:, 1:] if k == 1 else right


@each
@each_k
def test_invalid_pixels_change_nothing(name, k):
    loss = MAKE[name](k)
    logits, target, valid = example(k)
    value = loss(logits, target, valid)
    value.backward()
    assert (in_pixels(logits)[~valid] == 0).all()
    assert (in_pixels(logits)[valid] != 0).any()
    other_target = torch.where(valid, target, 255)  # an id that is no class at all
    for other in (50, -50):
        assert loss(torch.where(valid[:, None], logits.detach(), other), other_target, valid) == value


@each
@each_k
def test_nothing_valid_is_0(name, k):
    logits, target, valid = example(k)
    value = MAKE[name](k)(logits, target, valid & False)
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


@each
@each_k
def test_an_empty_mask_still_teaches(name, k):
    logits, target, valid = example(k)
    MAKE[name](k)(logits, target * 0, valid).backward()
    gradient = in_pixels(logits)[valid]
    if (name, k) == ("lovasz", 1):  # one false pixel alone makes the index 0, so the worst one moves
        assert (gradient != 0).sum() == 1
        assert gradient.argmax() == logits.detach().movedim(1, -1)[valid].argmax()
    else:
        assert (gradient != 0).all()
    # Downhill is away from the foreground.
    assert (gradient.sum(0) > 0)[0 if k == 1 else slice(1, None)].all()


@each
@each_k
def test_a_flat_wrong_prediction_still_teaches(name, k):
    """Where a network starts, or where it is stuck: the same everywhere, on an empty and on a full mask."""
    for class_id in (0, max(k, 2) - 1):
        target = torch.full((1, 8, 8), class_id, dtype=torch.uint8)
        logits = (sure(target, k, size=-3) + torch.linspace(0, 1e-3, 64).view(1, 1, 8, 8)).requires_grad_()
        MAKE[name](k)(logits, target, torch.ones_like(target, dtype=torch.bool)).backward()
        assert logits.grad.isfinite().all()
        assert logits.grad.abs().sum() > 1e-5


@pytest.mark.parametrize("name", [name for name in MAKE if name != "lovasz"])  # whose two forms are two losses
def test_one_logit_equals_two_where_the_first_is_0(name):
    logits, target, valid = example(1)
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    loss = MAKE[name](1)
    torch.testing.assert_close(loss(two, target, valid), loss(logits, target, valid))


@each
@each_k
def test_perfect_is_almost_0_and_wrong_is_not(name, k):
    loss = MAKE[name](k)
    _, target, valid = example(k)
    assert loss(sure(target, k), target, valid) < 1e-6
    assert loss(sure(target, k, size=-20), target, valid) > 0.5


@each
@each_k
def test_the_gradient_is_the_slope(name, k):
    loss = MAKE[name](k)
    logits, target, valid = example(k, seed=3)
    loss(logits, target, valid).backward()
    start, uphill = logits.detach(), logits.grad / logits.grad.norm()
    step = 2e-3
    slope = (loss(start + step * uphill, target, valid) - loss(start - step * uphill, target, valid)) / (2 * step)
    assert slope.item() == pytest.approx(logits.grad.norm().item(), rel=0.02)


@each
@each_k
def test_its_minimum_is_the_truth(name, k):
    target = torch.zeros(2, 16, 16, dtype=torch.uint8)
    target[0, 2:7, 3:8], target[0, 9:15, 4:16], target[1, :, 7:10] = 1, max(k, 2) - 1, 1
    valid = torch.ones_like(target, dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, k, 16, 16, generator=rng) * 0.1).requires_grad_()
    loss, optimizer = MAKE[name](k), torch.optim.Adam([logits], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, target, valid).backward()
        optimizer.step()
    predicted = (logits[:, 0] > 0) if k == 1 else logits.argmax(1)
    assert (predicted == target).float().mean() > 0.95


@each
@each_k
def test_half_precision_logits(name, k):
    loss = MAKE[name](k)
    logits, target, valid = example(k, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logits, target, valid)
    value.backward()
    assert value.dtype == torch.float32
    assert logits.grad.isfinite().all()
    assert value == loss(logits.detach().float(), target, valid)  # nothing is summed in bfloat16


@each
@each_k
def test_very_sure_logits_stay_finite(name, k):
    target = torch.tensor([[[0, 1], [1, 0]]])
    for size in (1e4, -1e4, 0.0):
        logits = sure(target, k, size=size).requires_grad_()
        value = MAKE[name](k)(logits, target, torch.ones_like(target, dtype=torch.bool))
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()


@each
def test_ids_may_be_of_any_whole_type(name):
    logits, target, valid = example(3)
    loss = MAKE[name](3)
    assert loss(logits, target, valid) == loss(logits, target.long(), valid)
