"""V_rand and V_info against hand-worked values, brute force, and a watershed that goes pixel by pixel."""

import os
from collections import Counter, deque
from math import log
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import adapted_rand_error

from lamella.metrics.neurites import (
    THRESHOLDS,
    NeuriteScores,
    best_threshold,
    compare,
    scores_at,
    thin,
)

PERFECT = NeuriteScores(1, 1, 1, 1, 1, 1)


def mask(*rows):
    """`#` is interior, anything else border."""
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def harmonic(a, b):
    return 2 * a * b / (a + b)


def random_mask(seed, low=1, high=14):
    rng = np.random.default_rng(seed)
    return rng.random(rng.integers(low, high, 2)) < rng.uniform(0.1, 0.95)


seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=150, deadline=None)


# --- values worked out by hand ---------------------------------------------------------------------------


def test_identical_is_perfect():
    truth = mask("##.###", "##....", "...#.#")
    assert compare(truth, ndimage.label(truth)[0]) == PERFECT
    assert scores_at(truth.astype(np.float32), truth) == [PERFECT] * 11


def test_a_merge():
    # Three neurites of 2 pixels, n = 6; the first two share segment 1, membrane between them included.
    truth = mask("##.##.##")
    labels = np.array([[1, 1, 1, 1, 1, 0, 2, 2]])
    scores = compare(truth, labels)
    # a = 2 2 2, b = 4 2 (the membrane pixel counts nowhere), shared = 2 2 2, nothing under the border.
    # Sums of squares: a 12, b 16 + 4 = 20, shared 12. Precision 12 / 20, recall 12 / 12.
    assert scores.rand_precision == pytest.approx(0.6, abs=1e-15)
    assert scores.rand_recall == 1
    assert scores.v_rand == pytest.approx(0.75, abs=1e-15)  # 2 * 0.6 / 1.6
    # H(T) = log 3. H(S) = 2/3 log(3/2) + 1/3 log 3 = log 3 - 2/3 log 2. S follows from T: I = H(S).
    precision = 1 - 2 / 3 * log(2) / log(3)
    assert scores.info_precision == pytest.approx(precision, abs=1e-15)
    assert scores.info_recall == 1
    assert scores.v_info == pytest.approx(2 * precision / (1 + precision), abs=1e-15)


def test_a_split():
    # Neurites of 4 and 2 pixels, n = 6; the first is cut in halves.
    truth = mask("####.##")
    labels = np.array([[1, 1, 2, 2, 0, 3, 3]])
    scores = compare(truth, labels)
    # a = 4 2, b = 2 2 2, shared = 2 2 2. Sums of squares: a 20, b 12, shared 12.
    assert scores.rand_precision == 1
    assert scores.rand_recall == pytest.approx(0.6, abs=1e-15)
    assert scores.v_rand == pytest.approx(0.75, abs=1e-15)
    # The merge above with truth and proposal exchanged: I = H(T) = log 3 - 2/3 log 2, H(S) = log 3.
    recall = 1 - 2 / 3 * log(2) / log(3)
    assert scores.info_precision == 1
    assert scores.info_recall == pytest.approx(recall, abs=1e-15)
    assert scores.v_info == pytest.approx(2 * recall / (1 + recall), abs=1e-15)


def test_border_pixels_are_singletons():
    # Neurites of 4 and 2 pixels, n = 6; two pixels of the first lie under the border: k = 2.
    truth = mask("####.##")
    labels = np.array([[1, 0, 0, 2, 0, 3, 3]])
    scores = compare(truth, labels)
    # a = 4 2 (border pixels included), b = 1 1 2, shared = 1 1 2. Sums of squares, times n^2 = 36:
    # a 20, b 6 + k = 8, shared 6 + k = 8. As one segment the two would give 10 / 20, left out 6 / 20.
    assert scores.rand_precision == 1
    assert scores.rand_recall == pytest.approx(8 / 20, abs=1e-15)
    assert scores.v_rand == pytest.approx(0.8 / 1.4, abs=1e-15)
    # H(S): five segments, one of 2 pixels and four of 1: 1/3 log 3 + 4/6 log 6 = log 6 - 1/3 log 2.
    # H(T) = 2/3 log(3/2) + 1/3 log 3 = log 3 - 2/3 log 2, and T follows from S: I = H(T).
    recall = (log(3) - 2 / 3 * log(2)) / (log(6) - 1 / 3 * log(2))
    assert scores.info_precision == 1
    assert scores.info_recall == pytest.approx(recall, abs=1e-15)


