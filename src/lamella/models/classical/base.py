"""What all methods without training share: a network's form, and channel and side chosen by labelled images."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lamella.errors import ConfigError

Floats = npt.NDArray[np.float32]
Known = dict[Any, Any]  # what was found out about one image, shared by the choices that are tried on it

GREY = -1  # the mean of all channels
_UNDECIDED = -2
_SURE = 1e-3  # the least size of a logit, so that rounding a probability to float32 cannot change an answer


class Choice(NamedTuple):
    """One way to segment an image: what is looked at, and what counts as foreground.

    Whole numbers only, as it is kept as a buffer.

    Attributes:
        channel: the number of a channel, or GREY.
        bright: 1: foreground is what is bright; 0: what is dark.
        clusters: how many clusters colours are put into; 0 where there are none.
        taken: how many of them are foreground.
        filled: 1: holes are filled.
    """

    channel: int
    bright: int
    clusters: int
    taken: int
    filled: int

    def plane(self, image: Floats) -> Floats:
        """The channel of an image that is looked at: (C, ...) -> (...)."""
        plane: Floats = image.mean(axis=0) if self.channel == GREY else image[self.channel]
        return plane

    def __str__(self) -> str:
        side = "bright" if self.bright else "dark"
        where = "grey (the mean of all channels)" if self.channel == GREY else f"channel {self.channel}"
        of = f", {self.taken} of {self.clusters} clusters" if self.clusters else ""
        return f"{side} foreground in {where}{of}{', holes filled' if self.filled else ''}"


def choices(
    name: str,
    in_channels: int,
    num_classes: int,
    channel: str,
    foreground: str,
    *,
    parts: Sequence[tuple[int, int]] = ((0, 0),),
    fills: Sequence[bool] = (False,),
) -> list[Choice]:
    """All ways to segment that the configuration leaves open; of equally good ones the first is preferred.

    Args:
        name: the method's, for the message.
        in_channels: channels of the image.
        num_classes: classes, background included.
        channel: "auto", "grey", or a number.
        foreground: "auto", "dark" or "bright".
        parts: (clusters, how many of them are foreground).
        fills: whether holes are filled.

    Raises:
        ConfigError: more than two classes, or no such channel.
    """
    if num_classes != 2:
        raise ConfigError(
            f"model={name} tells two classes apart; the data set has {num_classes}", "Choose a network, such as unet."
        )
    numbers = [str(i) for i in range(in_channels)]
    if channel not in ("auto", "grey", *numbers):
        raise ConfigError(f"model.channel must be one of auto, grey, {', '.join(numbers)}; got {channel!r}")
    every = [GREY, *range(in_channels)] if in_channels > 1 else [0]
    channels = {"auto": every, "grey": every[:1]}.get(channel) or [int(channel)]
    sides = {"auto": (0, 1), "dark": (0,), "bright": (1,)}[foreground]
    return [
        Choice(c, side, clusters, taken, int(filled))
        for c in channels
        for side in sides
        for clusters, taken in parts
        for filled in fills
    ]


class Classical(nn.Module):
    """A method without parameters: normalised float32 (B, C, H, W) -> logits (B, 1, H, W), each image by itself.

    Args:
        name: the method's.
        candidates: what `fit_on_validation` chooses from; one alone needs no choice.
    """

    choice: torch.Tensor

    def __init__(self, name: str, candidates: list[Choice]) -> None:
        super().__init__()
        self.name = name
        self.candidates = candidates
        open_ = len(candidates) > 1
        self.register_buffer("choice", torch.tensor([_UNDECIDED] * len(Choice._fields) if open_ else candidates[0]))

    def segment(self, image: Floats, choice: Choice, known: Known) -> Floats:
        """How far into the foreground each pixel is, above 0 inside: (C, H, W) -> (H, W)."""
        raise NotImplementedError

    def fit_on_validation(self, images: Iterable[tuple[npt.NDArray[Any], npt.NDArray[np.integer]]]) -> str:
        """Settles on the candidate with the best Dice, mean over images with foreground; the first one of equals.

        Args:
            images: pairs, each looked at once: the image as `forward` takes it, (C, H, W), and class ids (H, W);
                ids other than 0 and 1 do not count.

        Returns:
            What was chosen, in one line.

        Raises:
            ValueError: something is to be chosen, and there is no image with foreground.
        """
        if len(self.candidates) == 1:
            return f"{self.candidates[0]}, as configured"
        dice = []
        for image, truth in images:
            known: Known = {}
            levels = np.asarray(image, np.float32)
            if (truth == 1).any():  # without foreground, Dice is undefined
                dice.append([_dice(self.segment(levels, choice, known) > 0, truth) for choice in self.candidates])
        if not dice:
            raise ValueError("there is no image with foreground to choose by")
        mean = np.mean(dice, axis=0)
        best = int(mean.argmax())
        self.choice.copy_(torch.tensor(self.candidates[best]))
        return (
            f"{self.candidates[best]}: the best of {len(mean)} choices, "
            f"mean Dice {mean[best]:.4f} over {len(dice)} image(s) (the worst: {mean.min():.4f})"
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> logits (B, 1, H, W).

        Raises:
            RuntimeError: nothing has been chosen yet.
        """
        choice = Choice(*self.choice.tolist())
        if choice.channel == _UNDECIDED:
            raise RuntimeError(
                f"{self.name} has to choose among {len(self.candidates)} ways first: call fit_on_validation"
            )
        logits = np.stack([self.segment(one, choice, {}) for one in image.float().cpu().numpy()])  # (B, H, W)
        sure = np.where(logits > 0, np.maximum(logits, _SURE), np.minimum(logits, -_SURE))
        return torch.from_numpy(sure.astype(np.float32))[:, None].to(image.device)


def _dice(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.integer]) -> float:
    """2 TP / (2 TP + FP + FN) over pixels of class 0 or 1, of an image with foreground."""
    there, said = truth == 1, predicted & (truth <= 1)
    return 2 * int((there & said).sum()) / int(there.sum() + said.sum())
