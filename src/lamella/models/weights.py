"""Weights out of a file, and into an encoder or a whole network; `pretrained` fetches published ones.

What is asked for is what happens: weights that cannot be read or do not fit are a WeightsError, never a network
that silently starts from random numbers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import nn

from lamella.errors import WeightsError
from lamella.models.contract import AnySize

FROM_SCRATCH = "Train from scratch with model.encoder_weights=null"
_HOW_TO_SAVE = "Save weights with torch.save(network.state_dict(), path)."

StateDict = dict[str, torch.Tensor]


# --- From a file ----------------------------------------------------------------------------------------


def read_state_dict(path: str | Path, key: str = "model.encoder_weights") -> StateDict:
    """The tensors in a file of weights: .safetensors, or a state dict saved by `torch.save` (.pt, .pth, .ckpt).

    A dict with a "state_dict" or "model" in it (checkpoints of Lightning, timm and TernausNet's authors) is
    unpacked. Only tensors and plain values are unpickled (`weights_only=True`): a file cannot run code.

    Args:
        path: the file.
        key: the configuration key that named it, for errors.

    Raises:
        WeightsError: no such file; not a state dict; damaged.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsError(
            f"{key}={path}: there is no such file.",
            f"Train from scratch with {key}=null, or start from a .pt, .pth, .ckpt or .safetensors file. A relative "
            "path starts where the command was called.",
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: object = load_file(file, device="cpu")
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, torch and safetensors have no common base
        raise WeightsError(
            f"{file} cannot be read as weights: {first_line(error)}",
            f"It is damaged, or holds more than tensors and plain values. {_HOW_TO_SAVE}",
        ) from error
    for inside in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(inside), Mapping):
            content = content[inside]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file} holds a {type(content).__name__}, not a state dict.", _HOW_TO_SAVE)
    state = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise WeightsError(f"{file} holds no tensors.", _HOW_TO_SAVE)
    return state


# --- Into an encoder ------------------------------------------------------------------------------------


def load_encoder(encoder: nn.Module, state: StateDict, source: str) -> None:
    """Loads weights into an encoder, in place: every tensor of it, or an error.

    `state` may be the encoder's own, or that of something around it: names are compared below the prefix
    that fits best (`features.` of a torchvision VGG, `network.encoder.` of one of our networks). Parts of
    which the encoder has nothing, such as a classifier, are left out. A first convolution for RGB is adapted
    to the channels of this encoder by `adapt_input_channels`.

    Args:
        encoder: the module that takes the weights.
        state: names -> tensors.
        source: where the weights are from; named in the error.

    Raises:
        WeightsError: tensors are missing, left over, or of another shape; lists them.
    """
    wanted: StateDict = encoder.state_dict()
    _load(
        encoder,
        _named_alike(state, wanted),
        f"The weights of {source} do not fit the encoder.",
        "Choose the model.encoder that they were made for, or model.encoder_weights=null.",
    )


def start_encoder(encoder: nn.Module, encoder_weights: str | None, model: str) -> None:
    """Starts an encoder without published weights from those of a file, if one is named, in place.

    Raises:
        WeightsError: "imagenet" is asked for; or see `load_encoder`.
    """
    if encoder_weights == "imagenet":
        raise WeightsError(
            f"There are no ImageNet weights for model={model}.",
            f"{FROM_SCRATCH}, or choose a model with an encoder that has them: model=unet.",
        )
    if encoder_weights is not None:
        load_encoder(encoder, read_state_dict(encoder_weights), encoder_weights)


# --- Into a network -------------------------------------------------------------------------------------


@runtime_checkable
class Translates(Protocol):
    """A network that knows other names for its weights, such as its authors'."""

    def translated(self, state: StateDict) -> StateDict:
        """The weights under the names that this network has."""


def initialise(network: nn.Module, state: StateDict, source: str, part: Literal["whole", "encoder"]) -> None:
    """Starts a network from the weights of another, in place: every tensor of the part asked for, or an error.

    `state` may be that of the network, or of something around it, as in a checkpoint of Lamella's. Its first layer is
    adapted to the channels of the image by `adapt_input_channels`. "encoder" takes the encoder of whatever network
    has the same one.

    Args:
        network: as a function of lamella.models built it.
        state: names -> tensors.
        source: where they are from; named in the error.
        part: "whole" or "encoder".

    Raises:
        WeightsError: tensors are missing, left over, or of another shape; lists them.
    """
    inner = network.network if isinstance(network, AnySize) else network
    state = {key.removeprefix("module."): value for key, value in state.items()}  # of a network in DataParallel
    if part == "encoder":
        encoder = dict(inner.named_children()).get("encoder")
        if encoder is None:
            raise WeightsError(f"{source}: this model has no encoder.", "Set model.init_part=whole.")
        given = _named_alike(state, encoder.state_dict())
        _load(encoder, given, f"{source}: its encoder does not fit.", "Choose a model with the same encoder.")
        return
    if isinstance(inner, Translates):
        state = inner.translated(state)
    wanted: StateDict = inner.state_dict()
    prefix = _best_prefix(state, wanted)
    given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    problem = "the weights do not fit this model"
    remedy = "Choose the model they were made for; or, if it has this one's encoder, set model.init_part=encoder."
    head = next((key for key in reversed(wanted) if wanted[key].ndim == 4), "")
    if head in given and given.keys() == wanted.keys() and len(given[head]) != len(wanted[head]):
        problem = f"that model gives {len(given[head])} logit(s) a pixel, this one {len(wanted[head])}"
        remedy = "For another number of classes take the encoder alone: model.init_part=encoder."
    _load(inner, given, f"{source}: {problem}.", remedy)


