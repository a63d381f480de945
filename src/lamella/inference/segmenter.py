"""An image of any size -> class probabilities of any size."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import nn

from lamella.config.key import Key, hold
from lamella.errors import ConfigError

Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How whole images are predicted.

    Raises:
        ConfigError: a value out of its bounds, or tiles that would overlap by more than half.
    """

    tile: Annotated[int, Key("largest side, in pixels of the scaled image, predicted in one piece", least=32)]
    overlap: Annotated[int, Key("pixels that neighbouring tiles share", least=0)]
    tta: Annotated[bool, Key("average over the eight flips and quarter turns when testing")]
    threshold: Annotated[float, Key("foreground above this probability (two classes)", above=0, most=0.999)]

    def __post_init__(self) -> None:
        hold(self)
        if self.overlap > self.tile // 2:
            raise ConfigError(
                f"inference.overlap must be at most half of inference.tile: {self.overlap} of {self.tile}",
                "Set the one lower or the other higher.",
            )


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
    """A trained network with all that turns images into classes as its run did.

    Attributes:
        network: normalised float32 (B, C, h, w) -> logits (B, K, h, w), any size.
        normalise: stored levels -> what the network takes.
        how: tiling, views and threshold.
        frame: pixels beyond the picture that the network sees.
    """

    network: nn.Module
    normalise: Normalise
    how: Inference
    frame: int

    def probability(self, image: torch.Tensor, size: tuple[int, int], *, tta: bool) -> torch.Tensor:
        """Class probabilities float32 (1, K', *size) of one image (1, C, h, w) as stored; see `predict`."""
        return predict(self.logits, self.normalise.grey(image), size, self.how, frame=self.frame, tta=tta)

    def logits(self, grey: torch.Tensor) -> torch.Tensor:
        """Grey levels (B, C, h, w) -> logits (B, K, h, w)."""
        normalised = self.normalise(grey).to(memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(normalised)
        return logits

    def classes(self, probability: torch.Tensor) -> torch.Tensor:
        """Class ids uint8 (B, H, W) of probabilities (B, K', H, W)."""
        return classes(probability, self.how.threshold)

    def at(self, threshold: float) -> "Segmenter":
        """The same with another threshold."""
        return replace(self, how=replace(self.how, threshold=threshold))

    def on(self, device: torch.device) -> "Segmenter":
        """Itself, in evaluation mode, with its weights on a device."""
        self.network.eval().to(device)
        self.normalise.to(device)
        return self


def predict(
    network: Network, image: torch.Tensor, size: tuple[int, int], how: Inference, *, frame: int, tta: bool
) -> torch.Tensor:
    """Class probabilities of one image.

    Args:
        network: float32 (B, C, h, w) -> logits (B, K, h, w), any size.
        image: float32 (1, C, h, w), as the network takes it.
        size: (H, W) wanted; the probabilities are interpolated where it differs from (h, w).
        how: tiling.
        frame: zeros put around the picture first, this many on each side, as training windows have beyond it.
        tta: average over the eight flips and quarter turns.

    Returns:
        float32 (1, K', H, W): K' = 1, the foreground's probability, for one logit; else K, summing to 1.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, [frame] * 4)
    views = _dihedral(padded) if tta else [(padded, (0, False))]
    total = torch.zeros(())
    for view, (turns, mirrored) in views:
        probability = _tiled(network, view, how)
        total = total.to(probability) + _undo(probability, turns, mirrored)
    mean = (total / len(views))[..., frame : frame + height, frame : frame + width]
    if size != (height, width):
        mean = F.interpolate(mean, size=size, mode="bilinear", align_corners=False)
    return mean


def classes(probability: torch.Tensor, threshold: float) -> torch.Tensor:
    """Class ids uint8 (B, H, W): above the threshold for one foreground channel, else the likeliest class."""
    if probability.shape[1] == 1:
        return (probability[:, 0] > threshold).to(torch.uint8)
    return probability.argmax(dim=1).to(torch.uint8)


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles start along a side: evenly spread, the last one ending with the side, none overlapping less.

    As few as that takes; `overlap` must be less than `tile`.
    """
    if length <= tile:
        return [0]
    strides = -(-(length - tile) // (tile - overlap))
    return [round(i * (length - tile) / strides) for i in range(strides + 1)]


def _tiled(network: Network, image: torch.Tensor, how: Inference) -> torch.Tensor:
    """Probabilities (1, K', h, w), tiles blended into each other."""
    height, width = image.shape[-2:]
    if height <= how.tile and width <= how.tile:
        return to_probability(network(image))
    total: torch.Tensor | None = None
    weights = torch.zeros(height, width, device=image.device)
    for rows, row_weight in _spans(height, how, image.device):
        for columns, column_weight in _spans(width, how, image.device):
            part = to_probability(network(image[..., rows, columns]))
            weight = row_weight[:, None] * column_weight
            if total is None:
                total = part.new_zeros((1, part.shape[1], height, width))
            total[..., rows, columns] += part * weight
            weights[rows, columns] += weight
    assert total is not None  # there is always a tile
    return total / weights


def _spans(length: int, how: Inference, device: torch.device) -> list[tuple[slice, torch.Tensor]]:
    """The tiles along a side, each with the weights of its pixels (from 0 to 1)."""
    tile = min(how.tile, length)
    return [
        (slice(start, start + tile), _ramp(tile, how.overlap, start > 0, start + tile < length, device))
        for start in tile_starts(length, tile, how.overlap if tile < length else 0)
    ]


def _ramp(length: int, overlap: int, cut_before: bool, cut_after: bool, device: torch.device) -> torch.Tensor:
    """1, falling linearly to 0 towards an end where the picture goes on beyond the tile.

    Near such an end the network lacks context, so the outer quarter of the overlap weighs nothing: one that
    looks no further than that predicts the same whatever the tiles.
    """
    margin = overlap // 4
    place = torch.arange(1, length + 1, device=device, dtype=torch.float32)  # from the start
    far = torch.full_like(place, torch.inf)
    edge = torch.minimum(place if cut_before else far, place.flip(0) if cut_after else far)
    return ((edge - margin) / (overlap - 2 * margin + 1)).clamp(0, 1)


def to_probability(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K, h, w) -> float32 probabilities: sigmoid for one logit, else softmax over K."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


def _dihedral(image: torch.Tensor) -> list[tuple[torch.Tensor, tuple[int, bool]]]:
    views = []
    for turns in range(4):
        turned = torch.rot90(image, turns, (-2, -1))
        views += [(turned, (turns, False)), (turned.flip(-1), (turns, True))]
    return views


def _undo(probability: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    return torch.rot90(probability.flip(-1) if mirrored else probability, -turns, (-2, -1))
