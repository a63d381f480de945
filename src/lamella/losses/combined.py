"""Several losses as one: the default pair, and any sum by name."""

import difflib
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch

from lamella.config.key import Key
from lamella.errors import ConfigError
from lamella.losses.border import boundary_weighted
from lamella.losses.entropy import bce, cross_entropy, focal, weighted_bce
from lamella.losses.overlap import dice, soft_dice, soft_jaccard, tversky
from lamella.losses.pixels import Loss
from lamella.losses.ranking import lovasz
from lamella.losses.skeleton import cldice

_FUNCTIONS: dict[str, Callable[..., Loss]] = {
    f"lamella.losses.{function.__name__}": function
    for function in (bce, boundary_weighted, cldice, dice, focal, lovasz, soft_jaccard, tversky, weighted_bce)
}


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
    parts: Annotated[dict[str, Any], Key("the losses to choose from, each with its own keys")],
) -> Loss:
    """The sum of several losses, each times its weight.

    Args:
        terms: names of `parts` -> weights, as {"bce": 1, "cldice": 0.5}; 0 leaves a part out.
        parts: names -> the keys of a loss, and `_target_`, the function of this package that takes them.

    Raises:
        ConfigError: a name that no part has, a weight that is no number or below 0, nothing but zeros, or a part
            whose keys are not those of its function.
    """
    terms = terms or {}
    for name, weight in terms.items():
        if name not in parts:
            raise ConfigError(f"loss.terms names {name!r}, which is no loss here", _near(name, parts))
        if not _is_number(weight) or not Key("", least=0).allows(weight):
            raise ConfigError(f"loss.terms.{name} must be a number, at least 0; got {weight!r}")
    chosen = [(weight, _build(f"loss.parts.{name}", parts[name])) for name, weight in terms.items() if weight]
    if not chosen:
        raise ConfigError(
            "loss.terms gives no loss a weight, which leaves nothing to minimise",
            f"For example 'loss.terms={{bce:1,cldice:0.5}}'. Allowed: {', '.join(sorted(parts))}.",
        )

    def loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return torch.stack([weight * part(logits, target, valid) for weight, part in chosen]).sum()

    return loss


def _build(path: str, keys: Any) -> Loss:
    """Calls a part's function, its keys held to that function's arguments."""
    function = _FUNCTIONS.get(str(keys.get("_target_"))) if isinstance(keys, Mapping) else None
    if function is None:
        raise ConfigError(f"{path}._target_ must be one of {', '.join(sorted(_FUNCTIONS))}")
    hints = typing.get_type_hints(function, include_extras=True)
    del hints["return"]
    values = {name: value for name, value in keys.items() if name != "_target_"}
    for name in values.keys() - hints.keys():
        raise ConfigError(f"there is no key '{path}.{name}'", _near(name, hints))
    for name, hint in hints.items():
        if name not in values:
            raise ConfigError(f"{path}.{name} has no value", f"Set it: {path}.{name}=VALUE.")
        kind, key = typing.get_args(hint)
        if not _fits(values[name], kind) or not key.allows(values[name]):
            raise ConfigError(f"{path}.{name} must be {key.allowed() or 'of another type'}; got {values[name]!r}")
    return function(**values)


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of one of the types that the losses' keys have."""
    if kind == list[float]:
        return isinstance(value, list) and all(_is_number(item) for item in value)
    if isinstance(value, bool):
        return False
    return any(_is_number(value) if one is float else isinstance(value, one) for one in typing.get_args(kind) or [kind])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _near(wrong: str, names: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(wrong, names, n=1)
    return (f"Did you mean {near[0]}? " if near else "") + f"Allowed: {', '.join(sorted(names))}."
