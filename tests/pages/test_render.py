"""What templates do with text: escaped, broken, marked as code; and that they are there where Lamella is installed."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from lamella.pages import render as module
from lamella.pages.render import render

EVIL = "<b>&\"'"
SAFE = "&lt;b&gt;&amp;&#34;&#39;"
FOLDER = Path(module.__file__).parent


@pytest.fixture
def filled():
    """A line of a template, filled in."""
    return lambda line, **values: module._environment().from_string(line).render(values)


def test_text_is_no_markup(filled):
    assert filled("{{ text }}", text=EVIL) == SAFE
    assert filled("{{ text | capital }}", text=f"a{EVIL}") == f"A{SAFE}"


def test_a_name_may_be_broken_after_its_signs(filled):
    assert filled("{{ text | breakable }}", text="a.b=0.1,c_d/e f=") == "a.b=<wbr>0.1,<wbr>c_<wbr>d/<wbr>e f="
    assert filled("{{ text | breakable }}", text=f"a={EVIL}=a") == f"a={SAFE}=<wbr>a"


def test_what_stands_between_backticks_is_code(filled):
    assert filled("{{ text | code }}", text=f"say `a={EVIL}`, {EVIL}") == f"say <code>a={SAFE}</code>, {SAFE}"
    assert filled("{{ text | code }}", text="none") == "none"


def test_a_drawing_is_one_image_with_words(filled):
    svg = '<svg viewBox="0 0 1 1"><rect/></svg>'
    assert filled("{{ svg | drawing(words) }}", svg=svg, words=EVIL) == (
        f'<svg role="img" aria-label="{SAFE}" viewBox="0 0 1 1"><rect/></svg>'
    )


def test_nothing_else_is_taken_for_markup():
    """No template switches escaping off, and the code marks nothing but drawings."""
    for template in FOLDER.glob("*.j2"):
        assert not re.search(r"\|\s*safe|autoescape", template.read_text()), template
    users = [path for path in FOLDER.parent.rglob("*.py") if "Markup(" in path.read_text()]
    assert users == [FOLDER / "render.py"]


def test_a_name_without_value_is_refused():
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("base.html.j2")
