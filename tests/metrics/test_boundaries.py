"""Distances between outlines: by hand, by brute force over all pairs of pixels, and by MONAI."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import metrics as reference
from scipy import ndimage
from scipy.spatial.distance import cdist

from lamella.metrics.boundaries import (
    gaps,
    hausdorff95,
    outline,
    pool,
    surface_dice,
    surface_distance,
)

seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=60, deadline=None)

# MONAI 1.6 calls itself with an argument that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")


def mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def everywhere(image):
    return np.ones_like(image)


def random_masks(seed, number=2):
    """Blobs of any size, the empty and the full mask among them, and a valid mask."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 16, 2))
    field = ndimage.gaussian_filter(rng.normal(size=(number, *shape)), (0, 1.5, 1.5))
    return [*(field > rng.normal(0, 0.3, (number, 1, 1))), rng.random(shape) < 0.9]


def scores(predicted, truth, valid=None, tolerance=1.0, spacing=(1.0, 1.0)):
    found = gaps(predicted, truth, everywhere(truth) if valid is None else valid, spacing)
    return hausdorff95(found), surface_distance(found), surface_dice(found, tolerance)


# --- the outline -----------------------------------------------------------------------------------------


def test_the_outline_by_hand():
    region = mask(".....", ".###.", ".###.", ".###.", ".....")
    expected = mask(".....", ".###.", ".#.#.", ".###.", ".....")
    assert (outline(region, everywhere(region)) == expected).all()


def test_the_frame_is_no_outline():
    region = mask("##..", "##..")
    assert (outline(region, everywhere(region)) == mask(".#..", ".#..")).all()
    assert not outline(everywhere(region), everywhere(region)).any()


def test_the_rim_of_what_is_not_valid_is_no_outline():
    region = mask("####", "####")
    valid = mask("##.#", "##.#")
    assert not outline(region, valid).any()
    # Beyond the rim the region may end or not: nobody can tell.
    assert not outline(mask("##..", "##.."), valid).any()


@given(seeds)
@often
def test_the_outline_is_what_erosion_by_a_cross_takes(seed):
    region, _, _ = random_masks(seed)
    eroded = ndimage.binary_erosion(region, border_value=1)
    assert (outline(region, everywhere(region)) == region & ~eroded).all()


# --- distances -------------------------------------------------------------------------------------------


def test_two_lines_by_hand():
    truth, predicted = mask("#....", "#....", "#...."), mask("...#.", "...#.", "...#.")
    assert scores(predicted, truth, tolerance=2.9) == (3, 3, 0)
    assert scores(predicted, truth, tolerance=3) == (3, 3, 1)
    assert scores(predicted, truth, tolerance=12, spacing=(50.0, 4.0)) == (12, 12, 1)
    assert scores(predicted.T, truth.T, tolerance=12, spacing=(50.0, 4.0)) == (150, 150, 0)


def test_a_far_speck_by_hand():
    # A point that is right, and a wrong one 4 pixels off.
    truth, predicted = mask("#....."), mask("#...#.")
    hausdorff, mean, dice = scores(predicted, truth, tolerance=1)
    assert hausdorff == pytest.approx(0.95 * 4)  # the 95th percentile of 0 and 4
    assert mean == pytest.approx((0 + 4 + 0) / 3)
    assert dice == pytest.approx(2 / 3)


UNDEFINED = pytest.approx((np.nan,) * 3, nan_ok=True)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (4.0, 4.0)])
def test_empty_and_full(spacing):
    """Without an outline in the truth nothing is defined; with one that was missed, the diagonal is imputed."""
    empty = np.zeros((3, 4), bool)
    full, some = ~empty, mask("....", ".##.", "....")
    for predicted in (empty, full, some):
        assert scores(predicted, empty, spacing=spacing) == UNDEFINED
        assert scores(predicted, full, spacing=spacing) == UNDEFINED
    for predicted in (empty, full):
        assert scores(predicted, some, spacing=spacing, tolerance=100) == (5 * spacing[0], 5 * spacing[0], 0)
    assert scores(some, some, spacing=spacing) == (0, 0, 1)


def test_a_truth_that_fills_the_picture_has_no_distance_whatever_was_missed():
    full, missed = mask("####", "####", "####"), mask("####", "##.#", "####")
    found = gaps(missed, full, everywhere(full))
    assert (hausdorff95(found), surface_distance(found), surface_dice(found, 2)) == UNDEFINED
    assert found.imputed == 0
    # The other way round there is a hole, whose outline was missed.
    assert scores(full, missed) == (5, 5, 0)


def test_imputed_distances_are_counted():
    some, empty = mask("....", ".##.", "...."), np.zeros((3, 4), bool)
    assert [gaps(*pair, everywhere(some)).imputed for pair in ((some, some), (empty, some), (some, empty))] == [0, 1, 0]
    missed = gaps(empty, some, everywhere(some))
    assert missed.to_predicted.tolist() == [5, 5]
    assert missed.to_truth.tolist() == []


def test_pooled_by_hand():
    """One image a pixel off, one whose region was missed, one without the class, which is left out."""
    some, off, empty = mask("....", ".##.", "...."), mask("....", "....", ".##."), np.zeros((3, 4), bool)
    parts = [gaps(found, there, everywhere(some)) for found, there in ((off, some), (empty, some), (some, empty))]
    both = pool(parts)
    assert (both.to_truth.tolist(), both.to_predicted.tolist(), both.imputed) == ([1, 1], [1, 1, 5, 5], 1)
    assert surface_distance(both) == (4 + 10) / 6
    assert surface_dice(both, 1) == 4 / 6
    assert hausdorff95(both) == pytest.approx(5)
    assert (
        hausdorff95(pool(parts[2:])),
        surface_distance(pool(parts[2:])),
        surface_dice(pool(parts[2:]), 1),
    ) == UNDEFINED