@pytest.mark.parametrize(
    ("truth", "labels", "expected"),
    [
        ("###", [1, 1, 1], (1, 1)),  # one neurite, one segment: nothing to lose
        ("###", [1, 0, 2], (1, 0)),  # one neurite cannot be merged
        ("#.#", [1, 1, 1], (0, 1)),  # one segment cannot be split
        ("#", [0], (1, 1)),  # a neurite of one pixel under the border is still one pixel
    ],
)
def test_info_where_there_is_nothing_to_tell(truth, labels, expected):
    scores = compare(mask(truth), np.array([labels]))
    assert (scores.info_precision, scores.info_recall) == expected
    assert scores.v_info == min(expected)


def test_no_shared_information_is_zero_and_not_nan():
    truth = mask("##", "..", "##")
    scores = compare(truth, np.array([[1, 2], [0, 0], [1, 2]]))
    assert (scores.v_info, scores.info_precision, scores.info_recall) == (0, 0, 0)


# --- brute force -----------------------------------------------------------------------------------------


def entropy(labels):
    return -sum(count / len(labels) * log(count / len(labels)) for count in Counter(labels).values())


def brute_force(truth, labels):
    """All pairs of pixels, each border pixel named as a segment of its own."""
    neurite = ndimage.label(truth)[0][truth].tolist()
    segment = [label or f"border {place}" for place, label in enumerate(labels[truth].tolist())]
    n = range(len(neurite))
    pairs = [(neurite[p] == neurite[q], segment[p] == segment[q]) for p in n for q in n]
    both = sum(t and s for t, s in pairs)
    precision = both / sum(s for _, s in pairs)
    recall = both / sum(t for t, _ in pairs)
    h_t, h_s = entropy(neurite), entropy(segment)
    information = h_t + h_s - entropy(list(zip(neurite, segment, strict=True)))
    info = [information / h if h else None for h in (h_t, h_s)]
    return precision, recall, info


@often
@given(seeds)
def test_equals_brute_force(seed):
    truth = random_mask(seed, high=9)
    truth[0, 0] = True
    labels = np.random.default_rng(seed).integers(0, 5, truth.shape)
    scores = compare(truth, labels)
    precision, recall, info = brute_force(truth, labels)
    assert scores.rand_precision == pytest.approx(precision, abs=1e-12)
    assert scores.rand_recall == pytest.approx(recall, abs=1e-12)
    assert scores.v_rand == pytest.approx(harmonic(precision, recall), abs=1e-12)
    if None not in info:
        assert scores[4:] == pytest.approx(info, abs=1e-12)
        assert scores.v_info == pytest.approx(harmonic(*info) if all(info) else 0, abs=1e-12)
    assert all(0 <= score <= 1 for score in scores)


@often
@given(seeds)
def test_numbering_and_type_of_segments_do_not_matter(seed):
    truth = random_mask(seed)
    truth[0, 0] = True
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, truth.shape)
    names = np.concatenate([[0], rng.permutation(5) * 10**9 + 7])  # 0 stays border
    expected = compare(truth, labels)
    assert compare(truth, names[labels]) == expected
    for kind in (np.uint8, np.int32, np.uint64):
        assert compare(truth, labels.astype(kind)) == expected


def test_is_not_skimage_adapted_rand_error():
    # Neurites of 4 and 2 pixels; three of their pixels lie under the border.
    truth = mask("####.##")
    labels = np.array([[1, 0, 0, 2, 0, 3, 0]])
    # Here: a = 4 2, b = 1 1 1, shared = 1 1 1, k = 3. Precision (3 + 3) / (3 + 3), recall (3 + 3) / 20.
    assert compare(truth, labels).v_rand == pytest.approx(2 * 0.3 / 1.3, abs=1e-15)
    # There: segment 0 has 3 pixels and no pixel pairs with itself. Pairs in order: 4 * 3 + 2 * 1 = 14 in the
    # truth, 3 * 2 = 6 in the proposal, 2 * 1 = 2 in both. F = 2 * 2 / (14 + 6).
    error, _, _ = adapted_rand_error(ndimage.label(truth)[0], labels)
    assert 1 - error == pytest.approx(0.2, abs=1e-15)


# --- thinning --------------------------------------------------------------------------------------------


