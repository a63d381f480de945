"""Checkpoints: what is written is read back, old ones load, later ones and what is none are refused and never run."""

import pickle
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from lamella import models
from lamella.errors import StorageError
from lamella.inference import checkpoint
from lamella.inference.segmenter import Normalise
from lamella.inference.settings import Inference, OperatingPoint

POINT = OperatingPoint(0.25, 1.5, 0.75)
OTSU = {"in_channels": 1, "num_classes": 2, "channel": "auto", "foreground": "dark"}
SMALL = {"in_channels": 3, "num_classes": 4, "width": 8, "dropout": 0.0, "batch_norm": True, "encoder_weights": None}


def config(model, *, inference="lamella.inference.Inference", context="context"):
    """As much of a configuration as a checkpoint needs."""
    return {
        "dataset": {"in_channels": model["in_channels"], "num_classes": 2, "scale": 0.5, "percentiles": [1, 99]},
        "model": {"name": "small", **model},
        "inference": {"_target_": inference, "tile": 64, "overlap": 16, "tta": True, "threshold": 0.5},
        "data": {context: 3},
    }


def written(path, network, text, **changed):
    """A checkpoint as training writes one."""
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    channels = text["dataset"]["in_channels"]
    normalise = Normalise([10.0 + i for i in range(channels)], [2.0] * channels, low=5, high=500)
    state |= {f"normalise.{name}": value for name, value in normalise.state_dict().items()}
    kept = checkpoint.contents(yaml.safe_dump(text), ("a", "b"), "uint16") | changed
    torch.save({"state_dict": state, "lamella": {name: value for name, value in kept.items() if value != ...}}, path)
    return path


@pytest.fixture
def network():
    torch.manual_seed(0)
    return models.unet_ronneberger(**SMALL)


def test_what_was_trained_comes_back(tmp_path, network):
    nn.init.normal_(network.get_parameter(next(name for name, _ in network.named_parameters())))
    text = config({"_target_": "lamella.models.unet_ronneberger", **SMALL})
    path = written(tmp_path / "a.ckpt", network, text)
    checkpoint.keep(path, POINT, "bf16-mixed")
    found = checkpoint.load(path)
    segmenter = found.segmenter
    assert not segmenter.network.training
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in segmenter.network.state_dict().items())
    assert segmenter.normalise.mean.flatten().tolist() == [10, 11, 12]
    assert (float(segmenter.normalise.low), float(segmenter.normalise.high)) == (5, 500)
    assert segmenter.inference == Inference(tile=64, overlap=16, tta=True, threshold=0.25)  # the operating point's
    assert segmenter.context == 3
    assert (found.operating_point, found.precision) == (POINT, "bf16-mixed")
    assert (found.class_names, found.dtype) == (("a", "b"), "uint16")
    assert (found.channels, found.scale, found.percentiles) == (3, 0.5, (1, 99))
    assert found.config == text
    assert {file.name for file in tmp_path.iterdir()} == {"a.ckpt"}  # no half of a file beside it


def test_before_validation_has_chosen_there_is_no_operating_point(tmp_path, network):
    path = written(tmp_path / "a.ckpt", network, config({"_target_": "lamella.models.unet_ronneberger", **SMALL}))
    found = checkpoint.load(path)
    assert (found.operating_point, found.precision) == (None, "32-true")
    assert found.segmenter.inference.threshold == 0.5


def test_a_method_without_training_is_given_the_image_as_it_is(tmp_path):
    path = written(tmp_path / "a.ckpt", models.otsu(**OTSU), config({"_target_": "lamella.models.otsu", **OTSU}))
    segmenter = checkpoint.load(path).segmenter
    assert segmenter.context == 0
    assert not segmenter.inference.tta
    assert segmenter.inference.tile > 10**9


def test_nothing_is_fetched_for_a_network_whose_weights_are_there(tmp_path, network):
    text = config({"_target_": "lamella.models.unet_ronneberger", **SMALL, "encoder_weights": "gone/with/the/disk.pt"})
    found = checkpoint.load(written(tmp_path / "a.ckpt", network, text))
    assert found.config["model"]["encoder_weights"] == "gone/with/the/disk.pt"  # what the run said, unchanged


# Versions


@pytest.mark.parametrize("decided", [POINT._asdict(), None, ...])
def test_one_of_format_0_loads_with_its_old_names(tmp_path, network, decided):
    """Version 0.1.0 up to November 2026: no format in the file, targets that name files, other keys."""
    model = {"_target_": "lamella.models.unet.unet_ronneberger", **SMALL}
    text = config(model, context="frame") | {
        "published": None,
        "score": {"smallest": 7, "neck": 2.0},
        "augment": {"_target_": "lamella.data.augment.Augmentation"},
        "dataset": {
            **config(model)["dataset"],
            "_target_": "lamella.data.folder.folder",
            "split": {"_target_": "lamella.data.split.found"},
        },
    }
    found = checkpoint.load(written(tmp_path / "a.ckpt", network, text, format=..., decided=decided))
    assert found.segmenter.context == 3
    assert found.operating_point == (POINT if decided not in (None, ...) else None)
    assert found.config["model"]["_target_"] == "lamella.models.unet_ronneberger"
    assert found.config["augment"]["_target_"] == "lamella.data.Augmentation"
    assert found.config["dataset"]["_target_"] == "lamella.data.folder"
    assert found.config["dataset"]["split"]["_target_"] == "lamella.splits.found"
    assert found.config["literature"] is None
    assert found.config["score"] == {"min_cell_size": 7, "split_neck": 2.0}
    assert "published" not in found.config
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.segmenter.network.state_dict().items())


