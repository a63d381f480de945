"""Networks of segmentation_models.pytorch (SMP) that were made for transformers as encoders.

Arguments, result and errors are as in lamella.models.smp.modern.
"""

import warnings
from typing import Annotated, Literal

from torch import nn

from lamella.config.key import Key
from lamella.models.signature import Channels, Classes, Encoder, EncoderWeights, logits_of
from lamella.models.smp.encoders import assemble

import segmentation_models_pytorch as smp  # isort: skip - after lamella.models.smp.encoders, which prepares torchvision


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
        "a SegFormer",
        lambda: smp.Segformer(
            encoder_name=encoder,
            encoder_weights=None,
            decoder_segmentation_channels=decoder_channels,
            in_channels=in_channels,
            classes=logits_of(num_classes),
        ),
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=5,
        multiple=32,
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

    def build() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # SMP only warns where there is no class token to read out
            network: nn.Module = smp.DPT(
                encoder_name=encoder,
                encoder_weights=None,
                decoder_readout=readout,
                decoder_intermediate_channels=stage_channels,
                decoder_fusion_channels=decoder_channels,
                in_channels=in_channels,
                classes=logits_of(num_classes),
                dynamic_img_size=True,
            )
        return network

    return assemble(
        f"a DPT with readout={readout}",
        build,
        encoder=encoder,
        encoder_weights=encoder_weights,
        in_channels=in_channels,
        depth=4,
        multiple=32,
        remedy="Choose a plain vision transformer with patches of 8, 16 or 32 pixels, such as "
        "tu-vit_small_patch16_224; for one without a class token set model.readout=ignore.",
    )
