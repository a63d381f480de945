"""Folders as people have them, generated: however images and masks are named, stored and labelled, what is read is what
was drawn; or an error offers a reading that, typed as it stands, gives it."""

import itertools
import re
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from lamella.config.paths import CHECKOUT
from lamella.data.datasets.folder import folder
from lamella.data.io.labels import read_labels
from lamella.data.types import IGNORE
from lamella.errors import LamellaError

SIDE = 48
COUNT = 5


class Scene(NamedTuple):
    """One image as it was drawn: its pixels, the objects in it, and a second class (0, 1, 2)."""

    image: np.ndarray
    objects: np.ndarray
    classes: np.ndarray


class Style(NamedTuple):
    """One way to store labels.

    Attributes:
        name: of the style.
        types: the NumPy types it comes in.
        draw: a scene, its number and a type -> the mask as stored.
        truth: a scene and its number -> class ids, or objects, as they must be read.
        objects: whether single objects are told apart.
        cells: how many there are in an image, from and to.
    """

    name: str
    types: tuple[str, ...]
    draw: object
    truth: object
    objects: bool = False
    cells: tuple[int, int] = (3, 6)


@cache
def scenes(cells=(3, 6)):
    return [_scene(number, cells) for number in range(COUNT)]


def _scene(number, cells):
    draw = np.random.default_rng([number, *cells])
    y, x = np.mgrid[:SIDE, :SIDE]
    objects = np.zeros((SIDE, SIDE), np.int64)
    wanted = int(draw.integers(cells[0], cells[1] + 1))
    while objects.max() < wanted:
        row, column = draw.integers(7, SIDE - 7, 2)
        inside = (y - row) ** 2 + (x - column) ** 2 <= int(draw.integers(4, 6)) ** 2
        if not objects[inside].any():
            objects[inside] = objects.max() + 1
    image = np.clip(60 + 120 * (objects > 0) + draw.normal(0, 12, objects.shape), 0, 255).astype(np.uint8)
    return Scene(image, objects, np.where(objects > 0, 1 + objects % 2, 0))


def cells(scene, _number=0):
    return (scene.objects > 0).astype(np.int64)


def classes(scene, _number=0):
    return scene.classes


def objects(scene, _number=0):
    return scene.objects


def colours(table):
    return lambda scene, n, dtype: np.array(table, dtype)[scene.classes]


def instance_colours(background):
    def draw(scene, number, dtype):
        table = np.random.default_rng(number).permutation(np.arange(30, 250))[: 3 * (scene.objects.max() + 1)]
        table = table.reshape(-1, 3).astype(dtype)
        table[0] = background
        return table[scene.objects]

    return draw


def scribbled(scene, number):
    """A line in sixteen is labelled: 0 what is background, 1 what is cell."""
    return np.where(np.arange(SIDE)[:, None] % 16 == 8, cells(scene), IGNORE)


def slips(base, values):
    """Three single pixels of each of some values, in all masks but the first."""

    def draw(scene, number, dtype):
        mask = base(scene, number, dtype).copy()
        for place, value in enumerate(values):
            mask[1 + 2 * np.arange(3), 1 + 3 * place] = value if number else mask[0, 0]
        return mask

    return draw


def slipped(base, count):
    def truth(scene, number):
        mask = np.array(base(scene))
        for place in range(count):
            mask[1 + 2 * np.arange(3), 1 + 3 * place] = IGNORE if number else mask[0, 0]
        return mask

    return truth


def levels(scene, number, dtype):
    """As compression or resizing leaves a mask: many levels, at and beside the edges."""
    soft = Image.fromarray((cells(scene) * 255).astype(np.uint8)).resize((SIDE * 4, SIDE * 4), Image.Resampling.BICUBIC)
    level = np.asarray(soft.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int64)
    draw = np.random.default_rng(number)
    return np.clip(level + draw.integers(-4, 5, level.shape) * (draw.random(level.shape) < 0.1), 0, 255).astype(dtype)


def two_pieces(scene, number, dtype):
    mask = scene.objects.astype(dtype)
    if number == 2:
        mask[(mask == 1) & (np.cumsum(mask == 1, axis=0) == 4)] = 0
    return mask


def in_pieces(scene, number):
    return two_pieces(scene, number, np.int64)


def watershed(scene, number, dtype):
    """Background 1, objects from 2, lines of 0 around them."""
    grown = scene.objects > 0
    edge = grown & ~(np.roll(grown, 1, 0) & np.roll(grown, -1, 0) & np.roll(grown, 1, 1) & np.roll(grown, -1, 1))
    return np.where(edge, 0, scene.objects + 1).astype(dtype)


