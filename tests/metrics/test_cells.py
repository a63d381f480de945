"""Instances and their scores: by hand, by brute force, and what must never change a score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage.measure import label

from lamella.data.io.labels import Labels, parted
from lamella.metrics.cells import (
    IOU_THRESHOLDS,
    aggregated_jaccard,
    average_precision,
    compare,
    count_error,
    f1,
    panoptic_quality,
    pool,
    precision,
    recall,
    recognition_quality,
    segmentation_quality,
)
from lamella.metrics.instances import components, of_classes, rejoined, split_touching
from support.rows import assert_rows_add_up

SCORES = (precision, recall, f1, average_precision, aggregated_jaccard, panoptic_quality,
          segmentation_quality, recognition_quality)  # fmt: skip
seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=80, deadline=None)


def mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def everywhere(image):
    return np.ones_like(image, dtype=bool)


def row(text):
    """One row of labels: a digit is an id, a dot is background."""
    return np.array([[0 if each == "." else int(each) for each in text]])


def random_labels(seed, number=2):
    """Small images of few ids, where unions are small and ties are common; ids need not be connected."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 7, 2))
    return [rng.integers(0, rng.integers(1, 7), shape) for _ in range(number)]


def all_scores(counts):
    return [float(score(counts)) for score in SCORES]


# --- instances -------------------------------------------------------------------------------------------


def test_components_meet_at_corners():
    region = mask("##..", "..#.", "...#", "....", "###.")
    labels = components(region, everywhere(region))
    assert labels.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [2, 2, 2, 0]]


def test_small_components_are_left_out_and_ids_have_no_gap():
    region = mask("#.##.###")
    assert components(region, everywhere(region), smallest=2).tolist() == [[0, 0, 1, 1, 0, 2, 2, 2]]
    assert components(region, everywhere(region), smallest=9).max() == 0


def test_what_is_not_valid_is_in_no_instance_and_parts_them():
    region = mask("#####")
    assert components(region, mask("##.##")).tolist() == [[1, 1, 0, 2, 2]]
    assert split_touching(region, mask("##.##"), depth=1).tolist() == [[1, 1, 0, 2, 2]]


@given(seeds)
@often
def test_components_equal_scikit_image(seed):
    rng = np.random.default_rng(seed)
    region = rng.random(tuple(rng.integers(1, 14, 2))) < rng.random()
    assert (components(region, everywhere(region)) == label(region, connectivity=2)).all()


def discs(shape, *places, radius=10):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return [(y - cy) ** 2 + (x - cx) ** 2 <= radius**2 for cy, cx in places]


def test_two_cells_that_touch_come_apart():
    one, other = discs((30, 50), (15, 14), (15, 32))
    region = one | other
    assert components(region, everywhere(region)).max() == 1
    labels = split_touching(region, everywhere(region), depth=2)
    assert labels.max() == 2
    assert ((labels > 0) == region).all()  # no pixel is lost
    assert labels[15, 14] != labels[15, 32]
    counts = compare(labels, one + 2 * (other & ~one))
    assert recall(counts, 0.9) == 1


def test_the_depth_decides_what_a_neck_is():
    # The distance falls from 10 in the middle of each disc to about 6 between them.
    region = np.logical_or(*discs((30, 50), (15, 14), (15, 30)))
    assert [split_touching(region, everywhere(region), depth=d).max() for d in (1, 3, 6)] == [2, 2, 1]


def test_a_rough_cell_stays_whole():
    (disc,) = discs((60, 60), (30, 30), radius=22)
    rough = disc ^ (ndimage.binary_dilation(disc) & (np.random.default_rng(0).random(disc.shape) < 0.3))
    rough = ndimage.binary_fill_holes(rough)
    assert split_touching(rough, everywhere(rough), depth=2, smallest=5).max() == 1


def test_small_parts_are_left_out_after_the_cut():
    (large,), (small,) = discs((40, 50), (20, 15), radius=13), discs((40, 50), (20, 33), radius=6)
    region = large | small
    assert split_touching(region, everywhere(region), depth=1).max() == 2
    assert split_touching(region, everywhere(region), depth=1, smallest=200).max() == 1


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_cut_only_refines_components(seed):
    rng = np.random.default_rng(seed)
    region = ndimage.gaussian_filter(rng.normal(size=tuple(rng.integers(1, 40, 2))), 2) > 0
    whole = components(region, everywhere(region))
    parts = split_touching(region, everywhere(region), depth=0.5)
    assert ((parts > 0) == region).all()
    assert len(np.unique(parts)) == parts.max() + (0 in parts)
    for part in range(1, parts.max() + 1):
        assert len(np.unique(whole[parts == part])) == 1
    assert (split_touching(region, everywhere(region), depth=1e6) > 0).sum() == region.sum()
    assert split_touching(region, everywhere(region), depth=1e6).max() == whole.max()


# --- scores by hand --------------------------------------------------------------------------------------


