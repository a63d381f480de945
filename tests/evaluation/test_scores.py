"""Measures of one image and their summaries, by hand."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from lamella.data.types import ImageRef, Sample
from lamella.evaluation import scores as scoring
from lamella.evaluation.image_scores import ImageScores, ScoreSettings, score_image
from lamella.metrics.boundaries import Gaps, gaps, hausdorff95, pool, surface_dice, surface_distance
from lamella.metrics.neurites import THRESHOLDS
from lamella.metrics.pixels import ImageTable
from support.tiny import CPU, as_logits, batch

SETTINGS = ScoreSettings(
    num_classes=2, objects="", spacing_nm=None, tolerance=1.0, tolerance_nm=4.0, min_cell_size=1, split_neck=2.0,
    resized=None,
)  # fmt: skip


NOWHERE = Gaps(np.zeros(0), np.zeros(0), None)


def measure(probability, predicted, truth, valid, temperature=1.0, **changed):
    return score_image(probability, predicted, truth, valid, dataclasses.replace(SETTINGS, **changed), temperature)


def square(size, top, left, side):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_outlines_in_pixels_and_in_nanometres():
    truth, found = square(20, 5, 5, 8), square(20, 7, 5, 8)  # two pixels lower
    everywhere = np.ones((20, 20), bool)
    share = found[None].astype(np.float32)
    pixels = measure(share, found, truth, everywhere, spacing_nm=(4.0, 4.0)).columns
    assert pixels["boundary/hd95"] == 2
    assert pixels["boundary/hd95_nm"] == 8
    assert pixels["boundary/surface_distance_nm"] == pytest.approx(4 * pixels["boundary/surface_distance"])
    assert pixels["boundary/surface_dice"] == pixels["boundary/surface_dice_nm"]  # 1 pixel is 4 nm
    assert 0 < pixels["boundary/surface_dice"] < 1
    assert not any(name.endswith("_nm") for name in measure(share, found, truth, everywhere).columns)


def test_outlines_of_several_classes_are_a_mean():
    truth = square(20, 2, 2, 5) + 2 * square(20, 10, 10, 6)
    found = square(20, 2, 2, 5) + 2 * square(20, 13, 10, 6)
    share = np.stack([found == 0, found == 1, found == 2]).astype(np.float32)
    columns = measure(share, found, truth, np.ones((20, 20), bool), num_classes=3).columns
    assert columns["boundary/hd95"] == pytest.approx((0 + 3) / 2)


def test_cells_are_counted_as_regions_and_cut_apart():
    truth = np.maximum(square(40, 4, 4, 12), square(40, 4, 18, 12))  # two cells
    found = truth.copy()
    found[9:11, 16:18] = 1  # joined by a bridge two pixels wide
    got = measure(found[None].astype(np.float32), found, truth, np.ones((40, 40), bool), objects="cells")
    assert (got.columns["count/true"], got.columns["count/found"], got.columns["count/error"]) == (2, 1, -1)
    assert got.columns["watershed/count/error"] == 0
    assert got.columns["watershed/cells/f1"] == 1
    # The one instance shares 144 of 292 pixels with either cell: less than half.
    assert got.columns["cells/f1"] == 0
    assert set(got.cells) == {"", "watershed/"}


def test_masks_without_probabilities_have_no_calibration():
    truth = square(10, 2, 2, 4)
    got = measure(truth[None].astype(np.float32), truth, truth, np.ones((10, 10), bool), temperature=None)
    assert got.calibration == ()
    assert not any("calibration" in name for name in got.columns)


def test_a_temperature_changes_calibration_and_nothing_else():
    truth = square(10, 2, 2, 4)
    share = np.where(truth, 0.7, 0.3)[None].astype(np.float32)
    everywhere = np.ones((10, 10), bool)
    plain, hot = (measure(share, truth, truth, everywhere, temperature=t).columns for t in (1.0, 0.5))
    assert plain["calibration/brier"] == pytest.approx(0.09, abs=1e-6)
    assert plain["calibration/brier_tempered"] == plain["calibration/brier"]
    # Logits times two: 0.7 becomes 49 / 58.
    assert hot["calibration/brier_tempered"] == pytest.approx((9 / 58) ** 2, abs=1e-6)
    changed = {name for name in plain if plain[name] != hot[name]}
    assert changed == {"calibration/brier_tempered", "calibration/ece_tempered"}


def neurites(interior, truth):
    """A section measured from its interior's probability; class 1 is membrane."""
    share = (1 - interior)[None].astype(np.float32)
    found = (share[0] > 0.5).astype(np.uint8)
    return measure(share, found, truth, np.ones(truth.shape, bool), objects="neurites")


