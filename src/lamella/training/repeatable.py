"""Which training cannot be repeated exactly on a GPU, and why: found before it begins, without a GPU."""

from itertools import chain
from typing import Any

import torch
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from lamella.errors import ConfigError, LamellaError
from lamella.hardware import Hardware
from lamella.training.task import SegmentationTask

UNREPEATABLE = {
    "_adaptive_avg_pool2d_backward": "adaptive average pooling",
    "_adaptive_avg_pool3d_backward": "adaptive average pooling",
    "adaptive_max_pool2d_backward": "adaptive max pooling",
    "avg_pool3d_backward": "average pooling in three dimensions",
    "fractional_max_pool2d_backward": "fractional max pooling",
    "max_unpool2d": "the inverse of max pooling",
    "upsample_bicubic2d_backward": "bicubic interpolation",
    "_upsample_bicubic2d_aa_backward": "bicubic interpolation",
    "_upsample_bilinear2d_aa_backward": "bilinear interpolation with antialiasing",
    "reflection_pad2d_backward": "padding by reflection",
    "grid_sampler_2d_backward": "sampling on a grid",
    "put_": "Tensor.put_",
    "histc": "a histogram",
}
"""torch's operations on images that have no deterministic form on CUDA (`torch.use_deterministic_algorithms`) -> words.

Not among them: bilinear interpolation, padding by replication, scatter and index operations, for which torch takes
another way then; and a pooling to one pixel, which is a mean.
"""


def refuse_unrepeatable(task: SegmentationTask, hardware: Hardware, *, batch_size: int, name: str) -> None:
    """Nothing, or a refusal: one step of network and loss is rehearsed where nothing is computed (*meta* tensors).

    What cannot be rehearsed so, as a network that looks at its own numbers, is left to torch, which then refuses while
    it trains. On a CPU everything repeats.

    Args:
        task: its network and loss.
        hardware: what training is to run on; it is not touched.
        batch_size: crops a step.
        name: of the network, for the message.

    Raises:
        ConfigError: names the operations that a GPU cannot repeat.
    """
    network = task.network
    if hardware.device.type != "cuda" or not any(weight.requires_grad for weight in network.parameters()):
        return
    state = {
        key: torch.empty_like(value, device="meta").requires_grad_(value.requires_grad)
        for key, value in chain(network.named_parameters(), network.named_buffers())
    }
    shape = (batch_size, task.crop, task.crop)
    image = torch.empty(batch_size, task.normalise.mean.shape[1], *shape[1:], device="meta")
    mask = torch.empty(shape, dtype=torch.uint8, device="meta")
    heard = _Operations()
    try:
        with heard, torch.random.fork_rng(devices=[]):
            logits = functional_call(network, state, (image,))
            task.loss(logits, mask, mask.bool()).backward()  # type: ignore[no-untyped-call]
    except LamellaError:
        raise
    except Exception:  # whatever such a network may raise without numbers
        return
    found = sorted({UNREPEATABLE[operation] for operation in heard.names & UNREPEATABLE.keys()})
    if found:
        raise ConfigError(
            f"trainer.deterministic=true, but model={name} cannot repeat exactly on a GPU: {', '.join(found)}",
            "Use trainer.deterministic=false or trainer=cpu.",
        )


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The names of the operations that torch carries out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))
