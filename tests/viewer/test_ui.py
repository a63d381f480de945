"""The page in a real browser: a file is dropped, the slider moved, counts read, files downloaded."""

import base64
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.measure import label

import lamella
from support.checkpoints import kept
from support.contrast import CONTRAST
from support.looking import looking

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from mlflow_pages import NO_CHROMIUM, browsing, chromium

pytestmark = pytest.mark.ui

IMAGE = np.random.default_rng(3).integers(0, 255, (60, 80), np.uint8)
DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name));
  for (const kind of ["dragover", "drop"]) {
    document.getElementById("stage").dispatchEvent(
      new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
  }
}"""
DRAWN = """() => {
  const layer = document.getElementById("layer");
  const copy = Object.assign(document.createElement("canvas"), { width: layer.width, height: layer.height });
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(layer, 0, 0);
  const data = pen.getImageData(0, 0, layer.width, layer.height).data;
  return Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + 3] > 0);
}"""
SLIDE = """([value, kind]) => {
  const slider = document.getElementById("threshold");
  slider.value = value;
  slider.dispatchEvent(new Event(kind, { bubbles: true }));
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(slider.value))));
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if chromium() is None:
        pytest.skip(NO_CHROMIUM)
    return tmp_path_factory.mktemp("look")


@pytest.fixture(scope="module")
def address(place):
    with looking(place, f"checkpoint={kept(place / 'best.ckpt', '32-true')}") as (_, found):
        yield found


@pytest.fixture(scope="module")
def share(place, address):
    return lamella.load(place / "best.ckpt").predict(IMAGE)[0]


@contextmanager
def shown(address, width=1280, **media):
    """The page in a new browser; at the end it must have asked nobody else and complained of nothing."""
    with browsing(address, width=width, height=900) as opened:
        asked, said = [], []
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.set_default_timeout(30_000)
        opened.emulate_media(**media)
        opened.goto(address)
        opened.wait_for_selector("#layers input", state="attached")
        yield opened
        assert all(url.startswith((f"{address}/", "blob:", "data:")) for url in asked)
        assert [each for each in said if "400 (Bad Request)" not in each] == []  # what a browser says of a refusal


def drop(page, name, data):
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def tiff(place, image=IMAGE, **notes):
    tifffile.imwrite(place / "image.tif", image, imagej=True, **notes)
    return (place / "image.tif").read_bytes()


def counted(page, threshold):
    """The cells of the table's first row, once it is of that threshold."""
    page.wait_for_selector(f"#found[data-threshold='{threshold:g}']")
    return page.locator("#found tbody tr").first.locator("td").all_inner_texts()


def test_a_dropped_file_is_predicted_and_the_slider_acts_at_once(address, place, share):
    with shown(address) as page:
        drop(page, "my image.tif", tiff(place, resolution=(2.0, 2.0), metadata={"unit": "um"}))
        row = counted(page, 0.5)
        objects = label(share > 0.5, connectivity=2)
        median = np.median(np.bincount(objects.ravel())[1:]) / 4
        assert row[:3] == ["cell", str(objects.max()), f"{100 * (share > 0.5).mean():.1f} %"]
        assert row[3].endswith(" µm²")
        assert float(row[3].split()[0]) == pytest.approx(median, rel=1e-3)
        assert "my image.tif: 80 × 60, 1 channel, uint8, a pixel is 500 × 500 nm" in page.inner_text("#about")
        page.check("#layers input[value=Mask]", force=True)
        page.wait_for_function("document.getElementById('layer').style.opacity === '0.6'")
        other = float(np.float32(np.quantile(share, 0.7)).round(2))
        page.evaluate(SLIDE, [other, "input"])  # held: nothing is counted yet
        assert np.array_equal(np.reshape(page.evaluate(DRAWN), share.shape), share > np.float32(other))
        assert "stale" in page.get_attribute("#found", "class")
        page.evaluate(SLIDE, [other, "change"])  # let go
        assert counted(page, other)[1] == str(label(share > np.float32(other), connectivity=2).max())
        assert page.get_attribute("#found", "class") == ""
        for kind, wanted in {
            "labels-tif": share > np.float32(other), "probability-tif": share,
            "objects-tif": label(share > np.float32(other), connectivity=2),
        }.items():  # fmt: skip
            with page.expect_download() as download:
                page.click(f"#get-{kind}")
            download.value.save_as(place / "got.tif")
            assert download.value.suggested_filename == f"my image_{kind.replace('-', '.')}"
            assert np.array_equal(tifffile.imread(place / "got.tif"), wanted)
        with page.expect_download() as download:
            page.click("#get-overlay")
        assert download.value.suggested_filename == "my image_overlay.png"
        page.click("#own")
        assert counted(page, 0.5) == row


def test_every_layer_is_drawn_and_the_picture_can_be_moved(address, place, share):
    with shown(address) as page:
        drop(page, "image.tif", tiff(place))
        counted(page, 0.5)
        sums = {}
        for layer in ("Outline", "Mask", "Objects", "Probability", "Uncertainty", "Image"):
            page.check(f"#layers input[value={layer}]", force=True)
            page.wait_for_timeout(400)
            sums[layer] = sum(page.evaluate(DRAWN))
            assert page.is_visible("#legend") == (layer in ("Probability", "Uncertainty"))
        foreground = int((share > 0.5).sum())
        assert sums["Mask"] == sums["Objects"] == foreground
        assert 0 < sums["Outline"] <= foreground
        assert (sums["Probability"], sums["Uncertainty"], sums["Image"]) == (4800, 4800, 0)
        zoomed = page.inner_text("#zoom")
        page.focus("#canvases")
        page.keyboard.press("+")
        assert page.inner_text("#zoom") != zoomed
        page.keyboard.press("0")
        assert page.inner_text("#zoom") == zoomed


def test_a_stack_has_a_slider_and_a_bad_file_a_sentence(address, place):
    stack = np.stack([IMAGE, IMAGE[::-1], 255 - IMAGE])
    with shown(address) as page:
        drop(page, "stack.tif", tiff(place, stack, metadata={"axes": "ZYX"}))
        first = counted(page, 0.5)
        assert page.inner_text("#page-value") == "1 of 3"
        page.fill("#page", "2")
        page.wait_for_function(f"document.querySelector('#found tbody').innerText !== {json.dumps(first)}")
        page.wait_for_selector("#results:not([hidden])")
        assert page.inner_text("#page-value") == "3 of 3"
        drop(page, "<img src=x onerror=alert(1)>.png", b"no picture")
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error .problem").startswith(
            "<img src=x onerror=alert(1)>.png cannot be read as an image"
        )
        assert page.locator("#error img").count() == 0
        drop(page, "image.tif", tiff(place))
        page.wait_for_selector("#error", state="hidden")
        counted(page, 0.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(address, place, width, scheme):
    with shown(address, width, color_scheme=scheme) as page:
        assert page.evaluate(CONTRAST)[0] >= 4.5
        drop(page, "image.tif", tiff(place))
        counted(page, 0.5)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        least, text = page.evaluate(CONTRAST)
        assert least >= 4.5, text
