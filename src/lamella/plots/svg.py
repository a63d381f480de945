"""A figure that stands in a page: as SVG text, with words for those who cannot see it."""

import hashlib
import io
import re
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure


class Picture(NamedTuple):
    """One figure of a report.

    Attributes:
        title: its heading.
        svg: an `<svg>` element that scales with the page.
        alt: what it shows and what is to be seen, in a sentence or two.
        caption: how to read it.
    """

    title: str
    svg: str
    alt: str
    caption: str


def svg_of(figure: Figure) -> str:
    """A figure as an `<svg>` element without fixed size, the same text for the same figure."""
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "lamella"}):
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]  # several figures stand in one page, and share no names
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", svg)
