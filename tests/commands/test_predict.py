"""New images segmented by a finished run: what is written, what is kept, and that nothing is lost or mixed."""

import csv
import hashlib
import os
import signal
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella import tracking
from lamella.commands import predict, score
from lamella.config.paths import CHECKOUT
from lamella.data import predictions
from lamella.errors import ConfigError, DataError, LamellaError, StorageError
from lamella.inference import checkpoint
from lamella.model import Model
from support import processes

SCRIPT = CHECKOUT / "scripts" / "predict.py"
SIZE = (64, 96)


@pytest.fixture(scope="module")
def run(runs):
    """One seed of a network."""
    return runs[0]


@pytest.fixture(scope="module")
def best(uri, run):
    return tracking.checkpoint(uri, run.run_id)


@pytest.fixture(scope="module")
def smear():
    """A picture that the network knows what to make of."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cells = ((y - 20) ** 2 + (x - 25) ** 2 < 150) | ((y - 40) ** 2 + (x - 70) ** 2 < 200)
    picture = np.where(cells[..., None], (150, 90, 110), (220, 215, 225)) + rng.normal(0, 4, (*SIZE, 3))
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "found"


@pytest.fixture
def go(composed, run, raw, out):
    """Predicts `raw` into `out`, in this process."""

    def go(*overrides, **keys):
        keys = {"input": raw, "output": out, "run": run.run_id, "axes": "null", **keys}
        quoted = [f"{key}='{value}'" if key in ("input", "output") else f"{key}={value}" for key, value in keys.items()]
        predict.run(composed("predict", *quoted, *overrides))

    return go


def held(folder):
    """Every file of a folder, with its bytes and when it was changed."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".predict" not in path.parts]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 2])  # a network, and Otsu's method
def test_a_runs_own_test_images_give_its_scores_to_the_last_bit(composed, runs, root, go, out, which):
    run = runs[which]
    (folder,) = (root / "cache").glob("phantom_blood-*/test/original")
    go(input=folder, run=run.run_id)
    score.run(composed("score", f"masks={out}", "masks_suffix=_labels", "name=again", f"run={run.run_id}"))
    again = tracking.finished(f"sqlite:///{root}/runs.db")[-1]
    assert again.run_id != run.run_id
    own = {
        name: value
        for name, value in run.metrics.items()
        if name.startswith("test/") and name != "test/threshold" and "calibration" not in name
    }
    assert len(own) > 90
    assert {name: again.metrics.get(name) for name in own} == own
    counts = {row["name"]: int(row["objects"]) for row in table(out / "images.csv")}
    assert counts == dict(run.scores().set_index("id")["watershed/count/found"])


