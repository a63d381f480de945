"""The catalogue of scores: every name that real short runs log has its entry, and names are read by hand."""

import csv
from pathlib import Path
from typing import get_args

import hydra
import numpy as np
import pytest
import tifffile
from mlflow import MlflowClient
from PIL import Image

from lamella.cli import main as cli
from lamella.commands import train as experiment
from lamella.config.paths import CONF
from lamella.metrics.catalogue import SCORES, Direction, Kind, beside, lookup, ordered
from support.stores import empty_store

UNITS = {"", "px", "nm", "cells", "s", "crops/s", "images/s"}
SHORT = [
    *("model=unet_ronneberger", "model.width=8", "augment=none", "data.crop=32", "data.context=0", "data.steps=1"),
    *("data.batch_size=1", "data.workers=0", "score.resized=16", "score.seen=true", "tracking.figures=0"),
    *("trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=1", "trainer.progress=false"),
]


def blood(root):
    """Smears of generated cells."""
    return ["dataset=phantom_blood", "dataset.train=5", "dataset.test=2", "dataset.height=64", "dataset.width=64"]


def em(root):
    """A stack in the files of ISBI-2012, whose pixels are 4 nm wide."""
    random = np.random.default_rng(0)
    labels = np.full((6, 48, 48), 255, np.uint8)
    for page, section in enumerate(labels):
        section[:, 12 + page : 15 + page] = section[30 - page : 33 - page] = 0
    volume = (labels // 2 + random.integers(0, 99, labels.shape)).astype(np.uint8)
    for name, pages in (("volume", volume), ("labels", labels)):
        tifffile.imwrite(root / f"train-{name}.tif", pages, photometric="minisblack")
    return ["dataset=em", f"dataset.root={root}", "dataset.split.val=1", "dataset.split.test=2"]


def three_classes(root):
    """A folder of masks with two kinds of foreground."""
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for number in range(8):
        mask = np.zeros((48, 56), np.uint8)
        mask[8 + number : 24, 8:32], mask[24:40, 20 : 40 + number] = 1, 2
        image = (60 * mask + random.integers(0, 50, mask.shape)).astype(np.uint8)
        for name, pixels in (("images", image), ("masks", mask)):
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return ["dataset=folder", f"dataset.images={root}/images", f"dataset.masks={root}/masks"]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """What short runs on three kinds of data have logged: kind -> (metrics, columns of scores/test.csv)."""
    root = tmp_path_factory.mktemp("runs")
    uri = empty_store(root / "runs.db")
    places = [f"paths.cache={root}/cache", f"paths.output={root}/outputs"]
    places += [f"tracking.uri={uri}", f"tracking.artifacts={root}/artifacts"]
    cli.register()
    found = {}
    for kind in (blood, em, three_classes):
        folder = root / kind.__name__
        folder.mkdir()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            chosen = [*kind(folder), f"tracking.experiment={kind.__name__}"]
            experiment.run(hydra.compose("train", [*SHORT, *places, *chosen]))
        client = MlflowClient(uri)
        (run,) = client.search_runs([client.get_experiment_by_name(kind.__name__).experiment_id])
        with (Path(run.info.artifact_uri.removeprefix("file://")) / "scores/test.csv").open() as file:
            columns = [name for name in next(csv.reader(file)) if name not in ("id", "case", "group")]
        found[kind.__name__] = (set(run.data.metrics), columns)
    return found


@pytest.mark.slow
def test_every_score_that_a_run_logs_has_an_entry(logged):
    for metrics, columns in logged.values():
        for name in metrics | set(columns):
            score = lookup(name)
            assert score.name == name
            assert score.meaning, f"{name} has no entry in the catalogue"
            assert score.heading
            assert score.heading != name or "/" not in name, f"{name} has no heading in words"
            assert score.direction in get_args(Direction)
            assert score.unit in UNITS
            assert score.decimals >= 0
            assert score.kind in get_args(Kind)
            if score.kind == "score":
                assert score.direction in ("higher", "lower"), name
            if score.kind == "signed error":
                assert score.direction == "zero", name
    names = set().union(*(metrics for metrics, _ in logged.values()))
    for name in (
        "test/watershed/cells/f1",
        "test/boundary/hd95_nm",
        "test/class/class 2/dice",
        "test/pooled/class/class 2/recall",
        "test/failures",
        "test/v_rand/oracle",
    ):
        assert name in names  # the runs were of all kinds
    assert {"seen/dice", "val/v_rand", "train/loss", "calibration/temperature", "test/count/mae"} <= names


@pytest.mark.slow
def test_a_metric_knows_the_column_it_sums_up(logged):
    for metrics, columns in logged.values():
        assert all(lookup(name).column == name for name in columns)
        summed = {lookup(name).column for name in metrics} - {None}
        # Of what is only counted, images whose distances were imputed have a metric of their own.
        assert summed == {name for name in columns if lookup(name).kind != "count" or name == "boundary/imputed"}


@pytest.mark.slow
def test_tables_are_in_one_order(logged):
    """The leading scores first, all others as in the columns of the file."""
    first = ["dice", "iou", "v_rand", "v_info", "pixel_error", "resized/soft_dice", "resized/soft_iou"]
    first += ["boundary/surface_dice", "boundary/hd95", "count/error", "cells/f1", "cells/pq", "calibration/brier"]
    for _, columns in logged.values():
        leading = [name for name in first if name in columns]
        assert ordered(columns) == leading + [name for name in columns if name not in first]


def test_headings_by_hand():
    headings = {
        "dice": "Dice",
        "test/dice": "Dice",
        "val/dice": "validation Dice",
        "train/loss": "training loss",
        "seen/pixel_error": "pixel error, images of the training",
        "class/nucleus/iou": "IoU, nucleus",
        "watershed/cells/f1": "cell F1, watershed",
        "test/pooled/watershed/cells/pq": "PQ, watershed, pooled",
        "test/dice/low": "Dice, lower end of the 95 % interval",
        "test/dice/images": "Dice, images",
        "test/pooled/dice/high": "Dice, pooled, upper end of the 95 % interval",
        "test/pooled/class/nucleus/recall": "recall, nucleus, pooled",
        "test/absent/images": "images without it",
        "test/class/nucleus/absent/images": "images without it, nucleus",
        "test/class/nucleus/absent/fp": "false positives in these, nucleus",
        "test/class/nucleus/dice/images": "Dice, nucleus, images",
        "tp_2": "true positives, class 2",
        "boundary/hd95_nm": "HD95, nm",
    }
    assert {name: lookup(name).heading for name in headings} == headings
    assert lookup("class/nucleus/dice").meaning == "2 TP / (2 TP + FP + FN), for nucleus"
    assert lookup("class/nucleus/absent/empty").meaning == (
        "share predicted empty, among images without any, for nucleus"
    )


def test_bounds_by_hand():
    bounds = {
        "test/dice": (0, 1),
        "test/pooled/mcc": (-1, 1),
        "calibration/brier_tempered": (0, 2),
        "test/boundary/hd95": (0, np.inf),
        "watershed/count/mae": (0, np.inf),
        "test/count/bias": (-np.inf, np.inf),
        "count/error": (-np.inf, np.inf),
        "tp": (0, np.inf),
    }
    assert {name: lookup(name).bounds for name in bounds} == bounds


def test_directions_by_hand():
    directions = {
        "dice": "higher",
        "test/boundary/hd95": "lower",
        "calibration/ece_tempered": "lower",
        "watershed/count/error": "zero",
        "test/threshold": "none",
        "count/true": "none",
        "tn_1": "none",
    }
    assert {name: lookup(name).direction for name in directions} == directions
    assert lookup("count/error").lower_is_better  # its size
    assert not lookup("mcc").lower_is_better


def test_columns_and_parts_by_hand():
    columns = {
        "test/dice": "dice",
        "test/dice/high": "dice",
        "test/class/nucleus/dice": "class/nucleus/dice",
        "test/watershed/count/bias": "watershed/count/error",
        "test/pooled/dice": None,
        "test/dice/images": None,
        "test/class/nucleus/absent/fp": None,
        "test/boundary/imputed": "boundary/imputed",
        "test/macro/dice": None,
        "test/v_rand/oracle": None,
        "test/v_rand/threshold": None,
        "val/dice": None,
        "time/train_s": None,
    }
    assert {name: lookup(name).column for name in columns} == columns
    parts = {"train/dice": "train", "val/v_rand": "val", "test/dice/low": "test", "seen/dice": "seen", "dice": ""}
    assert {name: lookup(name).part for name in parts} == parts
    assert lookup("time/test_images_per_s").part == ""


def test_what_the_terminal_shows():
    shown = ("test/dice", "test/pooled/iou", "test/class/nucleus/dice", "test/count/mae", "test/threshold", "seen/dice")
    shown += ("test/failures", "test/absent/empty", "test/boundary/imputed", "test/class/nucleus/absent/images")
    hidden = (
        "test/dice/low",
        "test/dice/images",
        "test/pooled/class/nucleus/dice",
        "test/mcc",
        "test/pooled/mcc",
        "test/watershed/cells/f1",
        "test/macro/dice",
        "val/dice",
    )
    assert all(lookup(name).shown for name in shown)
    assert not any(lookup(name).shown for name in hidden)
    assert not lookup("test/watershed/count/mae").shown


def test_an_unknown_name_stands_for_itself():
    score = lookup("someone/else")
    assert (score.heading, score.direction, score.meaning, score.column) == ("someone/else", "none", "", None)
    assert not lookup("test/someone/else").meaning
    assert ordered(["someone", "calibration/ece", "dice"]) == ["dice", "calibration/ece", "someone"]


def test_names_beside_each_other_are_in_the_catalogue():
    assert beside("watershed/count/error", "mae") == "watershed/count/mae"
    for last in ("mae", "bias", "agreement_from", "agreement_to", "true", "found"):
        assert beside("count/error", last) in SCORES
