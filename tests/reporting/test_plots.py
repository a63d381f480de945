"""The plots of a report: what they say, by hand, and where their marks stand in the SVG."""

import re
import warnings
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.errors import StorageError
from lamella.plots.style import wrap
from lamella.reporting import plots
from lamella.reporting.cohorts import Cohort, Method, SeedRun
from lamella.reporting.plots.scores import cliques
from lamella.reporting.plots.words import images, seeds
from lamella.reporting.summary import per_image
from lamella.statistics import compare
from support.report_pages import compared as hand_made
from support.report_pages import one_seed

LONG = "unetplusplus model.encoder_weights=imagenet optimizer.lr=0.0001"


def no_file(name):
    raise StorageError(f"no {name}")


def repetition(scores, *, seed=1, metrics=None, curve=None, fetch=no_file):
    """A run with these columns; `scores` alone is Dice."""
    columns = scores if isinstance(scores, dict) else {"dice": scores}
    count = len(next(iter(columns.values())))
    names = {"id": [f"image {i}" for i in range(count)], "group": [f"image {i}" for i in range(count)]}
    names["case"] = [f"{i:04d}" for i in range(count)]
    return SeedRun(f"{seed}", "run", seed, {}, metrics or {}, pd.DataFrame(names | columns),
                      lambda: pd.DataFrame(curve or {}), fetch)  # fmt: skip


def method(label, *runs, deterministic=False, **more):
    """A method with one run for each of `runs`."""
    repetitions = tuple(repetition(scores, seed=seed, **more) for seed, scores in enumerate(runs, 1))
    return Method(label, repetitions, deterministic)


def cohort(*methods, phantom=False):
    return Cohort("blood", phantom, methods, {}, {})


def compared(of, score="dice", **more):
    scores = {each.label: each.score(score) for each in of.methods}
    fixed = [each.label for each in of.methods if each.deterministic]
    return compare(scores, deterministic=fixed, **more)


def pair(first, second, difference, *, noise=0.01, better=None, reach=0.02):
    if noise is None:
        return one_seed(first, second, difference)
    return hand_made(first, second, difference, better, noise=noise, reach=reach)


def texts(svg):
    """All that is written in a figure."""
    return [text.strip() for text in re.findall("<!--(.*?)-->", svg, re.DOTALL)]


def starts(svg):
    """Where texts begin: (n, 2), in the units of the view box."""
    found = re.findall(r"<!-- .*? -->\s*<g [^>]*transform=\"translate\(([-\d.]+) ([-\d.]+)\)", svg, re.DOTALL)
    return np.array(found, float)


def size(svg):
    """Width and height of the view box."""
    return tuple(map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()))


def dots(svg):
    """The dots of each path of dots, from the top one: a list of (n, 2)."""
    paths = [path for path in re.findall(r"<path [^>]*>", svg) if "stroke-linecap: round" in path]
    return [np.array(re.findall(r"M ([\d.]+) ([\d.]+)", path), float) for path in paths]


def spans(svg, style):
    """From where to where each path goes whose style begins like this."""
    paths = re.findall(rf'<path d="([^"]*)"[^>]*style="{style}', svg)
    found = [np.array(re.findall(r"[ML] ([-\d.]+)", path), float) for path in paths]
    return [(x.min(), x.max()) for x in found]


def bands(svg):
    """From where to where each grey rectangle reaches, the legend's last."""
    return spans(svg, "fill: #d9d9d9")


def everything(of):
    """Each plot of a cohort that has something to show."""
    found = compared(of)
    first, second = of.methods[0].label, of.methods[1].label
    pictures = {
        "distributions": plots.distributions(of, "dice"),
        "differences": plots.differences(found, "dice"),
        "paired_images": plots.paired_images(of, "dice", first, second),
        "ranking": plots.ranking(of, found, "dice"),
        "against": plots.against(of, "dice", "model/parameters"),
        "curves": plots.curves(of),
        "bland_altman": plots.bland_altman(of, "count"),
        "reliability": plots.reliability(of),
    }
    return {name: picture for name, picture in pictures.items() if picture is not None}


