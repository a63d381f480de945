"""An image of any size -> class probabilities of any size."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import nn

from lamella.keys import Key, hold


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How whole images are predicted."""

    tile: Annotated[int, Key("largest side, in pixels of the scaled image, predicted in one piece", least=32)]
    overlap: Annotated[int, Key("pixels that neighbouring tiles share", least=0)]
    tta: Annotated[bool, Key("average over the eight flips and quarter turns when testing")]
    threshold: Annotated[float, Key("foreground above this probability (two classes)", above=0, most=0.999)]

    def __post_init__(self) -> None:
        hold(self)


class Normalise(nn.Module):
    """uint8 or float grey levels (B, C, H, W) -> float32 with mean 0 and deviation 1 over the training images.

    Its buffers travel inside every checkpoint.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image.float() - self.mean) / self.std


def predict(
    network: nn.Module, image: torch.Tensor, size: tuple[int, int], how: Inference, *, frame: int, tta: bool
) -> torch.Tensor:
    """Class probabilities of one image.

    Args:
        network: normalised float32 (B, C, h, w) -> logits (B, K, h, w), any size.
        image: normalised float32 (1, C, h, w).
        size: (H, W) wanted; the probabilities are interpolated where it differs from (h, w).
        how: tiling.
        frame: zeros put around the picture first, as training windows beyond the picture had (the mean colour).
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
    """Where tiles start along a side: evenly spread, the last one ending with the side, none overlapping less."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _tiled(network: nn.Module, image: torch.Tensor, how: Inference) -> torch.Tensor:
    """Probabilities (1, K', h, w), blended with weights that fall towards each tile's edge."""
    height, width = image.shape[-2:]
    if height <= how.tile and width <= how.tile:
        return to_probability(network(image))
    overlap = min(how.overlap, how.tile // 2)
    tile_h, tile_w = min(how.tile, height), min(how.tile, width)
    weight = _ramp(tile_h, overlap, image.device)[:, None] * _ramp(tile_w, overlap, image.device)
    total: torch.Tensor | None = None
    weights = torch.zeros(height, width, device=image.device)
    for y in tile_starts(height, tile_h, overlap):
        for x in tile_starts(width, tile_w, overlap):
            part = to_probability(network(image[..., y : y + tile_h, x : x + tile_w]))
            if total is None:
                total = part.new_zeros((1, part.shape[1], height, width))
            total[..., y : y + tile_h, x : x + tile_w] += part * weight
            weights[y : y + tile_h, x : x + tile_w] += weight
    assert total is not None  # there is always a tile
    return total / weights


def to_probability(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K, h, w) -> float32 probabilities: sigmoid for one logit, else softmax over K."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


def _ramp(length: int, overlap: int, device: torch.device) -> torch.Tensor:
    """1 in the middle, falling linearly over `overlap` pixels towards both ends, never 0."""
    place = torch.arange(length, device=device, dtype=torch.float32)
    edge = torch.minimum(place + 1, length - place)
    return (edge / (overlap + 1)).clamp(max=1)


def _dihedral(image: torch.Tensor) -> list[tuple[torch.Tensor, tuple[int, bool]]]:
    views = []
    for turns in range(4):
        turned = torch.rot90(image, turns, (-2, -1))
        views += [(turned, (turns, False)), (turned.flip(-1), (turns, True))]
    return views


def _undo(probability: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    return torch.rot90(probability.flip(-1) if mirrored else probability, -turns, (-2, -1))