def _load(module: nn.Module, given: StateDict, problem: str, remedy: str) -> None:
    """Loads every tensor into a module, the first layer adapted to its channels; else a WeightsError lists them."""
    wanted: StateDict = module.state_dict()
    first = next((key for key, value in wanted.items() if value.ndim == 4), None)
    channels = given[first].shape[1] if first is not None and first in given and given[first].ndim == 4 else 3
    for key, value in given.items():
        if key in wanted and _differs_in_channels_only(value, wanted[key], channels):
            given[key] = adapt_input_channels(value, wanted[key].shape[1])
    try:
        module.load_state_dict(given)  # strict, but for the classifiers that SMP's encoders drop themselves
    except RuntimeError as error:
        missing = [key for key in wanted if key not in given]
        unexpected = [key for key in given if key not in wanted]
        reshaped = [
            f"{key} {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
            for key, value in given.items()
            if key in wanted and value.shape != wanted[key].shape
        ]
        lists = [
            *_listed("missing", missing),
            *_listed("unexpected", unexpected),
            *_listed("of another shape", reshaped),
        ]
        raise WeightsError(problem, "\n  ".join([*(lists or [first_line(error)]), remedy])) from error


def adapt_input_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """The weights of a first convolution, such as one made for RGB, adapted to images of other channels.

    One channel: the sum over red, green and blue, so a grey image gives what it gave as three equal channels.
    Else: red, green, blue, red, ... in turn, times 3 / channels, which keeps the size of the response. Both
    hold for images normalised alike in all channels.

    Args:
        weight: (out, C, h, w); C = 3 for RGB.
        channels: number of channels wanted.

    Returns:
        (out, channels, h, w).
    """
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)  # (out, C, h, w) -> (out, 1, h, w)
    turns = torch.arange(channels) % given
    return weight[:, turns] * (given / channels)  # (out, C, h, w) -> (out, channels, h, w)


def _differs_in_channels_only(given: torch.Tensor, wanted: torch.Tensor, channels: int) -> bool:
    return (
        given.ndim == wanted.ndim == 4
        and given.shape[1] == channels != wanted.shape[1]
        and (given.shape[0], *given.shape[2:]) == (wanted.shape[0], *wanted.shape[2:])
    )


def _named_alike(state: StateDict, wanted: StateDict) -> StateDict:
    """`state` under the names of `wanted`, without the parts that `wanted` has nothing of."""
    prefix = _best_prefix(state, wanted)
    parts = {key.partition(".")[0] for key in wanted}
    named: StateDict = {}
    for full, value in state.items():
        if not full.startswith(prefix):
            continue
        key = full.removeprefix(prefix)
        # timm joins the first two names where it cuts features out of a network: stages.0.x -> stages_0.x
        joined = re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", key)
        part = key.partition(".")[0]
        if key not in wanted and joined in wanted:
            named[joined] = value
        elif part in parts or part.isdigit():
            named[key] = value
    return named


def _best_prefix(state: StateDict, wanted: StateDict) -> str:
    """What stands before the wanted names in `state`; of several, what finds most of them."""
    anchor = next(iter(wanted))
    prefixes = {key.removesuffix(anchor) for key in state if key.endswith(f".{anchor}")}

    def finds(prefix: str) -> int:
        return sum(prefix + key in state for key in wanted)

    return max(["", *sorted(prefixes, key=len)], key=finds)


def _listed(what: str, names: list[str]) -> list[str]:
    shown = ", ".join(names[:6]) + (f", and {len(names) - 6} more" if len(names) > 6 else "")
    return [f"{len(names)} {what}: {shown}"] if names else []


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type where the text says nothing (KeyError: '0')."""
    text = str(error).strip().partition("\n")[0]
    return text if " " in text else f"{type(error).__name__} {text}".strip()
