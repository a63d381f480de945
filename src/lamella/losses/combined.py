"""Several losses as one: the default pair, and any sum by name."""

from typing import Annotated, Any

import torch

from lamella.config.key import Key
from lamella.config.words import suggestion
from lamella.errors import ConfigError
from lamella.losses.entropy import cross_entropy
from lamella.losses.overlap import soft_dice
from lamella.losses.pixels import Loss


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


def weighted_sum(
    *,
    terms: Annotated[dict[str, Any] | None, Key("names of parts, each with its weight")],
    parts: Annotated[dict[str, Loss], Key("the losses to choose from, each with its own keys")],
) -> Loss:
    """The sum of several losses, each times its weight.

    Args:
        terms: names of `parts` -> weights, as {"bce": 1, "cldice": 0.5}; 0 leaves a part out.
        parts: names -> losses.

    Raises:
        ConfigError: a name that no part has, a weight that is no number or below 0, or nothing but zeros.
    """
    terms = terms or {}
    for name, weight in terms.items():
        if name not in parts:
            raise ConfigError(f"loss.terms names {name!r}, which is no loss here", suggestion(name, parts))
        if type(weight) not in (int, float) or not Key("", least=0).allows(weight):
            raise ConfigError(f"loss.terms.{name} must be a number, at least 0; got {weight!r}")
    chosen = [(weight, parts[name]) for name, weight in terms.items() if weight]
    if not chosen:
        raise ConfigError(
            "loss.terms gives no loss a weight, which leaves nothing to minimise",
            f"For example 'loss.terms={{bce:1,cldice:0.5}}'. Allowed: {', '.join(sorted(parts))}.",
        )

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return torch.stack([weight * part(logits, target, valid) for weight, part in chosen]).sum()

    return loss