def inside_lines(scene, number):
    mask = watershed(scene, number, np.int64)
    return np.where(mask > 1, mask - 1, 0)


def palette(table):
    """Indices with colours, as annotation tools save them."""

    def draw(scene, number, dtype):
        picture = Image.fromarray(scene.classes.astype(np.uint8), mode="P")
        picture.putpalette(list(table))
        return picture

    return draw


def two_tone(white):
    """A palette of black and white, either of them first: 1 where the viewer shows white."""

    def draw(scene, number, dtype):
        picture = Image.fromarray(np.where(cells(scene) == 1, white, 1 - white).astype(np.uint8), mode="P")
        picture.putpalette([255, 255, 255, 0, 0, 0] if white == 0 else [0, 0, 0, 255, 255, 255])
        return picture

    return draw


def plain(values):
    """A value a class."""
    return lambda scene, n, dtype: np.array(values, dtype)[scene.classes]


def binary(value):
    return lambda scene, n, dtype: (cells(scene) * value).astype(dtype)


def numbered(change):
    return lambda scene, n, dtype: np.where(scene.objects > 0, change(scene.objects, n), 0).astype(dtype)


def tessellation(scene, number, dtype):
    """Cells that fill the picture and touch each other."""
    return (touching(scene, number)).astype(dtype)


