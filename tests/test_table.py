"""The table after a sweep: values by hand, from runs in a real store."""

import math
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow import MlflowClient

from lamella import table, tracking
from lamella.errors import StorageError

OTSU, UNET_A, UNET_B = [0.5, 0.7], [0.8, 0.9], [0.6, 0.9]  # Dice of two images


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A store with a sweep of three runs on blood, one of them on EM beside, and a run of another sweep."""
    root = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{root}/runs.db"

    def run(model, seed, dice, *, dataset="blood", sweep="one", extra=None):
        tags = {"lamella.sweep": sweep, "lamella.protocol": dataset, "lamella.phantom": "false"}
        params = {"model.name": model, "seed": seed, "dataset.name": dataset, "optimizer.lr": 1, "loss": "bce"}
        with tracking.start(uri=uri, artifacts=str(root / "files"), experiment="e", run_name=f"{model} {seed}",
                            params=params | (extra or {}), tags=tags) as begun:  # fmt: skip
            folder = root / begun.run_id / "scores"
            folder.mkdir(parents=True)
            rows = [{"id": f"image {n}", "dice": d, "iou": d / 2} for n, d in enumerate(dice)]
            pd.DataFrame(rows[::-1]).to_csv(folder / "test.csv", index=False)  # whatever their order
            begun.log_folder(folder.parent)
            begun.log_metrics({"time/train_s": 60 * seed})

    run("otsu", 1, OTSU)
    run("unet", 1, UNET_A)
    run("unet", 2, UNET_B)
    run("unet", 1, [0.99], dataset="em")
    run("unet", 1, [0.1, 0.1], sweep="another")
    return uri


@pytest.fixture
def found(uri):
    return [run for run in tracking.finished(uri, "one") if run.params["dataset.name"] == "blood"]


def test_one_row_a_method_by_hand(found):
    rows = table.comparison(found, {"otsu": {"dice": 0.65, "soft_dice": 0.9}})  # these runs have no soft scores
    assert "soft_dice_published" not in rows
    assert list(rows.method) == ["unet", "otsu"]
    assert list(rows.seeds) == [2, 1]
    assert rows.dice.tolist() == pytest.approx([(0.7 + 0.9) / 2, 0.6])
    assert rows.iou.tolist() == pytest.approx([0.4, 0.3])
    assert rows.dice_seed_sd[0] == pytest.approx(abs(0.85 - 0.75) / math.sqrt(2))
    assert math.isnan(rows.dice_seed_sd[1])
    assert (rows.dice_low <= rows.dice).all()
    assert (rows.dice <= rows.dice_high).all()
    assert rows.dice_low[0] >= 0.7  # over images, of their mean over seeds
    assert rows.dice_difference[1] == pytest.approx(-0.05)
    assert math.isnan(rows.dice_published[0])
    assert rows.train_s.tolist() == [90, 60]


def test_what_differs_beside_the_seed_makes_another_method(found):
    runs = [
        SimpleNamespace(params={"model.name": "unet", "seed": seed, "optimizer.lr": lr, "tracking.run_name": f"{seed}"})
        for seed, lr in (("1", "0.1"), ("2", "0.1"), ("1", "0.2"))
    ]
    assert {name: len(some) for name, some in table.methods(runs).items()} == {
        "unet optimizer.lr=0.1": 2,
        "unet optimizer.lr=0.2": 1,
    }
    assert list(table.methods(found)) == ["otsu", "unet"]


def test_printed_and_kept_with_every_run_and_no_unlike_protocols_in_one(uri, found, capsys):
    published = {"dataset": "blood", "scores": {"unet": {"iou": 0.5}}, "notes": ["said elsewhere"]}
    table.after_sweep(uri, "one", published)
    printed = capsys.readouterr().out
    assert printed.count("hard predictions, full resolution") == 1  # one run on EM has nothing to be compared with
    assert "said elsewhere" in printed
    assert "0.99" not in printed
    client = MlflowClient(uri)
    kept = [pd.read_csv(client.download_artifacts(run.run_id, "sweep/table.csv")) for run in found]
    assert len(kept) == 3
    assert all(one.equals(kept[0]) for one in kept)
    text = Path(client.download_artifacts(found[0].run_id, "sweep/table.md")).read_text()
    assert "| unet | 2 | 0.8000 (" in text
    assert "-0.1000" in text  # IoU, beside what was published
    assert "- said elsewhere" in text


def test_a_store_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        tracking.finished(f"sqlite:///{tmp_path}/nosuch.db", "one")
    assert not (tmp_path / "nosuch.db").exists()


def test_the_checkpoint_of_a_run_that_has_none_is_said_so(uri, found):
    with pytest.raises(StorageError, match=r"has no checkpoints/best\.ckpt"):
        tracking.checkpoint(uri, found[0].run_id)
    with pytest.raises(StorageError, match="has no checkpoints"):
        tracking.checkpoint(uri, "0" * 32)
