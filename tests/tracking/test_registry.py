"""A run's MLflow model: logged with its scores, registered, the best of them champion, found again by name."""

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient

from lamella import tracking
from lamella.errors import ConfigError, StorageError
from support.stores import empty_store
from support.trained import kept

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 50, 1), np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    kept(folder / "best.ckpt")
    return folder, empty_store(folder / "runs.db")


def trained(store, dice, *, data="d", split="s", checkpoint=True):
    """The id of a finished run with this Dice on validation images, after a worse one and before none."""
    folder, uri = store
    tags = {"lamella.data_sha256": data, "lamella.split_sha256": split}
    with tracking.start(
        uri=uri, artifacts=str(folder / "artifacts"), experiment="e", run_name="r", params={}, tags=tags, output=folder
    ) as run:
        for step, value in enumerate((dice - 0.1, dice, dice - 0.2)):
            run.log_metrics({"val/dice": value}, step)
        if checkpoint:
            run.log_model(folder / "best.ckpt", {"test/dice": dice / 2, "test/iou": 0.25}, IMAGE)
    return run.run_id


def test_the_model_is_logged_with_signature_example_and_scores(store):
    _, uri = store
    run_id = trained(store, 0.8)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert (model.name, model.source_run_id, str(model.status)) == ("model", run_id, "READY")
    assert {each.key: each.value for each in model.metrics} == {"test/dice": 0.4, "test/iou": 0.25}
    assert run.data.metrics["test/dice"] == 0.4
    loaded = mlflow.pyfunc.load_model(model.artifact_location)
    assert loaded.metadata.get_input_schema().input_names() == ["image"]
    assert loaded.metadata.run_id == run_id
    assert np.array_equal(loaded.input_example["image"], IMAGE)
    assert loaded.predict(loaded.input_example).shape == (40, 50)


def test_the_champion_is_the_best_on_the_same_validation_images(store):
    folder, uri = store
    first = trained(store, 0.8)
    assert tracking.register(uri, first, "cells") == "registered as cells version 1, its champion"
    assert tracking.registered(uri, "cells") == ("cells", "1", first)
    told = tracking.register(uri, trained(store, 0.7), "cells")
    assert told == (
        "registered as cells version 2; champion stays version 1: Dice 0.8000 on validation images, 0.7000 of this one"
    )
    best = trained(store, 0.9)
    told = tracking.register(uri, best, "cells")
    assert told == (
        "registered as cells version 3, its champion: Dice 0.9000 on validation images, 0.8000 of version 1"
    )
    for other, what in (({"data": "x"}, "data"), ({"split": "x"}, "split")):
        told = tracking.register(uri, trained(store, 0.99, **other), "cells")
        assert f"champion stays version 3: it was trained on another {what}, so that the two cannot" in told
    assert tracking.registered(uri, "cells").run_id == tracking.registered(uri, "cells@champion").run_id == best
    assert tracking.registered(uri, "cells/2").number == "2"
    with pytest.raises(StorageError, match=r"the registered model cells has no version 9") as caught:
        tracking.registered(uri, "cells/9")
    assert caught.value.remedy == "Its versions: 1, 2, 3, 4, 5. Its aliases: cells@champion (version 3)."
    with pytest.raises(StorageError, match=r"cells has no alias 'best'"):
        tracking.registered(uri, "cells@best")
    with pytest.raises(StorageError, match=r"there is no registered model 'cell'") as caught:
        tracking.registered(uri, "cell")
    assert caught.value.remedy == "There are: cells."
    loaded = MlflowClient(uri).get_model_version_by_alias("cells", "champion")
    assert loaded.source.startswith(folder.as_uri())


def test_a_run_that_waits_is_registered_when_it_is_sent(store):
    folder, uri = store
    with tracking.start(
        uri=uri, artifacts=str(folder / "artifacts"), experiment="e", run_name="r", params={}, tags={}, output=folder,
        offline=True,
    ) as run:  # fmt: skip
        run.log_model(folder / "best.ckpt", {"test/dice": 0.5}, IMAGE)
    said = run.register("late")
    assert said == "it becomes a version of late when `python scripts/sync.py` has sent it"
    assert tracking.deliver(run.folder).complete
    found = tracking.unfinished(uri, run.run_id, folder)
    assert tracking.registered(uri, "late") == ("late", "1", found.run_id)
    assert "its champion" in tracking.register(uri, found.run_id, "late")  # again: the same version
    assert tracking.registered(uri, "late").number == "1"


def test_a_run_without_a_model_is_not_registered(store):
    _, uri = store
    with pytest.raises(StorageError, match="it has no MLflow model"):
        tracking.register(uri, trained(store, 0.5, checkpoint=False), "others")


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@b", " a", "a\nb"])
def test_a_name_that_cannot_be_is_refused_before_training(name):
    with pytest.raises(ConfigError, match=r"tracking\.register="):
        tracking.require_name(name)
    tracking.require_name("red cells 2")
