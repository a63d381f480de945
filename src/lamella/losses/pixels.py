"""What every loss is, and the three views of a batch that losses share."""

from typing import Protocol

import torch
import torch.nn.functional as F


class Loss(Protocol):
    """What every loss is. K = 1 logit stands for two classes."""

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor: ...


def entropies(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """-log p of each pixel's own class, float32 (B, H, W). Ids must be those of classes everywhere."""
    logits = logits.float()
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, target.long(), reduction="none")


def mean_over(per_pixel: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The mean of (B, H, W) over valid pixels; 0 without any."""
    weight = valid.to(per_pixel.dtype)
    return (per_pixel * weight).sum() / weight.sum().clamp(min=1)


def foreground(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true share of each foreground class in each pixel, 0 at invalid ones.

    Returns:
        Two of float32 (B, K', H, W): K' = 1 for one logit, else K - 1, because background is what is left.
    """
    logits, target = logits.float(), target * valid
    if logits.shape[1] == 1:
        share = logits.sigmoid()
        truth = target[:, None].to(logits.dtype)
    else:
        share = logits.softmax(dim=1)[:, 1:]
        truth = F.one_hot(target.long(), logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].to(logits.dtype)
    weight = valid[:, None].to(logits.dtype)
    return share * weight, truth * weight
