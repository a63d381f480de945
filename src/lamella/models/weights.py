"""Weights an encoder can start from: fetched once from a public place, or read from a file.

What is asked for is what happens: weights that cannot be had, read or fitted are a WeightsError within
seconds, never a network that silently starts from random numbers.
"""

import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from lamella.errors import WeightsError

CONNECT_SECONDS = 5.0  # how long a host may take to answer before the network counts as absent
STALL_SECONDS = 30.0  # how long a download may stand still

FROM_SCRATCH = "Train from scratch with model.encoder_weights=null"
HOW_TO_SAVE = "Save weights with torch.save(network.state_dict(), path)."

StateDict = dict[str, torch.Tensor]


# --- From a file ----------------------------------------------------------------------------------------


def read_state_dict(path: str | Path) -> StateDict:
    """The tensors of a state dict saved as .safetensors, or by `torch.save` (.pt, .pth, .ckpt).

    A dict with a "state_dict" in it (Lightning's and timm's checkpoints) is unpacked. Only tensors and plain
    values are unpickled (`weights_only=True`): a file cannot run code.

    Raises:
        WeightsError: no such file; not a state dict; damaged.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsError(
            f"model.encoder_weights={path}: there is no such file.",
            f"{FROM_SCRATCH}, or start from model.encoder_weights=imagenet, or from a .pt, .pth, .ckpt or "
            ".safetensors file. A relative path starts where the command was called.",
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: object = load_file(file, device="cpu")
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, torch and safetensors have no common base
        raise WeightsError(
            f"{file} cannot be read as weights: {_first_line(error)}",
            f"It is damaged, or holds more than tensors and plain values. {HOW_TO_SAVE}",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file} holds a {type(content).__name__}, not a state dict.", HOW_TO_SAVE)
    state = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise WeightsError(f"{file} holds no tensors.", HOW_TO_SAVE)
    return state


# --- Into an encoder ------------------------------------------------------------------------------------


def load_encoder(encoder: nn.Module, state: StateDict, source: str) -> None:
    """Loads a state dict into an encoder, every tensor of it, in place.

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
    given = _named_alike(state, wanted)
    for key, value in given.items():
        if key in wanted and _differs_in_channels_only(value, wanted[key]):
            given[key] = adapt_input_channels(value, wanted[key].shape[1])
    try:
        encoder.load_state_dict(given)  # strict, but for the classifiers that SMP's encoders drop themselves
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
        raise WeightsError(
            f"The weights of {source} do not fit the encoder.",
            "\n  ".join(
                [
                    *(lists or [_first_line(error)]),
                    "Choose the model.encoder that they were made for, or model.encoder_weights=null.",
                ]
            ),
        ) from error


