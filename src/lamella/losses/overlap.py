"""Losses that compare areas: Dice, Jaccard and Tversky on shares of pixels, Lovasz by a sort, clDice on centre lines.

Sums go over the whole batch, means over foreground classes. Where shares are summed, each score has a constant above
and below, which keeps a gradient where a class is absent from the batch.
"""

from typing import Annotated

import torch
import torch.nn.functional as F

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


def lovasz() -> Loss:
    """The Lovasz loss: hinge for one logit, softmax for several (M. Berman et al. 2018, arXiv:1705.08790).

    All valid pixels of the batch are ranked together. The hinge takes the foreground alone; the softmax form is the
    mean over the classes that the batch holds, background included. Where the batch holds no foreground, every
    false pixel makes the Jaccard index 0, so the hinge moves the single worst pixel: not dead, but slow. Add a
    cross-entropy (loss=weighted_sum) where empty batches are common.

    One sort of all pixels a class: about 40 ms for four crops of 256x256 on one core.
    """
    return _lovasz


def _lovasz(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    logits, target = logits.float(), target * valid
    if logits.shape[1] == 1:
        truth = (target == 1) & valid
        return _extension(1 - logits[:, 0] * torch.where(truth, 1.0, -1.0), truth, valid)
    share = logits.softmax(dim=1)
    losses, present = [], []
    for class_id in range(logits.shape[1]):
        truth = (target == class_id) & valid
        losses.append(_extension((truth.float() - share[:, class_id]).abs(), truth, valid))
        present.append(truth.any())
    weight = torch.stack(present).to(share.dtype)
    return (torch.stack(losses) * weight).sum() / weight.sum().clamp(min=1)


def _extension(errors: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The sum of all errors, each times what its pixel adds to 1 - J when pixels turn wrong from the worst on.

    Args:
        errors: (B, H, W); those below 0 cost nothing.
        truth: bool (B, H, W), the class's pixels; False where invalid.
        valid: bool (B, H, W).
    """
    # Invalid pixels come last, with nothing to pay: no other rank moves.
    ranked, order = torch.where(valid, errors, -1).flatten().sort(descending=True)
    there = truth.flatten()[order]
    total = there.sum()
    left = total - there.cumsum(0)  # whole numbers: float32 cannot tell neighbours of millions of ranks apart
    union = total + (~there).cumsum(0)
    one_minus_jaccard = 1 - left.double() / union
    added = torch.diff(one_minus_jaccard, prepend=one_minus_jaccard.new_zeros(1))
    return (ranked.relu() * added.to(ranked.dtype)).sum()


def cldice(
    *,
    alpha: Annotated[float, Key("share of clDice; the rest is soft Dice", above=0, most=1)],
    iterations: Annotated[int, Key("peelings: at least the half width of the widest line, in pixels", least=1)],
) -> Loss:
    """Centre-line Dice beside soft Dice: (1 - alpha) soft Dice + alpha (1 - clDice).

    S. Shit et al. 2021, arXiv:2003.07311, algorithms 1 and 2. clDice is the harmonic mean of two shares of soft
    skeletons; sums over the batch, each ratio with 1 above and below, mean over foreground classes. Alone (alpha = 1)
    it sees lines only: a flat prediction has no skeleton and gets no gradient, which is why the paper adds Dice, too.

    Each peeling pools the batch three times: with five, about 0.13 s for four crops of 256x256 on one core.
    """

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        share, truth = foreground(logits, target, valid)
        share_line, truth_line = soft_skeleton(share, iterations), soft_skeleton(truth, iterations)
        precision = ((share_line * truth).sum((0, 2, 3)) + 1) / (share_line.sum((0, 2, 3)) + 1)
        recall = ((truth_line * share).sum((0, 2, 3)) + 1) / (truth_line.sum((0, 2, 3)) + 1)
        centre_line = 1 - (2 * precision * recall / (precision + recall)).mean()
        return (1 - alpha) * soft_dice(logits, target, valid) + alpha * centre_line

    return loss


def soft_skeleton(share: torch.Tensor, iterations: int) -> torch.Tensor:
    """The centre lines of a picture of shares, by peeling: (B, K, H, W) in [0, 1] -> the same.

    Joined of what each peeling loses and an opening does not give back.
    """
    eroded = _erode(share)
    skeleton = F.relu(share - _dilate(eroded))
    for _ in range(iterations):
        share, eroded = eroded, _erode(eroded)
        found = F.relu(share - _dilate(eroded))
        skeleton = skeleton + found * (1 - skeleton)  # probabilistic or
    return skeleton


def _erode(share: torch.Tensor) -> torch.Tensor:
    """The least of a pixel and its four neighbours; beyond the picture nothing is less."""
    down = -F.max_pool2d(-share, (3, 1), stride=1, padding=(1, 0))
    across = -F.max_pool2d(-share, (1, 3), stride=1, padding=(0, 1))
    return torch.minimum(down, across)


def _dilate(share: torch.Tensor) -> torch.Tensor:
    """The greatest of a pixel and its eight neighbours."""
    return F.max_pool2d(share, 3, stride=1, padding=1)
