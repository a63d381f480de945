"""Labels reviewed by runs over all folds: planted faults come first, and nobody judges what it has seen."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from lamella import tracking
from lamella.commands import review, train
from lamella.errors import ConfigError, DataError
from support import processes
from support.html import Html, can_be_heard, links_lead_somewhere, needs_nothing_else

SQUARE, GRID = 24, 60
FAULTS = {  # image, place in the grid -> kind
    ("a0", (0, 0)): "missing",
    ("a1", (1, 1)): "extra",
    ("a2", (0, 1)): "shifted",
    ("a3", (1, 0)): "merged",
    ("a4", (0, 2)): "missing",
}


def drawn(folder):
    """Six pictures of dark squares in a grid, one place of it empty, and masks with a fault in five of them."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(6):
        name, rng = f"a{number}", np.random.default_rng(number)
        shade = ndimage.gaussian_filter(rng.standard_normal((2 * GRID, 3 * GRID)), 12) * 400
        truth = np.zeros((2 * GRID, 3 * GRID), np.uint8)
        for row, column in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]:
            truth[block(row, column)] = 255
        if name == "a3":  # what will be merged
            truth[block(1, 0, right=30)] = 255
        image = (190 - truth * 0.6 + shade + rng.normal(0, 6, truth.shape)).clip(0, 255).astype(np.uint8)
        label = truth.copy()
        for (of, place), kind in FAULTS.items():
            if of == name:
                damage(label, kind, *place)
        Image.fromarray(image).save(folder / f"images/{name}.png")
        Image.fromarray(label).save(folder / f"masks/{name}.png")
    return "dataset=folder", f"dataset.images={folder}/images", f"dataset.masks={folder}/masks"


def block(row, column, *, down=0, right=0):
    top, left = row * GRID + 10 + down, column * GRID + 4 + right
    return slice(top, top + SQUARE), slice(left, left + SQUARE)


def damage(label, kind, row, column):
    there = block(row, column)
    if kind == "missing":
        label[there] = 0
    elif kind == "extra":
        label[there] = 255
    elif kind == "shifted":
        label[there] = 0
        label[block(row, column, down=8)] = 255
    else:
        top, left = there[0].start, there[1].stop
        label[top + 4 : top + 20, left : left + 30 - SQUARE] = 255


FOLDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("labels")


@pytest.fixture(scope="module")
def folds(root, composed, folder):
    """Otsu's method on every fold: what it finds is sure."""
    return trained(composed, drawn(folder), "labels")


def trained(composed, dataset, experiment):
    asked = [
        *dataset,
        "augment=none",
        "model=otsu",
        "trainer=cpu",
        "trainer.precision=32-true",
        "tracking.figures=0",
        "dataset.allow=[leak]",
        "dataset.serial=false",
    ]
    asked += [f"tracking.experiment={experiment}", "dataset.split.folds=3", "dataset/split=hashed_folds"]
    for fold in range(FOLDS):
        configured = composed("train", *asked, f"dataset.split.fold={fold}", "dataset.split.seed=1")
        train.run(configured)
    return tracking.finished(configured.tracking.uri, experiment=experiment)


def reviewed(composed, *overrides):
    """The folder of a review."""
    configured = composed("review", *overrides)
    before = {*Path(configured.paths.output).glob("review-*")}
    review.run(configured)
    (made,) = {*Path(configured.paths.output).glob("review-*")} - before
    return made


def test_planted_faults_come_first_each_with_its_kind_and_place(folds, composed, capsys):
    made = reviewed(composed, "experiment=labels")
    said = capsys.readouterr().out
    table = pd.read_csv(made / "objects.csv")
    first = table.head(len(FAULTS))
    assert {(row.id, row.kind) for row in first.itertuples()} == {(of, kind) for (of, _), kind in FAULTS.items()}
    for row in first.itertuples():
        (place,) = [place for (of, place), kind in FAULTS.items() if of == row.id]
        rows, columns = block(*place)
        assert rows.start - 9 <= row.y <= rows.stop + 9
        assert columns.start - 9 <= row.x <= columns.stop + 9
        assert row.mask.endswith(f"masks/{row.id}.png")
        assert row.mask in said
    assert (first.score > 5 * (table.score[len(FAULTS) :].max() if len(table) > len(FAULTS) else 0)).all()
    sure = {row.kind: row.score for row in first.itertuples()}  # pixels of 24 x 24
    wrong = {"missing": 24 * 24, "extra": 24 * 24, "shifted": 2 * 8 * 24, "merged": 6 * 16}
    assert sure == pytest.approx({kind: pixels / 24**2 for kind, pixels in wrong.items()}, abs=0.03)
    images = pd.read_csv(made / "images.csv")
    assert {*images.id.head(5)} == {of for of, _ in FAULTS}
    assert images.disagreement.iloc[5] < 0.05
    judges = {run.run_id: json.loads(run.fetch("data/split.json").read_text())["test"] for run in folds}
    for row in images.itertuples():
        assert row.id in judges[row.runs]


