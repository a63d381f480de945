"""Several data sets in one report: what is the same method, where each holds and where not, ranks; by hand."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lamella import reporting
from lamella.plaintext import from_cell
from lamella.reporting import Section
from lamella.reporting.overview import apart, elsewhere, matched, overview, ranks_of
from lamella.reporting.page import headings
from lamella.reporting.plots.ranks import ranks
from support.kept import Runs

NAN = float("nan")


def images(mean, seed=1, who="", count=24, spread=0.01):
    """Dice of so many images with just this mean: they differ by method, and a little from seed to seed."""
    noise = np.random.default_rng(sum(map(ord, who))).normal(0, spread, count)
    return {f"image {n:02d}": mean + value + seed / 10000 for n, value in enumerate(noise - noise.mean())}


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def add(runs, data, model, dice, seeds=(1, 2, 3), **how):
    """The runs of a method on a data set of that name, one a seed; their ids."""
    params = {"dataset.name": data} | how.pop("params", {})
    rest = {"split": {}, "data": f"hash of {data}", "groups": dict.fromkeys(dice(1)) | {i: i for i in dice(1)}} | how
    return [runs.add(model, 0, dice(seed), seed=seed, params=params, **rest) for seed in seeds]


def sections_of(runs, score="dice"):
    """Sections without their figures, which take most of the time, and their headings."""
    cohorts, notes = reporting.cohorts(runs.found)
    found = []
    for each in cohorts:
        table, compared = reporting.summary(each, score, {}), reporting.pairs(each, score)
        said = reporting.verdict(each, table, compared, score)
        found.append(Section(each, score, table, compared, said, notes, pictures=(), gallery=None))
    return found, headings(found)


@pytest.fixture
def three(runs):
    """unet wins on blood and is best on own images, by chance; on em it is not told apart from fpn, which leads."""
    for data, of_unet, of_fpn in (("blood", 0.9, 0.8), ("own images", 0.851, 0.85), ("em", 0.700, 0.702)):
        add(runs, data, "unet", lambda seed, m=of_unet: images(m, seed, "unet"))
        add(runs, data, "fpn", lambda seed, m=of_fpn: images(m, seed, "fpn"))
        if data != "em":
            add(runs, data, "otsu", lambda seed: images(0.4, who="otsu"), seeds=(1,), metrics={"model/parameters": 0.0})
    return sections_of(runs)


def test_it_is_said_where_each_method_holds_and_where_not(three):
    sections, names = three
    assert names == ["blood", "own images", "em"]
    found = overview(sections, names)
    assert found.sentences == [
        "unet has the best mean on blood and own images, beyond chance on blood alone; on em it is not told apart from "
        "fpn.",
        "fpn has the best mean on em, not shown to be beyond chance; on own images it is not told apart from unet; on "
        "blood it is worse than unet.",
        "On none of them is any method shown to be better than unet.",
        "otsu is worse than the best on blood and own images and not run on em.",
        "A method is the same in two sections where its model is, and whatever is varied of that model in either; each "
        "data set's recipe may differ.",
    ]
    table = found.table.set_index("method")
    assert list(table.index) == ["unet", "fpn", "otsu"]
    assert table.loc["unet", "blood"] == pytest.approx(0.9002)
    assert (table.loc["unet", "blood_low"] < 0.9002) & (table.loc["unet", "blood_high"] > 0.9002)
    assert table["em_rank"].tolist()[:2] == [2, 1]
    assert np.isnan(table.loc["otsu", ["em", "em_low", "em_high", "em_rank", "em_of"]].astype(float)).all()
    assert table["em_became"].tolist() == ["not told apart from the best", "best mean", "not run"]
    assert table["blood_became"].tolist() == ["best", "worse", "worse"]
    assert table["blood_of"].tolist() == [3, 3, 3]
    assert not [name for name in table if name.startswith("mean")]  # nothing is averaged over data sets


def test_files_page_and_terminal_have_the_overview(three, tmp_path, capsys):
    sections, names = three
    made = reporting.write(tmp_path / "out", "blood: 3 methods", sections)
    written = pd.read_csv(tmp_path / "out" / "overview.csv")
    assert written["method"].map(from_cell).tolist() == ["unet", "fpn", "otsu"]
    assert written["own images_rank"].tolist() == [1, 2, 3]
    text = (tmp_path / "out" / "overview.md").read_text()
    assert text.startswith("unet has the best mean on blood and own images")
    assert "| otsu | 0.40" in text
    assert text.count("| not run |") == 1
    shown = made.overview.as_table("t")
    assert [cell.text for cell in shown.rows[2]] == ["otsu", "0.4001", "0.4001", "not run"]
    assert shown.rows[0][1].below[-1] == "1 of 3, best"
    assert made.verdict == list(made.overview.sentences)
    assert list(made.summary["section"].unique()) == names
    assert len(made.pairs) == 3 + 3 + 1
    assert {"section", "first", "second", "p", "verdict"} <= set(made.pairs)
    assert len(made.sections[0].pairs) == 3
    assert "<table" in made._repr_html_()
    assert repr(made).startswith("Report(blood: 3 methods; ")
    for width in (80, 120):
        out = Console(width=width, file=io.StringIO())
        made.show(out)
        lines = out.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert "Where each method holds: mean Dice" in lines
        assert "not run" in out.file.getvalue()


def test_one_section_and_one_data_set_have_no_overview(runs):
    add(runs, "blood", "unet", lambda seed: images(0.9, seed, "unet"))
    add(runs, "blood", "fpn", lambda seed: images(0.8, seed, "fpn"))
    sections, names = sections_of(runs)
    assert overview(sections, names) is None
    assert apart(sections, names) == []
    add(runs, "blood", "unet", lambda seed: images(0.9, seed, "unet"), protocol={"device": "cuda"})
    sections, names = sections_of(runs)
    assert names == ["blood, 1 of 2", "blood, 2 of 2"]
    assert overview(sections, names) is None  # the same images twice
    assert apart(sections, names) == [
        "blood, 1 of 2 and blood, 2 of 2 are the same images by other protocols, and their scores are not to be "
        "compared: they differ in device."
    ]


def test_other_images_and_other_protocols_are_told_apart(runs):
    for data, device in (("blood", "cpu"), ("blood", "cuda"), ("em", "cpu")):
        add(runs, data, "unet", lambda seed: images(0.9, seed, "unet"), protocol={"device": device})
    sections, names = sections_of(runs)
    assert apart(sections, names) == [
        "blood, 1 of 2 and blood, 2 of 2 and em are other images: a score on one says nothing about a score on "
        "another, and none is averaged.",
        "blood, 1 of 2 and blood, 2 of 2 are the same images by other protocols, and their scores are not to be "
        "compared: they differ in device.",
    ]
    found = overview(sections, names)
    assert found.sentences[0] == "unet is alone on blood, 1 of 2, blood, 2 of 2 and em."
    assert found.table["em_became"].tolist() == ["nothing to compare with"]


def test_methods_that_share_no_section_have_no_overview(runs):
    add(runs, "blood", "unet", lambda seed: images(0.9, seed, "unet"))
    add(runs, "em", "fpn", lambda seed: images(0.9, seed, "fpn"))
    assert overview(*sections_of(runs)) is None


def test_what_was_varied_makes_the_method_and_a_recipe_does_not(runs):
    for lr in ("0.1", "0.2"):
        params = {"optimizer.lr": lr, "data.crop": "48"}
        add(runs, "blood", "unet", lambda seed, x=lr: images(0.9 - float(x), seed), params=params)
    add(runs, "em", "unet", lambda seed: images(0.7, seed, "unet"), params={"optimizer.lr": "0.2", "data.crop": "96"})
    for data, crop in (("blood", "48"), ("em", "96")):
        add(runs, data, "fpn", lambda seed: images(0.6, seed, "fpn"), params={"data.crop": crop, "optimizer.lr": "7"})
    sections, names = sections_of(runs)
    rows = {row.name: row.labels for row in matched(sections)}
    assert rows == {
        "unet optimizer.lr=0.2": ("unet optimizer.lr=0.2", "unet"),
        "fpn": ("fpn", "fpn"),
        "unet optimizer.lr=0.1": ("unet optimizer.lr=0.1", ""),
    }
    assert overview(sections, names).sentences[-1].endswith("each data set's recipe may differ (here in data.crop).")


def test_networks_trained_on_other_data_are_methods_of_their_own(runs):
    """Two laboratories' networks on the images of a third, all by the same seeds: none is lost, none is joined."""
    ours, theirs = (
        add(runs, lab, "unet", lambda seed, m=mean, who=lab: images(m, seed, who), params={"data.crop": lab})
        for lab, mean in (("ours", 0.9), ("theirs", 0.8))
    )
    for lab, trained, mean in (("ours", ours, 0.7), ("theirs", theirs, 0.6)):
        for seed, id_ in enumerate(trained, 1):
            how = {"tags": {"lamella.kind": "evaluation", "lamella.evaluates": id_}, "params": {"data.crop": lab}}
            add(runs, "third", "unet", lambda s, m=mean: images(m, s, str(m)), (seed,), **how)
            if lab == "ours":
                add(runs, "fourth", "unet", lambda s: images(0.5, s), (seed,), **how)
    sections, names = sections_of(runs)
    assert not sections[0].notes
    place = names.index("third")
    labels = ["unet trained on ours", "unet trained on theirs"]
    assert sections[place].summary["method"].tolist() == labels
    assert sections[place].summary["seeds"].tolist() == [3, 3]
    rows = {row.name: [bool(label) for label in row.labels] for row in matched(sections)}
    held = {name: dict(zip(names, where, strict=True)) for name, where in rows.items()}
    assert held == {
        labels[0]: {"third": True, "ours": True, "theirs": False, "fourth": True},
        labels[1]: {"third": True, "ours": False, "theirs": True, "fourth": False},
    }
    said = {name: elsewhere(each.cohort) for name, each in zip(names, sections, strict=True)}
    nothing = {"third": [], "ours": [], "theirs": []}  # of the third, labels tell
    assert said == nothing | {"fourth": ["All networks here were trained on ours, none on fourth."]}
    found = overview(sections, names)
    assert found.sentences[0].startswith("unet trained on ours has the best mean on third, beyond chance")
    assert found.sentences[-1].endswith("what it was trained on is the same.")


