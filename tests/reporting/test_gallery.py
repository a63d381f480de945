"""The gallery: which images it shows by hand, and what stays of wrong pixels in its pictures."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lamella.data.types import IGNORE
from lamella.errors import StorageError
from lamella.evaluation import error_maps as outcomes
from lamella.plots import overlays
from lamella.reporting.cohorts import Cohort, Method, SeedRun
from lamella.reporting.gallery import gallery, overlay

RED, YELLOW = overlays.FALSE_POSITIVE, overlays.FALSE_NEGATIVE


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


def cases_of(*given, **options):
    return gallery(*given, **options).groups


def pixels(uri):
    kind, data = uri.split(";base64,")
    assert kind == "data:image/webp"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def places(image, colour):
    return [tuple(place) for place in np.argwhere((image == colour).all(axis=-1)).tolist()]


def shown(groups):
    return {name: [case.id.removeprefix("image-") for case in found] for name, found in groups}


def test_images_by_the_mean_of_all_methods(tmp_path):
    # Means: 0.5 0.1 0.9 0.4 0.6 0.3 0.7 0.2
    first = [0.4, 0.2, 0.8, 0.4, 0.5, 0.6, 0.6, 0.2]
    second = [0.6, 0.0, 1.0, 0.4, 0.7, 0.0, 0.8, 0.2]
    found = cases_of(of_scores(tmp_path, a={"dice": first}, b={"dice": second}), "dice", k=2)
    assert shown(found) == {"worst": ["1", "7"], "typical": ["0", "3"], "best": ["2", "6"]}
    assert [case.heading for _, group in found for case in group] == [
        "worst 1 of 8",
        "worst 2 of 8",
        "typical, place 4 of 8",
        "typical, place 5 of 8",
        "best 1 of 8",
        "best 2 of 8",
    ]


def test_methods_stand_best_first(tmp_path):
    scores = {"a": [0.5, 0.9], "b": [0.8, 0.7], "c": [0.6, 0.7]}  # means 0.7 0.75 0.65
    found = of_scores(tmp_path, **{label: {"dice": s, "boundary/hd95": s} for label, s in scores.items()})
    labels = {
        score: {tuple(panel.label for panel in case.panels) for _, group in cases_of(found, score) for case in group}
        for score in ("dice", "boundary/hd95")
    }
    assert labels == {"dice": {("image", "b", "a", "c")}, "boundary/hd95": {("image", "c", "a", "b")}}


def test_of_errors_the_smallest_is_best_whatever_its_sign(tmp_path):
    scores = {"count/error": [-9.0, 0.0, 4.0], "dice": [0.9, 0.8, 0.7]}
    found = cases_of(of_scores(tmp_path, a=scores), "count/error")
    assert shown(found) == {"worst": ["0"], "typical": ["2"], "best": ["1"]}
    image, method = found[0][1][0].panels
    assert image.text == "mean count error 9"
    assert method.text.startswith("count error −9, ")


@pytest.mark.parametrize("n", range(1, 13))
def test_each_image_at_most_once_and_as_many_as_there_are(tmp_path, n):
    scores = np.random.default_rng(n).permutation(n) / 20
    found = cases_of(of_scores(tmp_path, a={"dice": scores}), "dice", k=3)
    ids = [id_ for _, group in found for id_ in (case.id for case in group)]
    assert len(ids) == len(set(ids)) == min(n, 9)
    assert all(0 < len(group) <= 3 for _, group in found)
    # No typical image is worse than a worst one, or better than a best one.
    by_name = {name: [float(scores[int(i)]) for i in group] for name, group in shown(found).items()}
    kinds = [by_name.get(name, []) for name in ("worst", "typical", "best")]
    assert max(map(len, kinds)) - min(map(len, kinds)) <= 1
    assert [max(some) for some in kinds if some] == sorted(max(some) for some in kinds if some)
    assert by_name.get("worst", []) == sorted(scores)[: len(kinds[0])]
    assert by_name.get("best", []) == sorted(scores)[::-1][: len(kinds[2])]


def test_one_image_is_typical_of_itself(tmp_path):
    assert shown(cases_of(of_scores(tmp_path, a={"dice": [0.5]}), "dice")) == {"typical": ["0"]}


TRUTH = np.zeros((30, 40), np.uint8)
TRUTH[5:25, 10:30] = 1
IMAGE = np.broadcast_to(np.linspace(0, 255, 40).astype(np.uint8), (3, 30, 40))


def written(folder, predicted, n=1, image=IMAGE, truth=TRUTH):
    for i in range(n):
        outcomes.write(folder, f"{i:04d}", image, truth, predicted)


def test_each_method_shows_its_median_run(tmp_path):
    runs = []
    for seed, dice in enumerate([0.2, 0.9, 0.6]):  # the last one is the median
        predicted = TRUTH.copy()
        predicted[0, seed] = 1
        written(tmp_path / str(seed), predicted)
        runs.append(repetition(tmp_path / str(seed), {"dice": [dice]}, seed))
    [(_, (case,))] = cases_of(cohort(("unet", runs)), "dice")
    image, method = case.panels
    assert image.text == "mean Dice 0.5667"
    assert method.text == "Dice 0.6000"
    assert places(pixels(method.uri), RED) == [(0, 2)]
    assert method.alt == "image-0 by unet: 0.1% of pixels false positive, 0.0% missed"  # 1 of 1200


def test_the_picture_comes_first_in_colour(tmp_path):
    image = np.zeros((3, 30, 40), np.uint8)
    image[0] = 200
    written(tmp_path, TRUTH, image=image)
    [(_, (case,))] = cases_of(cohort(("unet", [repetition(tmp_path, {"dice": [1.0]})])), "dice")
    seen = pixels(case.panels[0].uri).astype(int)
    assert seen.shape == (30, 40, 3)
    assert np.abs(seen - [200, 0, 0]).max() <= 8  # two kinds of compression


def test_runs_that_numbered_their_images_otherwise(tmp_path):
    extra = TRUTH.copy()
    extra[0, 0] = 1
    for folder, order in (("a", [extra, TRUTH]), ("b", [TRUTH, extra])):
        for i, predicted in enumerate(order):
            outcomes.write(tmp_path / folder, f"{i:04d}", IMAGE, TRUTH, predicted)
    runs = {label: repetition(tmp_path / label, {"dice": [0.9, 1.0]}) for label in "ab"}
    runs["b"].scores["case"] = ["0001", "0000"]
    found = cases_of(cohort(*((label, [run]) for label, run in runs.items())), "dice")
    assert shown(found) == {"worst": ["0"], "best": ["1"]}
    for (_, (case,)), wrong in zip(found, ([(0, 0)], []), strict=True):
        assert [places(pixels(panel.uri), RED) for panel in case.panels[1:]] == [wrong, wrong]


def test_small_pictures_are_those_of_the_figures():
    truth, predicted = TRUTH.copy(), TRUTH.copy()
    predicted[0, :4] = 1
    predicted[10, 10:14] = 0
    predicted[15, 10:12] = 2
    truth[20:25] = IGNORE
    seen = overlays.visible(IMAGE)
    ours = overlay(seen, outcomes.error_map(truth, predicted))
    theirs = overlays.mistakes(seen, truth, predicted)
    for colour, n in ((RED, 4), (YELLOW, 6)):
        assert places(ours, colour) == places(theirs, colour)
        assert len(places(ours, colour)) == n
    right = truth == predicted
    assert np.abs(ours[right].astype(int) - theirs[right]).max() <= 5  # 16 greys
    assert (ours[right] == ours[right][:, :1]).all()


def test_no_wrong_pixel_is_lost_when_shrunk():
    codes = np.zeros((1200, 1600), np.uint8)
    wrong = {(0, 0), (1199, 1599), (601, 334), (700, 1001)}
    for place in wrong:
        codes[place] = outcomes.FALSE_POSITIVE
    codes[300, 200:1000] = outcomes.FALSE_NEGATIVE  # a line of one pixel, 3 1/3 of which make one
    out = overlay(None, codes)
    assert out.shape == (360, 480, 3)
    assert sorted(places(out, RED)) == sorted((int(0.3 * y), int(0.3 * x)) for y, x in wrong)
    line = places(out, YELLOW)
    assert line == [(90, x) for x in range(60, 300)]
    assert (out == RED).all(axis=-1).sum() + len(line) == (out != out[5, 5]).any(axis=-1).sum()


def test_of_two_kinds_in_one_pixel_the_more_frequent_is_seen():
    codes = np.ones((960, 960), np.uint8)  # four pixels become one
    codes[0, 0] = outcomes.FALSE_POSITIVE
    codes[0, 1], codes[1, 0] = outcomes.FALSE_NEGATIVE, outcomes.WRONG_CLASS
    codes[0:2, 2] = outcomes.FALSE_POSITIVE
    codes[0, 3] = outcomes.FALSE_NEGATIVE
    codes[4:6, 0:2] = outcomes.NOT_COUNTED
    out = overlay(None, codes)
    assert places(out, YELLOW) == [(0, 0)]
    assert places(out, RED) == [(0, 1)]


def test_shares_count_counted_pixels_alone(tmp_path):
    truth = np.full((20, 20), IGNORE, np.uint8)
    truth[:10] = [[0, 1] * 10]  # 200 pixels counted, 100 of them foreground
    predicted = np.zeros_like(truth)
    predicted[:5, 1::2] = 2
    written(tmp_path, predicted, truth=truth, image=np.zeros((1, 20, 20), np.uint8))
    [(_, (case,))] = cases_of(cohort(("fcn", [repetition(tmp_path, {"dice": [0.0]})])), "dice")
    assert case.panels[1].alt == "image-0 by fcn: 0.0% of pixels false positive, 50.0% missed or confused"


def test_pictures_are_at_most_480_and_their_wrong_pixels_in_exact_colours(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1, 700, 300), dtype=np.uint8)
    truth = np.zeros((700, 300), np.uint8)
    predicted = truth.copy()
    predicted[350, 150] = 1
    written(tmp_path, predicted, image=noise, truth=truth)
    [(_, (case,))] = cases_of(cohort(("unet", [repetition(tmp_path, {"dice": [0.0]})])), "dice")
    assert [pixels(panel.uri).shape for panel in case.panels] == [(480, 206, 3)] * 2
    assert places(pixels(case.panels[1].uri), RED) == [(240, 103)]


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
    [(_, (case,))] = cases_of(cohort(*((label, [run]) for label, run in runs.items())), "dice")
    image, old, new = case.panels
    assert pixels(image.uri).shape == pixels(new.uri).shape == (30, 40, 3)
    assert (old.label, old.text, old.alt) == ("old", "Dice 0.7000, no picture kept", "image-0 by old: no picture kept")
    kind, data = old.uri.split(";base64,")
    assert kind == "data:image/svg+xml"
    svg = base64.b64decode(data).decode()
    assert 'width="40" height="30"' in svg  # so that the row keeps its height
    assert "no picture kept" in svg
    assert new.text == "Dice 0.5000"


def test_no_run_has_pictures(tmp_path):
    [(_, (case,))] = cases_of(of_scores(tmp_path, a={"dice": [0.5]}, b={"dice": [0.25]}), "dice")
    assert [panel.label for panel in case.panels] == ["image", "a", "b"]
    assert all(panel.uri.startswith("data:image/svg+xml;base64,") for panel in case.panels)
    assert all("no picture kept" in panel.alt for panel in case.panels)
    assert case.panels[0].text == "mean Dice 0.3750"
