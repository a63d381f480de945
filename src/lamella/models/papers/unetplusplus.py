"""U-Net++: a U-Net whose skip connections are themselves small networks, densely connected.

Z. Zhou et al.: "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", arXiv:1807.10165 (2018).
"""

from typing import Annotated

import torch
from torch import nn
from torch.nn import functional as F

from lamella.config.key import Key
from lamella.models import weights
from lamella.models.contract import AnySize, Channels, Classes, FileWeights, logits_of
from lamella.models.papers.unet import LEVELS, MULTIPLE, BatchNorm, Width, start_from_he, twice


class UNetPlusPlus(nn.Module):
    """The network of U-Net++, made of nodes X(i, j): i halvings below the image, j steps along the skip connection.

    Figure 1 of the paper. X(i, 0) is the contracting path; every other node sees all nodes before it at
    its level, and the one below and before it, upsampled.

    Args:
        in_channels: channels C of the image.
        out_channels: channels K of the logits.
        width: channels at full resolution.
        batch_norm: normalise after every 3x3 convolution.
        deep_supervision: a head on each of X(0, 1) to X(0, 4), their logits averaged; else on X(0, 4) alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, width: int, batch_norm: bool, deep_supervision: bool
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        block = twice(batch_norm)
        self.encoder = nn.ModuleList(
            block(above, here) for above, here in zip([in_channels, *widths], widths, strict=False)
        )
        self.places = [(i, j) for j in range(1, LEVELS) for i in range(LEVELS - j)]
        self.ups = nn.ModuleDict(
            {f"{i}_{j}": nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2) for i, j in self.places}
        )
        self.nodes = nn.ModuleDict({f"{i}_{j}": block((j + 1) * widths[i], widths[i]) for i, j in self.places})
        heads = [nn.Conv2d(width, out_channels, 1) for _ in range(LEVELS - 1 if deep_supervision else 1)]
        self.head = nn.ModuleList(heads)
        start_from_he(self, heads)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> logits (B, K, H, W). H and W must be multiples of 16."""
        x = image
        levels: list[list[torch.Tensor]] = []  # X(i, 0), X(i, 1), ... of each level i
        for i, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if i > 0 else x)  # (B, w, h, w') -> (B, 2w, h/2, w'/2)
            levels.append([x])
        for i, j in self.places:
            up = self.ups[f"{i}_{j}"](levels[i + 1][j - 1])  # (B, 2w, h/2, w'/2) -> (B, w, h, w')
            levels[i].append(
                self.nodes[f"{i}_{j}"](torch.cat([*levels[i], up], dim=1))
            )  # (B, (j+1)w, ..) -> (B, w, ..)
        last = levels[0][-len(self.head) :]
        return torch.stack([head(x) for head, x in zip(self.head, last, strict=True)]).mean(dim=0)


def unetplusplus(
    *,
    in_channels: Channels,
    num_classes: Classes,
    width: Width,
    deep_supervision: Annotated[bool, Key("average the logits of four heads; false: one head")],
    batch_norm: BatchNorm,
    encoder_weights: FileWeights,
) -> nn.Module:
    """U-Net++ for images of any size.

    With `deep_supervision` the logits of four heads are averaged, in training and after: the paper's accurate
    mode. The paper adds up one loss per head; here one loss sees their mean. Each level of the decoder still has a
    short way to the loss, but no head is trained to stand alone, so the network cannot be pruned to fewer levels.
    `width` is 32 in the paper. Batch normalisation, if wanted, follows every 3x3 convolution.

    Arguments, result and errors: see `lamella.models.contract`.
    """
    network = UNetPlusPlus(in_channels, logits_of(num_classes), width, batch_norm, deep_supervision)
    weights.start_encoder(network.encoder, encoder_weights, "unetplusplus")
    return AnySize(network, MULTIPLE)
