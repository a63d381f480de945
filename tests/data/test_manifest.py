"""Hashes follow names and content alone; the manifest tells every file."""

import shutil

import numpy as np
import pytest
from PIL import Image

from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.datasets.phantom import write_blood, write_em
from lamella.data.manifest import changes, data_sha256, manifest, split_ids, split_sha256
from lamella.data.types import Split
from lamella.errors import DataError
from lamella.splits import published


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_blood(folder / "blood", seed=0, train=4, test=2, height=48, width=64)
    write_em(folder / "em", seed=0, sections=5, size=64)
    return folder


@pytest.fixture
def smears(made, tmp_path):
    return shutil.copytree(made / "blood", tmp_path / "blood")


def files(folder, kind, part="train"):
    return sorted((folder / part / kind).iterdir())


def hashed(folder):
    dataset = blood(root=str(folder))
    return data_sha256(dataset, Store(folder.parent / "cache", dataset.card, 1.0))


def test_a_move_changes_no_hash(smears, tmp_path):
    assert hashed(shutil.copytree(smears, tmp_path / "moved")) == hashed(smears)


@pytest.mark.parametrize("kind", ["original", "mask"])
def test_one_pixel_changes_the_hash(smears, kind):
    before = hashed(smears)
    path = next(p for p in files(smears, kind) if p.suffix == ".png")
    array = np.array(Image.open(path))
    array[0, 0] = 255 - array[0, 0]
    Image.fromarray(array).save(path)
    assert hashed(smears) != before


def test_another_name_changes_the_hash(smears):
    before = hashed(smears)
    for kind in ("original", "mask"):
        path = files(smears, kind)[0]
        path.rename(path.with_stem("other"))
    assert hashed(smears) != before


def test_the_split_hash_follows_the_split(smears):
    samples = blood(root=str(smears)).samples
    a, b = (published(samples, val_fraction=0.5, seed=seed) for seed in (0, 2))
    assert a != b
    assert split_sha256(a) == split_sha256(published(samples, val_fraction=0.5, seed=0)) != split_sha256(b)


def test_the_manifest_tells_every_file(smears):
    dataset = blood(root=str(smears))
    split = published(dataset.samples, val_fraction=0.4, seed=0)
    store = Store(smears.parent / "cache", dataset.card, 1.0)
    rows = manifest(dataset, split, store)
    assert [row["id"] for row in rows] == [s.id for s in dataset.samples]
    roles = {role: [row["id"] for row in rows if row["role"] == role] for role in ("train", "val", "test")}
    assert roles == split_ids(split)
    for row, sample in zip(rows, dataset.samples, strict=True):
        assert row["image"]["file"] == sample.image.path.name
        assert row["mask"]["bytes"] == sample.mask.path.stat().st_size
        assert row["mask"]["sha256"] == store.facts.sha256(sample.mask.path)
        assert row["image"]["pixels"] == store.pixels(sample)
        assert row["group"] == sample.group
    assert str(smears) not in str(rows)  # no machine's paths


def test_pages_and_samples_without_a_part(made, tmp_path):
    dataset = em(root=str(made / "em"))
    samples = tuple(dataset.samples)
    split = Split(samples[:2], samples[2:3], samples[4:])
    rows = manifest(dataset, split, Store(tmp_path, dataset.card, 1.0))
    assert [row["role"] for row in rows] == ["train", "train", "val", "", "test"]
    assert [row["image"]["page"] for row in rows] == [0, 1, 2, 3, 4]
    assert len({row["image"]["sha256"] for row in rows}) == 1
    assert len({row["image"]["pixels"] for row in rows}) == 5
    assert {row["group"] for row in rows} == {"train-volume"}


def test_a_missing_file_is_named(smears):
    dataset = blood(root=str(smears))
    dataset.samples[0].image.path.unlink()
    with pytest.raises(DataError, match=f"{dataset.samples[0].id}.* cannot be read"):
        data_sha256(dataset, Store(smears.parent / "cache", dataset.card, 1.0))


def test_what_changed_is_said_by_the_content_of_files(smears, tmp_path):
    def rows(folder):
        dataset = blood(root=str(folder))
        return manifest(
            dataset, published(dataset.samples, val_fraction=0.5, seed=0), Store(tmp_path / "c", dataset.card, 1)
        )

    before = rows(smears)
    moved = rows(shutil.copytree(smears, tmp_path / "moved"))
    assert not changes(before, moved)
    assert str(changes(before, moved)) == "their files are the same"
    masks, images = files(smears, "mask"), files(smears, "original")
    for path in masks[:2]:
        Image.fromarray(255 - np.array(Image.open(path))).save(path)
    for path in (masks[3], images[3]):
        path.unlink()
    shutil.copy(images[0], images[2])
    after = changes(before, rows(smears))
    assert after.masks == tuple(path.stem for path in masks[:2])
    assert after.removed == (masks[3].stem,)
    assert str(after) == (
        f"2 masks differ ({masks[0].stem}, {masks[1].stem}); 1 image differs ({images[2].stem}); "
        f"1 image is gone ({masks[3].stem})"
    )
    assert str(changes(rows(smears), moved)).endswith(f"1 image is new ({masks[3].stem})")
