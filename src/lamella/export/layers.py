"""Layers of networks written anew for exporters: for sizes known only when a graph runs, with the same result."""

import copy

import torch
from torch import nn

from lamella.errors import ConfigError
from lamella.models.contract import AnySize


def exportable(network: nn.Module) -> nn.Module:
    """A copy of a network in which what exporters cannot follow for every size stands in other operations."""
    holder = nn.ModuleList([copy.deepcopy(network).to(memory_format=torch.contiguous_format)])  # type: ignore[call-overload]
    for parent in list(holder.modules()):
        for name, child in parent.named_children():
            if type(child) is AnySize:
                setattr(parent, name, Padded(child))
            elif type(child) is nn.AdaptiveAvgPool2d:
                setattr(parent, name, Pooled(child.output_size))
    return holder[0]


class Padded(nn.Module):
    """`AnySize` without a branch: which pixel is continued by which is computed, so that one graph serves all sizes."""

    def __init__(self, of: AnySize) -> None:
        super().__init__()
        self.network, self.multiple, self.least = of.network, of.multiple, of.least

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, K, H, W)."""
        height, width = image.shape[-2:]
        logits: torch.Tensor = self.network(self._along(self._along(image, 3), 2))
        return logits[..., :height, :width]

    def _along(self, image: torch.Tensor, axis: int) -> torch.Tensor:
        side = image.shape[axis]
        whole = (side + self.multiple - 1) // self.multiple * self.multiple
        if self.least > 1:
            whole = torch.sym_max(whole, self.least)  # type: ignore[no-untyped-call]
        place = torch.arange(whole, device=image.device)
        mirrored = 2 * (side - 1) - place
        reflects = mirrored.min() >= 0  # a reflection must be shorter than the side it mirrors; else the last goes on
        beyond = torch.where(reflects, mirrored, torch.full_like(place, side - 1))
        return image.index_select(axis, torch.where(place < side, place, beyond))


class Pooled(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two products with matrices of shares, which depend on the image's size.

    Args:
        size: that of the result: one number, or those of both sides.
    """

    def __init__(self, size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        height, width = size if isinstance(size, tuple) else (size, size)
        if not height or not width:
            raise ConfigError("a pooling layer that leaves one side as it is cannot be exported")
        self.size = (height, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, *size)."""
        if self.size == (1, 1):
            return features.mean((-2, -1), keepdim=True)
        rows, columns = (_shares(features, *each) for each in zip(self.size, features.shape[-2:], strict=True))
        return rows @ features @ columns.T


def _shares(features: torch.Tensor, parts: int, side: int) -> torch.Tensor:
    """How much each of `side` places counts in each of `parts` means: (parts, side)."""
    number = torch.arange(parts, device=features.device)[:, None]
    place = torch.arange(side, device=features.device)[None]
    first, last = number * side // parts, ((number + 1) * side + parts - 1) // parts
    inside = ((place >= first) & (place < last)).to(features.dtype)
    return inside / (last - first).to(features.dtype)
