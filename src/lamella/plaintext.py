"""Text from files and users on its way out: it is shown and written as it is, and nothing that reads it runs any of it.

Names of files, ids, names of classes and metadata may hold anything: what moves a terminal's cursor, what turns the
direction of writing, what a spreadsheet runs as a formula.
"""

import re
from pathlib import Path
from typing import Any

# C0 and C1, what turns the direction or ends a line, and halves of characters, as bytes in a name that are no UTF-8.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with every control character as its number, such as `\\x1b`; all else is as it was.

    Args:
        text: any.
        lines: whether it may have several lines.
    """
    return _CONTROL.sub(lambda found: found[0] if lines and found[0] == "\n" else _number(ord(found[0])), text)


def to_cell(text: str) -> str:
    """A text as a cell of a CSV file: where a spreadsheet would run it as a formula, an apostrophe stands before it."""
    return ("'" if _FORMULA.match(text) else "") + printable(text)


def from_cell(cell: str) -> str:
    """The text that `to_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_csv(table: Any, path: Path, **how: Any) -> None:
    """Writes a pandas table as a CSV file: numbers as they are, texts by `to_cell`; its index where that has a label.

    Args:
        table: a `pandas.DataFrame`.
        path: the file.
        how: options of `DataFrame.to_csv`.
    """
    safe = table.map(lambda value: to_cell(value) if isinstance(value, str) else value)
    safe.rename(columns=to_cell).to_csv(path, index="index_label" in how, **how)


def _number(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