def test_scores_by_hand():
    truth = row("1111.222.33.....")
    found = row("111..2222..55.66")
    # 1 with 1 and 2 with 2: 3 / 4. Cell 3 and instances 5 and 6 are alone, with 2 pixels each.
    counts = compare(found, truth)
    assert (counts.truth, counts.predicted, count_error(counts)) == (3, 4, 1)
    assert counts.hits.tolist() == [2, 2, 2, 2, 2, 2, 0, 0, 0, 0]  # 0.75 is at least 0.75
    assert precision(counts) == 2 / 4
    assert recall(counts) == 2 / 3
    assert f1(counts) == 4 / 7
    assert average_precision(counts, 0.75) == 2 / 5
    assert average_precision(counts, 0.8) == 0
    assert average_precision(counts) == pytest.approx(6 / 10 * 2 / 5)
    assert aggregated_jaccard(counts) == (3 + 3) / (4 + 4 + 2 + 2 + 2)
    assert panoptic_quality(counts) == pytest.approx(1.5 / 3.5)
    assert segmentation_quality(counts) == 0.75
    assert recognition_quality(counts) == pytest.approx(2 / 3.5)


def test_a_merge_and_a_split_by_hand():
    merged = compare(row("1111111"), row("111.222"))
    assert (count_error(merged), merged.hits[0]) == (-1, 0)
    assert aggregated_jaccard(merged) == (3 + 3) / (7 + 7)  # the one instance is the best of both
    split = compare(row("111.2222"), row("11111111"))
    assert (count_error(split), split.hits[0], split.pairs) == (1, 1, 0)  # 4 / 8 is a hit, but no pair above one half
    assert aggregated_jaccard(split) == 4 / (8 + 3)


def test_of_two_instances_of_equal_iou_the_larger_is_the_best():
    # 1 / 4 and 2 / 8; the other one, of 1 pixel, is no cell's best.
    assert aggregated_jaccard(compare(row("2.333333"), row("1111...."))) == 2 / (8 + 1)


def test_at_exactly_one_half_one_of_two_equal_halves_is_the_pair():
    whole, halves = row("111111"), row("111222")
    assert compare(halves, whole).hits.tolist() == [1] + [0] * 9
    assert compare(whole, halves).hits.tolist() == [1] + [0] * 9
    assert f1(compare(halves, whole)) == 2 / 3


def test_empty_and_full():
    """Without a cell there is no score, whatever was found; with cells and none found it is 0."""
    empty, full = row("...."), row("1111")
    assert all_scores(compare(full, full)) == [1] * 8
    assert all_scores(compare(empty, full)) == [0] * 8
    for found, truth in ((empty, empty), (full, empty), (np.zeros((0, 0), int), np.zeros((0, 0), int))):
        assert np.isnan(all_scores(compare(found, truth))).all()
    assert count_error(compare(full, empty)) == 1
    assert count_error(compare(empty, full)) == -1
    assert count_error(compare(empty, empty)) == 0


@given(seeds)
@often
def test_rows_of_images_add_up_to_their_pool(seed):
    assert_rows_add_up([compare(*random_labels(seed + i)) for i in range(4)], pool, (*SCORES, count_error))


def test_pooled_is_all_images_as_one():
    left, right = random_labels(3), random_labels(4)
    one, other = compare(*left), compare(*right)
    height = max(left[0].shape[0], right[0].shape[0])

    def side_by_side(a, b):
        padded = [np.pad(each, ((0, height - each.shape[0]), (0, 0))) for each in (a, np.where(b > 0, b + 100, 0))]
        return np.concatenate(padded, axis=1)

    whole = compare(*(side_by_side(a, b) for a, b in zip(left, right, strict=True)))
    both = pool([one, other])
    assert all_scores(both) == pytest.approx(all_scores(whole))
    assert (both.hits == whole.hits).all()
    assert np.isnan(all_scores(pool([]))).all()
    assert pool([one])[:2] == one[:2]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="shape"):
        compare(row("11"), row("111"))
    with pytest.raises(ValueError, match="negative"):
        compare(-row("11"), row("11"))


# --- against brute force ---------------------------------------------------------------------------------


def overlaps(found, truth):
    """Shared pixels, unions and IoU of all pairs, one by one: rows are cells."""
    cells, instances = ([labels == n for n in np.unique(labels[labels > 0])] for labels in (truth, found))
    shared = np.array([[(c & i).sum() for i in instances] for c in cells]).reshape(len(cells), len(instances))
    union = np.array([[(c | i).sum() for i in instances] for c in cells]).reshape(shared.shape)
    return cells, instances, shared, union, shared / np.maximum(union, 1)


@given(seeds)
@often
def test_hits_equal_the_optimal_assignment(seed):
    found, truth = random_labels(seed)
    iou = overlaps(found, truth)[-1]
    counts = compare(found, truth)
    for hits, threshold in zip(counts.hits, IOU_THRESHOLDS, strict=True):
        rows, columns = linear_sum_assignment((iou >= threshold).astype(float), maximize=True)
        assert hits == (iou[rows, columns] >= threshold).sum()
    assert counts.pairs == (iou > 0.5).sum()
    assert counts.quality == pytest.approx(iou[iou > 0.5].sum())