def test_ties_share_a_rank_and_what_is_undefined_has_none(runs):
    equal = images(0.8)
    for data in ("blood", "em"):
        for model in ("unet", "fpn", "otsu"):
            dice = (lambda seed: images(0.5)) if model == "otsu" else (lambda seed: equal)
            known = data == "blood"
            hd95 = {i: {"unet": 3.0, "fpn": 4.0, "otsu": 2.0}[model] if known else NAN for i in equal}
            columns = {"boundary/hd95": hd95, "count/true": dict.fromkeys(equal, 5.0), "tp": dict.fromkeys(equal, 9)}
            add(runs, data, model, dice, (1,), columns=columns, metrics={"model/parameters": 0.0})
    sections, names = sections_of(runs)
    assert ranks_of(sections[0], "dice") == {"unet": 1, "fpn": 1, "otsu": 3}
    assert ranks_of(sections[0], "boundary/hd95") == {"otsu": 1, "unet": 2, "fpn": 3}  # less is better
    found = overview(sections, names)
    assert found.table["blood_became"].tolist()[:2] == ["best mean", "best mean"]
    picture = ranks(sections, names)
    assert picture.title == "Ranks by every score"
    assert picture.alt.startswith("Ranks. blood, by Dice: 1 unet, 1 fpn, 3 otsu")
    assert "would not fit" not in picture.caption
    (by_hd95, hd95_names) = sections_of(runs, "boundary/hd95")
    undefined = overview(by_hd95, hd95_names)
    assert undefined.table["em_became"].tolist() == ["no score"] * 3
    assert any("without a score on em" in each or "on em it has no score" in each for each in undefined.sentences)
    alone = ranks(by_hd95[1:], hd95_names[1:])  # of em: Dice is left to rank by
    assert alone.alt.startswith("Ranks. em, by Dice")


