"""Data -> an HTML page that is whole in one file: it loads nothing, runs nothing and takes no text for markup."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lamella.plaintext import printable

# Colours of figures -> what `style.css` makes of them, light and dark. What is black by default follows the text.
_SCHEME = {
    colour: f"var(--{name})"
    for colour, name in {
        "#ffffff": "ground",
        "#000000": "ink",
        "#595959": "pale",
        "#d9d9d9": "band",
        "#e6e6e6": "grid",
        "#0072b2": "blue",
        "#e69f00": "orange",
        "#009e73": "green",
        "#d55e00": "vermilion",
    }.items()
}
_COLOUR = re.compile(r"(?<=: )#[0-9a-f]{6}(?=[;\"])")


class Cell(NamedTuple):
    """What stands in one cell of a `Table`.

    Attributes:
        text: its first line.
        below: further lines, smaller and paler.
        left: it is words, so that it begins at the left; numbers end at the right.
    """

    text: str
    below: Sequence[str] = ()
    left: bool = False


class Table(NamedTuple):
    """A table of a page, with its caption.

    Attributes:
        id: unique in the page.
        title: what the table shows.
        explanation: how to read it.
        head: a heading a column.
        rows: as many cells each; the first one names the row and stays in sight.
    """

    id: str
    title: str
    explanation: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


def render(template: str, **values: object) -> str:
    """The HTML of a page.

    Args:
        template: the name of a file of this folder, such as "audit.html.j2".
        values: what its names stand for. Text is escaped, whatever it holds.

    Raises:
        jinja2.UndefinedError: the template asks for a name that has no value.
    """
    return _environment().get_template(template).render(values)


def text_of(name: str) -> str:
    """What a page that is served loads beside its HTML, as it stands: a stylesheet or a script of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "capital": _capital, "code": _code, "drawing": _drawing}
    return environment


def _breakable(text: str) -> Markup:
    """A name such as `optimizer.lr=0.01`, which may be broken after its signs, where it has to."""
    return Markup("<wbr>").join(re.split(r"(?<=[=/_,])(?=\w)", text))


def _capital(text: str) -> str:
    """The text with a capital at its start, the rest as it is."""
    return text[:1].upper() + text[1:]


def _code(text: str) -> Markup:
    """A sentence; what stands between backticks is code."""
    pieces = printable(text, lines=True).split("`")
    return Markup().join(Markup("<code>{}</code>").format(each) if n % 2 else each for n, each in enumerate(pieces))


def _drawing(svg: str, words: str) -> Markup:
    """An `<svg>` element of ours (`lamella.plots.style`), one image to a screen reader, with words that tell of it.

    Its colours become those of the page, which are others where that is dark. It is the only text of a page that is
    not escaped.
    """
    shown = _COLOUR.sub(lambda found: _SCHEME.get(found[0], found[0]), svg.removeprefix("<svg"))
    return Markup('<svg role="img" aria-label="{}"{}').format(words, Markup(shown))
