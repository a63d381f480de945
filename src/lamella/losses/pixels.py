"""What a loss takes and gives, and what several losses compute of a batch first."""

from typing import Protocol

import torch
import torch.nn.functional as F


class Loss(Protocol):
    """A loss: logits, the truth and a mask of the pixels that count in, one number out."""

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """The loss of one batch, a float32 without dimensions.

        Args:
            logits: (B, K, H, W); K = 1 stands for two classes.
            target: class ids (B, H, W).
            valid: bool (B, H, W); other pixels change nothing.
        """


def entropies(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each pixel, -log p of its own class: float32 (B, H, W). All ids must be those of classes."""
    logits = logits.float()
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, target.long(), reduction="none")


def mean_over(per_pixel: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The mean of values (B, H, W) over the valid pixels; 0 without any."""
    weight = valid.to(per_pixel.dtype)
    return (per_pixel * weight).sum() / weight.sum().clamp(min=1)


def foreground(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each pixel is of each foreground class, as predicted and in truth; 0 at invalid pixels.

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
