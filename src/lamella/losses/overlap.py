"""Losses that compare areas: Dice, Jaccard and Tversky on shares instead of whole pixels.

Sums go over the whole batch, means over foreground classes. Each score has a constant above and below, which
keeps a gradient where a class is absent from the batch.
"""

from typing import Annotated

import torch

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.losses.entropy import cross_entropy
from lamella.losses.pixels import Loss, foreground


def dice() -> Loss:
    """The soft Dice loss alone, see `soft_dice`."""
    return soft_dice


def soft_dice(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss: 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1).

    Sums go over the whole batch, the mean over foreground classes.
    The 1 keeps a gradient where a class is absent from the batch. It is small while much is predicted: beside
    the cross-entropy, not instead of it, this empties a prediction.
    """
    share, truth = foreground(logits, target, valid)
    overlap = (share * truth).sum((0, 2, 3))
    return (1 - (2 * overlap + 1) / (share.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)).mean()


def soft_jaccard(
    *,
    bce_weight: Annotated[float, Key("weight of the cross-entropy", least=0)],
    jaccard_weight: Annotated[float, Key("weight of -log of the soft Jaccard index", least=0)],
) -> Loss:
    """TernausNet's loss: cross-entropy - log J, J the soft Jaccard index (sum(p t) + 1) / (sum(p + t - p t) + 1).

    V. Iglovikov, A. Shvets 2018, arXiv:1801.05746; the mean of log J over foreground classes. The paper writes J as
    a mean of pixels' own ratios, which are 0/0 on empty ground; here, as in the authors' code, sums are divided.

    Raises:
        ConfigError: both weights are 0, which leaves nothing to minimise.
    """
    if bce_weight == jaccard_weight == 0:
        raise ConfigError("loss.bce_weight and loss.jaccard_weight are both 0", "Give one of them a weight.")

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        share, truth = foreground(logits, target, valid)
        overlap = (share * truth).sum((0, 2, 3))
        union = share.sum((0, 2, 3)) + truth.sum((0, 2, 3)) - overlap
        log_jaccard = ((overlap + 1) / (union + 1)).log().mean()
        return bce_weight * cross_entropy(logits, target, valid) - jaccard_weight * log_jaccard

    return loss


def tversky(
    *,
    alpha: Annotated[float, Key("weight of what is predicted and not there", above=0)],
    beta: Annotated[float, Key("weight of what is there and not predicted", above=0)],
) -> Loss:
    """Tversky loss, a Dice loss that tells false from missed: 1 - (TP + 1/2) / (TP + alpha FP + beta FN + 1/2).

    S. Salehi et al. 2017, arXiv:1706.05721. TP, FP and FN are sums of shares, the mean is over foreground classes. A
    beta above alpha buys recall with precision; alpha = beta = 1/2 is `soft_dice`.
    """

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        share, truth = foreground(logits, target, valid)
        hit = (share * truth).sum((0, 2, 3))
        false, missed = share.sum((0, 2, 3)) - hit, truth.sum((0, 2, 3)) - hit
        return (1 - (hit + 0.5) / (hit + alpha * false + beta * missed + 0.5)).mean()

    return loss
