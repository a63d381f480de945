"""What a page of HTML holds, and what is asked of every page."""

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "img", "link", "wbr", "input"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}


class Html(HTMLParser):
    """Elements and text; refuses what is not nested."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open, self.cells = [], "", [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert len(attributes) == len({name for name, _ in attributes})
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")
        elif tag == "span" and ("class", "below") in attributes:
            self.cells[-1][-1] += "|"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "title", "dc:title"}:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, name):
        """The cells of the first row of that name, lines of a cell with | between."""
        return next(cells for cells in self.cells if cells[0] == name)


def needs_nothing_else(text):
    """Asserts that a page loads and runs nothing, and could not."""
    html = Html(text)
    assert not {"script", "iframe", "object", "form", "base"} & {tag for tag, _ in html.elements}
    loaded = [value for _, attributes in html.elements for name, value in attributes.items() if name in LOADING]
    assert all(value.startswith(("#", "data:")) for value in loaded)
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", text))
    assert not re.search(r"@import|image-set\(|\bon\w+=", text)
    policy = next(each["content"] for each in html.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    # The policy stands before anything that it is to keep from loading.
    assert text.index("Content-Security-Policy") < min(
        text.index(loads) for loads in ("<link", "<style", "<img", "<image") if loads in text
    )


def links_lead_somewhere(text):
    """Asserts that ids are unique and every link and label has its own; returns how many links there are."""
    html = Html(text)
    ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"] for _, a in html.elements if "aria-labelledby" in a]
    assert {a["href"][1:] for a in html.all("a")} | set(named) <= set(ids)
    return len(html.all("a"))


def can_be_heard(text):
    """Asserts what a screen reader finds its way by; returns how many regions scroll."""
    html = Html(text)
    assert html.all("html") == [{"lang": "en-GB"}]
    for landmark in ("header", "nav", "main", "h1"):
        assert len(html.all(landmark)) == 1
    assert html.all("a")[0]["href"] == "#main"
    levels = [int(tag[1]) for tag, _ in html.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(image["alt"] for image in html.all("img"))
    heard = [svg for svg in html.all("svg") if svg.get("aria-hidden") != "true"]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in heard)
    assert all(th["scope"] in {"col", "row"} for th in html.all("th"))
    regions = [a for _, a in html.elements if a.get("role") in {"region", "group"}]
    assert len(html.all("table")) == len(html.all("caption")) > 0
    assert all(region["tabindex"] == "0" and region["aria-labelledby"] for region in regions)
    return len(regions)
