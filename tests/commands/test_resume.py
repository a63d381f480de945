"""Runs that are killed and gone on with, as real processes: they end as if nothing had been."""

import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import hydra
import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from lamella.cli import main as cli
from lamella.commands import train
from lamella.config.paths import CHECKOUT, CONF
from lamella.errors import ConfigError, DataError
from lamella.inference import checkpoint
from lamella.training.stopping import REQUEST, Stopped
from support import processes
from support.stores import empty_store

TRAIN = CHECKOUT / "train.py"
TINY = [
    *("dataset.train=8", "dataset.test=3", "dataset.height=64", "dataset.width=96", "score.min_cell_size=5"),
    *("data.crop=48", "data.context=0", "data.steps=6", "data.batch_size=4", "trainer=cpu"),
    *("trainer.precision=32-true", "trainer.max_epochs=3", "trainer.ema=0.9", "trainer.patience=3"),
    *("model=unet_ronneberger", "model.width=4", "model.dropout=0.5", "optimizer.lr=0.003", "tracking.figures=0"),
]


class Place:
    """A store with its files, and commands that keep their runs there."""

    def __init__(self, root):
        self.root = root
        self.uri = empty_store(root / "runs.db")
        self.client = MlflowClient(self.uri)
        self.places = [
            f"tracking.uri={self.uri}", f"tracking.artifacts={root}/artifacts", f"paths.cache={root}/cache",
            f"paths.output={root}/outputs",
        ]  # fmt: skip
        cli.register()

    def start(self, *overrides):
        """A process."""
        return processes.start(TRAIN, *overrides, *self.places, cwd=self.root)

    def run(self, *overrides):
        """What a run in this process comes to."""
        typed = [*overrides, *self.places]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra.compose("train", typed)
        return train.run(composed, typed=typed)

    def stopped(self, *overrides, after="last.ckpt"):
        """The id of a run that was asked to stop when it had a checkpoint of that name."""

        def ask():
            while not (REQUEST.active and {*self.root.glob(f"outputs/*/checkpoints/{after}")} - known):
                time.sleep(0.005)
            REQUEST.hear(signal.SIGTERM)

        known = {*self.root.glob(f"outputs/*/checkpoints/{after}")}
        before = {*self.runs()}
        threading.Thread(target=ask, daemon=True).start()
        with pytest.raises(Stopped):
            self.run(*overrides)
        (run,) = {*self.runs()} - before
        return run

    def runs(self):
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        return [run.info.run_id for run in self.client.search_runs(experiments)]

    def metrics(self, run_id):
        """Every value of every metric that is no time: (name, step, value), sorted."""
        names = [name for name in self.client.get_run(run_id).data.metrics if not name.startswith("time/")]
        return sorted((each.key, each.step, each.value) for n in names for each in self.histories(run_id, n))

    def histories(self, run_id, name):
        return self.client.get_metric_history(run_id, name)

    def weights(self, run_id):
        return checkpoint.read(Path(self.client.download_artifacts(run_id, "checkpoints/best.ckpt")))["state_dict"]

    def status(self, run_id):
        return self.client.get_run(run_id).info.status

    def folder(self, run_id):
        return self.root / "outputs" / run_id


def said_id(text):
    return re.search(r"^run ([0-9a-f]{32})", text, re.MULTILINE)[1]


def until(process, pattern):
    """What a process has printed up to a line that matches."""
    text = ""
    for line in process.stdout:
        text += line
        if re.search(pattern, line):
            return text
    raise AssertionError(text + process.stderr.read())


def same(one, other):
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("resumed"))


@pytest.fixture(scope="module")
def undisturbed(place):
    return place.run(*TINY).run_id


@pytest.fixture(scope="module")
def interrupted(place):
    """A run that was stopped in its second epoch; no test goes on with it."""
    return place.stopped(*TINY, "seed=7")


def require_same(place, run_id, undisturbed):
    assert place.status(run_id) == "FINISHED"
    assert place.metrics(run_id) == place.metrics(undisturbed)
    assert same(place.weights(run_id), place.weights(undisturbed))
    files = {each.path for each in place.client.list_artifacts(run_id, "checkpoints")}
    assert files == {"checkpoints/best.ckpt"}
    assert not place.folder(run_id).exists()


@pytest.mark.slow  # real processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_and_gone_on_with_is_as_if_it_had_never_been(place, undisturbed, number):
    process = place.start(*TINY, "data.workers=1")
    run_id = said_id(until(process, r"^epoch +1/3"))
    time.sleep(0.3)  # into the next epoch
    began = time.monotonic()
    os.kill(process.pid, number)
    ended = processes.end(process)
    if number == signal.SIGTERM:
        assert time.monotonic() - began < 10
        assert ended.returncode == 143
        assert f"resume={run_id}" in ended.stderr
        assert place.status(run_id) == "KILLED"
        assert {each.path for each in place.client.list_artifacts(run_id, "checkpoints")} >= {"checkpoints/last.ckpt"}
    resumed = processes.end(place.start(f"resume={run_id}"))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"run {run_id} goes on: from step" in resumed.stdout
    require_same(place, run_id, undisturbed)


def test_a_stopped_run_goes_on_from_the_store_alone(place, undisturbed):
    run_id = place.stopped(*TINY)
    assert place.status(run_id) == "KILLED"
    shutil.rmtree(place.folder(run_id))
    assert place.run(f"resume={run_id}").run_id == run_id
    require_same(place, run_id, undisturbed)


