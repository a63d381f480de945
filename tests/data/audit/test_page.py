"""The page: whole in one file, every finding on it, no markup out of file names."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lamella.data.audit.audit import audit
from lamella.data.audit.page import write_page
from lamella.data.cache.arrays import Store
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
    assert links_lead_somewhere(text) == 1 + len(("Warnings", "Parts", "Classes", "Levels of the images", "Examples"))
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
    for part in report.split.__dict__.values():
        pixels = sum(np.sum(np.asarray(report.store.truth(s)) == 1) for s in part)
        assert f"{pixels / (len(part) * 60 * 80):.1%}, in " in page.text


@pytest.mark.parametrize("options", [{}, {"channels": 3}, {"dtype": np.uint16}], ids=str)
def test_pictures_show_the_image_and_its_mask(tmp_path, options):
    report = audited(tmp_path, **options)
    page = Html(written(report, tmp_path / "audit.html"))
    shown = {image["alt"]: image["src"] for image in page.all("img")}
    assert len(shown) == 9
    assert all(alt.endswith(", its mask outlined") for alt in shown)
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
