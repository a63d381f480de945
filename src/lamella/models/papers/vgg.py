"""The convolutional part of VGG, and its weights: K. Simonyan, A. Zisserman, arXiv:1409.1556 (2014), table 1.

Numbered as `features` in torchvision's VGG, so that torchvision's weights fit by name.
"""

from typing import Literal

from torch import nn

from lamella.models import pretrained, weights

VGG = Literal["vgg11", "vgg16"]

# Channels of the convolutions of each of the five stages: columns A and D of the table.
STAGES: dict[VGG, tuple[tuple[int, ...], ...]] = {
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}


def features(name: VGG, in_channels: int, batch_norm: bool) -> nn.Sequential:
    """VGG's 3x3 convolutions in five stages, each closed by a 2x2 pooling: (B, C, H, W) -> (B, 512, H/32, W/32)."""
    layers: list[nn.Module] = []
    channels = in_channels
    for stage in STAGES[name]:
        for width in stage:
            # Biases even before a normalisation: torchvision's layout, so that its weights fit.
            layers += normalised(nn.Conv2d(channels, width, 3, padding=1), width, batch_norm)
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def read_weights(encoder_weights: str, name: VGG, batch_norm: bool) -> tuple[weights.StateDict, str]:
    """The weights that a VGG starts from, and where they are from.

    Args:
        encoder_weights: "imagenet": torchvision's for the whole network, fetched once; else a file.
        name: which VGG.
        batch_norm: those of the one with batch normalisation.

    Raises:
        WeightsError: they cannot be had or read.
    """
    if encoder_weights == "imagenet":
        return pretrained.fetch_torchvision(f"{name}_bn" if batch_norm else name)
    return weights.read_state_dict(encoder_weights), encoder_weights


def normalised(layer: nn.Module, channels: int, batch_norm: bool) -> list[nn.Module]:
    """A convolution and what follows it: normalisation, if wanted, and ReLU."""
    norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if batch_norm else []
    return [layer, *norm, nn.ReLU(inplace=True)]
