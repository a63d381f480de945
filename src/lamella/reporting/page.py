"""The report as one HTML page that needs no other file, no script and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import pandas as pd

from lamella.pages.style import STYLE
from lamella.plots.svg import Picture
from lamella.reporting import page_parts as parts
from lamella.reporting.cohorts import Cohort
from lamella.reporting.gallery import Case
from lamella.reporting.page_scores import main_table, others_table, pairs_table
from lamella.reporting.page_table import UNKNOWN, Cell, table
from lamella.statistics.comparison import Comparison

# Nothing may be loaded or run, whatever text finds its way into the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Section:
    """All there is to show of one cohort.

    Attributes:
        cohort: the methods.
        score: the one that decides.
        summary: one row a method, best first.
        comparisons: every pair of methods by that score; none for one method.
        verdict: sentences, the answer first.
        notes: about the main table.
        pictures: in their order.
        gallery: ("worst", cases) and so on.
    """

    cohort: Cohort
    score: str
    summary: pd.DataFrame
    comparisons: Sequence[Comparison]
    verdict: Sequence[str]
    notes: Sequence[str]
    pictures: Sequence[Picture]
    gallery: tuple[tuple[str, tuple[Case, ...]], ...]


def page(title: str, sections: Sequence[Section], made: str) -> str:
    """The whole page.

    Args:
        title: its heading.
        sections: at least one.
        made: the version that made it and when, one line.
    """
    headings = _headings(sections)
    ids = [f"s{place}" for place in range(1, len(sections) + 1)]
    all_parts = [_parts(id_, each) for id_, each in zip(ids, sections, strict=True)]
    bodies = map(_section, ids, headings, sections, all_parts)
    main = "\n".join(filter(None, [_apart(sections, headings), *bodies]))
    return f"""<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the results</a>
<header>
<h1>{escape(title)}</h1>
<p class="made">{escape(made)}</p>
</header>
{_contents(ids, headings, all_parts)}
<main id="main" tabindex="-1">
{main}
</main>
</body>
</html>
"""


def _headings(sections: Sequence[Section]) -> list[str]:
    """A section's data set; what else tells it from others of the same name."""
    named = [f"{each.cohort.dataset} (phantom)" if each.cohort.phantom else each.cohort.dataset for each in sections]
    return [
        f"{name}, {named[: place + 1].count(name)} of {named.count(name)}" if named.count(name) > 1 else name
        for place, name in enumerate(named)
    ]


class _Part(NamedTuple):
    """What follows a section's verdict: its id, heading, HTML, and whether it is folded."""

    id: str
    heading: str
    content: str
    folded: bool = False


def _parts(id_: str, section: Section) -> list[_Part]:
    """In their order, without those that have nothing to show."""
    cohort, score, summary, pairs = section.cohort, section.score, section.summary, section.comparisons
    ranked = summary["method"].tolist()
    compared = pairs_table(f"{id_}-pairs-table", cohort, pairs, score, ranked) if pairs else ""
    scores = main_table(f"{id_}-scores-table", cohort, summary, score) + parts.notes(section.notes)
    found = [
        _Part("scores", "Scores", scores),
        _Part("figures", "Figures", parts.figures(section.pictures)),
        _Part("pairs", "Pairs", compared),
        _Part("images", "Images", parts.gallery(f"{id_}-case", cohort, section.gallery, score)),
        _Part("others", "Other scores", others_table(f"{id_}-others-table", cohort, summary), folded=True),
        _Part("protocol", "Protocol", parts.card(cohort.protocol)),
        _Part("data", "Data", parts.card(cohort.card)),
        _Part("runs", "Runs", parts.runs_table(f"{id_}-runs-table", cohort, score), folded=True),
        _Part("measures", "Measures", parts.definitions(cohort.names), folded=True),
    ]
    return [part._replace(id=f"{id_}-{part.id}") for part in found if part.content]


def _section(id_: str, heading: str, section: Section, found: Sequence[_Part]) -> str:
    pieces = [
        f'<section aria-labelledby="{id_}">\n<h2 id="{id_}">{escape(heading)}</h2>',
        parts.phantom_warning() if section.cohort.phantom else "",
        parts.verdict(f"{id_}-verdict", section.verdict),
    ]
    for part in found:
        title = f'<h3 id="{part.id}">{part.heading}</h3>'
        if part.folded:
            pieces.append(f"<details>\n<summary>{title}</summary>\n{part.content}\n</details>")
        else:
            pieces.append(f"{title}\n{part.content}")
    return "\n".join(filter(None, [*pieces, "</section>"]))


def _contents(ids: Sequence[str], headings: Sequence[str], all_parts: Sequence[Sequence[_Part]]) -> str:
    """Links to every section and its parts."""
    items = []
    for id_, heading, found in zip(ids, headings, all_parts, strict=True):
        links = [(f"{id_}-verdict", "Verdict"), *((part.id, part.heading) for part in found)]
        inner = "".join(f'<li><a href="#{to}">{words}</a></li>' for to, words in links)
        whole = f'<a class="to" href="#{id_}">{escape(heading)}</a>' if len(ids) > 1 else ""
        items.append(f"<li>{whole}<ul>{inner}</ul></li>")
    entries = "\n".join(items)
    return f'<nav aria-label="Contents">\n<ol>\n{entries}\n</ol>\n</nav>'


def _apart(sections: Sequence[Section], headings: Sequence[str]) -> str:
    """That sections are not to be compared, and in what they differ; nothing for one."""
    if len(sections) == 1:
        return ""
    entries = [{"data set": each.cohort.dataset, **each.cohort.protocol} for each in sections]
    labels = dict.fromkeys(key for each in entries for key in each)
    differing = [label for label in labels if len({each.get(label) for each in entries}) > 1]
    within = f"They differ in: {', '.join(differing)}." if differing else "They are scored on different test images."
    said = (
        '<p class="apart"><strong>The sections are not to be compared with each other.</strong> '
        f"{escape(within)} Each one is a comparison of its own.</p>"
    )
    if not differing:
        return said
    rows = [[Cell(label), *(Cell(each.get(label, UNKNOWN), left=True) for each in entries)] for label in differing]
    head = [Cell("entry of the protocol"), *(Cell(heading, left=True) for heading in headings)]
    shown = table("apart-table", "What differs", "A row an entry of the protocol, a column a section.", head, rows)
    return f"{said}\n<details>\n<summary>In what they differ, word by word</summary>\n{shown}\n</details>"
