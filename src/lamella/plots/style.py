"""What all figures of a report share: size, type, colours, rows of methods, dots, and how they get into a page."""

import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

# Okabe & Ito 2008: told apart by everyone.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY, PALE = "#595959", "#D9D9D9"
ON_DARK, ON_LIGHT = "#fefefe", "#010101"
"""Of text on a colour of its own: white and black become others on a dark page, as all of the above do, these not."""

WIDTH = 6.0
"""Inches. Pages shrink or stretch it; at 340 px the smallest type is still 7.5 px high."""

LINE = 0.165
"""Inches from one line of a label to the next."""

_LABEL = 21  # characters of a method's name on one line

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "text.parse_math": False,  # a label is shown as it is, whatever its $ and _
}


_PATH = re.compile(r' d="[^"]*"')
_LONG = re.compile(r"(\.\d\d)\d+")  # a hundredth of a point is not seen, and half the file


applied = mpl.rc_context(_STYLE)
"""A decorator of functions that draw a figure of a report."""


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
        # What `savefig` writes, but for a first drawing that goes nowhere.
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(file, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = _PATH.sub(lambda found: _LONG.sub(r"\1", found[0]), svg)
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]  # several figures stand in one page, and share no names
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", svg)


def blank(height: float) -> Figure:
    """A figure of a report without anything in it yet, so many inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def wrap(label: str, width: int = _LABEL) -> str:
    """Breaks a label into lines of at most `width` characters: at spaces, in long words after one of `=,._/-`."""
    lines = [""]
    for word in label.split(" "):
        # A point within a number is no place to break.
        breakable = [word] if len(word) <= width else re.findall(r"(?:[^=,._/-]|\.(?=\d))*[=,._/-]?", word)
        parts = [piece[i : i + width] for piece in breakable for i in range(0, len(piece), width)]
        for place, part in enumerate(parts):
            joint = " " if place == 0 and lines[-1] else ""
            if len(lines[-1] + joint + part) > width:
                lines.append(part)
            else:
                lines[-1] += joint + part
    return "\n".join(lines)


def lines_of(text: str) -> int:
    """How many lines a text has."""
    return text.count("\n") + 1


def places(heights: Sequence[float]) -> npt.NDArray[np.float64]:
    """The middles of rows that stand below each other: (rows,), 0 is the upper edge of the first."""
    ends = np.cumsum(heights)
    return np.asarray(ends - np.asarray(heights) / 2)


def row_heights(names: Sequence[str], least: float) -> list[float]:
    """Inches that rows with such labels need, at least `least` each."""
    return [max(least, LINE * lines_of(name) + 0.08) for name in names]


def set_rows(axes: Axes, names: Sequence[str], heights: Sequence[float]) -> None:
    """Gives axes one labelled row a name; a unit of the vertical axis is an inch, downwards."""
    axes.set_yticks(places(heights), names)
    axes.set_ylim(sum(heights), 0)
    axes.tick_params("y", length=0)
    axes.spines.left.set_visible(False)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=6)


def panels(labels: Sequence[str], notes: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A small panel for each label, on shared axes, under the label and a note of at most 20 characters."""
    across = 2 if len(labels) in (2, 4) else min(len(labels), 3)
    titles = [f"{wrap(label, 54 // across)}\n{said}" for label, said in zip(labels, notes, strict=True)]
    down = -(-len(titles) // across)
    height = (1.55 if across == 3 else 2.0) + LINE * max(map(lines_of, titles))
    figure = blank(0.75 + down * height)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for axes in grid[len(titles) :]:
        axes.remove()
    for place, (axes, title) in enumerate(zip(grid, titles, strict=False)):
        axes.set_title(title, loc="left", fontsize=9.5)
        axes.tick_params(labelbottom=place + across >= len(titles))
        axes.grid()
    return figure, grid[: len(titles)]


def dots(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, *, size: float, colour: str, alpha: float = 1.0) -> None:
    """Round dots, of `size` points across, as one path: half as long in SVG as markers, which matters for thousands."""
    points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    # A line without length and with a round cap is a dot.
    path = Path(points.repeat(2, axis=0), np.tile([Path.MOVETO, Path.LINETO], len(points)))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, alpha=alpha, linewidth=size, capstyle="round"))


def dot_size(count: int) -> float:
    """How many points across each of so many dots is."""
    return 5.0 if count <= 50 else 3.6


def padded(values: npt.ArrayLike, share: float = 0.04) -> tuple[float, float]:
    """Limits of an axis that shows all values, but for NaN, and a margin of this share; never of width 0."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = share * (high - low) or 0.01 * abs(high) or 0.01
    return low - margin, high + margin
