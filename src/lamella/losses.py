"""Losses: logits (B, K, H, W), class ids (B, H, W) and a valid mask (B, H, W) in, one number out.

What logits and ids hold at invalid pixels changes nothing, and without one valid pixel a loss is 0.
"""

from typing import Annotated, Protocol

import torch
import torch.nn.functional as F

from lamella.errors import ConfigError
from lamella.keys import Key


class Loss(Protocol):
    """What every loss is. K = 1 logit stands for two classes."""

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor: ...


def bce_dice(
    *,
    bce_weight: Annotated[float, Key("weight of the cross-entropy", least=0)],
    dice_weight: Annotated[float, Key("weight of the soft Dice loss", least=0)],
) -> Loss:
    """Cross-entropy plus soft Dice (Milletari et al. 2016, arXiv:1606.04797), each with its weight.

    Raises:
        ConfigError: both weights are 0, which leaves nothing to minimise.
    """
    if bce_weight == dice_weight == 0:
        raise ConfigError("loss.bce_weight and loss.dice_weight are both 0", "Give one of them a weight.")

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return bce_weight * cross_entropy(logits, target, valid) + dice_weight * soft_dice(logits, target, valid)

    return loss


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over valid pixels: binary for one logit, else over K classes."""
    logits, target = logits.float(), target * valid
    if logits.shape[1] == 1:
        per_pixel = F.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype), reduction="none")
    else:
        per_pixel = F.cross_entropy(logits, target.long(), reduction="none")
    weight = valid.to(logits.dtype)
    return (per_pixel * weight).sum() / weight.sum().clamp(min=1)


def soft_dice(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), sums over the whole batch, mean over foreground classes.

    The 1 keeps a gradient where a class is absent from the batch. It is small while much is predicted: beside
    the cross-entropy, not instead of it, this empties a prediction.
    """
    logits, target = logits.float(), target * valid
    if logits.shape[1] == 1:
        share = logits.sigmoid()  # (B, 1, H, W)
        truth = target[:, None].to(logits.dtype)
    else:
        share = logits.softmax(dim=1)[:, 1:]  # (B, K-1, H, W): background is what is left
        truth = F.one_hot(target.long(), logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].to(logits.dtype)
    weight = valid[:, None].to(logits.dtype)
    share, truth = share * weight, truth * weight
    overlap = (share * truth).sum((0, 2, 3))
    return (1 - (2 * overlap + 1) / (share.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)).mean()
