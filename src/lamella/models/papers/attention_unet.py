"""Attention U-Net: a U-Net whose skip connections are weighed, pixel by pixel, by what lies below them.

O. Oktay et al.: "Attention U-Net: Learning Where to Look for the Pancreas", arXiv:1804.03999 (2018).
"""

import torch
from torch import nn
from torch.nn import functional as F

from lamella.models import weights
from lamella.models.contract import AnySize, Channels, Classes, FileWeights, logits_of
from lamella.models.papers.unet import MULTIPLE, BatchNorm, UNet, Width, twice


class AttentionGate(nn.Module):
    """Weighs a skip connection, pixel by pixel: additive attention, equations 1 and 2 of the paper.

    Args:
        channels: channels F of the skip connection; also of the space where both are compared.
        below: channels of the gating signal, which has half the height and width.
    """

    def __init__(self, channels: int, below: int) -> None:
        super().__init__()
        # 2x2 where the paper's figure has 1x1: as in the authors' release, so that no pixel is left out.
        self.of_skip = nn.Conv2d(channels, channels, 2, stride=2, bias=False)
        self.of_gate = nn.Conv2d(below, channels, 1)
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """(B, F, 2h, 2w), (B, G, h, w) -> (B, F, 2h, 2w)."""
        both = F.relu(self.of_skip(skip) + self.of_gate(gate))  # (B, F, h, w)
        weight = self.score(both).sigmoid()  # (B, F, h, w) -> (B, 1, h, w)
        return skip * F.interpolate(weight, scale_factor=2, mode="bilinear")  # (B, 1, h, w) -> (B, 1, 2h, 2w)


def attention_unet(
    *, in_channels: Channels, num_classes: Classes, width: Width, batch_norm: BatchNorm, encoder_weights: FileWeights
) -> nn.Module:
    """Attention U-Net in two dimensions, for images of any size.

    The paper's is three-dimensional; here every kernel lost its depth. The first skip connection is not gated, as
    in the paper. Its deep supervision is left out: one loss sees one output. Batch normalisation, if wanted, follows
    every 3x3 convolution.

    Arguments, result and errors: see `lamella.models.contract`.
    """
    network = UNet(in_channels, logits_of(num_classes), width, twice(batch_norm), gate=AttentionGate)
    weights.start_encoder(network.encoder, encoder_weights, "attention_unet")
    return AnySize(network, MULTIPLE)
