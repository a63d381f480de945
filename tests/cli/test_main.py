"""The command as a user meets it: real processes of train.py, on the smallest phantom."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hydra.core.config_store import ConfigStore
from mlflow import MlflowClient
from omegaconf import OmegaConf
from PIL import Image

from lamella.cli import main as cli
from lamella.config.check import check, plain
from lamella.config.paths import CHECKOUT
from support import processes
from support.processes import ENVIRONMENT, end
from support.stores import empty_store

TRAIN = CHECKOUT / "train.py"
PHANTOM = {"train": 4, "test": 2, "height": 64, "width": 96}
SMALLEST = [
    *(f"dataset.{key}={value}" for key, value in PHANTOM.items()),
    *("data.crop=32", "data.steps=2", "trainer=cpu", "trainer.max_epochs=1"),
    *("model=unet", "model.decoder_channels=[16,8]"),
]


class Place:
    """A folder below which all lies that train.py writes."""

    def __init__(self, root):
        self.root = root
        self.root.mkdir(exist_ok=True)
        self.keys = {
            "paths": {"cache": f"{root}/cache", "output": f"{root}/outputs"},
            "tracking": {"uri": f"sqlite:///{root}/runs.db", "artifacts": f"{root}/artifacts"},
        }
        self.overrides = [f"{node}.{key}={value}" for node, keys in self.keys.items() for key, value in keys.items()]

    def runs(self):
        """All runs, the oldest first."""
        client = MlflowClient(f"sqlite:///{self.root}/runs.db")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def artifacts(run):
    return Path(run.info.artifact_uri.removeprefix("file://"))


def start(*overrides, cwd, **how):
    """train.py as a user starts it who stands in `cwd`."""
    return processes.start(TRAIN, *overrides, cwd=cwd, **how)


def train(*overrides, cwd, **how):
    return end(start(*overrides, cwd=cwd, **how))


def refused(result):
    """The message of a command that a user's mistake ended."""
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("error: "), result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


