"""The page: whole in one file, every finding on it, no markup out of file names."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lamella.data.audit.audit import audit
from lamella.data.audit.page import write_page
from lamella.data.audit.pictures import class_colours
from lamella.data.cache.arrays import Store
from lamella.data.types import Dataset, DatasetCard, ImageRef, Labelling, Sample, Split
from lamella.errors import StorageError
from support.audit_pages import audited
from support.html import Html, can_be_heard, links_lead_somewhere, needs_nothing_else

EVIL = "<script>alert('a')</script>&\"b\""


def written(report, path):
    write_page(report, path)
    return path.read_text()


def test_it_needs_nothing_else(tmp_path):
    text = written(audited(tmp_path), tmp_path / "new" / "audit.html")
    needs_nothing_else(text)
    assert "://" not in text
    html = Html(text)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in html.all("img"))
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in html.elements


def test_those_who_hear_it_find_their_way(tmp_path):
    text = written(audited(tmp_path), tmp_path / "audit.html")
    parts = ("Images and masks", "Warnings", "Parts", "Classes", "Levels of the images", "Examples")
    assert links_lead_somewhere(text) == 1 + len(parts)
    assert can_be_heard(text) == 2  # its tables


def test_it_says_what_was_found(tmp_path):
    report = audited(tmp_path)
    page = Html(written(report, tmp_path / "audit.html"))
    assert [f.kind for f in report.findings] == ["empty", "class", "class", "class"]
    for finding in report.findings:
        assert report.brief(finding.message) in page.text
        assert report.brief(finding.remedy).replace("`", "") in page.text
    assert "mask-4.png" in page.text
    assert str(tmp_path) not in page.text
    assert "9 images 0 errors 4 warnings" in page.text
    assert [a["aria-label"] for a in page.all("svg")] == [
        f"Histogram of levels, {part}" for part in ("train", "validation", "test")
    ]
    for part in report.split.parts.values():
        pixels = sum(np.sum(np.asarray(report.store.truth(s)) == 1) for s in part)
        assert f"{pixels / (len(part) * 60 * 80):.1%}, in " in page.text


@pytest.mark.parametrize("options", [{}, {"channels": 3}, {"dtype": np.uint16}], ids=str)
def test_pictures_show_the_image_and_its_mask(tmp_path, options):
    report = audited(tmp_path, **options)
    page = Html(written(report, tmp_path / "audit.html"))
    outlined = [image for image in page.all("img") if image["alt"].endswith(", its mask outlined")]
    shown = {image["alt"]: image["src"] for image in outlined}
    assert len(shown) == 9
    for sample in report.dataset.samples:
        coded = shown[f"{sample.id}, its mask outlined"].split(",")[1]
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded)))).astype(int)
        assert picture.shape == (60, 80, 3)
        truth = np.asarray(report.store.truth(sample))
        inner, outer = (ndimage.binary_erosion(truth == id_, iterations=4) for id_ in (1, 0))
        orange = picture[..., 0] - picture[..., 2]
        assert abs(orange[outer].mean()) < 5
        if inner.any():
            assert orange[inner].mean() > 30
            assert picture[inner].mean() > picture[outer].mean() + 40  # the cells are bright


def pairs_of(page):
    ending = ", its mask drawn over it"
    found = {image["alt"]: image["src"].split(",")[1] for image in page.all("img") if image["alt"].endswith(ending)}
    return {
        alt.removesuffix(ending): np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)
        for alt, text in found.items()
    }


@pytest.mark.parametrize("options", [{}, {"channels": 3}, {"dtype": np.uint16}], ids=str)
def test_it_begins_with_six_pairs_drawn_over_each_other(tmp_path, options):
    report = audited(tmp_path, 20, **options)
    text = written(report, tmp_path / "audit.html")
    pairs = pairs_of(Html(text))
    assert text.index("Images and masks") < text.index("Warnings")
    assert len(pairs) == 6
    assert {"0", "19"} <= pairs.keys()
    assert "4" not in pairs  # whose mask is empty
    names = dict(class_colours(report.dataset.card.class_names))
    for sample in report.dataset.samples:
        if sample.id not in pairs:
            continue
        picture, truth = pairs[sample.id], np.asarray(report.store.truth(sample))
        assert picture.shape == (300, 400, 3)  # small images are enlarged
        truth = truth.repeat(5, 0).repeat(5, 1)
        inner = ndimage.binary_erosion(truth == 1, iterations=20)
        outer = ndimage.binary_erosion(truth == 0, iterations=20)
        colour = np.array(names["cell"]) - np.mean(names["cell"])
        tint = (picture - picture.mean(axis=-1, keepdims=True)) @ colour
        assert tint[inner].mean() > tint[outer].mean() + 1000
        assert picture[inner].mean() > picture[outer].mean() + 60  # the contrast is stretched


def test_objects_have_colours_of_their_own(tmp_path):
    ids = np.zeros((40, 60), np.uint16)
    ids[5:35, 5:30], ids[5:35, 30:55] = 7, 8  # they touch
    Image.fromarray(ids).save(tmp_path / "m.png")
    Image.fromarray((ids > 0).astype(np.uint8) * 90).save(tmp_path / "i.png")
    card = DatasetCard("toy", "toy", ("ground", "cell"), {0: 0}, 1, "made here", labelling=Labelling("values"))
    sample = Sample("a", ImageRef(tmp_path / "i.png"), ImageRef(tmp_path / "m.png"), "a")
    report = audit(Dataset(card, [sample]), Split((sample,), (), ()), Store(tmp_path / "cache", card, 1.0))
    assert report.looked[0].stats.objects == 2
    picture = pairs_of(Html(written(report, tmp_path / "audit.html")))["a"]
    assert picture.shape == (280, 420, 3)
    first, second = picture[70:210, 70:175].mean(axis=(0, 1)), picture[70:210, 245:350].mean(axis=(0, 1))
    assert np.abs(first - second).max() > 50


def test_of_a_large_image_the_liveliest_part_is_shown(tmp_path):
    mask = np.zeros((2100, 4000), np.uint8)
    mask[1500:1600, 3300:3400] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(mask // 2).save(tmp_path / "i.png")
    card = DatasetCard("toy", "toy", ("ground", "cell"), {0: 0, 255: 1}, 1, "made here")
    sample = Sample("a", ImageRef(tmp_path / "i.png"), ImageRef(tmp_path / "m.png"), "a")
    report = audit(Dataset(card, [sample]), Split((sample,), (), ()), Store(tmp_path / "cache", card, 1.0))
    page = Html(written(report, tmp_path / "audit.html"))
    assert "1024 x 1024 of 4000 x 2100 pixels, from (2976, 1076)" in page.text
    assert pairs_of(page)["a"].shape == (440, 440, 3)


def test_names_are_no_markup(tmp_path):
    name = "{} " + EVIL.replace("/", "")
    text = written(audited(tmp_path, name=name, words=EVIL), tmp_path / "audit.html")
    page = Html(text)
    assert not page.all("script")
    assert f"mask-{name.format(4)}.png" in page.text
    assert f"other {EVIL}" in page.text
    assert f"Audit: toy {EVIL}" in page.text


def test_a_large_set_makes_a_small_page(tmp_path):
    report = audited(tmp_path, 120)
    text = written(report, tmp_path / "audit.html")
    assert len(Html(text).all("img")) <= 60
    assert len(text) < 1_000_000


def test_pictures_are_drawn_once(tmp_path, monkeypatch):
    report = audited(tmp_path)
    first = written(report, tmp_path / "audit.html")
    monkeypatch.setattr(Store, "image", None)
    monkeypatch.setattr(Store, "truth", None)
    assert written(report, tmp_path / "audit.html") == first


def test_nothing_that_can_be_read(tmp_path):
    report = audited(tmp_path, 6)
    for sample in report.dataset.samples:
        sample.image.path.write_text("no image")
    broken = audit(report.dataset, report.split, report.store)
    page = Html(written(broken, tmp_path / "audit.html"))
    assert len(broken.errors) == 6
    assert page.text.count("cannot be read as an image") == 6
    assert not page.all("img")


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"page cannot be written to .*audit\.html"):
        write_page(audited(tmp_path), tmp_path / "file" / "audit.html")