def adapt_input_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """A first convolution made for RGB, adapted to images of other channels.

    One channel: the sum over red, green and blue, so a grey image gives what it gave as three equal channels.
    Else: red, green, blue, red, ... in turn, times 3 / channels, which keeps the size of the response. Both
    hold for images normalised alike in all channels.

    Args:
        weight: (out, 3, h, w).
        channels: number of channels wanted.

    Returns:
        (out, channels, h, w).
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)  # (out, 3, h, w) -> (out, 1, h, w)
    turns = torch.arange(channels) % 3
    return weight[:, turns] * (3 / channels)  # (out, 3, h, w) -> (out, channels, h, w)


def _differs_in_channels_only(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    return (
        given.ndim == wanted.ndim == 4
        and given.shape[1] == 3 != wanted.shape[1]
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


# --- From the network -----------------------------------------------------------------------------------


def fetch_torchvision(name: str) -> tuple[StateDict, str]:
    """torchvision's ImageNet weights for one of its classification networks, out of torch.hub's cache.

    Fetches them into the cache if they are not there.

    Args:
        name: torchvision's name of the network, such as "vgg11_bn".

    Returns:
        The state dict of the whole network, and the file it is kept in.

    Raises:
        WeightsError: not in the cache and not to be fetched, or damaged.
    """
    import lamella.torchvision_ops  # noqa: F401 - before torchvision

    # isort: split
    import torchvision

    url: str = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / url.rpartition("/")[2]
    if not file.exists():
        what = f"ImageNet weights for {name}"
        choices = (
            f"{FROM_SCRATCH}; or download {url} where there is a network and put the file into {folder}, "
            f"or give its path: model.encoder_weights=/path/to/{file.name}"
        )
        require_answer(url, what, choices)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _no_stall():
                checksum = file.stem.rpartition("-")[2]
                torch.hub.download_url_to_file(url, str(file), hash_prefix=checksum)
        except Exception as error:  # network, disk or checksum
            raise WeightsError(f"{what}: download of {url} failed: {_first_line(error)}", choices) from error
    return read_state_dict(file), str(file)


def fetch_from_hub(build: Callable[[], nn.Module], name: str, url: str) -> StateDict:
    """The weights of an encoder that can build itself with its published ones, as SMP's and timm's do.

    Asks Hugging Face's cache first, and the network only if they are not there: a run that has its weights
    needs no network, and one that has neither does not wait through the client's retries.

    Args:
        build: builds the encoder with its weights.
        name: the encoder; named in the error.
        url: a file that lies beside the weights; asked whether it can be reached.

    Raises:
        WeightsError: not in the cache and not to be fetched, or damaged.
    """
    from huggingface_hub import constants

    what, cache = f"ImageNet weights for {name}", constants.HF_HUB_CACHE
    choices = (
        f"{FROM_SCRATCH}; or let a machine with a network fetch them, and copy its {cache} to this one; "
        "or give a file saved there with torch.save(network.state_dict(), path): "
        "model.encoder_weights=/path/to/file"
    )
    if url.startswith(constants.ENDPOINT):
        try:
            with _hub_offline():
                return build().state_dict()
        except OSError as error:  # not in the cache
            if constants.HF_HUB_OFFLINE:  # the user's own wish
                problem = f"{what} are not in {cache}, and HF_HUB_OFFLINE is set."
                raise WeightsError(problem, choices) from error
        except Exception as error:
            raise WeightsError(
                f"{what} in {cache} cannot be read: {_first_line(error)}",
                "Delete them there; they are fetched again when next asked for.",
            ) from error
    require_answer(url, what, choices)
    try:
        with _no_stall():
            return build().state_dict()
    except Exception as error:  # network or disk
        raise WeightsError(f"{what} could not be fetched: {_first_line(error)}", choices) from error


def require_answer(url: str, what: str, choices: str) -> None:
    """Asks a host for the head of a file, through a proxy if one is set; waits CONNECT_SECONDS at most.

    Raises:
        WeightsError: no answer, or a refusal; says `what` was wanted and which `choices` are left.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "lamella"})
            with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
                outcome.append(None)
        except Exception as error:  # no such host, refused, timed out, not found, no HTTP at all
            outcome.append(error)

    # In a thread, as no timeout of Python's covers the look-up of a host's name.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(CONNECT_SECONDS)
    if outcome == [None]:
        return
    reason = _first_line(outcome[0]) if outcome and outcome[0] else f"no answer in {CONNECT_SECONDS:g} s"
    raise WeightsError(f"{what} cannot be fetched: {url} cannot be reached ({reason}).", choices)


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Lets Hugging Face's client look into its cache only. It reads HF_HUB_OFFLINE once, at import."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _no_stall() -> Iterator[None]:
    """Ends downloads that stand still for STALL_SECONDS. torch.hub sets no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _first_line(error: Exception) -> str:
    """The first line of an error's text, or its type where the text says nothing (KeyError: '0')."""
    text = str(error).strip().partition("\n")[0]
    return text if " " in text else f"{type(error).__name__} {text}".strip()
