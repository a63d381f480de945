"""A trained model as a function: where and how exactly it computes, from Python and through MLflow."""

import warnings

import mlflow.pyfunc
import numpy as np
import pytest
import torch
import yaml

from lamella import models, tracking
from lamella.errors import ConfigError, DataError
from lamella.hardware import has_bfloat16
from lamella.inference import checkpoint
from lamella.inference.segmenter import Normalise
from lamella.inference.settings import OperatingPoint
from lamella.model import Model

SMALL = {"in_channels": 1, "num_classes": 2, "width": 8, "dropout": 0.0, "batch_norm": True, "encoder_weights": None}
CONFIG = {
    "dataset": {"in_channels": 1, "num_classes": 2, "scale": 1.0, "percentiles": None},
    "model": {"_target_": "lamella.models.unet_ronneberger", "name": "small", **SMALL},
    "inference": {"_target_": "lamella.inference.Inference", "tile": 64, "overlap": 16, "tta": False, "threshold": 0.5},
    "data": {"context": 0},
}
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 40), np.uint8)
CPU = torch.device("cpu")


def kept(path, precision):
    """A checkpoint of a run whose test computed in a precision; None: of a run that was stopped before."""
    torch.manual_seed(0)
    state = {f"network.{name}": value for name, value in models.unet_ronneberger(**SMALL).state_dict().items()}
    state |= {f"normalise.{name}": value for name, value in Normalise([90.0], [40.0]).state_dict().items()}
    content = checkpoint.contents(yaml.safe_dump(CONFIG), ("ground", "cell"), "uint8")
    torch.save({"state_dict": state, "lamella": content}, path)
    if precision:
        checkpoint.keep(path, OperatingPoint(0.5, 1.0, None), precision)
    return path


def test_it_computes_as_its_runs_test_did_where_the_device_can(tmp_path):
    exact = Model(kept(tmp_path / "float.ckpt", "32-true"))
    assert (exact.hardware.device, exact.hardware.precision) == (CPU, "32-true")
    assert Model(kept(tmp_path / "stopped.ckpt", None)).hardware.precision == "32-true"
    path = kept(tmp_path / "bfloat.ckpt", "bf16-mixed")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = Model(path)
    assert model.hardware.precision == ("bf16-mixed" if has_bfloat16(CPU) else "32-true")
    assert [str(each.message)[:36] for each in told] == ["its run's test computed in bfloat16,"] * (
        not has_bfloat16(CPU)
    )
    insisted = Model(path, precision="bf16-mixed")
    off = np.abs(insisted.probability(IMAGE) - exact.probability(IMAGE)).max()
    assert 0 < off < 0.05
    assert np.array_equal(Model(path, precision="32-true").probability(IMAGE), exact.probability(IMAGE))


def test_a_device_or_precision_that_is_none_is_refused(tmp_path):
    path = kept(tmp_path / "a.ckpt", "32-true")
    for wrong in ("tpu", "cuda:x", "", "gpu0"):
        with pytest.raises(ConfigError, match="there is no device"):
            Model(path, device=wrong)
    with pytest.raises(ConfigError, match="there is no precision '16'"):
        Model(path, precision="16")


def test_an_image_with_other_channels_or_levels_is_one_sentence(tmp_path):
    model = Model(kept(tmp_path / "a.ckpt", "32-true"))
    with pytest.raises(DataError, match=r"the image has 3 channel\(s\), and this model was trained on 1") as caught:
        model.predict(np.stack([IMAGE] * 3, axis=-1))
    assert "Give it (H, W, 1) or (H, W)" in caught.value.remedy
    with pytest.raises(DataError, match="the image has type uint16"):
        model.predict(IMAGE.astype(np.uint16))


def test_mlflow_passes_device_and_precision_on(tmp_path):
    path = kept(tmp_path / "best.ckpt", "32-true")
    tracking.save_model(tmp_path / "model", path)
    plain = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    chosen = {"device": "auto", "precision": "bf16-mixed"}
    other = mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config=chosen)
    exact, rounded = (each.predict(IMAGE, params={"probabilities": True}) for each in (plain, other))
    assert 0 < np.abs(exact - rounded).max() < 0.05
    assert plain.predict(IMAGE).shape == other.predict(IMAGE).shape == (48, 40)
