"""Levels as stored -> what the network takes, as in training, in operations that every exporter knows."""

import torch
from torch import nn

_BITS = 22  # Pillow's precision where it averages bytes


class Stretched(nn.Module):
    """Each channel of each image stretched from its own percentiles, as `lamella.data.io.intensity.stretch` does.

    Args:
        percentiles: the lower and the upper one.
    """

    def __init__(self, percentiles: tuple[float, float]) -> None:
        super().__init__()
        self.shares = [percent / 100 for percent in percentiles]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Levels (B, C, H, W) of any type -> whole float64 levels from 0 to 65535."""
        ordered = image.float().flatten(2).sort(dim=-1).values.double()  # float32 holds what is stored
        last = _count(ordered) - 1
        low, high = (_level(ordered, share * last)[..., None] for share in self.shares)
        share = (image.double() - low) / torch.where(high > low, high - low, 1.0)
        return (16384 + share * 32767).round().clamp(0, 65535)


class Shrunk(nn.Module):
    """Images made smaller by area averaging, as `lamella.data.io.resize.shrink` makes them through Pillow.

    Pillow averages along rows, then along columns, and rounds after each: bytes in whole numbers of 22 bits, others in
    float64. Of bytes twice as high as wide it takes columns first: some levels then differ by one.

    Args:
        scale: new size by old one.
        dtype: of the levels: "uint8", "uint16" or "float32".
    """

    def __init__(self, scale: float, dtype: str) -> None:
        super().__init__()
        self.scale = scale
        self.dtype = dtype

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Levels (B, C, H, W) -> (B, C, h, w), of the same type or of another that holds them."""
        small = self._along(self._along(image.long() if self.dtype == "uint8" else image.double()).mT).mT
        return small.round().clamp(0, 65535) if self.dtype == "uint16" else small

    def _along(self, image: torch.Tensor) -> torch.Tensor:
        """The last axis made smaller."""
        large = image.shape[-1]
        first, last = _boxes(image, large, scaled(large, self.scale))
        number = last - first
        sums = torch.nn.functional.pad(image.cumsum(-1), (1, 0))
        sums = sums.index_select(-1, last) - sums.index_select(-1, first)
        if self.dtype == "uint8":
            weight = (0.5 + (1 / number.double()) * 2**_BITS).long()
            return torch.div(sums * weight + 2 ** (_BITS - 1), 2**_BITS, rounding_mode="floor")
        return (sums * (1 / number.double())).float().double()


def scaled(side: int, scale: float) -> int:
    """A side times a scale, as `lamella.data.io.resize.scaled_size` rounds it; also one that only the graph knows."""
    small: int = torch.sym_max(round(side * scale), 1)  # type: ignore[no-untyped-call]
    return small


def _boxes(image: torch.Tensor, large: int, small: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each new pixel the first old one under it, and the one behind the last; by Pillow's own formulas in float64.

    Where an edge falls on a pixel's middle, rounding decides, and must decide as there: it asks twice.
    """
    by = torch.scalar_tensor(large, dtype=torch.float64) / torch.scalar_tensor(small, dtype=torch.float64)
    centre = (torch.arange(small, dtype=torch.float64, device=image.device) + 0.5) * by
    width = by.clamp(min=1)
    half = 0.5 * width
    first = (centre - half + 0.5).trunc().clamp(min=0)
    last = torch.minimum((centre + half + 0.5).trunc(), torch.scalar_tensor(large, dtype=torch.float64))
    unit = 1 / width
    first = first + ((first - centre + 0.5) * unit <= -0.5).double()
    last = last - ((last - 1 - centre + 0.5) * unit > 0.5).double()
    return first.long(), last.long()


def _count(ordered: torch.Tensor) -> torch.Tensor:
    return torch.scalar_tensor(ordered.shape[-1], dtype=torch.float64)


def _level(ordered: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """The level at a place between two of (B, C, N) in order, as `numpy.percentile` interpolates: (B, C, 1)."""
    below = place.floor()
    part = place - below
    one, other = (ordered.index_select(-1, each.long()[None]) for each in (below, place.ceil()))
    step = other - one
    return torch.where(part >= 0.5, other - step * (1 - part), one + step * part)
