"""Scoring and predicting on a GPU, and on another device than training's: the same scores, of another protocol."""

import json

import numpy as np
import pytest
import torch

from lamella.cli.messages import mistake
from lamella.commands import setup
from lamella.config.check import check
from lamella.console import console
from lamella.inference import checkpoint
from lamella.model import Model

pytestmark = pytest.mark.gpu
SCORES = ("dice", "iou", "pixel_error", "boundary/surface_dice", "calibration/brier")


@pytest.fixture(scope="session")
def images(place):
    """The pictures of the phantom's test, (H, W, C)."""
    data = setup.load(check(place.configured("train", "dataset.train=8", "dataset.test=4")), console())
    return [np.moveaxis(data.store.full_image(sample), 0, -1) for sample in data.split.test]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_scores_the_same_on_every_device(place, device, learned, precision, capsys):
    assert learned.metrics["test/dice"] > 0.6
    there = place.evaluate(learned, f"accelerator={device}", f"precision={precision}")
    here = place.evaluate(learned, "accelerator=cpu", "precision=32-true")
    for score in SCORES:
        assert there.metrics[f"test/{score}"] == pytest.approx(here.metrics[f"test/{score}"], abs=0.002), score
    protocol = json.loads(here.tags["lamella.protocol"])
    assert (protocol["device"], protocol["precision"]) == ("cpu", "32-true")
    said = " ".join(capsys.readouterr().out.split())
    assert "They are of another protocol:" in said
    assert "precision 32-true, not bf16-mixed" in said
    assert ("device cpu, not cuda" in said) == (device == "gpu")


def test_what_is_computed_as_the_run_did_is_its_own_to_the_last_bit(place, device, learned, capsys):
    place.evaluate(learned)
    assert "are the run's own, to the last bit" in capsys.readouterr().out


def test_a_run_of_a_cpu_is_scored_on_the_device(place, device, capsys):
    run = place.train("model=unet", "trainer=cpu", "trainer.precision=32-true", "data.steps=3")
    child = place.evaluate(run, f"accelerator={device}", "precision=32-true")
    assert child.metrics["test/dice"] == pytest.approx(run.metrics["test/dice"], abs=0.002)
    assert ("device cuda, not cpu" in " ".join(capsys.readouterr().out.split())) == (device == "gpu")


def test_a_checkpoint_loads_on_a_cpu_and_a_model_computes_on_the_device(device, learned, images):
    path = learned.fetch("checkpoints/best.ckpt")
    assert {value.device.type for value in checkpoint.load(path).segmenter.network.state_dict().values()} == {"cpu"}
    cuda = "cuda" if device == "gpu" else "cpu"
    on_cpu, on_device = Model(path, precision="32-true"), Model(path, device=cuda, precision="32-true")
    assert on_device.hardware.device.type == cuda
    assert Model(path, device=cuda, precision="bf16-mixed").hardware.precision == "bf16-mixed"
    for image in images:
        assert np.abs(on_cpu.predict(image) - on_device.predict(image)).max() < 1e-3
        assert (on_cpu.segment(image) != on_device.segment(image)).mean() < 1e-3


def test_a_model_gives_the_masks_that_its_run_was_scored_by(place, device, learned):
    cuda = "cuda" if device == "gpu" else "cpu"
    model = Model(learned.fetch("checkpoints/best.ckpt"), device=cuda, precision=learned.tags["lamella.precision"])
    data, dice = place.data(), learned.scores().set_index("id")["dice"]
    for sample in data.split.test:
        mask = model.segment(data.store.full_image(sample), axes="CYX") == 1
        truth = data.store.truth(sample) == 1
        here = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        # A table is read back to the last bit by pandas from 3.1 alone; one pixel more would be 0.0002.
        assert here == pytest.approx(dice[sample.id], rel=1e-12, abs=0)


def test_full_memory_names_the_tile(place, gpu, learned):
    model = Model(learned.fetch("checkpoints/best.ckpt"), device="cuda")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**29 / torch.cuda.mem_get_info()[1])
    with pytest.raises(RuntimeError) as caught:
        model.predict(np.zeros((6000, 6000, 3), np.uint8))
    problem, remedy = mistake(caught.value)
    assert problem.startswith("the GPU's memory is full")
    assert "inference.tile" in remedy
