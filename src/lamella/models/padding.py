"""Images of any height and width for networks that halve them several times."""

import torch
from torch import nn
from torch.nn import functional as F


class AnySize(nn.Module):
    """A network that takes any height and width: pads what it is given, crops what it returns.

    Pads at the bottom and at the right, up to the next multiple, by reflection; a side too short to be
    reflected that far is continued with its last row or column. An image that divides already is passed on
    untouched. The one place in Lamella where images are padded for a network's sake.

    Args:
        network: (B, C, H, W) -> (B, K, H, W) for every H and W that `multiple` divides.
        multiple: what H and W must be multiples of: 2 to the number of halvings.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, K, H, W), for every H and W of at least 1."""
        height, width = image.shape[-2:]
        image = pad_to_multiple(image, self.multiple)  # (B, C, H, W) -> (B, C, H', W')
        logits: torch.Tensor = self.network(image)  # (B, C, H', W') -> (B, K, H', W')
        return logits[..., :height, :width]  # (B, K, H', W') -> (B, K, H, W)


def pad_to_multiple(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """Continues (B, C, H, W) at the bottom and the right until `multiple` divides both sides.

    The memory format (channels last or not) stays. Returns `image` itself where nothing is missing.
    """
    height, width = image.shape[-2:]
    down, right = -height % multiple, -width % multiple
    # A reflection must be shorter than the side it mirrors. One side at a time, as each has its own length.
    if right:
        image = F.pad(image, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if down:
        image = F.pad(image, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    return image
