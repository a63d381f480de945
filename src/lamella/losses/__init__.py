"""Losses: how wrong a network's output is, as one number that training makes smaller.

Each takes logits (B, K, H, W), class ids (B, H, W) and a mask of the valid pixels (B, H, W).
What logits and ids hold at invalid pixels changes nothing, and without one valid pixel a loss is 0. One logit
stands for two classes. Everything is computed in float32, whatever the logits are and whatever autocast says.

`entropy` looks at pixels one by one, `overlap` compares areas, `ranking` does both through a sort, `border` weighs
pixels by where they lie, `skeleton` compares centre lines, `combined` adds several.
"""

from lamella.losses.border import boundary_weighted
from lamella.losses.combined import bce_dice, weighted_sum
from lamella.losses.entropy import bce, cross_entropy, focal, weighted_bce
from lamella.losses.overlap import dice, soft_dice, soft_jaccard, tversky
from lamella.losses.pixels import Loss
from lamella.losses.ranking import lovasz
from lamella.losses.skeleton import cldice

__all__ = [
    "Loss",
    "bce",
    "bce_dice",
    "boundary_weighted",
    "cldice",
    "cross_entropy",
    "dice",
    "focal",
    "lovasz",
    "soft_dice",
    "soft_jaccard",
    "tversky",
    "weighted_bce",
    "weighted_sum",
]