def test_one_method_has_no_rank(runs):
    add(runs, "blood", "unet", lambda seed: images(0.9, seed, "unet"))
    assert ranks(*sections_of(runs)) is None


def test_twelve_methods_on_three_sets_stay_readable(runs):
    for data in ("blood", "em", "another laboratory's"):
        for number in range(12):
            dice = lambda seed, n=number: images(0.9 - n / 50, who=str(n), count=5)  # noqa: E731
            extra = {f"boundary/{name}": dice(1) for name in ("hd95", "surface_dice")} | {
                "mcc": dice(1),
                "iou": dice(1),
            }
            columns = extra | {f"cells/{name}": dice(1) for name in ("f1", "pq")}
            name = f"network_of_some_length_{number}"
            add(runs, data, name, dice, (1,), columns=columns, metrics={"model/parameters": 0.0})
    sections, names = sections_of(runs)
    found = overview(sections, names)
    assert len(found.table) == 12
    assert len(found.sentences) <= 8
    for width in (80, 120):
        out = Console(width=width, file=io.StringIO())
        found.show(out)
        assert max(map(len, out.file.getvalue().splitlines())) <= width
    picture = ranks(sections, names)
    assert "9 more columns would not fit" in picture.caption  # of 7 scores 4 in each of 3 blocks
    assert len(picture.svg) < 250_000
