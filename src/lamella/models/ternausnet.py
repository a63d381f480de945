"""TernausNet: a U-Net whose encoder is a VGG, so that it can start from weights learnt on ImageNet.

V. Iglovikov, A. Shvets: "TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image
Segmentation", arXiv:1801.05746 (2018). VGG: K. Simonyan, A. Zisserman, arXiv:1409.1556 (2014), table 1,
columns A (VGG11) and D (VGG16).
"""

from typing import Annotated, Literal, NamedTuple

import torch
from torch import nn

from lamella.keys import Key
from lamella.models import weights
from lamella.models.padding import AnySize


class _Plan(NamedTuple):
    """The channel numbers of one TernausNet.

    Attributes:
        encoder: channels of the convolutions of each of the five stages; each stage ends with a pooling.
        decoder: (channels between, channels out) of the five upsampling blocks, the deepest (centre) first.
        kernel: side of the transposed convolutions' kernels.
    """

    encoder: tuple[tuple[int, ...], ...]
    decoder: tuple[tuple[int, int], ...]
    kernel: Literal[3, 4]


_PLANS: dict[str, _Plan] = {
    "vgg11": _Plan(
        encoder=((64,), (128,), (256, 256), (512, 512), (512, 512)),
        decoder=((512, 256), (512, 256), (512, 128), (256, 64), (128, 32)),
        kernel=3,
    ),
    "vgg16": _Plan(
        encoder=((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
        decoder=((512, 256), (512, 256), (512, 256), (256, 64), (128, 32)),
        kernel=4,
    ),
}


class TernausNet(nn.Module):
    """VGG encoder, five upsampling blocks with skip connections, a 1x1 convolution.

    Without batch normalisation this is the authors' network: the same layers in the same order, hence the
    same output for the same weights (their UNet11, and their UNet16 with `is_deconv=True`). With it, the
    encoder is torchvision's VGG with batch normalisation, and in the decoder, too, one follows every
    convolution but the last. That is not in the paper; it steadies a training from scratch.

    The encoder is a plain sequence numbered as `features` in torchvision's VGG; its state dict is
    torchvision's without the prefix. Convolutions start from He's normal distribution (arXiv:1502.01852,
    eq. 14: by the number of outgoing connections, as torchvision's VGG does), biases from zero.

    Args:
        in_channels: channels C of the image.
        out_channels: channels K of the logits.
        encoder: "vgg11" or "vgg16".
        batch_norm: normalise after every convolution but the last.
    """

    def __init__(
        self, in_channels: int, out_channels: int, encoder: Literal["vgg11", "vgg16"], batch_norm: bool
    ) -> None:
        super().__init__()
        plan = _PLANS[encoder]

        layers: list[nn.Module] = []
        channels = in_channels
        for stage in plan.encoder:
            for width in stage:
                # Biases even before a normalisation: torchvision's layout, so that its weights fit.
                layers += _normalised(nn.Conv2d(channels, width, 3, padding=1), width, batch_norm)
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.encoder = nn.Sequential(*layers)

        skips = [stage[-1] for stage in reversed(plan.encoder)]  # deepest first
        self.centre = _up(channels, *plan.decoder[0], plan.kernel, batch_norm)
        blocks: list[nn.Module] = []
        for (_, below), skip, (between, out) in zip(plan.decoder, skips, plan.decoder[1:], strict=False):
            blocks.append(_up(below + skip, between, out, plan.kernel, batch_norm))
        width = plan.decoder[-1][1]
        last = nn.Conv2d(width + skips[-1], width, 3, padding=1, bias=not batch_norm)
        blocks.append(nn.Sequential(*_normalised(last, width, batch_norm)))
        self.decoder = nn.ModuleList(blocks)
        self.head = nn.Conv2d(width, out_channels, 1)
        self._initialise()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> logits (B, K, H, W). H and W must be multiples of 32."""
        skips: list[torch.Tensor] = []
        x = image
        for layer in self.encoder:
            if isinstance(layer, nn.MaxPool2d):
                skips.append(x)  # (B, 64..512, H / 2^i, W / 2^i), i = 0..4
            x = layer(x)
        x = self.centre(x)  # (B, 512, H/32, W/32) -> (B, 256, H/16, W/16)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(torch.cat([x, skip], dim=1))  # twice H and W, but for the last: (B, 32, H, W)
        logits: torch.Tensor = self.head(x)  # (B, 32, H, W) -> (B, K, H, W)
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                # torch counts a transposed kernel (in, out, h, w) the other way round: outgoing are fan_in.
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, nn.ConvTranspose2d | nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
        # No ReLU behind it and few connections out of it: by the incoming ones, so that logits start small.
        nn.init.kaiming_normal_(self.head.weight, mode="fan_in", nonlinearity="linear")


def ternausnet(
    *,
    in_channels: Annotated[int, Key("channels of the image", least=1)],
    num_classes: Annotated[int, Key("classes, background included", least=2)],
    encoder: Annotated[Literal["vgg11", "vgg16"], Key("which VGG")],
    encoder_weights: Annotated[str | None, Key("null: from scratch; imagenet; or a file")],
    batch_norm: Annotated[bool, Key("false: the network of the paper")],
) -> nn.Module:
    """A TernausNet for images of any size.

    Args:
        in_channels: channels C of the image.
        num_classes: classes, background included.
        encoder: "vgg11" or "vgg16".
        encoder_weights: None: start from scratch; "imagenet": torchvision's weights for this encoder, fetched
            once; else a file with a state dict of the encoder (see lamella.models.weights). Weights for RGB
            are adapted to another number of channels.
        batch_norm: False: the network of the paper; True: normalised, see TernausNet.

    Returns:
        Image (B, C, H, W) -> logits (B, K, H, W), K = 1 for two classes, else one per class.

    Raises:
        WeightsError: the weights asked for cannot be had, or do not fit.
    """
    network = TernausNet(in_channels, 1 if num_classes == 2 else num_classes, encoder, batch_norm)
    if encoder_weights == "imagenet":
        state, source = weights.fetch_torchvision(f"{encoder}_bn" if batch_norm else encoder)
        weights.load_encoder(network.encoder, state, source)
    elif encoder_weights is not None:
        weights.load_encoder(network.encoder, weights.read_state_dict(encoder_weights), encoder_weights)
    return AnySize(network, multiple=32)


def _normalised(layer: nn.Module, channels: int, batch_norm: bool) -> list[nn.Module]:
    """A convolution and what follows it."""
    norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if batch_norm else []
    return [layer, *norm, nn.ReLU(inplace=True)]


def _up(below: int, between: int, out: int, kernel: Literal[3, 4], batch_norm: bool) -> nn.Sequential:
    """A decoder block: (B, below, h, w) -> (B, between, h, w) -> (B, out, 2h, 2w)."""
    convolve = nn.Conv2d(below, between, 3, padding=1, bias=not batch_norm)
    # Either kernel gives exactly twice the size: 2 (h - 1) - 2 + kernel + output_padding = 2 h.
    double = nn.ConvTranspose2d(
        between, out, kernel, stride=2, padding=1, output_padding=4 - kernel, bias=not batch_norm
    )
    return nn.Sequential(*_normalised(convolve, between, batch_norm), *_normalised(double, out, batch_norm))
