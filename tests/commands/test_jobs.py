"""What makes a job of a sweep the same as another, and what an earlier launch left of it."""

import shutil
import subprocess
import sys
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
import tifffile
from mlflow import MlflowClient

from commands.conftest import TINY, UNET
from lamella import hardware, tracking
from lamella.commands import jobs
from lamella.commands.setup import load
from lamella.config.check import check, settle
from lamella.config.paths import source
from lamella.console import console
from lamella.tracking.alive import process_tag
from support.stores import empty_store
from support.touching import write_touching


@pytest.fixture(scope="module")
def identity(composed):
    """Overrides -> the identity of the job."""

    def of(*overrides):
        cfg = composed("train", *overrides)
        data = load(check(cfg), console())
        own = check(settle(cfg, channels=3, classes=2))
        return jobs.identity(own, data, hardware.resolve(own.trainer.accelerator, own.trainer.precision))

    return of


@pytest.fixture(scope="module")
def usual(identity):
    return identity(*TINY, *UNET)


@pytest.mark.parametrize(
    "more",
    [
        ("optimizer.lr=3e-3", "trainer.ema=0.90"),
        ("paths.data=/elsewhere", "data.workers=1", "trainer.progress=true", "debug=true"),
        ("tracking.experiment=other", "tracking.run_name=x", "tracking.figures=3", "tracking.keep_last=true"),
        ("fresh=true", "retry_failed=true", "fail_fast=true"),
        ("trainer.accelerator=auto", "dataset.allow=[leak]"),
        ("dataset.take=1",),  # as before there were shares
    ],
)
def test_what_changes_no_score_makes_no_other_job(identity, usual, more):
    names = {each.partition("=")[0] for each in more}
    rest = [each for each in (*TINY, *UNET) if each.partition("=")[0] not in names]
    assert identity(*rest, *more) == usual


@pytest.mark.parametrize(
    "more", ["seed=1", "optimizer.lr=0.01", "model.decoder_channels=[32,8]", "inference.threshold=0.4",
             "trainer.max_epochs=3", "trainer.precision=bf16-mixed", "score.tolerance=3", "augment=phantom_blood",
             "dataset.take=0.5"]
)  # fmt: skip
def test_what_changes_a_score_does(identity, usual, more):
    rest = [each for each in (*TINY, *UNET) if each.partition("=")[0] != more.partition("=")[0]]
    assert identity(*rest, more) != usual


def test_a_choice_and_its_keys_are_the_same(identity, usual):
    rest = [each for each in TINY if each != "trainer=cpu"]
    assert identity("trainer.accelerator=cpu", *reversed(UNET[1:]), *reversed(rest), "model=unet") == usual


def test_files_count_by_what_they_hold(identity, tmp_path):
    images, _ = write_touching(tmp_path / "here", 6)
    there = tmp_path / "there"
    shutil.copytree(images.parent, there)

    def own(folder):
        keys = ("dataset=folder", f"dataset.images={folder}/images", f"dataset.masks={folder}/masks")
        return identity(*keys, "dataset.instances=true", "model=otsu", "trainer=cpu")

    first = own(images.parent)
    assert own(there) == first
    file = next((there / "masks").iterdir())
    changed = tifffile.imread(file)
    changed[0, 0] = 0 if changed[0, 0] else 1
    tifffile.imwrite(file, changed)
    assert own(there) != first


def test_the_source_is_the_same_in_every_process():
    said = "from lamella.config.paths import source; print(source())"
    again = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == source()


# What an earlier launch left


@pytest.fixture
def left(tmp_path, composed):
    """Makes a run of the job "x" in a store of its own: (status, tags, score) -> its id; and what is found then."""
    uri = empty_store(tmp_path / "runs.db")
    client = MlflowClient(uri)
    cfg = check(composed("train", *TINY, *UNET))
    cfg = replace(cfg, tracking=replace(cfg.tracking, uri=uri, experiment="e"))
    cfg = replace(cfg, paths=replace(cfg.paths, output=str(tmp_path / "outputs")))
    experiment = client.create_experiment("e")

    def make(status, score=None, start=0, **tags):
        own = {"lamella.job": "x", "lamella.source": source()}
        run = client.create_run(experiment, start_time=start, tags=own | {f"lamella.{k}": v for k, v in tags.items()})
        if score is not None:
            client.log_metric(run.info.run_id, "test/dice", score)
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status)
        return run.info.run_id

    def found(**keys):
        """What is found of the job now."""
        try:
            return jobs.begun(replace(cfg, **keys), "x")
        finally:
            tracking.let_go()

    found.output = cfg.paths.output
    return make, found, client


def test_a_finished_job_is_done_with_and_a_deleted_one_is_not(left):
    make, found, client = left
    assert found() is None
    run = make("FINISHED", 0.75, job="y")
    assert found() is None
    run = make("FINISHED", 0.75)
    assert found() == (run, "finished before", 0.75, "")
    client.delete_run(run)
    assert found() is None


def test_another_source_is_said(left):
    make, found, _ = left
    run = make("FINISHED", 0.75, source="0" * 64)
    assert found() == (run, "finished before", 0.75, "Lamella's source was another then")


def test_a_failed_job_is_left_alone_unless_it_is_asked_for(left):
    make, found, _ = left
    run = make("FAILED", error="RuntimeError: no")
    done = found()
    assert (done.run_id, done.state, done.remark) == (run, "failed before", "RuntimeError: no")
    assert isnan(done.score)
    assert found(retry_failed=True).run_id == run


def test_the_newest_run_counts(left):
    make, found, _ = left
    make("FAILED", start=1)
    run = make("FINISHED", 0.5, start=2)
    assert found().run_id == run
    killed = make("KILLED", start=3)
    again = found()
    assert isinstance(again, tracking.Unfinished)
    assert again.run_id == killed


def test_a_run_at_work_elsewhere_is_left_to_it(left):
    make, found, _ = left
    run = make("RUNNING", process=process_tag())
    done = found()
    assert (done.run_id, done.state) == (run, "running elsewhere")


def test_what_is_left_of_the_folder_of_a_finished_run_goes(left):
    """Its process was killed while it removed it; but not what another process is about to go on with."""
    make, found, _ = left
    folder = Path(found.output) / make("FINISHED", 0.75)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "sent.json").touch()
    with_record = Path(found.output) / make("FINISHED", 0.75, job="y")
    with_record.mkdir()
    for name in ("run.json", "outbox.jsonl"):
        (with_record / name).touch()
    assert found().state == "finished before"
    assert not folder.exists()
    assert with_record.exists()
