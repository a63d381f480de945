"""The report's page: whole in one file, what it says by hand, no markup out of names."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lamella.reporting.cohorts.budget import Budget
from lamella.reporting.cohorts.types import Folding
from lamella.reporting.gallery import Case, Gallery
from lamella.reporting.learning import Learning
from lamella.reporting.page import page
from lamella.reporting.parts.words import protocol
from lamella.reporting.verdict import Verdict
from support.html import Html, can_be_heard, links_lead_somewhere, needs_nothing_else
from support.report_pages import UNET, changed, compared, layer, method, one_seed, panel, picture, section

EVIL = "<script>alert('a')</script>&\"b\" --> ]]>"


def test_it_needs_nothing_else():
    text = page("Comparison", (section(), changed(section(), dataset="em")), "lamella 1")
    needs_nothing_else(text)


def test_ids_are_unique_and_links_lead_somewhere():
    other = replace(changed(section(), dataset="em"), pictures=(picture("Another"),), more=())
    assert links_lead_somewhere(page("Comparison", (section(), other), "lamella 1")) > 15


def test_structure_for_those_who_hear_it():
    text = page("Comparison", (section(), changed(section(), dataset="em")), "lamella 1")
    assert can_be_heard(text) == len(Html(text).all("table")) + 2 * 6 * 3  # and a case's of the gallery, enlarged
    assert 'aria-label="A line: Dice"' in text


def test_order_of_a_section():
    text = page("Comparison", (changed(section(), phantom=True),), "lamella 1")
    main = text[text.index("<main") :]
    places = [main.index(f">{words}") for words in (
        "blood (phantom)<", "Phantom images:", "Verdict<", "unet is better.<", "By 0.24.<", "Means<", "Scores<",
        "Pairs<", "Figures<", "Distributions<", "Images<", "What each method was given<", "Protocol<", "Data<",
        "Rare failures<", "More figures<", "Training<", "Other scores<", "Runs<", "Measures<",
    )]  # fmt: skip
    assert places == sorted(places)
    assert 'id="s1-runs-table"' in text


def test_main_table_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    assert html.row("method") == ["method", "Dice", "Dice|published, ours minus it", "failed|Dice below 0.5"]
    unet = ["0.8875|0.8600 to\u00a00.9000|±\u00a00.0530", "0.9000|−0.0125", "0 of 4|up to 60 %"]
    assert html.row("unet|2 seeds")[1:] == unet
    assert html.row("otsu|not random")[1:] == ["0.6500|0.5000 to\u00a00.8000", "–", "1 of 4|0.6 % to 81 %"]
    assert "4 test images of 2 groups" in html.text
    assert "A note." in html.text


def test_what_a_method_was_given_and_cost_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    head, unet, otsu = html.cells[html.cells.index(["method", "parameters", "training|time", "testing|images / s"]) :][
        :3
    ]
    assert unet == ["unet", "7.76 M", "1.5 h", "12.5"]
    assert otsu == ["otsu", "0", "–", "2 k"]
    given = {"unet": Budget(2, (6, 5), 12.5, "the recipe"), "otsu": Budget(1, (1, 1), np.nan, "the recipe")}
    html = Html(page("Comparison", (replace(section(), budgets=given),), "lamella 1"))
    rows = [cells for cells in html.cells if len(cells) == 7]
    assert rows[0] == ["method", "settings|tried", "runs|finished", "epochs|of a run", *head[1:]]
    assert rows[1] == ["unet", "2", "5 of 6", "12.5", *unet[1:]]
    assert rows[2] == ["otsu", "1", "1 of 1", "–", *otsu[1:]]
    assert "Who chose the settings, of every method: the recipe." in html.text
    given["unet"] = given["unet"]._replace(chosen="optimizer.lr was typed")
    html = Html(page("Comparison", (replace(section(), budgets=given),), "lamella 1"))
    assert [cells[7] for cells in html.cells if len(cells) == 8] == [
        "who chose the settings", "optimizer.lr was typed", "the recipe",
    ]  # fmt: skip


def test_failures_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    assert [
        "method", "images with a Dice below 0.5", "mean Dice of the worst tenth", "worst images, with their Dice",
    ] in html.cells  # fmt: skip
    assert ["unet", "0 of 4: up to 60 %", "0.8500", "image 2 (0.8500), image 1 (0.9000)"] in html.cells
    assert ["otsu", "1 of 4: 0.6 % to 81 %", "0.5000", "image 1 (0.5000)"] in html.cells
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
    assert html.row("unet|2 seeds")[1] == "0.8875|–|±\u00a00.0530|in 3 of 4 images|2 imputed"
    otsu = html.row("otsu|not random")
    assert otsu[1] == "0.6500|–|in 3 of 4 images"
    assert "–|in 0 of 4 images" in otsu
    assert ["unet", "1", "0.5", "12.5"] in html.cells
    assert ["otsu", "1", "1", "0"] in html.cells
    assert "Images without foreground" in html.text


def test_pooled_scores_are_those_of_the_median_run():
    shown = section()
    unet, otsu = shown.cohort.methods
    logged = {"test/pooled/dice": 0.9, "test/pooled/dice/low": 0.8, "test/pooled/dice/high": 0.95}
    runs = (replace(unet.runs[0], metrics=logged), unet.runs[1])
    html = Html(page("One", (changed(shown, methods=(replace(unet, runs=runs), otsu)),), "lamella 1"))
    assert html.row("Dice, pooled")[1:] == ["0.9000|0.8000 to\u00a00.9500", "–"]


def test_the_protocol_card_says_conventions_and_older_rules_are_called_so():
    first = section()
    new = changed(first, protocol={"rules of undefined scores": "2"})
    old = changed(first, protocol={"rules of undefined scores": "older rules"})
    html = Html(page("Comparison", (new, old), "lamella 1"))
    assert html.row("rules of undefined scores") == ["rules of undefined scores", "2", "older rules"]
    assert html.text.count("has no Dice or precision, whatever was predicted") == 1
    assert html.text.count("BCa bootstrap (Efron 1987), expanded as Hesterberg 2015") == 2
    assert "over groups: from 6 groups on" in html.text
    outlined = changed(section(), protocol=new.cohort.protocol)
    for run in (run for each in outlined.cohort.methods for run in each.runs):
        run.scores["boundary/hd95"] = 3.0
    assert "the frame of the picture is no outline" in Html(page("Comparison", (outlined,), "lamella 1")).text


def test_other_scores_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    # Means of precision: 0.85 / 2 and 0.925 / 2; they are 0.0375 apart, so their deviation is 0.0375 / sqrt(2).
    assert html.row("precision") == ["precision", "0.4438|±\u00a00.0265", "0.3250"]
    assert html.row("count error|lower is better") == ["count error|lower is better", "2.00|±\u00a00.00", "2.00"]
    assert "pages" not in html.text
    assert not [cells for cells in html.cells if cells[0] in {"id", "group", "case"}]


def test_runs_by_hand():
    html = Html(page("Comparison", (section(),), "lamella 1"))
    rows = [cells for cells in html.cells if len(cells) == 6 and "|" not in cells[-1]]
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
    head, *rows = (cells for cells in html.cells if len(cells) == 6 and cells[-1].count("|"))
    assert head == [
        "pair", "verdict", "difference|its interval", "seed noise", "p|groups and seeds together",
        "p, alone|groups, seeds",
    ]  # fmt: skip
    assert rows == [
        ["unet|− fcn",
         "not told apart: other groups alone could make such a difference, and so could other seeds (p 0.500)",
         "+0.0100|−0.0100 to\u00a0+0.0200", "±\u00a00.0500", "0.500", "0.400|0.500"],
        ["unet|− otsu", "unet is better",
         "+0.2375|+0.1000 to\u00a0+0.3000", "±\u00a00.0500", "0.012", "< 0.001|0.004"],
        ["fcn|− otsu", "one seed: cannot tell how much seeds matter; train it with two more seeds",
         "+0.0100|–", "–", "–", "0.020|–"],
    ]  # fmt: skip
    assert "above 0 the first one leads" in html.text


def test_pairs_of_folds_have_the_p_of_folds():
    pair = compared("unet", "otsu", 0.2375, noise=None, p_runs=None, p_folds=0.09, p_images=0.02)
    folded = changed(section(comparisons=(pair,)), folds=Folding("parted", ("0", "1"), 2, tuple("0011"), 1.0))
    html = Html(page("Folds", (folded,), "lamella 1"))
    assert html.row("unet|− otsu")[1] == "not told apart: the folds differ among themselves as much (p 0.130)"
    assert html.row("unet|− otsu")[-1] == "0.020|0.090"
    assert "groups and folds together do not explain its lead" in html.text


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
    assert html.row("Dice")[1] == "0.8875|±\u00a00.0530"  # now one of the others
    assert "95th percentile of the distance between outlines, in pixels; lower is better" in html.text


def test_phantom_is_said_wherever_scores_stand():
    html = Html(page("Comparison", (changed(section(), phantom=True),), "lamella 1"))
    assert html.text.count("Phantom: ") == 7  # six tables and the gallery
    assert html.text.index("a program made them") < html.text.index("unet is better.")
    assert "hantom" not in Html(page("Comparison", (section(),), "lamella 1")).text


def test_several_sections_are_kept_apart():
    first = section()
    second = changed(first, protocol={"test images": "9", "threshold": "0.5", "tiles": "256"})
    html = Html(page("Comparison", (first, second, changed(first, dataset="em")), "lamella 1"))
    assert "not to be compared with each other" in html.text
    assert "are other images: a score on one says nothing about a score on another" in html.text
    assert "are the same images by other protocols" in html.text
    assert "they differ in test images and tiles." in html.text
    assert html.row("tiles") == ["tiles", "–", "256", "–"]
    assert html.row("test images") == ["test images", "4, of 2 groups", "9", "4, of 2 groups"]
    assert "blood, 1 of 2" in html.text
    assert "blood, 2 of 2" in html.text
    assert "not to be compared" not in Html(page("Comparison", (first,), "lamella 1")).text
    same = Html(page("Comparison", (first, first), "lamella 1")).text
    assert "they differ in how images were split" in same


def test_names_are_no_markup():
    evil = section((f"unet {EVIL}", f"otsu {EVIL}"))
    shown = replace(
        changed(evil, dataset=f"blood {EVIL}", protocol={EVIL: EVIL}, card={EVIL: EVIL}),
        verdict=Verdict(EVIL, (EVIL,), (EVIL,)),
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
    for heading in ("Figures", "Pairs", "Images", "Data", "Why, and how sure"):
        assert f"{heading}\n" not in html.text
    assert "Other scores" in html.text
    assert not html.all("image")


def test_protocol_and_definitions_are_of_what_is_shown():
    entries = {
        "soft scores, resized to pixels": "none", "tolerance of outlines, pixels": "2.0", "smallest cell, pixels": "20",
        "tolerance of outlines, nm": "10.0", "neck at which cells are cut apart, pixels": "4.0", "device": "cpu",
    }  # fmt: skip
    shown = changed(section(), protocol=entries)
    found = set(protocol(shown))
    assert found == {"device", "smallest cell, pixels", "undefined scores", "intervals", "seeds"}  # cells were counted
    for run in (run for each in shown.cohort.methods for run in each.runs):
        run.scores["boundary/surface_dice_nm"] = 0.5
        run.scores["watershed/count/error"] = 0.0
    new = changed(shown, protocol=entries)
    assert set(protocol(new)) - found == {
        "tolerance of outlines, nm", "neck at which cells are cut apart, pixels", "outlines", "surface Dice",
    }  # fmt: skip
    html = Html(page("One", (new,), "lamella 1"))
    assert "HD95" not in html.text
    assert "V_rand" not in html.text


def test_of_many_methods_the_leaders_pairs_are_shown_and_the_others_folded():
    labels = [f"m{number}" for number in range(8)]
    pairs = [compared(a, b, 0.1, a) for place, a in enumerate(labels) for b in labels[place + 1 :]]
    two = section(comparisons=pairs)
    summary = pd.concat([two.summary[:1].assign(method=label) for label in labels], ignore_index=True)
    methods = tuple(method(label, UNET) for label in labels)
    text = page("Eight", (changed(replace(two, summary=summary), methods=methods),), "lamella 1")
    led, others = text.index("m0 and each other method"), text.index("the other 21 pairs")
    assert text[led:others].count("<tr>") == 8
    assert text[led:others].index("<details") > text[led:others].rindex("<tr>")
    # As many methods are rows, not columns, of what the first table leaves out.
    html = Html(text)
    assert ["m7", "0.4438|±\u00a00.0265", "2.00|±\u00a00.00"] in html.cells


def test_folds_are_said_and_listed_run_by_run():
    shown = section()
    unet, otsu = shown.cohort.methods
    halves = [tuple(replace(unet.runs[0], run_id=f"{fold}{run.seed}", fold=fold, scores=run.scores[int(fold) :: 2])
                    for fold in "01") for run in unet.runs]  # fmt: skip
    runs = tuple(replace(run, parts=parts) for run, parts in zip(unet.runs, halves, strict=True))
    folds = Folding("parted", ("0", "1"), 2, ("0", "1", "0", "1"), 1.0)
    html = Html(page("Folds", (changed(shown, methods=(replace(unet, runs=runs), otsu), folds=folds),), "lamella 1"))
    assert "4 test images of 2 groups, each judged in one of 2 folds." in html.text
    assert ["unet", "0", "0", "2", "0.9000", "median", "unet seed 0", "00"] in html.cells
    assert ["unet", "0", "1", "2", "0.8000", "median", "unet seed 0", "10"] in html.cells
    assert "a recipe for training, not one network" in html.text
    assert "fold" not in Html(page("None", (shown,), "lamella 1")).text


def test_of_a_long_verdict_what_a_screen_holds_stands_beside_the_figure():
    long = "x" * 200
    said = Verdict("Headline.", ("Why one.", "Why two."), (f"{long} first.", f"{long} second.", "Short."))
    text = page("One", (replace(section(), verdict=said),), "lamella 1")
    answer, _, after = text[text.index('class="answer"') :].partition('class="why"')
    assert [each in answer for each in ("Headline.", "Why one.", "first.", "second.", "Short.")] == [
        True, True, True, True, False,
    ]  # fmt: skip
    folded = after[: after.index("</details>")]
    assert folded.index("Why two.") < folded.index("Short.")


def test_of_one_method_the_answer_is_what_more_labels_bring():
    table = pd.DataFrame(
        {"method": "unet", "share": [0.5, 1.0], "labelled": [5.0, 10.0], "seeds": 2, "dice": [0.8, 0.9]}
    )
    labels = Learning(table.assign(low=0.7, high=0.95, seed_sd=0.01), ("Twice as many would do.",), picture("Labels"))
    two = section(verdict=Verdict("unet is better."), learning=labels)
    one = changed(replace(two, summary=two.summary[:1], comparisons=()), methods=two.cohort.methods[:1])
    for shown, headline, beside in (
        (two, "unet is better.", "Twice as many would do."),
        (one, "Twice as many would do.", "unet is better."),
    ):
        text = page("Labels", (shown,), "lamella 1")
        assert f'<p class="headline">{headline}</p>' in text
        assert f"<p>{beside}</p>" in text
