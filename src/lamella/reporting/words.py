"""What tables, figures and sentences of a report say alike."""

from collections.abc import Iterable

from lamella.statistics.comparison import Comparison


def counted(count: int, noun: str) -> str:
    """ "1 image", "2 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    """ "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def verdict_on(pair: Comparison) -> str:
    """What may be said of a pair of methods."""
    if pair.better is not None:
        return f"{pair.better} is better"
    return "one seed: cannot tell" if pair.p is None else "not told apart"
