"""A finished run run again: the same to the last bit, or refused by name, or said to differ."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from lamella import tracking
from lamella.commands import reproduce, train
from lamella.commands.reproduce import compared
from lamella.config.check import check
from lamella.config.kept import kept_configuration
from lamella.config.paths import CHECKOUT
from lamella.config.schema import Reproduce
from lamella.errors import ConfigError, DataError
from lamella.reporting import cohorts
from lamella.tracking.provenance import source_differences
from support import processes


@pytest.fixture(autouse=True)
def _threads():
    yield
    torch.set_num_threads(1)


@pytest.fixture
def again(composed):
    """Runs one run again: whether it came out the same."""

    def call(run_id, *overrides):
        return reproduce.run(composed("reproduce", f"run={run_id}", *overrides))

    return call


@pytest.fixture
def command(root, uri):
    """The command as it is typed: how it ended, and what it printed."""
    places = [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.uri={uri}"]

    def call(run_id, *overrides):
        script = CHECKOUT / "scripts" / "reproduce.py"
        return processes.run(script, f"run={run_id}", *places, *overrides, cwd=root)

    return call


def latest(uri, run_id):
    """The run that was made of a run."""
    of_it = f"tags.`lamella.reproduces` = '{run_id}'"
    return tracking.finished(uri, where=of_it)[-1]


def test_a_network_is_trained_to_the_same_bits(uri, runs, command):
    done = command(runs[0].run_id)
    assert done.returncode == 0, done.stderr
    assert f"Run {runs[0].run_id} was reproduced: all" in done.stdout
    assert "All 4 test images have the same" in done.stdout
    made = latest(uri, runs[0].run_id)
    assert made.metrics["test/dice"] == runs[0].metrics["test/dice"]
    assert made.curve().equals(runs[0].curve())
    assert made.tags["lamella.kind"] == "reproduction"
    assert made.tags["mlflow.parentRunId"] == runs[0].run_id
    assert made.tags["lamella.protocol"] == runs[0].tags["lamella.protocol"]
    assert "lamella.job" not in made.tags  # a sweep must not take it for one of its own
    log = made.fetch("train.log").read_text()
    assert re.match(rf"# [\d-]{{10}} [\d:]{{8}}  python scripts/reproduce\.py run={runs[0].run_id}\n", log)
    assert f"run {made.run_id}" in log.splitlines()
    assert "test/dice" in log


def test_it_is_no_further_seed(uri, runs, again):
    before = [(method.label, [run.seed for run in method.runs]) for method in cohorts(runs)[0][0].methods]
    assert again(runs[2].run_id)  # Otsu's method
    own = {run.run_id for run in runs}  # other tests keep theirs there, too
    stored = tracking.finished(uri, experiment="smears")
    found = [run for run in stored if run.run_id in own or run.tags.get("lamella.reproduces") in own]
    assert len(found) > len(runs)
    kept, notes = cohorts(found)
    assert [(method.label, [run.seed for run in method.runs]) for method in kept[0].methods] == before
    assert not notes


@pytest.mark.slow  # seconds by the dozen
def test_a_run_that_cannot_be_made_of_what_it_keeps_differs(runs, command):
    """As if a run told of another's seed."""
    file = runs[1].fetch("config.yaml")
    stored = Path(urlparse(runs[1].client.get_run(runs[1].run_id).info.artifact_uri).path) / "config.yaml"
    before = file.read_text()
    stored.write_text(before.replace("\nseed: 2\n", "\nseed: 9\n"))
    done = command(runs[1].run_id)
    stored.write_text(before)
    assert done.returncode == 1
    assert not done.stderr
    assert f"Run {runs[1].run_id} was not reproduced" in done.stdout
    assert "test images differ" in done.stdout


def test_metrics_are_compared_step_by_step(runs):
    rows = {row.name: row for row in compared(runs[0], runs[1], 0)}
    assert not rows["train/loss"].same
    curves = [run.curve()["train/loss"] for run in runs[:2]]
    assert rows["train/loss"].difference == (curves[0] - curves[1]).abs().max()
    assert rows["test/dice"].difference == abs(runs[0].metrics["test/dice"] - runs[1].metrics["test/dice"])
    assert not any(name.startswith("time/") for name in rows)
    assert all(row.judged for row in rows.values())
    judged = {row.name: row.same for row in compared(runs[0], runs[1], 1) if row.judged}
    assert judged == {f"test/{name}": True for name in ("dice", "iou", "accuracy", "pixel_error")}
    assert not any(row.same for row in compared(runs[0], runs[2], 0) if row.name == "val/loss")  # Otsu's has none


# Of a folder of images that somebody has


