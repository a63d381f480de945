"""The figures of a run are drawn alike whatever a user's settings are, and leave these as they were."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lamella.data.types import IGNORE
from lamella.plots import run as figures

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (3, 40, 60)).astype(np.uint8)
TRUTH = RNG.integers(0, 3, (40, 60)).astype(np.uint8)
HISTORY = [{"train/loss": 1 / n, "val/loss": 1.2 / n, "val/dice": 0.1 * n, "val/iou": 0.08 * n, "val/accuracy": 0.9}
           for n in range(1, 5)]  # fmt: skip
TABLE = pd.DataFrame({"kind": ["as predicted"] * 2 + ["tempered"] * 2, "probability": [0.2, 0.8] * 2,
                      "right": [0.3, 0.7, 0.2, 0.8]})  # fmt: skip


def prediction(path):
    figures.prediction(
        path, image=IMAGE, truth=TRUTH, predicted=TRUTH[::-1], title="a title", class_names=("ground", "a", "b")
    )


def curves(path):
    figures.curves(path, HISTORY, "a title")


def confusion_matrix(path):
    figures.confusion_matrix(path, np.array([[90, 10], [0, 0]]), ("ground", "cell"), "a · title")


def reliability(path):
    figures.reliability(path, TABLE, 1.3, "a · title")


@pytest.mark.parametrize("draw", [prediction, curves, confusion_matrix, reliability])
def test_a_users_settings_change_no_figure_and_stay(tmp_path, draw):
    draw(tmp_path / "figures" / "plain.png")  # its folder is made
    with mpl.rc_context({"font.size": 22, "axes.titlesize": 30, "axes.spines.top": True}):
        draw(tmp_path / "other.png")
        assert mpl.rcParams["font.size"] == 22
        assert mpl.rcParams["axes.titlesize"] == 30
    with Image.open(tmp_path / "figures" / "plain.png") as plain, Image.open(tmp_path / "other.png") as other:
        assert plain.size == other.size
        assert plain.tobytes() == other.tobytes()
        assert len(plain.convert("RGB").getcolors(2**20)) > 10


def test_ignored_pixels_have_a_place_in_the_legend(tmp_path):
    for name, truth in (("all", TRUTH), ("some", np.where(TRUTH == 2, IGNORE, TRUTH).astype(np.uint8))):
        figures.prediction(
            tmp_path / f"{name}.png",
            image=IMAGE,
            truth=truth,
            predicted=TRUTH % 2,
            title="t",
            class_names=("no", "yes"),
        )
    assert (tmp_path / "all.png").read_bytes() != (tmp_path / "some.png").read_bytes()
