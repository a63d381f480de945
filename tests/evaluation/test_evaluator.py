"""The test of a method whose answers are known, on files: scores by hand, tables, pictures, progress."""

import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from lamella.data.cache.arrays import Store
from lamella.data.loaders.crops import whole
from lamella.data.types import IGNORE
from lamella.evaluation import error_maps
from lamella.evaluation.evaluator import confusion_of, evaluate_test, reliability
from lamella.evaluation.image_scores import ScoreSettings
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.settings import OperatingPoint
from lamella.inference.whole_images import predict_images
from lamella.metrics.calibration import histogram
from lamella.models.classical.base import Choice, Classical
from support.tiny import CARD, CPU, HEIGHT, WIDTH, inference, prepared

SETTINGS = ScoreSettings(
    num_classes=2, objects="", spacing_nm=None, tolerance=1.0, tolerance_nm=4.0, min_cell_size=1, split_neck=2.0,
    border=0, resized=None, failure=0.5,
)  # fmt: skip
AREAS = [8 * (10 + 2 * number) for number in (4, 5, 6)]  # of the rectangles in the three test images


class UpperHalf(nn.Module):
    """Sees what is bright, but only in the four upper rows of each rectangle: half of it."""

    def forward(self, image):
        seen = torch.where(image > 0, 2.0, -2.0)
        seen[..., 10:, :] = -2.0
        return seen


class Bright(Classical):
    """Foreground where the picture is bright."""

    def segment(self, image, choice, known):
        return choice.plane(image)


def evaluated(folder, network, *, point=None, shown=2, without=False):
    """The test of three images, of which the last is `without` any foreground in its truth."""
    done = []
    point = point or OperatingPoint(0.5, 2.0, None)
    segmenter = Segmenter.of(network, Normalise([127.5], [50.0]), inference(), 0)
    data = prepared(folder)
    if without:
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / "mask-6.png")
        data = dataclasses.replace(data, store=Store(folder / "again", CARD, 1.0))
    out = folder / "run"
    predicted = predict_images(segmenter, whole(data.split.test, data.store), CPU, tta=False)
    asked = {"heading": "A heading", "shown": shown, "progress": lambda *n: done.append(n)}
    sure = segmenter.gives_probabilities
    values = evaluate_test(data, predicted, point, SETTINGS, out, probabilities=sure, **asked)
    return data, out, values, done


def test_a_network_that_finds_half_of_everything(tmp_path):
    data, out, values, done = evaluated(tmp_path, UpperHalf())
    assert values["test/dice"] == pytest.approx(2 / 3)
    assert values["test/precision"] == 1
    assert values["test/recall"] == values["test/pooled/recall"] == 0.5
    assert values["test/pixel_error"] == pytest.approx(np.mean(AREAS) / 2 / (HEIGHT * WIDTH))
    assert values["test/threshold"] == 0.5
    assert values["calibration/temperature"] == 2
    assert values["time/test_images_per_s"] > 0
    table = pd.read_csv(out / "scores" / "test.csv", dtype={"case": str})
    assert table["id"].tolist() == [sample.id for sample in data.split.test]
    assert table["group"].tolist() == [sample.group for sample in data.split.test]
    assert table["case"].tolist() == ["0000", "0001", "0002"]
    assert table["tp"].tolist() == table["fn"].tolist() == [area // 2 for area in AREAS]
    assert table["fp"].tolist() == [0, 0, 0]
    for case, area in zip(table["case"], AREAS, strict=True):
        codes = error_maps.read_error_map(out / error_maps.error_map_name(case))
        counts = np.bincount(codes.ravel(), minlength=6).tolist()
        assert counts == [HEIGHT * WIDTH - area, area // 2, 0, area // 2, 0, 0]
        assert (out / error_maps.picture_name(case)).stat().st_size
    assert not (out / "scores" / "cells.csv").exists()
    curve = pd.read_csv(out / "scores" / "reliability.csv")
    assert set(curve.kind) == {"as predicted", "tempered"}
    assert curve.groupby("kind").pixels.sum().tolist() == [3 * HEIGHT * WIDTH] * 2
    for name in ("confusion_matrix", "reliability", "prediction_1", "prediction_2"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5_000
    assert not (out / "figures" / "prediction_3.png").exists()
    assert sorted(done) == [(1, 3), (2, 3), (3, 3)]


def test_an_image_without_foreground_has_no_dice_but_figures_of_its_own(tmp_path):
    _, out, values, _ = evaluated(tmp_path, UpperHalf(), shown=3, without=True)
    assert not np.isnan(list(values.values())).any()
    assert values["test/dice"] == pytest.approx(2 / 3)
    assert values["test/dice/images"] == values["test/boundary/hd95/images"] == 2
    assert "test/accuracy/images" not in values
    assert values["test/recall"] == 0.5
    assert (values["test/absent/images"], values["test/absent/empty"]) == (1, 0)
    assert values["test/absent/fp"] == AREAS[2] // 2
    assert values["test/failures"] == 0
    with (out / "scores" / "test.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["dice"] != "" for row in table] == [True, True, False]
    assert [row["boundary/hd95"] != "" for row in table] == [True, True, False]
    assert [row["boundary/imputed"] for row in table] == ["0.0", "0.0", "0.0"]
    assert all(row["specificity"] for row in table)
    assert (out / "figures" / "prediction_3.png").stat().st_size > 5_000


def test_a_method_without_training_has_masks_and_no_calibration(tmp_path):
    _, out, values, _ = evaluated(
        tmp_path, Bright("bright", [Choice(0, 1, 0, 0, 0)]), point=OperatingPoint(0.5, 1.0, None), shown=0
    )
    assert values["test/dice"] == values["test/pooled/dice"] == 1
    assert not any("calibration" in name for name in values)
    assert not (out / "scores" / "reliability.csv").exists()
    assert {path.name for path in (out / "figures").iterdir()} == {"confusion_matrix.png"}


def test_a_confusion_matrix_by_hand():
    truth = np.array([[0, 1, 2, 2, IGNORE]], np.uint8)
    predicted = np.array([[0, 2, 2, 1, 1]], np.uint8)
    assert confusion_of(truth, predicted, 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1]]


def test_reliability_leaves_empty_bins_out():
    truth = np.array([[1, 1, 0, 0]], np.uint8)
    sure, unsure = (histogram(np.full((1, 1, 4), p, np.float32), truth, truth < 2) for p in (0.9, 0.6))
    table = reliability((sure, unsure))
    assert table["kind"].tolist() == ["as predicted", "tempered"]
    assert table["probability"].tolist() == pytest.approx([0.9, 0.6])
    assert table["right"].tolist() == [0.5, 0.5]
    assert table["pixels"].tolist() == [4, 4]


def test_evaluation_needs_neither_lightning_nor_mlflow_nor_hydra():
    program = """
import importlib, json, pkgutil, sys
import lamella.evaluation
for module in pkgutil.iter_modules(lamella.evaluation.__path__):
    importlib.import_module(f"lamella.evaluation.{module.name}")
print(json.dumps([name for name in ("pytorch_lightning", "mlflow", "hydra", "omegaconf") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
