"""Masks made elsewhere: scored as the method that made them, and beside the others in a comparison."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from lamella import tracking
from lamella.commands import compare, score
from lamella.errors import ConfigError, DataError
from lamella.evaluation import error_maps
from lamella.reporting.cohorts import cohorts


def found_by(run):
    """The class ids that a run's method found, by the ids of the test images."""
    codes = {
        row.id: error_maps.read_error_map(run.fetch(f"outcomes/{row.case}.png")) for row in run.scores().itertuples()
    }
    return {name: np.isin(each, (1, 2)).astype(np.uint8) for name, each in codes.items()}


def written(folder, masks, *, suffix="", kind="png"):
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        Image.fromarray(mask).save(folder / f"{name}{suffix}.{kind}")
    return folder


def scored(composed, *overrides):
    """A run of `score`, read back."""
    configured = composed("score", *overrides)
    score.run(configured)
    return tracking.finished(configured.tracking.uri)[-1]


@pytest.fixture(scope="module")
def otsu(runs):
    return runs[2]


@pytest.fixture(scope="module")
def masks(otsu):
    return found_by(otsu)


@pytest.fixture(scope="module")
def again(otsu, masks, composed, root):
    """Otsu's own masks, as another program would leave them: among other files, with names of its own."""
    folder = written(root / "elsewhere", {k: 255 * v for k, v in masks.items()}, suffix="_cp_masks")
    written(folder / "more", {"training": np.zeros((9, 9), np.uint8)})
    (folder / "a_seg.npy").write_bytes(b"of another program")
    return scored(composed, f"masks={folder}", "masks_suffix=_cp_masks", "name=elsewhere", f"run={otsu.run_id}")


def test_the_scores_of_its_own_masks_are_a_methods_own_to_the_last_bit(otsu, again):
    own = {name: value for name, value in otsu.metrics.items() if name.startswith("test/") and name != "test/threshold"}
    assert len(own) > 100
    assert {name: again.metrics.get(name) for name in own} == own
    for name in ("scores/test.csv", "scores/cells.csv"):
        assert again.fetch(name).read_bytes() == otsu.fetch(name).read_bytes()
    assert again.fetch("outcomes/0000.png").read_bytes() == otsu.fetch("outcomes/0000.png").read_bytes()
    for name in ("data/split.json", "data/manifest.json"):
        assert json.loads(again.fetch(name).read_text()) == json.loads(otsu.fetch(name).read_text())
    assert again.experiment == otsu.experiment
    assert not {"test/threshold", "model/parameters", "time/test_images_per_s"} & again.metrics.keys()
    assert not any("calibration" in name for name in again.metrics)
    kept = json.loads(again.fetch("data/masks.json").read_text())
    assert [row["file"] for row in kept] == [f"{row.id}_cp_masks.png" for row in again.scores().itertuples()]


def test_they_stand_beside_runs_of_any_device_and_threshold(uri, runs, otsu, again, composed, capsys):
    assert {*json.loads(otsu.tags["lamella.protocol"])} - {*json.loads(again.tags["lamella.protocol"])} == {
        *("device", "precision", "threshold", "tiles")
    }
    (cohort,), notes = cohorts([*runs, again])
    assert not notes
    assert [(each.label, each.deterministic) for each in cohort.methods] == [
        *(("unet", False), ("otsu", True), ("elsewhere", True)),
    ]
    compare.run(composed("compare", f"runs=[{again.run_id},{otsu.run_id}]"))
    assert "elsewhere" in capsys.readouterr().out
    kept = tracking.finished(uri)[-1]
    table = pd.read_csv(kept.fetch("phantom_blood/table.csv"))
    assert table.dice.nunique() == 1
    assert table.deterministic.all()


def test_runs_of_other_data_are_no_company(runs, again):
    def with_protocol(run, **changed):
        tags = dict(run.tags)
        tags["lamella.protocol"] = json.dumps(json.loads(tags["lamella.protocol"]) | changed)
        return tracking.FinishedRun(**{**vars(run), "tags": tags})

    of_gpu = [with_protocol(run, device="cuda", precision="bf16-mixed") for run in runs[:2]]
    found, _ = cohorts([*of_gpu, runs[2], again])
    assert [[method.label for method in each.methods] for each in found] == [
        ["unet", "elsewhere"],
        ["otsu", "elsewhere"],
    ]
    elsewhere = [with_protocol(run, data="other") for run in runs]
    found, _ = cohorts([*elsewhere, again])
    assert [[method.label for method in each.methods] for each in found] == [["unet", "otsu"], ["elsewhere"]]


def test_label_images_are_the_cells_themselves(otsu, masks, composed, root, capsys):
    """What touches is told apart by its ids alone, and a class mask of them is the foreground."""
    labels = {name: ndimage.label(mask, np.ones((3, 3)))[0].astype(np.uint16) for name, mask in masks.items()}
    for each in labels.values():  # every cell in two halves, which touch
        number, columns = each.max(), np.arange(each.shape[1])
        each[(each > 0) & (columns % 10 < 5)] += number
    folder = written(root / "labels", labels)
    run = scored(composed, f"masks={folder}", "name=halves", f"run={otsu.run_id}", "instances=true")
    assert "each value is one object" in " ".join(capsys.readouterr().out.split())
    table, own = run.scores(), otsu.scores()
    assert (table.dice == own.dice).all()
    sizes = [np.bincount(labels[name].ravel())[1:] for name in table.id]
    assert table["count/found"].tolist() == [(each > 0).sum() for each in sizes]
    assert (table["count/found"] > own["count/found"]).all()


def test_what_is_missing_or_of_another_size_is_refused(otsu, masks, composed, root, tmp_path):
    def refused(*overrides, kind=DataError):
        with pytest.raises(kind) as caught:
            score.run(composed("score", "name=elsewhere", *overrides))
        return caught.value

    run = f"run={otsu.run_id}"
    known = len(tracking.finished(composed("score", "name=a", "masks=b").tracking.uri))
    ended = refused(run, f"masks={root / 'elsewhere'}")
    assert ended.problem.startswith("4 of 4 test images have no mask in")
    assert ended.remedy == "Did you mean `masks_suffix=_cp_masks`? It finds 4 of 4."
    some = shutil.copytree(root / "elsewhere", tmp_path / "some")
    name = next(iter(masks))
    (some / f"{name}_cp_masks.png").unlink()
    lacking = refused(run, f"masks={some}", "masks_suffix=_cp_masks")
    assert lacking.problem == f"1 of 4 test images have no mask in {some} that ends in _cp_masks: {name}"
    Image.fromarray(masks[name][::2, ::2]).save(some / f"{name}_cp_masks.png")
    small = refused(run, f"masks={some}", "masks_suffix=_cp_masks")
    assert small.problem.startswith(f"{some / f'{name}_cp_masks.png'} is 48x32, its image ")
    assert small.problem.endswith(" 96x64")
    assert refused(run, f"masks={tmp_path / 'none'}").problem == f"{tmp_path / 'none'} is missing"
    assert refused(f"masks={some}", kind=ConfigError).problem == "which images the masks are of is not said"
    assert refused(run, "dataset=phantom_blood", f"masks={some}", kind=ConfigError).problem.startswith(
        "run and dataset"
    )
    assert len(tracking.finished(composed("score", "name=a", "masks=b").tracking.uri)) == known