# One run, looked at from all sides


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The result and the place of a run from another folder than the checkout, all paths relative to it."""
    place = Place(tmp_path_factory.mktemp("finished"))
    relative = [override.replace(f"{place.root}/", "") for override in place.overrides]
    return train(*SMALLEST, *relative, "score.seen=true", cwd=place.root, fresh=True), place


@pytest.fixture(scope="module")
def run(finished):
    (only,) = finished[1].runs()
    return only


def test_a_run_ends_with_its_id_and_its_scores(finished, run):
    result, _ = finished
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert f"run {run.info.run_id}" in result.stdout.splitlines()
    assert "epoch   1/1" in result.stdout
    table = result.stdout[result.stdout.index("Test scores") :]
    assert "PHANTOM" in table  # never taken for real
    for name in ("test/dice", "test/iou", "test/accuracy", "test/precision", "test/recall", "test/pooled/dice"):
        (line,) = [line for line in table.splitlines() if f" {name} " in line]
        assert f" {run.data.metrics[name]:.4f} " in line


def test_paths_are_relative_to_where_the_user_stands(finished, run):
    _, place = finished
    assert {path.name for path in place.root.iterdir()} >= {"cache", "runs.db", "artifacts", "outputs"}
    assert artifacts(run).is_relative_to(place.root)


def test_a_run_holds_its_metrics(run):
    metrics = run.data.metrics
    assert run.info.status == "FINISHED"
    assert metrics.keys() >= {"train/loss", "val/loss", "val/dice", "val/iou", "val/accuracy"}
    for name in ("dice", "iou", "accuracy", "precision", "recall"):
        low, mean, high = (metrics[f"test/{name}{bound}"] for bound in ("/low", "", "/high"))
        assert 0 <= low <= mean <= high <= 1
    assert metrics.keys() >= {"test/pooled/dice", "test/pooled/iou", "seen/dice"}
    assert metrics["time/train_s"] > 0
    assert metrics["time/images_per_s"] > 0


def test_a_run_holds_its_params(run):
    params = run.data.params
    assert (params["model.name"], params["dataset.name"], params["seed"]) == ("unet", "phantom_blood", "0")
    assert (params["model.in_channels"], params["model.decoder_channels"]) == ("3", "[16, 8]")
    assert (params["trainer.max_epochs"], params["optimizer.lr"]) == ("1", "0.001")
    # The parameters are the whole configuration.
    assert params.keys() == _flat_keys(OmegaConf.load(artifacts(run) / "config.yaml"))


def _flat_keys(node, path=""):
    if OmegaConf.is_dict(node) and node:
        return {key for name in node for key in _flat_keys(node[name], f"{path}.{name}" if path else name)}
    return {path}


def test_a_run_holds_its_tags(finished, run):
    tags = run.data.tags
    for name in ("config", "data", "split"):
        assert len(tags[f"lamella.{name}_sha256"]) == 64
    head = subprocess.run(["git", "-C", CHECKOUT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert tags["lamella.git_commit"] == (head.stdout.strip() if head.returncode == 0 else "none")
    assert tags["lamella.git_dirty"] in ("true", "false")
    assert json.loads(tags["lamella.protocol"])["split"] == tags["lamella.split_sha256"]
    assert tags["mlflow.runName"] == "unet seed 0"
    assert "lamella.sweep" not in tags
    experiment = MlflowClient(f"sqlite:///{finished[1].root}/runs.db").get_experiment(run.info.experiment_id)
    assert experiment.name == "phantom_blood"


def test_a_run_holds_its_artifacts(run):
    folder = artifacts(run)
    for name in ("config.yaml", "environment.txt", "checkpoints/best.ckpt"):
        assert (folder / name).stat().st_size > 0
    assert not (folder / "checkpoints/last.ckpt").exists()  # nobody goes on with a finished run
    assert "torch==" in (folder / "environment.txt").read_text()
    pictures = list((folder / "figures").glob("*.png"))
    assert len(pictures) >= 4  # curves, a confusion matrix, two predictions
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.load()


def test_the_table_of_test_images_agrees_with_the_split_and_the_scores(run):
    split = json.loads((artifacts(run) / "data/split.json").read_text())
    manifest = json.loads((artifacts(run) / "data/manifest.json").read_text())
    assert {entry["id"]: entry["role"] for entry in manifest} == {i: role for role in split for i in split[role]}
    with (artifacts(run) / "scores/test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == split["test"]
    assert rows[0].keys() >= {"id", "dice", "iou", "accuracy", "precision", "recall", "tp", "fp", "fn", "tn"}
    for row in rows:
        assert sum(int(row[name]) for name in ("tp", "fp", "fn", "tn")) == PHANTOM["height"] * PHANTOM["width"]
    for name in ("dice", "iou", "accuracy", "precision", "recall"):
        mean = sum(float(row[name]) for row in rows) / len(rows)
        assert mean == pytest.approx(run.data.metrics[f"test/{name}"])


def test_the_saved_configuration_is_sound_and_complete(run):
    saved = OmegaConf.load(artifacts(run) / "config.yaml")
    cli.register()
    assert plain(check(saved)) == saved


# Sweeps


def test_a_sweep_gives_one_run_a_job_and_they_share_a_tag(tmp_path):
    place = Place(tmp_path)
    empty_store(place.root / "runs.db")
    result = train("-m", *SMALLEST, *place.overrides, "seed=1,2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    *runs, comparison = sorted(place.runs(), key=lambda run: run.info.start_time)
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert [run.data.params["seed"] for run in runs] == ["1", "2"]
    typed = json.loads(runs[1].data.tags["lamella.typed"])
    assert {"data.steps=2", "model=unet", "model.decoder_channels=[16,8]"} <= {*typed}
    assert not [each for each in typed if each.startswith(("seed", "paths", "tracking"))]
    assert comparison.data.tags["lamella.kind"] == "comparison"  # made without being asked
    assert comparison.info.status == "FINISHED"
    assert f"/runs/{comparison.info.run_id}/artifacts/report.html)" in comparison.data.tags["mlflow.note.content"]
    (page,) = [line.removeprefix("report ") for line in result.stdout.splitlines() if line.startswith("report ")]
    assert (artifacts(comparison) / "report.html").read_text() == Path(page).read_text()
    (sweep,) = {run.data.tags["lamella.sweep"] for run in runs}
    assert sweep
    assert len({run.data.tags["lamella.config_sha256"] for run in runs}) == 2
    assert len({run.data.tags["lamella.protocol"] for run in runs}) == 1


def test_a_key_is_set_in_some_jobs_alone(tmp_path):
    place = Place(tmp_path)
    empty_store(place.root / "runs.db")
    images = [each for each in SMALLEST if each.startswith("dataset.")]
    few = (
        "trainer=cpu",
        "tracking.figures=0",
        "model=otsu,kmeans",
        "model.channel@otsu=grey,0",
        "score.failure@kmeans=0.4",
    )
    result = train("-m", *images, *few, *place.overrides, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    keys = ("model.name", "model.channel", "score.failure")
    params = [tuple(run.data.params[key] for key in keys) for run in place.runs()[:3]]
    assert params == [("otsu", "grey", "0.5"), ("otsu", "0", "0.5"), ("kmeans", "auto", "0.4")]


@pytest.mark.slow  # minutes, of processes that each import all
def test_jobs_in_processes_of_their_own_are_told_of_and_compared_alike(tmp_path):
    """Two jobs that are done and one that fails, by joblib: one message, and the two are compared."""
    place = Place(tmp_path / "place")
    (tmp_path / "experiment").mkdir()
    for name, seed in {"a": 1, "b": 2}.items():
        says = {"defaults": [{"override /model": "otsu"}], "seed": seed, "dataset": PHANTOM}
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{OmegaConf.to_yaml(says)}")
    (tmp_path / "experiment/c.yaml").write_text("# @package _global_\ndefaults: [{override /dataset: blood}]\n")
    joblib = (f"--config-dir={tmp_path}", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    chosen = ("experiment=a,b,c", "trainer=cpu", f"paths.data={tmp_path}/nowhere", *place.overrides)
    result = train("-m", *joblib, *chosen, cwd=tmp_path, fresh=True)
    assert "experiment=c" in refused(result)
    assert result.stderr.count("error: ") == 1
    assert result.stderr.count("In job 3 of 3: ") == 1
    *runs, comparison = place.runs()
    assert {run.data.params["seed"] for run in runs} == {"1", "2"}
    (sweep,) = {run.data.tags["lamella.sweep"] for run in runs}
    assert (place.root / "outputs/sweeps" / sweep / "multirun.yaml").exists()
    assert comparison.data.tags["lamella.kind"] == "comparison"
    assert comparison.data.params["runs"].split() == [run.info.run_id for run in runs]


# A sweeper and a launcher of somebody else's, as Hydra finds them in an installed package.
TOY = """
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class Toy(Sweeper):
    def __init__(self, tries):
        self.tries = tries

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments):
        said = [each for each in arguments if "interval" not in each]
        for number in range(self.tries):
            (job,) = self.launcher.launch([[*said, f"inference.threshold={0.4 + number / 10}"]], initial_job_idx=number)
            print("given back", job.return_value)