def test_the_page_is_whole_and_shows_the_most_doubtful(folds, composed):
    made = reviewed(composed, f"runs=[{','.join(run.run_id for run in folds)}]", "cases=3")
    text = (made / "review.html").read_text()
    needs_nothing_else(text)
    links_lead_somewhere(text)
    can_be_heard(text)
    page = Html(text)
    assert len(page.all("img")) == 6
    assert "the label lacks an object that the network sees (2 of those shown)" in page.text
    assert page.row("a4")[1:3] == ["1.00", "1"]


def test_images_that_nobody_judged_are_told(folds, composed, capsys):
    made = reviewed(composed, f"runs=[{folds[0].run_id}]")
    left = {id_ for run in folds[1:] for id_ in json.loads(run.fetch("data/split.json").read_text())["test"]}
    said = f"{len(left)} of 6 images are not reviewed, as no run was tested on them: "
    assert f"warning: {said}" in capsys.readouterr().out
    assert said in Html((made / "review.html").read_text()).text
    assert not left & {*pd.read_csv(made / "images.csv").id}


def test_masks_that_changed_since_are_named_and_runs_of_unlike_data_refused(folds, composed, folder, capsys, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    mask = folder / "masks/a0.png"
    mended = np.array(Image.open(mask))
    mended[block(0, 0)] = 255
    try:
        Image.fromarray(mended).save(mask)
        made = reviewed(composed, "experiment=labels")
        assert "files have changed: 1 mask differs (a0)" in capsys.readouterr().out
        table = pd.read_csv(made / "objects.csv")
        assert "a0" not in {*table[table.score > 0.1].id}
        dataset = ("dataset=folder", f"dataset.images={folder}/images", f"dataset.masks={folder}/masks")
        again = trained(composed, dataset, "mended")
        with pytest.raises(DataError) as caught:
            review.run(composed("review", f"runs=[{folds[0].run_id},{again[0].run_id}]"))
        assert caught.value.problem.endswith("is of other data than " + folds[0].run_id + ": 1 mask differs (a0)")
    finally:
        shutil.copy(tmp_path / "old/masks/a0.png", mask)


def test_a_network_that_learned_from_an_image_may_not_judge_it(folds):
    rows = json.loads(folds[0].fetch("data/manifest.json").read_text())
    tested, seen = (next(row for row in rows if row["role"] == role) for role in ("test", "train"))
    tested["image"]["pixels"] = seen["image"]["pixels"]

    def fetch(name):
        place = folds[0].fetch(name)
        if name == "data/manifest.json":
            place = place.with_name("twin.json")
            place.write_text(json.dumps(rows))
        return place

    twin = dataclasses.replace(folds[0])
    object.__setattr__(twin, "fetch", fetch)
    with pytest.raises(
        DataError, match=f"would judge {tested['id']}, but its network learned from it, as {seen['id']}"
    ):
        review._judged([twin])


def test_what_has_no_network_is_refused(folds, composed):
    with pytest.raises(ConfigError, match="whose test images are reviewed is not said"):
        review.run(composed("review"))


@pytest.mark.slow
def test_planted_faults_in_masks_of_real_cells_are_found(lamella_data):
    """Small networks, a hundred steps a fold: most of 20 faults are among the first 40 of all objects."""
    tool = Path(__file__).parents[2] / "tools" / "measure_review.py"
    done = processes.run(tool, f"--data={lamella_data}", cwd=tool.parents[1])
    assert done.returncode == 0, done.stderr
    told = re.search(r"^(\d+) of 20 faults among the first 40 of", done.stdout, re.MULTILINE)
    assert told
    assert int(told[1]) >= 14
