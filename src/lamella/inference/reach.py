"""How far a network looks: beyond it, what lies around a tile changes nothing."""

import copy
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from lamella.models.contract import AnySize

_STRIDE = 32  # of a network that does not say what its sides must be multiples of: what most of them halve to
_found: WeakKeyDictionary[nn.Module, dict[int, int | None]] = WeakKeyDictionary()


class Sides(NamedTuple):
    """Which sides a network computes with.

    Attributes:
        stride: tiles that begin at a multiple of it see what the whole picture shows at the same places.
        multiple: pictures are continued until it divides their sides.
        least: the smallest side.
    """

    stride: int
    multiple: int
    least: int


def sides(network: nn.Module) -> Sides:
    """Which sides a network computes with; of one that is not `AnySize` it is not known."""
    if isinstance(network, AnySize):
        return Sides(network.multiple, network.multiple, network.least)
    return Sides(_STRIDE, 1, 1)


def reach(network: nn.Module, channels: int, most: int) -> int | None:
    """How many pixels around a place have a say in what the network gives there; None for more than `most`.

    Found out, not computed: NaN in a stripe of the picture comes out wherever it has a say, whatever the weights are.
    That needs plain convolutions, so a copy of the network on the CPU does it, once for each network. Networks that
    compare all places, or take means of the whole picture, look at all of it.

    Args:
        network: normalised float32 (B, C, h, w) -> logits (B, K, h, w).
        channels: C.
        most: pixels.
    """
    known = _found.setdefault(network, {})
    if most not in known:
        known[most] = _reach(network, channels, most)
    return known[most]


def _reach(network: nn.Module, channels: int, most: int) -> int | None:
    stride, _, least = sides(network)
    beside = -(-(most + 1) // stride) * stride  # on either side of the stripe
    thin, long = max(stride, -(-least // stride) * stride), 2 * beside + stride
    copied = copy.deepcopy(network).cpu().eval()
    found = 0
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        for along in (-1, -2):
            image = torch.zeros((1, channels, thin, long) if along == -1 else (1, channels, long, thin))
            image.narrow(along, beside, stride).fill_(torch.nan)
            unsure = copied(image.to(memory_format=torch.channels_last)).isnan().any(dim=1)[0]
            places = unsure.any(dim=1 + along).nonzero().flatten()  # one a row, or one a column
            found = max(found, beside - int(places.min()), int(places.max()) + 1 - beside - stride)
            if found > most:
                return None
    return found
