"""Losses beside MONAI's: the same value and the same gradient, or a known relation where ours is another loss.

MONAI masks no pixel here. Where all pixels count alike, wherever they lie, the valid ones are handed to it as one
image of a single row, which also shows that the others count nowhere.

The Lovasz losses and U-Net's border weights are not in MONAI; its BoundaryLoss is another loss.
"""

import pytest
import torch
from monai import losses as reference
from monai.losses.cldice import soft_skel
from torch.nn.functional import one_hot

from lamella.losses import bce_dice, cldice, cross_entropy, focal, soft_dice, soft_jaccard, tversky, weighted_bce
from lamella.losses.overlap import soft_skeleton

each_k = pytest.mark.parametrize("k", [1, 4])
each_seed = pytest.mark.parametrize("seed", range(3))
NEVER = 1e-30  # MONAI wants a number above 0 in the denominator of clDice; added to anything else it vanishes


def example(k, seed=0, images=3):
    """Logits (images, k, 17, 20), ids of max(k, 2) classes, and about 7 in 10 pixels valid."""
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, k, 17, 20, generator=rng)
    target = torch.randint(max(k, 2), (images, 17, 20), generator=rng, dtype=torch.uint8)
    return logits, target, torch.rand(target.shape, generator=rng) < 0.7


def valid_row(logits, target, valid):
    """The valid pixels as MONAI takes an image: logits (1, K, 1, n) and ids (1, 1, 1, n)."""
    return logits.movedim(1, -1)[valid].T[None, :, None], target[valid][None, None, None].float()


def activation(k):
    """MONAI's words for what is done to K logits, and for leaving the background out."""
    return {"sigmoid": True} if k == 1 else {"softmax": True, "to_onehot_y": True, "include_background": False}


def same(ours, theirs, logits):
    """Two functions of the logits have one value and one gradient."""
    found = []
    for loss in (ours, theirs):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        found.append((value.detach(), leaf.grad))
    (our_value, our_slope), (their_value, their_slope) = found
    torch.testing.assert_close(our_value, their_value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(our_slope, their_slope, rtol=1e-4, atol=1e-7)
    assert our_slope.abs().max() > 0


def same_over_valid(loss, theirs, k, seed):
    """The same for a loss of ours and a loss of MONAI, which takes the valid pixels alone."""
    logits, target, valid = example(k, seed)
    same(
        lambda values: loss(values, target, valid),
        lambda values: theirs(*valid_row(values, target, valid)),
        logits,
    )


# Pixel by pixel


@each_k
@each_seed
def test_cross_entropy(k, seed):
    same_over_valid(cross_entropy, reference.DiceCELoss(lambda_dice=0, **activation(k)), k, seed)


@each_seed
def test_weighted_cross_entropy(seed):
    weights = [0.5, 1.0, 2.0, 4.0]
    theirs = reference.DiceCELoss(lambda_dice=0, weight=torch.tensor(weights), **activation(4))
    same_over_valid(weighted_bce(num_classes=4, weights=weights), theirs, 4, seed)


@each_seed
def test_weighted_cross_entropy_of_one_logit_is_a_weighted_mean(seed):
    """MONAI divides by the pixels for one logit, by their weights for several; ours by their weights for both."""
    logits, target, valid = example(1, seed)
    theirs = reference.DiceCELoss(lambda_dice=0, weight=torch.tensor([3.0]), **activation(1))
    mean_weight = torch.where(target[valid] == 1, 3.0, 1.0).mean()
    same(
        lambda values: weighted_bce(num_classes=2, weights=[3.0])(values, target, valid) * mean_weight,
        lambda values: theirs(*valid_row(values, target, valid)),
        logits,
    )


@each_seed
@pytest.mark.parametrize("alpha", [None, 0.3])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal(gamma, alpha, seed):
    same_over_valid(focal(gamma=gamma, alpha=alpha), reference.FocalLoss(gamma=gamma, alpha=alpha), 1, seed)


@each_seed
@pytest.mark.parametrize("alpha", [None, 0.3])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_of_several_classes_is_k_times_theirs(gamma, alpha, seed):
    """A pixel has one term, that of its class; MONAI takes the mean over K terms, of which the others are 0."""
    theirs = reference.FocalLoss(gamma=gamma, alpha=alpha, use_softmax=True, to_onehot_y=True)
    same_over_valid(focal(gamma=gamma, alpha=alpha), lambda *row: 4 * theirs(*row), 4, seed)


@each_seed
def test_focal_of_several_classes_is_not_one_against_the_rest(seed):
    """What MONAI does unless told otherwise: the mean of K losses of one logit each."""
    logits, target, valid = example(4, seed)
    loss = focal(gamma=2.0, alpha=0.3)
    theirs = reference.FocalLoss(gamma=2.0, alpha=0.3, to_onehot_y=True)(*valid_row(logits, target, valid))
    each = [loss(logits[:, [class_id]], (target == class_id).byte(), valid) for class_id in range(4)]
    torch.testing.assert_close(torch.stack(each).mean(), theirs, rtol=1e-5, atol=1e-6)
    assert abs(loss(logits, target, valid) - theirs) > 0.01


# Areas


@each_k
@each_seed
def test_dice_over_the_batch(k, seed):
    same_over_valid(soft_dice, reference.DiceLoss(batch=True, smooth_nr=1, smooth_dr=1, **activation(k)), k, seed)


@each_k
@each_seed
def test_dice_per_image(k, seed):
    """Ours is of the whole batch as one image; MONAI's mean over images is that of ours on one image after another."""
    logits, target, _ = example(k, seed)
    valid = torch.ones_like(target, dtype=torch.bool)
    theirs = reference.DiceLoss(batch=False, smooth_nr=1, smooth_dr=1, **activation(k))(logits, target[:, None])
    each = [soft_dice(*(part[[i]] for part in (logits, target, valid))) for i in range(len(target))]
    torch.testing.assert_close(torch.stack(each).mean(), theirs, rtol=1e-5, atol=1e-6)
    assert soft_dice(logits, target, valid) != theirs


@each_k
@each_seed
def test_bce_dice(k, seed):
    theirs = reference.DiceCELoss(batch=True, smooth_nr=1, smooth_dr=1, lambda_ce=0.7, lambda_dice=1.3, **activation(k))
    same_over_valid(bce_dice(bce_weight=0.7, dice_weight=1.3), theirs, k, seed)


@each_k
@each_seed
def test_soft_jaccard_is_minus_the_logarithm_of_theirs(k, seed):
    """MONAI has 1 - J; TernausNet's loss, which ours is, -log J. Theirs doubles both of J's sums: so its 1 is 2."""
    theirs = reference.DiceLoss(jaccard=True, batch=True, smooth_nr=2, smooth_dr=2, reduction="none", **activation(k))
    entropy = reference.DiceCELoss(lambda_dice=0, **activation(k))

    def expected(logits, target):
        return 0.7 * entropy(logits, target) - 0.3 * (1 - theirs(logits, target)).log().mean()

    same_over_valid(soft_jaccard(bce_weight=0.7, jaccard_weight=0.3), expected, k, seed)


@each_k
@each_seed
@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.5, 0.5), (1.0, 0.2)])
def test_tversky(k, seed, alpha, beta):
    theirs = reference.TverskyLoss(alpha=alpha, beta=beta, batch=True, smooth_nr=0.5, smooth_dr=0.5, **activation(k))
    same_over_valid(tversky(alpha=alpha, beta=beta), theirs, k, seed)


