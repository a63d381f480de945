"""What is told of training while it goes on: a line an epoch on the terminal, the epoch's metrics to the run."""

import io
import re

import pytest
import torch
from rich.console import Console
from torch import nn

from lamella.tracking import Run
from lamella.training.fit import FitSettings, fit
from support.tiny import CPU, datamodule, prepared, task

LINE = re.compile(
    r"epoch +(\d+)/2  loss (\d+\.\d{4})  val loss (\d+\.\d{4})  Dice (\d\.\d{4})  IoU (\d\.\d{4})  "
    r"accuracy (\d\.\d{4})  spent \d+:\d\d  left \d+:\d\d"
)


class Notebook(Run):
    """A run whose metrics are written down here."""

    def __init__(self):
        super().__init__(None, "nobody's", "")
        self.logged = []

    def log_metrics(self, values, step=0):
        self.logged.append((step, dict(values)))


@pytest.fixture(params=[False, True], ids=["file", "terminal"])
def trained(request, tmp_path):
    """A training of two epochs: whether a person watches, what was shown, what was logged, the rows."""
    data, shown, run = prepared(tmp_path), io.StringIO(), Notebook()
    torch.manual_seed(0)
    rows = fit(
        task(data, nn.Conv2d(1, 1, 3, padding=1)),
        datamodule(data, batch_size=3, steps=4),
        CPU,
        FitSettings(max_epochs=2, patience=None, gradient_clip=0, ema=0, deterministic=False, devices=1),
        tracked=run,
        checkpoints=tmp_path / "checkpoints",
        progress=Console(file=shown, force_terminal=request.param, width=200),
    )
    return request.param, shown.getvalue(), run.logged, rows


def test_every_epoch_is_a_line_with_its_own_numbers(trained):
    terminal, shown, _, rows = trained
    lines = LINE.findall(shown)
    assert [line[0] for line in lines] == ["1", "2"]
    names = ("train/loss", "val/loss", "val/dice", "val/iou", "val/accuracy")
    for line, row in zip(lines, rows, strict=True):
        assert line[1:] == tuple(f"{row[name]:.4f}" for name in names)
    # A bar moves on a terminal and is no more when it is over; a file has lines alone.
    assert ("\x1b[" in shown) == terminal
    if not terminal:
        assert len(shown.splitlines()) == 2


def test_every_epoch_is_logged_at_once_as_its_own_step(trained):
    _, _, logged, rows = trained
    epochs, (end, times) = logged[:-1], logged[-1]
    assert [step for step, _ in epochs] == [0, 1]
    assert [row for _, row in epochs] == rows
    assert end == 0
    assert times["time/epochs"] == 2
    assert times["time/images_per_s"] == pytest.approx(2 * 4 * 3 / times["time/train_s"])


def test_the_rate_of_each_epoch_is_among_its_metrics(trained):
    assert [row["lr"] for row in trained[3]] == [0.1, 0.1]