def test_what_is_not_valid_counts_nowhere():
    truth = mask("##..", "##..")
    valid = mask("###.", "###.")
    assert scores(mask("##.#", "##.."), truth, valid) == (0, 0, 1)
    assert scores(mask("##.#", "##.."), truth)[0] > 0
    # All that is valid is of the class, or nothing is valid: there is no outline.
    assert scores(truth, truth, mask("##..", "##..")) == UNDEFINED
    assert scores(~truth, truth, valid & False) == UNDEFINED


def test_what_does_not_fit_is_refused():
    truth = mask("##..")
    with pytest.raises(ValueError, match="predicted must be bool"):
        gaps(truth.astype(np.uint8), truth, everywhere(truth))
    with pytest.raises(ValueError, match="valid must be bool"):
        gaps(truth, truth, everywhere(truth)[:, :2])


@given(seeds, st.sampled_from([(1.0, 1.0), (4.0, 4.0), (1.0, 2.5)]))
@often
def test_equals_all_pairs_of_pixels(seed, spacing):
    predicted, truth, valid = random_masks(seed)
    lines = [np.argwhere(outline(each, valid)) * spacing for each in (predicted, truth)]
    if not all(map(len, lines)):
        return
    table = cdist(*lines)
    there, back = table.min(axis=1), table.min(axis=0)
    both = np.concatenate([there, back])
    expected = max(np.percentile(there, 95), np.percentile(back, 95)), both.mean(), (both <= 2).mean()
    assert scores(predicted, truth, valid, 2, spacing) == pytest.approx(expected)


@given(seeds)
@often
def test_symmetric_bounded_and_perfect_for_the_same(seed):
    predicted, truth, valid = random_masks(seed)
    found, turned = scores(predicted, truth, valid), scores(truth, predicted, valid)
    if not outline(truth, valid).any():
        assert found == UNDEFINED
        return
    assert turned == (pytest.approx(found) if outline(predicted, valid).any() else UNDEFINED)
    hausdorff, mean, dice = found
    assert 0 <= mean <= np.hypot(*truth.shape) + 1e-9
    assert 0 <= hausdorff <= np.hypot(*truth.shape) + 1e-9
    assert 0 <= dice <= 1
    assert scores(truth, truth, valid) == (0, 0, 1)
    assert scores(predicted, np.where(valid, predicted, truth), valid) == (
        (0, 0, 1) if outline(predicted, valid).any() else UNDEFINED
    )


@given(seeds, st.floats(0, 5), st.floats(0, 5))
@often
def test_more_tolerance_never_lowers_the_score(seed, one, other):
    predicted, truth, valid = random_masks(seed)
    found = gaps(predicted, truth, valid)
    assert not surface_dice(found, min(one, other)) > surface_dice(found, max(one, other))


@given(seeds, st.sampled_from([(1.0, 1.0), (1.0, 2.5)]), st.sampled_from([1.0, 1.7, 2.5]))
@settings(max_examples=60, deadline=None)
def test_equals_monai(seed, spacing, tolerance):
    # A rim of background makes MONAI's outline, in which the frame counts, the same as ours.
    predicted, truth = (np.pad(each, 1) for each in random_masks(seed)[:2])
    if not (predicted.any() and truth.any()):
        return
    found = scores(predicted, truth, tolerance=tolerance, spacing=spacing)
    assert found == close(monai_scores(predicted, truth, tolerance, spacing))


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_monai_counts_the_frame(seed):
    predicted, truth, _ = random_masks(seed)
    if not (predicted.any() and truth.any()):
        return
    framed = scores(np.pad(predicted, 1), np.pad(truth, 1), tolerance=1.5)
    assert monai_scores(predicted, truth, 1.5) == close(framed)


@pytest.mark.filterwarnings("ignore:the (ground truth|prediction) of class 0 is all 0:UserWarning")
def test_monai_has_no_number_where_a_mask_is_empty():
    """Ours are the picture's diagonal and 0 where all was missed: a mean over images stays a number, and misses cost.

    Where the truth is empty, MONAI's distances and ours are no numbers; its surface Dice is 0 there where something was
    found, ours is left out, so that two methods always lose the same images.
    """
    some, empty = mask("....", ".##.", "...."), np.zeros((3, 4), bool)
    for pair in ((some, empty), (empty, some)):
        assert not np.isfinite(monai_scores(*pair, 1.0)[:2]).any()
        assert monai_scores(*pair, 1.0)[2] == 0
    assert scores(empty, some) == (5, 5, 0)
    assert scores(some, empty) == UNDEFINED
    assert np.isnan(monai_scores(empty, empty, 1.0)).all()
    assert scores(empty, empty) == UNDEFINED


def close(expected):
    """Within what MONAI's float32 loses between two ranks of a percentile."""
    return pytest.approx(expected, rel=1e-5, abs=1e-4)


def monai_scores(predicted, truth, tolerance, spacing=(1.0, 1.0)):
    """Hausdorff95, mean surface distance and surface Dice of MONAI."""
    masks = [torch.from_numpy(each)[None, None].float() for each in (predicted, truth)]
    how = {"include_background": True, "spacing": spacing}
    return (
        reference.compute_hausdorff_distance(*masks, percentile=95, **how).item(),
        reference.compute_average_surface_distance(*masks, symmetric=True, **how).item(),
        reference.compute_surface_dice(*masks, class_thresholds=[tolerance], **how).item(),
    )
