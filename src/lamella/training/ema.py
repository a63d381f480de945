"""The running average of the weights, which is what is validated, kept and scored."""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision

import pytorch_lightning as pl  # isort: skip


class AveragedWeights(pl.Callback):
    """The exponential average of a network's weights over the steps: in the network's place while it is validated.

    The first step's weights begin it; each later step t moves it by 1 - min(decay, t / (t + 9)) of the way to that
    step's, so that the beginning is soon forgotten: else a short training's average would be little more.
    From the beginning of a validation to the end of its epoch the network holds the average, so that what is saved
    then is what was judged; training goes on with its own weights, also where a validation is broken off.

    Averaged are the parameters. The running statistics of batch normalisation stay the network's own: they are an
    average over its last steps already, and averaged once more they would trail behind (0.73 instead of 0.74 of
    validation Dice after the first epoch on phantoms). The average lies where the network lies; one call moves all of
    it, and the host never waits.

    Args:
        network: whose parameters are averaged.
        decay: what a step leaves of the average in the long run, from 0 to 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.weights: list[torch.Tensor] = []
        self.average: list[torch.Tensor] = []
        self.steps = 0
        self.in_place = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Only now does the network lie where it is trained; of a resumed training the average was read before.
        self.weights = list(self.network.parameters())
        self.average = [average.to(weight.device) for average, weight in zip(self.average, self.weights, strict=False)]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.steps:
            return  # this batch was a part of a step
        self.steps = trainer.global_step
        if self.average:
            decay = min(self.decay, self.steps / (self.steps + 9))
            get_ema_multi_avg_fn(decay)(self.average, self.weights, None)  # type: ignore[no-untyped-call]
        else:
            self.average = [weight.clone() for weight in self.weights]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average and not self.in_place:
            self._exchange()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.give_back()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Makes the network's weights its own again, where the average stands in their place."""
        if self.in_place:
            self._exchange()

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average, self.steps = state_dict["average"], state_dict["steps"]

    @torch.no_grad()
    def _exchange(self) -> None:
        for average, weight in zip(self.average, self.weights, strict=True):
            there = weight.clone()
            weight.copy_(average)
            average.copy_(there)
        self.in_place = not self.in_place
