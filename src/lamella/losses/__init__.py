"""Losses: how wrong a network's output is, as one number that training makes smaller.

Each takes logits (B, K, H, W), class ids (B, H, W) and a mask of the valid pixels (B, H, W).
What logits and ids hold at invalid pixels changes nothing, and without one valid pixel a loss is 0. One logit
stands for two classes. Everything is computed in float32, whatever the logits are and whatever autocast says.

`entropy` looks at pixels one by one, `overlap` compares areas or centre lines, `combined` adds several.
"""

from lamella.losses.combined import bce_dice, weighted_sum
from lamella.losses.entropy import bce, boundary_weighted, cross_entropy, focal, weighted_bce
from lamella.losses.overlap import cldice, dice, lovasz, soft_dice, soft_jaccard, tversky
from lamella.losses.pixels import Loss

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
