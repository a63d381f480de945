"""The report's page: whole in one file, what it says by hand, no markup out of names."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lamella.reporting.gallery import Case, Gallery
from lamella.reporting.page import page
from lamella.reporting.verdict import Verdict
from support.html import Html, can_be_heard, links_lead_somewhere, needs_nothing_else
from support.report_pages import UNET, changed, compared, layer, method, one_seed, panel, picture, section

EVIL = "<script>alert('a')</script>&\"b\" --> ]]>"


def test_it_needs_nothing_else():
    text = page("Comparison", (section(), changed(section(), dataset="em")), "lamella 1")
    needs_nothing_else(text)


def test_ids_are_unique_and_links_lead_somewhere():
    other = replace(changed(section(), dataset="em"), pictures=(picture("Another"),))
    assert links_lead_somewhere(page("Comparison", (section(), other), "lamella 1")) > 15


def test_structure_for_those_who_hear_it():
    text = page("Comparison", (section(), changed(section(), dataset="em")), "lamella 1")
    assert can_be_heard(text) == len(Html(text).all("table")) + 2 * 6 * 3  # and a case's of the gallery, enlarged


def test_order_of_a_section():
    text = page("Comparison", (changed(section(), phantom=True),), "lamella 1")
    main = text[text.index("<main") :]
    places = [main.index(f">{words}") for words in (
        "blood (phantom)<", "Phantom images:", "Verdict<", "Rare failures<", "Scores<", "Figures<", "Pairs<",
        "Images<", "Other scores<", "Protocol<", "Data<", "Runs<", "Measures<",
    )]  # fmt: skip
    assert places == sorted(places)
    assert 'id="s1-runs-table"' in text


def test_main_table_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    head, unet_, otsu = (cells for cells in html.cells if len(cells) == 7)
    assert head == [
        "method", "seeds", "Dice", "Dice|published, ours minus it", "parameters", "training|time", "testing|images / s",
    ]  # fmt: skip
    unet = ["unet", "2", "0.8875|0.8600 to 0.9000|± 0.0530", "0.9000|−0.0125", "7.76 M", "1.5 h", "12.5"]
    assert unet_ == unet
    assert otsu == ["otsu", "1|not random", "0.6500|0.5000 to 0.8000", "–", "0", "–", "2 k"]
    assert "4 test images of 2 groups" in html.text
    assert "A note." in html.text


def test_failures_stand_beside_the_verdict():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    assert html.row("method") == [
        "method", "images with a Dice below 0.5", "mean Dice of the worst tenth", "worst images, with their Dice",
    ]  # fmt: skip
    assert html.row("unet") == ["unet", "0 of 4: up to 60 %", "0.8500", "image 2 (0.8500), image 1 (0.9000)"]
    assert html.row("otsu") == ["otsu", "1 of 4: 0.6 % to 81 %", "0.5000", "image 1 (0.5000)"]
    assert "is below 0.5" in html.text
    assert "Rare failures are not in the intervals of means." in html.text


def test_what_is_undefined_unknown_or_imputed_is_said():
    shown = section()
    some = shown.summary.assign(
        dice_images=3, dice_low=np.nan, dice_high=np.nan, dice_interval="", dice_imputed=[2, 0],
        iou=[0.5, np.nan], iou_low=[0.4, np.nan], iou_high=[0.6, np.nan], iou_seed_sd=np.nan, iou_images=[4, 0],
        **{"absent/images": 1, "absent/empty": [0.5, 1], "absent/fp": [12.5, 0]},
    )  # fmt: skip
    html = Html(page("Comparison", (replace(shown, summary=some),), "lamella 1"))
    unet = next(cells for cells in html.cells if cells[0] == "unet" and cells[1] == "2")
    assert unet[2] == "0.8875|–|± 0.0530|in 3 of 4 images|2 imputed"
    otsu = next(cells for cells in html.cells if cells[0] == "otsu" and cells[1].startswith("1|"))
    assert otsu[2] == "0.6500|–|in 3 of 4 images"
    assert "–|in 0 of 4 images" in otsu
    assert [cells[1:] for cells in html.cells if cells[0] in ("unet", "otsu") and len(cells) == 4][2:] == [
        ["1", "0.5", "12.5"], ["1", "1", "0"],
    ]  # fmt: skip
    assert "Images without foreground" in html.text


def test_pooled_scores_are_those_of_the_median_run():
    shown = section()
    unet, otsu = shown.cohort.methods
    logged = {"test/pooled/dice": 0.9, "test/pooled/dice/low": 0.8, "test/pooled/dice/high": 0.95}
    runs = (replace(unet.runs[0], metrics=logged), unet.runs[1])
    html = Html(page("One", (changed(shown, methods=(replace(unet, runs=runs), otsu)),), "lamella 1"))
    assert html.row("Dice, pooled")[1:] == ["0.9000|0.8000 to 0.9500", "–"]


def test_the_protocol_card_says_conventions_and_older_rules_are_called_so():
    first = section()
    new = changed(first, protocol={"rules of undefined scores": "2"})
    old = changed(first, protocol={"rules of undefined scores": "older rules"})
    html = Html(page("Comparison", (new, old), "lamella 1"))
    assert html.row("rules of undefined scores") == ["rules of undefined scores", "2", "older rules"]
    assert html.text.count("has no Dice, IoU, recall") == 1
    assert html.text.count("BCa bootstrap (Efron 1987), expanded as Hesterberg 2015") == 2
    assert "over groups: from 6 groups on" in html.text
    outlined = changed(section(), protocol=new.cohort.protocol)
    for run in (run for each in outlined.cohort.methods for run in each.runs):
        run.scores["boundary/hd95"] = 3.0
    assert "the frame of the picture is no outline" in Html(page("Comparison", (outlined,), "lamella 1")).text


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
        compared(
            "otsu", "unet", -0.2375, "unet", low=-0.3, high=-0.1, p_images=0.0002, noise=0.05, p_runs=0.004, p=0.012
        ),
        one_seed("otsu", "fcn", -0.01),
        compared("unet", "fcn", 0.01, low=-0.01, high=0.02, p_images=0.4, noise=0.05, p_runs=0.5, p=0.5),
    )
    two = section(comparisons=pairs)
    unet, otsu = two.summary[:1], two.summary[1:]
    three = replace(two, summary=pd.concat([unet, unet.assign(method="fcn"), otsu], ignore_index=True))
    html = Html(page("Three", (changed(three, methods=(*two.cohort.methods, method("fcn", UNET))),), "lamella 1"))
    # Best first, as in the other table: so two of them are turned round.
    assert [cells[0] for cells in html.cells if len(cells) == 8] == ["pair", "unet|− fcn", "unet|− otsu", "fcn|− otsu"]
    assert html.row("unet|− otsu")[1:] == [
        "unet is better", "+0.2375", "+0.1000 to +0.3000", "± 0.0500", "< 0.001", "0.004", "0.012",
    ]  # fmt: skip
    assert html.row("unet|− fcn")[1:4] == [
        "not told apart: other groups alone could make such a difference, and so could other seeds (p 0.500)",
        "+0.0100", "−0.0100 to +0.0200",
    ]  # fmt: skip
    assert html.row("fcn|− otsu")[1:] == [
        "one seed: cannot tell how much seeds matter; train it with two more seeds",
        "+0.0100", "–", "–", "0.020", "–", "–",
    ]  # fmt: skip
    assert "above 0 the first one leads" in html.text


def test_a_lower_score_that_is_better_is_said_so():
    shown = section()
    summary = shown.summary.rename(columns=lambda name: name.replace("dice", "boundary/hd95"))
    summary = summary.drop(columns="failed")
    for each in shown.cohort.methods:
        for run in each.runs:
            run.scores["boundary/hd95"] = run.scores["dice"] * 30
    html = Html(page("Comparison", (replace(shown, score="boundary/hd95", summary=summary),), "lamella 1"))
    assert "below 0 the first one leads" in html.text
    assert any("HD95, px|lower is better" in cells for cells in html.cells)
    assert html.row("Dice")[1] == "0.8875|± 0.0530"  # now one of the others
    assert "95th percentile of the distance between outlines, in pixels; lower is better" in html.text


def test_phantom_is_said_wherever_scores_stand():
    html = Html(page("Comparison", (changed(section(), phantom=True),), "lamella 1"))
    assert html.text.count("Phantom: ") == 6  # five tables and the gallery
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
        verdict=Verdict(EVIL),
        notes=(EVIL,),
        pictures=(picture()._replace(title=EVIL, alt=EVIL, caption=EVIL),),
        gallery=Gallery(
            (EVIL,),
            (((1, 2, 3), EVIL),),
            (Case(EVIL, EVIL, EVIL, (3, 4), layer(EVIL), layer(EVIL), (panel(EVIL, EVIL),), folded=False),),
        ),
    )
    html = Html(page(f"page {EVIL}", (shown, section()), f"made {EVIL}"))
    assert not html.all("script")
    assert html.text.count(EVIL) > 30
    assert EVIL in {svg.get("aria-label") for svg in html.all("svg")}


def test_what_is_not_there_is_left_out():
    shown = section(comparisons=(), pictures=(), gallery=None, notes=(), verdict=Verdict("One method."))
    shown = changed(shown, methods=shown.cohort.methods[:1], card={})
    html = Html(page("One", (replace(shown, summary=shown.summary[:1]),), "lamella 1"))
    for heading in ("Figures", "Pairs", "Images", "Data"):
        assert heading not in html.text
    assert "Other scores" in html.text
    assert not html.all("image")
