"""A user's own code, tried on one small image before a run is opened: what it returns is what Lamella counts on."""

from collections.abc import Mapping

import torch

from lamella.errors import ConfigError, LamellaError
from lamella.models.classical.base import Classical
from lamella.models.contract import logits_of
from lamella.training.task import SegmentationTask


def rehearse(task: SegmentationTask, own: Mapping[str, str], *, channels: int) -> None:
    """Calls network, loss, optimizer and schedule once, as training would, on the CPU. Weights stay as they are.

    Args:
        task: that is about to be trained.
        own: the keys (model, loss, ...) of functions that are a user's own -> their names.
        channels: of an image.

    Raises:
        ConfigError: one of them returned, or raised, what it must not.
    """
    if isinstance(task.network, Classical):
        return
    network, classes = task.network, logits_of(task.num_classes)
    name = own.get("model", "the network")
    training = network.training
    # Where images end, sides are as they come: the second size is no multiple of anything.
    sizes = ((task.crop, task.crop), (task.crop + 1, task.crop + 3)) if "model" in own else ((task.crop, task.crop),)
    with torch.random.fork_rng(devices=[]):
        network.eval()
        for height, width in sizes:
            image = torch.zeros(1, channels, height, width).to(memory_format=torch.channels_last)
            try:
                with torch.no_grad():
                    logits = network(image)
            except LamellaError:
                raise
            except Exception as error:
                first = (str(error).splitlines() or [""])[0]
                raise ConfigError(
                    f"{name} cannot take an image of {channels} x {height} x {width}: {type(error).__name__}: {first}",
                    "A network must take every size; lamella.models.contract.AnySize(network, multiple=32) pads for "
                    "one that halves its input five times. debug=true shows where it failed.",
                ) from error
            if not isinstance(logits, torch.Tensor) or logits.shape != (1, classes, height, width):
                got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
                raise ConfigError(
                    f"{name} must return logits of the shape {(1, classes, height, width)} for an image of "
                    f"{channels} x {height} x {width}; it returned {got}",
                    f"One logit a pixel stands for two classes, else one for each class ({task.num_classes} here).",
                )
        network.train(training)
    if "loss" in own:
        _loss(task, own["loss"], classes)
    if {"optimizer", "scheduler"} & {*own}:
        # Not of the network itself: nothing of the rehearsal may be left in it.
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = task.make_optimizer([weight])
        task.make_scheduler(optimizer, 100)


def _loss(task: SegmentationTask, name: str, classes: int) -> None:
    side = task.crop
    logits = torch.zeros(2, classes, side, side, requires_grad=True)
    target = torch.zeros(2, side, side, dtype=torch.uint8)
    target[:, : side // 2] = 1
    try:
        value = task.loss(logits, target, torch.ones_like(target, dtype=torch.bool))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"{name} failed as a loss: {type(error).__name__}: {first}",
            f"It is given logits {tuple(logits.shape)}, class ids uint8 {tuple(target.shape)}, and which pixels count, "
            "bool of the same shape. debug=true shows where it failed.",
        ) from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
        got = f"{tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        gradient = ", which no gradient leads to" if isinstance(value, torch.Tensor) and value.numel() == 1 else ""
        raise ConfigError(f"{name} must return one number as a tensor with a gradient; it returned {got}{gradient}")
