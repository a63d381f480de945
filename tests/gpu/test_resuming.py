"""Trainings on a GPU that are stopped and gone on with, run again, counted in minutes, or lead nowhere."""

import re
import signal

import numpy as np
import pandas as pd
import pytest
import torch

from lamella.inference import checkpoint
from lamella.training.divergence import DivergedError
from lamella.training.stopping import REQUEST, Stopped
from lamella.training.task import SegmentationTask

pytestmark = pytest.mark.gpu


def weights(run):
    return checkpoint.read(run.fetch("checkpoints/best.ckpt"))["state_dict"]


def asks_to_stop(monkeypatch, at):
    """A signal comes while this step is done."""
    begun = SegmentationTask.on_train_batch_start

    def begin(task, batch, batch_idx):
        if task.global_step + 1 == at:
            REQUEST.hear(signal.SIGTERM)
        return begun(task, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "on_train_batch_start", begin)


@pytest.fixture
def interrupted(place, monkeypatch):
    """Trains until a step is over, and gives the run's id."""

    def train(*overrides, at):
        with monkeypatch.context() as patch:
            asks_to_stop(patch, at)
            with pytest.raises(Stopped):
                place.train(*overrides)
        found = re.search("[0-9a-f]{32}", REQUEST.remedy)
        assert found is not None
        return found[0]

    return train


@pytest.mark.parametrize("at", [3, 6])  # in the middle of the first epoch, and of the second
@pytest.mark.parametrize("name", ["unet", "deeplabv3plus"])  # the second drops out at random, on the device
def test_a_training_that_was_stopped_goes_on_to_the_last_bit(place, device, interrupted, name, at):
    overrides = (
        *(f"model={name}", f"trainer={device}", "trainer.deterministic=true", "trainer.max_epochs=2", "data.steps=4"),
        *("trainer.ema=0.9", "data.workers=2"),
    )
    undisturbed = place.train(*overrides)
    resumed = place.go_on(interrupted(*overrides, at=at))
    first, second = map(weights, (undisturbed, resumed))
    assert first.keys() == second.keys()
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []
    pd.testing.assert_frame_equal(undisturbed.curve(), resumed.curve(), check_exact=True)
    timeless = {name for name in undisturbed.metrics if not name.startswith("time/")}
    for score in timeless:
        np.testing.assert_array_equal(undisturbed.metrics[score], resumed.metrics[score], score)


def test_a_training_that_was_stopped_goes_on_in_bfloat16_and_from_another_device(place, device, interrupted, capsys):
    overrides = ("model=unet", f"trainer={device}", "trainer.precision=bf16-mixed", "data.steps=3", "trainer.ema=0.9")
    assert place.go_on(interrupted(*overrides, at=2)).metrics["time/epochs"] == 1
    begun = interrupted("model=unet", "trainer=cpu", "trainer.precision=32-true", "data.steps=3", at=2)
    accelerator = f"trainer.accelerator={device}"
    assert place.go_on(begun, accelerator).metrics["time/epochs"] == 1
    said = " ".join(capsys.readouterr().out.split())
    assert ("on another device than before" in said) == (device == "gpu")


def test_a_deterministic_run_comes_out_the_same_when_it_is_run_again(place, device, capsys):
    run = place.train("model=unet", f"trainer={device}", "trainer.deterministic=true", "data.steps=3")
    assert place.reproduce(run)
    assert "test images have the same" in " ".join(capsys.readouterr().out.split())


def test_a_run_comes_out_within_the_tolerance_when_it_is_run_again(place, device, learned):
    assert place.reproduce(learned)


def test_minutes_are_counted_as_epochs(place, device):
    run = place.train("model=unet", f"trainer={device}", "data.steps=3", "trainer.minutes=0.05")
    assert 1 <= run.metrics["time/epochs"] <= 300
    assert run.tags["lamella.minutes"] == "0.05"


def test_a_loss_that_is_no_number_ends_the_training_within_ten_steps(place, device, monkeypatch):
    steps = []
    trained = SegmentationTask.training_step

    def step(task, batch, batch_idx):
        steps.append(batch_idx)
        loss = trained(task, batch, batch_idx)
        return loss * torch.nan if batch_idx == 4 else loss

    monkeypatch.setattr(SegmentationTask, "training_step", step)
    with pytest.raises(DivergedError):
        place.train("model=unet", f"trainer={device}", "data.steps=40")
    assert steps[-1] < 4 + 10
