"""HTML of one table that scrolls within its own region, and numbers as the page writes them."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

UNKNOWN = "–"
_MINUS = "−"


class Cell(NamedTuple):
    """What stands in a table's cell.

    Attributes:
        text: its first line.
        below: further lines, smaller and paler.
        left: words, not a number.
    """

    text: str
    below: Sequence[str] = ()
    left: bool = False


def table(id_: str, title: str, explanation: str, head: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """A table with its caption in a region that scrolls sideways and can be reached by keyboard.

    Args:
        id_: unique in the page.
        title: what the table shows.
        explanation: how to read it.
        head: a heading a column.
        rows: as many cells each; the first one names the row and stays in sight.
    """
    name = escape(title[:1].upper() + title[1:])
    top = "".join(f'<th scope="col"{_side(cell)}>{_name(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{_row(row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{id_}">\n<table>\n'
        f'<caption><span class="caption"><b id="{id_}">{name}.</b> {escape(explanation)}</span></caption>\n'
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>"
    )


def _row(row: Sequence[Cell]) -> str:
    first, *others = row
    return f'<th scope="row">{_name(first)}</th>' + "".join(f"<td{_side(cell)}>{_inner(cell)}</td>" for cell in others)


def _broken(text: str) -> str:
    """Escaped; a name such as `optimizer.lr=0.01` may be broken after its signs, where it has to."""
    return re.sub(r"(?<=[=/_,])(?=\w)", "<wbr>", escape(text, quote=False))


def _side(cell: Cell) -> str:
    return ' class="left"' if cell.left else ""


def _name(cell: Cell) -> str:
    below = "".join(f'<span class="below">{_broken(line)}</span>' for line in cell.below)
    return f'<span class="name">{_broken(cell.text)}</span>{below}'


def _inner(cell: Cell) -> str:
    return escape(cell.text) + "".join(f'<span class="below">{escape(line)}</span>' for line in cell.below)


def decimals(values: npt.ArrayLike) -> int:
    """How many places to write of numbers that stand together: 4 of shares, fewer of larger ones."""
    finite = np.abs(np.asarray(values, np.float64))
    largest = float(np.max(finite[np.isfinite(finite)], initial=0))
    return 4 if largest <= 1 else 2 if largest < 1000 else 0


def number(value: float, places: int, *, signed: bool = False) -> str:
    """A number with so many decimals and a typographic minus; a dash where it is not known."""
    if np.isnan(value):
        return UNKNOWN
    text = format(value, f"{'+' if signed else ''}z,.{places}f")  # z: no minus before a zero
    return text.replace("-", _MINUS)


def probability(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if np.isnan(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def quantity(value: float) -> str:
    """A count or a rate, in thousands or millions where it is large."""
    if np.isnan(value):
        return UNKNOWN
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:  # what three digits round up to it
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
