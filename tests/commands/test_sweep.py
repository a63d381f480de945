"""Sweeps that are started again, as a user meets them: real processes, a store, and what they print."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lamella.config.paths import CHECKOUT
from support import processes
from support.stores import empty_store

TRAIN = CHECKOUT / "train.py"
JOB = [
    *("dataset.train=4", "dataset.test=2", "dataset.height=64", "dataset.width=96", "trainer=cpu"),
    *("data.crop=32", "data.context=0", "data.steps=1", "data.workers=0", "trainer.max_epochs=1", "augment=none"),
    *("model=unet", "model.decoder_channels=[16,8]", "tracking.figures=0", "trainer.progress=false"),
]
# A callback that fails where a file lies beside it, so that the job is the same one when it is mended.
FAILS = """
from pathlib import Path
import pytorch_lightning as pl

class Fails(pl.Callback):
    def on_train_batch_end(self, trainer, module, *_):
        if Path(__file__).with_name(f"broken {module.seed}").exists():
            raise RuntimeError("the stage is not there")
"""


class Sweep:
    """A sweep of three seeds below a folder, of which the second can be made to fail."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        empty_store(root / "runs.db")
        (root / "fails.py").write_text(FAILS)
        self.keys = [f"paths.cache={root}/cache", f"paths.output={root}/outputs"]
        self.keys += [f"tracking.uri=sqlite:///{root}/runs.db", f"tracking.artifacts={root}/artifacts"]
        self.keys += [f"plugins=[{root}/fails.py]", "+trainer.callbacks.fails={_target_: fails.Fails}"]

    def start(self, *more: str):
        """The sweep, running."""
        ours = {each.partition("=")[0] for each in more}
        jobs = [each for each in [*JOB, *self.keys] if each.partition("=")[0] not in ours]
        if "model=otsu" in more:
            jobs.remove("model.decoder_channels=[16,8]")
        return processes.start(TRAIN, "-m", *jobs, *more, cwd=self.root)

    def run(self, *more: str):
        """How the sweep ended."""
        return processes.end(self.start("seed=1,2,3", *more))

    def runs(self):
        """State and seed of each run, the oldest first, and how many comparisons there are."""
        client = MlflowClient(f"sqlite:///{self.root}/runs.db")
        experiments = [each.experiment_id for each in client.search_experiments()]
        found = client.search_runs(experiments, order_by=["attributes.start_time ASC"])
        ours = [each for each in found if "lamella.kind" not in each.data.tags]
        return [(each.info.status, each.data.params["seed"]) for each in ours], len(found) - len(ours)


def told(result, number):
    """The last line about a job."""
    (*_, line) = [line for line in result.stdout.splitlines() if line.startswith(f"job {number} of 3: ")]
    return line


def test_a_sweep_is_gone_on_with(tmp_path):
    """One process after another: a failure, what is skipped, what is tried again, all anew."""
    sweep = Sweep(tmp_path)
    (tmp_path / "broken 2").touch()
    first = sweep.run()
    assert first.returncode == 1
    assert re.fullmatch(r"job 1 of 3: seed=1: finished, Dice 0\.\d+, \d:\d\d; left about \d+:\d\d", told(first, 1))
    assert told(first, 2).startswith("job 2 of 3: seed=2: failed, ")
    assert "RuntimeError: the stage is not there" in first.stderr
    assert "In job 2 of 3: " in first.stderr
    table = first.stdout[first.stdout.index("sweep 2") :]
    assert all(state in table for state in ("finished", "failed", "RuntimeError: the stage is not there"))
    assert "retry_failed=true" in table
    (kept,) = (tmp_path / "outputs/sweeps").glob("*/jobs/1.txt")
    assert "Traceback" in kept.read_text()
    assert sweep.runs() == ([("FINISHED", "1"), ("FAILED", "2"), ("FINISHED", "3")], 1)

    again = sweep.run()  # nothing is computed, and what failed is still said
    assert again.returncode == 1
    assert "error" not in again.stderr
    assert told(again, 1).startswith("job 1 of 3: seed=1: finished before, Dice 0.")
    assert told(again, 2).startswith("job 2 of 3: seed=2: failed before, run ")
    assert "the stage is not there" in told(again, 2)
    assert "images" not in again.stdout[: again.stdout.index("job 3 of 3")]  # one line a job
    assert sweep.runs() == ([("FINISHED", "1"), ("FAILED", "2"), ("FINISHED", "3")], 1)

    (tmp_path / "broken 2").unlink()
    mended = sweep.run("retry_failed=true")
    assert mended.returncode == 0, mended.stderr
    assert "resumed, finished" in told(mended, 2)
    assert sweep.runs() == ([("FINISHED", "1"), ("FINISHED", "2"), ("FINISHED", "3")], 2)

    (tmp_path / "broken 1").touch()
    anew = sweep.run("fresh=true", "fail_fast=true")
    assert anew.returncode == 1
    assert anew.stdout.count("not begun") == 2
    assert sweep.runs()[0] == [("FINISHED", "1"), ("FINISHED", "2"), ("FINISHED", "3"), ("FAILED", "1")]


@pytest.mark.slow  # seconds by the dozen
def test_four_at_once_make_one_store_and_run_each_job_once(tmp_path):
    sweep = Sweep(tmp_path)
    (tmp_path / "runs.db").unlink()
    begun = [sweep.start("model=otsu", "seed=1,2,3,4") for _ in range(4)]
    results = [processes.end(each) for each in begun]
    assert [each.returncode for each in results] == [0] * 4, [each.stderr for each in results]
    runs, comparisons = sweep.runs()
    assert sorted(runs) == [("FINISHED", seed) for seed in "1234"]
    assert comparisons == 1  # by who ended last


def test_a_sweep_that_is_stopped_says_what_is_left(tmp_path):
    sweep = Sweep(tmp_path)
    process = sweep.start("trainer.max_epochs=100000", "trainer.patience=null", "trainer.progress=true", "seed=1,2,3")
    for line in process.stdout:
        if "epoch " in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    result = processes.end(process)
    assert result.returncode == 128 + signal.SIGINT
    assert result.stderr.startswith("error: stopped by SIGINT")
    assert told(result, 1).startswith("job 1 of 3: seed=1: interrupted, run ")
    (run,) = re.findall(r"interrupted, run ([0-9a-f]{32})", result.stdout)
    table = result.stdout[result.stdout.index("sweep 2") :]
    assert run in table
    assert table.count("not begun") == 2
    assert "3 of 3 jobs are not done: the same command goes on with them" in table
    assert sweep.runs() == ([("KILLED", "1")], 0)


def test_a_server_that_is_away_ends_a_sweep_before_its_first_job(tmp_path):
    begun = time.monotonic()
    result = Sweep(tmp_path).run("tracking.uri=http://127.0.0.1:9")
    assert time.monotonic() < begun + 60  # 10 s on a machine that has nothing else to do
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("error: ") == 1
    assert "127.0.0.1:9" in result.stderr
    assert "job" not in result.stdout