@pytest.fixture(scope="module")
def reliability_csv(tmp_path_factory):
    """Off by 0.1 in 100 pixels and 0.2 in 300 as predicted; right when tempered; the middle bin is empty."""
    path = tmp_path_factory.mktemp("run") / "reliability.csv"
    rows = [
        ("as predicted", 0.1, 0.2, 100), ("as predicted", np.nan, np.nan, 0), ("as predicted", 0.9, 0.7, 300),
        ("tempered", 0.2, 0.2, 100), ("tempered", 0.7, 0.7, 300),
    ]  # fmt: skip
    pd.DataFrame(rows, columns=["kind", "probability", "right", "pixels"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def many(reliability_csv):
    """Seven methods with long names, three seeds, twelve phantom images, everything recorded."""
    rng = np.random.default_rng(0)
    methods = []
    for place in range(7):
        runs = [
            {"dice": rng.uniform(0.3, 0.95, 12), "count/true": rng.integers(0, 9, 12),
             "count/found": rng.integers(0, 9, 12)} for _ in range(3)
        ]  # fmt: skip
        curve = {"train/loss": [0.9, 0.5], "val/loss": [0.9, 0.6], "val/dice": [0.3, 0.8]}
        methods.append(method(f"{LONG} seed_of_split={place}", *runs, curve=curve, fetch=lambda _: reliability_csv,
                              metrics={"model/parameters": 1e6 * (place // 3)}))  # fmt: skip
    return cohort(*methods, phantom=True)


@pytest.fixture(scope="module")
def pictures(many):
    return everything(many)


ALL = ["distributions", "differences", "paired_images", "ranking", "against", "curves", "bland_altman", "reliability"]


@pytest.mark.parametrize("name", ALL)
def test_no_text_begins_outside_and_the_svg_is_sound(pictures, name):
    svg = pictures[name].svg
    ET.fromstring(svg)
    width, height = size(svg)
    found = starts(svg)
    assert len(found) > 3
    assert (found > 0).all()
    assert (found < (width, height)).all()
    assert 425 < width < 435  # 6 inches, so that type keeps its size beside other figures
    assert "$" not in svg


@pytest.mark.parametrize("name", [name for name in ALL if name != "differences"])  # which has no cohort
def test_phantoms_are_called_so_in_figure_and_words(pictures, name):
    picture = pictures[name]
    assert "phantom" in picture.alt
    assert "phantom" in picture.caption
    assert any("phantom" in text for text in texts(picture.svg))


def test_real_images_are_not_called_phantoms():
    real = everything(cohort(method("a", [0.1, 0.2]), method("b", [0.2, 0.4])))
    assert not any("phantom" in text for picture in real.values() for text in picture)


def test_the_same_cohort_is_drawn_the_same_and_settings_stay_as_they_were():
    of = cohort(method("a", [0.1, 0.2, 0.25]), method("b", [0.2, 0.4, 0.3]))
    first = plots.distributions(of, "dice")
    with mpl.rc_context({"font.size": 7, "text.parse_math": True}):
        assert plots.distributions(of, "dice") == first
        assert mpl.rcParams["font.size"] == 7
        assert mpl.rcParams["text.parse_math"]


def test_labels_are_shown_as_they_are():
    label = "a$_b$ <i> & --x -> \\frac"
    of = cohort(method(label, [0.1, 0.2]), method("b", [0.2, 0.4]))
    for picture in everything(of).values():
        ET.fromstring(picture.svg)
        assert label in picture.alt
        assert "Oblique" not in picture.svg  # the type of formulas


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5], [0.0, 0.0], [1e-12, 0.0]])
def test_one_image_or_no_spread_at_all_is_no_trouble(values):
    one = {"dice": values, "count/true": [0] * len(values), "count/found": [0] * len(values)}
    of = cohort(method("a", one), method("b", one), method("c", one, deterministic=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = everything(of)
    assert set(found) == {"distributions", "differences", "paired_images", "ranking", "bland_altman"}


@pytest.mark.parametrize("left", [0, 1, 2])
def test_images_without_a_score_are_in_no_picture(left):
    def run(*dice):
        values = [*dice[:left], *[np.nan] * (2 - left), 0.4]
        return {"dice": values, "count/true": [1, 2, np.nan], "count/found": [1, 3, np.nan]}

    costs = {"model/parameters": 1e6}
    of = cohort(method("a", run(0.8, 0.9), run(0.7, 0.9), metrics=costs), method("b", run(0.5, 0.7), metrics=costs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = everything(of)
    for name in ("distributions", "paired_images", "ranking", "against"):
        assert (f"{left + 1} of 3 test images" in found[name].alt + found[name].caption) == (left < 2)
        assert "nan" not in found[name].svg + found[name].alt + found[name].caption
    if left < 2:
        (upper, lower) = dots(found["distributions"].svg)
        assert (len(upper), len(lower)) == (left + 1, left + 1)


def test_groups_are_named_where_they_are_drawn():
    of = cohort(method("a", [0.1, 0.2, 0.3, 0.5]), method("b", [0.2, 0.4, 0.3, 0.2]))
    for each in of.methods:
        each.runs[0].scores["group"] = list("xxyy")
    assert "95 % interval over groups, Student's t" in everything(of)["ranking"].caption


# --- words ---


def test_what_is_said_about_seeds():
    one, two, fixed = method("a", [1]), method("b", [1], [1]), method("c", [1], deterministic=True)
    assert seeds([one]) == "one seed a method, so seed noise is unknown"
    assert seeds([two]) == "mean over 2 seeds a method"
    assert seeds([two, fixed]) == "mean over 2 seeds a method; one run of those that draw nothing at random"
    assert seeds([one, two]) == "mean over 1 to 2 seeds a method (where it is one, seed noise is unknown)"
    assert seeds([fixed]) == "no method draws anything at random"


def test_groups_are_counted_where_they_are_fewer_than_images():
    of = cohort(method("a", [0.1, 0.2, 0.3]))
    assert images(of) == "3 test images"
    of.methods[0].runs[0].scores["group"] = ["x", "y", "x"]
    assert images(cohort(*of.methods, phantom=True)) == "3 phantom test images in 2 groups"


def test_of_a_signed_count_error_the_size_is_meant():
    assert per_image(method("a", {"count/error": [-3, 1]}, {"count/error": [1, 1]}), "count/error").tolist() == [2, 1]


def test_lines_break_at_spaces_and_never_in_a_number():
    assert wrap("unet augment=heavy", 12) == "unet\naugment=\nheavy"
    assert wrap("unet lr=0.0001", 9) == "unet\nlr=0.0001"
    assert wrap("optimizer.lr=0.0001", 10) == "optimizer.\nlr=0.0001"
    assert wrap("optimizer.lr=0.0001", 8) == "optimize\nr.lr=\n0.0001"


@given(st.text("ab1.=_ ", max_size=40), st.integers(1, 12))
def test_wrapping_keeps_every_character_and_the_width(label, width):
    lines = wrap(label, width)
    assert re.sub(r"\s", "", lines) == label.replace(" ", "")
    assert max(map(len, lines.split("\n"))) <= width


# --- distributions ---


def test_every_image_is_a_dot_at_its_score():
    values = {"a": np.array([0.2, 0.9, 0.5, 0.5, 0.51]), "b": np.array([0.6, 0.7, 0.8, 0.9, 1.0])}
    picture = plots.distributions(cohort(*(method(name, each) for name, each in values.items())), "dice")
    upper, lower = dots(picture.svg)
    scale = np.ptp(upper[:, 0]) / 0.4
    assert upper[:, 0] - upper[0, 0] == pytest.approx((values["b"] - 0.6) * scale, abs=0.01)
    assert lower[:, 0] - upper[0, 0] == pytest.approx((values["a"] - 0.6) * scale, abs=0.01)
    assert upper[:, 1].max() < lower[:, 1].min()
    assert lower[2, 1] != lower[3, 1]  # equal scores do not hide each other
    assert "b 0.8000 (0.6000 to 1.0000), a 0.5000 (0.2000 to 0.9000)" in picture.alt
    assert "5 test images; one seed a method" in picture.caption


def test_means_over_seeds_and_lower_is_better():
    of = cohort(method("a", {"pixel_error": [0.4, 0.5, 0.6]}),
                method("b", {"pixel_error": [0.1, 0.2, 0.3]}, {"pixel_error": [0.3, 0.4, 0.5]}))  # fmt: skip
    picture = plots.distributions(of, "pixel_error")
    assert "b 0.3000 (0.2000 to 0.4000), a 0.5000 (0.4000 to 0.6000)" in picture.alt
    assert "pixel error (lower is better)" in texts(picture.svg)


# --- differences ---


def test_the_better_mean_stands_first_and_bands_are_as_wide_as_the_noise():
    picture = plots.differences([pair("a", "b", -0.1, noise=0.03, better="b"), pair("a", "c", 0.05, noise=0.01),
                                 pair("b", "c", 0.15, noise=0.02)], "dice")  # fmt: skip
    assert picture.alt.index("b minus a 0.1000 (0.0800 to 0.1200), b better") < picture.alt.index("b minus c 0.1500")
    assert "a minus c 0.0500 (0.0300 to 0.0700), not decided" in picture.alt
    assert "Decided: 1 of 3 pairs." in picture.caption
    assert "unknown" not in picture.caption
    zero = spans(picture.svg, "fill: none; stroke: #000000; stroke-width: 0.9")[0][0]
    bar = np.ptp(spans(picture.svg, "fill: none; stroke: #0072b2; stroke-width: 1.8")[0])  # 0.04 wide
    for band, noise in zip(bands(picture.svg), (0.03, 0.02, 0.01), strict=False):  # the rows: b-a, b-c, a-c
        assert band[1] - zero == pytest.approx(bar * noise / 0.04, rel=1e-3)
        assert zero - band[0] == pytest.approx(bar * noise / 0.04, rel=1e-3)
    assert {"decided", "not decided", "seed noise, 95 %", "b minus", "a minus"} <= set(texts(picture.svg))
    assert "not tested: see the verdict" not in texts(picture.svg)


def test_errors_are_better_when_lower():
    picture = plots.differences([pair("a", "b", 4.0, better="b", reach=1)], "boundary/hd95")
    assert "b minus a −4.00 (−5.00 to −3.00), b better" in picture.alt


def test_with_one_seed_noise_is_said_to_be_unknown():
    all_ = plots.differences([pair("a", "b", 0.1, noise=None)], "dice")
    assert "For all of them seed noise is unknown" in all_.caption
    assert "Grey" not in all_.caption
    assert "not tested: see the verdict" in texts(all_.svg)
    assert not bands(all_.svg)
    some = plots.differences([pair("a", "b", 0.1, noise=None), pair("a", "c", 0.2), pair("b", "c", 0.1)], "dice")
    assert "For 1 of them seed noise is unknown" in some.caption
    assert len(bands(some.svg)) == 3  # two bands and the legend's


def test_a_band_that_would_hide_all_else_is_cut_off_and_that_is_said():
    wide = plots.differences([pair("a", "b", 0.01, noise=5.0)], "dice")
    assert "goes on beyond" in wide.caption
    assert "goes on beyond" not in plots.differences([pair("a", "b", 0.01, noise=0.01)], "dice").caption


def test_of_many_pairs_those_of_the_leader_are_drawn():
    means = dict(zip("abcdefg", [0.1, 0.7, 0.3, 0.4, 0.5, 0.6, 0.2], strict=True))
    names = list(means)
    found = [pair(f, s, means[f] - means[s], better=f if means[f] > means[s] else s)
             for i, f in enumerate(names) for s in names[i + 1 :]]  # fmt: skip
    picture = plots.differences(found, "dice")
    assert picture.alt.count(" minus ") == 6
    assert picture.alt.count("b minus ") == 6
    assert "Decided: 21 of 21 pairs." in picture.caption
    assert "Only the pairs of b" in picture.caption
    assert len(plots.differences(found[:15], "dice").alt.split(";")) == 15


# --- paired images ---


def test_who_is_better_on_how_many_images():
    of = cohort(method("a", [0.9, 0.5, 0.5, 0.8]), method("b", [0.5, 0.6, 0.5, 0.6]), method("c", [0, 0, 0, 0]))
    picture = plots.paired_images(of, "dice", "a", "b")
    assert "a is better in Dice on 2 images, b on 1, 1 are equal" in picture.alt
    assert "Mean difference 0.1250" in picture.alt
    assert "from −0.1000 to 0.4000" in picture.alt
    assert "where a does best by comparison (image 0) to that where b does (image 1)" in picture.caption
    assert {"a better: 2 images", "b better: 1 image"} <= set(texts(picture.svg))
    assert "one seed a method, so seed noise is unknown" in picture.caption
    with pytest.raises(KeyError):
        plots.paired_images(of, "dice", "a", "nosuch")


def test_of_errors_the_lower_one_wins():
    of = cohort(method("a", {"pixel_error": [0.9, 0.5]}), method("b", {"pixel_error": [0.5, 0.6]}))
    picture = plots.paired_images(of, "pixel_error", "a", "b")
    assert "a is better in pixel error on 1 image, b on 1." in picture.alt
    assert "best by comparison (image 1)" in picture.caption


# --- ranking ---


def test_groups_that_are_not_told_apart():
    def alike(*pairs, of="abc"):
        found = [pair(f, s, 0.1, better=None if f + s in pairs else f) for i, f in enumerate(of) for s in of[i + 1 :]]
        return cliques(of, found)

    assert alike() == []
    assert alike("ab", "bc") == [[0, 1], [1, 2]]
    assert alike("ac") == [[0, 2]]
    assert alike("ab", "bc", "ac") == [[0, 1, 2]]
    assert alike("ab", "cd", "ad", of="abcd") == [[0, 1], [0, 3], [2, 3]]


@settings(max_examples=40)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda edge: edge[0] < edge[1])))
def test_groups_are_sound_whole_and_as_large_as_can_be(edges):
    found = [
        pair(str(f), str(s), 0.1, better=None if (f, s) in edges else "0") for f in range(7) for s in range(f + 1, 7)
    ]
    groups = cliques([str(place) for place in range(7)], found)
    covered = set()
    for group in groups:
        inside = {(f, s) for f in group for s in group if f < s}
        assert inside <= edges
        covered |= inside
        assert not any(set(group) < set(other) for other in groups)
        for outside in set(range(7)) - set(group):
            assert not all((min(outside, each), max(outside, each)) in edges for each in group)
    assert covered == edges


def test_ranking_by_hand():
    of = cohort(method("a", [0.1, 0.3], [0.3, 0.5]), method("b", [0.8, 0.9], [0.9, 1.0]),
                method("c", [0.2, 0.4], deterministic=True))  # fmt: skip
    picture = plots.ranking(
        of, [pair("a", "b", -0.6, better="b"), pair("a", "c", 0.0), pair("b", "c", 0.6, better="b")], "dice"
    )
    order = [
        picture.alt.index(f"{label} {mean}") for label, mean in (("b", "0.9000"), ("a", "0.3000"), ("c", "0.3000"))
    ]
    assert order == sorted(order)
    assert picture.alt.endswith("Not told apart: a / c.")
    assert "Short black strokes: single seeds" in picture.caption
    assert "Dotted" not in picture.caption
    assert any("not told" in text for text in texts(picture.svg))


def test_ranking_of_single_seeds_tells_nobody_apart_and_says_why():
    of = cohort(method("a", [0.1, 0.2, 0.1]), method("b", [0.8, 0.9, 0.8]))
    picture = plots.ranking(of, compared(of), "dice")
    assert "Not told apart: b / a." in picture.alt
    assert "Dotted line" in picture.caption
    assert "seed noise is unknown" in picture.caption
    assert "single seeds" not in picture.caption
    assert "stroke-dasharray" in picture.svg


def test_ranking_where_all_are_told_apart_or_there_is_one():
    two = cohort(method("a", [0.1, 0.2], [0.1, 0.2]), method("b", [0.8, 0.9], [0.8, 0.9]))
    picture = plots.ranking(two, [pair("a", "b", -0.7, better="b")], "dice")
    assert picture.alt.endswith("All are told apart.")
    assert not any("not told" in text for text in texts(picture.svg))
    asked = cohort(*two.methods, method("c", [0.05, 0.1]))
    leader = plots.ranking(asked, [pair("b", "a", 0.7, better="b"), pair("b", "c", 0.8, better="b")], "dice")
    assert leader.alt.endswith("b is told apart from all others.")
    assert "Only b was compared with the others." in leader.caption
    one = plots.ranking(cohort(method("a", [0.1, 0.2])), [], "dice")
    assert "told apart" not in one.alt + one.caption


# --- against ---


def test_dice_against_parameters_with_none_unknown_and_some():
    of = cohort(
        method("otsu", [0.5, 0.6], deterministic=True, metrics={"model/parameters": 0.0}),
        method("unet", [0.8, 0.9], metrics={"model/parameters": 7.8e6}),
        method("fcn", [0.7, 0.8], metrics={"model/parameters": 1.34e8}),
        method("old", [0.7, 0.7]),
    )
    picture = plots.against(of, "dice", "model/parameters")
    assert "unet 0.8500 at 7.8\xa0M; fcn 0.7500 at 134\xa0M; otsu 0.5500 at 0." in picture.alt
    assert "because it is 0: otsu." in picture.caption
    assert "left out: old." in picture.caption
    assert "machines" not in picture.caption
    assert {"0", "10\xa0M", "100\xa0M", "1", "2", "3", "1 unet: 7.8\xa0M"} <= set(texts(picture.svg))


def test_times_in_units_of_time():
    of = cohort(method("a", [0.5], metrics={"time/train_s": 30}), method("b", [0.6], metrics={"time/train_s": 5400}))
    picture = plots.against(of, "dice", "time/train_s")
    assert "b 0.6000 at 1.5\xa0h; a 0.5000 at 30\xa0s" in picture.alt
    assert {"1\xa0min", "10\xa0min", "1\xa0h"} <= set(texts(picture.svg))
    assert "machines were alike" in picture.caption


@pytest.mark.parametrize("costs", [[None, None], [1.0, None], [0.0, 0.0]])
def test_nothing_to_show_against(costs):
    of = cohort(*(method(f"{place}", [0.5, 0.6], metrics={} if cost is None else {"model/parameters": cost})
                  for place, cost in enumerate(costs)))  # fmt: skip
    assert plots.against(of, "dice", "model/parameters") is None


def test_methods_at_the_same_place_have_numbers_apart():
    of = cohort(*(method(f"m{place}", [0.5, 0.6], metrics={"model/parameters": 1e6}) for place in range(6)))
    svg = plots.against(of, "dice", "model/parameters").svg
    pattern = r'<!-- (\d) -->\s*<g [^>]*transform="translate\(([-\d.]+) ([-\d.]+)\)'
    at = np.array([(x, y) for _, x, y in re.findall(pattern, svg)], float)
    assert len(at) >= 6
    gaps = np.hypot(*(at[:, None] - at[None]).T)[np.triu_indices(len(at), 1)]
    assert gaps[gaps > 1].min() > 8  # points; the white border of a number is a second copy of it


# --- curves ---


def test_the_kept_epoch_is_the_first_of_the_best():
    curve = {"train/loss": [0.9, 0.5, 0.4], "val/loss": [0.9, 0.6, 0.7], "val/dice": [0.3, 0.8, 0.8]}
    of = cohort(method("otsu", [0.5, 0.5], deterministic=True), method("unet", [0.7, 0.8], [0.7, 0.9], curve=curve))
    picture = plots.curves(of)
    assert "unet 0.8000 in epoch 2 and 0.8000 in epoch 2." in picture.alt
    assert "Without training: otsu." in picture.caption
    assert "2 seeds a method" in picture.caption
    assert {"validation Dice", "training loss", "validation loss", "unet"} <= set(texts(picture.svg))
    assert "otsu" not in texts(picture.svg)


def test_no_curves_where_nothing_was_trained():
    assert plots.curves(cohort(method("otsu", [0.5, 0.5], deterministic=True))) is None


# --- counts ---


def test_bias_and_limits_of_the_median_run_by_hand():
    true = [4, 6, 8, 8]
    runs = [{"dice": [dice] * 4, "count/true": true, "count/found": np.array(true) + error}
            for dice, error in ((0.1, 50), (0.5, np.array([1, -1, 2, 2])), (0.9, -50))]  # fmt: skip
    picture = plots.bland_altman(cohort(method("unet", *runs)), "count")
    reach = 3.1824 * np.sqrt((0 + 4 + 1 + 1) / 3) * np.sqrt(1 + 1 / 4)  # Student's t with 3 degrees of freedom
    assert f"unet 1.00 (−{reach - 1:.2f} to {reach + 1:.2f})" in picture.alt
    assert "median Dice of its seeds" in picture.caption
    single, double = dots(picture.svg)  # two images have the same counts
    assert (len(single), len(double)) == (2, 1)
    x = np.array([4.5, 5.5, 9.0])
    y = np.array([1, -1, 2])
    placed = np.concatenate([single, double])
    order = np.argsort(placed[:, 0])
    assert np.diff(placed[order, 0]) / np.diff(x) == pytest.approx([np.ptp(placed[:, 0]) / 4.5] * 2, abs=1e-2)
    assert np.diff(placed[order, 1]) / np.diff(y) == pytest.approx([-np.ptp(placed[:, 1]) / 3] * 2, abs=1e-2)


def test_no_counts_no_picture():
    counted = {"dice": [0.5, 0.6], "count/true": [1, 2], "count/found": [1, 3]}
    assert plots.bland_altman(cohort(method("a", counted)), "watershed/count") is None
    assert plots.bland_altman(cohort(method("a", counted), method("b", [0.5, 0.6])), "count") is None


# --- calibration ---


def test_calibration_error_by_hand_and_methods_without_probabilities(reliability_csv):
    def fetch(name):
        assert name == "scores/reliability.csv"
        return reliability_csv

    of = cohort(method("otsu", [0.5, 0.6], deterministic=True), method("unet", [0.8, 0.9], fetch=fetch))
    picture = plots.reliability(of)
    error = (100 * 0.1 + 300 * 0.2) / 400
    assert f"unet {error:.4f} as predicted, 0.0000 tempered" in picture.alt
    assert "left out: otsu" in picture.caption
    assert "ECE 0.175 → 0.000" in picture.svg
    (line,) = re.findall(r'<path d="([^"]*)" clip-path[^>]*stroke: #0072b2; stroke-width: 1.2', picture.svg)
    assert line.count("L") == 1  # the empty bin leaves no gap


def test_no_probabilities_no_picture():
    assert plots.reliability(cohort(method("otsu", [0.5, 0.6], deterministic=True))) is None


def test_of_many_methods_the_best_have_a_panel():
    many = [method(f"m{n}", [0.1 * n, 0.1 * n], curve={"val/dice": [0.1, 0.2]}) for n in range(1, 9)]
    few, all_ = plots.curves(cohort(*many[:6])), plots.curves(cohort(*many))
    assert "best of" not in few.caption
    assert all_.caption.endswith("Drawn are the 6 best of 8 methods by their mean Dice.")
    assert "m8" in all_.alt
    assert "m2 " not in all_.alt
