"""Training on pictures of rectangles, in seconds: what it returns, keeps, leaves and says, and when it stops."""

import io
import re
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from lamella import models
from lamella.console import Plain
from lamella.inference import checkpoint
from lamella.tracking import Run
from lamella.training.fit import FitSettings, fit, fit_classical
from support.tiny import CPU, datamodule, prepared, task

NOBODY = Run(None, "nobody's", "", Path())  # keeps nothing
LINE = re.compile(
    r"epoch +(\d+)/2  loss (\d+\.\d{4})  val loss (\d+\.\d{4})  Dice (\d\.\d{4})  IoU (\d\.\d{4})  "
    r"accuracy (\d\.\d{4})  spent \d+:\d\d  left \d+:\d\d"
)


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path)


def network():
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1)


def settings(**changed):
    return FitSettings(
        **{"max_epochs": 3, "patience": None, "gradient_clip": 1.0, "ema": 0.0, "deterministic": False, "devices": 1}
        | changed
    )


def fitted(data, folder, *, what=None, **changed):
    trained = what or task(data, network())
    rows = fit(trained, datamodule(data), CPU, settings(**changed), tracked=NOBODY, checkpoints=folder, progress=None)
    return trained, rows


def test_every_epoch_has_a_row_and_the_loss_falls(data, tmp_path):
    _, rows = fitted(data, tmp_path / "checkpoints")
    assert len(rows) == 3
    assert all(
        set(row) == {"train/loss", "train/dice", "val/loss", "val/dice", "val/iou", "val/accuracy", "lr"}
        for row in rows
    )
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert rows[-1]["val/loss"] < rows[0]["val/loss"]
    assert rows[-1]["val/dice"] > 0.9  # bright against dark is easy
    assert all(0 <= row[name] <= 1 for row in rows for name in ("train/dice", "val/dice", "val/iou", "val/accuracy"))


def test_it_ends_with_the_weights_of_the_best_epoch(data, tmp_path):
    # So high a rate that the last epoch is unlikely to be the best; whichever is, its weights are those kept.
    trained, rows = fitted(data, tmp_path, what=task(data, network(), lr=5.0))
    best = checkpoint.read(tmp_path / "best.ckpt")
    for name, value in best["state_dict"].items():
        assert torch.equal(trained.state_dict()[name], value), name
    assert set(best["lamella"]) >= {"format", "config"}
    scores = trained.segmenter.on(CPU.device)
    assert not scores.network.training
    assert max(row["val/dice"] for row in rows) >= rows[-1]["val/dice"]
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}
    assert "optimizer_states" in torch.load(tmp_path / "last.ckpt", weights_only=True)


def test_it_stops_where_nothing_gets_better(data, tmp_path):
    _, rows = fitted(data, tmp_path, what=task(data, network(), lr=1e-12), max_epochs=20, patience=2)
    assert len(rows) == 3


def test_averaged_weights_are_those_that_are_kept(data, tmp_path):
    plain, _ = fitted(data, tmp_path / "plain", max_epochs=1)
    averaged, rows = fitted(data, tmp_path / "averaged", max_epochs=1, ema=0.99)
    assert len(rows) == 1
    # Averaged over all steps, they lag behind.
    start, weight = network().weight, plain.network.weight
    assert (averaged.network.weight - start).norm() < (weight - start).norm()


def test_an_interrupted_training_ends_the_program_in_whatever_way_lightning_does(data, tmp_path):
    def loss(logits, target, valid):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fitted(data, tmp_path, what=task(data, network(), loss=loss))
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning turns deaf to it


def test_a_method_without_training_chooses_by_the_validation_images(data, tmp_path):
    method = models.otsu(in_channels=1, num_classes=2, channel="auto", foreground="auto")
    chosen = fit_classical(
        task(data, method), method, datamodule(data), CPU, tracked=NOBODY, checkpoints=tmp_path / "checkpoints"
    )
    assert chosen.startswith("bright foreground in channel 0: the best of 2 choices, mean Dice 1.0000 over 2 image")
    best, last = (checkpoint.read(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    assert torch.equal(best["state_dict"]["network.choice"], method.choice)
    assert torch.equal(last["state_dict"]["network.choice"], method.choice)


class Notebook(Run):
    """A run whose metrics are written down here."""

    def __init__(self):
        super().__init__(None, "nobody's", "", Path())
        self.told = []

    def log_metrics(self, values, step=0):
        self.told.append((step, dict(values)))


@pytest.fixture(params=[False, True], ids=["file", "terminal"])
def watched(request, tmp_path):
    """A training of two epochs: whether a person watches, what was shown, what was logged, the rows."""
    data, shown, run = prepared(tmp_path), io.StringIO(), Notebook()
    torch.manual_seed(0)
    rows = fit(
        task(data, nn.Conv2d(1, 1, 3, padding=1)),
        datamodule(data, batch_size=3, steps=4),
        CPU,
        settings(max_epochs=2, gradient_clip=0),
        tracked=run,
        checkpoints=tmp_path / "checkpoints",
        progress=Plain(file=shown, force_terminal=request.param, width=200),
    )
    return request.param, shown.getvalue(), run.told, rows


def test_every_epoch_is_a_line_with_its_own_numbers(watched):
    terminal, shown, _, rows = watched
    lines = LINE.findall(shown)
    assert [line[0] for line in lines] == ["1", "2"]
    names = ("train/loss", "val/loss", "val/dice", "val/iou", "val/accuracy")
    for line, row in zip(lines, rows, strict=True):
        assert line[1:] == tuple(f"{row[name]:.4f}" for name in names)
    # A bar moves on a terminal and is no more when it is over; a file has lines alone.
    assert ("\x1b[" in shown) == terminal
    if not terminal:
        assert len(shown.splitlines()) == 2


def test_every_epoch_is_logged_at_once_as_its_own_step(watched):
    _, _, logged, rows = watched
    epochs, (end, times) = logged[:-1], logged[-1]
    assert [step for step, _ in epochs] == [0, 1]
    assert [row for _, row in epochs] == rows
    assert end == 0
    assert times["time/epochs"] == 2
    assert times["time/images_per_s"] == pytest.approx(2 * 4 * 3 / times["time/train_s"])


def test_the_rate_of_each_epoch_is_among_its_metrics(watched):
    assert [row["lr"] for row in watched[3]] == [0.1, 0.1]
