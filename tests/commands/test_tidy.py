"""What runs take on disk, and what dead ones left: listed, and removed only where nobody needs it."""

import fcntl
import os
import re
import time
from pathlib import Path
from urllib.parse import urlparse

import hydra
import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.cli import main as cli
from lamella.commands import tidy
from lamella.tracking import usage
from lamella.tracking.outbox import Record
from support.stores import empty_store

LONG_AGO = time.time() - 100_000


class Place:
    """A store, and folders beside it with whatever runs leave."""

    def __init__(self, root):
        self.root, self.output, self.cache = root, root / "out puts", root / "cache"
        self.uri = empty_store(root / "runs.db")
        self.client = MlflowClient(self.uri)
        self.cache.mkdir()

    def run(self, status="FINISHED", size=1_000_000):
        """The id of a run that ended so, with a checkpoint."""
        try:
            with tracking.start(
                uri=self.uri, artifacts=str(self.root / "files"), experiment="e", run_name="unet seed 1",
                params={}, tags={"lamella.version": "1"}, output=self.output,
            ) as run:  # fmt: skip
                (run.folder / "checkpoints").mkdir(parents=True)
                (run.folder / "checkpoints" / "best.ckpt").write_bytes(b"b" * size)
                (run.folder / "config.yaml").write_text(f"seed: 1\ntracking:\n  artifacts: x\n  uri: {self.uri}\n")
                run.log_folder()
                if status != "FINISHED":
                    raise {"FAILED": ZeroDivisionError, "KILLED": KeyboardInterrupt}[status]
        except (ZeroDivisionError, KeyboardInterrupt):
            pass
        return run.run_id

    def files(self, run_id):
        return Path(urlparse(self.client.get_run(run_id).info.artifact_uri).path)

    def left(self, name, uri=None, **files):
        """A working folder that nobody has touched for long."""
        folder = self.output / name
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        record = Record(name, name, uri or self.uri, None, "e", "1", None, "unet seed 1", 0, "{}")
        record.write(folder)
        for file, content in files.items():
            (folder / "checkpoints" / f"{file}.ckpt").write_bytes(content)
        os.utime(folder, (LONG_AGO, LONG_AGO))
        return folder

    def survey(self):
        return usage.survey(self.uri, self.output, self.cache)

    def leftovers(self):
        return {each.path for each in self.survey().leftovers}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def command(place, capsys):
    """What the command prints."""

    def call(*overrides):
        cli.register()
        with hydra.initialize(config_path=None, version_base="1.3"):
            places = [f"paths.output={place.output}", f"paths.cache={place.cache}", f"tracking.uri={place.uri}"]
            tidy.run(hydra.compose("tidy", [*overrides, *places]))
        return capsys.readouterr().out

    return call


def test_what_runs_take_is_listed(place, command):
    run_id = place.run()
    files = place.files(run_id)
    (files / "model" / "data").mkdir(parents=True)
    (files / "model" / "data" / "best.ckpt").hardlink_to(files / "checkpoints" / "best.ckpt")
    (files / "figures").mkdir()
    (files / "figures" / "curves.png").write_bytes(b"f" * 300_000)
    (place.cache / "ab").mkdir()
    (place.cache / "ab" / "x.npy").write_bytes(b"a" * 50_000)
    printed = command()
    (row,) = [line.split() for line in printed.splitlines() if line.startswith(run_id[:12])]
    taken = dict(zip(("checkpoints", "model", "figures", "rest", "all"), map(float, row[-5:]), strict=True))
    assert taken["checkpoints"] + taken["model"] == 1.0  # one file of two names
    assert taken["figures"] == 0.3
    assert 1.3 <= taken["all"] < 1.4
    assert "FINISHED" in row
    assert f"50.0 kB in {place.cache}" in printed
    assert "There are no leftovers." in printed
    table = printed.partition("all  ")[0].splitlines()
    assert max(len(line.rstrip()) for line in table) <= 100


