"""U-Nets on the encoders of segmentation_models.pytorch (SMP) and, through it, of timm.

SMP: P. Iakubovskii, https://github.com/qubvel-org/segmentation_models.pytorch. U-Net: O. Ronneberger,
P. Fischer, T. Brox, arXiv:1505.04597 (2015). The decoder is SMP's: nearest-neighbour upsampling, then twice
a 3x3 convolution with batch normalisation.
"""

import difflib
import warnings
from typing import Annotated

import lamella.torchvision_ops  # noqa: F401 - before SMP and timm, which import torchvision

# isort: split
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from lamella.errors import ConfigError, WeightsError
from lamella.keys import Key
from lamella.models import weights
from lamella.models.padding import AnySize


def unet(
    *,
    in_channels: Annotated[int, Key("channels of the image", least=1)],
    num_classes: Annotated[int, Key("classes, background included", least=2)],
    encoder: Annotated[str, Key("an encoder of SMP's, or of timm's as tu-NAME")],
    encoder_weights: Annotated[str | None, Key("null: from scratch; imagenet; or a file")],
    decoder_channels: Annotated[list[int], Key("channels of the decoder's blocks, the deepest first", least=1)],
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
    _require_encoder(encoder)
    depth = len(decoder_channels)
    if not 1 <= depth <= 5:
        raise ConfigError(
            f"model.decoder_channels has {depth} numbers; a U-Net has one to five blocks.",
            "Five blocks: model.decoder_channels=[256,128,64,32,16].",
        )
    try:
        network = smp.Unet(
            encoder_name=encoder,
            encoder_depth=depth,
            encoder_weights=None,
            decoder_use_norm="batchnorm",
            decoder_channels=decoder_channels,
            decoder_attention_type=None,
            decoder_interpolation="nearest",
            in_channels=in_channels,
            classes=1 if num_classes == 2 else num_classes,
            activation=None,
            aux_params=None,
        )
        _freeze_unused(network, in_channels)
    except Exception as error:  # each encoder refuses in its own way what it cannot do
        raise ConfigError(
            f"model.encoder={encoder} cannot serve a U-Net of {depth} blocks for images of any size with "
            f"{in_channels} channels ({type(error).__name__}: {str(error).rstrip('.')}).",
            "Choose another; resnet34 and tu-convnext_tiny are good ones to start from.",
        ) from error

    if encoder_weights == "imagenet":
        network.encoder.load_state_dict(_imagenet_weights(encoder, in_channels, depth))
    elif encoder_weights is not None:
        # SMP wraps timm's networks; the names in a file are those of what is wrapped.
        inner = network.encoder.model if encoder.startswith("tu-") else network.encoder
        weights.load_encoder(inner, weights.read_state_dict(encoder_weights), encoder_weights)
    return AnySize(network, multiple=2**depth)


def encoder_names() -> list[str]:
    """All that `encoder` can be: SMP's own, then timm's as "tu-<name>"."""
    # SMP deprecates its "timm-<name>" for "tu-<name>".
    own = [name for name in smp.encoders.get_encoder_names() if not name.startswith("timm-")]
    return own + [f"tu-{name}" for name in timm.list_models()]


def _require_encoder(encoder: str) -> None:
    names = encoder_names()
    if encoder in names:
        return
    plain, _, tag = encoder.partition(".")
    if plain in names and plain.startswith("tu-"):
        tagged = [f"tu-{name}" for name in timm.list_pretrained(f"{plain.removeprefix('tu-')}.*")]
        if encoder in tagged:
            return
        problem, near = f"{plain} has no weights with the tag {tag}", [plain, *tagged]
    else:
        problem = "there is no encoder of this name"
        near = difflib.get_close_matches(encoder, names, n=4)
        near += difflib.get_close_matches(f"tu-{encoder.removeprefix('timm-')}", names, n=2)
    raise ConfigError(
        f"model.encoder={encoder}: {problem}.",
        (f"Near: {', '.join(dict.fromkeys(near))}.\n  " if near else "")
        + 'All: python -c "from lamella.models import smp; print(*smp.encoder_names())"',
    )


def _freeze_unused(network: nn.Module, in_channels: int) -> None:
    """Sends a small image through and back, and freezes the parameters it never met.

    Fails, as it should, where an encoder takes images of one size only.
    """
    network.eval()
    image = torch.zeros(1, in_channels, 64, 64)
    network(image).sum().backward()  # (1, C, 64, 64) -> (1, K, 64, 64)
    network.train()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None


def _imagenet_weights(encoder: str, in_channels: int, depth: int) -> weights.StateDict:
    """The published weights of an encoder, adapted to the channels of the image by SMP or timm."""

    def build() -> nn.Module:
        with warnings.catch_warnings():
            # For timm's, where the encoder's name names the weights, SMP would rather be told True.
            warnings.simplefilter("ignore", UserWarning)
            built: nn.Module = smp.encoders.get_encoder(
                encoder, in_channels=in_channels, depth=depth, weights="imagenet"
            )
        return built

    url = _home_of_weights(encoder)
    if url is None:
        raise WeightsError(
            f"There are no ImageNet weights for model.encoder={encoder}.",
            f"{weights.FROM_SCRATCH}, give the path of a file, or choose another encoder.",
        )
    return weights.fetch_from_hub(build, encoder, url)


def _home_of_weights(encoder: str) -> str | None:
    """The address of a small file beside the published weights, or of the weights; None if there are none."""
    from huggingface_hub import hf_hub_url

    if encoder.startswith("tu-"):
        card = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if card is None:
            return None
        return hf_hub_url(card.hf_hub_id, "config.json") if card.hf_hub_id else card.url or None
    settings = smp.encoders.encoders[encoder]["pretrained_settings"].get("imagenet")
    return hf_hub_url(settings["repo_id"], "config.json", revision=settings["revision"]) if settings else None
