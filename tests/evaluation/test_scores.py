"""Measures of one image and their summaries, by hand."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from lamella.data.io.labels import Labels
from lamella.data.types import ImageRef, Sample
from lamella.evaluation import scores as scoring
from lamella.evaluation.image_scores import ImageScores, Numbered, ScoreSettings, score_image
from lamella.inference.whole_images import given_images, predict_images
from lamella.metrics.boundaries import Gaps
from lamella.metrics.neurites import THRESHOLDS
from lamella.metrics.pixels import ImageTable
from support.tiny import CPU, as_logits, batch

SETTINGS = ScoreSettings(
    num_classes=2, objects="", spacing_nm=None, tolerance=1.0, tolerance_nm=4.0, min_cell_size=1, split_neck=2.0,
    border=0, resized=None, failure=0.5,
)  # fmt: skip


NOWHERE = Gaps(np.zeros(0), np.zeros(0), 0)


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


NOTHING = ImageScores({}, (NOWHERE,), {}, (), (), np.empty((0, 4), np.int64))
NAMES = ("ground", "cell")


def summarised(scored, names=NAMES, **changed):
    """What is logged of images; none of it is NaN."""
    found = scoring.columns(scored, names, None)
    ones = np.ones(len(scored.table.ids))  # where a test has no outlines
    found = {"boundary/surface_dice": ones, "boundary/imputed": 0 * ones} | found
    values = scoring.summary(scored, found, names, dataclasses.replace(SETTINGS, **changed))
    assert not np.isnan(list(values.values())).any()
    return values


def test_summaries_take_groups_as_one():
    """Seven patients with three images each, alike within a patient: there are seven draws, not 21."""
    counts = [[[0, 0, 0, 0], [tp, 0, 10 - tp, 0]] for tp in np.repeat((1, 2, 4, 5, 6, 8, 9), 3)]
    alone = scored([NOTHING] * 21, counts)
    grouped = scoring.TestScores(alone.table, np.repeat([*"abcdefg"], 3).tolist(), alone.resized, alone.images, 1.0)
    values = [summarised(each) for each in (alone, grouped)]
    for name in ("test/recall", "test/pooled/recall"):
        width = [value[f"{name}/high"] - value[f"{name}/low"] for value in values]
        assert values[0][name] == values[1][name] == pytest.approx(0.5)
        assert width[1] > width[0] > 0
    # Six images have a Dice under one half; its bounds are known only where each image is by itself.
    assert values[0]["test/failures"] == values[1]["test/failures"] == pytest.approx(6 / 21)
    assert values[0]["test/failures/low"] < 6 / 21 < values[0]["test/failures/high"]
    assert "test/failures/low" not in values[1]
    assert summarised(alone, failure=0.0)["test/failures"] == 0


def test_a_mean_is_over_the_images_that_have_the_score():
    """Four images, of which two have no foreground, in one of which some was found; a fifth without a valid pixel."""
    counts = [(8, 0, 2, 90), (4, 0, 6, 90), (0, 0, 0, 100), (0, 30, 0, 70), (0, 0, 0, 0)]
    rows = [[[tn, fn, fp, tp], [tp, fp, fn, tn]] for tp, fp, fn, tn in counts]
    values = summarised(scored([NOTHING] * 5, rows))
    assert values["test/recall"] == pytest.approx((0.8 + 0.4) / 2)
    assert values["test/recall/images"] == 2
    assert values["test/accuracy"] == pytest.approx((0.98 + 0.94 + 1 + 0.7) / 4)
    assert values["test/accuracy/images"] == 4
    assert values["test/pooled/recall"] == 12 / 20
    assert values["test/pooled/precision"] == 12 / 42  # what was found where nothing is counts here
    assert values["test/failures"] == 0
    assert values["test/absent/images"] == 2
    assert values["test/absent/empty"] == 0.5
    assert values["test/absent/fp"] == 15
    first, second = (summarised(scored([NOTHING] * 2, some)) for some in (rows[:2], rows[2:4]))
    assert not any("images" in name or "absent" in name for name in first)
    assert not any(name in second for name in ("test/dice", "test/failures", "test/pooled/dice", "test/dice/low"))
    assert second["test/dice/images"] == 0
    assert second["test/pooled/accuracy"] == pytest.approx(0.85)


def test_of_several_classes_each_has_its_own_images():
    """Class 1 is in the first image, class 2 in none; both were found a little in the second."""
    rows = [[[90, 0, 0, 10], [10, 0, 0, 90], [0, 0, 0, 100]], [[92, 0, 8, 0], [0, 3, 0, 97], [0, 5, 0, 95]]]
    values = summarised(scored([NOTHING] * 2, rows), ("ground", "a", "b/c"))
    assert (values["test/dice"], values["test/dice/images"]) == (1, 1)
    assert (values["test/class/a/dice"], values["test/class/a/dice/images"]) == (1, 1)
    assert "test/class/b_c/dice" not in values
    assert values["test/class/b_c/dice/images"] == 0
    assert values["test/macro/dice"] == pytest.approx((1 + 184 / 192) / 2)
    assert values["test/pooled/class/a/precision"] == 10 / 13
    assert values["test/pooled/class/a/recall"] == 1
    assert values["test/pooled/class/a/dice"] == 20 / 23
    assert values["test/pooled/class/a/iou"] == 10 / 13
    assert values["test/pooled/dice"] == 20 / 23
    # Without the one image of class 1 there would be nothing to average.
    assert "test/pooled/dice/low" not in values
    assert "test/pooled/accuracy/low" in values
    assert not any(name.startswith("test/pooled/class/b_c") for name in values)
    absent = {name: value for name, value in values.items() if "absent" in name}
    assert absent == {
        "test/class/a/absent/images": 1, "test/class/a/absent/empty": 0, "test/class/a/absent/fp": 3,
        "test/class/b_c/absent/images": 2, "test/class/b_c/absent/empty": 0.5, "test/class/b_c/absent/fp": 2.5,
    }  # fmt: skip


def test_distances_that_were_imputed_are_counted():
    """One image a pixel off, one whose cell was missed, one without a cell."""
    everywhere = np.ones((20, 20), bool)
    truth, lower, nothing = square(20, 5, 5, 2), square(20, 6, 5, 2), np.zeros((20, 20), np.uint8)
    pairs = ((lower, truth), (nothing, truth), (lower, nothing))
    measured = [measure(found[None].astype(np.float32), found, there, everywhere) for found, there in pairs]
    assert [each.columns["boundary/imputed"] for each in measured] == [0, 1, 0]
    diagonal = float(np.hypot(20, 20))
    assert [each.columns["boundary/hd95"] for each in measured] == pytest.approx([1, diagonal, np.nan], nan_ok=True)
    assert [each.columns["boundary/surface_dice"] for each in measured[:2]] == [1, 0]
    values = summarised(scored(measured, [[[396, 0, 0, 4], [4, 0, 0, 396]]] * 3))
    assert values["test/boundary/hd95"] == pytest.approx((1 + diagonal) / 2)
    assert values["test/boundary/hd95/images"] == 2
    assert values["test/boundary/imputed"] == 1
    # Pooled: eight outline pixels of the first image, half of them a pixel off, and four of the second.
    assert values["test/pooled/boundary/surface_dice"] == 8 / 12
    assert values["test/pooled/boundary/surface_distance"] == pytest.approx((4 + 4 * diagonal) / 12)
    assert values["test/pooled/boundary/hd95"] == pytest.approx(diagonal)
    assert "test/pooled/boundary/surface_dice/low" in values
    assert "test/pooled/boundary/hd95/low" not in values
    without = summarised(scored(measured[2:], [[[396, 4, 0, 0], [0, 4, 0, 396]]]))
    assert not any("boundary" in name and not name.endswith("/images") for name in without)


def test_an_image_without_a_valid_pixel_has_no_score_of_any_kind():
    truth, nowhere = square(20, 5, 5, 8), np.zeros((20, 20), bool)
    share = np.where(truth, 0.9, 0.1)[None].astype(np.float32)
    for objects in ("cells", "neurites"):
        got = measure(share, truth, truth, nowhere, objects=objects, spacing_nm=(4.0, 4.0))
        assert np.isnan(list(got.columns.values())).all()
        assert np.isnan([each.v_rand for each in got.neurites]).all()


def test_what_is_ignored_is_no_neurites():
    """Two neurites, and between them ignored pixels in place of the membrane: they count nowhere."""
    truth = np.zeros((5, 9), np.uint8)
    share = np.zeros((1, 5, 9), np.float32)
    share[:, :, 4] = 1
    valid = np.ones((5, 9), bool)
    valid[:, 4] = False
    parted, whole = (
        measure(share, (share[0] > 0.5).astype(np.uint8), truth, each, objects="neurites").neurites[5]
        for each in (valid, valid | True)
    )
    assert parted.v_rand == 1
    assert whole.v_rand < 1


def test_cells_where_there_are_none():
    """No cell and none found, and one found: only the count is defined."""
    empty, one = np.zeros((20, 20), np.uint8), square(20, 5, 5, 8)
    shares = [f"{way}cells/{name}" for way in ("", "watershed/") for name in ("f1", "pq", "aji")]
    for found in (empty, one):
        share = found[None].astype(np.float32)
        columns = measure(share, found, empty, np.ones((20, 20), bool), objects="cells").columns
        assert (columns["count/true"], columns["count/error"]) == (0, found.max())
        assert np.isnan([columns[name] for name in shares]).all()


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
    predicted = predict_images(as_logits(), batches(), CPU, tta=False)
    found = scoring.score_images(predicted, SETTINGS, samples=samples, temperature=1.0, each=each)
    assert max(behind) <= most
    assert sorted(scored) == [*range(6)]
    assert found.table.ids == [str(n) for n in range(6)]
    assert found.table.per_image("dice").tolist() == [1.0] * 6


def test_numbered_cells_are_the_truth_whatever_touches():
    ids = np.zeros((40, 40), np.int32)
    ids[4:16, 4:16], ids[4:16, 16:28], ids[30:32, 30:32] = 7, 3, 9  # two touch, one is tiny
    parted = np.where(ids > 0, 1, 0).astype(np.uint8)
    parted[4:16, 15:17] = 0
    share, everywhere = parted[None].astype(np.float32), np.ones(ids.shape, bool)
    how = {"objects": "cells", "border": 1}
    numbered = dataclasses.replace(SETTINGS, **how)
    columns = score_image(share, parted, parted, everywhere, numbered, None, Numbered(ids)).columns
    assert columns["count/true"] == columns["count/found"] == 3
    assert columns["cells/pq"] == columns["watershed/cells/pq"] > 0.99  # the border is given back
    whole = (ids > 0).astype(np.uint8)
    columns = score_image(share, whole, parted, everywhere, numbered, None, Numbered(ids)).columns
    assert columns["count/found"] == 2  # not parted
    assert columns["cells/recall"] == pytest.approx(2 / 3)  # at exactly one half of the pair, one of the two
    small = dataclasses.replace(numbered, min_cell_size=5)
    columns = score_image(share, parted, parted, everywhere, small, None, Numbered(ids)).columns
    assert (columns["count/true"], columns["count/found"]) == (3, 2)


def test_a_border_that_is_ignored_belongs_to_the_cells():
    ids = np.zeros((20, 40), np.int32)
    ids[4:16, 4:16], ids[4:16, 16:28] = 1, 2
    valid = np.ones(ids.shape, bool)
    valid[4:16, 15:17] = False  # the border
    valid[:, 34:] = False  # and what nobody labelled
    found = ids.copy()
    found[2:6, 36:] = 3
    mask = (found > 0).astype(np.uint8)
    truth = ((ids > 0) & valid).astype(np.uint8)
    settings = dataclasses.replace(SETTINGS, objects="cells")
    share = mask[None].astype(np.float32)
    columns = score_image(share, mask, truth, valid, settings, None, Numbered(ids, found)).columns
    assert columns["cells/pq"] == 1
    assert columns["count/error"] == 0
    # Regions that nobody numbered are not cut by the border, which the network does not know.
    columns = score_image(share, mask, truth, valid, settings, None, Numbered(ids)).columns
    assert columns["count/found"] == 1


def test_ids_of_masks_made_elsewhere_are_the_cells():
    """Two cells that touch, found as two: ids say so, of their foreground components can not."""
    truth = np.zeros((20, 20), np.uint8)
    truth[2:12, 2:8], truth[2:12, 9:15] = 1, 1
    ids = np.zeros((20, 20), np.int32)
    ids[2:12, 2:8], ids[2:12, 8:15] = 5, 3
    samples = [Sample("one", ImageRef(Path("i")), ImageRef(Path("m")), "g")]
    settings = dataclasses.replace(SETTINGS, objects="cells")
    seen = {}
    for name, objects in (("ids", ids), ("mask", None)):
        given = given_images(
            [batch(truth, truth, name="one")],
            lambda _, objects=objects: Labels((ids > 0).astype(np.uint8), objects),
            num_classes=2,
        )
        scored = scoring.score_images(given, settings, samples=samples, temperature=None, each=lambda *_: None)
        seen[name] = scored.images[0].columns
        assert scored.table.per_image("recall").tolist() == [1.0]
    assert seen["ids"]["count/found"] == seen["ids"]["cells/f1"] * 2 == 2
    assert seen["mask"]["count/found"] == 1
    assert not any("calibration" in name for name in seen["ids"])