def test_one_of_a_later_format_is_refused_with_a_sentence(tmp_path, network):
    text = config({"_target_": "lamella.models.unet_ronneberger", **SMALL})
    path = written(tmp_path / "new.ckpt", network, text, format=checkpoint.FORMAT + 1)
    with pytest.raises(StorageError, match=r"new\.ckpt has the format 2; this .* reads formats up to 1") as caught:
        checkpoint.load(path)
    assert "later version" in caught.value.remedy


# What is none


class Mischief:
    """What a checkpoint from a stranger may hold."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_is_no_checkpoint_is_said_so_and_never_run(tmp_path):
    with pytest.raises(StorageError, match=r"missing\.ckpt is missing"):
        checkpoint.load(tmp_path / "missing.ckpt")
    (tmp_path / "empty.ckpt").touch()
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps({"lamella": Mischief(tmp_path / "done")}))
    torch.save({"lamella": Mischief(tmp_path / "done")}, tmp_path / "torch.ckpt")
    for name in ("empty", "text", "pickle", "torch"):
        with pytest.raises(StorageError, match=rf"{name}\.ckpt cannot be read as a checkpoint: "):
            checkpoint.load(tmp_path / f"{name}.ckpt")
    assert not (tmp_path / "done").exists()
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(StorageError, match="is no checkpoint of Lamella"):
        checkpoint.load(tmp_path / "other.ckpt")


LOSS = {"_target_": "os.system", "command": "touch done"}
UNET = {"_target_": "lamella.models.unet_ronneberger", **SMALL}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": {"_target_": "os.system", "name": "x", "command": "touch done"}}, "names 'os.system', which is not"),
        ({"model": {"_target_": "pathlib.Path.touch", "name": "x"}}, "names 'pathlib.Path.touch', which is not"),
        ({"model": {**UNET, "_target_": "lamella.tracking.start"}}, "must name a function of lamella.models, got"),
        ({"model": {**UNET, "_target_": "lamella.models.torch.hub.load"}}, "must name a function of lamella.models"),
        ({"model": {**UNET, "_target_": ["os.system"]}}, "must name a function of lamella.models, got"),
        ({"model": {**UNET, "width": LOSS}}, "width must be a whole number, at least 1; got {'_target_': 'os.system'"),
        ({"model": {**UNET, "width": [{"deep": LOSS}]}}, "width must be a whole number, at least 1; got [{'deep'"),
        ({"model": "os.system"}, "is damaged"),
        (
            {"inference": {"_target_": "os.system", "command": "touch done"}},
            "must name a function of lamella.inference",
        ),
        ({"model": {**UNET, "_target_": "lamella.models.papers.unet:unet_ronneberger"}}, "must name a function of"),
        ({"model": {**UNET, "_target_": "lamella.models.lazily"}}, "must name a function of lamella.models"),
        ({"model": {"_target_": UNET["_target_"], "name": "x"}}, "has no value"),
        ({"dataset": {"in_channels": "x", "scale": 1, "percentiles": None}}, "is damaged"),
        ({"dataset": {"in_channels": 1, "scale": 1, "percentiles": [1]}}, "is damaged"),
        ({"dataset": None}, "is damaged: dataset in its configuration is no group of keys"),
        ({"data": {"context": "x"}}, "is damaged"),
        ({"inference": None}, "a group of keys with a _target_ was expected"),
    ],
)
def test_what_a_configuration_names_is_never_run(tmp_path, monkeypatch, network, changed, says):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.ckpt", network, config(UNET), config=yaml.safe_dump(config(UNET) | changed))
    with pytest.raises(StorageError) as caught:
        checkpoint.load(path)
    assert str(path) in caught.value.problem
    assert says in caught.value.problem
    assert "\n" not in caught.value.problem
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object/apply:os.system ['touch done']", "a: [", "3", "- a", "a: ${oc.env:", ""],
)
def test_a_text_that_is_no_configuration_is_said_so(tmp_path, monkeypatch, network, text):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.ckpt", network, config(UNET), config=text)
    with pytest.raises(StorageError, match=r"a\.ckpt is damaged: "):
        checkpoint.load(path)
    assert not (tmp_path / "done").exists()


def test_nothing_in_a_configuration_is_resolved(tmp_path, monkeypatch, network):
    monkeypatch.setenv("SECRET", "told")
    text = config(UNET) | {"tracking": {"run_name": "${oc.env:SECRET} ${data.context}", "uri": "${now:%Y}"}}
    path = written(tmp_path / "a.ckpt", network, text)
    for _ in range(2):  # also after it was written again
        assert checkpoint.load(path).config["tracking"] == text["tracking"]
        checkpoint.keep(path, POINT, "32-true")
    assert b"told" not in path.read_bytes()


def test_modules_that_a_file_lists_as_its_code_are_not_imported(tmp_path, monkeypatch, network):
    (tmp_path / "listed.py").write_text("open('done', 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert checkpoint.load(written(tmp_path / "a.ckpt", network, config(UNET), code={"listed": "x"})).changed == ()
    assert not (tmp_path / "done").exists()


def test_half_a_file_is_said_to_be_none(tmp_path, network):
    path = written(tmp_path / "a.ckpt", network, config({"_target_": "lamella.models.unet_ronneberger", **SMALL}))
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(StorageError, match=r"a\.ckpt cannot be read as a checkpoint: "):
            checkpoint.load(path)


def test_weights_that_do_not_fit_are_said_so(tmp_path, network):
    text = config({"_target_": "lamella.models.unet_ronneberger", **SMALL, "width": 4})
    with pytest.raises(StorageError, match=r"the weights in .*a\.ckpt do not fit small"):
        checkpoint.load(written(tmp_path / "a.ckpt", network, text))