ConfigStore.instance().store(group="hydra/sweeper", name="toy", node={"_target_": f"{__name__}.Toy", "tries": 2})
"""


def toy(*overrides, cwd):
    (cwd / "plugin/hydra_plugins").mkdir(parents=True, exist_ok=True)
    (cwd / "plugin/hydra_plugins/toy.py").write_text(TOY)
    path = os.pathsep.join([str(cwd / "plugin"), *filter(None, [ENVIRONMENT.get("PYTHONPATH")])])
    command = [sys.executable, str(TRAIN), "-m", "hydra/sweeper=toy", *overrides]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT | {"PYTHONPATH": path}, capture_output=True, text=True)


@pytest.mark.slow  # half a minute; what it checks before the first job is tested above
def test_another_sweeper_is_compared_alike(tmp_path):
    place = Place(tmp_path / "place")
    small = [each for each in SMALLEST if not each.startswith("model")]
    result = toy(*small, "model=otsu", *place.overrides, "inference.threshold=interval(0.1,0.9)", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    *runs, comparison = place.runs()
    given = [f"given back {run.data.metrics['test/dice']}" for run in runs]
    assert [line for line in result.stdout.splitlines() if line.startswith("given back")] == given
    assert [run.data.params["inference.threshold"] for run in runs] == ["0.4", "0.5"]
    assert comparison.data.params["runs"].split() == [run.info.run_id for run in runs]


# Bad input: each a job of one sweep, so that one process meets them all


def write(folder, part, name, size=(64, 64), value=255):
    """One image and its mask."""
    image, mask = folder / part / "original" / f"{name}.png", folder / part / "mask" / f"{name}.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(ord(name[0])).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(image)
    truth = np.zeros((size[1], size[0]), np.uint8)
    truth[10:30, 10:30] = value
    Image.fromarray(truth).save(mask)
    return image, mask


def whole(folder):
    """A sound data set in the layout of `blood`."""
    for part, names in (("train", "abcd"), ("test", "yz")):
        for name in names:
            write(folder, part, name)
    return folder


def bad_input(root):
    """name -> (data set, what an experiment file says, what the message must say)."""
    jobs = {}

    def data(name, *says, dataset="blood"):
        folder = root / name
        jobs[name] = (dataset, {"paths": {"data": str(folder)}}, says)
        return folder / dataset

    data("missing", f"{root}/missing/blood", "dataset=phantom_blood")
    file = whole(data("truncated", "truncated/blood/train/original/b.png cannot be read")) / "train/original/b.png"
    file.write_bytes(file.read_bytes()[:300])
    folder = whole(data("size", "size/blood/train/mask/b.png is 32x48 pixels", "train/original/b.png 64x64"))
    write(root, "other", "b", (32, 48))[1].replace(folder / "train/mask/b.png")
    folder = whole(data("values", "values/blood/test/mask/y.png holds unexpected values: 7 (400 px)", "0, 255"))
    write(folder, "test", "y", value=7)
    (whole(data("no_mask", "no_mask/blood/train/original/c.png without a mask")) / "train/mask/c.png").unlink()
    (whole(data("no_image", "blood/test/mask/z.png: a mask without an image")) / "test/original/z.png").unlink()
    for file in (whole(data("empty", "empty/blood/test/original is empty")) / "test/original").iterdir():
        file.unlink()
    folder = data("single", "1 training image(s) of 1 group(s) and 1 test image(s)", "at least two")
    write(folder, "train", "a")
    write(folder, "test", "z")
    (whole(data("text", "text/blood/train/original/d.png cannot be read")) / "train/original/d.png").write_text("hello")
    folder = data("tiff", "tiff/em/train-labels.tif is missing", dataset="em")
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "train-volume.tif", np.zeros((12, 64, 64), np.uint8), photometric="minisblack")

    def phantom(name, node, key, value, *says):
        jobs[name] = ("phantom_blood", {node: {key: value}}, says)

    (root / "file").write_text("in the way of a folder")
    (root / "garbage.db").write_text("no database " * 100)
    phantom("cache", "paths", "cache", f"{root}/file/cache", f"{root}/file/cache", "Not a directory")
    phantom("store", "tracking", "uri", f"sqlite:///{root}/file/runs.db", f"{root}/file", "tracking.uri")
    phantom("garbage", "tracking", "uri", f"sqlite:///{root}/garbage.db", "garbage.db", "not a database")
    phantom("artifacts", "tracking", "artifacts", f"{root}/file/x", f"{root}/file", "tracking.artifacts")
    phantom("server", "tracking", "uri", "http://127.0.0.1:9", "http://127.0.0.1:9", "refused")
    phantom("folder", "tracking", "uri", "mlruns", "tracking.uri=mlruns", "sqlite:///")
    phantom("weights", "model", "encoder_weights", f"{root}/no.pth", f"{root}/no.pth")
    phantom("encoder", "model", "encoder", "resnet17", "model.encoder=resnet17", "resnet18")
    return jobs


BAD = ["missing", "truncated", "size", "values", "no_mask", "no_image", "empty", "single", "text", "tiff",
       "cache", "store", "garbage", "artifacts", "server", "folder", "weights", "encoder"]  # fmt: skip


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Every kind of bad input met by one sweep: its result, what was asked for, and where."""
    root = tmp_path_factory.mktemp("bad")
    (root / "input").mkdir()
    (root / "experiment").mkdir()
    place, jobs = Place(root / "place"), bad_input(root / "input")
    for name, (dataset, content, _) in jobs.items():
        says = {"defaults": [{"override /dataset": dataset}, {"override /model": "unet"}, {"override /trainer": "cpu"}]}
        size = {"dataset": PHANTOM} if dataset == "phantom_blood" else {}
        text = OmegaConf.to_yaml(OmegaConf.merge(says, size, place.keys, content))
        (root / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}")
    output = f"paths.output={place.root}/outputs"  # a sweep's own folder is made before any job's file is read
    return train("-m", f"--config-dir={root}", f"experiment={','.join(BAD)}", output, cwd=root), jobs, place


