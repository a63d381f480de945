"""Checkpoints of small networks that learned nothing, as a run keeps them."""

import torch
import yaml

from lamella import models
from lamella.inference import checkpoint
from lamella.inference.segmenter import Normalise
from lamella.inference.settings import OperatingPoint

SMALL = {"in_channels": 1, "num_classes": 2, "width": 8, "dropout": 0.0, "batch_norm": True, "encoder_weights": None}
CONFIG = {
    "dataset": {"in_channels": 1, "num_classes": 2, "scale": 1.0, "percentiles": None},
    "model": {"_target_": "lamella.models.unet_ronneberger", "name": "small", **SMALL},
    "inference": {"_target_": "lamella.inference.Inference", "tile": 64, "overlap": 16, "tta": False, "threshold": 0.5},
    "data": {"context": 0},
}


def kept(path, precision, *, seed=0, dtype="uint8"):
    """A checkpoint of a run whose test computed in a precision; None: of a run that was stopped before."""
    torch.manual_seed(seed)
    state = {f"network.{name}": value for name, value in models.unet_ronneberger(**SMALL).state_dict().items()}
    state |= {f"normalise.{name}": value for name, value in Normalise([90.0], [40.0]).state_dict().items()}
    content = checkpoint.contents(yaml.safe_dump(CONFIG), ("ground", "cell"), dtype)
    torch.save({"state_dict": state, "lamella": content}, path)
    if precision:
        checkpoint.keep(path, OperatingPoint(0.5, 1.0, None), precision)
    return path
