"""The running average of the weights, which is what is validated, kept and scored."""

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision

import pytorch_lightning as pl  # isort: skip


class AveragedWeights(pl.Callback):
    """The exponential average of a network's weights over the steps: in the network's place while it is validated.

    The first step's weights begin it; each later step moves it by 1 - decay of the way to the weights of that step.
    From the beginning of a validation to the end of its epoch the network holds the average, so that what is saved
    then is what was judged; training goes on with its own weights, also where a validation is broken off.

    Averaged is all of the network that is made of real numbers, the running statistics of batch normalisation with
    it: left as they are, they would be those of other weights than the average's. What counts (batches, say) stays as
    it is. All of it lies where the network lies; one call moves everything, and the host never waits.

    Args:
        network: what is averaged; nothing else of a task is.
        decay: what a step leaves of the average, from 0 to 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.weights: list[torch.Tensor] = []
        self.average: list[torch.Tensor] = []
        self.steps = 0
        self.in_place = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Only now does the network lie where it is trained; of a resumed training the average was read before.
        everything = chain(self.network.parameters(), self.network.buffers())
        self.weights = [weight for weight in everything if weight.is_floating_point()]
        self.average = [average.to(weight.device) for average, weight in zip(self.average, self.weights, strict=False)]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.steps:
            return  # this batch was a part of a step
        self.steps = trainer.global_step
        if self.average:
            self.move(self.average, self.weights, self.steps)
        else:
            self.average = [weight.clone() for weight in self.weights]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average and not self.in_place:
            self._exchange()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.in_place:
            self._exchange()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
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
