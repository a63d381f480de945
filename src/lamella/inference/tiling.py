"""One image of any size through a network, in tiles and views where asked: logits, probabilities, classes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lamella.inference.settings import Inference

Network = Callable[[torch.Tensor], torch.Tensor]

VIEWS = tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True))
"""The eight ways to lay an image: quarter turns, then mirrored or not."""


def predict(
    network: Network, image: torch.Tensor, size: tuple[int, int], inference: Inference, *, context: int, tta: bool
) -> torch.Tensor:
    """Class probabilities of one image of any size, predicted in tiles and blended where it is large.

    Args:
        network: float32 (B, C, h, w) -> logits (B, K, h, w), any size.
        image: float32 (1, C, h, w), as the network takes it.
        size: (H, W) wanted; the probabilities are interpolated where it differs from (h, w).
        inference: tiling.
        context: zeros put around the picture first, this many on each side, as training windows have beyond it.
        tta: average over the eight flips and quarter turns.

    Returns:
        float32 (1, K', H, W): K' = 1, the foreground's probability, for one logit; else K, summing to 1.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, [context] * 4)
    views = VIEWS if tta else VIEWS[:1]
    total: torch.Tensor | None = None
    for view in views:  # one at a time: of a large image, eight would fill the memory
        probability = _undo(_tiled(network, _laid(padded, *view), inference), *view)
        total = probability if total is None else total.add_(probability)
        del probability  # else it lives until the next view is there
    assert total is not None  # there is always a view
    mean = total.div_(len(views))[..., context : context + height, context : context + width]
    if size != (height, width):
        mean = F.interpolate(mean, size=size, mode="bilinear", align_corners=False)
    return mean


def to_probability(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K, h, w) -> float32 probabilities: sigmoid for one logit, else softmax over K."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


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


def _tiled(network: Network, image: torch.Tensor, inference: Inference) -> torch.Tensor:
    """Probabilities (1, K', h, w), tiles blended into each other."""
    height, width = image.shape[-2:]
    if height <= inference.tile and width <= inference.tile:
        return to_probability(network(image))
    total: torch.Tensor | None = None
    weights = torch.zeros(height, width, device=image.device)
    for rows, row_weight in _spans(height, inference, image.device):
        for columns, column_weight in _spans(width, inference, image.device):
            part = to_probability(network(image[..., rows, columns]))
            weight = row_weight[:, None] * column_weight
            if total is None:
                total = part.new_zeros((1, part.shape[1], height, width))
            total[..., rows, columns] += part * weight
            weights[rows, columns] += weight
    assert total is not None  # there is always a tile
    return total.div_(weights)


def _spans(length: int, inference: Inference, device: torch.device) -> list[tuple[slice, torch.Tensor]]:
    """The tiles along a side, each with the weights of its pixels (from 0 to 1)."""
    tile = min(inference.tile, length)
    return [
        (slice(start, start + tile), _ramp(tile, inference.overlap, start > 0, start + tile < length, device))
        for start in tile_starts(length, tile, inference.overlap if tile < length else 0)
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


def _laid(image: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = torch.rot90(image, turns, (-2, -1)) if turns else image
    return turned.flip(-1) if mirrored else turned


def _undo(probability: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = probability.flip(-1) if mirrored else probability
    return torch.rot90(turned, -turns, (-2, -1)) if turns else turned