def scored(measured, counts):
    table = ImageTable([str(i) for i in range(len(counts))], np.array(counts))
    return scoring.TestScores(table, table.ids, np.empty(0), measured, 1.0)


def test_the_challenges_pixel_error_by_hand():
    """Two sections of ten pixels: interior above 0.3 is right but for one pixel, above 0.5 but for three."""
    truth = np.array([[0, 0, 0, 0, 1, 0, 0, 0, 1, 1]], np.uint8)
    interior = np.array([[0.9, 0.9, 0.9, 0.4, 0.35, 0.9, 0.4, 0.9, 0.1, 0.1]])
    one, other = neurites(interior, truth), neurites(np.where(truth == 0, 0.9, 0.1), truth)
    assert one.interior.shape == (len(THRESHOLDS), 4)
    assert one.interior[THRESHOLDS.index(0.3)].tolist() == [7, 1, 0, 2]  # TP, FP, FN, TN of the interior
    assert one.interior[THRESHOLDS.index(0.5)].tolist() == [5, 0, 2, 3]
    found = scoring.oracle(scored([one, other], np.zeros((2, 2, 4), np.int64)))
    # At 0.3: TP 14, FP 1, FN 0, all pooled.
    assert found["test/pixel_error/isbi2012"] == pytest.approx(1 - 28 / 29)
    assert found["test/v_rand/oracle"] <= 1


def test_summaries_take_groups_as_one():
    """Four patients with three images each, alike within a patient: there are four draws, not twelve."""
    counts = [[[0, 0, 0, 0], [tp, 0, 10 - tp, 0]] for tp in np.repeat((1, 4, 6, 9), 3)]
    measured = [ImageScores({}, (NOWHERE,), {}, (), (), np.empty((0, 4), np.int64))] * 12
    alone = scored(measured, counts)
    grouped = scoring.TestScores(alone.table, np.repeat(("a", "b", "c", "d"), 3).tolist(), alone.resized, measured, 1.0)
    values = [
        scoring.summary(each, scoring.columns(each, ("no", "yes"), None), ("no", "yes"), 1.0)
        for each in (alone, grouped)
    ]
    width = [value["test/recall/high"] - value["test/recall/low"] for value in values]
    assert values[0]["test/recall"] == values[1]["test/recall"] == pytest.approx(0.5)
    assert width[1] > width[0] > 0
    assert values[0]["test/pooled/recall"] == pytest.approx(0.5)


def test_pooled_outlines_by_hand():
    """One image a pixel off, and one whose cell was missed: its outline is the picture's diagonal away."""
    everywhere = np.ones((20, 20), bool)
    truth, lower, nothing = square(20, 5, 5, 2) > 0, square(20, 6, 5, 2) > 0, np.zeros((20, 20), bool)
    off, missed = gaps(lower, truth, everywhere), gaps(nothing, truth, everywhere)
    both = pool([off, missed])
    diagonal = float(np.hypot(20, 20))
    assert both.to_truth.tolist() == [0, 0, 1, 1]
    assert both.to_predicted.tolist() == [1, 1, 0, 0, *[diagonal] * 4]
    assert surface_dice(both, 1.0) == 8 / 12
    assert surface_distance(both) == pytest.approx((4 + 4 * diagonal) / 12)
    assert hausdorff95(both) == pytest.approx(diagonal)
    assert hausdorff95(missed) == surface_distance(missed) == pytest.approx(diagonal)
    assert surface_dice(missed, 1.0) == 0
    assert pool([NOWHERE, NOWHERE])[2] is None


@pytest.mark.parametrize(("bytes_", "most"), [(0, 0), (2 * 7 * 20 * 20, 2), (2**40, 5)])
def test_images_that_wait_to_be_scored_are_bounded_by_their_bytes(monkeypatch, bytes_, most):
    monkeypatch.setattr(scoring, "_MOST_WAITING", bytes_)
    truth, scored, behind = square(20, 5, 5, 8), [], []

    def batches():
        for number in range(6):
            behind.append(number - len(scored))  # that were predicted, and are not scored yet
            yield batch(np.where(truth, 0.9, 0.1), truth, name=str(number))

    def each(place, *_):
        time.sleep(0.02)
        scored.append(place)

    samples = [Sample(str(n), ImageRef(Path("i")), ImageRef(Path("m")), "g") for n in range(6)]
    found = scoring.score_images(as_logits(), batches(), CPU, SETTINGS, samples=samples, temperature=1.0, each=each)
    assert max(behind) <= most
    assert sorted(scored) == [*range(6)]
    assert found.table.ids == [str(n) for n in range(6)]
    assert found.table.per_image("dice").tolist() == [1.0] * 6
