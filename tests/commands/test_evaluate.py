"""A finished run scored again: its own scores to the last bit, and those of other images."""

import dataclasses
import json
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import stats

from lamella import tracking
from lamella.commands import evaluate, train
from lamella.errors import ConfigError, DataError, StorageError
from lamella.evaluation import error_maps
from lamella.metrics.catalogue import RULES


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
    folder = drawn(root / "others", range(5), channels=3)
    evaluate.run(composed("evaluate", f"run={network}", *folder, "part=all"))
    said = " ".join(capsys.readouterr().out.split())
    assert "classes are named otherwise than in training: background -> ground, foreground -> cell" in said
    assert "another protocol than the run's own; they differ in: data, split." in said
    child = tracking.finished(uri)[-1]
    assert len(child.scores()) == 5
    assert child.params["dataset.name"] == "folder"
    assert child.params["dataset.scale"] == runs[0].params["dataset.scale"]
    assert child.metrics["test/threshold"] == runs[0].metrics["test/threshold"]  # not chosen anew
    assert child.tags["lamella.protocol"] != runs[0].tags["lamella.protocol"]


def drawn(folder, names, *, channels=1, classes=2):
    """Pictures and masks of rectangles, one a class; the overrides that name them."""
    images, masks = folder / "images", folder / "masks"
    for place in (images, masks):
        place.mkdir(parents=True)
    for number, name in enumerate(names):
        random = np.random.default_rng((number, sum(map(ord, folder.name))))
        mask = np.zeros((64, 96), np.uint8)
        for class_id in range(1, classes):
            top, left = random.integers(0, 20, 2) + np.array([0, 46 * (class_id - 1)])
            mask[top : top + 40, left : left + 26] = class_id
        image = np.array([200, 90, 20])[mask] + random.normal(0, 25, mask.shape)
        image = image.clip(0, 255).astype(np.uint8)
        Image.fromarray(image if channels == 1 else np.stack([image] * channels, axis=-1)).save(images / f"{name}.png")
        Image.fromarray(mask).save(masks / f"{name}.png")
    return "dataset=folder", f"dataset.images={images}", f"dataset.masks={masks}"


def trained(composed, *overrides):
    """A short run of its own experiment, read back."""
    small = (
        *("augment=none", "data.crop=48", "data.context=0", "data.steps=8", "data.workers=0", "trainer=cpu"),
        *("trainer.precision=32-true", "trainer.max_epochs=2", "trainer.progress=false", "tracking.figures=1"),
    )
    configured = composed("train", *overrides, *small, "tracking.experiment=drawn")
    train.run(configured)
    return tracking.finished(configured.tracking.uri, experiment="drawn")[-1]


def evaluated(composed, run, *overrides):
    """The run's evaluation, read back."""
    configured = composed("evaluate", f"run={run.run_id}", *overrides)
    evaluate.run(configured)
    return tracking.finished(configured.tracking.uri)[-1]


def scores_of(run):
    return {name: value for name, value in run.metrics.items() if name.startswith("test/")}


CLASSES = "dataset.classes={background: 0, nucleus: 1, cell: 2}"


@pytest.fixture(scope="module")
def of_three(root, composed):
    """A network of three classes, learned in a few steps."""
    folder = drawn(root / "three", range(12), classes=3)
    network = ("model=unet", "model.decoder_channels=[32,16]", "optimizer.lr=0.003")
    return trained(composed, *folder, CLASSES, *network)


def test_of_three_classes_an_evaluation_is_the_run_to_the_last_bit(of_three, composed, capsys):
    child = evaluated(composed, of_three)
    assert "scores are the run's own, to the last bit" in " ".join(capsys.readouterr().out.split())
    assert scores_of(child) == scores_of(of_three)
    named = {name.split("/")[1] for name in scores_of(child)}
    assert named >= {"dice", "pooled", "macro", "class", "boundary", "calibration"}
    assert "test/class/nucleus/dice" in child.metrics
    for table in ("scores/test.csv", "scores/reliability.csv"):
        assert child.fetch(table).read_bytes() == of_three.fetch(table).read_bytes()


def test_the_same_names_are_the_same_classes_in_any_order(of_three, root, composed, capsys):
    folder = drawn(root / "new", range(5), classes=3)
    right = evaluated(composed, of_three, *folder, CLASSES, "part=all")
    assert right.metrics["test/class/cell/dice"] > 0.3
    other = "dataset.classes={cell: 2, background: 0, nucleus: 1}"
    again = evaluated(composed, of_three, *folder, other, "part=all")
    assert scores_of(again) == scores_of(right)
    assert again.fetch("scores/test.csv").read_bytes() == right.fetch("scores/test.csv").read_bytes()
    assert again.tags["lamella.protocol"] == right.tags["lamella.protocol"]
    assert "named otherwise" not in capsys.readouterr().out
    unlike = "dataset.classes={background: 0, class 1: 1, class 2: 2}"
    with pytest.raises(DataError) as caught:
        evaluate.run(composed("evaluate", f"run={of_three.run_id}", *folder, unlike, "part=all"))
    assert "background, class 1, class 2; the network was trained" in caught.value.problem
    assert "background, nucleus, cell" in caught.value.problem
    assert "'dataset.classes={background: ..., nucleus: ..., cell: ...}'" in caught.value.remedy
    assert "which hold 0, 1, 2," in caught.value.remedy


