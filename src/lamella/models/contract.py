"""What every network keeps to: the arguments its function takes, images of any size in, one logit for two classes.

A function of `lamella.models` that builds a network has keyword-only arguments alone. Those with a name of this
module as their type mean the same in all of them. What it returns takes images (B, C, H, W) of any size and gives
logits (B, K, H, W), K = 1 for two classes, else one per class. It raises a WeightsError where the weights asked for
cannot be had or do not fit. Weights for RGB are adapted to another number of channels.
"""

from typing import Annotated

import torch
from torch import nn
from torch.nn import functional as F

from lamella.config.key import Key
from lamella.errors import ConfigError

Channels = Annotated[int, Key("channels of the image", least=1)]
Classes = Annotated[int, Key("classes, background included", least=2)]
Encoder = Annotated[str, Key("an encoder of SMP's, or of timm's as tu-NAME")]
EncoderWeights = Annotated[str | None, Key("null: from scratch; imagenet; or a file", path=True)]
FileWeights = Annotated[str | None, Key("null: from scratch; or a file", path=True)]  # of the contracting path


def logits_of(num_classes: int) -> int:
    """How many logits a network gives each pixel: one for two classes, else one per class."""
    return 1 if num_classes == 2 else num_classes


class AnySize(nn.Module):
    """A network that takes any height and width: pads what it is given, crops what it returns.

    Pads at the bottom and at the right, up to the next multiple, by reflection; a side too short to be
    reflected that far is continued with its last row or column. An image that divides already is passed on
    untouched. The one place in Lamella where images are padded for a network's sake.

    Args:
        network: (B, C, H, W) -> (B, K, H, W) for every H and W that `multiple` divides, from `least` on.
        multiple: what H and W must be multiples of: 2 to the number of halvings.
        least: the smallest H and W that the network takes; a multiple of `multiple`.
    """

    def __init__(self, network: nn.Module, multiple: int, least: int = 1) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.least = least

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, K, H, W), for every H and W of at least 1.

        Raises:
            ConfigError: in training, where a batch is too small for batch normalisation.
        """
        batch, _, height, width = image.shape
        image = pad_to_multiple(image, self.multiple, self.least)  # (B, C, H, W) -> (B, C, H', W')
        try:
            logits: torch.Tensor = self.network(image)  # (B, C, H', W') -> (B, K, H', W')
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"{batch} crop a step, of {height} x {width} pixels, is too little for this network: in its deepest "
                "layer one value a channel is left, which batch normalisation cannot normalise.",
                "Set data.batch_size to 2 or more, or data.crop larger.",
            ) from error
        return logits[..., :height, :width]  # (B, K, H', W') -> (B, K, H, W)


def pad_to_multiple(image: torch.Tensor, multiple: int, least: int = 1) -> torch.Tensor:
    """The image (B, C, H, W), continued below and to the right until `multiple` divides both sides.

    Both sides also reach `least`. The memory format (channels last or not) stays. Returns `image` itself where
    nothing is missing.
    """
    height, width = image.shape[-2:]
    down = max(-height % multiple, least - height)
    right = max(-width % multiple, least - width)
    # A reflection must be shorter than the side it mirrors. One side at a time, as each has its own length.
    if right > 0:
        image = F.pad(image, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if down > 0:
        image = F.pad(image, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    return image