@pytest.fixture(scope="module")
def folder(root):
    place = root / "scans of mine"
    rng = np.random.default_rng(1)
    for number in range(10):
        mask = np.zeros((48, 48), np.uint8)
        y, x = rng.integers(4, 28, 2)
        mask[y : y + 16, x : x + 16] = 255
        image = np.clip(150 - 80 * (mask > 0) + rng.normal(0, 12, mask.shape), 0, 255).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (place / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / kind / f"s{number}.png")
    return place


@pytest.fixture(scope="module")
def otsu(uri, folder, composed):
    """A run of a method without training on the folder."""
    where = [f"dataset.images='{folder}/images'", f"dataset.masks='{folder}/masks'", "dataset.split.test=0.3"]
    few = ["augment=none", "trainer=cpu", "tracking.figures=0", "tracking.experiment=scans", "model=otsu"]
    return train.run(composed("train", "dataset=folder", *where, *few)).run_id


@pytest.mark.slow  # seconds by the dozen
def test_a_folder_is_taken_as_it_was(otsu, again):
    assert again(otsu)


def test_one_changed_pixel_is_refused_by_name(otsu, folder, again):
    place = folder / "images" / "s3.png"
    before = place.read_bytes()
    pixels = np.array(Image.open(place))
    pixels[5, 7] += 1
    Image.fromarray(pixels).save(place)
    with pytest.raises(DataError, match=r"images/s3\.png: not the image that run \w+ was made with") as refused:
        again(otsu)
    assert "manifest.json" in refused.value.remedy
    place.write_bytes(before)


def test_what_is_missing_or_new_is_named(otsu, folder, again):
    for kind in ("images", "masks"):
        shutil.move(folder / kind / "s4.png", folder / f"{kind}.png")
    with pytest.raises(DataError, match=r"s4\.png is missing: run \w+ was made with it"):
        again(otsu)
    for kind in ("images", "masks"):
        shutil.copy(folder / f"{kind}.png", folder / kind / "s4.png")
        shutil.copy(folder / f"{kind}.png", folder / kind / "extra.png")
    with pytest.raises(DataError, match=r"images/extra\.png is new: run \w+ was made without it"):
        again(otsu)
    for kind in ("images", "masks"):
        (folder / kind / "extra.png").unlink()


def test_data_may_have_moved_with_their_folder(uri, root, otsu, composed):
    kept = tracking.read(uri, otsu)
    wanted = check(composed("reproduce", f"run={otsu}", f"paths.data={root}/elsewhere"), Reproduce)
    config = {"dataset": {"root": "/then/blood", "cache": "/cache/arrays"}, "trainer": {"x": "/then"}}
    moved = reproduce._moved(config, {"data": "/then", "cache": "/cache"}, {"data": "/now", "cache": "/c"})
    assert moved == {"dataset": {"root": "/now/blood", "cache": "/c/arrays"}, "trainer": {"x": "/now"}}
    assert reproduce.configuration(wanted, kept)["dataset"]["cache"] == f"{root}/cache/arrays"


def test_what_trained_nothing_is_refused(uri, again, runs):
    with tracking.start(
        uri=uri, artifacts=None, experiment="smears", run_name="x", params={}, tags={"lamella.kind": "comparison"},
        output=runs[0].fetch("config.yaml").parent,
    ) as made:  # fmt: skip
        pass
    with pytest.raises(ConfigError, match="kind 'comparison'"):
        again(made.run_id)


def test_differences_of_source_and_packages_are_said(runs):
    tags = runs[0].tags
    packages = runs[0].fetch("environment.txt").read_text()
    change = runs[0].fetch("git.diff").read_text()
    assert not source_differences(tags, tags, packages, change)
    lines = packages.splitlines()
    old = ["torch==1.0" if line.startswith("torch==") else line for line in lines if not line.startswith("rich==")]
    old = [*old, "gone==3.1"]
    then = tags | {"lamella.version": "0.0.1", "lamella.source": "0"}
    first, second, third = source_differences(tags, then, "\n".join(old), change)
    assert "version" in first
    assert "then 0.0.1" in first
    assert second.startswith("packages that compute are others: torch ")
    assert "then 1.0" in second
    assert "gone not there, then 3.1" in third
    assert "rich" in third


def test_what_was_kept_before_there_were_keys_is_made_whole(runs, tmp_path):
    whole = OmegaConf.to_container(OmegaConf.load(runs[0].fetch("config.yaml")))
    older = json.loads(json.dumps(whole))
    for key in ("resume", "fresh", "retry_failed", "fail_fast"):
        del older[key]
    for group, key in (("trainer", "minutes"), ("tracking", "offline"), ("dataset", "cache"), ("augment", "blur")):
        del older[group][key]
    del older["tracking"]["keep_last"], older["inference"]["overlap"], older["model"]["encoder"]
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(older))
    made = kept_configuration(tmp_path / "config.yaml")
    assert made == whole | {"dataset": made["dataset"], "augment": made["augment"]}
    assert made["augment"]["blur"] == 0
    assert set(made["dataset"]) == set(whole["dataset"])
