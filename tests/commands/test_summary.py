"""What a command says of a run: headings and tables, word by word."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from lamella.commands.summary import print_scores, summary_line, title
from lamella.data.types import ImageRef, Sample
from support.tiny import CARD, CPU


def test_a_phantom_is_always_called_one():
    assert title(CARD, "unet", 3) == "bright rectangles · unet, seed 3"
    phantom = dataclasses.replace(CARD, phantom=True)
    assert title(phantom, "otsu", 0) == "PHANTOM (generated images) · bright rectangles · otsu, seed 0"


def test_what_is_about_to_run_is_one_heading_and_one_line():
    assert summary_line("A heading", 14_320_000, CPU) == "A heading\n14.3 M parameters, on cpu in 32-true"


def samples(*groups):
    return [Sample(str(n), ImageRef(Path("i")), ImageRef(Path("m")), group) for n, group in enumerate(groups)]


@pytest.fixture
def printed():
    def show(scores, groups="abcdefg"):
        out = io.StringIO()
        print_scores(
            Console(file=out, width=160),
            scores,
            heading="A heading",
            samples=samples(*groups),
            run_id="abc",
            experiment="smears",
        )
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    return show


def rows(text):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_scores_are_shown_with_their_intervals(printed):
    text = printed(
        {"test/dice": 0.91236, "test/dice/low": 0.8, "test/dice/high": 0.95555, "test/threshold": 0.5, "seen/dice": 1}
    )
    assert text.splitlines()[:2] == ["Test scores: 7 images, full resolution", "A heading"]
    assert "95 % interval over images" in text
    assert rows(text) == [
        ["test/dice", "0.9124", "0.8000 to 0.9556"],
        ["test/threshold", "0.5000", ""],
        ["seen/dice", "1.0000", ""],
    ]
    assert text.splitlines()[-2:] == ["run abc", "`make ui` shows it, with pictures, in experiment smears"]


def test_it_says_on_what_a_mean_stands(printed):
    text = printed(
        {
            "test/dice": 0.5, "test/dice/low": 0.2, "test/dice/high": 0.9, "test/dice/images": 3,
            "test/boundary/hd95": 40.25, "test/boundary/hd95/images": 3, "test/boundary/surface_dice": 0.5,
            "test/boundary/imputed": 1, "test/class/nucleus/dice/images": 0, "test/absent/images": 4,
            "test/absent/empty": 0.75, "test/absent/fp": 12.5, "test/failures": 1 / 3, "test/failures/low": 0.0084,
            "test/failures/high": 0.9057,
        }
    )  # fmt: skip
    assert rows(text) == [
        ["test/dice", "0.5000", "0.2000 to 0.9000", "in 3 of 7 images"],
        ["test/boundary/hd95", "40.2500", "not known", "in 3 of 7 images; 1 image: nothing found, diagonal taken"],
        ["test/boundary/surface_dice", "0.5000", "not known", ""],
        ["test/absent/images", "4", "", ""],
        ["test/absent/empty", "0.7500", "", ""],
        ["test/absent/fp", "12.5000", "", ""],
        ["test/failures", "0.3333", "0.0084 to 0.9057", ""],
        ["test/class/nucleus/dice", "", "", "in 0 of 7 images"],
    ]
    assert "not known: one image has the score, or all have the same" in text


def test_groups_are_said(printed):
    text = printed({"test/dice": 0.5, "test/dice/low": 0.2, "test/dice/high": 0.9, "test/iou": 0.5}, "aabbcc")
    assert text.startswith("Test scores: 6 images in 3 groups, full resolution")
    assert "95 % interval over groups" in text
    assert "not known: one image or one group has the score, or all have the same" in text


def test_one_group_describes_its_own_images_only(printed):
    text = printed({"test/dice": 0.5, "test/threshold": 0.5}, "aaaa")
    assert text.startswith("Test scores: 4 images in 1 group, full resolution")
    assert rows(text) == [["test/dice", "0.5000", "not known"], ["test/threshold", "0.5000", ""]]
    assert "not known: all test images are of one group" in text
    assert "One group (a stack, a patient): the scores describe these images only." in text


def test_one_image_is_one(printed):
    text = printed({"test/dice": 0.5}, "a")
    assert text.startswith("Test scores: 1 image, full resolution")
    assert "not known: one image says nothing of others" in text
    assert "One group" not in text


def test_of_hundreds_of_scores_the_terminal_shows_what_matters(printed):
    text = printed({"test/mcc": 0.5, "test/pooled/mcc": 0.5, "time/train_s": 9, "test/v_rand": 0.5, "val/dice": 0.5})
    assert "test/v_rand" in text
    assert not any(name in text for name in ("mcc", "time/", "val/"))
