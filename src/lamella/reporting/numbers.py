"""Numbers as tables, figures and the page of a report write them."""

import numpy as np

from lamella.metrics.catalogue import lookup

UNKNOWN = "–"
_MINUS = "−"


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with so many decimals and a typographic minus; a dash where it is not known."""
    return UNKNOWN if np.isnan(value) else plain(value, decimals, signed=signed).replace("-", _MINUS)


def plain(value: float, decimals: int, *, signed: bool = False) -> str:
    """The same of ASCII letters alone, for files that programs read; nothing where it is not known."""
    return "" if np.isnan(value) else format(value, f"{'+' if signed else ''}z,.{decimals}f")  # z: no minus before a 0


def score_text(value: float, score: str, *, signed: bool = False) -> str:
    """A score, or a difference of two, with as many decimals as the catalogue gives it."""
    return number(value, lookup(score).decimals, signed=signed)


def ranged(value: float, low: float, high: float, score: str) -> str:
    """A score and an interval: "0.9000 (0.8000 to 0.9500)"; "0.9000 (–)" where the interval is not known."""
    if np.isnan(value):
        return UNKNOWN
    return f"{score_text(value, score)} ({span(low, high, score)})"


def span(low: float, high: float, score: str, *, signed: bool = False) -> str:
    """An interval: "0.8000 to 0.9500"; a dash where it is not known."""
    ends = [score_text(end, score, signed=signed) for end in (low, high)]
    return UNKNOWN if UNKNOWN in ends else " to ".join(ends)


def probability(value: float) -> str:
    """A p-value: "0.040", "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float) -> str:
    """A share in percents: "26 %"; below 1 % with a decimal, so that little is not called nothing: "0.2 %"."""
    return f"{100 * share:.{1 if 0 < share < 0.01 else 0}f} %"


def known(value: float | None) -> float:
    """NaN for what is None, so that numbers that are not known are written alike."""
    return np.nan if value is None else value


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: "0.12 s", "42 s", "1.5 min", "2 h"."""
    if np.isnan(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    value, unit = (seconds / 60, "min") if seconds < 3600 else (seconds / 3600, "h")
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def quantity(value: float) -> str:
    """A count or a rate with three digits, in thousands, millions or billions where it is large: "7.76 M"."""
    if np.isnan(value):
        return UNKNOWN
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:  # what three digits round up to it
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
