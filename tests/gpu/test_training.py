"""Training on a GPU: every network, without waits, repeatably or refused in words, and what full memory says."""

import pytest
import torch

from lamella.cli.messages import mistake
from lamella.commands.methods import MODELS, model_names
from lamella.errors import ConfigError
from lamella.inference import checkpoint
from lamella.training.task import SegmentationTask

pytestmark = pytest.mark.gpu
# Methods without training draw nothing on the device.
TRAINED = [name for name in model_names() if name not in ("bht", "kmeans", "otsu", "watershed")]


def weights(run):
    return checkpoint.read(run.fetch("checkpoints/best.ckpt"))["state_dict"]


def test_the_methods_that_are_trained_are_known():
    assert {"unet", "dpt", "pspnet"} <= {*TRAINED} <= {path.stem for path in MODELS.glob("*.yaml")}


@pytest.mark.parametrize("name", TRAINED)
def test_every_network_trains_in_bfloat16_and_scores_as_on_a_cpu(place, device, name):
    run = place.train(f"model={name}", f"trainer={device}", "trainer.precision=bf16-mixed", "data.steps=3")
    assert run.tags["lamella.precision"] == "bf16-mixed"
    assert (run.tags["lamella.device"] == "cpu") == (device == "cpu")
    assert 0 <= run.metrics["test/dice"] <= 1
    there, here = (place.evaluate(run, f"accelerator={where}", "precision=32-true") for where in (device, "cpu"))
    for score in ("dice", "iou", "pixel_error", "boundary/surface_dice", "calibration/brier"):
        assert there.metrics[f"test/{score}"] == pytest.approx(here.metrics[f"test/{score}"], abs=0.002), score


@pytest.mark.parametrize("name", TRAINED)
def test_deterministic_training_repeats_to_the_last_bit_or_names_what_cannot(place, device, name):
    overrides = (f"model={name}", f"trainer={device}", "trainer.deterministic=true", "data.steps=2")
    try:
        first, second = (weights(place.train(*overrides)) for _ in range(2))
    except (RuntimeError, ConfigError) as error:  # torch's own refusal, or ours before the run
        problem, remedy = mistake(error)
        assert "trainer.deterministic=true, but " in problem
        assert "trainer.deterministic=false" in remedy
        assert device == "gpu"
    else:
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_wait_for_the_gpu_would_be_noticed(gpu):
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="called a synchronizing"):
        torch.ones(1, device="cuda").item()


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("name", ["ternausnet", "unet"])
def test_a_training_step_never_waits_for_the_gpu(place, device, monkeypatch, name, ema):
    """From the batch that is there to the weights that have changed; the first steps may prepare what they need."""
    begun, ended, steps = SegmentationTask.on_train_batch_start, SegmentationTask.on_train_batch_end, []

    def begin(task, batch, batch_idx):
        if device == "gpu" and batch_idx >= 2:
            torch.cuda.set_sync_debug_mode("error")
        return begun(task, batch, batch_idx)

    def end(task, outputs, batch, batch_idx):  # Lightning's last word on a step, after all callbacks
        ended(task, outputs, batch, batch_idx)
        steps.append(batch_idx)
        if device == "gpu":
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(SegmentationTask, "on_train_batch_start", begin)
    monkeypatch.setattr(SegmentationTask, "on_train_batch_end", end)
    precision = "trainer.precision=bf16-mixed"
    place.train(f"model={name}", f"trainer={device}", precision, f"trainer.ema={ema}", "data.steps=5")
    assert steps == [0, 1, 2, 3, 4]


def test_full_memory_names_what_to_change(place, device, gpu):
    torch.cuda.set_per_process_memory_fraction(2**29 / torch.cuda.mem_get_info()[1])
    with pytest.raises(RuntimeError) as caught:
        place.train("model=unet", "trainer=gpu", "data.crop=512", "data.batch_size=32", "data.steps=2")
    problem, remedy = mistake(caught.value)
    assert problem.startswith("the GPU's memory is full")
    assert "data.batch_size" in remedy
