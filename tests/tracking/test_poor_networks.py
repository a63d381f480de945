"""train.py as a user starts it, while its server is away, slow or forgetful, or its store is locked."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lamella.config.paths import CHECKOUT
from support import processes
from support.mlflow_server import Proxy, Server, between
from support.stores import empty_store

assert CHECKOUT is not None
TRAIN, SYNC = CHECKOUT / "train.py", CHECKOUT / "scripts/sync.py"
TINY = [
    *("dataset.train=4", "dataset.test=2", "dataset.height=64", "dataset.width=96", "augment=none", "data.workers=0"),
    *("model=unet", "model.decoder_channels=[16,8]", "data.crop=32", "data.context=0", "data.batch_size=2"),
    *("trainer=cpu", "trainer.precision=32-true", "trainer.patience=null", "inference.tta=false", "tracking.figures=0"),
]


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with between(server) as proxy:
        yield proxy


def start(folder: Path, uri: str, *overrides: str) -> Any:
    """train.py, with everything below `folder`."""
    places = [f"paths.cache={folder}/cache", f"paths.output={folder}/outputs", f"tracking.experiment={folder.name}"]
    tracking = [f"tracking.uri={uri}"] + (
        ["tracking=server"] if uri.startswith("http") else ["tracking.artifacts=null"]
    )
    return processes.start(TRAIN, *TINY, *places, *tracking, *overrides, cwd=folder)


def until(process: Any, text: str) -> None:
    """Reads what a process prints up to a line with `text`."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came: {process.stderr.read()}")


def sync(folder: Path, *overrides: str) -> Any:
    """scripts/sync.py over the same working folders."""
    return processes.run(SYNC, f"paths.output={folder}/outputs", *overrides, cwd=folder)


def only_run(uri: str, folder: Path) -> Any:
    """The one run of a test."""
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(folder.name).experiment_id])
    return run


def once(store: Path, run: Any, epochs: int) -> None:
    """Asserts that the store has every epoch of a run, once, and nothing twice."""
    with contextlib.closing(sqlite3.connect(store)) as database:
        found = Counter(database.execute("SELECT key, step FROM metrics WHERE run_uuid = ?", (run.info.run_id,)))
    assert set(found.values()) == {1}
    for name in ("train/loss", "val/dice"):
        assert sorted(step for key, step in found if key == name) == list(range(epochs))