def test_all_that_is_written(go, raw, out, smear, best):
    tifffile.imwrite(raw / "a.tif", smear, photometric="rgb", resolution=(40_000, 40_000), resolutionunit=3)
    (raw / "sub").mkdir()
    Image.fromarray(smear[::-1]).save(raw / "sub" / "b.png")
    (raw / "notes.txt").write_text("x")
    go("probability=true", "uncertainty=true", "tta=true", "geojson=true", "rois=true")
    ends = (
        "_labels.tif",
        "_objects.tif",
        "_probability.tif",
        "_uncertainty.tif",
        "_overlay.png",
        ".geojson",
        "_rois.zip",
    )
    files = {name + end for name in ("a", "sub/b") for end in ends}
    assert held(out).keys() == files | {"images.csv", "objects.csv", "index.html", "predictions.json"}
    probability, labels = (tifffile.imread(out / f"a_{kind}.tif") for kind in ("probability", "labels"))
    threshold = checkpoint.load(best).segmenter.inference.threshold
    assert np.array_equal(labels, probability > threshold)
    assert labels.any()
    objects = tifffile.imread(out / "a_objects.tif")
    rows = [row for row in table(out / "objects.csv") if row["name"] == "a"]
    assert [int(row["object"]) for row in rows] == [*range(1, objects.max() + 1)]
    image = {row["name"]: row for row in table(out / "images.csv")}["a"]
    assert int(image["area_cell_px"]) == labels.sum()
    assert float(image["area_cell_um2"]) == pytest.approx(labels.sum() / 16)
    assert int(image["objects"]) == objects.max()
    told = predictions.read(out)
    assert [str(each.image.path) for each in told.pictures] == [str(raw / "a.tif"), str(raw / "sub" / "b.png")]
    assert {*told.sha256} == files
    for name, hash_ in told.sha256.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == hash_
    for kind, values in told.pictures[0].values.items():
        assert values == predictions.values_sha256(tifffile.imread(out / f"a_{kind}.tif"), kind)
    page = (out / "index.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "1 *.txt" in page


def test_labels_are_those_of_the_model(go, raw, out, smear, best):
    Image.fromarray(smear).save(raw / "a.png")
    go()
    assert np.array_equal(tifffile.imread(out / "a_labels.tif"), Model(best).segment(smear))


def test_a_stack_stays_one(go, raw, out, smear):
    stack = np.stack([smear, smear[::-1], smear[:, ::-1]])
    notes = {"axes": "ZYXS", "unit": "um", "spacing": 2.0}
    tifffile.imwrite(raw / "z.tif", stack, imagej=True, resolution=(4, 4), metadata=notes)
    go("probability=true")
    for kind in ("labels", "objects", "probability"):
        with tifffile.TiffFile(out / f"z_{kind}.tif") as file:
            assert (file.series[0].axes, file.series[0].shape) == ("ZYX", (3, *SIZE))
            assert (file.imagej_metadata["spacing"], file.pages[0].resolution) == (2.0, (4, 4))
    assert [row["page"] for row in table(out / "images.csv")] == ["0", "1", "2"]
    assert {row["page"] for row in table(out / "objects.csv")} == {"0", "1", "2"}
    pages = predictions.read(out).pictures
    assert [(each.page, each.image.page) for each in pages] == [(0, 0), (1, 1), (2, 2)]


def test_an_ensemble_is_not_its_first_network(go, runs, raw, out, smear, tmp_path):
    Image.fromarray(smear).save(raw / "a.png")
    go("probability=true", "uncertainty=true", run="null", runs=f"[{runs[0].run_id},{runs[1].run_id}]")
    alone = [tmp_path / "one", tmp_path / "two"]
    for each, run in zip(alone, runs[:2], strict=True):
        go("probability=true", run=run.run_id, output=each)
    mean = np.mean([tifffile.imread(each / "a_probability.tif") for each in alone], axis=0)
    assert np.allclose(tifffile.imread(out / "a_probability.tif"), mean, atol=1e-6)
    assert predictions.read(out).networks == (runs[0].run_id, runs[1].run_id)


def test_the_size_of_a_pixel_that_is_said(go, raw, out, smear):
    Image.fromarray(smear).save(raw / "a.png")
    go(spacing_nm="[500,250]")
    with tifffile.TiffFile(out / "a_labels.tif") as file:
        assert file.pages[0].resolution == (4, 2)
    (row,) = table(out / "images.csv")
    assert float(row["area_cell_um2"]) == pytest.approx(int(row["area_cell_px"]) / 8)


# --- what cannot be done --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"uncertainty": "true"}, "one view of one network"),
        ({"challenge": "true"}, "membranes"),
        ({"input": "/nowhere.tif"}, "there is no /nowhere.tif"),
    ],
)
def test_what_cannot_be_is_said_before_anything(go, raw, out, smear, keys, said):
    Image.fromarray(smear).save(raw / "a.png")
    with pytest.raises(LamellaError, match=said):
        go(**keys)
    assert not out.exists()


def test_a_method_without_training_has_no_probabilities(go, runs, raw, out, smear):
    Image.fromarray(smear).save(raw / "a.png")
    with pytest.raises(ConfigError, match="masks alone"):
        go("probability=true", run=runs[2].run_id)
    go(run=runs[2].run_id)
    assert table(out / "images.csv")[0]["mean_probability"] == ""


