"""The command as a user meets it: real processes of train.py, on the smallest phantom."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from mlflow import MlflowClient
from omegaconf import OmegaConf
from PIL import Image

from lamella import cli
from lamella.config import CHECKOUT

TRAIN = CHECKOUT / "train.py"
SMALLEST = [
    "dataset=phantom_blood", "dataset.train=4", "dataset.test=2", "dataset.height=64", "dataset.width=96",
    "data.crop=32", "data.steps=2", "trainer=cpu", "trainer.max_epochs=1", "model=unet", "model.decoder_channels=[16,8]",
]  # fmt: skip
PATIENCE_S = 300  # a machine that does other things at the same time is slow
# Whatever the user's shell says must not reach the tests.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("LAMELLA_", "MLFLOW_", "HYDRA_"))} | {
    "OMP_NUM_THREADS": "1"
}


@dataclass
class Place:
    """Where one test's runs lie: all that train.py writes, it writes below `root`."""

    root: Path
    overrides: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.store = self.root / "runs.db"
        self.overrides = [
            f"paths.cache={self.root}/cache", f"paths.output={self.root}/outputs",
            f"tracking.uri=sqlite:///{self.store}", f"tracking.artifacts={self.root}/artifacts",
        ]  # fmt: skip

    def runs(self) -> list[Run]:
        """The oldest run first."""
        client = MlflowClient(f"sqlite:///{self.store}")
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(ids, order_by=["attributes.start_time ASC"]))

    def artifacts(self, run: Run) -> Path:
        return Path(run.info.artifact_uri.removeprefix("file://"))


