"""Predict, correct, train again: real commands in processes of their own, on phantoms of blood."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tifffile
from mlflow import MlflowClient
from tests.commands.conftest import TINY, UNET

from lamella import tracking
from lamella.config.paths import CHECKOUT
from lamella.data.datasets.phantom import write_blood
from support import predicted as edit
from support import processes

TRAIN, PREDICT, EVALUATE, COMPARE = (
    CHECKOUT / name for name in ("train.py", *(f"scripts/{n}.py" for n in ("predict", "evaluate", "compare")))
)


@pytest.fixture(scope="module")
def places(root: Path) -> list[str]:
    return [f"paths.cache={root}/cache", f"paths.output={root}/outputs"]


@pytest.fixture(scope="module")
def found(root: Path, uri: str, runs: Any, places: list[str]) -> tuple[Path, str]:
    """What a network finds in four new smears, and its run; of two of them the masks are corrected."""
    run = next(run.run_id for run in runs if run.params["model.name"] == "unet")
    write_blood(root / "other smears", seed=77, train=4, test=1, height=64, width=96)
    folder = root / "found"
    done = processes.run(
        PREDICT, f"run={run}", f"input={root}/other smears/train/original", f"output={folder}", "geojson=true",
        "rois=true", f"tracking.uri={uri}", f"paths.cache={root}/cache", "accelerator=cpu", cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert re.search(
        rf"python train\.py dataset=phantom_blood .* dataset\.corrected={folder} model\.init_from={run}\n", done.stdout
    )
    first, second = sorted(folder.glob("*_labels.tif"))[:2]
    values = tifffile.imread(first)
    values[10:20, 10:30] = 1
    edit.of_napari(first, values)
    outlines = second.with_name(second.name.replace("_labels.tif", ".geojson"))
    held = json.loads(outlines.read_text())
    held["features"] = held["features"][1:]  # as QuPath saves them: one was deleted, one was drawn
    edit.of_qupath(outlines.with_name("drawn.geojson"), [("cell", edit.box(40, 60, 52, 72))])
    held["features"] += json.loads(outlines.with_name("drawn.geojson").read_text())["features"]
    outlines.with_name("drawn.geojson").unlink()
    outlines.write_text(json.dumps(held))
    return folder, run


def test_corrected_masks_train_in_one_command_and_the_manifest_says_which(
    root: Path, uri: str, found: tuple[Path, str], places: list[str], runs: Any
) -> None:
    folder, network = found
    store = [f"tracking.uri={uri}", f"tracking.artifacts={root}/artifacts"]
    done = processes.run(
        TRAIN, *TINY, *UNET, *places, *store, "dataset.corrected=found", f"model.init_from={network}",
        "score.choose_threshold=true", "seed=1", cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "2 of 4 predictions in found were corrected by hand: these train; 2 untouched ones do not" in said
    run = re.search("run ([0-9a-f]{32})", done.stdout)[1]  # type: ignore[index]
    new = tracking.read(uri, run)
    rows = [row for row in json.loads(new.fetch("data/manifest.json").read_text()) if "origin" in row]
    assert [(row["role"], row["origin"], row["corrected"]) for row in rows] == [("train", "corrected", True)] * 2
    assert {row["mask"]["file"].partition(".")[2] for row in rows} == {"tif", "geojson"}
    assert [row["networks"] for row in rows] == [[network]] * 2
    before = json.loads((folder / "predictions.json").read_text())["sha256"]
    assert all(row["predicted_sha256"] == before[row["mask"]["file"]] != row["mask"]["sha256"] for row in rows)
    assert new.tags["lamella.corrected"].startswith("2 masks, ")

    # Validation and test are what they were, so the two compare.
    old = tracking.read(uri, network)
    assert old.tags["lamella.protocol"] == new.tags["lamella.protocol"]
    assert old.tags["lamella.data_sha256"] != new.tags["lamella.data_sha256"]
    assert json.loads(old.fetch("data/split.json").read_text()) == json.loads(new.fetch("data/split.json").read_text())
    assert "(2 of them predictions that a person corrected or accepted)" in new.fetch("data/card.json").read_text()
    assert "train, corrected by hand" in new.fetch("data/audit.html").read_text()

    done = processes.run(EVALUATE, f"run={run}", f"tracking.uri={uri}", *places, cwd=root)
    assert done.returncode == 0, done.stderr
    assert re.search(r"All \d+ scores are the run's own, to the last bit", " ".join(done.stdout.split()))
    done = processes.run(
        COMPARE, f"runs=[{network},{run}]", f"tracking.uri={uri}", f"output={root}/of_corrected", cwd=root
    )
    assert done.returncode == 0, done.stderr
    table = next((root / "of_corrected").rglob("table.csv")).read_text()
    assert re.search(r"unet.* corrected=none", table)
    assert re.search(r"unet.* corrected=2 masks, [0-9a-f]{8}", table)
    MlflowClient(uri).delete_run(run)  # other tests count the runs of this store
