"""The gallery: which images it shows, by hand, and that its pictures are what the runs kept, pixel by pixel."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lamella.data.audit.pictures import FOREGROUND
from lamella.data.types import IGNORE
from lamella.errors import StorageError
from lamella.evaluation import error_maps as outcomes
from lamella.plots import overlays
from lamella.reporting.cohorts import Cohort, Method, SeedRun
from lamella.reporting.gallery import gallery, wrong_pixels

RED, YELLOW, CYAN = overlays.FALSE_POSITIVE, overlays.FALSE_NEGATIVE, FOREGROUND


def repetition(folder, scores, seed=1):
    """A run with these scores, column -> values, whose files lie in a folder."""

    def fetch(name):
        path = folder / name
        if not path.exists():
            raise StorageError(f"{name} is missing")
        return path

    n = len(next(iter(scores.values())))
    table = {"id": [f"image-{i}" for i in range(n)], "group": ["g"] * n, "case": [f"{i:04d}" for i in range(n)]}
    return SeedRun("id", "name", seed, {}, {}, pd.DataFrame(table | scores), pd.DataFrame, fetch)


def cohort(*methods):
    """A cohort of (label, repetitions)."""
    return Cohort("blood", True, tuple(Method(label, tuple(runs), False) for label, runs in methods), {}, {})


def of_scores(folder, **methods):
    """A cohort of methods with one run each, without files."""
    return cohort(*((label, [repetition(folder / label, scores)]) for label, scores in methods.items()))


def pixels(layer):
    """(h, w, 4) of a picture that lies over another one."""
    kind, data = layer.uri.split(";base64,")
    assert kind == "data:image/webp"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def places(layer, colour):
    """Where a picture has a colour."""
    return [tuple(place) for place in np.argwhere((pixels(layer) == (*colour, 255)).all(axis=-1)).tolist()]


def shown(found):
    """The images of each kind, by their numbers."""
    kinds = {}
    for case in found.cases:
        kinds.setdefault(re.split(r",| \d", case.heading)[0], []).append(case.id.removeprefix("image-"))
    return kinds


def test_images_by_the_mean_of_all_methods(tmp_path):
    # Means: 0.5 0.1 0.9 0.4 0.6 0.3 0.7 0.2; differences: 0.2 0.2 0.2 0 0.4 0.6 0.2 0
    first = [0.4, 0.2, 0.8, 0.4, 0.4, 0.6, 0.6, 0.2]
    second = [0.6, 0.0, 1.0, 0.4, 0.8, 0.0, 0.8, 0.2]
    found = gallery(of_scores(tmp_path, a={"dice": first}, b={"dice": second}), "dice", k=2)
    assert shown(found) == {
        "worst": ["1", "7"],
        "methods differ": ["5", "4"],
        "typical": ["0", "3"],
        "best": ["2", "6"],
    }
    assert [(case.heading, case.folded) for case in found.cases] == [
        ("worst 1 of 8", False),
        ("worst 2 of 8", True),
        ("methods differ, place 1 of 8", False),
        ("methods differ, place 2 of 8", True),
        ("typical, place 4 of 8", False),
        ("typical, place 5 of 8", True),
        ("best 1 of 8", False),
        ("best 2 of 8", True),
    ]
    assert found.cases[2].text == "mean Dice 0.3000, from 0.0000 (b) to 0.6000 (a)"
    assert "4 of 8 are folded" in " ".join(found.words)


def test_images_on_which_methods_agree_are_not_shown_for_it(tmp_path):
    found = gallery(
        of_scores(tmp_path, a={"dice": [0.1, 0.2, 0.3, 0.4]}, b={"dice": [0.1, 0.2, 0.3, 0.4]}), "dice", k=1
    )
    assert shown(found) == {"worst": ["0"], "typical": ["2"], "best": ["3"]}
    # Differences 0.3 0.4 0.1 0.1 0.2 0.6: of the greater half only the second image stands nowhere yet.
    first, second = [0.0, 0.1, 0.4, 0.5, 0.6, 0.7], [0.3, 0.5, 0.5, 0.6, 0.8, 1.3]
    found = gallery(of_scores(tmp_path, a={"dice": first}, b={"dice": second}), "dice", k=1)
    assert shown(found) == {"worst": ["0"], "methods differ": ["1"], "typical": ["3"], "best": ["5"]}


def test_methods_stand_best_first(tmp_path):
    scores = {"a": [0.5, 0.9], "b": [0.8, 0.7], "c": [0.6, 0.7]}  # means 0.7 0.75 0.65
    found = of_scores(tmp_path, **{label: {"dice": s, "boundary/hd95": s} for label, s in scores.items()})
    labels = {
        score: {tuple(panel.label for panel in case.panels) for case in gallery(found, score).cases}
        for score in ("dice", "boundary/hd95")
    }
    assert labels == {"dice": {("b", "a", "c")}, "boundary/hd95": {("c", "a", "b")}}


def test_of_many_methods_the_best_ten_and_the_last_with_one_image_open(tmp_path):
    many = {f"m{i:02d}": {"dice": [1 - i / 20, 0.5 - i / 40]} for i in range(14)}
    found = gallery(of_scores(tmp_path, **many), "dice")
    labels = [panel.label for panel in found.cases[0].panels]
    assert labels == [*(f"m{i:02d}" for i in range(10)), "m13"]
    assert [case.folded for case in found.cases] == [False, True]
    assert "Of 14 methods the best 10 and the last are shown." in found.words


def test_of_errors_the_smallest_is_best_whatever_its_sign(tmp_path):
    scores = {"count/error": [-9.0, 0.0, 4.0], "dice": [0.9, 0.8, 0.7]}
    found = gallery(of_scores(tmp_path, a=scores), "count/error")
    assert shown(found) == {"worst": ["0"], "typical": ["2"], "best": ["1"]}
    assert found.cases[0].text == "count error 9"
    assert found.cases[0].panels[0].text.startswith("count error −9, ")


@pytest.mark.parametrize("n", range(1, 13))
def test_each_image_at_most_once_and_as_many_as_there_are(tmp_path, n):
    scores = np.random.default_rng(n).permutation(n) / 20
    found = gallery(of_scores(tmp_path, a={"dice": scores}), "dice", k=3)
    ids = [case.id for case in found.cases]
    assert len(ids) == len(set(ids)) == min(n, 9)
    # No typical image is worse than a worst one, or better than a best one.
    by_name = {name: [float(scores[int(i)]) for i in group] for name, group in shown(found).items()}
    assert all(0 < len(group) <= 3 for group in by_name.values())
    kinds = [by_name.get(name, []) for name in ("worst", "typical", "best")]
    assert max(map(len, kinds)) - min(map(len, kinds)) <= 1
    assert [max(some) for some in kinds if some] == sorted(max(some) for some in kinds if some)
    assert by_name.get("worst", []) == sorted(scores)[: len(kinds[0])]
    assert by_name.get("best", []) == sorted(scores)[::-1][: len(kinds[2])]


def test_one_image_is_typical_of_itself_and_of_none_nothing_is_shown(tmp_path):
    assert shown(gallery(of_scores(tmp_path, a={"dice": [0.5]}), "dice")) == {"typical": ["0"]}
    assert gallery(of_scores(tmp_path, a={"dice": [0.5]}), "dice", k=0) is None
    assert gallery(of_scores(tmp_path, a={"dice": [np.nan]}), "dice") is None


TRUTH = np.zeros((30, 40), np.uint8)
TRUTH[5:25, 10:30] = 1
IMAGE = np.broadcast_to(np.linspace(0, 255, 40).astype(np.uint8), (3, 30, 40))


def written(folder, predicted, n=1, image=IMAGE, truth=TRUTH):
    for i in range(n):
        outcomes.write(folder, f"{i:04d}", image, truth, predicted)


def only_case(*methods):
    """The case of a cohort of one image."""
    (case,) = gallery(cohort(*methods), "dice").cases
    return case


def test_each_method_shows_its_median_run(tmp_path):
    runs = []
    for seed, dice in enumerate([0.2, 0.9, 0.6]):  # the last one is the median
        predicted = TRUTH.copy()
        predicted[0, seed] = 1
        written(tmp_path / str(seed), predicted)
        runs.append(repetition(tmp_path / str(seed), {"dice": [dice]}, seed))
    case = only_case(("unet", runs))
    (method,) = case.panels
    assert case.text == "Dice 0.5667"
    assert method.text == "Dice 0.6000"
    assert places(method.errors, RED) == places(method.small, RED) == [(0, 2)]
    assert method.errors.alt == "image-0 by unet: 0.1% of pixels false positive, 0.0% missed"  # 1 of 1200
    assert method.prediction.alt == "image-0 by unet: 33.4% of pixels foreground"  # 401 of 1200


def test_truth_prediction_and_errors_are_recovered_pixel_by_pixel(tmp_path):
    random = np.random.default_rng(0)
    truth = random.choice(np.array([0, 1, 2, IGNORE], np.uint8), (30, 40))
    predicted = random.integers(0, 3, (30, 40)).astype(np.uint8)
    written(tmp_path, predicted, truth=truth)
    run = replace(repetition(tmp_path, {"dice": [0.5]}), params={"dataset.num_classes": "3"})
    found = gallery(cohort(("unet", [run])), "dice")
    (case,), counted = found.cases, truth != IGNORE
    (panel,) = case.panels
    assert case.size == (30, 40)
    there = {CYAN: counted & (truth > 0), overlays.IGNORED: ~counted}
    wrong = {RED: counted & (truth == 0) & (predicted > 0), YELLOW: counted & (truth > 0) & (truth != predicted)}
    for layer, colours in (
        (case.truth, there),
        (panel.prediction, {CYAN: counted & (predicted > 0)}),
        (panel.errors, wrong),
        (panel.small, wrong),
    ):
        expected = np.zeros((30, 40, 4), np.uint8)
        for colour, where in colours.items():
            expected[where] = (*colour, 255)
        seen = pixels(layer)
        assert (seen[..., 3] == expected[..., 3]).all()
        assert (seen[expected[..., 3] > 0] == expected[expected[..., 3] > 0]).all()
    assert case.truth.alt.endswith(f"{(~counted).mean():.1%} not counted")
    assert panel.errors.alt.endswith(" missed or confused")
    assert found.colours[-1] == (overlays.IGNORED, "not counted")
    assert "foreground missed or confused" in dict(map(reversed, found.colours))
    assert "Foreground of all classes has one colour here." in found.words


def test_of_two_classes_nothing_is_confused_and_nothing_left_out_has_no_colour(tmp_path):
    written(tmp_path, TRUTH)
    found = gallery(cohort(("unet", [repetition(tmp_path, {"dice": [1.0]})])), "dice")
    assert found.colours == (
        (CYAN, "foreground, in truth or prediction"),
        (RED, "foreground predicted, not there"),
        (YELLOW, "foreground missed"),
    )
    assert not any("classes" in sentence for sentence in found.words)


def test_the_picture_is_the_file_that_was_kept(tmp_path):
    written(tmp_path, TRUTH)
    case = only_case(("unet", [repetition(tmp_path, {"dice": [1.0]})]))
    kind, data = case.image.uri.split(";base64,")
    assert kind == "data:image/jpeg"
    assert base64.b64decode(data) == (tmp_path / outcomes.picture_name("0000")).read_bytes()


def test_the_same_runs_give_the_same_gallery(tmp_path):
    runs = []
    for seed in range(4):
        written(tmp_path / str(seed), np.random.default_rng(seed).integers(0, 2, (30, 40)).astype(np.uint8))
        runs.append((f"m{seed}", [repetition(tmp_path / str(seed), {"dice": [seed / 4]})]))
    assert gallery(cohort(*runs), "dice") == gallery(cohort(*runs), "dice")


def test_runs_that_numbered_their_images_otherwise(tmp_path):
    extra = TRUTH.copy()
    extra[0, 0] = 1
    for folder, order in (("a", [extra, TRUTH]), ("b", [TRUTH, extra])):
        for i, predicted in enumerate(order):
            outcomes.write(tmp_path / folder, f"{i:04d}", IMAGE, TRUTH, predicted)
    runs = {label: repetition(tmp_path / label, {"dice": [0.9, 1.0]}) for label in "ab"}
    runs["b"].scores["case"] = ["0001", "0000"]
    found = gallery(cohort(*((label, [run]) for label, run in runs.items())), "dice")
    assert shown(found) == {"worst": ["0"], "best": ["1"]}
    for case, wrong in zip(found.cases, ([(0, 0)], []), strict=True):
        assert [places(panel.errors, RED) for panel in case.panels] == [wrong, wrong]


def put_together(folder, folds):
    """A run of folds: fold -> the image that it scored, with a Dice and a prediction of one wrong pixel in a column."""
    parts = []
    for column, (fold, image) in enumerate(folds.items()):
        predicted = TRUTH.copy()
        predicted[0, column] = 1
        written(folder / fold, predicted)
        run = repetition(folder / fold, {"dice": [0.9 - column / 10]})
        parts.append(replace(run, scores=run.scores.assign(id=f"image-{image}"), fold=fold))
    scores = pd.concat([part.scores for part in parts]).sort_values("id", ignore_index=True)
    return replace(parts[0], scores=scores, fold="", parts=tuple(parts))


def test_of_folds_each_image_shows_the_run_that_scored_it(tmp_path):
    runs = {label: put_together(tmp_path / label, {"1": 1, "2": 0}) for label in "ab"}
    found = gallery(cohort(*((label, [run]) for label, run in runs.items())), "dice")
    assert [(case.id, case.text) for case in found.cases] == [
        ("image-0", "mean Dice 0.8000; scored by fold 2"),
        ("image-1", "mean Dice 0.9000; scored by fold 1"),
    ]
    assert [places(case.panels[0].errors, RED) for case in found.cases] == [[(0, 1)], [(0, 0)]]
    assert found.cases[0].panels[0].text == "Dice 0.8000"


def test_of_repeated_folds_each_method_says_which_one_it_shows(tmp_path):
    runs = [
        (label, [replace(repetition(tmp_path, {"dice": [0.5]}), fold=fold)]) for label, fold in (("a", "1"), ("b", "3"))
    ]
    written(tmp_path, TRUTH)
    assert [panel.text for panel in only_case(*runs).panels] == ["fold 1, Dice 0.5000", "fold 3, Dice 0.5000"]


def test_no_wrong_pixel_is_lost_when_shrunk():
    codes = np.zeros((1198, 1597), np.uint8)  # blocks at two edges are smaller
    extra = {(0, 0), (1197, 1596), (601, 334), (700, 1001)}
    for place in extra:
        codes[place] = outcomes.FALSE_POSITIVE
    codes[300, 200:1000] = outcomes.FALSE_NEGATIVE  # a line of one pixel, 4 of which make one
    whole, half, small = wrong_pixels(codes, 1, 2, 4)
    assert (whole == np.select([codes == outcomes.FALSE_POSITIVE, codes == outcomes.FALSE_NEGATIVE], [1, 2])).all()
    for made, shape, times in ((half, (599, 799), 2), (small, (300, 400), 4)):
        assert made.shape == shape
        assert sorted(map(tuple, np.argwhere(made == 1).tolist())) == sorted((y // times, x // times) for y, x in extra)
        assert np.argwhere(made == 2).tolist() == [[300 // times, x] for x in range(200 // times, 1000 // times)]


def test_of_two_kinds_in_one_pixel_the_more_frequent_is_seen():
    codes = np.ones((960, 960), np.uint8)  # four pixels become one
    codes[0, 0] = outcomes.FALSE_POSITIVE
    codes[0, 1], codes[1, 0] = outcomes.FALSE_NEGATIVE, outcomes.WRONG_CLASS
    codes[0:2, 2] = outcomes.FALSE_POSITIVE
    codes[0, 3] = outcomes.FALSE_NEGATIVE
    codes[4:6, 0:2] = outcomes.NOT_COUNTED
    (small,) = wrong_pixels(codes, 2)
    assert np.argwhere(small == 2).tolist() == [[0, 0]]
    assert np.argwhere(small == 1).tolist() == [[0, 1]]


def test_shares_count_counted_pixels_alone(tmp_path):
    truth = np.full((20, 20), IGNORE, np.uint8)
    truth[:10] = [[0, 1] * 10]  # 200 pixels counted, 100 of them foreground
    predicted = np.zeros_like(truth)
    predicted[:5, 1::2] = 1
    written(tmp_path, predicted, truth=truth, image=np.zeros((1, 20, 20), np.uint8))
    case = only_case(("fcn", [repetition(tmp_path, {"dice": [0.0]})]))
    assert case.truth.alt == "image-0: the truth, 50.0% of pixels foreground, 50.0% not counted"
    assert case.panels[0].prediction.alt == "image-0 by fcn: 25.0% of pixels foreground"
    assert case.panels[0].errors.alt == "image-0 by fcn: 0.0% of pixels false positive, 25.0% missed"


def test_large_images_are_made_smaller_for_many_methods(tmp_path, monkeypatch):
    predicted = np.zeros((1500, 500), np.uint8)
    predicted[750:] = 1
    predicted[0, 0] = 1
    written(tmp_path, predicted, truth=np.zeros_like(predicted), image=np.zeros((1, 1500, 500), np.uint8))
    runs = [(f"m{i}", [repetition(tmp_path, {"dice": [0.0]})]) for i in range(2)]
    assert pixels(only_case(*runs).panels[0].errors).shape == (1500, 500, 4)
    monkeypatch.setattr("lamella.reporting.gallery._PIXELS", 2 * 720**2)
    found = gallery(cohort(*runs), "dice")
    panel = found.cases[0].panels[0]
    assert [(pixels(each).shape[:2], each.size) for each in (panel.prediction, panel.errors, panel.small)] == [
        ((750, 250), (1500, 500)), ((750, 250), (1500, 500)), ((375, 125), (1500, 500)),
    ]  # fmt: skip
    assert len(places(panel.prediction, CYAN)) == 375 * 250  # the single pixel is not most of one
    assert (0, 0) in places(panel.errors, RED)
    assert found.cases[0].size == (1500, 500)
    assert any("2 × 2" in sentence for sentence in found.words)


def without_column(run, folder):
    del run.scores["case"]


def without_file(run, folder):
    (folder / outcomes.error_map_name("0000")).unlink()


def with_half_a_file(run, folder):
    path = folder / outcomes.error_map_name("0000")
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("spoil", [without_column, without_file, with_half_a_file])
def test_a_run_without_pictures_says_so_and_the_others_are_shown(tmp_path, spoil):
    runs = {label: repetition(tmp_path / label, {"dice": [dice]}) for label, dice in (("new", 0.5), ("old", 0.7))}
    for label in runs:
        written(tmp_path / label, TRUTH)
    spoil(runs["old"], tmp_path / "old")
    case = only_case(*((label, [run]) for label, run in runs.items()))
    old, new = case.panels
    assert (old.label, old.text) == ("old", "Dice 0.7000, no picture kept")
    assert (old.prediction, old.errors, old.small) == (None, None, None)
    assert case.image
    assert len(places(case.truth, CYAN)) == len(places(new.prediction, CYAN)) == 400
    assert new.text == "Dice 0.5000"


def test_no_run_has_pictures(tmp_path):
    found = gallery(of_scores(tmp_path, a={"dice": [0.5]}, b={"dice": [0.25]}), "dice")
    (case,) = found.cases
    assert (case.image, case.truth) == (None, None)
    assert [(panel.label, panel.errors) for panel in case.panels] == [("a", None), ("b", None)]
    assert case.text == "mean Dice 0.3750, from 0.2500 (b) to 0.5000 (a)"
