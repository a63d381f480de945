"""The pages in a real browser: on a phone and a desk, light and dark, by keyboard and on paper."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamella.data.audit.page import write_page
from lamella.reporting.page import page
from support.audit_pages import audited
from support.contrast import CONTRAST
from support.report_pages import changed, gallery, made_up, picture, section

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from mlflow_pages import NO_CHROMIUM, browsing, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.ui

WIDTHS = (360, 1280)
PAGES = ("audit", "report")
LABELS = ("unet_with_an_unbroken_name_of_sixty_letters_and_no_space_at_all", "otsu model.window=51,model.offset=0.02")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a folder that holds both pages: of two sections, one of phantoms, and of an audit; long names."""
    if chromium() is None:
        pytest.skip(NO_CHROMIUM)
    first = section(LABELS, gallery=gallery((*LABELS, "a", "b", "c")))
    second = replace(changed(section(), dataset="em", phantom=True), pictures=(picture("Another"),), more=())
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(page("A comparison", (first, second), "lamella 1"), encoding="utf-8")
    (folder / "data").mkdir()
    write_page(audited(folder / "data", channels=3, name="{}_" + LABELS[0], words=LABELS[0]), folder / "audit.html")
    return folder.as_uri()


@contextmanager
def shown(place: str, width: int = 1280, name: str = "report", **media: str) -> Iterator["Page"]:
    """A page in a new browser; at the end it must have asked for nothing and complained of nothing."""
    with browsing(place, width=width, height=800) as opened:
        asked, said = [], []
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.emulate_media(reduced_motion="reduce", **media)
        opened.goto(f"{place}/{name}.html")
        opened.wait_for_load_state("load")
        yield opened
        assert [url[:60] for url in asked if not url.startswith("data:")] == [f"{place}/{name}.html"[:60]]
        assert said == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page_and_all_pictures_are_there(place: str, width: int, name: str) -> None:
    with shown(place, width, name) as opened:
        opened.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        loaded = opened.evaluate("""Promise.all([...document.querySelectorAll('img, image')].map(each => {
            const image = new Image();
            image.src = each.getAttribute('src') || each.getAttribute('href');
            return image.decode().then(() => image.naturalWidth);
        }))""")
        assert len(loaded) > (30 if name == "report" else 8)
        assert all(loaded)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_does_not_fit_scrolls_in_a_region_of_its_own(place: str, width: int) -> None:
    with shown(place, width) as opened:
        opened.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert all(each > 200 for each in opened.evaluate(
            "[...document.querySelectorAll('.figures svg')].map(each => each.getBoundingClientRect().width)"
        ))  # fmt: skip
        scrolling = "[...document.querySelectorAll('.scroll')].map(each => each.scrollWidth > each.clientWidth)"
        assert any(opened.evaluate(scrolling)) or width > 360


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(place: str, scheme: str, name: str) -> None:
    with shown(place, name=name, color_scheme=scheme) as opened:
        opened.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        least, text = opened.evaluate(CONTRAST)
        assert least >= 4.5, text
        ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        inks = "[...document.querySelectorAll('.answer svg, .figures svg')].map(each => getComputedStyle(each).fill)"
        ink = opened.evaluate("getComputedStyle(document.body).color")
        assert set(opened.evaluate(inks)) == ({ink} if name == "report" else set())


def test_a_table_scrolls_by_keyboard_and_its_first_column_stays(place: str) -> None:
    with shown(place, 360) as opened:
        region = opened.locator("[aria-labelledby=s1-scores-table]")
        name, last = region.locator("tbody th").first, region.locator("tbody td").last
        before, far = name.bounding_box(), last.bounding_box()
        assert before
        assert far
        assert before["width"] < 180  # room beside it for a column
        assert far["x"] > 360
        for _ in range(100):  # from the page's top to the table
            opened.keyboard.press("Tab")
            if region.evaluate("each => each === document.activeElement"):
                break
        assert region.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
        for _ in range(40):
            opened.keyboard.press("ArrowRight")
        opened.wait_for_timeout(300)
        after, near = name.bounding_box(), last.bounding_box()
        assert after
        assert near
        assert after["x"] == before["x"]
        assert near["x"] + near["width"] <= 361


# What is enlarged, and which of its layers are seen, by the ends of their names.
OPEN = "[...document.querySelectorAll('.zoom:popover-open')].map(each => each.id)"
LAYERS = """[...document.querySelectorAll('.zoom:popover-open .stage use')]
    .filter(each => [each, each.parentNode].every(one => getComputedStyle(one).display !== 'none'))
    .map(each => each.getAttribute('href').split('-').pop())"""
STAGE = """[...document.querySelectorAll('.zoom:popover-open .stage')].map(each => [
    each.querySelector('svg').getBoundingClientRect().width, each.scrollWidth > each.clientWidth])[0]"""