def touching(scene, number):
    y, x = np.mgrid[:SIDE, :SIDE]
    seeds = np.random.default_rng(number).integers(10, SIDE - 10, (3 + number, 2))
    far = (y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2
    return np.where(far.min(-1) < 130, 1 + far.argmin(-1), 0)


WHOLE = ("uint8", "uint16", "int32", "float32")
STYLES = [
    Style("255", ("uint8", "uint16"), binary(255), cells),
    Style("65535", ("uint16",), binary(65535), cells),
    Style("1", WHOLE, binary(1), cells),
    Style("bool", ("bool",), binary(1), cells),
    Style("grey as rgb", ("uint8",), colours([(0, 0, 0), (255,) * 3, (255,) * 3]), cells),
    Style("classes", WHOLE, plain([0, 1, 2]), classes),
    Style("classes far apart", ("uint8", "uint16"), plain([0, 128, 255]), classes),
    Style("classes from 1", ("uint8", "int32"), plain([1, 2, 3]), classes),
    Style("classes by colour", ("uint8",), colours([(0, 0, 0), (0, 255, 0), (255, 0, 0)]), classes),
    Style("classes on white", ("uint8",), colours([(255, 255, 255), (0, 255, 0), (255, 0, 0)]), classes),
    Style("numbered", WHOLE, numbered(lambda o, n: o), objects, True),
    Style("numbered with holes", WHOLE, numbered(lambda o, n: o * 3 - 1), objects, True),
    Style("numbered on", WHOLE, numbered(lambda o, n: o + 6 * n), objects, True),
    Style("numbered high", ("uint16", "int32"), numbered(lambda o, n: o + 1000), objects, True),
    Style("numbered, in pieces", ("uint8", "uint16"), two_pieces, in_pieces, True),
    Style("numbered, touching", ("uint8", "uint16"), tessellation, touching, True),
    Style("numbered, background 1", ("uint8", "int32"), watershed, inside_lines, True),
    Style("numbered by colour", ("uint8",), instance_colours((0, 0, 0)), objects, True),
    Style("numbered on white", ("uint8",), instance_colours((255, 255, 255)), objects, True),
    Style("numbered, as many everywhere", ("uint8", "uint16"), numbered(lambda o, n: o), objects, True, (3, 3)),
    Style("one cell an image", ("uint8",), numbered(lambda o, n: o), cells, False, (1, 1)),
    Style("palette of colours", ("uint8",), palette((0, 0, 0, 200, 0, 0, 0, 200, 0)), classes),
    Style("palette, black first", ("uint8",), two_tone(1), cells),
    Style("palette, white first", ("uint8",), two_tone(0), cells),
    Style("ignore 255", ("uint8", "int32"), lambda s, n, t: np.where(scribbled(s, n) == 255, 255, cells(s)).astype(t),
          scribbled),
    Style("ignore -1", ("int32", "float32"), lambda s, n, t: np.where(scribbled(s, n) == 255, -1, cells(s)).astype(t),
          scribbled),
    Style("scribbles", ("uint8", "int32"), lambda s, n, t: np.where(scribbled(s, n) == 255, 0, 1 + cells(s)).astype(t),
          scribbled),
    Style("slips", ("uint8", "uint16"), slips(binary(255), (2, 3, 254)), slipped(cells, 3)),
    Style("a slip", ("uint8",), slips(binary(1), (2,)), slipped(cells, 1)),
    Style("slips among classes", ("uint8", "int32"), slips(plain([0, 1, 2]), (7, 9)), slipped(classes, 2)),
    Style("levels", ("uint8", "uint16"), levels, cells),
    Style("JPEG", ("uint8",), binary(255), cells),
    Style("1 here, 255 there", ("uint8", "uint16"), lambda s, n, t: (cells(s) * (1, 255)[n % 2]).astype(t), cells),
    Style("layers", ("uint8", "bool"), lambda s, n, t: np.stack([s.classes == c for c in range(3)]).astype(t), classes),
    Style("layers without background", ("uint8",),
          lambda s, n, t: (255 * np.stack([s.classes == c for c in (1, 2)])).astype(t), classes),
]  # fmt: skip

PAIRINGS = (
    "folders",
    "one folder",
    "csv",
    "parts",
    "stacks",
    "prefixes",
    "unsaid suffix",
    "types",
    "a file an object",
    "folders of both",
)
UNSAID = ("prefixes", "unsaid suffix", "types")  # the first error is about names
FORMATS = (".png", ".bmp", ".tif", ".npy", ".jpg")


def fits(style, dtype, form, pairing):
    """Whether a format can hold it, and is used so."""
    layered, coloured = style.name.startswith("layers"), "colour" in style.name or "white" in style.name
    coloured = coloured or style.name == "grey as rgb"
    if (style.name == "JPEG") != (form == ".jpg"):
        return False
    if pairing in ("a file an object", "folders of both"):
        return style.name == "numbered" and dtype == "uint8" and form != ".npy"
    if style.name.startswith("palette"):
        return form in (".png", ".bmp") and pairing != "stacks" and (form, pairing) != (".bmp", "types")
    if pairing == "types" and form in (".bmp", ".jpg"):  # a JPEG is the image of the two
        return False
    if pairing == "stacks":
        return form == ".tif" and not layered and not coloured
    if layered:
        return form == ".tif"
    kinds = {
        ".jpg": ("uint8",),
        ".png": ("uint8", "uint16", "bool"),
        ".bmp": ("uint8",),
        ".tif": (*WHOLE, "bool"),
        ".npy": (*WHOLE, "bool"),
    }
    return dtype in kinds[form] and not (coloured and form == ".npy")


MATRIX = [
    (style, dtype, form, pairing)
    for style, form, pairing in itertools.product(STYLES, FORMATS, PAIRINGS)
    for dtype in style.types
    if fits(style, dtype, form, pairing)
]


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(array, Image.Image):
        array.save(path)
        return
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        rgb = array.ndim == 3 and array.shape[-1] == 3
        tifffile.imwrite(path, array, photometric="rgb" if rgb else "minisblack")
    else:
        Image.fromarray(array).save(path, **({"quality": 90} if path.suffix == ".jpg" else {}))


def lay(root, images, masks, form, pairing):
    """Writes images and masks, and says by which keys they are found."""
    if pairing in ("a file an object", "folders of both"):
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            inside = root / "all" / f"cell{number}"
            together = pairing == "folders of both"
            save(inside / "images" / "a.png" if together else root / "i" / f"cell{number}.png", image)
            for value in range(1, mask.max() + 1):
                file = f"{value}{form}"
                one = np.where(mask == value, 255, 0).astype(np.uint8)
                save(inside / "masks" / file if together else root / "m" / f"cell{number}" / file, one)
        if pairing == "folders of both":
            return {"images": str(root / "all")}
        return {"images": str(root / "i"), "masks": str(root / "m")}
    if pairing == "stacks":
        for name, arrays in (("images.tif", images), ("masks.tif", masks)):
            tifffile.imwrite(root / name, np.stack(arrays), photometric="minisblack")
        return {"images": str(root / "images.tif"), "masks": str(root / "masks.tif")}
    rows = ["image,mask,part"]
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        part = ("train/" if number < 3 else "test/") if pairing == "parts" else ""
        beside = pairing in ("one folder", "unsaid suffix", "types")
        name = f"{part}cell{number}"
        masked = {"prefixes": f"label{number}", "one folder": f"{name}_mask", "unsaid suffix": f"{name}_cp_masks"}
        picture = root / "i" / f"{name}{'.bmp' if pairing == 'types' else '.png'}"
        label = root / ("i" if beside else "m") / f"{masked.get(pairing, name)}{form}"
        save(picture, image)
        save(label, mask)
        rows.append(f"{picture.relative_to(root)},{label.relative_to(root)},")
    if pairing == "csv":
        (root / "pairs.csv").write_text("\n".join(rows))
        return {"pairs": str(root / "pairs.csv")}
    if pairing == "one folder":
        return {"images": str(root / "i"), "mask_suffix": "_mask"}
    if pairing in ("unsaid suffix", "types"):
        return {"images": str(root / "i")}
    return {"images": str(root / "i"), "masks": str(root / "m")}


@cache
def defaults():
    keys = yaml.safe_load((CHECKOUT / "conf" / "dataset" / "folder.yaml").read_text())
    taken = folder.__kwdefaults__ or {}
    return {key: value for key, value in keys.items() if key in folder.__annotations__ and key not in taken}


def opened(root, keys):
    return folder(**{**defaults(), "cache": str(root / "cache"), **keys})


def ways(remedy):
    """The keys that each sentence of a remedy offers to be typed."""
    found = []
    for sentence in re.split(r"\. |; or |Or |Otherwise |\(or |Write, name first", remedy):
        items = re.findall(r"'dataset\.(\w+)=(.+?)'(?=[ .:;)`]|$)|dataset\.(\w+)=([^\s`']+)", sentence)
        keys = {}
        for quoted, text, bare, value in items:
            keys[quoted or bare] = yaml.safe_load(text or value.rstrip(".,;:)"))
        if keys:
            found.append(keys)
    return found


def wrong(dataset, style, drawn):
    """What is not as it was drawn; "" where all is."""
    for number, (sample, scene) in enumerate(zip(dataset.samples, drawn, strict=True)):
        labels = read_labels(sample.mask, dataset.card, sample.image)
        truth = style.truth(scene, number)
        if style.objects:
            if labels.objects is None:
                return f"{sample.id}: no objects, but classes {dataset.card.class_names}"
            pairs = set(zip(truth.ravel().tolist(), labels.objects.ravel().tolist(), strict=True))
            if (
                len(pairs) != len(np.unique(truth))
                or len(pairs) != len(np.unique(labels.objects))
                or (0, 0) not in pairs
            ):
                return f"{sample.id}: other objects"
            truth = (truth > 0).astype(int)
        elif labels.objects is not None:
            return f"{sample.id}: objects that nobody drew"
        if not np.array_equal(truth, labels.classes):
            return f"{sample.id}: classes {np.unique(labels.classes)}, drawn were {np.unique(truth)}"
    return ""


def judge(root, style, dtype, form, pairing):
    """ "" where what is read is what was drawn, at once or by one of the ways that the error offers.

    Where names do not say which mask is whose, that is asked first, and what masks mean then.
    """
    drawn = scenes(style.cells)
    masks = [style.draw(scene, number, dtype) for number, scene in enumerate(drawn)]
    keys = lay(root, [scene.image for scene in drawn], masks, form, pairing)
    if pairing == "parts":  # test before train
        order = [3, 4, 0, 1, 2]
        drawn = [drawn[n] for n in order]
        style = style._replace(truth=lambda scene, n, truth=style.truth: truth(scene, order[n]))
    return _led(root, keys, style, drawn, 2 if pairing in UNSAID else 1)


def _led(root, keys, style, drawn, steps):
    try:
        said = wrong(opened(root, keys), style, drawn)
    except LamellaError as error:
        if not steps:
            return error.problem
        tried = []
        for more in ways(error.remedy):
            said = _led(root, keys | more, style, drawn, steps - 1)
            if not said:
                return ""
            tried.append(f"{more}: {said}")
        return f"{error.problem}\n{error.remedy}\nleads to " + ("; ".join(tried) or "nothing")
    return said and f"silently {said}"


def name(case):
    style, dtype, form, pairing = case
    return f"{style.name}, {dtype}, {form}, {pairing}"


def test_the_matrix_is_large():
    assert len(MATRIX) >= 300


def chosen(every, offset=0):
    return [pytest.param(*case, id=name(case)) for case in MATRIX[offset::every]]


@pytest.mark.parametrize(("style", "dtype", "form", "pairing"), chosen(16))
def test_what_is_read_is_what_was_drawn_or_one_step_away(tmp_path, style, dtype, form, pairing):
    assert judge(tmp_path, style, dtype, form, pairing) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("style", "dtype", "form", "pairing"), [c for n in range(1, 16) for c in chosen(16, n)])
def test_the_rest_of_the_matrix(tmp_path, style, dtype, form, pairing):
    assert judge(tmp_path, style, dtype, form, pairing) == ""
