"""Runs that are killed and gone on with, as real processes: they end as if nothing had been."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lamella.config.paths import CHECKOUT
from lamella.inference import checkpoint
from support import processes
from support.stores import empty_store

TRAIN = CHECKOUT / "train.py"
TINY = [
    *("dataset.train=8", "dataset.test=3", "dataset.height=64", "dataset.width=96", "score.min_cell_size=5"),
    *("data.crop=48", "data.context=0", "data.steps=12", "data.batch_size=4", "trainer=cpu"),
    *("trainer.precision=32-true", "trainer.max_epochs=4", "trainer.ema=0.9", "trainer.patience=3"),
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

    def start(self, *overrides):
        return processes.start(TRAIN, *overrides, *self.places, cwd=self.root)

    def train(self, *overrides):
        """The id of the run that training left, and what was printed."""
        done = processes.end(self.start(*TINY, *overrides))
        assert done.returncode == 0, done.stdout + done.stderr
        return said_id(done.stdout), done.stdout

    def resume(self, run_id, *overrides):
        return processes.end(self.start(f"resume={run_id}", *overrides))

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
    return place.train()[0]


def require_same(place, run_id, undisturbed):
    assert place.status(run_id) == "FINISHED"
    assert place.metrics(run_id) == place.metrics(undisturbed)
    assert same(place.weights(run_id), place.weights(undisturbed))
    files = {each.path for each in place.client.list_artifacts(run_id, "checkpoints")}
    assert files == {"checkpoints/best.ckpt"}
    assert not (place.root / "outputs" / run_id).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_and_gone_on_with_is_as_if_it_had_never_been(place, undisturbed, number):
    process = place.start(*TINY, "data.workers=1")
    run_id = said_id(until(process, r"^epoch +1/4"))
    time.sleep(0.3)  # into the next epoch
    began = time.monotonic()
    os.kill(process.pid, number)
    ended = processes.end(process)
    assert time.monotonic() - began < 10
    if number == signal.SIGTERM:
        assert ended.returncode == 143
        assert f"resume={run_id}" in ended.stderr
        assert place.status(run_id) == "KILLED"
        assert {each.path for each in place.client.list_artifacts(run_id, "checkpoints")} >= {"checkpoints/last.ckpt"}
    resumed = place.resume(run_id)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"run {run_id} goes on: from step" in resumed.stdout
    require_same(place, run_id, undisturbed)
