"""What a data set was taken for, in words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamella.commands.understood import rule_of, understood
from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.types import Dataset, DatasetCard, ImageRef, Labelling, Sample, Split
from support.audit_pages import audited


def samples(count, **changes):
    ref = ImageRef(Path(__file__))
    return [replace(Sample(str(n), ref, ref, str(n)), **changes) for n in range(count)]


def test_it_tells_what_is_there(tmp_path):
    report = audited(tmp_path)
    lines = understood(report, "by hand").splitlines()
    assert lines[0] == "images   9 from 9 files"
    assert lines[1] == "         80 x 60 pixels; 1 channel of 8 bits; pixel size unknown"
    shares = {id_: sum(one.stats.classes.get(id_, 0) for one in report.looked) / (9 * 4800) for id_ in (0, 1, 255)}
    assert lines[2] == f"classes  ground   {shares[0]:5.1%} of the pixels, in 9 images".replace("%", " %")
    assert lines[3] == f"         cell     {shares[1]:5.1%} of the pixels, in 8 images".replace("%", " %")
    assert lines[4] == "         other     0.0 % of the pixels, in 0 images"
    assert lines[5] == f"         ignored  {shares[255]:5.1%} of the pixels, in 9 images".replace("%", " %")
    assert lines[6] == "split    train 4, validation 3, test 2 (by hand)"
    assert len(lines) == 7


def test_objects_and_sizes(tmp_path):
    found = []
    for number, side in enumerate((20, 30)):
        ids = np.zeros((side, 40), np.uint16)
        for k in range(number + 2):
            ids[2:9, 2 + 10 * k : 8 + 10 * k] = k + 1
        refs = [ImageRef(tmp_path / f"{kind}{number}.png") for kind in "im"]
        Image.fromarray(ids * 1000).save(refs[0].path)
        Image.fromarray(ids).save(refs[1].path)
        found.append(Sample(str(number), *refs, str(number)))
    card = DatasetCard(
        *("toy", "toy", ("ground", "cell"), {0: 0}, 1, "made here"),
        spacing_nm=(250, 325),
        labelling=Labelling("values"),
    )
    report = audit(Dataset(card, found), Split((found[0],), (), ()), Store(tmp_path / "cache", card, 0.5))
    lines = understood(report, "drawn").splitlines()
    assert lines[1] == (
        "         1 of 40 x 20, 1 of 40 x 30 pixels; 1 channel of 16 bits; 325 x 250 nm a pixel; "
        "scaled by 0.5 for the network"
    )
    assert lines[-2] == "objects  2.5 an image (median; 2 to 3), 5 in all; as the masks tell them apart"
    assert lines[-1] == "split    train 1, unused 1 (drawn)"


FOUND = {"val": 0.15, "test": 0.2, "seed": 0}


@pytest.mark.parametrize(
    ("name", "arguments", "changes", "words"),
    [
        ("hashed", {"seed": 3}, {}, "hashed: images drawn by name and seed 3"),
        ("hashed", {"seed": 3}, {"group": "a"}, "hashed: whole groups drawn by name and seed 3"),
        ("found", FOUND, {}, "hashed: images drawn by name and seed 0"),
        ("found", FOUND, {"part": "train"}, "as published; for validation images drawn by name and seed 0"),
        ("found", FOUND, {"part": "val"}, "as published"),
        ("found", FOUND, {"stack": "s", "group": "s"}, "blocks of neighbouring sections, without a gap"),
        ("blocks", {"gap": 2}, {}, "blocks of neighbouring sections, 2 left out between two"),
        ("file", {"path": "[red]a.json"}, {}, "as [red]a.json says"),
        ("hashed_folds", {"fold": 1, "folds": 5, "seed": 0}, {}, "fold 1 of 5: images drawn by name and seed 0"),
    ],
)
def test_the_rule_of_a_split(name, arguments, changes, words):
    assert rule_of(f"lamella.splits.{name}", arguments, samples(3, **changes)) == words


def test_the_rule_of_stacks_that_are_found():
    several = samples(20, stack="s", group="s")
    assert rule_of("lamella.splits.found", FOUND, several) == "blocks of neighbouring sections, 1 left out between two"
    published = [replace(s, part="test" if n > 14 else "train") for n, s in enumerate(several)]
    words = "as published; for validation the end of the stack that trains"
    assert rule_of("lamella.splits.found", FOUND, published) == words


def test_what_was_found_rather_than_said_is_told(tmp_path):
    report = audited(tmp_path)
    notes = ("passed over 2 files", "taken as one stack")
    told = replace(report, dataset=replace(report.dataset, card=replace(report.dataset.card, notes=notes)))
    assert understood(told, "drawn").splitlines()[-2:] == [
        "found    passed over 2 files",
        "         taken as one stack",
    ]
