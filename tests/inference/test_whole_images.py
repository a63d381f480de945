"""Whole images without waits: shapes alone, on the *meta* device, tell what a GPU would be asked to do and to hold."""

import pytest
import torch
from omegaconf import OmegaConf

from lamella.commands.methods import MODELS
from lamella.config.check import build, kept
from lamella.config.schema import ModelKeys
from lamella.hardware import Hardware
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.whole_images import predict_image
from support.tiny import as_logits, inference
from support.watched import Alive, Waits

META = Hardware(torch.device("meta"), "32-true")


def network_of(name):
    """A network of conf/model, as its file says, without weights."""
    around = {
        "dataset": {"in_channels": 3, "num_classes": 2},
        "seed": 0,
        "model": OmegaConf.load(MODELS / f"{name}.yaml"),
    }
    return build(kept(OmegaConf.to_container(OmegaConf.create(around), resolve=True)["model"], ModelKeys))


@pytest.mark.parametrize("name", ["dpt", "pspnet", "ternausnet", "unet"])  # the others alike: test-gpu
def test_nothing_waits_for_the_device_while_an_image_is_predicted(name):
    with torch.device("meta"):
        network = network_of(name)
    how = inference(tile=128, overlap=16)
    segmenter = Segmenter.of(network, Normalise([90.0] * 3, [40.0] * 3), how, 8).on(META.device)
    image = torch.empty(1, 3, 140, 100, dtype=torch.uint8, device="meta")
    with Waits() as seen:
        found = predict_image(segmenter, image, (200, 130), META, tta=False)
        segmenter.classes(found)
    assert found.shape == (1, 1, 200, 130)
    assert seen.operations > 100
    assert seen.found == []


def test_what_waits_is_seen():
    with Waits() as seen:
        torch.ones(3).to("meta")
        torch.ones(3).to("meta", non_blocking=True)
        torch.empty(3, device="meta").copy_(torch.ones(3), non_blocking=True)
        torch.empty(3, device="meta").copy_(torch.ones(3))
        torch.ones(3).sum().item()
    assert seen.found == ["aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense"]


@pytest.mark.parametrize(("tta", "planes"), [(False, 2), (True, 2.2)])
def test_a_large_image_is_held_a_few_times_not_once_a_view(tta, planes):
    side = 4096
    image = torch.empty(1, 1, side, side, dtype=torch.uint8, device="meta")
    segmenter = as_logits(tile=1024, overlap=64).on(META.device)
    with Waits() as waits, Alive() as seen:
        predict_image(segmenter, image, (side, side), META, tta=tta)
    assert 1 < seen.peak / (4 * side * side) < planes
    assert waits.found == []
