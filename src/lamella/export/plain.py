"""A trained network as one module, from levels as stored to probabilities, that exporters follow for every size."""

import json
import sys
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lamella.data.cache.arrays import network_input
from lamella.errors import ConfigError
from lamella.export.layers import exportable
from lamella.export.levels import Shrunk, Stretched
from lamella.hardware import Hardware
from lamella.inference.checkpoint import Trained
from lamella.inference.tiling import to_probability
from lamella.inference.whole_images import predict_image
from lamella.version import __version__

CPU = Hardware(torch.device("cpu"), "32-true")


class Plain(nn.Module):
    """Levels as stored (B, C, H, W) -> class probabilities float32 (B, K', H, W), for every B, H and W.

    All that `predict` does to an image without tiles and views is inside: stretching by percentiles, shrinking to
    `dataset.scale`, grey levels, the zeros around the picture, normalisation, the network, sigmoid or softmax, and
    the way back to the image's own size.

    Args:
        trained: of a checkpoint; its own network is not touched.

    Raises:
        ConfigError: it is a method without training.
    """

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        segmenter = trained.segmenter
        if not segmenter.gives_probabilities:
            name = trained.config["model"]["name"]
            raise ConfigError(
                f"{name} is a method without a network: it is computed by Python, and there is no graph to export",
                "predict segments images with it; scipy and scikit-image, which it is made of, run anywhere.",
            )
        dtype = "uint16" if trained.percentiles else trained.dtype  # of what is shrunk
        self.stretched = Stretched(trained.percentiles) if trained.percentiles else nn.Identity()
        self.shrunk = Shrunk(trained.scale, dtype) if trained.scale != 1 else nn.Identity()
        self.scale, self.context = trained.scale, segmenter.context
        self.normalise = segmenter.normalise
        self.network = exportable(segmenter.network)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Levels as stored (B, C, H, W) -> probabilities (B, K', H, W): the foreground's, or one a class."""
        size = image.shape[-2:]
        grey = self.normalise.grey(self.shrunk(self.stretched(image)))
        height, width = grey.shape[-2:]
        probability = to_probability(self.network(self.normalise(F.pad(grey, [self.context] * 4))))
        inside = probability[..., self.context : self.context + height, self.context : self.context + width]
        if self.scale == 1:
            return inside
        return F.interpolate(inside, size=size, mode="bilinear", align_corners=False)


def by_torch(trained: Trained, images: torch.Tensor) -> torch.Tensor:
    """What `predict` says of images (B, C, H, W) as stored, in one piece and one view, in float32 on the CPU.

    Args:
        trained: of a checkpoint, on the CPU.
        images: of the type it was trained on.
    """
    inference = replace(trained.segmenter.inference, tile=sys.maxsize, tta=False)
    segmenter = replace(trained.segmenter, inference=inference)
    size = (images.shape[-2], images.shape[-1])
    found = []
    for image in images.numpy():
        stored = torch.from_numpy(network_input(image, scale=trained.scale, percentiles=trained.percentiles))
        found.append(predict_image(segmenter, stored[None], size, CPU, tta=False))
    return torch.cat(found)


def described(trained: Trained, source: str) -> dict[str, str]:
    """What a file says of itself: which network it is, what it takes, what it gives, and how classes are made of that.

    Args:
        trained: of a checkpoint.
        source: the run or the file that it is of.
    """
    names, binary = trained.class_names, len(trained.class_names) == 2
    threshold = trained.segmenter.inference.threshold
    classes = (
        f"one channel, the probability of {names[1]}: where it is above {threshold:g}"
        if binary
        else f"{len(names)} channels in the order of the classes, which sum to 1: the likeliest class is taken"
    )
    facts: dict[str, Any] = {
        "lamella": __version__,
        "source": source,
        "network": trained.config["model"]["name"],
        "classes": json.dumps(names, ensure_ascii=False),
        "threshold": f"{threshold:g}" if binary else "none: the likeliest class",
        "input": f"image: levels as stored, {trained.dtype} (batch, {trained.channels}, height, width), any size",
        "output": f"probability: float32 (batch, {1 if binary else len(names)}, height, width); {classes}",
        "dtype": trained.dtype,
        "channels": trained.channels,
        "scale": f"{trained.scale:g}",
        "percentiles": json.dumps(trained.percentiles),
        "inside": "stretching by percentiles, resizing to scale and back, normalisation, sigmoid or softmax",
    }
    return {name: str(value) for name, value in facts.items()}
