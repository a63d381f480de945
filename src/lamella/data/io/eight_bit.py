"""Grey levels of any type -> 8 bits, by a scaling that the user chose and that is written down."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamella.data.io.resize import Bytes, Pixels
from lamella.errors import ConfigError, DataError

Range = tuple[float, float]


@dataclass(frozen=True)
class Scaling:
    """A map of levels to 0..255: `low` and all below become 0, `high` and all above 255, evenly between.

    Attributes:
        low: a level as stored.
        high: another, greater.
        by: how they were chosen.
    """

    low: float
    high: float
    by: str

    def __call__(self, pixels: Pixels) -> Bytes:
        share = (pixels.astype(np.float64) - self.low) / (self.high - self.low)
        scaled: npt.NDArray[Any] = (share * 255).round().clip(0, 255)
        return scaled.astype(np.uint8)


def check_scaling(eight_bit: bool, limits: Range | str | None, percentiles: Range | None) -> None:
    """Raises ConfigError where the options for 8 bits contradict each other, or make no scaling.

    Args:
        eight_bit: whether 8 bits are asked for.
        limits: two levels, "minmax", or None.
        percentiles: two shares of all pixels, in percent, or None.

    Raises:
        ConfigError: a scaling that is none, that is said twice, or that nothing asks for.
    """
    if not eight_bit and (limits is not None or percentiles is not None):
        raise ConfigError("range and percentiles scale to 8 bits", "Set eight_bit=true, or leave them out.")
    if limits is not None and percentiles is not None:
        raise ConfigError("range and percentiles exclude each other", "Set one of them.")
    if limits is not None and limits != "minmax" and not _rise(limits):
        raise ConfigError(f"range must be minmax or two rising levels; got {_shown(limits)}", "As in range=[0,4095].")
    if percentiles is not None and not (_rise(percentiles) and percentiles[0] >= 0 and percentiles[1] <= 100):
        raise ConfigError(
            f"percentiles must be two rising numbers from 0 to 100; got {_shown(percentiles)}",
            "As in percentiles=[1,99].",
        )


def scaling(name: object, pages: Iterable[Pixels], limits: Range | str | None, percentiles: Range | None) -> Scaling:
    """The scaling to 8 bits for all pages of one file, from the options or from the pages' own levels.

    Args:
        name: of the file, for messages.
        pages: its pixels.
        limits: two levels, or "minmax" for the least and greatest that occur; None where percentiles are given.
        percentiles: two shares of all pixels, in percent; each gives the least level that so many pixels keep to.

    Raises:
        DataError: nothing says which levels, or there is only one.
    """
    if isinstance(limits, tuple):
        return Scaling(float(limits[0]), float(limits[1]), by="range")
    if limits is None and percentiles is None:
        raise DataError(
            f"{name} does not hold 8 bits: eight_bit=true needs to know which levels become 0 and 255",
            "Say it: range=[low,high], range=minmax, or percentiles=[1,99].",
        )
    found = [np.unique(page, return_counts=True) for page in pages]
    levels = np.concatenate([values for values, _ in found]).astype(np.float64)
    order = np.argsort(levels)
    counts = np.concatenate([numbers for _, numbers in found])[order].cumsum()
    ranks = np.maximum(1, np.ceil(np.array(percentiles or (0, 100)) / 100 * counts[-1]))
    low, high = levels[order][np.searchsorted(counts, ranks)]
    if not low < high:
        raise DataError(f"{name} leaves nothing between {low:g} and {high:g} to scale", "Set range=[low,high].")
    by = "minmax" if percentiles is None else "percentiles {:g} and {:g}".format(*percentiles)
    return Scaling(float(low), float(high), by)


def _rise(pair: Any) -> bool:
    numbers = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(v, (int, float)) for v in pair)
    return numbers and bool(-np.inf < pair[0] < pair[1] < np.inf)


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