@given(seeds)
@often
def test_aggregated_jaccard_equals_the_published_loop(seed):
    found, truth = random_labels(seed)
    cells, instances, shared, union, iou = overlaps(found, truth)
    if not cells:
        return
    above, below, used = 0, 0, set()
    for i, cell in enumerate(cells):
        if not shared[i].any():
            below += cell.sum()
            continue
        ties = np.flatnonzero((iou[i] == iou[i].max()) & (shared[i] == shared[i][iou[i] == iou[i].max()].max()))
        best = min(ties, key=lambda j: np.flatnonzero(instances[j])[0])
        above, below = above + shared[i, best], below + union[i, best]
        used.add(best)
    below += sum(instance.sum() for j, instance in enumerate(instances) if j not in used)
    assert aggregated_jaccard(compare(found, truth)) == pytest.approx(above / below)


@given(seeds, st.randoms(use_true_random=False))
@often
def test_numbering_changes_nothing(seed, random):
    found, truth = random_labels(seed)

    def renumber(labels):
        ids = np.array([0, *random.sample([*range(1, 40), 10**9, 2**31 - 1], int(labels.max()))])
        return ids[labels]

    before, after = compare(found, truth), compare(renumber(found), renumber(truth))
    np.testing.assert_array_equal(all_scores(before), all_scores(after))
    assert (before.hits == after.hits).all()


@given(seeds)
@often
def test_symmetric_ordered_and_perfect_for_the_same(seed):
    found, truth = random_labels(seed)
    counts, turned = compare(found, truth), compare(truth, found)
    assert (counts.hits == turned.hits).all()
    assert count_error(counts) == -count_error(turned)
    assert (np.diff(counts.hits) <= 0).all()
    assert all(np.isnan(all_scores(each)).all() for each in (counts, turned) if not each.truth)
    if not (counts.truth and turned.truth):
        return
    assert precision(counts) == recall(turned)
    for score in (f1, average_precision, panoptic_quality):
        assert score(counts) == pytest.approx(score(turned))
    assert all(0 <= value <= 1 for value in all_scores(counts))
    assert panoptic_quality(counts) == pytest.approx(segmentation_quality(counts) * recognition_quality(counts))
    assert all_scores(compare(truth, truth)) == [1] * 8


# --- time ------------------------------------------------------------------------------------------------


def test_many_cells_take_no_longer_than_few():
    """No loop over pairs: noise of 100,000 specks against 300 cells stays in memory and time."""
    y, x = np.divmod(np.arange(1200 * 1600).reshape(1200, 1600), 1600)
    truth = np.where((y % 80 > 5) & (x % 80 > 5), y // 80 * 20 + x // 80 + 1, 0)
    specks = components(np.random.default_rng(0).random(truth.shape) < 0.25, everywhere(truth))
    assert specks.max() > 90_000
    counts = compare(specks, truth)
    assert (counts.truth, counts.predicted, counts.hits[0]) == (300, specks.max(), 0)


# --- the border between objects that touch, given back ---------------------------------------------------------


def test_what_was_parted_is_rejoined():
    y, x = np.mgrid[:60, :60]
    ids = np.where((y - 30) ** 2 + (x - 30) ** 2 < 28**2, 1 + (y > 30) + 2 * (x > 33), 0).astype(np.int32)
    ids[:4, 54:] = 9  # alone
    everywhere = np.ones_like(ids, bool)
    mask = parted(Labels((ids > 0).astype(np.uint8), ids), "background") > 0
    apart = components(mask, everywhere)
    assert apart.max() == 5  # of two regions
    assert panoptic_quality(compare(apart, ids)) < 0.95
    back = rejoined(apart, everywhere, 1)
    assert panoptic_quality(compare(back, ids)) > 0.99  # what is narrower than the border is gone
    assert np.array_equal(rejoined(apart, everywhere, 0), apart)


def test_only_narrow_gaps_are_borders():
    labels = np.array([[1, 1, 0, 0, 2, 2, 0, 0, 0, 3]], np.int32).repeat(3, 0)
    everywhere = np.ones_like(labels, bool)
    assert rejoined(labels, everywhere, 1).tolist() == [[1, 1, 1, 2, 2, 2, 0, 0, 0, 3]] * 3
    everywhere[:, 2] = False
    assert rejoined(labels, everywhere, 1).tolist() == [[1, 1, 0, 2, 2, 2, 0, 0, 0, 3]] * 3


def test_objects_of_two_classes_are_never_one():
    classes = np.array([[1, 1, 2, 2, 0, 1]], np.uint8)
    everywhere = np.ones_like(classes, bool)
    cut = of_classes(lambda mask: components(mask, everywhere), classes)
    assert cut.tolist() == [[1, 1, 3, 3, 0, 2]]