def test_bad_input_is_all_met_and_leaves_no_run(bad):
    result, jobs, place = bad
    assert list(jobs) == BAD
    message = refused(result)
    assert message.count("error: ") == len(BAD)
    assert not (place.root / "runs.db").exists() or place.runs() == []


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_with_a_way_out(bad, name):
    result, jobs, _ = bad
    messages = [block.splitlines() for block in ("\n" + result.stderr).split("\nerror: ")[1:]]
    (message,) = [m for m in messages if any("In job " in line and f"experiment={name} " in line for line in m)]
    for say in jobs[name][2]:
        assert say in "".join(message)
    assert len(message) >= 3  # the problem, the way out, and whose job it was


# A run that does not come to its end


ENDED_BY = {"terminated": signal.SIGTERM, "interrupted": signal.SIGINT}


def until(process, text):
    """Reads what the process prints up to a line with `text`."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came: {process.stderr.read()}")


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Runs without end, disturbed in their first epochs: {name: (result, its only run)}."""
    root = tmp_path_factory.mktemp("broken")
    places = {name: Place(root / name) for name in ("terminated", "interrupted", "full", "damaged")}
    for place in places.values():
        empty_store(place.root / "runs.db")
    endless = [*(each for each in SMALLEST if "max_epochs" not in each), "trainer.max_epochs=100000"]
    endless.append("trainer.patience=null")
    sizes = {"full": 8 * 2**20}  # a checkpoint is larger
    running = {
        name: start(*endless, *place.overrides, f"data.workers={int(name in ENDED_BY)}", cwd=root,
                    file_size=sizes.get(name))
        for name, place in places.items()
    }  # fmt: skip
    for name, process in running.items():
        if name != "full":
            until(process, "epoch ")
        if name == "terminated":
            os.killpg(process.pid, signal.SIGTERM)  # as `timeout` and batch systems do
        if name == "interrupted":
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches the loaders, too
            time.sleep(0.2)
            os.killpg(process.pid, signal.SIGINT)  # an impatient user
        if name == "damaged":
            for file in (places[name].root / "cache/arrays").rglob("*.npy"):
                np.save(file.with_name("wrong.npy"), np.zeros(1, np.uint8))
                file.with_name("wrong.npy").replace(file)  # a file in use is left alone
    results = {name: end(process) for name, process in running.items()}
    return {name: (results[name], *places[name].runs()) for name in places}


