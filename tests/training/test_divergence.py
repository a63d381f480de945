"""Training that leads nowhere: it stops within ten steps, says where, and leaves what was finite."""

from pathlib import Path

import pytest
from torch import nn

from lamella.inference import checkpoint
from lamella.losses import bce
from lamella.tracking import Run
from lamella.training.divergence import DivergedError
from lamella.training.fit import FitSettings, fit
from support.tiny import CPU, WIDTH, datamodule, prepared, task

NOBODY = Run(None, "nobody's", "", Path())  # keeps nothing
STEPS = 4


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path)


def trained(data, folder, loss, *, network=None, epochs=4, say=print):
    settings = FitSettings(max_epochs=epochs, patience=None, gradient_clip=0, ema=0.0, deterministic=False, devices=1)
    made = task(data, network or nn.Conv2d(1, 1, 3, padding=1), loss=loss)
    fit(made, datamodule(data, steps=STEPS), CPU, settings, tracked=NOBODY, checkpoints=folder, progress=None, say=say)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_it_at_that_step_and_the_last_finite_epoch_is_kept(data, tmp_path, value):
    steps = 0

    def loss(logits, target, valid):
        nonlocal steps
        steps += target.shape[-1] != WIDTH
        return bce()(logits, target, valid) * (value if steps == STEPS + 2 else 1)

    with pytest.raises(DivergedError, match=f"since step {STEPS + 2}") as error:
        trained(data, tmp_path / "kept", loss)
    assert "optimizer.lr" in error.value.remedy
    for name in ("best", "last"):
        saved = checkpoint.whole(tmp_path / "kept" / f"{name}.ckpt")
        assert saved["global_step"] == STEPS
        assert all(each.isfinite().all() for each in saved["state_dict"].values())


def test_weights_that_are_no_numbers_after_an_epochs_last_step_are_not_kept(data, tmp_path):
    def loss(logits, target, valid):  # of validation alone, as if the last step had spoilt the weights
        return bce()(logits, target, valid) * (float("nan") if target.shape[-1] == WIDTH else 1)

    with pytest.raises(DivergedError, match=f"val/loss is NaN or infinite since step {STEPS}"):
        trained(data, tmp_path / "kept", loss)
    assert not list((tmp_path / "kept").glob("*.ckpt"))


def test_a_network_that_finds_nothing_is_warned_of_once(data, tmp_path):
    class Nothing(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 0 - 9

    said = []
    trained(data, tmp_path / "kept", None, network=Nothing(1, 1, 1), epochs=5, say=said.append)
    (warning,) = said
    assert "no foreground on any validation image for 3 epochs" in warning
    assert "optimizer.lr" in warning
