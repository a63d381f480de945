"""FCN: a classification network made fully convolutional, with predictions fused from three depths.

J. Long, E. Shelhamer, T. Darrell: "Fully Convolutional Networks for Semantic Segmentation", arXiv:1411.4038 (2015).
"""

from typing import Annotated, Literal

import torch
from torch import nn
from torch.nn import functional as F

from lamella.config.key import Key
from lamella.models import weights
from lamella.models.contract import AnySize, Channels, Classes, EncoderWeights, logits_of
from lamella.models.papers import vgg

Variant = Literal["32s", "16s", "8s"]

_POOLS: dict[Variant, tuple[int, ...]] = {"32s": (), "16s": (4,), "8s": (4, 3)}  # poolings that are scored, too


class FCN(nn.Module):
    """The network of FCN: VGG16 with its classifier as convolutions, class scores at 1/32 fused with finer ones.

    Args:
        in_channels: channels C of the image.
        out_channels: channels K of the logits.
        variant: "32s": no fusion; "16s": with pool4; "8s": with pool4 and pool3.
        hidden: channels of the two convolutions that were the classifier; 4096 in the paper.
        batch_norm: normalise after every convolution of the encoder.
    """

    def __init__(self, in_channels: int, out_channels: int, variant: Variant, hidden: int, batch_norm: bool) -> None:
        super().__init__()
        self.pools = _POOLS[variant]
        self.encoder = vgg.features("vgg16", in_channels, batch_norm)
        self.classifier = nn.Sequential(
            nn.Conv2d(512, hidden, 7, padding=3), nn.ReLU(inplace=True), nn.Dropout(0.5),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(inplace=True), nn.Dropout(0.5),
        )  # fmt: skip
        self.head = nn.Conv2d(hidden, out_channels, 1)
        widths = {3: 256, 4: 512}
        self.scores = nn.ModuleList(nn.Conv2d(widths[pool], out_channels, 1) for pool in self.pools)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=1, bias=False) for _ in self.pools
        )
        self._initialise()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> logits (B, K, H, W). H and W must be multiples of 32."""
        pooled: list[torch.Tensor] = []
        x = image
        for layer in self.encoder:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)  # (B, 64..512, H / 2^i, W / 2^i), i = 1..5
        x = self.head(self.classifier(x))  # (B, 512, H/32, W/32) -> (B, hidden, ..) -> (B, K, H/32, W/32)
        for pool, score, up in zip(self.pools, self.scores, self.ups, strict=True):
            x = up(x) + score(pooled[pool - 1])  # (B, K, h, w) -> (B, K, 2h, 2w)
        # The last upsampling is a fixed bilinear one in the paper, too.
        return F.interpolate(x, size=image.shape[-2:], mode="bilinear")  # -> (B, K, H, W)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.kaiming_normal_(self.head.weight, nonlinearity="linear")
        for score in self.scores:  # the fused network starts as the unfused one
            nn.init.zeros_(score.weight)  # type: ignore[arg-type]
        for up in self.ups:
            _bilinear(up.weight)  # type: ignore[arg-type]


def fcn(
    *,
    in_channels: Channels,
    num_classes: Classes,
    variant: Annotated[Variant, Key("how deep the predictions are that are fused; 8s: the finest")],
    hidden: Annotated[int, Key("channels of the two layers that were the classifier", least=1)],
    batch_norm: Annotated[bool, Key("false: the network of the paper")],
    encoder_weights: EncoderWeights,
) -> nn.Module:
    """An FCN on VGG16, for images of any size.

    The paper pads the image by 100 pixels and crops; here convolutions keep the size by padding, the 7x7 one, too.
    The paper's class scores start from 0, which hides everything below them from the first gradient; here those of
    the deepest start from He's distribution, those that are fused from 0. Batch normalisation is not in the paper; it
    steadies a training from scratch. `variant` and `hidden` are those of `FCN`.

    All else about arguments, result and errors: see `lamella.models.contract`.

    Args:
        encoder_weights: None: start from scratch; "imagenet": torchvision's VGG16, fetched once; else a file with a
            state dict of it. Its two hidden classifier layers are taken, too, where they are in it and `hidden` is
            theirs.
    """
    network = FCN(in_channels, logits_of(num_classes), variant, hidden, batch_norm)
    if encoder_weights is not None:
        state, source = vgg.read_weights(encoder_weights, "vgg16", batch_norm)
        weights.load_encoder(network.encoder, state, source)
        _load_classifier(network.classifier, state)
    return AnySize(network, multiple=32)


def _load_classifier(classifier: nn.Sequential, state: weights.StateDict) -> None:
    """Loads VGG's two hidden linear layers (out, 512 * 7 * 7), (out, in) as the convolutions that they are."""
    given = {key.removeprefix("classifier."): value for key, value in state.items() if key.startswith("classifier.")}
    wanted = classifier.state_dict()
    if not wanted.keys() <= given.keys() or any(given[key].numel() != wanted[key].numel() for key in wanted):
        return  # a file of the encoder alone, or layers of another width
    classifier.load_state_dict({key: given[key].reshape(wanted[key].shape) for key in wanted})


def _bilinear(kernel: torch.Tensor) -> None:
    """Makes a transposed 4x4 kernel (K, K, 4, 4) double each channel by bilinear interpolation."""
    side = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        kernel.zero_()
        kernel[range(len(kernel)), range(len(kernel))] = side[:, None] * side
