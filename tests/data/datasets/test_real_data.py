"""The published data, where LAMELLA_DATA names a folder that holds it."""

import os
from pathlib import Path

import hydra
import numpy as np
import pytest

from lamella.cli import main as cli
from lamella.config.check import build, check
from lamella.config.paths import CHECKOUT
from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em

ROOT = Path(os.environ.get("LAMELLA_DATA", "data"))


def where(name):
    if not (ROOT / name).is_dir():
        pytest.skip(f"no {name}/ in the folder that LAMELLA_DATA names")
    return str(ROOT / name)


def composed(name):
    """The configuration that users get."""
    cli.register()
    with hydra.initialize_config_dir(str(CHECKOUT / "conf"), version_base="1.3"):
        return check(hydra.compose("train", [f"dataset={name}"])).dataset


def default_split(name, dataset):
    return build(composed(name).split, dataset.samples)


def share(store, samples):
    """Mean over images of the share of foreground."""
    return np.mean([np.mean(store.truth(s) == 1) for s in samples])


def test_em(tmp_path):
    dataset = em(root=where("em"))
    store = Store(tmp_path, dataset.card, 1.0)
    split = default_split("em", dataset)
    report = audit(dataset, split, store)
    assert not report.errors
    # What conf/ says of this set was measured on the sections that train.
    assert report.offset is not None
    assert (report.offset.down, report.offset.right) == pytest.approx(tuple(composed("em").offset), abs=0.05)
    assert "offset" in [warning.kind for warning in report.warnings]  # this store does not move the images
    assert len(dataset.samples) == 30
    assert {store.image(s).shape for s in dataset.samples} == {(1, 512, 512)}
    assert share(store, dataset.samples) == pytest.approx(0.22, abs=0.005)  # membrane, not interior
    sections = {name: [s.image.page for s in part] for name, part in split.parts.items()}
    assert sections == {"train": list(range(20)), "val": [20, 21, 22, 23], "test": [24, 25, 26, 27, 28, 29]}


def test_blood(tmp_path):
    dataset = blood(root=where("blood"))
    if len(dataset.samples) != 60:
        pytest.skip(f"{len(dataset.samples)} pairs, not the 60 that this test knows")
    store = Store(tmp_path, dataset.card, 0.25)
    split = default_split("blood", dataset)
    assert not audit(dataset, split, store).errors
    assert [sum(s.part == part for s in dataset.samples) for part in ("train", "test")] == [48, 12]
    sizes = [store.truth(s).shape for s in dataset.samples]
    assert [sizes.count(size) for size in ((1200, 1600), (1383, 1944))] == [54, 6]
    # The JPEGs that a glob for PNG would lose.
    assert sorted(s.image.path.suffix for s in dataset.samples) == [".jpg"] * 6 + [".png"] * 54
    assert {store.image(s).shape for s in dataset.samples} == {(3, 300, 400), (3, 346, 486)}
    # Counted by hand over these 60; the 29.4 % that is told of this set must be of all 1,328.
    assert share(store, dataset.samples) == pytest.approx(0.2786, abs=0.0001)
    assert {s.part for s in split.test} == {"test"}
    assert len(split.test) == 12
    assert 4 <= len(split.val) <= 11  # 15 % of 48, give or take the draw
    # Shrunk masks keep the share.
    shrunk = np.mean([np.mean(store.mask(s) == 1) for s in dataset.samples])
    assert shrunk == pytest.approx(0.2786, abs=0.002)
