"""U-Net, and the shape that its descendants share.

O. Ronneberger, P. Fischer, T. Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
arXiv:1505.04597 (2015).
"""

from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from torch import nn
from torch.nn import functional as F

from lamella.config.key import Key
from lamella.models import weights
from lamella.models.contract import AnySize, Channels, Classes, FileWeights, logits_of
from lamella.models.papers.vgg import normalised

Width = Annotated[int, Key("channels at full resolution; twice as many after each halving", least=1)]
BatchNorm = Annotated[bool, Key("false: the network of the paper")]

LEVELS = 5
MULTIPLE = 2 ** (LEVELS - 1)


class UNet(nn.Module):
    """The shape of a U-Net: a contracting path, an expanding one, and skip connections between them at each level.

    Args:
        in_channels: channels C of the image.
        out_channels: channels K of the logits.
        width: channels at full resolution.
        block: (channels in, channels out) -> what is done at one level; keeps height and width.
        gate: (channels of the skip, channels of the level below) -> what weighs a skip connection, called with
            both; None: skips are passed on as they are. The first one, at full resolution, is never gated.
        dropout: share of activations set to 0 at the two deepest levels, in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        block: Callable[[int, int], nn.Module],
        gate: Callable[[int, int], nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            block(above, here) for above, here in zip([in_channels, *widths], widths, strict=False)
        )
        steps = list(zip(widths[1:], widths, strict=False))  # (below, here), the shallowest first
        self.ups = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for below, here in steps)
        self.gates = nn.ModuleList(gate(here, below) for below, here in steps[1:]) if gate else None
        self.decoder = nn.ModuleList(block(2 * here, here) for _, here in steps)
        self.head = nn.Conv2d(width, out_channels, 1)
        self.dropout = dropout
        start_from_he(self, [self.head])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> logits (B, K, H, W). H and W must be multiples of 16."""
        skips: list[torch.Tensor] = []
        x = image
        for level, block in enumerate(self.encoder):
            if level > 0:
                x = F.max_pool2d(x, 2)  # (B, w, h, w') -> (B, w, h/2, w'/2)
            x = block(x)  # (B, 2w, h/2, w'/2)
            if level >= LEVELS - 2:
                x = F.dropout(x, self.dropout, self.training)
            skips.append(x)
        for level in reversed(range(LEVELS - 1)):
            skip = skips[level]
            if self.gates is not None and level > 0:
                skip = self.gates[level - 1](skip, x)
            x = torch.cat([skip, self.ups[level](x)], dim=1)  # (B, 2w, h, w') -> (B, w + w, 2h, 2w')
            x = self.decoder[level](x)  # (B, 2w, ...) -> (B, w, ...)
        logits: torch.Tensor = self.head(x)  # (B, width, H, W) -> (B, K, H, W)
        return logits


def unet_ronneberger(
    *,
    in_channels: Channels,
    num_classes: Classes,
    width: Width,
    dropout: Annotated[float, Key("share of activations set to 0 at the two deepest levels", least=0, most=0.9)],
    batch_norm: BatchNorm,
    encoder_weights: FileWeights,
) -> nn.Module:
    """The U-Net of 2015, for images of any size.

    Five levels of two 3x3 convolutions with ReLU, 2x2 max pooling, 2x2 up-convolutions, a 1x1 convolution:
    figure 1 of the paper where `width` is 64. Two things differ. The paper's convolutions lose a border of pixels
    and its skips are cropped; here they are padded by zeros, so the logits are as large as the image. And two
    classes have one logit, not two. Dropout "at the end of the contracting path" is 0.5 in the authors' release,
    at its last two levels. Batch normalisation, if wanted, follows every 3x3 convolution.

    Arguments, result and errors: see `lamella.models.contract`.
    """
    network = UNet(in_channels, logits_of(num_classes), width, twice(batch_norm), dropout=dropout)
    weights.start_encoder(network.encoder, encoder_weights, "unet_ronneberger")
    return AnySize(network, MULTIPLE)


def twice(batch_norm: bool) -> Callable[[int, int], nn.Module]:
    """Two 3x3 convolutions: (B, channels in, h, w) -> (B, channels out, h, w)."""

    def block(channels: int, width: int) -> nn.Module:
        return nn.Sequential(
            *normalised(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm), width, batch_norm),
            *normalised(nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm), width, batch_norm),
        )

    return block


def start_from_he(network: nn.Module, heads: Iterable[nn.Conv2d]) -> None:
    """Initialises a network in place, as the U-Net paper asks: by He's normal distribution (arXiv:1502.01852).

    Every convolution is drawn from N(0, 2 / incoming connections). Where no ReLU follows, in
    up-convolutions and `heads`, the variance is half of that. Biases start at 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            # A pixel gets one of the 2x2 places of each kernel: as many connections as channels.
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for head in heads:
        nn.init.kaiming_normal_(head.weight, nonlinearity="linear")
