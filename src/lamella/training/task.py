"""The LightningModule: a network, a loss and counts, and what happens to one batch."""

from collections.abc import Sequence
from math import isnan
from typing import Any

import torch
from torch import nn

import lamella.torchvision_ops  # noqa: F401 - before Lightning, which imports torchvision
from lamella.data.loaders.augment import Augmentation, augment
from lamella.data.types import Batch
from lamella.errors import DataError
from lamella.inference.segmenter import Segmenter
from lamella.inference.tiling import classes, to_probability
from lamella.inference.whole_images import size_of
from lamella.losses import Loss
from lamella.metrics.image_counts import CropScores, ImageCounts, ImageMean
from lamella.metrics.pixels import ImageTable, count, defined_mean
from lamella.training.optim import MakeOptimizer, MakeScheduler

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig  # isort: skip


class SegmentationTask(pl.LightningModule):
    """A network that is trained on random crops and validated on whole images.

    Args:
        segmenter: the network that is trained, its normalisation, and how whole images are predicted.
        loss: see `lamella.losses.Loss`.
        num_classes: background included.
        val_ids: the validation images.
        crop: side of the crops the network trains on.
        augmentation: random changes of crops.
        make_optimizer: parameters -> optimizer.
        make_scheduler: optimizer and number of steps -> schedule.
        seed: decides augmentation.
        description: plain values stored in every checkpoint under "lamella".

    Attributes:
        val_found: whether a pixel of foreground was predicted when it was last validated.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        loss: Loss,
        *,
        num_classes: int,
        val_ids: Sequence[str],
        crop: int,
        augmentation: Augmentation,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler,
        seed: int,
        description: dict[str, Any],
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        # Modules of the task itself, so that Lightning moves, trains and keeps them.
        self.network = segmenter.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise = segmenter.normalise
        self.loss = loss
        self.num_classes = num_classes
        self.crop = crop
        self.augmentation = augmentation
        self.make_optimizer = make_optimizer
        self.make_scheduler = make_scheduler
        self.seed = seed
        self.description = description
        self.crops = CropScores()
        self.val_counts = ImageCounts(val_ids)
        self.val_loss = ImageMean(val_ids)
        self.val_found = True

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(_mix(self.seed, self.global_step))
        image, mask, valid = augment(
            self.normalise.grey(batch.image), batch.mask, batch.valid, crop=self.crop,
            fill=torch.zeros(batch.image.shape[1]), augmentation=self.augmentation, generator=generator,
        )  # fmt: skip
        logits = self.segmenter.logits(image)
        loss = self.loss(logits, mask, valid)
        predicted = classes(to_probability(logits.detach()), 0.5)
        self.crops.update(loss.detach(), predicted, mask, valid)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        probability = self.segmenter.probability(batch.image, size_of(batch), tta=False)
        self.val_loss.update(batch.id, self.loss(_log_odds(probability), batch.mask, batch.valid)[None])
        counts = count(self.segmenter.classes(probability), batch.mask, batch.valid, self.num_classes)
        self.val_counts.update(batch.id, counts)

    def on_validation_epoch_end(self) -> None:
        # Validation closes every epoch, so that all of an epoch's metrics are there at once.
        trained = {f"train/{name}": value for name, value in self.crops.compute().items()}
        table = self.val_counts.table()
        self.val_found = bool(table.counts[:, 1:, :2].any())
        self.log_dict({**trained, "val/loss": self.val_loss.mean(), **validation_scores(table)})
        for metric in (self.crops, self.val_loss, self.val_counts):
            metric.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.make_optimizer(self.network.parameters())
        schedule = self.make_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip for a fused optimizer, which matters only where losses are scaled (float16).
        if gradient_clip_val is not None:
            # The optimizer's own list: to gather it anew from the modules takes the host longer than to clip.
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            nn.utils.clip_grad_norm_(weights, gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["lamella"] = self.description


def validation_scores(table: ImageTable) -> dict[str, float]:
    """What every epoch reports of the validation images: means over the images that have the score, under `val/`.

    Raises:
        DataError: no image has a pixel of foreground: then no epoch could be told from another.
    """
    values = {f"val/{name}": float(defined_mean(table.per_image(name))) for name in ("dice", "iou", "accuracy")}
    if isnan(values["val/dice"]):
        raise DataError(
            "no validation image has a pixel of foreground, so no epoch is better than another",
            "Choose a split (dataset/split=...) whose validation images have some.",
        )
    return values


def _log_odds(probability: torch.Tensor) -> torch.Tensor:
    """Logits that give these probabilities, kept finite."""
    clipped = probability.clamp(1e-6, 1 - 1e-6)
    return clipped.logit() if probability.shape[1] == 1 else clipped.log()


def _mix(seed: int, step: int) -> int:
    """A generator's seed from the run's seed and the step: resumed training draws what it would have drawn."""
    return (seed * 1_000_003 + step) % 2**63
