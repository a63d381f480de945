"""What a command says of a run: headings and tables, word by word."""

import dataclasses
import io

import pytest
from rich.console import Console

from lamella.commands.summary import print_scores, summary_line, title
from support.tiny import CARD, CPU, prepared


def test_a_phantom_is_always_called_one():
    assert title(CARD, "unet", 3) == "bright rectangles · unet, seed 3"
    phantom = dataclasses.replace(CARD, phantom=True)
    assert title(phantom, "otsu", 0) == "PHANTOM (generated images) · bright rectangles · otsu, seed 0"


def test_what_is_about_to_run_is_one_heading_and_one_line(tmp_path):
    data = prepared(tmp_path, train=4, val=1, test=2)
    assert summary_line("A heading", data, 14_320_000, CPU) == (
        "A heading\n14.3 M parameters, on cpu in 32-true; images: 4 to train, 1 to choose by, 2 to test"
    )


@pytest.fixture
def printed():
    def show(scores):
        out = io.StringIO()
        print_scores(
            Console(file=out, width=120), scores, heading="A heading", images=7, run_id="abc", experiment="smears"
        )
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    return show


def test_scores_are_shown_with_their_intervals(printed):
    text = printed(
        {"test/dice": 0.91236, "test/dice/low": 0.8, "test/dice/high": 0.95555, "test/threshold": 0.5, "seen/dice": 1}
    )
    assert text.splitlines()[:2] == ["Test scores: 7 images, full resolution", "A heading"]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["test/dice", "0.9124", "0.8000 to 0.9556"],
        ["test/threshold", "0.5000", ""],
        ["seen/dice", "1.0000", ""],
    ]
    assert text.splitlines()[-2:] == ["run abc", "`make ui` shows it, with pictures, in experiment smears"]


def test_of_hundreds_of_scores_the_terminal_shows_what_matters(printed):
    text = printed({"test/mcc": 0.5, "test/pooled/mcc": 0.5, "time/train_s": 9, "test/v_rand": 0.5, "val/dice": 0.5})
    assert "test/v_rand" in text
    assert not any(name in text for name in ("mcc", "time/", "val/"))