def one_by_one(interior):
    """The watershed as a plain queue of pixels, columns before rows.

    What it and `thin` return was found equal to Fiji's `WatershedTransform2D` (September 2024) on 1,524
    random and real sections, and `scores_at` to Fiji's scores at all eleven thresholds, within 1e-13.
    """
    height, width = interior.shape
    labels = np.full(interior.shape, -1)  # -1: not settled

    def neighbours(row, column):
        for r, c in ((row, column - 1), (row - 1, column), (row, column + 1), (row + 1, column)):
            if 0 <= r < height and 0 <= c < width:
                yield r, c

    by_columns = [(r, c) for c in range(width) for r in range(height)]
    found = 0
    for seed in by_columns:
        if interior[seed] and labels[seed] == -1:
            found += 1
            labels[seed] = found
            stack = [seed]
            while stack:
                for near in neighbours(*stack.pop()):
                    if interior[near] and labels[near] == -1:
                        labels[near] = found
                        stack.append(near)
    queue = deque(p for p in by_columns if not interior[p] and any(interior[q] for q in neighbours(*p)))
    queued = set(queue)
    while queue:
        pixel = queue.popleft()
        around = {int(labels[near]) for near in neighbours(*pixel)} - {-1, 0}
        labels[pixel] = around.pop() if len(around) == 1 else 0
        for near in neighbours(*pixel):
            if labels[near] == -1 and near not in queued:
                queued.add(near)
                queue.append(near)
    return labels if found else np.ones_like(labels)


@often
@given(seeds)
def test_thin_equals_the_watershed_pixel_by_pixel(seed):
    interior = random_mask(seed, high=20)
    np.testing.assert_array_equal(thin(interior), one_by_one(interior))


@pytest.mark.parametrize("seed", range(10))
def test_thin_equals_the_watershed_over_wide_borders(seed):
    # Few, far components: many layers, and lines that meet.
    rng = np.random.default_rng(seed)
    interior = rng.random((40, 50)) < 0.01
    np.testing.assert_array_equal(thin(interior), one_by_one(interior))


@often
@given(seeds)
def test_thin_keeps_components_apart_whole_and_unaltered(seed):
    interior = random_mask(seed, high=30)
    interior[0, 0] = True
    labels = thin(interior)
    components, found = ndimage.label(interior)
    pairs = np.unique(np.stack([components[interior], labels[interior]]), axis=1)
    assert pairs.shape[1] == found  # one id for each component
    assert len(np.unique(pairs[1])) == found  # and no id twice
    assert set(np.unique(labels)) - {0} == set(range(1, found + 1))
    for near, far in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        assert not ((near != far) & (near > 0) & (far > 0)).any()
    for label in range(1, found + 1):
        assert ndimage.label(labels == label)[1] == 1


@pytest.mark.parametrize("gap", range(1, 9))
@pytest.mark.parametrize("turned", [False, True])
def test_thin_makes_any_straight_border_one_pixel_wide(gap, turned):
    interior = np.ones((7, 20), dtype=np.bool_)
    interior[:, 5 : 5 + gap] = False
    labels = thin(interior.T).T if turned else thin(interior)
    border = labels == 0
    assert (border.sum(axis=1) == 1).all()
    assert abs(int(np.flatnonzero(border[0])[0]) - (5 + (gap - 1) / 2)) <= 0.5  # in the middle


def test_thin_drops_a_border_that_parts_nothing():
    interior = mask("#####", "#...#", "#.###", "#####")
    np.testing.assert_array_equal(thin(interior), np.ones_like(interior, dtype=np.int32))


@pytest.mark.parametrize("value", [True, False])
def test_thin_makes_a_section_without_contrast_one_component(value):
    labels = thin(np.full((3, 4), value))
    np.testing.assert_array_equal(labels, np.ones((3, 4)))
    assert labels.dtype == np.int32


# --- thresholds ------------------------------------------------------------------------------------------


def test_thresholds_are_the_challenge_s():
    assert tuple(round(step / 10, 1) for step in range(11)) == THRESHOLDS


def test_interior_is_strictly_above_the_threshold():
    truth = mask("#.#")
    low, high = 0.5, float(np.nextafter(np.float32(0.5), np.float32(1)))
    parted = scores_at(np.array([[1, low, 1]], dtype=np.float32), truth, [0.5])
    joined = scores_at(np.array([[1, high, 1]], dtype=np.float32), truth, [0.5])
    assert parted == [PERFECT]
    assert joined[0].rand_precision == 0.5  # 2 of 4 pairs


def test_pixels_are_compared_with_the_threshold_in_double_precision():
    # The float32 nearest 0.1 lies above 0.1, the one nearest 0.9 below 0.9.
    truth = mask("#.#")
    at = {value: np.array([[1, value, 1]], dtype=np.float32) for value in (0.1, 0.9)}
    assert scores_at(at[0.1], truth, [0.1])[0].rand_precision == 0.5
    assert scores_at(at[0.9], truth, [0.9]) == [PERFECT]


