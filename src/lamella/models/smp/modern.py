"""Convolutional networks of segmentation_models.pytorch (SMP) since U-Net, each on an encoder of SMP's or timm's.

All take `in_channels`, `num_classes`, `encoder` and `encoder_weights` as `lamella.models.smp.networks.unet` does, and
give what it gives: image (B, C, H, W) of any size -> logits (B, K, H, W). All raise ConfigError for an encoder that
does not exist or that they cannot use, WeightsError for weights that cannot be had or do not fit.
"""

from typing import Annotated, Literal

from torch import nn

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.models.signature import Channels, Classes, Encoder, EncoderWeights, logits_of
from lamella.models.smp.encoders import assemble
from lamella.models.smp.networks import DecoderChannels, blocks

import segmentation_models_pytorch as smp  # isort: skip - after lamella.models.smp.encoders, which prepares torchvision

Dropout = Annotated[float, Key("share of the decoder's channels set to 0 in training", least=0, most=0.9)]

_UNDILATED = "Choose one that can be dilated, such as resnet34, or keep its strides: "


def deeplabv3plus(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    output_stride: Annotated[int, Key("the encoder's last features are this much smaller: 8 or 16", least=8, most=16)],
    atrous_rates: Annotated[list[int], Key("spacing of the kernels that see far", least=1, length=3)],
    decoder_channels: Annotated[int, Key("channels of the decoder", least=1)],
    dropout: Dropout,
) -> nn.Module:
    """DeepLabV3+: L.-C. Chen et al., arXiv:1802.02611 (2018). Kernels of several spacings, then a small decoder.

    Its authors' rates are 6, 12, 18 at a stride of 16, and twice those at 8 (arXiv:1706.05587).
    """
    return assemble(
        "DeepLabV3+",
        lambda: smp.DeepLabV3Plus(
            encoder_name=encoder,
            encoder_weights=None,
            encoder_output_stride=output_stride,
            decoder_channels=decoder_channels,
            decoder_atrous_rates=atrous_rates,
            decoder_aspp_dropout=dropout,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=5,
        multiple=16,
        remedy="Choose one that can be dilated, such as resnet34, and model.output_stride=8 or 16.",
    )


def fpn(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    pyramid_channels: Annotated[int, Key("channels of the pyramid", least=1)],
    segmentation_channels: Annotated[int, Key("channels of what is merged; a multiple of 32", least=64)],
    merge: Annotated[Literal["add", "cat"], Key("how the levels of the pyramid are merged")],
    dropout: Dropout,
) -> nn.Module:
    """FPN for segmentation: A. Kirillov et al., "Panoptic Feature Pyramid Networks", arXiv:1901.02446 (2019)."""
    if segmentation_channels % 32:  # it normalises 32 groups of them
        raise ConfigError(f"model.segmentation_channels must be a multiple of 32; got {segmentation_channels}.")
    return assemble(
        "an FPN",
        lambda: smp.FPN(
            encoder_name=encoder,
            encoder_weights=None,
            decoder_pyramid_channels=pyramid_channels,
            decoder_segmentation_channels=segmentation_channels,
            decoder_merge_policy=merge,
            decoder_dropout=dropout,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=5,
        multiple=32,
    )


def manet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: DecoderChannels,
    attention_channels: Annotated[int, Key("channels in which positions are compared", least=1)],
) -> nn.Module:
    """MA-Net: T. Fan et al., "MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation", IEEE Access
    8 (2020). A U-Net with attention among all positions of the deepest level, and among the channels of the others.

    The deepest level's attention takes memory with the fourth power of the image's side.
    """
    depth = blocks(decoder_channels, "an MA-Net")
    return assemble(
        f"an MA-Net of {depth} blocks",
        lambda: smp.MAnet(
            encoder_name=encoder,
            encoder_depth=depth,
            encoder_weights=None,
            decoder_channels=decoder_channels,
            decoder_pab_channels=attention_channels,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=depth,
        multiple=2**depth,
    )


def linknet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
) -> nn.Module:
    """LinkNet: A. Chaurasia, E. Culurciello, arXiv:1707.03718 (2017). A light U-Net whose skips are added."""
    return assemble(
        "a LinkNet",
        lambda: smp.Linknet(
            encoder_name=encoder, encoder_weights=None, in_channels=in_channels, classes=logits_of(num_classes)
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=5,
        multiple=32,
    )


def pspnet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    stages: Annotated[
        int, Key("stages of the encoder; 5: all, the last dilated; 3: those down to 1/8", least=3, most=5)
    ],
    decoder_channels: Annotated[int, Key("channels of the decoder", least=1)],
    dropout: Dropout,
) -> nn.Module:
    """PSPNet: H. Zhao et al., "Pyramid Scene Parsing Network", arXiv:1612.01105 (2017).

    Features of an eighth of the image's size beside their means over 1, 2 x 2, 3 x 3 and 6 x 6 parts of it. The paper
    dilates the last two stages of the encoder; SMP leaves them out unless told otherwise: `stages=3`.
    """
    dilation = {"output_stride": 8} if stages > 3 else {}
    return assemble(
        f"a PSPNet of {stages} stages",
        lambda: smp.PSPNet(
            encoder_name=encoder,
            encoder_weights=None,
            encoder_depth=stages,
            psp_out_channels=decoder_channels,
            psp_dropout=dropout,
            in_channels=in_channels,
            classes=logits_of(num_classes),
            **dilation,
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=stages,
        multiple=8,
        remedy=_UNDILATED + "model.stages=3.",
    )


def pan(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    output_stride: Annotated[
        int, Key("the encoder's last features are this much smaller: 16 or 32", least=16, most=32)
    ],
    decoder_channels: Annotated[int, Key("channels of the decoder", least=1)],
) -> nn.Module:
    """PAN: H. Li et al., "Pyramid Attention Network for Semantic Segmentation", arXiv:1805.10180 (2018).

    Its pyramid halves the last features three times more: smaller images are padded to 8 x output_stride pixels.
    """
    return assemble(
        "a PAN",
        lambda: smp.PAN(
            encoder_name=encoder,
            encoder_weights=None,
            encoder_output_stride=output_stride,
            decoder_channels=decoder_channels,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=5,
        multiple=output_stride,
        least=8 * output_stride,
        remedy=_UNDILATED + "model.output_stride=32.",
    )


def upernet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: Annotated[int, Key("channels of the decoder", least=1)],
) -> nn.Module:
    """UPerNet: T. Xiao et al., "Unified Perceptual Parsing for Scene Understanding", arXiv:1807.10221 (2018).

    A feature pyramid whose top is a PSPNet's; only its head for segmentation.
    """
    return assemble(
        "a UPerNet",
        lambda: smp.UPerNet(
            encoder_name=encoder,
            encoder_weights=None,
            decoder_channels=decoder_channels,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=5,
        multiple=32,
    )