@pytest.mark.slow  # half a minute; signals alone, and servers that are gone alone, are tested without it
def test_a_signal_while_the_server_is_gone(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    training = start(tmp_path, proxy.uri, "trainer.max_epochs=100000", "data.steps=2")
    until(training, "epoch   2")
    proxy.go()
    until(training, "epoch ")  # it goes on without
    began = time.monotonic()
    os.kill(training.pid, signal.SIGTERM)
    done = processes.end(training)
    assert time.monotonic() - began < 10
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert done.stderr.startswith("error: stopped by SIGTERM")
    assert len(done.stderr.splitlines()) <= 2, done.stderr  # nothing of MLflow's and urllib3's
    refused = sync(tmp_path)
    assert refused.returncode == 1
    assert "cannot be used" in refused.stdout
    proxy.come()
    sent = sync(tmp_path)
    assert sent.returncode == 0, sent.stderr
    run = only_run(server.uri, tmp_path)
    assert f"run {run.info.run_id}: sent to {proxy.uri}: KILLED" in sent.stdout
    assert run.info.status == "KILLED"
    epochs = len(MlflowClient(server.uri).get_metric_history(run.info.run_id, "val/dice"))
    assert epochs >= 2
    once(server.store, run, epochs)
    files = MlflowClient(server.uri).list_artifacts(run.info.run_id, "checkpoints")
    assert "checkpoints/last.ckpt" in [each.path for each in files]
    assert "nothing waits" in sync(tmp_path).stdout


@pytest.mark.slow  # seconds by the dozen
def test_a_run_that_is_killed_while_it_waits(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    training = start(tmp_path, proxy.uri, "trainer.max_epochs=3", "data.steps=2")
    until(training, "epoch   1")
    proxy.go()
    until(training, "waiting for")
    os.kill(training.pid, signal.SIGKILL)
    processes.end(training)
    proxy.come()
    sent = sync(tmp_path)
    assert sent.returncode == 0, sent.stderr
    run = only_run(server.uri, tmp_path)
    assert run.info.status == "FINISHED"
    assert "test/dice" in run.data.metrics
    once(server.store, run, 3)
    assert not list((tmp_path / "outputs").iterdir())


@pytest.mark.slow  # seconds by the dozen
def test_offline_from_the_beginning(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/none.db"
    done = processes.end(start(tmp_path, uri, "trainer.max_epochs=2", "data.steps=2", "tracking.offline=true"))
    assert done.returncode == 0, done.stderr
    assert "test/dice" in done.stdout
    assert not (tmp_path / "none.db").exists()
    empty_store(tmp_path / "none.db")
    sent = sync(tmp_path)
    assert sent.returncode == 0, sent.stderr
    run = only_run(uri, tmp_path)
    assert f"as {run.info.run_id}: FINISHED" in sent.stdout
    once(tmp_path / "none.db", run, 2)
    (output,) = run.outputs.model_outputs
    assert str(MlflowClient(uri).get_logged_model(output.model_id).status) == "READY"
    place = Path(run.info.artifact_uri.removeprefix("file://"))
    copies = [place / "checkpoints/best.ckpt", *place.parents[1].rglob("best.ckpt")]
    assert len({each.stat().st_ino for each in copies}) == 1
    assert len(copies) >= 3


# At full length: minutes each


@pytest.mark.slow
@pytest.mark.parametrize(("what", "epochs"), [("away", 60), ("slow", 30), ("losing", 30)])
def test_training_does_not_care(server: Server, proxy: Proxy, tmp_path: Path, what: str, epochs: int) -> None:
    """A server stopped for 60 s, slow by 5 s a call, losing every third request: nothing lost, nothing waited for.

    Two trainings at the same time, since other programs use this machine, too: one of them has a healthy server.
    """
    folders = {"healthy": tmp_path / f"healthy_{what}", what: tmp_path / what}
    running = {}
    for name, folder in folders.items():
        folder.mkdir()
        uri = server.uri if name == "healthy" else proxy.uri
        running[name] = start(folder, uri, f"trainer.max_epochs={epochs}", "data.steps=20")
    until(running[what], "epoch   2")
    if what == "away":
        proxy.go()
        threading.Timer(60, proxy.come).start()
    proxy.delay, proxy.losing = 5.0 * (what == "slow"), 3 * (what == "losing")
    seconds = {}
    for name, folder in folders.items():
        done = processes.end(running[name])
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        run = only_run(server.uri, folder)
        assert run.info.status == "FINISHED"
        once(server.store, run, epochs)
        assert not list((folder / "outputs").iterdir())
        seconds[name] = run.data.metrics["time/train_s"]
    print("seconds of training:", seconds)
    assert seconds[what] < 1.05 * seconds["healthy"]


@pytest.mark.slow
def test_a_store_that_is_locked_for_90_s(tmp_path: Path) -> None:
    empty_store(tmp_path / "runs.db")
    held = sqlite3.connect(tmp_path / "runs.db", timeout=20, isolation_level=None, check_same_thread=False)

    def lock() -> None:
        held.execute("BEGIN EXCLUSIVE")
        threading.Timer(90, held.close).start()

    training = start(tmp_path, f"sqlite:///{tmp_path}/runs.db", "trainer.max_epochs=5", "data.steps=20")
    until(training, "epoch   2")
    lock()
    done = processes.end(training)
    assert done.returncode == 0, done.stderr
    assert "waiting for" in done.stdout
    run = only_run(f"sqlite:///{tmp_path}/runs.db", tmp_path)
    assert run.info.status == "FINISHED"
    once(tmp_path / "runs.db", run, 5)
    assert not list((tmp_path / "outputs").iterdir())
