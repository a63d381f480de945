"""TernausNet: a U-Net whose encoder is a VGG, so that it can start from weights learnt on ImageNet.

V. Iglovikov, A. Shvets: "TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image
Segmentation", arXiv:1801.05746 (2018).
"""

from typing import Annotated

import torch
from torch import nn

from lamella.config.key import Key
from lamella.errors import WeightsError
from lamella.models import weights
from lamella.models.contract import AnySize, Channels, Classes, EncoderWeights, logits_of
from lamella.models.papers import vgg
from lamella.models.papers.vgg import VGG, normalised

# (channels between, channels out) of the five upsampling blocks, the deepest (centre) first.
_DECODERS: dict[VGG, tuple[tuple[int, int], ...]] = {
    "vgg11": ((512, 256), (512, 256), (512, 128), (256, 64), (128, 32)),
    "vgg16": ((512, 256), (512, 256), (512, 256), (256, 64), (128, 32)),
}
_KERNELS: dict[VGG, int] = {"vgg11": 3, "vgg16": 4}  # sides of the transposed convolutions'


class TernausNet(nn.Module):
    """The network of TernausNet: a VGG encoder, five upsampling blocks with skip connections, a 1x1 convolution.

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

    def __init__(self, in_channels: int, out_channels: int, encoder: VGG, batch_norm: bool) -> None:
        super().__init__()
        plan, kernel = _DECODERS[encoder], _KERNELS[encoder]
        self.encoder = vgg.features(encoder, in_channels, batch_norm)
        skips = [stage[-1] for stage in reversed(vgg.STAGES[encoder])]  # deepest first
        self.centre = _up(skips[0], *plan[0], kernel, batch_norm)
        blocks: list[nn.Module] = []
        for (_, below), skip, (between, out) in zip(plan, skips, plan[1:], strict=False):
            blocks.append(_up(below + skip, between, out, kernel, batch_norm))
        width = plan[-1][1]
        last = nn.Conv2d(width + skips[-1], width, 3, padding=1, bias=not batch_norm)
        blocks.append(nn.Sequential(*normalised(last, width, batch_norm)))
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

    def translated(self, state: weights.StateDict) -> weights.StateDict:
        """The state dict of the authors' package under the names that ours has; any other as it is.

        Raises:
            WeightsError: this network normalises, which theirs does not; or it is of their UNet16 that
                interpolates (`is_deconv=False`), which is not the paper's network.
        """
        if "dec1.conv.weight" not in state:
            return state
        if isinstance(self.encoder[1], nn.BatchNorm2d):
            raise WeightsError(
                "These are weights of the ternausnet package, whose networks have no batch normalisation.",
                "Set model.batch_norm=false.",
            )
        if "center.block.2.conv.weight" in state:
            raise WeightsError(
                "These are the weights of ternausnet's UNet16(is_deconv=False), whose decoder interpolates; "
                "TernausNet's has transposed convolutions.",
                "Take its encoder alone, model.init_part=encoder, or the weights of a UNet16(is_deconv=True).",
            )
        # The authors list their encoder twice: conv1, conv2, ... are tensors of `encoder` again.
        return {_ours(key): value for key, value in state.items() if not key.startswith("conv")}

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
    in_channels: Channels,
    num_classes: Classes,
    encoder: Annotated[VGG, Key("which VGG")],
    encoder_weights: EncoderWeights,
    batch_norm: Annotated[bool, Key("false: the network of the paper")],
) -> nn.Module:
    """A TernausNet for images of any size.

    All else about arguments, result and errors: see `lamella.models.contract`.

    Args:
        encoder_weights: None: start from scratch; "imagenet": torchvision's weights for this encoder, fetched
            once; else a file with a state dict of the encoder (see lamella.models.weights).
        batch_norm: False: the network of the paper; True: normalised, see TernausNet.
    """
    network = TernausNet(in_channels, logits_of(num_classes), encoder, batch_norm)
    if encoder_weights is not None:
        weights.load_encoder(network.encoder, *vgg.read_weights(encoder_weights, encoder, batch_norm))
    return AnySize(network, multiple=32)


def _up(below: int, between: int, out: int, kernel: int, batch_norm: bool) -> nn.Sequential:
    """A decoder block: (B, below, h, w) -> (B, between, h, w) -> (B, out, 2h, 2w)."""
    convolve = nn.Conv2d(below, between, 3, padding=1, bias=not batch_norm)
    # Either kernel gives exactly twice the size: 2 (h - 1) - 2 + kernel + output_padding = 2 h.
    double = nn.ConvTranspose2d(
        between, out, kernel, stride=2, padding=1, output_padding=4 - kernel, bias=not batch_norm
    )
    return nn.Sequential(*normalised(convolve, between, batch_norm), *normalised(double, out, batch_norm))


def _ours(key: str) -> str:
    """A name in the authors' state dict -> in ours.

    dec5.block.0.conv.weight (3x3) and dec5.block.1.weight (transposed) -> decoder.0.0.weight and decoder.0.k.weight,
    dec1.conv.weight -> decoder.4.0.weight; the encoder's stay.
    """
    first, *_, last = key.split(".")
    if first == "encoder":
        return key
    if first == "final":
        return f"head.{last}"
    block = "centre" if first == "center" else f"decoder.{5 - int(first.removeprefix('dec'))}"
    return f"{block}.{2 if '.block.1.' in key else 0}.{last}"
