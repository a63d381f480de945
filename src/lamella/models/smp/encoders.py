"""Encoders by name: those of segmentation_models.pytorch (SMP), and timm's as "tu-<name>"; networks around them."""

import difflib
import warnings
from collections.abc import Callable

import lamella.torchvision_ops  # noqa: F401 - before SMP and timm, which import torchvision

# isort: split
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torch.nn import functional as F

from lamella.errors import ConfigError, WeightsError
from lamella.models import pretrained as published
from lamella.models import weights
from lamella.models.contract import AnySize


def encoder_names() -> list[str]:
    """All that `encoder` can be: SMP's own, then timm's as "tu-<name>"."""
    # SMP deprecates its "timm-<name>" for "tu-<name>".
    own = [name for name in smp.encoders.get_encoder_names() if not name.startswith("timm-")]
    return own + [f"tu-{name}" for name in timm.list_models()]


def has_imagenet_weights(encoder: str) -> bool:
    """Whether weights are published for an encoder of `encoder_names()`."""
    return _home_of_weights(encoder) is not None


def assemble(
    what: str,
    build: Callable[[], nn.Module],
    *,
    encoder: str,
    encoder_weights: str | None,
    in_channels: int,
    depth: int,
    multiple: int,
    least: int = 1,
    remedy: str = "Choose another; resnet34 and tu-convnext_tiny are good ones to start from.",
) -> nn.Module:
    """Builds one of SMP's networks for images of any size, and gives its encoder the weights asked for.

    Parameters that no gradient reaches are frozen. Batch normalisation in the decoder bears a single value a
    channel, as global pooling leaves of a batch of one: see `SingleValueNorm`.

    Args:
        what: the architecture, for errors: "a U-Net of five blocks".
        build: builds it, without weights.
        encoder: one of `encoder_names()`.
        encoder_weights: None, "imagenet" or a file; see `lamella.models.smp.networks.unet`.
        in_channels: channels C of the image.
        depth: stages of the encoder that are used.
        multiple: what H and W must be multiples of.
        least: the smallest H and W it takes.
        remedy: what to do where encoder and architecture do not go together.

    Raises:
        ConfigError: no such encoder, or one that this architecture cannot use.
        WeightsError: the weights asked for cannot be had, or do not fit.
    """
    _require(encoder)
    try:
        network = build()
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
    if encoder_weights == "imagenet":
        inner.load_state_dict(_imagenet_weights(encoder, inner, in_channels, depth))
    elif encoder_weights is not None:
        # SMP wraps timm's networks; the names in a file are those of what is wrapped.
        wrapped = inner.model if encoder.startswith("tu-") else inner
        assert isinstance(wrapped, nn.Module)
        weights.load_encoder(wrapped, weights.read_state_dict(encoder_weights), encoder_weights)
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
    """Replaces every batch normalisation by one that bears a single value a channel, with the same parameters."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                norm = SingleValueNorm(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)


def _require(encoder: str) -> None:
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
        + "All: python scripts/methods.py encoders; those with resnet in their name: encoders=resnet",
    )


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


def _imagenet_weights(encoder: str, like: nn.Module, in_channels: int, depth: int) -> weights.StateDict:
    """The published weights of an encoder, adapted to the channels of the image by SMP or timm."""

    def build() -> nn.Module:
        built: nn.Module
        if isinstance(like, smp.encoders.TimmViTEncoder):
            name = encoder.removeprefix("tu-")
            built = smp.encoders.TimmViTEncoder(name, True, in_channels, depth, dynamic_img_size=True)
            return built
        with warnings.catch_warnings():
            # For timm's, where the encoder's name names the weights, SMP would rather be told True.
            warnings.simplefilter("ignore", UserWarning)
            built = smp.encoders.get_encoder(encoder, in_channels=in_channels, depth=depth, weights="imagenet")
        return built

    url = _home_of_weights(encoder)
    if url is None:
        raise WeightsError(
            f"There are no ImageNet weights for model.encoder={encoder}.",
            f"{weights.FROM_SCRATCH}, give the path of a file, or choose another encoder.",
        )
    return published.fetch_from_hub(build, encoder, url)


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