@pytest.mark.slow  # what is torn, and how, is tested in tests/training
def test_a_torn_checkpoint_is_recognised_and_the_one_before_is_used(place, undisturbed, capsys):
    run_id = place.stopped(*TINY, after="last.previous.ckpt")
    last = place.folder(run_id) / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    capsys.readouterr()
    place.run(f"resume={run_id}")
    said = capsys.readouterr().out
    assert f"warning: {last} is not used: it was not written to its end" in said
    assert f"run {run_id} goes on: from step" in said
    require_same(place, run_id, undisturbed)


@pytest.mark.slow  # seconds by the dozen
def test_a_run_that_was_killed_in_its_test_is_tested_again(place, undisturbed, monkeypatch, capsys):
    def stop(*_):
        raise Stopped(signal.SIGTERM)

    known = {*place.runs()}
    monkeypatch.setattr(train, "test", stop)
    with pytest.raises(Stopped):
        place.run(*TINY)
    monkeypatch.undo()
    (run_id,) = {*place.runs()} - known
    place.run(f"resume={run_id}")
    assert "all epochs are done; what follows them is done now" in capsys.readouterr().out
    require_same(place, run_id, undisturbed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model=ternausnet", "model=ternausnet would make another experiment"),
        ("data.steps=13", "data.steps is 6, not 13"),
        ("seed=1", "seed is 7, not 1"),
        ("optimizer.lr=0.1", "optimizer.lr is 0.003, not 0.1"),
        ("augment=none", "augment=none would make another experiment"),
        ("trainer.ema=0", "trainer.ema is 0.9, not 0"),
        ("trainer.max_epochs=0", ""),
    ],
)
def test_what_would_change_the_experiment_is_refused_by_name(place, interrupted, typed, said):
    with pytest.raises(ConfigError) as refusal:
        place.run(f"resume={interrupted}", typed)
    assert said in refusal.value.problem
    assert place.status(interrupted) == "KILLED"


def test_what_is_as_it_was_may_be_typed_but_other_data_are_refused(place, tmp_path):
    for number in range(8):
        mask = np.zeros((48, 48), np.uint8)
        mask[8:30, 8 : 20 + 3 * number] = 255
        for kind, pixels in (("image", mask // 2 + 9), ("mask", mask)):
            file = tmp_path / kind / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(file)
    folders = [f"dataset.images={tmp_path}/image", f"dataset.masks={tmp_path}/mask"]
    run_id = place.stopped(*TINY[5:], "dataset=folder", "augment=none", *folders)
    changed = tmp_path / "image" / "3.png"
    before = changed.read_bytes()
    pixels = np.array(Image.open(changed))
    pixels[0, 0] += 1
    Image.fromarray(pixels).save(changed)
    with pytest.raises(DataError, match=f"{changed} is not the image that it was"):
        place.run(f"resume={run_id}")
    changed.write_bytes(before)
    as_it_was = ["dataset=folder", *folders, "model=unet_ronneberger", "trainer=cpu", "data.steps=6", "augment=none"]
    place.run(f"resume={run_id}", *as_it_was, "data.workers=0")
    assert place.status(run_id) == "FINISHED"


@pytest.mark.slow  # seconds by the dozen
def test_a_finished_run_is_extended_where_its_last_checkpoint_was_kept(place, capsys):
    run_id = place.run(*TINY, "tracking.keep_last=true", "trainer.max_epochs=2").run_id
    with pytest.raises(ConfigError, match="nothing is left to do"):
        place.run(f"resume={run_id}")
    capsys.readouterr()
    place.run(f"resume={run_id}", "trainer.max_epochs=3")
    said = capsys.readouterr().out
    assert "3 epochs, not 2: the schedule is drawn anew over all 18 steps. The learning rate is" in said
    assert place.status(run_id) == "FINISHED"
    assert [each.step for each in place.histories(run_id, "val/dice")] == [0, 1, 2]


def test_a_finished_run_without_its_last_checkpoint_is_refused(place, undisturbed):
    with pytest.raises(ConfigError, match="the state of its optimizer is gone") as refusal:
        place.run(f"resume={undisturbed}", "trainer.max_epochs=9")
    assert f"model.init_from={undisturbed}" in refusal.value.remedy


@pytest.mark.slow  # seconds by the dozen
def test_a_method_without_training_is_gone_on_with_too(place, monkeypatch):
    def stop(*_):
        raise Stopped(signal.SIGTERM)

    known = {*place.runs()}
    monkeypatch.setattr(train, "test", stop)
    with pytest.raises(Stopped):
        place.run(*TINY[:5], "model=otsu", "tracking.figures=0", "trainer=cpu")
    monkeypatch.undo()
    (run_id,) = {*place.runs()} - known
    place.run(f"resume={run_id}")
    assert place.status(run_id) == "FINISHED"


@pytest.mark.slow  # seconds by the dozen
def test_minutes_are_counted_as_epochs_once(place, capsys):
    run_id = place.run(*TINY, "trainer.minutes=0.02", "trainer.patience=null").run_id
    epochs = int(re.search(r"0.02 minutes: (\d+) epochs of 6 steps", capsys.readouterr().out)[1])
    run = place.client.get_run(run_id)
    assert run.data.params["trainer.max_epochs"] == str(epochs)
    assert run.data.params["trainer.minutes"] == "None"
    assert run.data.tags["lamella.minutes"] == "0.02"
    assert len(place.histories(run_id, "val/dice")) == epochs
    # To measure has changed nothing.
    again = place.run(*TINY, f"trainer.max_epochs={epochs}", "trainer.patience=null").run_id
    assert place.metrics(again) == place.metrics(run_id)
