"""R2U-Net: a U-Net whose blocks are recurrent and residual; and the same with attention gates.

M. Z. Alom et al.: "Recurrent Residual Convolutional Neural Network based on U-Net (R2U-Net) for Medical Image
Segmentation", arXiv:1802.06955 (2018). Recurrent convolutions: M. Liang, X. Hu, "Recurrent Convolutional Neural
Network for Object Recognition", CVPR 2015.
"""

from functools import partial
from typing import Annotated

import torch
from torch import nn
from torch.nn import functional as F

from lamella.config.key import Key
from lamella.models import weights
from lamella.models.contract import AnySize, Channels, Classes, FileWeights, logits_of
from lamella.models.papers.attention_unet import AttentionGate
from lamella.models.papers.unet import MULTIPLE, BatchNorm, UNet, Width

Steps = Annotated[int, Key("times a convolution is repeated on its own output; the paper's t", least=1)]


class RecurrentConvolution(nn.Module):
    """A convolution that is applied again to the sum of its input and its own last output.

    x(0) = relu(w * u), x(t) = relu(w * (u + x(t-1))): the paper's equations with one kernel w for input and
    recurrence. With a kernel for each there would be twice as many parameters as in U-Net, and the paper claims
    about the same number. A normalisation, if wanted, has statistics of its own at every step.
    """

    def __init__(self, channels: int, steps: int, batch_norm: bool) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm)
        norms = (nn.BatchNorm2d(channels) if batch_norm else nn.Identity() for _ in range(steps + 1))
        self.norms = nn.ModuleList(norms)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, F, h, w) -> (B, F, h, w)."""
        total = image
        for norm in self.norms:
            x = F.relu(norm(self.convolve(total)))
            total = image + x
        return x


class RecurrentResidual(nn.Module):
    """Two recurrent convolutions around which the input is led and added.

    A 1x1 convolution first brings the input to the channels of the output, so that the two can be added.
    """

    def __init__(self, channels: int, width: int, steps: int, batch_norm: bool) -> None:
        super().__init__()
        self.fit = nn.Conv2d(channels, width, 1)
        self.recurrent = nn.Sequential(
            RecurrentConvolution(width, steps, batch_norm), RecurrentConvolution(width, steps, batch_norm)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) -> (B, width, h, w)."""
        x = self.fit(image)
        summed: torch.Tensor = x + self.recurrent(x)
        return summed


def r2unet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    width: Width,
    steps: Steps,
    batch_norm: BatchNorm,
    encoder_weights: FileWeights,
) -> nn.Module:
    """R2U-Net for images of any size: U-Net's shape, skips concatenated, every block recurrent and residual.

    Batch normalisation, if wanted, follows every step of every recurrent convolution.
    Arguments, result and errors: see `lamella.models.contract`.
    """
    block = partial(RecurrentResidual, steps=steps, batch_norm=batch_norm)
    network = UNet(in_channels, logits_of(num_classes), width, block)
    _calm(network)
    weights.start_encoder(network.encoder, encoder_weights, "r2unet")
    return AnySize(network, MULTIPLE)


def attention_r2unet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    width: Width,
    steps: Steps,
    batch_norm: BatchNorm,
    encoder_weights: FileWeights,
) -> nn.Module:
    """R2U-Net with the gates of Attention U-Net, for images of any size.

    The combination has no publication of its own. Arguments, result and errors are those of `r2unet`.
    """
    block = partial(RecurrentResidual, steps=steps, batch_norm=batch_norm)
    network = UNet(in_channels, logits_of(num_classes), width, block, gate=AttentionGate)
    _calm(network)
    weights.start_encoder(network.encoder, encoder_weights, "attention_r2unet")
    return AnySize(network, MULTIPLE)


@torch.no_grad()
def _calm(network: nn.Module) -> None:
    """Starts from smaller weights: else what is added up over steps and blocks would grow hundredfold."""
    for module in network.modules():
        if isinstance(module, RecurrentConvolution):
            module.convolve.weight *= 0.5
        elif isinstance(module, RecurrentResidual):
            module.fit.weight *= 0.5**0.5