def test_failing_files_are_told_and_the_others_go_on(go, raw, out, smear, capsys):
    for name in ("a", "z"):
        Image.fromarray(smear).save(raw / f"{name}.png")
    (raw / "b.tif").write_bytes(b"")
    (raw / "c.png").write_bytes((raw / "a.png").read_bytes()[:300])
    Image.fromarray(smear[..., 0]).save(raw / "grey.png")
    np.save(raw / "few.npy", np.zeros((3, *SIZE), np.uint8))
    (raw / "x.czi").write_text("x")
    (raw / "=1[bold]\n.tif").write_text("x")
    with pytest.raises(DataError, match="6 of 8 files could not be predicted") as error:
        go()
    printed = capsys.readouterr().out
    for name in ("b.tif", "c.png", "grey.png", "few.npy", "x.czi", "=1[bold]"):
        assert name in error.value.remedy
        assert sum("failed: " in line and name in line for line in printed.splitlines()) == 1
    assert "dataset.axes" not in str(error.value)
    assert {path.name for path in out.glob("*_labels.tif")} == {"a_labels.tif", "z_labels.tif"}
    assert [row["name"] for row in table(out / "images.csv")] == ["a", "z"]
    page = (out / "index.html").read_text()
    assert "x.czi" in page
    assert not (out / ".predict" / "work").exists()


# --- a second call --------------------------------------------------------------------------------------------------


def test_what_is_finished_is_kept_and_what_changed_is_done_again(go, raw, out, smear, capsys):
    for name in ("a", "b", "c"):
        Image.fromarray(smear).save(raw / f"{name}.png")
    go()
    first = held(out)
    Image.fromarray(smear[::-1]).save(raw / "b.png")
    (out / "c_overlay.png").unlink()
    Image.fromarray(smear).save(raw / "d.png")
    capsys.readouterr()
    go()
    printed = capsys.readouterr().out
    assert "again: b, the image is another one" in printed
    assert "again: c, c_overlay.png is missing" in printed
    second = held(out)
    assert {name for name in first if name[:2] in ("a_",)} == {
        name for name in second if second[name] == first.get(name)
    }
    assert second.keys() - first.keys() == {f"d{end}" for end in ("_labels.tif", "_objects.tif", "_overlay.png")}
    assert [row["name"] for row in table(out / "images.csv")] == ["a", "b", "c", "d"]
    go("probability=true")
    assert (out / "a_probability.tif").exists()


@pytest.mark.slow  # seconds by the dozen
def test_an_edited_mask_is_never_replaced(go, raw, out, smear, capsys):
    for name in ("a", "b"):
        Image.fromarray(smear).save(raw / f"{name}.png")
    go()
    tifffile.imwrite(out / "b_labels.tif", np.ones(SIZE, np.uint8))
    before = held(out)
    go()
    assert "kept as edited: b_labels.tif" in capsys.readouterr().out
    assert held(out)["b_labels.tif"] == before["b_labels.tif"]
    for overrides in (["overwrite=true"], ["probability=true"]):
        with pytest.raises(StorageError, match=r"b_labels\.tif in .* was edited"):
            go(*overrides)
    assert held(out)["b_labels.tif"] == before["b_labels.tif"]
    (out / "b_labels.tif").unlink()
    go("overwrite=true")
    assert not np.array_equal(tifffile.imread(out / "b_labels.tif"), np.ones(SIZE))


