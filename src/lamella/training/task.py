"""A network, a loss and counts: what happens to one batch."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

import lamella.torchvision_ops  # noqa: F401 - before Lightning and torchmetrics, which import torchvision
from lamella.data.loaders.augment import Augmentation, augment
from lamella.data.types import Batch
from lamella.inference.segmenter import Inference, Normalise, Segmenter, classes, to_probability
from lamella.losses import Loss
from lamella.metrics.pixels import ImageTable, count
from lamella.training.optim import MakeOptimizer, MakeScheduler

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig  # isort: skip
from torchmetrics import MeanMetric, SumMetric  # isort: skip


class SegmentationTask(pl.LightningModule):
    """Trains a network on random crops and judges it on whole images.

    Args:
        network: normalised float32 (B, C, H, W) -> logits (B, K, H, W), any size.
        normalise: grey levels -> what the network takes.
        loss: see `lamella.losses.Loss`.
        num_classes: background included.
        crop: side of the crops the network trains on.
        frame: pixels beyond the picture that it sees.
        augmentation: random changes of crops.
        inference: how whole images are predicted.
        make_optimizer: parameters -> optimizer.
        make_scheduler: optimizer and number of steps -> schedule.
        seed: decides augmentation.
        description: plain values stored in every checkpoint under "lamella".
    """

    def __init__(
        self,
        network: nn.Module,
        normalise: Normalise,
        loss: Loss,
        *,
        num_classes: int,
        crop: int,
        frame: int,
        augmentation: Augmentation,
        inference: Inference,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler,
        seed: int,
        description: dict[str, Any],
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise = normalise
        self.loss = loss
        self.num_classes = num_classes
        self.crop = crop
        self.frame = frame
        self.augmentation = augmentation
        self.inference = inference
        self.make_optimizer = make_optimizer
        self.make_scheduler = make_scheduler
        self.seed = seed
        self.description = description
        self.train_loss = MeanMetric()
        self.train_overlap = SumMetric()
        self.train_total = SumMetric()
        self.val_loss = MeanMetric()
        self._val_counts: list[tuple[str, torch.Tensor]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(_mix(self.seed, self.global_step))
        image, mask, valid = augment(
            self.normalise.grey(batch.image), batch.mask, batch.valid, crop=self.crop,
            fill=torch.zeros(batch.image.shape[1]), augmentation=self.augmentation, generator=generator,
        )  # fmt: skip
        logits = self.logits(image)
        loss = self.loss(logits, mask, valid)
        self.train_loss.update(loss.detach())
        predicted = classes(to_probability(logits.detach()), 0.5)
        found, there = (predicted > 0) & valid, (mask > 0) & valid
        self.train_overlap.update(2 * (found & there & (predicted == mask)).sum())
        self.train_total.update(found.sum() + there.sum())
        return loss

    def live_dice(self) -> torch.Tensor:
        """Dice of the foreground over all crops of this epoch so far, on the device; reading it waits for it."""
        return self.train_overlap.compute() / self.train_total.compute().clamp(min=1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        probability = self.probability(batch, tta=False)
        self.val_loss.update(self.loss(_log_odds(probability), batch.mask, batch.valid))
        self._val_counts.append((batch.id[0], self.count(probability, batch)[0]))

    def on_validation_epoch_end(self) -> None:
        table = image_table(self._val_counts)
        self._val_counts = []
        scores = {f"val/{name}": float(table.per_image(name).mean()) for name in ("dice", "iou", "accuracy")}
        # Validation closes every epoch, so that all of an epoch's metrics are there at once.
        trained = {"train/loss": self.train_loss.compute(), "train/dice": self.live_dice()}
        self.log_dict({**trained, "val/loss": self.val_loss.compute(), **scores})
        for metric in (self.train_loss, self.train_overlap, self.train_total, self.val_loss):
            metric.reset()

    def probability(self, batch: Batch, *, tta: bool) -> torch.Tensor:
        """Class probabilities of one whole image at the size of its truth: float32 (1, K', H, W)."""
        return self.segmenter().probability(batch.image, (batch.mask.shape[-2], batch.mask.shape[-1]), tta=tta)

    def segmenter(self) -> Segmenter:
        """What turns images into classes, sharing this task's weights."""
        return Segmenter(self.network, self.normalise, self.inference, self.frame)

    def count(self, probability: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Pixel counts int64 (1, K, 4); see `lamella.metrics.pixels.count`."""
        return count(classes(probability, self.inference.threshold), batch.mask, batch.valid, self.num_classes)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.make_optimizer(self.network.parameters())
        schedule: LambdaLR = self.make_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip for a fused optimizer, which matters only where losses are scaled (float16).
        if gradient_clip_val is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["lamella"] = self.description

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Grey levels (B, C, H, W) -> logits (B, K, H, W)."""
        return self.segmenter().logits(image)


def image_table(counted: list[tuple[str, torch.Tensor]]) -> ImageTable:
    """Joins (id, counts (K, 4)) of single images; one transfer from the device."""
    return ImageTable([name for name, _ in counted], torch.stack([c for _, c in counted]).cpu().numpy())


def _log_odds(probability: torch.Tensor) -> torch.Tensor:
    """Logits that give these probabilities, kept finite."""
    clipped = probability.clamp(1e-6, 1 - 1e-6)
    return clipped.logit() if probability.shape[1] == 1 else clipped.log()


def _mix(seed: int, step: int) -> int:
    """A generator's seed from the run's seed and the step: resumed training draws what it would have drawn."""
    return (seed * 1_000_003 + step) % 2**63
