"""U-Nets on the encoders of segmentation_models.pytorch (SMP) and, through it, of timm.

SMP: P. Iakubovskii, https://github.com/qubvel-org/segmentation_models.pytorch. U-Net: O. Ronneberger,
P. Fischer, T. Brox, arXiv:1505.04597 (2015). The decoder is SMP's: nearest-neighbour upsampling, then twice
a 3x3 convolution with batch normalisation. Others of SMP's networks are in lamella.models.smp.modern.
"""

from typing import Annotated

from torch import nn

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.models.signature import Channels, Classes, Encoder, EncoderWeights, logits_of
from lamella.models.smp import encoders
from lamella.models.smp.encoders import encoder_names as encoder_names

import segmentation_models_pytorch as smp  # isort: skip - after lamella.models.smp.encoders, which prepares torchvision

DecoderChannels = Annotated[list[int], Key("channels of the decoder's blocks, the deepest first", least=1)]


def unet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: DecoderChannels,
) -> nn.Module:
    """A U-Net for images of any size, on an encoder of SMP's ("resnet34") or timm's ("tu-convnext_tiny").

    Parameters of the encoder that the decoder never sees (the later stages of one that is not used in full,
    the convolution before a classifier) are frozen.

    Args:
        in_channels: channels C of the image.
        num_classes: classes, background included.
        encoder: one of `encoder_names()`; timm's may carry the tag of their weights ("tu-resnet18.a1_in1k").
        encoder_weights: None: start from scratch; "imagenet": the weights published for this encoder (timm's:
            those of the tag, or timm's default), fetched once; else a file with a state dict of the encoder
            (see lamella.models.weights). Weights for RGB are adapted to another number of channels.
        decoder_channels: channels of the decoder's blocks, one to five, the deepest first. There are as many
            blocks as the encoder halves the image.

    Returns:
        Image (B, C, H, W) -> logits (B, K, H, W), K = 1 for two classes, else one per class.

    Raises:
        ConfigError: no such encoder, or one that cannot be used here.
        WeightsError: the weights asked for cannot be had, or do not fit.
    """
    depth = blocks(decoder_channels, "a U-Net")
    return encoders.assemble(
        f"a U-Net of {depth} blocks",
        lambda: smp.Unet(
            encoder_name=encoder,
            encoder_depth=depth,
            encoder_weights=None,
            decoder_use_norm="batchnorm",
            decoder_channels=decoder_channels,
            decoder_attention_type=None,
            decoder_interpolation="nearest",
            in_channels=in_channels,
            classes=logits_of(num_classes),
            activation=None,
            aux_params=None,
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=depth,
        multiple=2**depth,
    )


def unetplusplus_smp(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: DecoderChannels,
) -> nn.Module:
    """U-Net++ (Z. Zhou et al., arXiv:1807.10165, 2018) on an encoder of SMP's or timm's, with one head.

    The paper's own network, with deep supervision, is lamella.models.papers.unetplusplus. Arguments, result and
    errors are those of `unet`.
    """
    depth = blocks(decoder_channels, "a U-Net++")
    return encoders.assemble(
        f"a U-Net++ of {depth} blocks",
        lambda: smp.UnetPlusPlus(
            encoder_name=encoder,
            encoder_depth=depth,
            encoder_weights=None,
            decoder_channels=decoder_channels,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=depth,
        multiple=2**depth,
    )


def blocks(decoder_channels: list[int], what: str) -> int:
    """How many blocks a decoder has. Raises ConfigError unless it is one to five."""
    if not 1 <= len(decoder_channels) <= 5:
        raise ConfigError(
            f"model.decoder_channels has {len(decoder_channels)} numbers; {what} has one to five blocks.",
            "Five blocks: model.decoder_channels=[256,128,64,32,16].",
        )
    return len(decoder_channels)
