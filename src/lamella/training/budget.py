"""Minutes as a number of epochs: counted once, when a run starts, so that whatever repeats it repeats its steps."""

import time
from typing import Any, NamedTuple

import torch

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.loaders.datamodule import SegmentationDataModule
from lamella.hardware import Hardware
from lamella.training.ema import AveragedWeights
from lamella.training.fit import FitSettings, quiet_lightning
from lamella.training.task import SegmentationTask

import pytorch_lightning as pl  # isort: skip

_STEPS = 8  # that are measured; the first is left out, in which memory is taken and kernels are chosen


class Budget(NamedTuple):
    """How long an epoch takes here.

    Attributes:
        step_s: seconds a step.
        validation_s: seconds a validation.
        steps: an epoch.
    """

    step_s: float
    validation_s: float
    steps: int

    def epochs(self, minutes: float) -> int:
        """As many epochs as fit into these minutes; one at least."""
        return max(1, int(minutes * 60 / (self.steps * self.step_s + self.validation_s)))


def measure(
    task: SegmentationTask, datamodule: SegmentationDataModule, hardware: Hardware, settings: FitSettings
) -> Budget:
    """What a few steps and one validation take. Task and random state are of no use for a run any more: make them anew.

    Args:
        task: is trained on.
        datamodule: its loaders.
        hardware: where it is to be trained.
        settings: with which.
    """
    clock = _Clock(hardware.device)
    averaged = [AveragedWeights(task.network, settings.ema)] if settings.ema > 0 else []
    with quiet_lightning():
        pl.Trainer(
            accelerator=hardware.accelerator,
            devices=1,
            precision=hardware.precision,
            max_epochs=1,
            limit_train_batches=min(_STEPS, datamodule.steps),
            gradient_clip_val=settings.gradient_clip or None,
            deterministic=settings.deterministic,
            callbacks=[*averaged, clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        ).fit(task, datamodule)
    first, *rest = clock.steps
    step = sum(rest) / len(rest) if rest else first
    return Budget(step, clock.validation, datamodule.steps)


class _Clock(pl.Callback):
    """The seconds of each step and of a validation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[float] = []
        self.validation = 0.0
        self.last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps.append(self._passed())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation = self._passed()

    def _passed(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        before, self.last = self.last, time.perf_counter()
        return self.last - before