def test_a_picture_is_enlarged_and_left_again_by_keyboard(place: str) -> None:
    with shown(place) as opened:
        opened.focus(".shot:nth-child(2) button")
        opened.keyboard.press("Enter")
        assert opened.evaluate(OPEN) == ["s1-case1-zoom1"]
        box = opened.evaluate("document.querySelector('.zoom:popover-open').getBoundingClientRect().toJSON()")
        assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 1280, 800)
        assert opened.evaluate(LAYERS) == ["image", "1e"]
        for layers in (["image", "1p"], ["image", "truth"], ["image"]):
            opened.keyboard.press("ArrowLeft")
            assert opened.evaluate(LAYERS) == layers
        opened.keyboard.press("ArrowRight")
        opened.keyboard.press("ArrowRight")
        opened.keyboard.press("Tab")
        opened.keyboard.press("ArrowDown")  # the next method
        assert opened.evaluate(LAYERS) == ["image", "2p"]
        opened.keyboard.press("Tab")
        for _ in range(4):
            opened.keyboard.press("ArrowRight")
        assert opened.evaluate(STAGE) == [8 * 64, False]
        opened.keyboard.press("Escape")
        assert opened.evaluate(OPEN) == []
        assert opened.evaluate("document.activeElement.getAttribute('popovertarget')") == "s1-case1-zoom1"


def test_on_a_phone_a_touch_enlarges_and_a_button_closes(place: str) -> None:
    with shown(place, 400) as opened:
        opened.click(".shot:nth-child(1) button")
        assert opened.evaluate(OPEN) == ["s1-case1-zoom0"]
        assert opened.evaluate(LAYERS) == ["image", "truth"]
        opened.click("#s1-case1-zoom0 [value='8']")
        assert opened.evaluate(STAGE) == [8 * 64, True]
        assert opened.evaluate("document.documentElement.scrollWidth") == 400
        reach = "[...document.querySelectorAll('.bar > *')].map(each => each.getBoundingClientRect().right)"
        assert max(opened.evaluate(reach)) <= 400
        opened.click("#s1-case1-zoom0 .bar > button")
        assert opened.evaluate(OPEN) == []


def test_image_and_truth_stay_in_sight_on_a_phone(place: str) -> None:
    with shown(place, 400) as opened:
        opened.evaluate("document.querySelector('.shot:nth-child(6)').scrollIntoView({block: 'end'})")
        top, height = opened.evaluate(
            "(({top, height}) => [top, height])(document.querySelector('.shot').getBoundingClientRect())"
        )
        assert top == 0
        assert 100 < height < 200


@pytest.mark.parametrize("name", PAGES)
def test_the_first_key_leads_to_the_results(place: str, name: str) -> None:
    with shown(place, name=name) as opened:
        opened.keyboard.press("Tab")
        skip = opened.locator(".skip")
        assert skip.evaluate("each => each === document.activeElement")
        box = skip.bounding_box()
        assert box
        assert box["x"] >= 0
        opened.keyboard.press("Enter")
        assert opened.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(("name", "last"), [("report", "#s1-runs-table"), ("audit", "#examples")])
def test_paper_shows_what_a_screen_folds_or_scrolls(place: str, name: str, last: str) -> None:
    with shown(place, 760, name, media="print", color_scheme="dark") as opened:
        assert not opened.locator("nav").is_visible()
        assert opened.locator(last).is_visible()
        assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert opened.evaluate("document.documentElement.scrollWidth") == 760
        assert opened.pdf(format="A4").startswith(b"%PDF")


# name -> methods, folds. All that a real comparison has but for pictures of images.
LARGE = {"eleven": (11, 0), "folds": (2, 5)}

MEASURED = """() => {
  const open = [...document.querySelectorAll('.scroll')].filter(each => each.checkVisibility());
  const wide = open.filter(each => each.scrollWidth > each.clientWidth);
  const box = each => document.querySelector(each).getBoundingClientRect();
  const [headline, figure] = ['.headline', '.answer svg'].map(box);
  return {
    page: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight,
    tables: open.length, wide: wide.map(each => each.getAttribute('aria-labelledby')),
    headline: headline.bottom, begins: figure.top, ends: figure.bottom,
  };
}"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a folder with a page of eleven methods, and one of two methods in five folds."""
    if chromium() is None:
        pytest.skip(NO_CHROMIUM)
    folder = tmp_path_factory.mktemp("large")
    for name, (methods, folds) in LARGE.items():
        made = made_up(methods, folds)
        (folder / f"{name}.html").write_text(page(f"{methods} methods", (made,), "lamella 1"), encoding="utf-8")
    return folder.as_uri()


@pytest.mark.parametrize("name", LARGE)
def test_a_large_comparison_is_read_to_the_end(large: str, name: str) -> None:
    with browsing(large, width=1280, height=800) as opened:
        opened.goto(f"{large}/{name}.html")
        for width in (400, 600, 1280, 1600):
            opened.set_viewport_size({"width": width, "height": 800})
            found = opened.evaluate(MEASURED)
            assert found["page"] == width
            assert found["headline"] < 800
            assert found["begins"] < 800
            if width >= 1280:
                assert found["ends"] <= 800  # verdict and figure, in one screen
                assert found["height"] <= 8000
                assert found["wide"] == []
        opened.set_viewport_size({"width": 1280, "height": 800})
        opened.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        unfolded = opened.evaluate(MEASURED)
        assert unfolded["tables"] > found["tables"]
        assert unfolded["wide"] == []
        assert unfolded["page"] == 1280
        opened.emulate_media(media="print")
        opened.set_viewport_size({"width": 718, "height": 1000})  # A4 between margins of 1 cm
        assert opened.evaluate("document.documentElement.scrollWidth") == 718
        right = "Math.max(...[...document.querySelectorAll('td, th')].map(each => each.getBoundingClientRect().right))"
        assert opened.evaluate(right) <= 718
