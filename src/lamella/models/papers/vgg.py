"""The convolutional part of VGG: K. Simonyan, A. Zisserman, arXiv:1409.1556 (2014), table 1.

Numbered as `features` in torchvision's VGG, so that torchvision's weights fit by name.
"""

from typing import Literal

from torch import nn

VGG = Literal["vgg11", "vgg16"]

# Channels of the convolutions of each of the five stages: columns A and D of the table.
STAGES: dict[VGG, tuple[tuple[int, ...], ...]] = {
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}


def features(name: VGG, in_channels: int, batch_norm: bool) -> nn.Sequential:
    """(B, C, H, W) -> (B, 512, H/32, W/32): 3x3 convolutions in five stages, each closed by a 2x2 pooling."""
    layers: list[nn.Module] = []
    channels = in_channels
    for stage in STAGES[name]:
        for width in stage:
            # Biases even before a normalisation: torchvision's layout, so that its weights fit.
            layers += normalised(nn.Conv2d(channels, width, 3, padding=1), width, batch_norm)
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def normalised(layer: nn.Module, channels: int, batch_norm: bool) -> list[nn.Module]:
    """A convolution and what follows it: normalisation, if wanted, and ReLU."""
    norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if batch_norm else []
    return [layer, *norm, nn.ReLU(inplace=True)]
