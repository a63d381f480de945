"""How whole images become classes: settings that a user makes, and what validation chooses. Needs no torch."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from lamella.config.key import Key, hold
from lamella.errors import ConfigError

# The rules by which pictures are cut into tiles and turned; part of a network's protocol, as scores depend on them.
# 1 (runs that say nothing): tiles began anywhere, and views of odd sizes were continued each at another end.
# 2: tiles begin where the whole picture's features do, and a picture is continued before it is turned.
TILES = 2


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How whole images are predicted: tiles, test-time views, threshold.

    Raises:
        ConfigError: a value out of its bounds, or tiles that would overlap by more than half.
    """

    tile: Annotated[int, Key("largest side, in pixels of the scaled image, predicted in one piece", least=32)]
    overlap: Annotated[
        int | None,
        Key(
            "pixels that neighbouring tiles share; null: twice as many as the network looks far, where it ends", least=0
        ),
    ]
    tta: Annotated[bool, Key("average over the eight flips and quarter turns when testing")]
    threshold: Annotated[float, Key("foreground above this probability (two classes)", above=0, most=0.999)]

    def __post_init__(self) -> None:
        hold(self)
        if self.overlap is not None and self.overlap > self.tile // 2:
            raise ConfigError(
                f"inference.overlap must be at most half of inference.tile: {self.overlap} of {self.tile}",
                "Set the one lower or the other higher.",
            )


class OperatingPoint(NamedTuple):
    """The thresholds and the temperature that were chosen on the validation images after training.

    Attributes:
        threshold: foreground lies above it (two classes).
        temperature: logits are divided by it to make probabilities of them that can be believed; 1 where a method
            gives masks alone.
        neurite_threshold: on the probability of the interior, for V_rand and V_info; None where there are no neurites.
    """

    threshold: float
    temperature: float
    neurite_threshold: float | None
