"""A trained network and all that belongs to it: an image of any size -> class probabilities of any size."""

import sys
from dataclasses import dataclass, replace

import torch
from torch import nn

from lamella.inference.settings import Inference
from lamella.inference.tiling import classes, predict
from lamella.models.classical.base import Classical


class Normalise(nn.Module):
    """Stored levels -> grey levels on a scale of 0..255 -> mean 0 and deviation 1 over the training images.

    Its buffers travel inside every checkpoint.

    Args:
        mean: per channel, in grey levels.
        std: per channel, in grey levels.
        low: the stored level that stands for 0.
        high: the stored level that stands for 255.
    """

    mean: torch.Tensor
    std: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, mean: list[float], std: list[float], low: float = 0, high: float = 255) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.register_buffer("low", torch.tensor(float(low)))
        self.register_buffer("high", torch.tensor(float(high)))

    def grey(self, image: torch.Tensor) -> torch.Tensor:
        """Levels as stored, of any type -> float32 grey levels, 0..255 over the training images."""
        return (image.float() - self.low) * (255 / (self.high - self.low))

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        return (grey - self.mean) / self.std


@dataclass(frozen=True)
class Segmenter:
    """A trained network with the normalisation and the settings that turn images into classes as its run did.

    Attributes:
        network: normalised float32 (B, C, h, w) -> logits (B, K, h, w), any size.
        normalise: stored levels -> what the network takes.
        inference: tiling, views and threshold.
        context: pixels beyond the picture that the network sees as its border.
    """

    network: nn.Module
    normalise: Normalise
    inference: Inference
    context: int

    @classmethod
    def of(cls, network: nn.Module, normalise: Normalise, inference: Inference, context: int) -> "Segmenter":
        """A segmenter that suits the network: a method without training takes the image as it is.

        No tiles and no border then, which would change the histogram, and no views, which would change nothing.
        """
        if isinstance(network, Classical):
            return cls(network, normalise, replace(inference, tile=sys.maxsize, tta=False), 0)
        return cls(network, normalise, inference, context)

    @property
    def gives_probabilities(self) -> bool:
        """Whether it says how sure it is; a method without training gives masks alone."""
        return not isinstance(self.network, Classical)

    def probability(self, image: torch.Tensor, size: tuple[int, int], *, tta: bool) -> torch.Tensor:
        """Class probabilities float32 (1, K', *size) of one image (1, C, h, w) as stored; see `tiling.predict`."""
        return predict(self.logits, self.normalise.grey(image), size, self.inference, context=self.context, tta=tta)

    def logits(self, grey: torch.Tensor) -> torch.Tensor:
        """Grey levels (B, C, h, w) -> logits (B, K, h, w)."""
        normalised = self.normalise(grey).to(memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(normalised)
        return logits

    def classes(self, probability: torch.Tensor) -> torch.Tensor:
        """Class ids uint8 (B, H, W) of probabilities (B, K', H, W)."""
        return classes(probability, self.inference.threshold)

    def at(self, threshold: float) -> "Segmenter":
        """This segmenter with another threshold; the network is shared."""
        return replace(self, inference=replace(self.inference, threshold=threshold))

    def on(self, device: torch.device) -> "Segmenter":
        """This segmenter itself, in evaluation mode, its weights moved to a device."""
        self.network.eval().to(device)
        self.normalise.to(device)
        return self
