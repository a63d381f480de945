"""Losses that judge each pixel by itself: cross-entropy, weighted by class, by how hard a pixel is or where it lies."""

from typing import Annotated

import torch

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.losses.borders import border
from lamella.losses.pixels import Loss, entropies, mean_over


def bce() -> Loss:
    """The plain cross-entropy as a loss, see `cross_entropy`."""
    return cross_entropy


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy over valid pixels: binary for one logit, else over K classes."""
    return mean_over(entropies(logits, target * valid), valid)


def weighted_bce(
    *,
    num_classes: Annotated[int, Key("classes, background included", least=2)],
    weights: Annotated[list[float], Key("one a class, background first; or one alone: of all foreground", above=0)],
) -> Loss:
    """Cross-entropy in which classes have weights: each pixel weighs what its true class does, sum(w l) / sum(w).

    As PyTorch does it for several classes. Because of the division, only the ratio of the weights matters, and
    the loss is as large as the plain one where all classes are equally well met.

    Raises:
        ConfigError: neither one weight nor one a class.
    """
    if len(weights) not in (1, num_classes):
        raise ConfigError(
            f"loss.weights has {len(weights)} numbers for {num_classes} classes",
            f"Give {num_classes}, background first, or one alone for all foreground (background then has 1).",
        )
    of_class = torch.tensor(weights if len(weights) == num_classes else [1.0, *weights * (num_classes - 1)])

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        target = target * valid
        weight = of_class.to(logits.device, non_blocking=True)[target.long()] * valid
        # Where nothing is valid the sum of weights is 0, and so is what it divides.
        return (entropies(logits, target) * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)

    return loss


def focal(
    *,
    gamma: Annotated[float, Key("how little well-met pixels count; 0: cross-entropy", least=0)],
    alpha: Annotated[
        float | None, Key("weight of foreground, 1 - alpha of background; null: none", above=0, most=0.999)
    ],
) -> Loss:
    """Focal loss, a cross-entropy in which well-met pixels count little: mean of -(1 - p)^gamma log p.

    T.-Y. Lin et al. 2017, arXiv:1708.02002, eq. 4 and, with alpha, eq. 5. The mean is over valid pixels,
    p that of the true class. For several classes p is the softmax's, and alpha weighs every foreground class.
    """

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        target = target * valid
        entropy = entropies(logits, target)
        # 1 - p without cancellation; the root of 0 (gamma below 1) has no finite slope.
        miss = -torch.expm1(-entropy).clamp(max=-torch.finfo(entropy.dtype).tiny)
        per_pixel = miss**gamma * entropy
        if alpha is not None:
            per_pixel = per_pixel * torch.where(target > 0, alpha, 1 - alpha)
        return mean_over(per_pixel, valid)

    return loss


def boundary_weighted(
    *,
    w0: Annotated[float, Key("what the narrowest gap adds to a pixel's weight", least=0)],
    sigma: Annotated[float, Key("gaps up to about this many pixels of the crop count", above=0)],
    cells: Annotated[
        str,
        Key("what lies side by side: foreground, or background (EM: neurites)", choices=("foreground", "background")),
    ],
) -> Loss:
    """Cross-entropy with U-Net's weights: class balance plus w0 exp(-(d1 + d2)^2 / (2 sigma^2)).

    O. Ronneberger et al. 2015, arXiv:1505.04597, eq. 2, with w0 = 10 and sigma = 5 in the paper. d1 and d2 are a
    pixel's distances to the two nearest cells. Cells are the connected regions (by edges) of each class of
    `cells`; only pixels of no cell get the border term, and with fewer than two cells in a crop none does. The
    balance gives every class of the batch the same total weight, 1 a pixel on average. The weighted entropies are
    divided by the number of valid pixels.

    Regions and distances are found for each crop of each batch, see `borders`. On one core a crop of 256x256 takes
    about 4 ms with a dozen cells; on a GPU the step has several hundred operations more.
    """

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        target = target * valid
        between = border(target, w0, sigma, of_background=cells == "background")
        weight = _balance(target, valid, max(logits.shape[1], 2)) + between
        return mean_over(entropies(logits, target) * weight, valid)

    return loss


def _balance(target: torch.Tensor, valid: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Weights (B, H, W): the same total for every class that the batch holds, 1 a valid pixel on average."""
    counts = torch.stack([((target == class_id) & valid).sum() for class_id in range(num_classes)])
    weights = counts.sum() / ((counts > 0).sum() * counts).clamp(min=1)
    return weights[target.long()]
