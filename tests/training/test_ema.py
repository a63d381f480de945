"""Averaged weights: computed by hand, kept as the best, given back."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lamella.inference import checkpoint
from lamella.inference.whole_images import count_images
from lamella.losses import bce
from lamella.tracking import Run
from lamella.training.fit import FitSettings, fit
from support.tiny import CPU, WIDTH, datamodule, prepared, task

DECAY = 0.3  # from the fourth step on; 2 / 11 and 3 / 12 in the two before
STATISTICS = ("1.running_mean", "1.running_var", "1.num_batches_tracked")


class Watched:
    """A training of a network with batch normalisation, and the network's state after each step."""

    def __init__(self, folder, *, loss=None, ema=DECAY, epochs=2):
        self.folder, self.steps = folder / "checkpoints", []
        self.data = prepared(folder)
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))
        self.task = task(self.data, network, loss=loss, lr=0.03)
        make = self.task.make_optimizer

        def watched(parameters):
            optimizer = make(parameters)
            optimizer.register_step_post_hook(lambda *_: self.steps.append(state(network)))
            return optimizer

        self.task.make_optimizer = watched
        self.settings = FitSettings(
            max_epochs=epochs, patience=None, gradient_clip=1.0, ema=ema, deterministic=False, devices=1
        )

    def fit(self):
        loaders, nobody = datamodule(self.data, steps=3), Run(None, "nobody's", "", Path())
        return fit(self.task, loaders, CPU, self.settings, tracked=nobody, checkpoints=self.folder, progress=None)

    def kept(self, name):
        """The network's state in a checkpoint."""
        found = checkpoint.read(self.folder / f"{name}.ckpt")["state_dict"]
        return {key.removeprefix("network."): value for key, value in found.items() if key.startswith("network.")}


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def averaged(steps):
    """The average of the parameters by hand, in double precision; statistics and counters are the last step's."""
    mean = {name: value.double() for name, value in steps[0].items()}
    for decay, step in zip([2 / 11, 3 / 12, DECAY, DECAY, DECAY], steps[1:], strict=False):
        mean = {name: decay * mean[name] + (1 - decay) * value for name, value in step.items()}
    return mean | {name: value for name, value in steps[-1].items() if name.startswith(STATISTICS)}


def test_the_best_checkpoint_holds_the_average_and_training_its_own_weights(tmp_path):
    watched = Watched(tmp_path)
    rows = watched.fit()
    dice = [row["val/dice"] for row in rows]
    until = watched.steps[: 3 * (dice.index(max(dice)) + 1)]
    wanted = averaged(until)
    best = watched.kept("best")
    assert best.keys() == wanted.keys()
    for name, value in best.items():
        torch.testing.assert_close(value.double(), wanted[name].double(), rtol=1e-5, atol=1e-7)
        assert torch.equal(value, until[-1][name]) == (name in STATISTICS)
    assert len(watched.steps) == 6
    same(watched.kept("last"), watched.steps[-1])
    same(state(watched.task.network), best)


def test_what_is_not_the_network_is_not_averaged(tmp_path):
    watched = Watched(tmp_path)
    before = state(watched.task.normalise)
    watched.fit()
    same(state(watched.task.normalise), before)


def test_the_score_of_the_best_epoch_is_that_of_the_weights_that_are_kept(tmp_path):
    watched = Watched(tmp_path, epochs=3)
    rows = watched.fit()
    samples = watched.data.split.val
    table = count_images(
        watched.task.segmenter.on(CPU.device), datamodule(watched.data).val_dataloader(), CPU,
        ids=[sample.id for sample in samples], num_classes=2, tta=False,
    )  # fmt: skip
    assert float(table.per_image("dice").mean()) == max(row["val/dice"] for row in rows)


def test_without_averaging_the_weights_are_the_last_steps(tmp_path):
    watched = Watched(tmp_path, ema=0.0, epochs=1)
    watched.fit()
    same(watched.kept("best"), watched.steps[-1])


def test_a_validation_that_breaks_off_gives_the_weights_back(tmp_path):
    def loss(logits, target, valid):
        if target.shape[-1] == WIDTH:  # a whole image
            raise RuntimeError("broken off")
        return bce()(logits, target, valid)

    watched = Watched(tmp_path, loss=loss)
    with pytest.raises(RuntimeError, match="broken off"):
        watched.fit()
    assert len(watched.steps) == 3
    same(state(watched.task.network), watched.steps[-1])
