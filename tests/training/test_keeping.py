"""Trainings that are interrupted and gone on with come out as if nothing had been: weights, averages, metrics, bits."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lamella.data.loaders.augment import Augmentation
from lamella.inference import checkpoint
from lamella.tracking import Run
from lamella.training.fit import FitSettings, fit
from lamella.training.keeping import found
from lamella.training.stopping import REQUEST, Stopped
from support.tiny import CPU, datamodule, prepared, task

import pytorch_lightning as pl  # isort: skip

EPOCHS, STEPS, IMAGES = 3, 3, 2
AUGMENTED = Augmentation(
    flip=True, rotate90=True, rotate=20, scale=0.1, elastic=1, elastic_grid=8, brightness=0.1, contrast=0.2, gamma=0.2,
    channel=0.1, blur=1, noise=5, p=0.5,
)  # fmt: skip
POINTS = [("batch", EPOCHS * STEPS), ("image", EPOCHS * IMAGES), ("validation", EPOCHS), ("epoch", EPOCHS)]


class Restless(nn.Module):
    """Noise from all generators of random numbers, in training and in validation alike."""

    def forward(self, x):
        return x + 0.01 * (torch.randn_like(x) + float(np.random.rand()) + random.random())  # noqa: NPY002


class Diary(Run):
    """A run whose metrics are written down here."""

    def __init__(self):
        super().__init__(None, "nobody's", "", Path())
        self.told = []

    def log_metrics(self, values, step=0):
        self.told += [(name, step, value) for name, value in values.items()]

    def logged(self, name):
        return {step: value for each, step, value in self.told if each == name}

    def log_file(self, name):
        pass

    @property
    def epochs(self):
        return sorted(each for each in self.told if not each[0].startswith("time/"))


class Asks(pl.Callback):
    """Asks to stop at the n-th of what it counts."""

    def __init__(self, what, number):
        self.what, self.left = what, number

    def count(self, what):
        self.left -= what == self.what
        if self.left == 0:
            REQUEST.hear(signal.SIGTERM)

    def on_train_batch_end(self, *_):
        self.count("batch")

    def on_validation_start(self, *_):
        self.count("validation")

    def on_validation_batch_end(self, *_):
        self.count("image")

    def on_train_epoch_end(self, *_):
        self.count("epoch")


class Place:
    """A folder for trainings, each of which begins with a network of its own."""

    def __init__(self, folder, *, workers=0, patience=10, ema=0.9):
        self.folder, self.workers = folder, workers
        self.data = prepared(folder)
        self.settings = {"patience": patience, "gradient_clip": 1.0, "ema": ema, "deterministic": False, "devices": 1}

    def train(self, name, run, *, seed=0, asks=None, epochs=EPOCHS, **changed):
        """The task and the rows of a training that begins, or goes on, in a folder of that name."""
        pl.seed_everything(seed, verbose=False)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.2), Restless(),
            nn.Conv2d(4, 1, 1),
        )  # fmt: skip
        trained = task(self.data, network, lr=0.3)
        nn.init.constant_(network[-1].bias, 1.0)  # it finds something from the first step on
        trained.augmentation = AUGMENTED
        trained.make_scheduler = lambda optimizer, steps: torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 1 - step / steps / 2
        )
        loaders = datamodule(self.data, steps=STEPS)
        loaders.workers = self.workers
        earlier, remarks = found(self.folder / name)
        rows = fit(
            trained, loaders, CPU, FitSettings(max_epochs=epochs, **(self.settings | changed)),
            callbacks=[asks] if asks else [], tracked=run, checkpoints=self.folder / name, progress=None,
            earlier=earlier, say=remarks.append,
        )  # fmt: skip
        return trained, rows

    def interrupted(self, name, run, asks, **how):
        with pytest.raises(Stopped):
            self.train(name, run, asks=asks, **how)


def same(one, other):
    """Whether two of what a checkpoint holds are the same to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def differing(one, other, path=""):
    """Where two of what a checkpoint holds differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            each for key in {*one, *other}
            for each in differing(one.get(key), other.get(key), f"{path}/{key}")
        ]  # fmt: skip
    return [] if same(one, other) else [path]


def require_same(place, name, run, trained, undisturbed):
    task_, rows, run_ = undisturbed
    assert trained[1] == rows
    assert same(dict(trained[0].state_dict()), dict(task_.state_dict()))
    assert run.epochs == run_.epochs
    for file in ("best.ckpt", "last.ckpt"):
        one, other = (checkpoint.read(place.folder / each / file) for each in ("undisturbed", name))
        # How the loops count what they began is another matter.
        where = [each for each in differing(one, other) if "/loops/" not in each and not each.endswith("/seconds")]
        assert not where, (file, where)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def undisturbed(place):
    run = Diary()
    trained = *place.train("undisturbed", run), run
    dice = [row["val/dice"] for row in trained[1]]
    assert min(dice) < max(dice)  # there is a best one
    return trained


def test_a_training_that_is_interrupted_at_every_safe_point_comes_out_the_same(place, undisturbed):
    run = Diary()
    for number in range(EPOCHS * (STEPS + IMAGES)):
        # One step further each time, or one image further into a validation, which is then done anew.
        within = number % (STEPS + IMAGES)
        what, at = ("batch", 1) if within < STEPS else ("image", within - STEPS + 1)
        place.interrupted("often", run, Asks(what, at), seed=number)
    assert len(run.epochs) == 7 * (EPOCHS - 1)
    require_same(place, "often", run, place.train("often", run, seed=99), undisturbed)


@pytest.mark.slow  # a training and a half for each of 21 points
@pytest.mark.parametrize(("what", "number"), [(what, number + 1) for what, count in POINTS for number in range(count)])
def test_wherever_a_training_is_interrupted_it_comes_out_the_same(place, undisturbed, what, number):
    run, name = Diary(), f"{what}-{number}"
    place.interrupted(name, run, Asks(what, number))
    require_same(place, name, run, place.train(name, run, seed=6), undisturbed)


def test_windows_that_processes_cut_go_on_where_they_were(tmp_path, undisturbed):
    elsewhere, run = Place(tmp_path, workers=2), Diary()
    for what, number in (("batch", 5), ("image", 1)):
        elsewhere.interrupted("often", run, Asks(what, number))
    trained, rows = elsewhere.train("often", run)
    assert rows == undisturbed[1]
    assert same(dict(trained.state_dict()), dict(undisturbed[0].state_dict()))


def test_a_training_that_had_too_little_patience_goes_on_with_more(place):
    run = Diary()
    _, rows = place.train("patience", run, patience=1, epochs=9)
    assert len(rows) < 9
    again, _ = found(place.folder / "patience")
    assert again is not None
    assert again.over(9, 1)
    assert not again.over(9, 9)
    _, more = place.train("patience", run, patience=9, epochs=len(rows) + 1)
    assert more[: len(rows)] == rows
    assert len(more) == len(rows) + 1
    assert [step for name, step, _ in run.told if name == "val/dice"] == [*range(len(more))]


def test_more_epochs_are_trained_with_the_rates_of_the_longer_schedule(place, undisturbed):
    run = Diary()
    place.train("longer", run, epochs=EPOCHS)
    _, rows = place.train("longer", run, epochs=2 * EPOCHS)
    # The rate after the last step of each epoch: 0.3 (1 - steps / all / 2), over the longer training from then on.
    wanted = [0.3 * (1 - (epoch + 1) / (EPOCHS if epoch < EPOCHS else 2 * EPOCHS) / 2) for epoch in range(2 * EPOCHS)]
    assert [row["lr"] for row in rows] == pytest.approx(wanted)
    assert rows[:EPOCHS] == undisturbed[1]


@pytest.mark.parametrize("harm", ["torn", "flipped", "missing"])
def test_a_checkpoint_that_is_not_whole_is_not_used(place, undisturbed, harm):
    run, name = Diary(), f"harmed-{harm}"
    place.interrupted(name, run, Asks("batch", 2 * STEPS + 1))
    file = place.folder / name / "last.ckpt"
    content = bytearray(file.read_bytes())
    if harm == "torn":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "flipped":
        content[len(content) // 3] ^= 1
        file.write_bytes(content)
    else:  # killed between two renames, on a file system without links
        file.unlink()
    earlier, remarks = found(place.folder / name)
    assert earlier is not None
    assert earlier.steps == 2 * STEPS
    assert len(remarks) == (harm != "missing")
    require_same(place, name, run, place.train(name, run), undisturbed)


def test_weights_of_an_epoch_that_is_undone_are_not_those_that_are_kept(place, undisturbed):
    """Killed when `best.ckpt` was there of an epoch whose `last.ckpt` was not."""
    run, name = Diary(), "undone"
    place.interrupted(name, run, Asks("epoch", 1))
    folder = place.folder / name
    after_one = {file: (folder / file).read_bytes() for file in ("best.ckpt", "last.ckpt")}
    place.interrupted(name, run, Asks("epoch", 1))
    (folder / "last.previous.ckpt").unlink(missing_ok=True)
    (folder / "last.ckpt").write_bytes(after_one["last.ckpt"])
    (folder / "best.previous.ckpt").write_bytes(after_one["best.ckpt"])
    earlier, remarks = found(folder)
    assert earlier is not None
    assert not remarks
    assert checkpoint.read(folder / "best.ckpt")["global_step"] == STEPS
    require_same(place, name, run, place.train(name, run), undisturbed)
