"""Losses, one by one: hand-worked values, slow references, and equality with other people's."""

from math import exp, log

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn.functional import binary_cross_entropy, logsigmoid
from torch.nn.functional import cross_entropy as torch_cross_entropy

import lamella.torchvision_ops  # noqa: F401 - before segmentation_models_pytorch, which imports torchvision
from lamella.errors import ConfigError
from lamella.losses import (
    bce,
    bce_dice,
    boundary_weighted,
    cldice,
    cross_entropy,
    dice,
    focal,
    lovasz,
    soft_dice,
    soft_jaccard,
    tversky,
    weighted_bce,
    weighted_sum,
)
from lamella.losses.borders import border_weights
from lamella.losses.overlap import soft_skeleton

from segmentation_models_pytorch.losses import (  # isort: skip
    DiceLoss,
    FocalLoss,
    JaccardLoss,
    LovaszLoss,
    SoftBCEWithLogitsLoss,
    TverskyLoss,
)

each_k = pytest.mark.parametrize("k", [1, 3])


def logit(probability):
    return log(probability / (1 - probability))


def example(k, seed=0):
    """Logits (2, k, 9, 10) and ids of max(k, 2) classes, all valid."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, k, 9, 10, generator=rng)
    target = torch.randint(max(k, 2), (2, 9, 10), generator=rng, dtype=torch.uint8)
    return logits, target, torch.ones_like(target, dtype=torch.bool)


def rows(*lines):
    """Class ids (H, W) from text."""
    return np.array([[int(c) for c in line] for line in lines], np.uint8)


# One image of four pixels, the last one invalid: probabilities .9 .2 .6 (.5), truth 1 0 0 (1).
LOGITS = torch.tensor([[[[logit(0.9), logit(0.2), logit(0.6), 0.0]]]])
TARGET = torch.tensor([[[1, 0, 0, 1]]], dtype=torch.uint8)
VALID = torch.tensor([[[True, True, True, False]]])
ENTROPIES = [-log(0.9), -log(0.8), -log(0.4)]

# Two pixels of three classes, truth 1 and 2.
SHARES = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
LOGITS_3 = torch.tensor(SHARES).log().T.reshape(1, 3, 1, 2)
TARGET_3 = torch.tensor([[[1, 2]]])
VALID_3 = torch.ones(1, 1, 2, dtype=torch.bool)


def binary(loss):
    return loss(LOGITS, TARGET, VALID).item()


def of_three(loss):
    return loss(LOGITS_3, TARGET_3, VALID_3).item()


def close(value):
    return pytest.approx(value, rel=1e-6)


# Cross-entropy and its weights


def test_cross_entropy_by_hand():
    assert bce() is cross_entropy
    assert binary(bce()) == close(sum(ENTROPIES) / 3)
    assert of_three(bce()) == close(-(log(0.3) + log(0.8)) / 2)


def test_weighted_bce_by_hand():
    expected = (3 * ENTROPIES[0] + ENTROPIES[1] + ENTROPIES[2]) / 5
    assert binary(weighted_bce(num_classes=2, weights=[3.0])) == close(expected)
    assert binary(weighted_bce(num_classes=2, weights=[1.0, 3.0])) == close(expected)
    assert binary(weighted_bce(num_classes=2, weights=[2.0, 6.0])) == close(expected)  # only the ratio matters
    assert of_three(weighted_bce(num_classes=3, weights=[1.0, 2.0, 5.0])) == close(-(2 * log(0.3) + 5 * log(0.8)) / 7)


def test_weighted_bce_equals_pytorch():
    logits, target, valid = example(3)
    ours = weighted_bce(num_classes=3, weights=[0.5, 2, 3])(logits, target, valid)
    torch.testing.assert_close(ours, torch_cross_entropy(logits, target.long(), torch.tensor([0.5, 2, 3])))
    logits, target, valid = example(1)
    weight = torch.where(target > 0, 3.0, 1.0)
    theirs = binary_cross_entropy(logits[:, 0].sigmoid(), target.float(), weight) / weight.mean()
    torch.testing.assert_close(weighted_bce(num_classes=2, weights=[3.0])(logits, target, valid), theirs)


def test_weights_are_one_or_one_a_class():
    with pytest.raises(ConfigError, match=r"loss\.weights has 2 numbers for 3 classes"):
        weighted_bce(num_classes=3, weights=[1.0, 2.0])


def test_focal_by_hand():
    terms = [0.1**2 * ENTROPIES[0], 0.2**2 * ENTROPIES[1], 0.6**2 * ENTROPIES[2]]
    assert binary(focal(gamma=2, alpha=None)) == close(sum(terms) / 3)
    assert binary(focal(gamma=2, alpha=0.25)) == close((0.25 * terms[0] + 0.75 * (terms[1] + terms[2])) / 3)
    assert of_three(focal(gamma=1, alpha=None)) == close(-(0.7 * log(0.3) + 0.2 * log(0.8)) / 2)


@each_k
def test_focal_without_gamma_is_cross_entropy(k):
    torch.testing.assert_close(focal(gamma=0, alpha=None)(*example(k)), cross_entropy(*example(k)))


# Areas


def test_dice_by_hand():
    assert dice() is soft_dice
    assert binary(dice()) == close(1 - (2 * 0.9 + 1) / (1.7 + 1 + 1))
    of_1, of_2 = 1 - (2 * 0.3 + 1) / (0.4 + 1 + 1), 1 - (2 * 0.8 + 1) / (1.0 + 1 + 1)
    assert of_three(dice()) == close((of_1 + of_2) / 2)


def test_bce_dice_by_hand():
    expected = 0.5 * sum(ENTROPIES) / 3 + 2 * (1 - (2 * 0.9 + 1) / (1.7 + 1 + 1))
    assert binary(bce_dice(bce_weight=0.5, dice_weight=2)) == close(expected)


def test_soft_jaccard_by_hand():
    log_jaccard = log((0.9 + 1) / (1.7 + 1 - 0.9 + 1))
    assert binary(soft_jaccard(bce_weight=1, jaccard_weight=1)) == close(sum(ENTROPIES) / 3 - log_jaccard)
    of_1, of_2 = (0.3 + 1) / (0.4 + 1 - 0.3 + 1), (0.8 + 1) / (1.0 + 1 - 0.8 + 1)
    assert of_three(soft_jaccard(bce_weight=0, jaccard_weight=3)) == close(-3 * (log(of_1) + log(of_2)) / 2)


def test_tversky_by_hand():
    # Shares: 0.9 found, 0.2 + 0.6 false, 0.1 missed.
    expected = 1 - (0.9 + 0.5) / (0.9 + 0.3 * 0.8 + 0.7 * 0.1 + 0.5)
    assert binary(tversky(alpha=0.3, beta=0.7)) == close(expected)
    of_1 = 1 - (0.3 + 0.5) / (0.3 + 0.3 * 0.1 + 0.7 * 0.7 + 0.5)
    of_2 = 1 - (0.8 + 0.5) / (0.8 + 0.3 * 0.2 + 0.7 * 0.2 + 0.5)
    assert of_three(tversky(alpha=0.3, beta=0.7)) == close((of_1 + of_2) / 2)


@each_k
def test_tversky_of_two_halves_is_dice(k):
    torch.testing.assert_close(tversky(alpha=0.5, beta=0.5)(*example(k)), soft_dice(*example(k)))


def test_tversky_prefers_what_beta_says():
    target = torch.tensor([[[1, 1, 0, 0]]])
    valid = torch.ones_like(target, dtype=torch.bool)
    too_much, too_little = torch.tensor([[[[9.0, 9, 9, -9]]]]), torch.tensor([[[[9.0, -9, -9, -9]]]])
    loss = tversky(alpha=0.2, beta=0.8)
    assert loss(too_much, target, valid) < loss(too_little, target, valid)


@pytest.mark.parametrize(
    ("make", "weights"), [(bce_dice, ("bce_weight", "dice_weight")), (soft_jaccard, ("bce_weight", "jaccard_weight"))]
)
def test_a_loss_of_nothing_is_refused(make, weights):
    with pytest.raises(ConfigError, match="both 0"):
        make(**dict.fromkeys(weights, 0))


# Lovasz


def test_lovasz_hinge_by_hand():
    # Margins 1 - logit * sign: 0.5 (there), 3 and 0 (not there). From the worst on: 3, 0.5, 0.
    logits = torch.tensor([[[[0.5, 2.0, -1.0, 7.0]]]])
    # The false pixel first: J goes from 1 to 1/2; then the missed one: to 0.
    assert lovasz()(logits, TARGET, VALID).item() == close(3 * 0.5 + 0.5 * 0.5)


def test_lovasz_softmax_by_hand():
    # Class 0 is absent. Class 1: errors .7 (there), .1; class 2: .2 (there), .2. One missed makes J 0 at once.
    of_1 = 0.7 * 1 + 0.1 * 0
    assert of_three(lovasz()) == close((of_1 + 0.2) / 2)  # class 2: both errors are .2, and J falls by 1 in all


@each_k
def test_lovasz_of_whole_answers_is_1_minus_jaccard(k):
    """The point of the extension: at the corners it is the index itself."""
    _, target, valid = example(k)
    _, said, _ = example(k, seed=1)
    if k == 1:
        logits = (said[:, None].float() * 2 - 1) * 1.0  # hinge: a wrong pixel of margin 1 costs 2
        classes, cost = [1], 2
    else:
        logits = torch.nn.functional.one_hot(said.long(), k).movedim(-1, 1).float() * 60
        classes, cost = range(k), 1
    index = [((said == c) & (target == c)).sum() / ((said == c) | (target == c)).sum() for c in classes]
    expected = cost * (1 - torch.stack(index).mean())
    torch.testing.assert_close(lovasz()(logits, target, valid), expected)


# The border of cells


def test_border_weights_by_hand():
    # A gap of three pixels between two cells: distances (1, 3), (2, 2), (3, 1).
    found = border_weights(rows("1000110"), 10.0, 2.0, of_background=False)
    right = 10 * exp(-((1 + 6) ** 2) / 8)  # the last pixel: 1 from its cell, 6 from the other
    np.testing.assert_allclose(found, [[0, *[10 * exp(-(4**2) / 8)] * 3, 0, 0, right]], rtol=1e-6)


def test_one_cell_has_no_border_with_another():
    assert (border_weights(rows("0110", "0110"), 10.0, 5.0, of_background=False) == 0).all()
    assert (border_weights(rows("0000", "0000"), 10.0, 5.0, of_background=False) == 0).all()
    assert (border_weights(rows("1111", "1111"), 10.0, 5.0, of_background=False) == 0).all()


def test_cells_of_two_classes_that_touch_are_two():
    found = border_weights(rows("1200", "1200"), 10.0, 2.0, of_background=False)
    np.testing.assert_allclose(found[:, 2], 10 * exp(-((1 + 2) ** 2) / 8), rtol=1e-6)


def test_membranes_lie_between_regions_of_background():
    found = border_weights(rows("0010", "0010"), 10.0, 2.0, of_background=True)
    np.testing.assert_allclose(found, [[0, 0, 10 * exp(-(2**2) / 8), 0]] * 2, rtol=1e-6)


@pytest.mark.parametrize("of_background", [False, True])
def test_border_weights_equal_those_of_all_distances(of_background):
    rng = np.random.default_rng(2)
    ids = (ndimage.gaussian_filter(rng.normal(size=(60, 70)), 2) > 0).astype(np.uint8)
    cells, count = ndimage.label(ids == (0 if of_background else 1))
    assert count > 3
    all_distances = np.stack([ndimage.distance_transform_edt(cells != i) for i in range(1, count + 1)])
    nearest, second = np.sort(all_distances, axis=0)[:2]
    expected = np.where(cells == 0, 10 * np.exp(-((nearest + second) ** 2) / (2 * 1.5**2)), 0)
    found = border_weights(ids, 10.0, 1.5, of_background=of_background)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # far cells are left out, and weigh less than that


def test_boundary_weighted_by_hand():
    # The invalid pixel is no cell, so there is one cell and no border; 1 of 3 is foreground, 2 are background.
    foreground, background = 3 / (2 * 1), 3 / (2 * 2)
    expected = (foreground * ENTROPIES[0] + background * (ENTROPIES[1] + ENTROPIES[2])) / 3
    assert binary(boundary_weighted(w0=10, sigma=5, cells="foreground")) == close(expected)
    # With it: a gap of two pixels, 1 + 2 from the cells on either side; two pixels of each class.
    border = 10 * exp(-(3**2) / (2 * 5**2))
    expected = (ENTROPIES[0] + (1 + border) * (ENTROPIES[1] + ENTROPIES[2]) - log(0.5)) / 4
    all_valid = torch.ones_like(VALID)
    assert boundary_weighted(w0=10, sigma=5, cells="foreground")(LOGITS, TARGET, all_valid).item() == close(expected)


def test_boundary_weighted_balances_classes():
    # Three classes, class 0 absent: the two pixels weigh 1 each; touching cells leave no pixel between.
    assert of_three(boundary_weighted(w0=10, sigma=5, cells="foreground")) == close(-(log(0.3) + log(0.8)) / 2)


# Centre lines


def skeleton(*lines, iterations=3):
    share = torch.from_numpy(rows(*lines)).float()[None, None]
    return soft_skeleton(share, iterations)[0, 0].numpy().astype(np.uint8)


def test_a_line_is_its_own_skeleton():
    lines = "0000000", "0111110", "0000010", "0000010", "0000000"
    np.testing.assert_array_equal(skeleton(*lines), rows(*lines))


def test_the_skeleton_of_a_bar_is_its_middle():
    found = skeleton("00000000000", "01111111110", "01111111110", "01111111110", "00000000000")
    assert (found[2, 2:9] == 1).all()
    assert found[[0, 1, 3, 4], 3:8].sum() == 0


def test_the_soft_skeleton_equals_a_slow_one():
    rng = np.random.default_rng(0)
    share = ndimage.gaussian_filter(rng.random((20, 30)), 1.5).astype(np.float32)
    share = (share - share.min()) / np.ptp(share)
    cross = ndimage.generate_binary_structure(2, 1)

    def lost_by_opening(image):
        eroded = ndimage.grey_erosion(image, footprint=cross, mode="nearest")
        return np.maximum(image - ndimage.grey_dilation(eroded, size=(3, 3), mode="nearest"), 0)

    expected = np.zeros_like(share)
    image = share
    for _ in range(5):  # once, and four times more
        found = lost_by_opening(image)
        expected = expected + np.maximum(found - expected * found, 0)
        image = ndimage.grey_erosion(image, footprint=cross, mode="nearest")
    found = soft_skeleton(torch.from_numpy(share)[None, None], 4)[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cldice_of_a_gap_by_hand():
    # A line of nine pixels; the prediction misses one: all its own eight lie on the line, eight of nine are met.
    target = torch.from_numpy(rows("00000000000", "01111111110", "00000000000"))[None]
    valid = torch.ones_like(target, dtype=torch.bool)
    logits = (target.float()[:, None] * 2 - 1) * 30
    logits[..., 1, 5] = -30
    precision, recall = (8 + 1) / (8 + 1), (8 + 1) / (9 + 1)
    lines = 1 - 2 * precision * recall / (precision + recall)
    areas = 1 - (2 * 8 + 1) / (8 + 9 + 1)
    assert cldice(alpha=1, iterations=2)(logits, target, valid).item() == close(lines)
    assert cldice(alpha=0.25, iterations=2)(logits, target, valid).item() == close(0.25 * lines + 0.75 * areas)


def test_cldice_minds_a_gap_more_than_a_rim():
    target = torch.zeros(1, 15, 40, dtype=torch.uint8)
    target[:, 5:10] = 1  # a membrane five pixels thick
    valid = torch.ones_like(target, dtype=torch.bool)
    gap, rim = target.clone(), target.clone()
    gap[..., 18:20] = 0  # ten pixels, and it is cut
    rim[:, 5, 10:20] = 0  # ten pixels, and it is thinner
    of_gap, of_rim = (((t.float() * 2 - 1) * 20)[:, None] for t in (gap, rim))
    assert soft_dice(of_gap, target, valid) == soft_dice(of_rim, target, valid)
    loss = cldice(alpha=1, iterations=4)
    assert loss(of_gap, target, valid) > 2 * loss(of_rim, target, valid)


# Sums

PARTS = {
    "bce": bce(),
    "weighted_bce": weighted_bce(num_classes=2, weights=[3.0]),
    "tversky": tversky(alpha=0.3, beta=0.7),
    "focal": focal(gamma=2, alpha=None),
}


def test_a_weighted_sum_is_the_sum():
    loss = weighted_sum(terms={"bce": 1, "tversky": 0.5, "focal": 2.0, "weighted_bce": 0}, parts=PARTS)
    expected = binary(bce()) + 0.5 * binary(tversky(alpha=0.3, beta=0.7)) + 2 * binary(focal(gamma=2, alpha=None))
    assert binary(loss) == close(expected)


def test_a_wrong_name_in_a_sum_lists_the_right_ones():
    with pytest.raises(ConfigError, match=r"loss\.terms names 'bec'") as caught:
        weighted_sum(terms={"bec": 1, "focal": 1}, parts=PARTS)
    assert caught.value.remedy == "Did you mean bce? Allowed: bce, focal, tversky, weighted_bce."


@pytest.mark.parametrize("terms", [None, {}, {"bce": 0}])
def test_a_sum_of_nothing_is_refused(terms):
    with pytest.raises(ConfigError, match="nothing to minimise") as caught:
        weighted_sum(terms=terms, parts=PARTS)
    assert "bce, focal, tversky" in caught.value.remedy


@pytest.mark.parametrize("weight", [-1, "1", None, True, float("nan"), float("inf"), [1]])
def test_a_weight_in_a_sum_is_a_number(weight):
    with pytest.raises(ConfigError, match=r"loss\.terms\.bce must be a number, at least 0"):
        weighted_sum(terms={"bce": weight}, parts=PARTS)


# Other people's


@each_k
def test_areas_equal_segmentation_models_pytorch(k):
    logits, target, valid = example(k)
    mode = {"mode": "binary"} if k == 1 else {"mode": "multiclass", "classes": [1, 2]}
    # Theirs divides both of Dice's sums by two before it adds.
    torch.testing.assert_close(soft_dice(logits, target, valid), DiceLoss(**mode, smooth=0.5)(logits, target.long()))
    ours = soft_jaccard(bce_weight=0, jaccard_weight=1)(logits, target, valid)
    torch.testing.assert_close(ours, JaccardLoss(**mode, smooth=1, log_loss=True)(logits, target.long()))
    ours = tversky(alpha=0.3, beta=0.7)(logits, target, valid)
    theirs = TverskyLoss(**mode, smooth=0.5, alpha=0.3, beta=0.7)(logits, target.long())
    torch.testing.assert_close(ours, theirs)


@each_k
def test_lovasz_equals_segmentation_models_pytorch(k):
    logits, target, valid = example(k)
    theirs = LovaszLoss("binary" if k == 1 else "multiclass", per_image=False)
    torch.testing.assert_close(lovasz()(logits, target, valid), theirs(logits, target.long()))
    # Theirs leaves pixels out by an id; ours by the mask.
    some = torch.rand(valid.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    theirs.ignore_index = 255
    torch.testing.assert_close(
        lovasz()(logits, target, some), theirs(logits, torch.where(some, target, 255).long()).to(torch.float32)
    )


def test_pixelwise_losses_equal_segmentation_models_pytorch():
    logits, target, valid = example(1)
    theirs = SoftBCEWithLogitsLoss()(logits[:, 0], target.float())
    torch.testing.assert_close(cross_entropy(logits, target, valid), theirs)
    for alpha in (None, 0.3):
        ours = focal(gamma=2, alpha=alpha)(logits, target, valid)
        torch.testing.assert_close(ours, FocalLoss("binary", alpha=alpha, gamma=2)(logits, target.long()))


def test_dice_differs_from_theirs_on_empty_masks():
    logits, target, valid = example(1)
    empty = target * 0
    assert DiceLoss("binary", smooth=0.5)(logits, empty.long()) == 0
    expected = 1 - 1 / (logsigmoid(logits).exp().sum() + 1)
    torch.testing.assert_close(soft_dice(logits, empty, valid), expected)
