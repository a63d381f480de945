"""A trained network and all that belongs to it: an image of any size -> class probabilities of any size."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from lamella.inference import tiling
from lamella.inference.reach import reach, sides
from lamella.inference.settings import Inference
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
        shifted = image - self.low if image.dtype == torch.float32 else image.float().sub_(self.low)
        return shifted.mul_(255 / (self.high - self.low))

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        return (grey - self.mean).div_(self.std)


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
        """Class probabilities float32 (1, K', *size) of one image (1, C, h, w) as stored; see `tiling.stream`."""
        how = tiling_of([self], (image.shape[-2], image.shape[-1]))
        return tiling.predict([self.member], image, size, how, tta=tta)

    @property
    def member(self) -> tiling.Member:
        """This segmenter as tiles are given to it."""
        return tiling.Member(self.normalise.grey, self.normalise, self.network)

    def logits(self, grey: torch.Tensor) -> torch.Tensor:
        """Grey levels (B, C, h, w) -> logits (B, K, h, w)."""
        normalised = self.normalise(grey).to(memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(normalised)
        return logits

    def classes(self, probability: torch.Tensor) -> torch.Tensor:
        """Class ids uint8 (B, H, W) of probabilities (B, K', H, W)."""
        return tiling.classes(probability, self.inference.threshold)

    def at(self, threshold: float) -> "Segmenter":
        """This segmenter with another threshold; the network is shared."""
        return replace(self, inference=replace(self.inference, threshold=threshold))

    def on(self, device: torch.device) -> "Segmenter":
        """This segmenter itself, in evaluation mode, its weights moved to a device."""
        self.network.eval().to(device)
        self.normalise.to(device)
        return self


def stream(
    segmenters: Sequence[Segmenter],
    rows: Iterable[torch.Tensor],
    size: tuple[int, int],
    wanted: tuple[int, int],
    *,
    tta: bool,
) -> Iterator[torch.Tensor]:
    """Class probabilities and their spread, some rows at a time, of networks together: see `tiling.stream`.

    Args:
        segmenters: of the same classes, channels and context.
        rows: (C, n, w) as stored, from top to bottom.
        size: (h, w) of the picture.
        wanted: (H, W) of the probabilities.
        tta: average over the eight flips and quarter turns.
    """
    members, how = [each.member for each in segmenters], tiling_of(segmenters, size)
    return tiling.stream(members, rows, size, wanted, how, tta=tta, spread=tta or len(members) > 1)


def tiling_of(segmenters: Sequence[Segmenter], size: tuple[int, int]) -> tiling.Tiling:
    """How a picture (h, w) is cut for networks that predict it together."""
    context, tile = segmenters[0].context, min(each.inference.tile for each in segmenters)
    all_ = [sides(each.network) for each in segmenters]
    stride, multiple = (math.lcm(*(each[place] for each in all_)) for place in (0, 1))
    cut = max(size) + 2 * context > tile
    overlap, margin = max(_overlap(each, tile) for each in segmenters) if cut else (0, 0)
    return tiling.Tiling(tile, overlap, margin, stride, multiple, max(each.least for each in all_), context)


def _overlap(segmenter: Segmenter, tile: int) -> tuple[int, int]:
    """The pixels that tiles share, and how many of them weigh nothing."""
    overlap = segmenter.inference.overlap
    if overlap is None:
        looks = reach(segmenter.network, segmenter.normalise.mean.shape[1], tile * 5 // 16)
        if looks is not None:
            return 2 * looks, looks
        overlap = tile // 8  # it would take too much, or everything
    return overlap, overlap // 4
