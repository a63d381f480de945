"""Networks as a checkpoint holds them, without a training: small, with weights of a seed."""

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.nn import functional as F

from lamella import models
from lamella.inference import checkpoint
from lamella.inference.checkpoint import Trained
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.settings import Inference, OperatingPoint
from lamella.models.contract import AnySize, logits_of

CONF = Path(__file__).parents[2] / "conf" / "model"
SMALL = {"width": 8, "hidden": 32}
"""Arguments that make a network small, of those that have them."""
NORMAL = {"uint8": (0, 255), "uint16": (100, 4000), "float32": (-1.5, 2.5)}
"""Levels that stand for 0 and 255."""


class Tiny(nn.Module):
    """A network with what exporters find hard: padding to a multiple, pooling to a size, a skip, a way back up."""

    def __init__(self, channels: int, logits: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.gate, self.head = nn.AdaptiveAvgPool2d(2), nn.Conv2d(4 + channels, logits, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.down(image).relu()
        x = x + F.interpolate(self.gate(x), size=x.shape[-2:], mode="bilinear")
        return self.head(torch.cat([self.up(x), image], dim=1))


def tiny(channels: int, classes: int) -> nn.Module:
    """`Tiny` for images of any size."""
    return AnySize(Tiny(channels, logits_of(classes)), multiple=4)


def trained(name: str = "tiny", *, dtype: str = "uint8", channels: int = 3, classes: int = 2,
            scale: float = 1.0, percentiles: tuple[float, float] | None = None, context: int = 0,
            **arguments: Any) -> Trained:  # fmt: skip
    """A network of conf/model, or `Tiny`, with random weights; it predicts in tiles and views unless told otherwise."""
    own = yaml.safe_load((CONF / f"{name}.yaml").read_text()) if name != "tiny" else {}
    keys = {key: value for key, value in own.items() if key not in ("_target_", "name")} | arguments
    keys |= {key: value for key, value in SMALL.items() if key in keys and key not in arguments}
    keys |= {"in_channels": channels, "num_classes": classes}
    torch.manual_seed(0)
    network = tiny(channels, classes).eval() if name == "tiny" else getattr(models, name)(**keys).eval()
    low, high = (0, 65535) if percentiles else NORMAL[dtype]
    normalise = Normalise([90.0 + i for i in range(channels)], [40.0] * channels, low, high)
    inference = Inference(tile=64, overlap=16, tta=True, threshold=0.4)
    names = ("ground", "cell", "dirt", "vessel")[:classes]
    segmenter = Segmenter.of(network, normalise, inference, context)
    config = {"model": {"name": name}}
    return Trained(segmenter, names, dtype, channels, scale, percentiles, None, "32-true", config, (), "", 0, None)


def kept(path: Path, *, channels: int = 1, dtype: str = "uint8") -> Path:
    """The checkpoint of a small U-Net."""
    small = {"in_channels": channels, "num_classes": 2, "width": 8, "dropout": 0.0, "batch_norm": True,
             "encoder_weights": None}  # fmt: skip
    torch.manual_seed(0)
    state = {f"network.{name}": value for name, value in models.unet_ronneberger(**small).state_dict().items()}
    state |= {f"normalise.{name}": value for name, value in Normalise([90.0] * channels, [40.0] * channels)
              .state_dict().items()}  # fmt: skip
    inference = {"_target_": "lamella.inference.Inference", "tile": 64, "overlap": 16, "tta": False, "threshold": 0.5}
    config = {
        "dataset": {"in_channels": channels, "num_classes": 2, "scale": 1.0, "percentiles": None},
        "model": {"_target_": "lamella.models.unet_ronneberger", "name": "small", **small},
        "inference": inference,
        "data": {"context": 0},
    }
    torch.save({"state_dict": state, "lamella": checkpoint.contents(yaml.safe_dump(config), ("ground", "cell"), dtype)},
               path)  # fmt: skip
    checkpoint.keep(path, OperatingPoint(0.5, 1.0, None), "32-true")
    return path
