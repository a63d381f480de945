"""Optimizers and learning-rate schedules."""

import math
from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lamella.config.key import Key

MakeOptimizer = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
MakeScheduler = Callable[[torch.optim.Optimizer, int], LRScheduler]  # the number is that of all steps


def adamw(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Key("peak learning rate", above=0)],
    weight_decay: Annotated[float, Key("decoupled weight decay, on convolution kernels only", least=0)],
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) over what is trained; frozen parameters are left out.

    Biases and normalisation layers do not decay.
    """
    trained = [p for p in parameters if p.requires_grad]
    kernels = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def cosine(
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    warmup: Annotated[float, Key("share of all steps in which the rate rises from 0 to its peak", least=0, most=1)],
    final: Annotated[float, Key("last rate as a share of the peak", least=0, most=1)],
) -> LambdaLR:
    """A linear warm-up, then half a cosine down to `final` (Loshchilov & Hutter 2017, arXiv:1608.03983).

    No step is wasted at a rate of 0: the warm-up begins one stride above it. The first step after the warm-up
    has the peak rate, the last step of all `final` times it.
    """
    rise = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        done = min(1.0, (step - rise) / max(1, steps - 1 - rise))
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor)
