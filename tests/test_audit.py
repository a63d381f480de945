"""Sound samples pass, every unsound file is named, and hashes follow content alone."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.data.audit import audit, data_sha256, manifest, split_ids, split_sha256
from lamella.data.blood import blood
from lamella.data.em import em
from lamella.data.phantom import write_blood, write_em
from lamella.data.split import blocks, published
from lamella.data.store import Store
from lamella.errors import DataError, StorageError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small phantom of each kind, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    write_blood(folder / "blood", seed=0, train=4, test=2, height=48, width=64)
    write_em(folder / "em", seed=0, sections=5, size=64)
    return folder


@pytest.fixture
def smears(made, tmp_path):
    return shutil.copytree(made / "blood", tmp_path / "blood")


@pytest.fixture
def sections(made, tmp_path):
    return shutil.copytree(made / "em", tmp_path / "em")


def audited(folder, scale=1.0):
    dataset = blood(root=str(folder))
    audit(dataset, Store(folder.parent / "cache", dataset.card, scale))
    return dataset


def files(folder, kind, part="train"):
    return sorted((folder / part / kind).iterdir())


def change(path, function):
    with Image.open(path) as picture:
        changed = Image.fromarray(function(np.array(picture)))
    changed.save(path)


def paint(value, count=5):
    def painted(array):
        array[0, :count] = value
        return array

    return painted


# --- sound -----------------------------------------------------------------------------------------------


def test_phantoms_are_sound(smears, sections, tmp_path):
    dataset = blood(root=str(smears))
    told = []
    audit(dataset, Store(tmp_path / "cache", dataset.card, 0.5), lambda done, total: told.append((done, total)))
    assert told == [(i, 6) for i in range(1, 7)]
    dataset = em(root=str(sections))
    audit(dataset, Store(tmp_path / "cache", dataset.card, 1.0))
    assert [s.id for s in dataset.samples] == [f"section-{i:03d}" for i in range(5)]


# --- unsound ---------------------------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


FAULTS = {
    "truncated image": ("original", cut, "cannot be read as an image"),
    "truncated mask": ("mask", cut, "cannot be read as an image"),
    "resized mask": ("mask", lambda p: change(p, lambda a: a[::2, ::2]), "is 32x24 pixels, its image"),
    "mask a pixel too small": ("mask", lambda p: change(p, lambda a: a[:-1]), "is 64x47 pixels, its image"),
    "stray value": ("mask", lambda p: change(p, paint(3)), r"holds unexpected values: 3 \(5 px\)"),
    "coloured mask": ("mask", lambda p: change(p, paint((255, 0, 0))), "is coloured"),
    "grey image": ("original", lambda p: change(p, lambda a: a[..., 0]), r"has 1 channel\(s\), the data set has 3"),
    "text": ("original", lambda p: p.write_text("no picture"), "cannot be read as an image"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_one_fault_is_named(smears, fault, scale):
    kind, spoil, message = FAULTS[fault]
    path = files(smears, kind)[1]
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        audited(smears, scale)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_a_compressed_mask_is_named(smears):
    path = files(smears, "mask")[0]
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=60)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.stem}.jpg is a JPEG"):
        audited(smears)


def test_all_faults_are_named_at_once(smears):
    spoilt = [files(smears, "original")[0], files(smears, "mask")[0], files(smears, "mask", "test")[1]]
    for path in spoilt[:2]:
        cut(path)
    change(spoilt[2], paint(9))
    with pytest.raises(DataError, match="3 faults in 6 samples") as caught:
        audited(smears)
    assert all(str(path) in caught.value.remedy for path in spoilt)


def test_of_many_faults_ten_are_shown(smears):
    for part in ("train", "test"):
        for kind in ("original", "mask"):
            for path in files(smears, kind, part):
                cut(path)
    with pytest.raises(DataError, match="12 faults in 6 samples") as caught:
        audited(smears)
    assert caught.value.remedy.count("cannot be read") == 10
    assert caught.value.remedy.endswith("and 2 more")


def test_a_mask_too_few(smears):
    path = files(smears, "mask")[2]
    path.unlink()
    with pytest.raises(DataError, match=f"{path.stem}.* without a mask in"):
        audited(smears)


def test_one_image_only(smears):
    for kind in ("original", "mask"):
        for path in files(smears, kind)[1:]:
            path.unlink()
    dataset = audited(smears)
    with pytest.raises(DataError, match=r"1 training and 2 test image\(s\) are too few"):
        published(dataset.samples, val_fraction=0.2, seed=0)


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_data(smears):
    (smears.parent / "cache").write_text("in the way")
    with pytest.raises(StorageError, match="cache"):
        audited(smears)


# --- EM --------------------------------------------------------------------------------------------------


def test_em_membrane_is_class_1(sections, tmp_path):
    dataset = em(root=str(sections))
    stored = tifffile.imread(sections / "train-labels.tif")
    for page, sample in enumerate(dataset.samples):
        truth = Store(tmp_path / "cache", dataset.card, 1.0).truth(sample)
        assert np.array_equal(truth == 1, stored[page] == 0)


def test_em_files_that_do_not_fit(sections):
    labels = sections / "train-labels.tif"
    tifffile.imwrite(labels, tifffile.imread(labels)[:4], photometric="minisblack")
    with pytest.raises(DataError, match=r"has 5 pages, .*train-labels\.tif has 4"):
        em(root=str(sections))


def test_em_cut_off(sections):
    volume = sections / "train-volume.tif"
    volume.write_bytes(volume.read_bytes()[: -volume.stat().st_size // 3])
    with pytest.raises(DataError, match=r"train-volume\.tif cannot be read"):
        em(root=str(sections))


def test_em_missing(sections, tmp_path):
    with pytest.raises(DataError, match="is not at") as caught:
        em(root=str(tmp_path / "nowhere"))
    assert "dataset=phantom_em" in caught.value.remedy
    (sections / "train-labels.tif").unlink()
    with pytest.raises(DataError, match=r"train-labels\.tif is missing"):
        em(root=str(sections))


# --- hashes ----------------------------------------------------------------------------------------------


def hashed(folder):
    dataset = blood(root=str(folder))
    return data_sha256(dataset, Store(folder / "cache", dataset.card, 1.0))


def test_a_move_changes_no_hash(smears, tmp_path):
    assert hashed(shutil.copytree(smears, tmp_path / "moved")) == hashed(smears)


@pytest.mark.parametrize("kind", ["original", "mask"])
def test_one_pixel_changes_the_hash(smears, kind):
    def one_pixel(array):
        array[0, 0] = 255 - array[0, 0]
        return array

    before = hashed(smears)
    path = next(p for p in files(smears, kind) if p.suffix == ".png")
    change(path, one_pixel)
    assert hashed(smears) != before


def test_another_name_changes_the_hash(smears):
    before = hashed(smears)
    for kind in ("original", "mask"):
        path = files(smears, kind)[0]
        path.rename(path.with_stem("other"))
    assert hashed(smears) != before


def test_the_split_hash_follows_the_split(smears, sections):
    samples = blood(root=str(smears)).samples
    a, b = (published(samples, val_fraction=0.5, seed=seed) for seed in (0, 2))
    assert a != b
    assert split_sha256(a) == split_sha256(published(samples, val_fraction=0.5, seed=0)) != split_sha256(b)
    split = blocks(em(root=str(sections)).samples, val=1, test=2)
    assert split_ids(split)["test"] == ["section-003", "section-004"]


def test_the_manifest_tells_every_file(smears):
    dataset = blood(root=str(smears))
    split = published(dataset.samples, val_fraction=0.4, seed=0)
    rows = manifest(dataset, split)
    assert [row["id"] for row in rows] == [s.id for s in dataset.samples]
    roles = {role: [row["id"] for row in rows if row["role"] == role] for role in ("train", "val", "test")}
    assert roles == split_ids(split)
    for row, sample in zip(rows, dataset.samples, strict=True):
        assert row["image"]["file"] == sample.image.path.name
        assert row["mask"]["bytes"] == sample.mask.path.stat().st_size
        assert len(row["image"]["sha256"]) == 64
        assert row["group"] == sample.group
    assert str(smears) not in str(rows)  # no machine's paths
