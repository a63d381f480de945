"""Encoders by name, and their published weights: those of segmentation_models.pytorch (SMP), timm's as "tu-<name>"."""

import difflib
import warnings

import lamella.torchvision_ops  # noqa: F401 - before SMP and timm, which import torchvision

# isort: split
import segmentation_models_pytorch as smp
import timm
from torch import nn

from lamella.config.paths import typed
from lamella.errors import ConfigError, WeightsError
from lamella.models import pretrained, weights


def encoder_names() -> list[str]:
    """All that `encoder` can be: SMP's own, then timm's as "tu-<name>"."""
    # SMP deprecates its "timm-<name>" for "tu-<name>".
    own = [name for name in smp.encoders.get_encoder_names() if not name.startswith("timm-")]
    return own + [f"tu-{name}" for name in timm.list_models()]


def has_imagenet_weights(encoder: str) -> bool:
    """Whether weights are published for an encoder of `encoder_names()`."""
    return _home_of_weights(encoder) is not None


def require_encoder(encoder: str) -> None:
    """Refuses the name of an encoder that does not exist, with the names near it.

    Raises:
        ConfigError: it is not one of `encoder_names()`, nor one of timm's with a tag of its weights.
    """
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
        + f"All: {typed('methods')} encoders; those with resnet in their name: encoders=resnet",
    )


def start_from(encoder_weights: str | None, module: nn.Module, encoder: str, in_channels: int, depth: int) -> None:
    """Gives an encoder the weights asked for, in place.

    Args:
        encoder_weights: None: it stays as it is; "imagenet": those published for it; else a file.
        module: the encoder, as one of SMP's networks holds it.
        encoder: its name.
        in_channels: channels C of the image; weights for RGB are adapted to them.
        depth: stages of it that are used.

    Raises:
        WeightsError: the weights cannot be had, or do not fit.
    """
    if encoder_weights == "imagenet":
        module.load_state_dict(_imagenet_weights(encoder, module, in_channels, depth))
    elif encoder_weights is not None:
        # SMP wraps timm's networks; the names in a file are those of what is wrapped.
        wrapped = module.model if encoder.startswith("tu-") else module
        assert isinstance(wrapped, nn.Module)
        weights.load_encoder(wrapped, weights.read_state_dict(encoder_weights), encoder_weights)


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
    return pretrained.fetch_from_hub(build, encoder, url)


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