@pytest.mark.parametrize("name", ENDED_BY)
def test_a_signal_ends_a_run_in_order(broken, name):
    result, run = broken[name]
    number = ENDED_BY[name]
    assert run.info.status == "KILLED"
    assert run.info.end_time
    assert result.returncode == 128 + number
    assert result.stderr.startswith(f"error: stopped by {number.name}"), result.stderr
    assert "Traceback" not in result.stderr
    assert "val/dice" in run.data.metrics  # what was done is kept


def test_a_full_disk_fails_the_run_and_is_named(broken):
    result, run = broken["full"]
    assert run.info.status == "FAILED"
    assert "File too large" in refused(result).splitlines()[0]
    assert "File too large" in (artifacts(run) / "error.txt").read_text()


def test_an_unforeseen_error_fails_the_run_and_shows_its_traceback(broken):
    result, run = broken["damaged"]
    assert run.info.status == "FAILED"
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    kept = (artifacts(run) / "error.txt").read_text()
    assert "Traceback" in kept
    assert run.data.tags["lamella.error"] in kept


# Python drops what a finalizer raises: here a signal is heard in one, and in `again` once more in ordinary code.
FINALIZER = """
import os, signal, sys, time, weakref
from lamella.cli.main import main
from lamella.cli.signals import heard

class Thing:
    pass

def job(cfg):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    try:
        del thing
        print("dropped", flush=True)
        if cfg.input == "again":
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        time.sleep(0.3)
        print("closed", flush=True)

with heard():
    main("tiff_to_png", job)
"""


