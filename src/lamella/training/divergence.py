"""Training that leads nowhere: a loss that is no number, or a network that finds nothing."""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.errors import LamellaError
from lamella.training.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip

_LATE = 8  # steps after which a GPU is waited for, to learn what a step's loss was
_EMPTY = 3  # epochs without a pixel of foreground that are a reason to speak


class DivergedError(LamellaError):
    """The loss is no number any more: nothing can be learned from here."""


class Divergence(pl.Callback):
    """Stops a training whose loss is NaN or infinite, within ten steps; warns of one that finds no foreground.

    A GPU is asked without waiting: what each step's loss was is looked at when it has arrived.

    Args:
        say: is told a warning.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self.say = say
        self.empty = 0
        self.asked: deque[tuple[int, torch.Tensor, torch.cuda.Event]] = deque()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        finite = outputs["loss"].detach().isfinite()
        if not finite.is_cuda:
            if not finite:
                raise _diverged(trainer.global_step)
            return
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.asked.append((trainer.global_step, finite.to("cpu", non_blocking=True), arrived))
        arrived.record()
        while self.asked and (len(self.asked) > _LATE or self.asked[0][2].query()):  # type: ignore[no-untyped-call]
            self._look()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationTask)
        self.empty = 0 if pl_module.val_found else self.empty + 1
        if self.empty == _EMPTY:
            self.say(
                f"the network has found no foreground on any validation image for {_EMPTY} epochs: try a smaller "
                "optimizer.lr, another loss (loss=bce_dice, loss=focal), or look whether images and masks fit together"
            )

    def settle(self) -> None:
        """Waits for all steps' losses. Raises DivergedError."""
        while self.asked:
            self._look()

    def require_finite(self, trainer: pl.Trainer) -> None:
        """Raises DivergedError where an epoch's losses are no numbers; called before its weights are kept."""
        self.settle()
        for name in ("train/loss", "val/loss"):
            if not trainer.callback_metrics[name].isfinite():
                raise _diverged(trainer.global_step, name)

    def state_dict(self) -> dict[str, Any]:
        return {"empty": self.empty}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.empty = state_dict["empty"]

    def _look(self) -> None:
        step, finite, arrived = self.asked.popleft()
        arrived.synchronize()
        if not finite:
            raise _diverged(step)


def _diverged(step: int, name: str = "the loss") -> DivergedError:
    return DivergedError(
        f"{name} is NaN or infinite since step {step}: training has diverged",
        "Lower optimizer.lr (to a tenth, say), or set trainer.gradient_clip above 0. The checkpoint of the last epoch "
        "whose loss was finite, if any, is kept.",
    )
