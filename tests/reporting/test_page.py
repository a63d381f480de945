"""The report's page: whole in one file, what it says by hand, no markup out of names."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from lamella.reporting.gallery import Case, Panel
from lamella.reporting.page import page
from lamella.reporting.page_scores import pairs_table
from lamella.reporting.page_table import decimals, duration, number, probability, quantity
from lamella.statistics.comparison import Comparison
from support.report_pages import changed, panel, picture, section

EVIL = "<script>alert('a')</script>&\"b\" --> ]]>"
VOID = {"meta", "img", "link", "wbr"}
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


def test_it_needs_nothing_else():
    text = page("Comparison", (section(), changed(section(), dataset="em")), "lamella 1")
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
    assert text.index("Content-Security-Policy") < min(text.index("<link"), text.index("<style"), text.index("<img"))


def test_ids_are_unique_and_links_lead_somewhere():
    other = replace(changed(section(), dataset="em"), pictures=(picture("Another"),))
    html = Html(page("Comparison", (section(), other), "lamella 1"))
    ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"] for _, a in html.elements if "aria-labelledby" in a]
    assert {a["href"][1:] for a in html.all("a")} | set(named) <= set(ids)
    assert len(html.all("a")) > 15


def test_structure_for_those_who_hear_it():
    html = Html(page("Comparison", (section(), changed(section(), dataset="em")), "lamella 1"))
    assert html.all("html") == [{"lang": "en-GB"}]
    for landmark in ("header", "nav", "main", "h1"):
        assert len(html.all(landmark)) == 1
    assert html.all("a")[0]["href"] == "#main"
    levels = [int(tag[1]) for tag, _ in html.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(image["alt"] for image in html.all("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in html.all("svg"))
    assert all(th["scope"] in {"col", "row"} for th in html.all("th"))
    regions = [a for _, a in html.elements if a.get("role") in {"region", "group"}]
    assert len(html.all("table")) == len(html.all("caption")) > 0
    assert len(regions) == len(html.all("table")) + 2 * 3 * 2  # and one a case of the gallery
    assert all(region["tabindex"] == "0" and region["aria-labelledby"] for region in regions)


def test_order_of_a_section():
    text = page("Comparison", (changed(section(), phantom=True),), "lamella 1")
    main = text[text.index("<main") :]
    places = [main.index(f">{words}") for words in (
        "blood (phantom)<", "Phantom images:", "Verdict<", "Scores<", "Figures<", "Pairs<",
        "Images<", "Other scores<", "Protocol<", "Data<", "Runs<", "Measures<",
    )]  # fmt: skip
    assert places == sorted(places)
    assert 'id="s1-runs-table"' in text


def test_main_table_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    assert html.row("method") == [
        "method", "seeds", "Dice", "Dice|published, ours minus it", "parameters", "training|time", "testing|images / s",
    ]  # fmt: skip
    unet = ["unet", "2", "0.8875|0.8600 to 0.9000|± 0.0530", "0.9000|−0.0125", "7.76 M", "1.5 h", "12.5"]
    assert html.row("unet") == unet
    assert html.row("otsu") == ["otsu", "1|not random", "0.6500|0.5000 to 0.8000", "–", "0", "–", "2 k"]
    assert "4 test images of 2 groups" in html.text
    assert "A note." in html.text


def test_other_scores_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    # Means of precision: 0.85 / 2 and 0.925 / 2; they are 0.0375 apart, so their deviation is 0.0375 / sqrt(2).
    assert html.row("precision") == ["precision", "0.4438|± 0.0265", "0.3250"]
    assert html.row("count error|lower is better") == ["count error|lower is better", "2.00|± 0.00", "2.00"]
    assert "pages" not in html.text
    assert not [cells for cells in html.cells if cells[0] in {"id", "group", "case"}]


def test_runs_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    rows = [cells for cells in html.cells if len(cells) == 6]
    assert rows == [
        ["method", "seed", "Dice", "shown", "name", "run id"],
        ["unet", "0", "0.8500", "median", "unet seed 0", "0unet"],
        ["unet", "1", "0.9250", "", "unet seed 1", "1unet"],
        ["otsu", "0", "0.6500", "median", "otsu seed 0", "0otsu"],
    ]


def test_pairs_by_hand():
    pairs = (
        Comparison("otsu", "unet", -0.2375, -0.3, -0.1, 0.0002, 0.05, 0.004, 0.012, "unet"),
        Comparison("otsu", "fcn", -0.01, -0.02, 0.01, 0.4, None, None, None, None),
        Comparison("unet", "fcn", 0.01, -0.01, 0.02, 0.4, 0.05, 0.5, 0.5, None),
    )
    html = Html(pairs_table("pairs", section().cohort, pairs, "dice", ["unet", "fcn", "otsu"]))
    # Best first, as in the other table: so two of them are turned round.
    assert [cells[0] for cells in html.cells] == ["pair", "unet|− fcn", "unet|− otsu", "fcn|− otsu"]
    assert html.row("unet|− otsu")[1:] == [
        "unet is better", "+0.2375", "+0.1000 to +0.3000", "± 0.0500", "< 0.001", "0.004", "0.012",
    ]  # fmt: skip
    assert html.row("unet|− fcn")[1:4] == ["not told apart", "+0.0100", "−0.0100 to +0.0200"]
    assert html.row("fcn|− otsu")[1:] == [
        "one seed: cannot tell", "+0.0100", "−0.0100 to +0.0200", "–", "0.400", "–", "–",
    ]  # fmt: skip
    assert "above 0 the first one leads" in html.text


def test_a_lower_score_that_is_better_is_said_so():
    shown = section()
    summary = shown.summary.rename(columns=lambda name: name.replace("dice", "boundary/hd95"))
    for each in shown.cohort.methods:
        for run in each.runs:
            run.scores["boundary/hd95"] = run.scores["dice"] * 30
    html = Html(page("Comparison", (replace(shown, score="boundary/hd95", summary=summary),), "lamella 1"))
    assert "below 0 the first one leads" in html.text
    assert "HD95, px|lower is better" in html.row("method")
    assert html.row("Dice")[1] == "0.8875|± 0.0530"  # now one of the others
    assert "95th percentile of the distance between outlines, in pixels; lower is better" in html.text


def test_phantom_is_said_wherever_scores_stand():
    html = Html(page("Comparison", (changed(section(), phantom=True),), "lamella 1"))
    assert html.text.count("Phantom: ") == 5  # four tables and the gallery
    assert html.text.index("a program made them") < html.text.index("unet is better.")
    assert "hantom" not in Html(page("Comparison", (section(),), "lamella 1")).text


def test_several_sections_are_kept_apart():
    first = section()
    second = changed(first, protocol={"test images": "9", "threshold": "0.5", "tiles": "256"})
    html = Html(page("Comparison", (first, second, changed(first, dataset="em")), "lamella 1"))
    assert "not to be compared with each other" in html.text
    assert "They differ in: data set, test images, tiles." in html.text
    assert html.row("tiles") == ["tiles", "–", "256", "–"]
    assert html.row("test images") == ["test images", "4, of 2 groups", "9", "4, of 2 groups"]
    assert "blood, 1 of 2" in html.text
    assert "blood, 2 of 2" in html.text
    assert "not to be compared" not in Html(page("Comparison", (first,), "lamella 1")).text
    same = Html(page("Comparison", (first, first), "lamella 1")).text
    assert "scored on different test images" in same


def test_names_are_no_markup():
    evil = section((f"unet {EVIL}", f"otsu {EVIL}"))
    shown = replace(
        changed(evil, dataset=f"blood {EVIL}", protocol={EVIL: EVIL}, card={EVIL: EVIL}),
        verdict=(EVIL,),
        notes=(EVIL,),
        pictures=(picture()._replace(title=EVIL, alt=EVIL, caption=EVIL),),
        gallery=((EVIL, (Case(EVIL, EVIL, (panel(EVIL, EVIL), Panel(EVIL, panel("").uri, EVIL, EVIL))),)),),
    )
    html = Html(page(f"page {EVIL}", (shown, section()), f"made {EVIL}"))
    assert not html.all("script")
    assert html.text.count(EVIL) > 30
    assert {image["alt"] for image in html.all("img")} >= {EVIL, f"{EVIL} of an image"}
    assert EVIL in {svg["aria-label"] for svg in html.all("svg")}


def test_what_is_not_there_is_left_out():
    shown = section(comparisons=(), pictures=(), gallery=(), notes=(), verdict=("One method.",))
    shown = changed(shown, methods=shown.cohort.methods[:1], card={})
    html = Html(page("One", (replace(shown, summary=shown.summary[:1]),), "lamella 1"))
    for heading in ("Figures", "Pairs", "Images", "Data"):
        assert heading not in html.text
    assert "Other scores" in html.text
    assert not html.all("img")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (number(0.98765, 4), "0.9877"),
        (number(-0.00001, 4, signed=True), "+0.0000"),
        (number(-1234.5, 1), "−1,234.5"),
        (number(np.nan, 2), "–"),
        (probability(0.0009), "< 0.001"),
        (probability(0.04), "0.040"),
        (duration(0.123), "0.12 s"),
        (duration(42), "42 s"),
        (duration(90), "1.5 min"),
        (duration(9000), "2.5 h"),
        (duration(np.nan), "–"),
        (quantity(999.9), "1 k"),
        (quantity(31_040_000), "31 M"),
        (quantity(12.34), "12.3"),
        (decimals([0.2, 1.0, np.nan]), 4),
        (decimals([0.2, -12]), 2),
        (decimals([5000]), 0),
        (decimals([]), 4),
    ],
)
def test_numbers_by_hand(found, text):
    assert found == text