@pytest.mark.parametrize("number", ["once", "again"])
def test_a_signal_is_not_lost_in_a_finalizer(tmp_path, number):
    (tmp_path / "job.py").write_text(FINALIZER)
    result = subprocess.run(
        [sys.executable, tmp_path / "job.py", f"input={number}", "output=x"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=50,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (130, "error: stopped by SIGINT\n")
    assert result.stdout == "dropped\nclosed\n"


# What is refused before anything runs: the same code in this process, for the sake of time


TOP = (
    "augment, data, dataset, dataset/split, debug, experiment, fail_fast, fresh, inference, literature, loss, model, "
    "optimizer, paths, plugins, recipe, resume, retry_failed, scheduler, score, seed, tracking, trainer."
)
SEED = "seed must be a whole number, at least 0 and at most 4294967295; got"
EPOCHS = "trainer.max_epochs must be a whole number, at least 1; got"
LR = "optimizer.lr must be a number, above 0; got"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("model=ternausnt", "there is no model 'ternausnt'\n  Did you mean ternausnet? Allowed: attention_r2unet, "),
        ("dataset=blod", "there is no dataset 'blod'\n  Did you mean blood? Allowed: "),
        ("model=", "there is no model ''\n  Allowed: "),
        ("model=null", "there is no model 'null'\n  Allowed: "),
        ("trainer=5", "there is no trainer '5'\n  Allowed: auto, cpu, debug, gpu."),
        ("experiment=nosuch", "there is no experiment 'nosuch'"),
        ("modle=unet", f"there is no key 'modle'\n  Did you mean model? Allowed: {TOP}"),
        ("experimnt=x", f"there is no key 'experimnt'\n  Did you mean experiment? Allowed: {TOP}"),
        ("modle.name=unet", f"there is no key 'modle.name'\n  Did you mean model? Allowed: {TOP}"),
        ("sed=1", f"there is no key 'sed'\n  Did you mean seed? Allowed: {TOP}"),
        ("optimizer.lrr=1",
         "there is no key 'optimizer.lrr' for optimizer=adamw\n  Did you mean lr? Allowed: lr, weight_decay."),
        ("trainer.max_epoch=1",
         "there is no key 'trainer.max_epoch' for trainer=auto\n  Did you mean max_epochs? Allowed: "),
        ("dataset=em dataset.splt.val=1", "there is no key 'dataset.splt.val'\n  Did you mean dataset.split.val=1?"),
        ("model=unet model.batch_norm=true",
         "there is no key 'model.batch_norm' for model=unet\n  Only others have it: model=attention_r2unet, "),
        ("hydra.rn=1", "there is no key 'hydra.rn'\n  `python train.py --hydra-help` explains"),
        ("+extra=1", "there is no key 'extra'\n  Allowed: augment, "),
        ("+trainer.extra=1", "there is no key 'trainer.extra'\n  Allowed: accelerator, "),
        ("+model.extra=1", "there is no key 'model.extra'\n  "),
        ("optimizer.lr=abc", f"{LR} 'abc'"),
        ("epochs=3", "there is no key 'epochs'\n  Did you mean trainer.max_epochs=3?"),
        ("lr=1e-3", "there is no key 'lr'\n  Did you mean optimizer.lr=1e-3?"),
        ("batch_size=8", "there is no key 'batch_size'\n  Did you mean data.batch_size=8?"),
        ("crop=128", "there is no key 'crop'\n  Did you mean data.crop=128?"),
        ("images=DIR", "there is no key 'images'\n  Did you mean dataset=folder dataset.images=DIR?"),
        ("dataset=folder masks=a~b", "there is no key 'masks'\n  Did you mean dataset.masks='a~b'?"),
        ("model=otsu encoder=resnet34", "there is no key 'encoder'\n  Did you mean model=deeplabv3plus model.encoder="),
        ("device=cuda", "there is no key 'device'\n  Did you mean trainer.accelerator=gpu?"),
        ("trainer.epochs=3", "there is no key 'trainer.epochs'\n  Did you mean trainer.max_epochs=3?"),
        ("dataset=folder dataset.imges=x",
         "there is no key 'dataset.imges' for dataset=folder\n  Did you mean images? "),
        ("seed=1 +seed=2", "seed is given twice: '1' and '2'\n  Leave one of them out."),
        ("model=unet model=otsu", "model is given twice: 'unet' and 'otsu'"),
        ("paths.data=", "paths.data must be a path; got ''"),
        ("dataset=folder dataset.images=", "dataset.images must be a path or null; got ''"),
        ("model=unet optimizer.lr@unet=1",
         "optimizer.lr=1 is to be set in the jobs of unet alone, and this is no sweep"),
        ("-m model=unet,otsu optimizer.lr@unett=1", "optimizer.lr=1 is for the jobs of unett alone, and there is none"),
        ("seed=abc", f"{SEED} 'abc'"),
        ("trainer.max_epochs=1.5", f"{EPOCHS} 1.5"),
        ("trainer.max_epochs=true", f"{EPOCHS} True"),
        ("data.crop=8", "data.crop must be a whole number, at least 16; got 8"),
        ("trainer.max_epochs.x=1", f"{EPOCHS} {{"),
        ("~trainer.ema", "trainer.ema: "),
        ("seed=1,2", "seed=1,2 is ambiguous\n  For a sweep put -m before it; for a list write 'seed=[1,2]'; for text "),
        ("model=unet,ternausnet", "model=unet,ternausnet is ambiguous\n  For a sweep put -m before it."),
        ("foo", "'foo' cannot be read: missing EQUAL at '<EOF>'\n  Write key=value or group=choice"),
        ("model.decoder_channels=[1", "'model.decoder_channels=[1' cannot be read: "),
        ("=3", "an override has no name before its =\n  Write key=value or group=choice."),
        ("--config-dir=/no/such/folder", "Additional config directory '/no/such/folder' not found"),
        ("-m seed=1,x", f"{SEED} 'x'"),
        ("-m optimizer.lr=0.1,-1", f"{LR} -1"),
        ("-m optimizer.lr=0.1,-1 hydra/launcher=joblib", f"{LR} -1"),
        ("hydra.mode=MULTIRUN optimizer.lr=0.1,-1", f"{LR} -1"),
        ("-m seed=range(1,1)", "seed=range(1,1): there is no such value"),
        ("-m optimizer.lr=interval(0.1,0.2)",
         "optimizer.lr=interval(0.1,0.2) has no end of values, and a sweep runs all"),
        ("-m +extra=1 seed=1,2", "there is no key 'extra'"),
        ("-m model=unet,nosuch", "there is no model 'nosuch'\n  Did you mean otsu? Allowed: attention_r2unet, "),
        ("-m model=ternausnet,unet model.batch_norm=true",
         "there is no key 'model.batch_norm' for model=unet\n  Only others have it: "),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line(main, tmp_path, arguments, message):
    place = Place(tmp_path / "place")
    code, _, stderr = main(*arguments.split(), *place.overrides)
    assert code == 1
    assert stderr.startswith(f"error: {message}"), stderr
    assert len(stderr.splitlines()) <= 3
    if arguments.startswith("-m ") and "batch_norm" in arguments:
        assert stderr.splitlines()[2].startswith("  In job 2 of 2: model=unet model.batch_norm=True ")
    if arguments.startswith("-m "):
        assert list(place.root.iterdir()) == []  # before job 0
    assert not (place.root / "runs.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "inference.threshold=interval(0.1,2)",
            "inference.threshold must be a number, above 0 and at most 0.999; got 2.0",
        ),
        ("seed=1,2 model=unet,nosuch", "there is no model 'nosuch'"),
        ("seed=1,2,3,4,5 model=unet,otsu,fcn optimizer.lr=0.1,-1", f"{LR} -1"),
    ],
)
def test_what_another_sweeper_may_try_is_checked_before_it_begins(main, arguments, message):
    nowhere = {"_target_": "hydra_plugins.nowhere.Sweeper"}  # known as an installed one is; it is never made
    ConfigStore.instance().store(group="hydra/sweeper", name="nowhere", node=nowhere)
    code, _, stderr = main("-m", "hydra/sweeper=nowhere", *arguments.split())
    assert code == 1
    assert stderr.startswith(f"error: {message}"), stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trainer: {max_epoch: 3}", "there is no key 'trainer.max_epoch' (in experiment/it)\n  Did you mean "),
        ("trainer: {max_epochs: three}", f"{EPOCHS} 'three' (in experiment/it)"),
        ("trainer: 3", "trainer must be a group of keys; got 3 (in experiment/it)"),
        ("model: 3", "model must be a group of keys; got 3 (in experiment/it)"),
        ("seed: {a: 1}", f"{SEED} {{'a': 1}} (in experiment/it)"),
        ("seed: null", f"{SEED} None (in experiment/it)"),
        ("trainr: {max_epochs: 3}", "there is no key 'trainr' (in experiment/it)\n  Did you mean trainer? "),
        ("optimizer: {lrr: 3}", "there is no key 'optimizer.lrr'\n  Did you mean lr? Allowed: lr, weight_decay."),
        ("optimizer: {lr: -3}", f"{LR} -3"),
        ("data: {crop: 8}", "data.crop must be a whole number, at least 16; got 8"),
        ("defaults: [{override /modl: unet}]", "there is no key 'modl'\n  Did you mean model? "),
        ("defaults: [{override /model: unett}]", "there is no model 'unett'\n  Did you mean unet? "),
        ("trainer: {max_epochs: 3", "{folder}/experiment/it.yaml, line 3: expected ',' or '}'"),
        ("loss: {_target_: os.system}", "loss._target_ names 'os.system', which is not Lamella's own"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_experiment_file(main, tmp_path, content, message):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/it.yaml").write_text(f"# @package _global_\n{content}\n")
    place = Place(tmp_path / "place")
    code, _, stderr = main(f"--config-dir={tmp_path}", "experiment=it", *place.overrides)
    assert code == 1
    assert stderr.startswith("error: " + message.replace("{folder}", str(tmp_path))), stderr
    assert len(stderr.splitlines()) <= 2
    assert not (place.root / "runs.db").exists()


def test_an_experiment_file_without_its_package_line(main, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/it.yaml").write_text("seed: 3\n")
    code, _, stderr = main(f"--config-dir={tmp_path}", "experiment=it")
    assert code == 1
    assert "Begin the file with the line `# @package _global_`." in stderr


def test_an_output_folder_that_cannot_be_made(main, tmp_path):
    (tmp_path / "file").write_text("in the way")
    others = [each for each in Place(tmp_path / "place").overrides if "output" not in each]
    code, _, stderr = main(*others, f"paths.output={tmp_path}/file/outputs")
    assert code == 1
    assert stderr.startswith(f"error: {tmp_path}/file/outputs")
    assert "`paths.output`" in stderr
    assert not (tmp_path / "place/runs.db").exists()


def test_a_server_needs_its_address(main):
    code, _, stderr = main("tracking=server")
    assert code == 1
    assert stderr == "error: tracking.uri has no value\n  Set it: tracking.uri=VALUE.\n"


def test_debug_shows_the_traceback_below_the_message(main):
    code, _, stderr = main("debug=true", "+extra=1")
    assert code == 1
    assert stderr.startswith("error: there is no key 'extra'")
    assert "Traceback" in stderr


def test_unknown_flags_are_hydras_own_affair(main):
    code, _, stderr = main("--nosuch")
    assert code == 2
    assert "--nosuch" in stderr


def test_a_pipe_that_closes_early_is_no_error():
    command = f"'{sys.executable}' '{TRAIN}' --help | head -n 1"
    result = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert result.stdout
    assert result.stderr == ""


# What answers at once


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"], ["--cfg", "job", "dataset=em", "model=unet"]])
def test_help_and_the_configuration_need_no_heavy_import(flags, tmp_path):
    command = [sys.executable, "-X", "importtime", str(TRAIN), *flags]
    result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "hydra" in imported
    assert imported.isdisjoint({"torch", "mlflow", "pytorch_lightning", "numpy", "scipy", "matplotlib"})
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_choice_and_every_key(main):
    code, stdout, _ = main("--help")
    assert code == 0
    for group in (path for path in (CHECKOUT / "conf").iterdir() if path.is_dir()):
        choices = sorted(path.stem for path in group.glob("*.yaml"))
        if choices:
            assert f"{group.name}: {', '.join(choices)}" in stdout
    assert "trainer.max_epochs" in stdout
    assert "python train.py dataset=blood model=ternausnet" in stdout
    assert "$" not in stdout.replace("${", "")  # every place of the template is filled


def test_the_shown_configuration_is_the_one_that_runs(main):
    code, stdout, _ = main("--cfg", "job", "dataset=em", "seed=7")
    assert code == 0
    shown = OmegaConf.create(stdout)
    assert (shown.dataset.name, shown.seed) == ("em", 7)