def test_at_threshold_one_only_certainty_is_interior():
    truth = mask("#.#")
    almost = float(np.nextafter(np.float32(1), np.float32(0)))
    assert scores_at(np.array([[1, almost, 1]], dtype=np.float32), truth, [1.0]) == [PERFECT]
    # Nothing is certain: the section is one segment.
    unsure = scores_at(np.full((1, 3), almost, dtype=np.float32), truth, [1.0])
    assert unsure == [compare(truth, np.ones((1, 3), dtype=np.int32))]


def test_scores_at_is_thin_then_compare():
    rng = np.random.default_rng(3)
    truth = rng.random((30, 40)) < 0.7
    probability = ndimage.gaussian_filter(rng.random((30, 40)), 1).astype(np.float32)
    expected = [compare(truth, thin(probability > np.float64(t))) for t in (0.6, 0.4)]
    assert scores_at(probability, truth, (0.6, 0.4)) == expected


def test_best_threshold():
    assert best_threshold({0.2: 0.7, 0.4: 0.9, 0.8: 0.8}) == 0.4
    assert best_threshold({0.0: 0.9, 0.6: 0.9, 0.9: 0.9}) == 0.6  # nearest 0.5
    assert best_threshold({0.7: 0.9, 0.3: 0.9}) == 0.3  # equally near: the lower
    assert best_threshold({0.2: np.nan, 0.4: 0.9, 0.8: 0.8}) == 0.4
    with pytest.raises(ValueError, match="no threshold to choose"):
        best_threshold({})
    with pytest.raises(ValueError, match="has a mean"):
        best_threshold({0.2: np.nan})


# --- what is refused -------------------------------------------------------------------------------------


def test_a_truth_without_interior_has_no_score():
    nothing = np.zeros((2, 3), dtype=np.bool_)
    assert np.isnan(compare(nothing, np.ones((2, 3), dtype=np.int32))).all()
    found = scores_at(np.ones((2, 3), dtype=np.float32), nothing, [0.5, 0.7])
    assert len(found) == 2
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.ones((2, 2), dtype=np.int32), "shape"),
        (np.ones((1, 3)), "integers"),
        (np.array([[1, -1, 2]]), "negative"),
    ],
)
def test_unfit_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        compare(mask("##."), labels)


@pytest.mark.parametrize(
    ("probability", "thresholds", "message"),
    [
        ([[0, 1, 255]], [0.5], r"\[0, 1\]"),
        ([[0, 1, np.nan]], [0.5], "NaN"),
        ([[0, 1]], [0.5], "shape"),
        ([[0, 1, 1]], [50], "thresholds"),
    ],
)
def test_unfit_probabilities_are_refused(probability, thresholds, message):
    with pytest.raises(ValueError, match=message):
        scores_at(np.array(probability, dtype=np.float32), mask("##."), thresholds)


def test_masks_must_be_bool():
    with pytest.raises(ValueError, match="bool"):
        thin(np.array([[0, 255]], dtype=np.uint8))  # type: ignore[arg-type]


# --- real membranes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sections():
    """The interior of three labelled sections of the challenge's volume, (512, 512) each."""
    folder = os.environ.get("LAMELLA_DATA")
    path = Path(folder or ".") / "em" / "train-labels.tif"
    if not folder or not path.exists():
        pytest.skip("needs em/train-labels.tif under the folder named by LAMELLA_DATA")
    return tifffile.imread(path, key=[0, 14, 29]) > 0


def mean_v_rand(proposals, truths):
    pairs = zip(proposals, truths, strict=True)
    return fmean(scores_at(p.astype(np.float32), t, [0.5])[0].v_rand for p, t in pairs)


def test_real_truth_against_itself_is_perfect(sections):
    for truth in sections:
        assert scores_at(truth.astype(np.float32), truth) == [PERFECT] * 11


def test_real_membranes_may_be_thick_but_not_leak(sections):
    thick = [ndimage.binary_erosion(truth, iterations=2, border_value=1) for truth in sections]
    rng = np.random.default_rng(0)
    holes = [~truth & (rng.random(truth.shape) < 0.001) for truth in sections]
    leaky = [t | ndimage.binary_dilation(h, iterations=6) for t, h in zip(sections, holes, strict=True)]
    # Thickening changes a tenth of all pixels, leaking a hundredth. The pixels say one thing:
    assert np.mean(np.stack(thick) != sections) > 5 * np.mean(np.stack(leaky) != sections)
    # the neurites another.
    assert mean_v_rand(thick, sections) > 0.99
    assert mean_v_rand(leaky, sections) < 0.8
