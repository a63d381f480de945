"""A sweep that is killed again and again, at every stage of a run, ends as if nobody had disturbed it."""

import contextlib
import csv
import ctypes
import os
import random
import selectors
import signal
import sqlite3
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import ViewType

from lamella.config.paths import CHECKOUT
from support import processes

TRAIN = CHECKOUT / "train.py"
JOB = [
    *("dataset.train=6", "dataset.test=3", "dataset.height=64", "dataset.width=96", "trainer=cpu"),
    *("data.crop=32", "data.context=0", "data.steps=6", "data.batch_size=4", "data.workers=0", "augment=none"),
    *("model=unet", "model.decoder_channels=[16,8]", "tracking.figures=1", "trainer.progress=true"),
]
# What tells of the machine and the moment, and nothing of the network.
_OF_THE_MOMENT = ("time/", "system/")


class Place:
    """A folder below which all lies that a sweep writes."""

    def __init__(self, root: Path, *jobs: str) -> None:
        self.root, self.jobs = root, jobs
        root.mkdir(parents=True)
        self.uri = f"sqlite:///{root}/mlflow/runs.db"
        self.keys = [f"paths.cache={root.parent}/cache", f"paths.output={root}/outputs"]
        self.keys += [f"tracking.uri={self.uri}", f"tracking.artifacts={root}/artifacts"]

    def start(self):
        """The sweep, as a user starts it."""
        return processes.start(TRAIN, "-m", *JOB, *self.keys, *self.jobs, cwd=self.root)

    def run(self) -> subprocess.CompletedProcess[str]:
        return processes.end(self.start())

    def runs(self):
        """All runs, deleted ones too: {seed: run}; and those that are comparisons."""
        client = MlflowClient(self.uri)
        experiments = [each.experiment_id for each in client.search_experiments(ViewType.ALL)]
        found = client.search_runs(experiments, run_view_type=ViewType.ALL)
        ours = [each for each in found if each.data.tags.get("lamella.kind") != "comparison"]
        return ours, [each for each in found if each not in ours]

    def metrics(self):
        """Every value that was ever logged: (run, key, step) -> values."""
        values: dict[tuple[str, str, int], list[float]] = {}
        with sqlite3.connect(self.root / "mlflow/runs.db") as connection:
            for run, key, step, value in connection.execute("SELECT run_uuid, key, step, value FROM metrics"):
                values.setdefault((run, key, step), []).append(value)
        return values


def files(run) -> Path:
    return Path(url2pathname(urlsplit(run.info.artifact_uri).path))


# When a kill comes


