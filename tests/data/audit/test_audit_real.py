"""The audit on real images: sound ones raise no error, faults planted in copies are found and named."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.data.audit.audit import audit
from lamella.data.audit.registration import label_offset
from lamella.data.audit.sample_stats import sample_stats
from lamella.data.audit.similarity import twins
from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.io.read import pages
from lamella.data.types import ImageRef, Sample, Split
from lamella.splits import blocks, published


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What is decoded once is not decoded again, as the copies' files are the same."""
    return tmp_path_factory.mktemp("cache")


def report_on(folder, cache, kind, split=None):
    """The report on a folder in one of the two published layouts."""
    if kind == "em":
        dataset = em(root=str(folder))
        split = split or blocks(dataset.samples, val=4, test=6, gap=0)
        return audit(dataset, split, Store(cache, dataset.card, 1.0))
    dataset = blood(root=str(folder))
    return audit(dataset, published(dataset.samples, val_fraction=0.15, seed=7), Store(cache, dataset.card, 0.25))


def errors(report):
    return [(f.kind, f.samples) for f in report.errors]


# --- as they are -----------------------------------------------------------------------------------------


def test_blood_has_no_faults(lamella_data, cache):
    report = report_on(lamella_data / "blood", cache, "blood")
    assert len(report.looked) == len(report.dataset.samples) >= 60
    assert report.findings == ()
    assert not report.offset.beyond(0.25)


def test_em_has_no_faults_but_borders_and_an_offset(lamella_data, cache):
    report = report_on(lamella_data / "em", cache, "em")
    assert report.errors == ()
    assert [f.kind for f in report.warnings] == ["border", "offset"]
    assert "pages 19 and 20 (train and val), 23 and 24 (val and test)" in report.warnings[0].message
    assert "px above" in report.warnings[1].message
    assert "px to the left" in report.warnings[1].message


def test_em_labels_lie_up_and_left(lamella_data, cache):
    dataset = em(root=str(lamella_data / "em"))

    def measured(moved):
        store = Store(cache, dataset.card, 1.0, moved)
        return label_offset([sample_stats(sample, store) for sample in dataset.samples], store.scale)

    found = measured((0.0, 0.0))
    assert (found.down, found.right) == pytest.approx((-0.6, -0.17), abs=0.06)
    assert max(found.down_error, found.right_error) < 0.03
    corrected = measured((-0.62, -0.21))
    assert (corrected.down, corrected.right) == pytest.approx((0, 0), abs=0.08)


def test_no_section_of_either_em_volume_is_a_copy(lamella_data, cache):
    dataset = em(root=str(lamella_data / "em"))
    unlabelled = lamella_data / "em" / "test-volume.tif"
    others = [
        Sample(f"test-{page}", ImageRef(unlabelled, page), dataset.samples[0].mask, "test")
        for page in range(pages(unlabelled))
    ]
    assert len(others) == 30
    store = Store(cache, dataset.card, 1.0)
    assert twins([sample_stats(sample, store) for sample in (*dataset.samples, *others)]) == []


# --- blood, with a fault ---------------------------------------------------------------------------------


@pytest.fixture
def smears(lamella_data, tmp_path):
    """18 train and 6 test pairs, copied."""
    for part, count in (("train", 18), ("test", 6)):
        for kind in ("original", "mask"):
            (tmp_path / "blood" / part / kind).mkdir(parents=True)
        images = {path.stem: path for path in (lamella_data / "blood" / part / "original").iterdir()}
        for mask in sorted((lamella_data / "blood" / part / "mask").iterdir())[:count]:
            shutil.copy(mask, tmp_path / "blood" / part / "mask")
            shutil.copy(images[mask.stem], tmp_path / "blood" / part / "original")
    return tmp_path / "blood"


def files(folder, kind, part="train"):
    return sorted((folder / part / kind).iterdir())


def change(path, function):
    with Image.open(path) as picture:
        changed = Image.fromarray(function(np.array(picture)))
    changed.save(path)


def named(report, *paths):
    """The one error there is names all of these files."""
    (error,) = report.errors
    assert all(str(path) in error.message for path in paths)
    return error.kind


def test_a_swapped_pair(smears, cache):
    first, second = files(smears, "mask")[2], files(smears, "mask")[11]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    report = report_on(smears, cache, "blood")
    assert named(report, first, second, files(smears, "original")[2], files(smears, "original")[11]) == "swapped"


