"""Names as somebody may give them, on their way to a terminal, a page, a CSV file: shown, and run by nothing."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from lamella.console import Plain
from lamella.errors import LamellaError, report
from lamella.pages import render
from lamella.plaintext import from_cell, printable, to_cell, write_csv

CONTROL = "\x1b[31m\r\n\x00\x9b\u202e\u2028\udcff"
HOSTILE = f"well[dapi] [/i] :cat: <b>&{CONTROL}"
SHOWN = "well[dapi] [/i] :cat: <b>&\\x1b[31m\\x0d\\x0a\\x00\\x9b\\u202e\\u2028\\xff"


def test_control_characters_are_shown_as_numbers_and_nothing_else_changes():
    assert printable(HOSTILE) == SHOWN
    assert printable("Zellen ö 中文 é '~#$%'") == "Zellen ö 中文 é '~#$%'"
    assert printable("two\nlines\x1b", lines=True) == "two\nlines\\x1b"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_takes_no_text_for_markup(terminal):
    out = Plain(file=io.StringIO(), width=160, force_terminal=terminal, color_system=None, soft_wrap=True)
    name = HOSTILE.replace("\n", "")
    table = Table("[head]", title=f"[title] {name}")
    table.add_row(name)
    out.print(f"warning: {name}")
    out.print(table)
    with out.status(f"reading {name}"):
        pass
    shown = out.file.getvalue()
    assert shown.startswith("warning: well[dapi] [/i] :cat: <b>&\\x1b[31m")
    assert shown.count("well[dapi] [/i] :cat: <b>&\\x1b[31m") >= 3
    assert "[title]" in shown
    assert "\x1b[31m" not in shown
    assert not {*shown} & {"\x9b", "\u202e", "\udcff"}


def test_an_error_is_two_lines_whatever_it_names(capsys):
    assert report((f"{HOSTILE} is missing", "Rename it.\n  Or not."), None) == 1
    assert capsys.readouterr().err == f"error: {SHOWN} is missing\n  Rename it.\n  Or not.\n"
    assert issubclass(LamellaError, Exception)


def test_a_page_holds_no_control_character():
    environment = render._environment()
    page = environment.from_string("{{ name }}").render(name=HOSTILE)
    assert page == SHOWN.replace("\\x0a", "\n").replace("&", "&amp;").replace("<b>", "&lt;b&gt;")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@SUM(A1)", "'=1", "=", "-"])
def test_a_formula_is_a_text_to_a_spreadsheet_and_comes_back(text):
    assert to_cell(text) == f"'{text}"
    assert from_cell(to_cell(text)) == text


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"))))
def test_every_text_comes_back_from_its_cell(text):
    assert from_cell(to_cell(text)) == text
    assert to_cell(text)[:1] not in {"=", "+", "-", "@"}


def test_numbers_stay_numbers_in_a_csv_file(tmp_path):
    table = pd.DataFrame({"id": ["=cmd|' /C calc'!A0", "a\x1bb,c"], "dice": [-0.5, float("nan")], "tp": [3, -4]})
    write_csv(table, tmp_path / "it.csv")
    rows = list(csv.reader((tmp_path / "it.csv").open(encoding="utf-8")))
    assert rows == [["id", "dice", "tp"], ["'=cmd|' /C calc'!A0", "-0.5", "3"], ["a\\x1bb,c", "", "-4"]]
