"""What a network makes of an image inside: the values of its deepest layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lamella.data.io.read import Pixels
from lamella.hardware import Hardware, whole_float32
from lamella.inference.segmenter import Segmenter

COARSEST = 32  # a layer whose map is coarser than an input pixel in so many is no map any more, but a summary


class Layer(NamedTuple):
    """A layer of a network: its name among the modules, and which of its calls is meant, from 0."""

    name: str
    call: int


class _ReachedError(Exception):
    """No error: the layer has said what it has to say: nothing after it need be computed."""


def deepest(segmenter: Segmenter, channels: int) -> Layer | None:
    """The last layer of those with the coarsest map, found by a trial; None where no layer gives a map.

    Any network will do: what is no map (B, C, h, w), or one too coarse to be one, is passed over.
    """
    side = 4 * COARSEST
    if not segmenter.gives_probabilities:
        return None  # a method without training has no layers
    found: list[tuple[int, Layer]] = []

    def look(layer: Layer, output: Any) -> None:
        if _is_map(output) and output.shape[-2] * output.shape[-1] >= (side // COARSEST) ** 2:
            found.append((output.shape[-2] * output.shape[-1], layer))

    with torch.inference_mode(), _heard(segmenter.network, look):
        low, high = float(segmenter.normalise.low), float(segmenter.normalise.high)
        device = segmenter.normalise.mean.device
        image = torch.linspace(low, high, side, device=device).expand(1, channels, side, side)
        segmenter.logits(segmenter.normalise.grey(image))
    if not found:
        return None
    coarsest = min(size for size, _ in found)
    return [layer for size, layer in found if size == coarsest][-1]


def features(segmenter: Segmenter, windows: Pixels, layer: Layer) -> npt.NDArray[np.float32]:
    """The layer's mean over each window, (N, D), in float32 whatever the network's test computed in.

    Args:
        segmenter: on any device.
        windows: (N, C, s, t), as the network is given them, not normalised.
        layer: of its network.

    Raises:
        LookupError: the network has no such layer, or does not call it.
    """
    kept: list[torch.Tensor] = []

    def keep(there: Layer, output: Any) -> None:
        if there == layer and _is_map(output):
            kept.append(output.float().mean(dim=(2, 3)))
            raise _ReachedError

    device = segmenter.normalise.mean.device
    stored = torch.from_numpy(np.ascontiguousarray(windows)).to(device)
    only = dict(segmenter.network.named_modules()).get(layer.name)
    if only is None:
        raise LookupError(f"the network has no layer {layer.name}")
    alone, exact = _heard(segmenter.network, keep, only), whole_float32(Hardware(device, "32-true"))
    with torch.inference_mode(), exact, alone, suppress(_ReachedError):
        segmenter.logits(segmenter.normalise.grey(stored))
    if not kept:
        raise LookupError(f"the network does not call its layer {layer.name} {layer.call + 1} times")
    return kept[0].cpu().numpy()


def _is_map(output: Any) -> bool:
    return isinstance(output, torch.Tensor) and output.ndim == 4 and output.is_floating_point()


@contextmanager
def _heard(network: nn.Module, say: Callable[[Layer, Any], None], only: nn.Module | None = None) -> Iterator[None]:
    """While it lasts, every layer without parts (or only one) is heard whenever it has computed something."""
    calls: dict[str, int] = {}
    hooks = []

    def listener(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def heard(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls[name] = calls.get(name, -1) + 1
            say(Layer(name, calls[name]), output)

        return heard

    for name, module in network.named_modules():
        if (module is only) if only is not None else not any(True for _ in module.children()):
            hooks.append(module.register_forward_hook(listener(name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
