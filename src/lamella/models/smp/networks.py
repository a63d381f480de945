"""Networks of segmentation_models.pytorch (SMP), each on an encoder of SMP's or, through it, of timm's.

SMP: P. Iakubovskii, https://github.com/qubvel-org/segmentation_models.pytorch.

Every function takes `in_channels`, `num_classes`, `encoder` and `encoder_weights` as `unet` does, and gives what it
gives: image (B, C, H, W) of any size -> logits (B, K, H, W). All raise ConfigError for an encoder that does not exist
or that they cannot use, WeightsError for weights that cannot be had or do not fit. All are built by `assemble`.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.models.contract import AnySize, Channels, Classes, Encoder, EncoderWeights, logits_of
from lamella.models.smp import encoders

import segmentation_models_pytorch as smp  # isort: skip - after lamella.models.smp.encoders, which prepares torchvision

DecoderChannels = Annotated[list[int], Key("channels of the decoder's blocks, the deepest first", least=1)]
DecoderWidth = Annotated[int, Key("channels of the decoder", least=1)]
Dropout = Annotated[float, Key("share of the decoder's channels set to 0 in training", least=0, most=0.9)]

_UNDILATED = "Choose one that can be dilated, such as resnet34, or keep its strides: "

# What SMP's networks do not name in their signature, but hand on to the encoder.
_HANDED_ON = {"output_stride", "dynamic_img_size"}


# --- Networks whose decoder mirrors the encoder, with skip connections ----------------------------------


def unet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: DecoderChannels,
) -> nn.Module:
    """A U-Net for images of any size, on an encoder of SMP's ("resnet34") or timm's ("tu-convnext_tiny").

    O. Ronneberger, P. Fischer, T. Brox, arXiv:1505.04597 (2015). The decoder is SMP's: nearest-neighbour upsampling,
    then twice a 3x3 convolution with batch normalisation.

    Parameters of the encoder that the decoder never sees (the later stages of one that is not used in full,
    the convolution before a classifier) are frozen.

    All else about arguments, result and errors: see `lamella.models.contract`.

    Args:
        encoder: one of `encoders.encoder_names()`; timm's may carry the tag of their weights
            ("tu-resnet18.a1_in1k").
        encoder_weights: None: start from scratch; "imagenet": the weights published for this encoder (timm's:
            those of the tag, or timm's default), fetched once; else a file with a state dict of the encoder
            (see lamella.models.weights).
        decoder_channels: channels of the decoder's blocks, one to five, the deepest first. There are as many
            blocks as the encoder halves the image.
    """
    return _mirrored(smp.Unet, "a U-Net", Common(in_channels, num_classes, encoder, encoder_weights), decoder_channels)


def unetplusplus_smp(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: DecoderChannels,
) -> nn.Module:
    """U-Net++ with one head: Z. Zhou et al., arXiv:1807.10165 (2018). A U-Net with convolutions in its skips.

    The paper's own network, with deep supervision, is `lamella.models.unetplusplus`.
    """
    return _mirrored(
        smp.UnetPlusPlus, "a U-Net++", Common(in_channels, num_classes, encoder, encoder_weights), decoder_channels
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
    return _mirrored(
        smp.MAnet,
        "an MA-Net",
        Common(in_channels, num_classes, encoder, encoder_weights),
        decoder_channels,
        decoder_pab_channels=attention_channels,
    )


def linknet(
    *, in_channels: Channels, num_classes: Classes, encoder: Encoder, encoder_weights: EncoderWeights
) -> nn.Module:
    """LinkNet: A. Chaurasia, E. Culurciello, arXiv:1707.03718 (2017). A light U-Net whose skips are added."""
    return assemble(smp.Linknet, "a LinkNet", Common(in_channels, num_classes, encoder, encoder_weights))


# --- Networks that look around: pyramids and kernels of several spacings --------------------------------


def deeplabv3plus(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    output_stride: Annotated[int, Key("the encoder's last features are this much smaller: 8 or 16", least=8, most=16)],
    atrous_rates: Annotated[list[int], Key("spacing of the kernels that see far", least=1, length=3)],
    decoder_channels: DecoderWidth,
    dropout: Dropout,
) -> nn.Module:
    """DeepLabV3+: L.-C. Chen et al., arXiv:1802.02611 (2018). Kernels of several spacings, then a small decoder.

    Its authors' rates are 6, 12, 18 at a stride of 16, and twice those at 8 (arXiv:1706.05587).
    """
    return assemble(
        smp.DeepLabV3Plus,
        "DeepLabV3+",
        Common(in_channels, num_classes, encoder, encoder_weights),
        multiple=16,
        remedy="Choose one that can be dilated, such as resnet34, and model.output_stride=8 or 16.",
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        decoder_atrous_rates=atrous_rates,
        decoder_aspp_dropout=dropout,
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
        smp.FPN,
        "an FPN",
        Common(in_channels, num_classes, encoder, encoder_weights),
        decoder_pyramid_channels=pyramid_channels,
        decoder_segmentation_channels=segmentation_channels,
        decoder_merge_policy=merge,
        decoder_dropout=dropout,
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
    decoder_channels: DecoderWidth,
    dropout: Dropout,
) -> nn.Module:
    """PSPNet: H. Zhao et al., "Pyramid Scene Parsing Network", arXiv:1612.01105 (2017).

    Features of an eighth of the image's size beside their means over 1, 2 x 2, 3 x 3 and 6 x 6 parts of it. The paper
    dilates the last two stages of the encoder; SMP leaves them out unless told otherwise: `stages=3`.
    """
    dilation: dict[str, Any] = {"output_stride": 8} if stages > 3 else {}
    return assemble(
        smp.PSPNet,
        f"a PSPNet of {stages} stages",
        Common(in_channels, num_classes, encoder, encoder_weights),
        depth=stages,
        multiple=8,
        remedy=_UNDILATED + "model.stages=3.",
        psp_out_channels=decoder_channels,
        psp_dropout=dropout,
        **dilation,
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
    decoder_channels: DecoderWidth,
) -> nn.Module:
    """PAN: H. Li et al., "Pyramid Attention Network for Semantic Segmentation", arXiv:1805.10180 (2018).

    Its pyramid halves the last features three times more: smaller images are padded to 8 x output_stride pixels.
    """
    return assemble(
        smp.PAN,
        "a PAN",
        Common(in_channels, num_classes, encoder, encoder_weights),
        multiple=output_stride,
        least=8 * output_stride,
        remedy=_UNDILATED + "model.output_stride=32.",
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
    )


def upernet(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: DecoderWidth,
) -> nn.Module:
    """UPerNet: T. Xiao et al., "Unified Perceptual Parsing for Scene Understanding", arXiv:1807.10221 (2018).

    A feature pyramid whose top is a PSPNet's; only its head for segmentation.
    """
    return assemble(
        smp.UPerNet,
        "a UPerNet",
        Common(in_channels, num_classes, encoder, encoder_weights),
        decoder_channels=decoder_channels,
    )


# --- Networks made for transformers as encoders ---------------------------------------------------------


def segformer(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Encoder,
    encoder_weights: EncoderWeights,
    decoder_channels: Annotated[int, Key("channels of the decoder; in the paper 256 for B0 and B1, else 768", least=1)],
) -> nn.Module:
    """SegFormer: E. Xie et al., arXiv:2105.15203 (2021). Its encoders are mit_b0 to mit_b5; others serve, too."""
    return assemble(
        smp.Segformer,
        "a SegFormer",
        Common(in_channels, num_classes, encoder, encoder_weights),
        decoder_segmentation_channels=decoder_channels,
    )


def dpt(
    *,
    in_channels: Channels,
    num_classes: Classes,
    encoder: Annotated[str, Key("a plain vision transformer of timm's, tu-vit_...")],
    encoder_weights: EncoderWeights,
    readout: Annotated[Literal["cat", "add", "ignore"], Key("what becomes of the class token")],
    stage_channels: Annotated[list[int], Key("channels of the four depths that are read", least=1, length=4)],
    decoder_channels: Annotated[int, Key("channels in which they are joined", least=1)],
) -> nn.Module:
    """DPT: R. Ranftl, A. Bochkovskiy, V. Koltun, "Vision Transformers for Dense Prediction", arXiv:2103.13413 (2021).

    Tokens of four depths of a vision transformer, laid out as images of four sizes and joined. The position
    embedding is interpolated to the image's size.
    """
    return assemble(
        smp.DPT,
        f"a DPT with readout={readout}",
        Common(in_channels, num_classes, encoder, encoder_weights),
        depth=4,
        remedy="Choose a plain vision transformer with patches of 8, 16 or 32 pixels, such as "
        "tu-vit_small_patch16_224; for one without a class token set model.readout=ignore.",
        warnings_refuse=True,  # SMP only warns where there is no class token to read out
        decoder_readout=readout,
        decoder_intermediate_channels=stage_channels,
        decoder_fusion_channels=decoder_channels,
        dynamic_img_size=True,
    )


# --- What all of them share -----------------------------------------------------------------------------


class Common(NamedTuple):
    """What all of these networks are asked for.

    Attributes:
        in_channels: channels C of the image.
        num_classes: classes, background included.
        encoder: one of `encoders.encoder_names()`.
        encoder_weights: None, "imagenet" or a file; see `unet`.
    """

    in_channels: int
    num_classes: int
    encoder: str
    encoder_weights: str | None


def assemble(
    architecture: Callable[..., nn.Module],
    what: str,
    common: Common,
    *,
    depth: int = 5,
    multiple: int = 32,
    least: int = 1,
    remedy: str = "Choose another; resnet34 and tu-convnext_tiny are good ones to start from.",
    warnings_refuse: bool = False,
    **settings: Any,
) -> nn.Module:
    """One of SMP's networks, for images of any size, its encoder with the weights asked for.

    Parameters that no gradient reaches are frozen. Batch normalisation in the decoder bears a single value a
    channel, as global pooling leaves of a batch of one: see `SingleValueNorm`.

    Args:
        architecture: a class of SMP's.
        what: it in words, for errors: "a U-Net of five blocks".
        common: what all of them are asked for.
        depth: stages of the encoder that are used.
        multiple: what H and W must be multiples of.
        least: the smallest H and W it takes.
        remedy: what to do where encoder and architecture do not go together.
        warnings_refuse: where SMP warns of an encoder, it is one that the architecture cannot use.
        settings: the architecture's own arguments, by SMP's names.

    Raises:
        TypeError: the architecture has no such argument. SMP itself would pass over a misspelt one in silence.
        ConfigError: no such encoder, or one that this architecture cannot use.
        WeightsError: the weights asked for cannot be had, or do not fit.
    """
    unknown = settings.keys() - inspect.signature(architecture).parameters.keys() - _HANDED_ON
    if unknown:
        raise TypeError(f"{what} takes no {', '.join(sorted(unknown))}")
    in_channels, num_classes, encoder, encoder_weights = common
    encoders.require_encoder(encoder)
    try:
        with warnings.catch_warnings():
            if warnings_refuse:
                warnings.simplefilter("error", UserWarning)
            network = architecture(
                encoder_name=encoder,
                encoder_depth=depth,
                encoder_weights=None,
                in_channels=in_channels,
                classes=logits_of(num_classes),
                **settings,
            )
        bear_single_values(network.decoder)  # type: ignore[arg-type]
        _freeze_unused(network, in_channels, max(64, least))
    except Exception as error:  # each encoder refuses in its own way what it cannot do
        raise ConfigError(
            f"model.encoder={encoder} cannot serve {what} for images of any size with "
            f"{in_channels} channels ({type(error).__name__}: {str(error).rstrip('.')}).",
            remedy,
        ) from error
    inner = network.encoder
    assert isinstance(inner, nn.Module)
    encoders.start_from(encoder_weights, inner, encoder, in_channels, depth)
    return AnySize(network, multiple, least)


class SingleValueNorm(nn.BatchNorm2d):
    """Batch normalisation that, in training, uses its running statistics where it is given one value a channel.

    One value has no spread, and torch refuses to normalise by it. With more it is batch normalisation as ever.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def bear_single_values(network: nn.Module) -> None:
    """Replaces every batch normalisation by a `SingleValueNorm` with the same parameters, in place."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                norm = SingleValueNorm(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)


def _mirrored(
    architecture: Callable[..., nn.Module], what: str, common: Common, decoder_channels: list[int], **settings: Any
) -> nn.Module:
    """A network whose decoder has a block for each halving; ConfigError unless they are one to five. See `assemble`."""
    depth = len(decoder_channels)
    if not 1 <= depth <= 5:
        raise ConfigError(
            f"model.decoder_channels has {depth} numbers; {what} has one to five blocks.",
            "Five blocks: model.decoder_channels=[256,128,64,32,16].",
        )
    settings["decoder_channels"] = decoder_channels
    return assemble(architecture, f"{what} of {depth} blocks", common, depth=depth, multiple=2**depth, **settings)


def _freeze_unused(network: nn.Module, in_channels: int, side: int) -> None:
    """Sends a small image through and back, and freezes the parameters it never met.

    Fails, as it should, where an encoder takes images of one size only, or gives features of another size than the
    architecture counts on.
    """
    network.eval()
    image = torch.zeros(1, in_channels, side, side)
    logits = network(image)  # (1, C, side, side) -> (1, K, side, side)
    if logits.shape[-2:] != image.shape[-2:]:
        raise ValueError(f"an image of {side} x {side} becomes one of {logits.shape[-2]} x {logits.shape[-1]}")
    logits.sum().backward()
    network.train()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None