@pytest.mark.parametrize("how", ["as it is", "compressed anew", "half as large and mirrored"])
def test_a_picture_in_both_parts(smears, cache, how):
    image, mask = files(smears, "original")[4], files(smears, "mask")[4]
    copy, copied = smears / "test" / "original" / f"copy{image.suffix}", smears / "test" / "mask" / "copy.png"
    shutil.copy(image, copy)
    shutil.copy(mask, copied)
    if how == "compressed anew":
        copy.unlink()
        copy = copy.with_suffix(".jpg")
        Image.open(image).convert("RGB").save(copy, quality=60)
    elif how != "as it is":
        for path in (copy, copied):
            change(path, lambda a: np.ascontiguousarray(a[::2, ::-2]))
    report = report_on(smears, cache, "blood")
    assert named(report, image, copy) == "leak"
    assert ("to the pixel" in report.errors[0].message) == (how == "as it is")


def test_a_resized_mask(smears, cache):
    path = files(smears, "mask")[5]
    change(path, lambda a: a[::2, ::2])
    assert named(report_on(smears, cache, "blood"), path, files(smears, "original")[5]) == "size"


def test_a_compressed_mask(smears, cache):
    path = files(smears, "mask")[6]
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=90)
    path.unlink()
    report = report_on(smears, cache, "blood")
    assert named(report, path.with_suffix(".jpg")) == "unreadable"
    assert "JPEG" in report.errors[0].message


def test_a_mask_that_was_compressed_once(smears, cache):
    path = files(smears, "mask")[6]
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=90)
    Image.open(path.with_suffix(".jpg")).save(path)
    path.with_suffix(".jpg").unlink()
    report = report_on(smears, cache, "blood")
    assert named(report, path) == "unreadable"
    assert "JPEG compression" in report.errors[0].remedy


def test_an_inverted_mask(smears, cache):
    path = files(smears, "mask")[7]
    change(path, lambda a: 255 - a)
    assert named(report_on(smears, cache, "blood"), path) == "inverted"


@pytest.mark.parametrize("kind", ["original", "mask"])
def test_a_truncated_file(smears, cache, kind):
    path = files(smears, kind)[8]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert named(report_on(smears, cache, "blood"), path) == "unreadable"


def test_a_stray_value(smears, cache):
    path = files(smears, "mask")[9]

    def stray(array):
        array[100, 50] = 254
        return array

    change(path, stray)
    report = report_on(smears, cache, "blood")
    assert named(report, path) == "unreadable"
    assert "254 (1 px)" in report.errors[0].message


# --- EM, with a fault ------------------------------------------------------------------------------------


def planted(lamella_data, folder, plant):
    """Both files, after `plant(volume, labels)` has changed them in place."""
    names = ("train-volume.tif", "train-labels.tif")
    volume, labels = (tifffile.imread(lamella_data / "em" / name) for name in names)
    plant(volume, labels)
    for name, stack in zip(names, (volume, labels), strict=True):
        tifffile.imwrite(folder / name, stack, photometric="minisblack")
    return folder


@pytest.mark.parametrize("swapped", [(3, 17), (12, 13)], ids=["far apart", "neighbours"])
def test_swapped_sections(lamella_data, tmp_path, swapped):
    def plant(volume, labels):
        labels[list(swapped)] = labels[list(swapped)[::-1]]

    report = report_on(planted(lamella_data, tmp_path, plant), tmp_path / "cache", "em")
    assert errors(report) == [("swapped", tuple(f"section-{page:03d}" for page in swapped))]
    assert all(f"{name}.tif (page {page})" in report.errors[0].message
               for page in swapped for name in ("train-volume", "train-labels"))  # fmt: skip


def test_an_inverted_section_and_a_copied_one(lamella_data, tmp_path):
    def plant(volume, labels):
        labels[8] = 255 - labels[8]
        volume[27], labels[27] = volume[2], labels[2]

    report = report_on(planted(lamella_data, tmp_path, plant), tmp_path / "cache", "em")
    assert errors(report) == [("inverted", ("section-008",)), ("leak", ("section-002", "section-027"))]


def test_a_stray_value_in_a_section(lamella_data, tmp_path):
    def plant(volume, labels):
        labels[5, 40, 40:44] = 128

    report = report_on(planted(lamella_data, tmp_path, plant), tmp_path / "cache", "em")
    assert errors(report) == [("unreadable", ("section-005",))]
    assert "train-labels.tif (page 5)" in report.errors[0].message
    assert "128 (4 px)" in report.errors[0].message


def test_sections_picked_for_test(lamella_data, cache):
    samples = em(root=str(lamella_data / "em")).samples
    test = [5, *range(24, 30)]
    split = Split(
        tuple(s for page, s in enumerate(samples[:20]) if page not in test),
        tuple(samples[20:24]),
        tuple(samples[page] for page in test),
    )
    report = report_on(lamella_data / "em", cache, "em", split)
    assert errors(report) == [("neighbours", ("section-004", "section-005", "section-006"))]
    assert "4 and 5 (train and test), 5 and 6 (test and train)" in report.errors[0].message