def test_of_two_classes_a_shared_name_stays_itself(runs, root, composed, capsys):
    folder = drawn(root / "two", range(4), channels=3)
    right, turned, half, large = (
        evaluated(composed, runs[0], *folder, f"dataset.classes={{{classes}}}", "part=all")
        for classes in ("ground: 0, cell: 1", "cell: 1, ground: 0", "cell: 1, glass: 0", "Cell: 1, Ground: 0")
    )
    assert scores_of(turned) == scores_of(half) == scores_of(large) == scores_of(right)
    said = capsys.readouterr().out
    assert said.count("named otherwise") == 1
    assert "cell -> cell, glass -> ground" in " ".join(said.split())


@pytest.fixture
def again(runs, root, tmp_path):
    """A training image of the runs, saved anew in some way, and a strange one before it."""
    (folder,) = root.rglob("train/original")
    seen = np.asarray(Image.open(sorted(folder.iterdir())[0]))
    mask = np.zeros(seen.shape[:2], np.uint8)
    mask[:20] = 1

    def save(kind):
        for place in ("images", "masks"):
            (tmp_path / kind / place).mkdir(parents=True)
        strange = np.random.default_rng(0).integers(0, 256, seen.shape, dtype=np.uint8)
        images, masks = tmp_path / kind / "images", tmp_path / kind / "masks"
        if kind == "stack":
            tifffile.imwrite(images / "s.tif", np.stack([strange, seen]), photometric="rgb", compression="zlib")
            tifffile.imwrite(masks / "s.tif", np.stack([mask, mask]), photometric="minisblack")
        for name, image in (("a", strange), ("b", seen)) if kind != "stack" else ():
            Image.fromarray(image).save(images / f"{name}.{kind}")
            Image.fromarray(mask).save(masks / f"{name}.png")
        return "dataset=folder", f"dataset.images={images}", f"dataset.masks={masks}", "part=all"

    return save


@pytest.mark.parametrize("kind", ["bmp", "tif", "stack"])
def test_what_the_network_has_seen_is_known_by_its_pixels(runs, composed, again, kind):
    name = "s.tif (page 1)" if kind == "stack" else f"b.{kind}"
    with pytest.raises(DataError, match="the network was trained on it, or chosen by it") as caught:
        evaluate.run(composed("evaluate", f"run={runs[0].run_id}", *again(kind)))
    assert f"{name}: the network" in caught.value.problem


def test_of_an_older_run_files_alone_are_known(uri, runs, composed, again, root, capsys):
    run = runs[1]
    place = Path(urlparse(run.client.get_run(run.run_id).info.artifact_uri).path) / "data" / "manifest.json"
    whole = place.read_text()
    entries = json.loads(whole)
    for entry in entries:
        del entry["image"]["pixels"]
    try:
        place.write_text(json.dumps(entries))
        assert len(evaluated(composed, run, *again("bmp")).scores()) == 2
        assert " ".join(capsys.readouterr().out.split()).count("copies of them are not") == 1
        shape = ("dataset.train=8", "dataset.test=4", "dataset.height=64", "dataset.width=96")
        with pytest.raises(DataError, match="the network was trained on it, or chosen by it"):
            evaluate.run(composed("evaluate", f"run={run.run_id}", "dataset=phantom_blood", *shape, "part=all"))
    finally:
        place.write_text(whole)


def test_a_run_by_other_rules_is_told_from_one_of_another_protocol(runs):
    protocol = json.loads(runs[0].tags["lamella.protocol"])
    assert protocol["rules"] == RULES
    older = {name: value for name, value in protocol.items() if name != "rules"}
    parent = dataclasses.replace(runs[0], tags={"lamella.protocol": json.dumps(older)})
    said = evaluate._against(parent, dict(runs[0].metrics), protocol)
    assert said.startswith(f"The run's own scores are of older rules (1; these are of {RULES})")
    assert "the run's own, to the last bit" not in said
    said = evaluate._against(parent, dict(runs[0].metrics), protocol | {"data": "others"})
    assert "older rules" in said
    assert said.endswith("they differ in: data.")


def test_ids_and_groups_are_text_whatever_they_spell(root, composed):
    names = ("NA", "None", "null", "nan", "007", "1e5", "True", "-inf")
    folder = drawn(
        root / "text", [*names, *(f"{name}_{k}" for name in names for k in "ab"), "T_1", "T_2", "V_1", "V_2"]
    )
    parts = {"train": ["T_1", "T_2"], "val": ["V_1", "V_2"]}
    parts["test"] = [*names, *(f"{name}_{k}" for name in names for k in "ab")]
    (root / "text.json").write_text(json.dumps(parts))
    split = ("dataset/split=file", f"dataset.split.path={root}/text.json")
    run = trained(composed, *folder, "dataset.group='^([^_]+)'", *split, "model=otsu")
    scores = run.scores()
    assert list(scores["id"]) == sorted(parts["test"])
    assert list(scores["group"]) == [name.split("_")[0] for name in scores["id"]]
    assert list(scores["case"].sort_values()) == [f"{n:04d}" for n in range(24)]
    assert scores["dice"].dtype == np.float64
    assert run.metrics["test/dice"] == scores["dice"].mean()


def test_only_the_test_must_hold_what_is_judged(runs, root, composed):
    """An evaluation neither trains nor chooses: what the other parts lack is no matter, nor that one image is few."""
    folder = drawn(root / "single", ["only"], channels=3)
    assert len(evaluated(composed, runs[0], *folder, "part=all").scores()) == 1
    empty, classes = drawn(root / "empty", range(2), channels=3, classes=1), "dataset.classes={ground: 0, cell: 1}"
    with pytest.raises(DataError, match="no image of the test part has the class cell"):
        evaluate.run(composed("evaluate", f"run={runs[0].run_id}", *empty, classes, "part=all"))


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
