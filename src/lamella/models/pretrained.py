"""Weights that others have published: fetched once from the network, then out of a cache.

What is asked for is what happens: weights that cannot be had are a WeightsError within seconds.
"""

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from lamella.errors import WeightsError
from lamella.models.weights import FROM_SCRATCH, StateDict, first_line, read_state_dict

CONNECT_SECONDS = 5.0  # how long a host may take to answer before the network counts as absent
STALL_SECONDS = 30.0  # how long a download may stand still


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
        _require_answer(url, what, choices)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _no_stall():
                checksum = file.stem.rpartition("-")[2]
                torch.hub.download_url_to_file(url, str(file), hash_prefix=checksum)
        except Exception as error:  # network, disk or checksum
            raise WeightsError(f"{what}: download of {url} failed: {first_line(error)}", choices) from error
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
                f"{what} in {cache} cannot be read: {first_line(error)}",
                "Delete them there; they are fetched again when next asked for.",
            ) from error
    _require_answer(url, what, choices)
    try:
        with _no_stall():
            return build().state_dict()
    except Exception as error:  # network or disk
        raise WeightsError(f"{what} could not be fetched: {first_line(error)}", choices) from error


def _require_answer(url: str, what: str, choices: str) -> None:
    """Makes sure that a file can be fetched: asks its host for the head, and waits CONNECT_SECONDS at most.

    Goes through a proxy if one is set.

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
    reason = first_line(outcome[0]) if outcome and outcome[0] else f"no answer in {CONNECT_SECONDS:g} s"
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
