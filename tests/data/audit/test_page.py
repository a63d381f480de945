"""The page: whole in one file, every finding on it, no markup out of file names."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lamella.data.audit.audit import audit
from lamella.data.audit.page import write_page
from lamella.data.cache.arrays import Store
from lamella.data.types import IGNORE, Dataset, DatasetCard, ImageRef, Sample, Split
from lamella.errors import StorageError

EVIL = "<script>alert('a')</script>&\"b\""
VOID = {"meta", "img", "rect"}


class Page(HTMLParser):
    """Elements and text; refuses what is not nested."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def made(folder, count=9, *, dtype=np.uint8, channels=1, name="{}"):
    """A report on `count` samples, with an empty mask among them."""
    card = DatasetCard(
        f"toy {EVIL}",
        f"toy {EVIL}",
        ("ground", "cell", f"other {EVIL}"),
        {0: 0, 1: 1, 2: 2, 9: IGNORE},
        channels=channels,
        source="made here",
    )
    samples = []
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = (ndimage.gaussian_filter(rng.standard_normal((60, 80)), 4) > 0.04).astype(np.uint8) * (number != 4)
        mask[:5, :5] = 9
        image = 40 + 100 * mask + rng.normal(0, 6, mask.shape)
        image = (image.clip(0, 255) * (200 if dtype == np.uint16 else 1)).astype(dtype)
        paths = []
        for kind, array in (("image", np.stack([image] * 3, axis=-1) if channels == 3 else image), ("mask", mask)):
            paths.append(folder / f"{kind}-{name.format(number)}.png")
            Image.fromarray(array).save(paths[-1])
        samples.append(Sample(name.format(number), ImageRef(paths[0]), ImageRef(paths[1]), str(number)))
    split = Split(tuple(samples[: count // 2]), tuple(samples[count // 2 : -2]), tuple(samples[-2:]))
    return audit(Dataset(card, samples), split, Store(folder / "cache", card, 1.0))


def written(report, path):
    write_page(report, path)
    return path.read_text()


def test_it_needs_no_other_file(tmp_path):
    text = written(made(tmp_path), tmp_path / "new" / "audit.html")
    page = Page(text)
    assert "http" not in text
    assert not page.all("link")
    assert not page.all("script")
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements


def test_it_says_what_was_found(tmp_path):
    report = made(tmp_path)
    page = Page(written(report, tmp_path / "audit.html"))
    assert [f.kind for f in report.findings] == ["empty", "class", "class"]
    for finding in report.findings:
        assert report.brief(finding.message) in page.text
        assert report.brief(finding.remedy).replace("`", "") in page.text
    assert "mask-4.png" in page.text
    assert str(tmp_path) not in page.text
    assert "9images0errors3warnings" in page.text
    assert [a["aria-label"] for a in page.all("svg")] == [
        f"Histogram of levels, {part}" for part in ("train", "validation", "test")
    ]
    for part in report.split.__dict__.values():
        pixels = sum(np.sum(np.asarray(report.store.truth(s)) == 1) for s in part)
        assert f"{pixels / (len(part) * 60 * 80):.1%}, in " in page.text


@pytest.mark.parametrize("options", [{}, {"channels": 3}, {"dtype": np.uint16}], ids=str)
def test_pictures_show_the_image_and_its_mask(tmp_path, options):
    report = made(tmp_path, **options)
    page = Page(written(report, tmp_path / "audit.html"))
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
    text = written(made(tmp_path, name=name), tmp_path / "audit.html")
    page = Page(text)
    assert not page.all("script")
    assert f"mask-{name.format(4)}.png" in page.text
    assert f"other {EVIL}" in page.text


def test_a_large_set_makes_a_small_page(tmp_path):
    report = made(tmp_path, 120)
    text = written(report, tmp_path / "audit.html")
    assert len(Page(text).all("img")) <= 60
    assert len(text) < 1_000_000


def test_pictures_are_drawn_once(tmp_path, monkeypatch):
    report = made(tmp_path)
    first = written(report, tmp_path / "audit.html")
    monkeypatch.setattr(Store, "image", None)
    monkeypatch.setattr(Store, "truth", None)
    assert written(report, tmp_path / "audit.html") == first


def test_nothing_that_can_be_read(tmp_path):
    report = made(tmp_path, 6)
    for sample in report.dataset.samples:
        sample.image.path.write_text("no image")
    broken = audit(report.dataset, report.split, report.store)
    page = Page(written(broken, tmp_path / "audit.html"))
    assert len(broken.errors) == 6
    assert page.text.count("cannot be read as an image") == 6
    assert not page.all("img")


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"page cannot be written to .*audit\.html"):
        write_page(made(tmp_path), tmp_path / "file" / "audit.html")