def test_leftovers_are_removed_on_request_alone(place, command):
    finished, deleted = place.run(), place.run()
    folder = place.left(finished, last=b"l" * 2_000_000)
    (folder / "checkpoints" / "best.ckpt").hardlink_to(place.files(finished) / "checkpoints" / "best.ckpt")
    place.client.delete_run(deleted)
    unknown = place.files(finished).parents[1] / ("0" * 32)
    (unknown / "artifacts").mkdir(parents=True)
    (unknown / "artifacts" / "config.yaml").write_text((place.files(finished) / "config.yaml").read_text())
    sweep = place.output / "sweeps" / "2026-01-01_10-00-00-123456"
    (sweep / "0").mkdir(parents=True)
    (sweep / "multirun.yaml").write_text("x")
    part = place.cache / "ab" / f"{'a' * 40}.{'b' * 32}.part"
    part.parent.mkdir()
    part.write_bytes(b"p")
    for path in (unknown, sweep, part):
        os.utime(path, (LONG_AGO, LONG_AGO))
    wanted = {folder, place.files(deleted).parent, unknown, sweep, part}
    assert place.leftovers() == wanted
    printed = command()
    assert "remove=true` removes 5 leftovers." in printed
    assert all(path.exists() for path in wanted)
    printed = command("remove=true")
    free = re.search(r"5 of 5 leftovers removed: (\d\.\d) MB became free", printed)
    assert free
    assert float(free[1]) == 3.0  # a linked checkpoint is still in the store
    assert not any(path.exists() for path in wanted)
    assert (place.files(finished) / "checkpoints" / "best.ckpt").exists()
    assert "There are no leftovers." in command()


def test_what_can_be_gone_on_with_stays(place, command):
    killed = place.run("KILLED")
    folder = place.left(killed, last=b"last")
    printed = command("remove=true")
    assert f"resume={killed} tracking.uri=" in printed
    assert "goes on with it" in printed
    assert (folder / "checkpoints" / "last.ckpt").exists()
    (place.files(killed) / "checkpoints" / "last.ckpt").write_bytes(b"last")  # now the store has it, too
    assert place.leftovers() == {folder}


def test_what_was_not_sent_stays(place, command):
    finished = place.run()
    folder = place.left(finished)
    (folder / "outbox.jsonl").write_text('{"time": 1, "status": "FINISHED"}\n')
    assert f"sync.py run={finished}` sends it" in command("remove=true")
    assert folder.exists()
    (folder / "sent.json").write_text('{"entries": 1, "complete": true}')
    assert place.leftovers() == {folder}


def test_nothing_that_is_not_its_own_is_touched(place, command):
    finished = place.run()
    outside = place.root / "mine"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (place.output / "notes").mkdir(parents=True)
    (place.output / ("1" * 32)).symlink_to(outside)
    place.left("2" * 32, uri="sqlite:////elsewhere/runs.db")
    (place.output / ("3" * 32)).mkdir()  # it does not say whose it is
    os.utime(place.output / ("3" * 32), (LONG_AGO, LONG_AGO))
    files = place.files(finished).parents[1]
    (files / ("4" * 32)).mkdir()
    (files / ("5" * 32)).symlink_to(outside)
    theirs = place.client.create_run(place.client.create_experiment("another program's", (place.root / "t").as_uri()))
    place.client.log_text(theirs.info.run_id, "x", "file.txt")
    place.client.delete_run(theirs.info.run_id)
    young = files / ("6" * 32)
    (young / "artifacts").mkdir(parents=True)
    (young / "artifacts" / "config.yaml").write_text((place.files(finished) / "config.yaml").read_text())
    assert "There are no leftovers." in command("remove=true")
    assert (outside / "precious").exists()
    assert (place.root / "t" / theirs.info.run_id / "artifacts" / "file.txt").exists()


def test_what_a_process_works_on_stays(place, command):
    finished = place.run()
    folder = place.left(finished)
    with (folder / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a process is at work on it" in command("remove=true")
    assert place.leftovers() == {folder}


def test_a_model_whose_making_failed_goes(place, command):
    run_id = place.run()
    experiment = place.client.get_run(run_id).info.experiment_id
    made = place.client.create_logged_model(experiment, name="model", source_run_id=run_id)
    folder = Path(urlparse(made.artifact_location).path)
    folder.mkdir(parents=True)
    (folder / "half").write_bytes(b"x")
    place.client.finalize_logged_model(made.model_id, "FAILED")
    assert place.leftovers() == {folder.parent}
    command("remove=true")
    assert not folder.exists()
    assert not place.client.search_logged_models([experiment])
