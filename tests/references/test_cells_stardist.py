"""Scores of numbered cells beside StarDist's, on the cells of real blood smears and what may be found of them."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from stardist.matching import matching

from lamella.evaluation.image_scores import Numbered, ScoreSettings, score_image
from lamella.metrics import cells

SETTINGS = ScoreSettings(
    num_classes=2, objects="cells", spacing_nm=None, tolerance=1.0, tolerance_nm=4.0, min_cell_size=1, split_neck=2.0,
    border=1, resized=None, failure=0.5,
)  # fmt: skip
NAMES = {"precision": cells.precision, "recall": cells.recall, "f1": cells.f1, "accuracy": cells.average_precision}


def smears(root):
    """The numbered cells of three smears, and a find of each: moved, some missing, some grown, some of two cells."""
    for number, path in enumerate(sorted((root / "blood/test/mask").glob("*.png"))[:3]):
        truth = ndimage.label(np.asarray(Image.open(path).convert("L")) > 0)[0].astype(np.int32)
        rng = np.random.default_rng(number)
        found = np.roll(truth, tuple(rng.integers(-4, 5, 2)), (0, 1))
        found[np.isin(found, rng.choice(truth.max(), truth.max() // 10, replace=False) + 1)] = 0
        found = np.where(rng.random(truth.max() + 1)[found] < 0.3, ndimage.maximum_filter(found, 9), found)
        joined = rng.permutation(truth.max() + 1)
        found = np.where(rng.random(truth.max() + 1)[found] < 0.1, joined[found], found)
        yield truth, found * 1000  # ids have no order and holes


def test_at_every_threshold(lamella_data):
    for truth, found in smears(lamella_data):
        counts = cells.compare(found, truth)
        for place, iou in enumerate(cells.IOU_THRESHOLDS):
            reference = matching(truth, found, iou)
            assert (counts.truth, counts.predicted, counts.hits[place]) == (
                reference.n_true, reference.n_pred, reference.tp,
            )  # fmt: skip
            for name, score in NAMES.items():
                assert float(score(counts, iou)) == pytest.approx(getattr(reference, name), abs=1e-12)
        assert float(cells.panoptic_quality(counts)) == pytest.approx(
            matching(truth, found, 0.5 + 1e-9).panoptic_quality,
            rel=1e-6,  # it sums in float32
        )


def test_the_columns_of_an_image_whose_truth_and_find_are_numbered(lamella_data):
    truth, found = next(smears(lamella_data))
    there, seen = (truth > 0).astype(np.uint8), (found > 0).astype(np.uint8)
    share, everywhere = seen[None].astype(np.float32), np.ones(truth.shape, bool)
    columns = score_image(share, seen, there, everywhere, SETTINGS, None, Numbered(truth, found)).columns
    reference = matching(truth, found, 0.5)
    assert columns["count/true"] == reference.n_true
    assert columns["count/found"] == reference.n_pred
    assert columns["cells/f1"] == pytest.approx(reference.f1)
    assert columns["cells/ap50"] == pytest.approx(reference.accuracy)
    all_ious = [matching(truth, found, iou).accuracy for iou in cells.IOU_THRESHOLDS]
    assert columns["cells/ap"] == pytest.approx(np.mean(all_ious))