# Centre lines


def drawn(k, seed, images=3):
    """As `example`, but with logits and ids in blobs, which have skeletons."""
    logits, _, valid = example(k, seed, images)
    smooth = torch.nn.functional.avg_pool2d(6 * logits, 5, stride=1, padding=2)
    noise, _, _ = example(k, seed + 100, images)
    rough = torch.nn.functional.avg_pool2d(6 * (logits + noise), 3, stride=1, padding=1)
    target = (rough[:, 0] > 0).byte() if k == 1 else rough.argmax(dim=1).byte()
    return smooth, target, valid


@each_seed
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_soft_skeleton(iterations, seed):
    share = drawn(4, seed)[0].softmax(dim=1)
    ours, theirs = soft_skeleton(share, iterations), soft_skel(share, iterations)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert ours.max() > 0.01


@each_seed
def test_cldice_of_one_image(seed):
    logits, target, _ = drawn(1, seed, images=1)
    valid = torch.ones_like(target, dtype=torch.bool)
    theirs = reference.SoftclDiceLoss(iter_=3, smooth=NEVER, sigmoid=True)
    same(
        lambda values: cldice(alpha=1, iterations=3)(values, target, valid),
        lambda values: theirs(values, target[:, None].float()),
        logits,
    )


@each_seed
def test_cldice_and_dice_of_one_image(seed):
    logits, target, _ = drawn(1, seed, images=1)
    valid = torch.ones_like(target, dtype=torch.bool)
    theirs = reference.SoftDiceclDiceLoss(iter_=5, alpha=0.3, smooth=NEVER, sigmoid=True)
    same(
        lambda values: cldice(alpha=0.3, iterations=5)(values, target, valid),
        lambda values: theirs(values, target[:, None].float()),
        logits,
    )


@each_seed
def test_cldice_per_image(seed):
    """Ours sums over the batch, as all losses of areas here; MONAI's is the mean over images."""
    logits, target, _ = drawn(1, seed)
    valid = torch.ones_like(target, dtype=torch.bool)
    loss = cldice(alpha=1, iterations=3)
    theirs = reference.SoftclDiceLoss(iter_=3, smooth=NEVER, sigmoid=True)(logits, target[:, None].float())
    each = [loss(*(part[[i]] for part in (logits, target, valid))) for i in range(len(target))]
    torch.testing.assert_close(torch.stack(each).mean(), theirs, rtol=1e-5, atol=1e-6)
    assert loss(logits, target, valid) != theirs


@each_k
@each_seed
def test_cldice_over_the_batch(k, seed):
    """Ours has a ratio for each class over the batch, MONAI's for each image over the classes.

    So MONAI's is given each class alone, with the images of the batch where it looks for classes.
    """
    logits, target, valid = drawn(k, seed)
    truth = one_hot(target.long(), max(k, 2)).movedim(-1, 1)[:, 1:].float() * valid[:, None]
    theirs = reference.SoftclDiceLoss(iter_=3, smooth=NEVER)

    def expected(values):
        share = (values.sigmoid() if k == 1 else values.softmax(dim=1)[:, 1:]) * valid[:, None]
        each = zip(share.unbind(1), truth.unbind(1), strict=True)
        return torch.stack([theirs(said[None], there[None]) for said, there in each]).mean()

    same(lambda values: cldice(alpha=1, iterations=3)(values, target, valid), expected, logits)