def train(*overrides: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Runs train.py to its end, as a user who stands in `cwd`."""
    return subprocess.run(
        [sys.executable, str(TRAIN), *overrides], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def refused(result: "subprocess.CompletedProcess[str]") -> str:
    """The message of a run that a user's mistake ended."""
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("error: "), result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


# One run, looked at from all sides


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple["subprocess.CompletedProcess[str]", Place]:
    """A run from another folder than the checkout, with all paths relative to it."""
    place = Place(tmp_path_factory.mktemp("finished"))
    paths = ["paths.cache=cache", "paths.output=outputs", "tracking.uri=sqlite:///runs.db", "tracking.artifacts=artifacts"]
    return train(*SMALLEST, *paths, "score_seen=true", "seed=0", cwd=place.root), place


def test_a_run_ends_with_its_id_and_its_scores(finished: tuple["subprocess.CompletedProcess[str]", Place]) -> None:
    result, place = finished
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    (run,) = place.runs()
    lines = result.stdout.splitlines()
    assert lines.count(f"run {run.info.run_id}") >= 1
    table = result.stdout[result.stdout.index("Test scores") :]
    for name in ("test/dice", "test/iou", "test/accuracy", "test/precision", "test/recall", "test/pooled/dice"):
        assert f"{run.data.metrics[name]:.4f}" in next(line for line in table.splitlines() if name in line)
    assert "phantom" in table.lower()  # never sold as real
    assert "epoch   1/1" in result.stdout


def test_paths_are_relative_to_where_the_user_stands(finished: tuple["subprocess.CompletedProcess[str]", Place]) -> None:
    _, place = finished
    assert {path.name for path in place.root.iterdir()} >= {"cache", "runs.db", "artifacts"}
    (run,) = place.runs()
    assert place.artifacts(run).is_relative_to(place.root)


def test_a_run_holds_all_metrics(finished: tuple["subprocess.CompletedProcess[str]", Place]) -> None:
    (run,) = finished[1].runs()
    metrics = run.data.metrics
    assert run.info.status == "FINISHED"
    assert set(metrics) >= {"train/loss", "val/loss", "val/dice", "val/iou", "val/accuracy"}
    for name in ("dice", "iou", "accuracy", "precision", "recall"):
        low, mean, high = (metrics[f"test/{name}{end}"] for end in ("/low", "", "/high"))
        assert 0 <= low <= mean <= high <= 1
    assert set(metrics) >= {"test/pooled/dice", "test/pooled/iou", "seen/dice"}
    assert metrics["time/train_s"] > 0
    assert metrics["time/images_per_s"] > 0


def test_a_run_holds_params_and_tags(finished: tuple["subprocess.CompletedProcess[str]", Place]) -> None:
    (run,) = finished[1].runs()
    params, tags = run.data.params, run.data.tags
    assert params["model.name"] == "unet"
    assert params["dataset.name"] == "phantom_blood"
    assert params["seed"] == "0"
    assert params["model.in_channels"] == "3"
    assert params["model.decoder_channels"] == "[16, 8]"
    assert params["trainer.max_epochs"] == "1"
    for name in ("config", "data", "split"):
        assert len(tags[f"lamella.{name}_sha256"]) == 64
    head = subprocess.run(["git", "-C", CHECKOUT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert tags["lamella.git_commit"] == (head.stdout.strip() if head.returncode == 0 else "")
    assert tags["lamella.git_dirty"] in ("true", "false")
    assert json.loads(tags["lamella.protocol"])["split"] == tags["lamella.split_sha256"]
    assert tags["mlflow.runName"] == "unet seed 0"
    assert "lamella.sweep" not in tags
    (experiment,) = [e.name for e in MlflowClient(f"sqlite:///{finished[1].store}").search_experiments() if e.name != "Default"]
    assert experiment == "phantom_blood"


def test_a_run_holds_all_artifacts(finished: tuple["subprocess.CompletedProcess[str]", Place]) -> None:
    (run,) = finished[1].runs()
    folder = finished[1].artifacts(run)
    for name in ("config.yaml", "environment.txt", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (folder / name).stat().st_size > 0
    assert "torch==" in (folder / "environment.txt").read_text()
    pictures = list((folder / "figures").glob("*.png"))
    assert len(pictures) >= 4  # curves, confusion matrix, two predictions
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.verify()
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    split = json.loads((folder / "data" / "split.json").read_text())
    assert len(manifest) == 6
    assert sorted(entry["id"] for entry in manifest) == sorted(sum(split.values(), []))
    with (folder / "scores" / "test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == split["test"]
    assert set(rows[0]) >= {"id", "dice", "iou", "accuracy", "precision", "recall", "tp", "fp", "fn", "tn"}
    for row in rows:
        assert sum(int(row[n]) for n in ("tp", "fp", "fn", "tn")) == 64 * 96
    mean = sum(float(row["dice"]) for row in rows) / len(rows)
    assert mean == pytest.approx(run.data.metrics["test/dice"])


def test_a_run_can_be_started_again_from_its_own_configuration(
    finished: tuple["subprocess.CompletedProcess[str]", Place],
) -> None:
    from omegaconf import OmegaConf

    from lamella.config import check

    (run,) = finished[1].runs()
    saved = OmegaConf.load(finished[1].artifacts(run) / "config.yaml")
    assert check(saved) == saved  # type: ignore[arg-type]


# A sweep


def test_a_sweep_gives_one_run_a_job_and_they_share_a_tag(tmp_path: Path) -> None:
    place = Place(tmp_path)
    result = train("-m", *SMALLEST, *place.overrides, "seed=1,2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    runs = place.runs()
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert [run.data.params["seed"] for run in runs] == ["1", "2"]
    (name,) = {run.data.tags["lamella.sweep"] for run in runs}
    assert name
    same = {run.data.tags["lamella.data_sha256"] for run in runs}
    assert len(same) == 1


def test_a_sweep_with_one_bad_value_stops_before_its_first_job(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    message = refused(train("-m", *SMALLEST, *place.overrides, "seed=1,x", cwd=tmp_path))
    assert "seed must be a whole number, at least 0 and at most 4294967295; got 'x'" in message
    # A key of a network is known only when torch is there.
    message = refused(train("-m", *SMALLEST, *place.overrides, "optimizer.lr=0.1,-1", cwd=tmp_path))
    assert "optimizer.lr must be a number, above 0; got -1" in message
    assert list(place.root.iterdir()) == []  # no store, no outputs


# Bad input: each a sweep's job, so that one process meets them all


def write(folder: Path, part: str, name: str, size: tuple[int, int] = (64, 64), value: int = 255) -> tuple[Path, Path]:
    """One image and its mask."""
    image, mask = folder / part / "original" / f"{name}.png", folder / part / "mask" / f"{name}.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(image)
    truth = np.zeros((size[1], size[0]), np.uint8)
    truth[10:30, 10:30] = value
    Image.fromarray(truth).save(mask)
    return image, mask


def whole(folder: Path) -> Path:
    """A sound data set in the layout of `blood`."""
    for part, names in (("train", "abcd"), ("test", "yz")):
        for name in names:
            write(folder, part, name)
    return folder


def bad_input(root):
    """name -> (what an experiment file says, what the message must say)."""
    jobs = {}

    def data(name, *says):
        jobs[name] = ({"dataset": "blood", "paths": {"data": str(root / name)}}, says)
        return root / name / "blood"

    data("missing", f"{root}/missing/blood", "dataset=phantom_blood")
    file = whole(data("truncated", "truncated/blood/train/original/b.png cannot be read")) / "train/original/b.png"
    file.write_bytes(file.read_bytes()[:300])
    folder = whole(data("size", "size/blood/train/mask/b.png is 32x48 pixels", "train/original/b.png 64x64"))
    write(root, "other", "b", (32, 48))[1].replace(folder / "train/mask/b.png")
    write(whole(data("values", "blood/test/mask/y.png holds unexpected values: 7 (400 px)", "0, 255")), "test", "y", value=7)
    (whole(data("no_mask", "no_mask/blood/train/original/c.png without a mask")) / "train/mask/c.png").unlink()
    (whole(data("no_image", "blood/test/mask/z.png: a mask without an image")) / "test/original/z.png").unlink()
    for file in (whole(data("empty", "empty/blood/test/original is empty")) / "test/original").iterdir():
        file.unlink()
    folder = data("single", "1 training and 1 test image", "at least two")
    write(folder, "train", "a")
    write(folder, "test", "z")
    (whole(data("text", "text/blood/train/original/d.png cannot be read")) / "train/original/d.png").write_text("hello")
    data("tiff", "tiff/em/train-labels.tif is missing")
    jobs["tiff"][0]["dataset"] = "em"
    (root / "tiff/em").mkdir(parents=True)
    tifffile.imwrite(root / "tiff/em/train-volume.tif", np.zeros((12, 64, 64), np.uint8), photometric="minisblack")

    (root / "file").write_text("in the way")
    jobs["cache"] = ({"paths": {"cache": f"{root}/file/cache"}}, (f"{root}/file/cache", "paths.cache"))
    jobs["store"] = ({"tracking": {"uri": f"sqlite:///{root}/file/runs.db"}}, (f"{root}/file", "tracking.uri"))
    (root / "garbage.db").write_text("no database " * 100)
    jobs["garbage"] = ({"tracking": {"uri": f"sqlite:///{root}/garbage.db"}}, ("garbage.db", "not a database"))
    jobs["artifacts"] = ({"tracking": {"artifacts": f"{root}/file/x"}}, (f"{root}/file", "tracking.artifacts"))
    jobs["server"] = ({"tracking": {"uri": "http://127.0.0.1:9"}}, ("http://127.0.0.1:9", "refused"))
    jobs["mlruns"] = ({"tracking": {"uri": "mlruns"}}, ("tracking.uri=mlruns", "sqlite:///"))
    jobs["weights"] = ({"model": {"encoder_weights": f"{root}/no.pth"}}, (f"{root}/no.pth",))
    jobs["encoder"] = ({"model": {"encoder": "resnet17"}}, ("model.encoder=resnet17", "resnet18"))
    return jobs


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Every kind of bad input met in one sweep: its result, what was asked for, and where."""
    root = tmp_path_factory.mktemp("bad")
    place = Place(root / "place")
    jobs = bad_input(root / "input")
    (root / "experiment").mkdir()
    for name, (content, _) in jobs.items():
        defaults = [{"override /dataset": content.pop("dataset", "phantom_blood")}, {"override /model": "unet"}]
        text = "# @package _global_\n" + OmegaConf.to_yaml({"defaults": defaults, **content})
        (root / "experiment" / f"{name}.yaml").write_text(text)
    small = [override for override in SMALLEST if not override.startswith(("dataset=", "model"))]
    # A sweep's own keys stand above what an experiment file says, so the places stand in a file, too.
    result = train("-m", f"--config-dir={root}", f"experiment={','.join(jobs)}", *small, *place.overrides, cwd=root)
    return result, jobs, place
