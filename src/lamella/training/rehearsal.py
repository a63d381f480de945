"""A user's own code, tried on one small image before a run is opened: what it returns is what Lamella counts on."""

from collections.abc import Mapping

import torch

from lamella.errors import ConfigError, LamellaError
from lamella.models.classical.base import Classical
from lamella.models.contract import logits_of
from lamella.training.task import SegmentationTask


def rehearse(task: SegmentationTask, own: Mapping[str, str], *, channels: int) -> None:
    """Calls what of a task is a user's own, once, as training would, on the CPU. Weights stay as they are.

    Args:
        task: that is about to be trained.
        own: the keys (model, loss, ...) of functions that are a user's own -> their names.
        channels: of an image.

    Raises:
        ConfigError: one of them returned, or raised, what it must not.
    """
    if isinstance(task.network, Classical):
        return
    if "model" in own:
        # Where images end, sides are as they come: the second size is no multiple of anything.
        for height, width in ((task.crop, task.crop), (task.crop + 1, task.crop + 3)):
            _network(task, own["model"], channels, height, width)
    if "loss" in own:
        _loss(task, own["loss"])
    if {"optimizer", "scheduler"} & {*own}:
        # Not of the network itself: nothing of the rehearsal may be left in it.
        optimizer = task.make_optimizer([torch.nn.Parameter(torch.zeros(1))])
        if isinstance(task.make_scheduler(optimizer, 100), torch.optim.lr_scheduler.ReduceLROnPlateau):
            problem = (
                f"{own.get('scheduler', 'scheduler')} waits for a score, but a schedule is stepped after every step"
            )
            raise ConfigError(problem, "Choose one that follows the number of steps.")


def _network(task: SegmentationTask, name: str, channels: int, height: int, width: int) -> None:
    network, training = task.network, task.network.training
    wanted, of = (1, logits_of(task.num_classes), height, width), f"an image of {channels} x {height} x {width}"
    image = torch.zeros(1, channels, height, width).to(memory_format=torch.channels_last)
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = network(image)
    except LamellaError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"{name} cannot take {of}: {type(error).__name__}: {first}",
            "A network must take every size; lamella.models.contract.AnySize(network, multiple=32) pads for one that "
            "halves its input five times. debug=true shows where it failed.",
        ) from error
    finally:
        network.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != wanted or not logits.is_floating_point():
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if isinstance(logits, torch.Tensor) and not logits.is_floating_point():
            got = f"{logits.dtype}"
        raise ConfigError(
            f"{name} must return logits of the shape {wanted} for {of}; it returned {got}",
            f"One logit a pixel stands for two classes, else one for each class ({task.num_classes} here).",
        )


def _loss(task: SegmentationTask, name: str) -> None:
    side, classes = task.crop, logits_of(task.num_classes)
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
    if not isinstance(value, torch.Tensor) or value.ndim > 0 or not value.requires_grad or not value.isfinite():
        got = f"{tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        gradient = ""
        if isinstance(value, torch.Tensor) and value.ndim == 0:
            gradient = ", which no gradient leads to" if value.isfinite() else f", {value.item()}"
        raise ConfigError(f"{name} must return one number as a tensor with a gradient; it returned {got}{gradient}")
