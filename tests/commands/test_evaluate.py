"""A finished run scored again: its own scores to the last bit, and those of other images."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from lamella import tracking
from lamella.commands import evaluate
from lamella.errors import ConfigError, DataError, StorageError
from lamella.evaluation import error_maps


def test_the_threshold_is_the_one_validation_chose_and_is_logged(runs):
    for run in runs:
        assert '"threshold": "chosen on validation"' in run.tags["lamella.protocol"]
    chosen = [run.metrics["test/threshold"] for run in runs]
    assert chosen[2] == 0.5  # Otsu's method gives masks
    assert all(0.01 <= each <= 0.99 for each in chosen)
    assert set(chosen[:2]) != {0.5}
    assert "calibration/temperature" in runs[0].metrics
    assert "calibration/temperature" not in runs[2].metrics


def test_a_run_is_scored_by_every_measure_an_image_and_pooled(runs):
    unet, otsu = runs[0], runs[2]
    metrics, table = unet.metrics, unet.scores()
    for name in (
        *("dice", "mcc", "specificity", "pixel_error", "boundary/hd95", "boundary/surface_distance"),
        *("boundary/surface_dice", "cells/f1", "cells/pq", "watershed/cells/aji", "calibration/brier"),
    ):
        assert metrics[f"test/{name}"] == pytest.approx(table[name].mean()), name
        assert metrics[f"test/{name}/low"] <= metrics[f"test/{name}"] <= metrics[f"test/{name}/high"], name
    counts = table[["tp", "fp", "fn", "tn"]].sum()
    assert metrics["test/pooled/dice"] == pytest.approx(2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn))
    error = table["count/found"] - table["count/true"]
    assert (table["count/error"] == error).all()
    assert metrics["test/count/mae"] == pytest.approx(error.abs().mean())
    assert metrics["test/count/bias"] == pytest.approx(error.mean())
    reach = stats.t.ppf(0.975, 3) * error.std(ddof=1) * (1 + 1 / 4) ** 0.5
    assert metrics["test/count/agreement_to"] == pytest.approx(error.mean() + reach)
    assert {"test/pooled/cells/pq", "test/pooled/calibration/ece_tempered"} <= metrics.keys()
    assert not any("calibration" in name for name in otsu.metrics)
    assert otsu.metrics["model/parameters"] == 0
    assert metrics["model/parameters"] > 1e6
    cells = pd.read_csv(unet.fetch("scores/cells.csv"))
    assert len(cells) == 2 * 10
    half = cells[cells.iou == 0.5].set_index("cells")
    assert half.f1["components"] == pytest.approx(metrics["test/cells/f1"])
    assert half.pooled_ap["watershed"] == pytest.approx(metrics["test/pooled/watershed/cells/ap50"])
    assert cells[cells.cells == "components"].ap.mean() == pytest.approx(metrics["test/cells/ap"])
    curve = pd.read_csv(unet.fetch("scores/reliability.csv"))
    assert set(curve.kind) == {"as predicted", "tempered"}
    pixels = curve.groupby("kind").pixels.sum()
    assert set(pixels) == {4 * 64 * 96}


def test_outcomes_say_what_was_right_and_wrong(runs):
    for run in runs:
        for row in run.scores().itertuples():
            codes = error_maps.read_error_map(run.fetch(f"outcomes/{row.case}.png"))
            found = np.bincount(codes.ravel(), minlength=6)
            assert found.tolist() == [row.tn, row.tp, row.fp, row.fn, 0, 0]
            assert run.fetch(f"pictures/{row.case}.jpg").stat().st_size


def test_an_evaluation_gives_the_runs_own_scores_to_the_last_bit(uri, runs, composed, capsys):
    for run in (runs[0], runs[2]):
        evaluate.run(composed("evaluate", f"run={run.run_id}"))
        assert "are the run's own, to the last bit" in capsys.readouterr().out
        (child,) = [each for each in tracking.finished(uri) if each.tags.get("lamella.evaluates") == run.run_id]
        assert child.tags["mlflow.parentRunId"] == run.run_id
        assert child.experiment == run.experiment
        assert child.tags["lamella.protocol"] == run.tags["lamella.protocol"]
        assert child.fetch("scores/test.csv").read_bytes() == run.fetch("scores/test.csv").read_bytes()
        same = {name for name in run.metrics if name.startswith("test/")}
        assert {n: child.metrics[n] for n in same} == {n: run.metrics[n] for n in same}


def test_another_precision_is_another_protocol_and_said_so(uri, runs, composed, capsys):
    run = runs[1]
    evaluate.run(composed("evaluate", f"run={run.run_id}", "precision=bf16-mixed"))
    said = " ".join(capsys.readouterr().out.split())
    assert "They are of another protocol: precision bf16-mixed, not 32-true." in said
    (child,) = [each for each in tracking.finished(uri) if each.tags.get("lamella.evaluates") == run.run_id]
    assert (child.tags["lamella.device"], child.tags["lamella.precision"]) == ("cpu", "bf16-mixed")
    assert run.tags["lamella.precision"] == "32-true"
    assert child.metrics["test/dice"] == pytest.approx(run.metrics["test/dice"], abs=0.02)
    assert child.metrics["test/calibration/brier"] != run.metrics["test/calibration/brier"]


def test_another_data_set_is_scored_by_another_protocol(uri, runs, composed, root, capsys):
    network = runs[0].run_id
    (root / "images").mkdir()
    (root / "masks").mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        mask = np.zeros((70, 90), np.uint8)
        mask[10:40, 20:60] = 255
        image = np.where(mask[..., None] > 0, 120, 230) + random.normal(0, 5, (70, 90, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    folder = ("dataset=folder", f"dataset.images={root}/images", f"dataset.masks={root}/masks")
    evaluate.run(composed("evaluate", f"run={network}", *folder, "part=all"))
    said = " ".join(capsys.readouterr().out.split())
    assert "another protocol than the run's own; they differ in: data, split." in said
    child = tracking.finished(uri)[-1]
    assert len(child.scores()) == 5
    assert child.params["dataset.name"] == "folder"
    assert child.params["dataset.scale"] == runs[0].params["dataset.scale"]
    assert child.metrics["test/threshold"] == runs[0].metrics["test/threshold"]  # not chosen anew
    assert child.tags["lamella.protocol"] != runs[0].tags["lamella.protocol"]


def test_an_evaluation_that_cannot_be_meant_is_refused(uri, runs, composed):
    before = len(tracking.finished(uri))
    network = f"run={runs[0].run_id}"
    shape = ("dataset.train=8", "dataset.test=4", "dataset.height=64", "dataset.width=96")
    with pytest.raises(DataError, match="the network was trained on it, or chosen by it"):
        evaluate.run(composed("evaluate", network, "dataset=phantom_blood", *shape, "part=all"))
    with pytest.raises(DataError, match="1 channel"):
        evaluate.run(composed("evaluate", network, "dataset=phantom_em", "dataset.sections=8", "dataset.size=64"))
    with pytest.raises(StorageError, match="there is no run"):
        evaluate.run(composed("evaluate", f"run={'1' * 32}"))
    with pytest.raises(ConfigError, match="part"):
        evaluate.run(composed("evaluate", network, "part=train"))
    assert len(tracking.finished(uri)) == before  # nothing half done