def heard(pipe: int) -> str:
    """What has come out of a pipe since the last call."""
    try:
        return os.read(pipe, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return ""


class Watch:
    """Hears at once of files that are made in folders below some others; see inotify(7)."""

    def __init__(self) -> None:
        self._c = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._c.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, str] = {}

    def add(self, folder: Path) -> None:
        """Also hears of this folder."""
        if str(folder) not in self._folders.values():
            made_or_moved_here = 0x100 | 0x80
            number = self._c.inotify_add_watch(self.descriptor, os.fsencode(folder), made_or_moved_here)
            if number >= 0:
                self._folders[number] = str(folder)

    def names(self) -> list[str]:
        """What was made since the last call."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            number, _, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
            found.append(f"{self._folders[number]}/{name}")
            at += 16 + length
        return found

    def close(self) -> None:
        os.close(self.descriptor)


def told(text: str) -> Callable[[list[str], list[str]], bool]:
    """When the sweep says so."""
    return lambda lines, _: any(text in line for line in lines)


def made(*texts: str) -> Callable[[list[str], list[str]], bool]:
    """When a file is made in whose path all of this occurs."""
    return lambda _, names: any(all(text in name for text in texts) for name in names)


MOMENTS: dict[str, Callable[[list[str], list[str]], bool]] = {
    "a run is opened": told("run "),
    "a checkpoint is written": made("/outputs/", ".part"),
    "metrics are logged": told("epoch "),
    "the test writes": made("/outputs/", "scores"),
    "the model is written": made("/outputs/", "/model"),
    "files are copied": made("/artifacts/"),
    "between jobs": told("job "),
    "at the end": told("left about"),
}


def killed(place: Place, moment: str, after: float) -> bool:
    """Starts the sweep and kills it, all of it: `after` seconds behind a moment. False where it had ended well.

    Args:
        place: of the sweep.
        moment: one of `MOMENTS`, "the store is made", or "" for its start.
        after: seconds.
    """
    watch = Watch()
    process = place.start()
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(watch.descriptor, selectors.EVENT_READ)
        now, begun = not moment, time.monotonic()
        while not now and process.poll() is None:
            for folder in (place.root, place.root / "mlflow"):
                watch.add(folder)
            for folder in (place.root / "outputs", place.root / "artifacts"):
                with contextlib.suppress(FileNotFoundError):  # a folder may go at any time
                    for each in [folder, *folder.glob("*/"), *folder.glob("*/*/"), *folder.glob("*/*/*/")]:
                        watch.add(each)
            selector.select(0.02)
            names = watch.names()
            lines = heard(process.stdout.fileno()).splitlines()
            if moment == "the store is made":
                now = (place.root / "mlflow/runs.db").exists()
            else:
                now = MOMENTS[moment](lines, names)
            assert time.monotonic() < begun + processes.PATIENCE_S
    watch.close()
    if process.poll() is None:
        time.sleep(after)
    if process.poll() is not None:
        os.set_blocking(process.stdout.fileno(), True)
        ended = processes.end(process)
        assert ended.returncode == 0, f"{moment}: {ended.stderr}"
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    return True


def survived(place: Place, calm: Place) -> None:
    """Holds a sweep that was killed to one that was not: the same runs, the same values, the same weights."""
    ours, comparisons = place.runs()
    theirs, their_comparisons = calm.runs()
    assert sorted(each.info.status for each in ours) == ["FINISHED"] * len(theirs)
    assert {each.info.lifecycle_stage for each in ours} == {"active"}
    assert [each.info.status for each in comparisons] == ["FINISHED"] * len(their_comparisons)
    values, their_values = place.metrics(), calm.metrics()
    assert {key: found for key, found in values.items() if len(found) > 1} == {}
    by_seed = {each.data.params["seed"]: each for each in theirs}
    assert {each.data.params["seed"] for each in ours} == set(by_seed)
    client = MlflowClient(place.uri)
    for run in ours:
        other = by_seed[run.data.params["seed"]]
        mine = {(key, step): value for (id_, key, step), value in values.items() if id_ == run.info.run_id}
        its = {(key, step): value for (id_, key, step), value in their_values.items() if id_ == other.info.run_id}
        assert mine.keys() == its.keys()
        differing = {at for at in mine if mine[at] != its[at] and not at[0].startswith(_OF_THE_MOMENT)}
        assert not differing
        names = [sorted(str(each.relative_to(files(of))) for each in files(of).rglob("*")) for of in (run, other)]
        assert names[0] == names[1]
        tables = [list(csv.reader((files(of) / "scores/test.csv").open())) for of in (run, other)]
        assert tables[0] == tables[1]
        weights = [
            torch.load(files(of) / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
            for of in (run, other)
        ]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        assert [str(each.status) for each in models] == ["READY"]
    left = [each for each in (place.root / "outputs").iterdir() if each.name not in ("sweeps", "reports", "jobs")]
    assert left == []
    assert not list((place.root / "artifacts").rglob("*.part"))


def disturbed(tmp_path: Path, jobs: tuple[str, ...], kills: int, seed: int, moments: list[str]) -> dict[str, int]:
    """Kills a sweep so many times, lets it end, and holds it to another one. Returns how often it was killed when.

    A part of the kills come at random, within the first 15 seconds of a launch. Where the sweep comes to its end in
    spite of all, another one is begun for what is left of them.
    """
    calm = Place(tmp_path / "calm", *jobs)
    ended = calm.run()
    assert ended.returncode == 0, ended.stderr
    chance, count, queue = random.Random(seed), dict.fromkeys(["", *moments], 0), [*moments]
    while sum(count.values()) < kills:
        place = Place(tmp_path / f"killed {sum(count.values())}", *jobs)
        while sum(count.values()) < kills:
            moment = queue.pop(0) if queue else chance.choice(["", *(each for each in moments if each in MOMENTS)])
            after = chance.uniform(0, 15) if not moment else chance.choice([0, 0, chance.uniform(0, 0.5)])
            if killed(place, moment, after):
                count[moment] += 1
            elif not queue:  # it came to its end
                break
        last = place.run()
        assert last.returncode == 0, last.stderr
        survived(place, calm)
    return count


@pytest.mark.slow  # seconds by the dozen
def test_a_job_survives_being_killed(tmp_path):
    """Twenty seconds: six launches, so that the longer test below is seldom what finds a fault."""
    moments = ["a checkpoint is written", "metrics are logged", "the test writes", "the model is written"]
    count = disturbed(tmp_path, ("seed=1", "trainer.max_epochs=2"), 4, 14, moments)
    assert sum(count.values()) == 4


@pytest.mark.slow  # a quarter of an hour
def test_a_sweep_survives_forty_kills(tmp_path):
    moments = ["the store is made", *MOMENTS]
    count = disturbed(tmp_path, ("seed=1,2,3,4", "trainer.max_epochs=5"), 40, 14, moments)
    print(count)
    assert sum(count.values()) == 40