@pytest.mark.slow  # seconds by the dozen
def test_other_networks_and_inputs_are_not_mixed(go, runs, raw, out, smear, tmp_path):
    Image.fromarray(smear).save(raw / "a.png")
    go()
    before = held(out)
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(smear).save(other / "a.png")
    Image.fromarray(smear).save(other / "b.png")
    for overrides, keys, said in (
        ([], {"run": runs[1].run_id}, r"other settings \(networks\)"),
        (["tta=true"], {}, r"other settings \(views\)"),
        ([], {"input": other}, "was made of"),
        (["tta=true", "overwrite=true"], {"input": other / "b.png"}, "other settings"),
    ):
        with pytest.raises(ConfigError, match=said):
            go(*overrides, **keys)
    assert held(out) == before
    go("overwrite=true", run=runs[1].run_id)
    assert predictions.read(out).networks == (runs[1].run_id,)


def test_files_of_others_are_not_replaced(go, raw, smear):
    Image.fromarray(smear).save(raw / "a.png")
    (raw / "a_labels.tif").write_bytes(b"mine")
    for overrides in ([], ["overwrite=true"]):
        with pytest.raises(StorageError, match=r"a_labels\.tif in .* predict did not write it"):
            go(*overrides, input=raw / "a.png", output=raw)
    assert held(raw).keys() == {"a.png", "a_labels.tif"}


def test_results_beside_their_images_are_no_inputs(go, raw, smear):
    Image.fromarray(smear).save(raw / "a.png")
    go(output=raw)
    first = held(raw)
    go(output=raw)
    assert held(raw).keys() == first.keys()


# --- as processes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def start(uri, run, root, raw, out):
    def start(*overrides, given=f"run={run.run_id}", **how):
        keys = [given, f"input={raw}", f"output={out}", "accelerator=cpu"]
        places = [f"tracking.uri={uri}", f"paths.cache={root}/cache"]
        return processes.start(SCRIPT, *keys, *places, *overrides, cwd=raw.parent, **how)

    return start


def many(raw, smear, count):
    for number in range(count):
        Image.fromarray(np.tile(smear, (4, 4, 1))).save(raw / f"{number:03}.png")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_job_goes_on_where_it_stopped(start, raw, out, smear, number):
    many(raw, smear, 15)
    process = start()
    while len(list(out.glob("*_labels.tif"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, number)
    ended = processes.end(process)
    done = held(out)
    labels = {name: each for name, each in done.items() if name.endswith("_labels.tif")}
    assert 2 <= len(labels) < 15
    assert "predictions.json" not in done
    for name in labels:
        tifffile.imread(out / name)
    if number != signal.SIGKILL:
        assert ended.returncode == 128 + number
        assert "of 15 files are finished; the same command goes on" in ended.stdout
        assert "Traceback" not in ended.stderr
        assert not (out / ".predict" / "work").exists()
    again = processes.end(start())
    assert again.returncode == 0, again.stderr
    now = held(out)
    kept = [name for name in labels if now[name] == labels[name]]
    assert len(kept) >= len(labels) - 1  # a killed one may have moved half of its files
    assert len(table(out / "images.csv")) == 15
    assert not (out / ".predict" / "work").exists()


def test_two_at_once_are_refused(start, raw, out, smear):
    many(raw, smear, 40)
    first = start()
    while not list(out.glob("*_labels.tif")):
        assert first.poll() is None
        time.sleep(0.01)
    second = processes.end(start())
    assert second.returncode == 1
    assert second.stderr.startswith("error: another predict is writing into")
    assert processes.end(first).returncode == 0


def test_a_full_disk_is_one_sentence(start, raw, out, smear, best):
    many(raw, smear, 3)
    given = f"checkpoint={best}"  # of a run it would be fetched first
    ended = processes.end(start("probability=true", given=given, file_size=150_000))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: results cannot be written to {out}")
    assert not list(out.glob("*.tif"))
    assert processes.end(start("probability=true", given=given)).returncode == 0


def test_exit_codes_and_what_is_printed(start, raw, out, smear):
    Image.fromarray(smear).save(raw / "a.png")
    (raw / "b.png").write_bytes(b"x")
    ended = processes.end(start())
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: 1 of 2 files could not be predicted; all others are finished\n")
    assert str(out / "index.html") in ended.stdout
    (raw / "b.png").unlink()
    assert processes.end(start()).returncode == 0
