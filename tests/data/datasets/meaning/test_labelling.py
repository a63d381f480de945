"""What masks mean: numbered objects, strokes, slips, levels, layers, outlines; each doubt ends in readings to copy."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.data.cache.facts import Facts
from lamella.data.datasets.meaning.held import hold
from lamella.data.datasets.meaning.labelling import Said, read_as
from lamella.data.io.labels import read_labels
from lamella.data.types import IGNORE, DatasetCard, ImageRef, Labelling
from lamella.errors import ConfigError, DataError

NOTHING = {
    "classes": None,
    "ignore": None,
    "instances": False,
    "border": "background",
    "threshold": None,
    "layers": False,
}


@pytest.fixture
def read(tmp_path):
    """What masks mean by these keys."""

    def reading(masks, **keys):
        refs = []
        for number, mask in enumerate(masks):
            path = tmp_path / f"{number}.tif"
            tifffile.imwrite(path, np.asarray(mask), photometric="minisblack")
            refs.append(ImageRef(path))
        return read_as(refs, Said(**NOTHING | keys), Facts(tmp_path / "cache"))

    return reading


def blobs(*values, side=24):
    """A square of each value, four pixels wide."""
    mask = np.zeros((side, side), np.uint16)
    for place, value in enumerate(values):
        row, column = 1 + 6 * (place // 4), 1 + 6 * (place % 4)
        mask[row : row + 4, column : column + 4] = value
    return mask


def remedy(read, masks, **keys):
    with pytest.raises(DataError) as caught:
        read(masks, **keys)
    return f"{caught.value.problem} | {caught.value.remedy}"


# --- what a mask holds -----------------------------------------------------------------------------------


def test_regions_are_counted_value_by_value(tmp_path):
    mask = blobs(1, 2, 1, 300)
    mask[20, :10] = 2
    mask[5, 5] = 1  # touches the first square by a corner
    tifffile.imwrite(tmp_path / "m.tif", mask)
    facts = Facts(tmp_path / "cache")
    for _ in range(2):  # measured, then remembered
        held = hold([ImageRef(tmp_path / "m.tif")], facts)[ImageRef(tmp_path / "m.tif")]
        assert {value: tuple(vars(one).values()) for value, one in held.items()} == {
            0: (24 * 24 - 16 * 4 - 11, 0, 0, 0),
            1: (33, 2, 17, 25 + 16),
            2: (26, 2, 16, 16 + 100),
            300: (16, 1, 16, 16),
        }


# --- numbered objects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "masks",
    [
        [blobs(1, 2, 3), blobs(1, 2), blobs(1, 2, 3, 4)],
        [blobs(1, 2, 3)] * 4,  # as many everywhere
        [blobs(1, 2), blobs(3, 4), blobs(5)],  # numbered on
        [blobs(1), blobs(2), blobs(3)],
        [blobs(5, 9, 70), blobs(5, 80)],
        [blobs(1001, 1002), blobs(1001, 1002, 1003)],
        [blobs(*range(1, 17)), blobs(*range(17, 33))],
    ],
)
def test_numbered_objects_are_never_taken_for_classes(read, masks):
    assert "look like numbered objects" in remedy(read, masks)
    assert "`dataset.instances=true`" in remedy(read, masks)
    meaning, labelling = read(masks, instances=True)
    assert (meaning.names, meaning.values) == (("background", "object"), {0: 0})
    assert labelling == Labelling("values")


def test_classes_of_several_regions_are_classes(read):
    meaning, labelling = read([blobs(1, 2, 1, 2, 1), blobs(2, 2, 1), blobs(1, 1, 1)])
    assert (meaning.names, labelling) == (("background", "class 1", "class 2"), Labelling())
    assert read([blobs(1), blobs(1)])[0].values == {0: 0, 1: 1}  # one object at most: nothing to tell apart


def test_said_to_be_numbered_and_is_not(read):
    text = remedy(read, [blobs(*[255] * 12)] * 3, instances=True)
    assert "255 is in 12 pieces in" in text
    assert "set `dataset.objects=cells`" in text
    assert "'dataset.classes={background: 0, object: []}'" in text
    assert (
        read([blobs(*[255] * 12)] * 3, instances=True, classes={"background": 0, "object": []})[1].objects == "values"
    )
    assert "there is no object" in remedy(read, [blobs()] * 3, instances=True)


def test_a_background_that_is_not_0(read):
    masks = [np.where(m == 0, 9, m) for m in (blobs(1, 2), blobs(1, 2, 3))]
    assert "`dataset.instances=true` 'dataset.classes={background: 9, object: []}'" in remedy(read, masks)
    assert "9 fills" in remedy(read, masks, instances=True)
    meaning, _ = read(masks, instances=True, classes={"background": 9, "cell": []})
    assert (meaning.names, meaning.values, meaning.objects) == (("background", "cell"), {9: 0}, {"": 1, "cell": 1})


def test_classes_beside_numbered_objects(read):
    masks = [blobs(1, 2, 255), blobs(1, 2, 3, 255)]
    meaning, labelling = read(
        masks, instances=True, classes={"background": None, "cell": [], "dirt": 255}, ignore=[254], border="ignore"
    )
    assert meaning.names == ("background", "cell", "dirt")
    assert meaning.values == {254: IGNORE, 255: 2}
    assert labelling.border == "ignore"
    assert labelling.names[""] == 1
    assert read(masks, instances=True, classes={"background": [0, 7]})[0].values == {0: 0, 7: 0}
    assert read(masks, instances=True, ignore=255)[0].values == {0: 0, 255: IGNORE}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"instances": True, "ignore": "undeclared"}, "takes every value for an object"),
        ({"instances": True, "ignore": "undeclared", "classes": {"b": 0, "c": []}}, "leaves no object"),
        ({"instances": True, "classes": {"b": 0, "c": 1}}, "names no class for the numbered objects"),
        ({"instances": True, "threshold": 127}, "dataset.mask_threshold is set, but masks tell objects apart"),
        ({"layers": True, "threshold": 127}, "are both set"),
    ],
)
def test_keys_that_contradict_each_other(read, keys, problem):
    with pytest.raises(ConfigError, match=problem):
        read([blobs(1, 2)] * 2, **keys)


# --- one file an object ----------------------------------------------------------------------------------


def several(tmp_path, labels=()):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray((blobs(*[0] * number, 255)).astype(np.uint8)).save(paths[-1])
    return ImageRef(paths[0], others=tuple(paths[1:]), labels=labels)


def of_files(tmp_path, labels=(), **keys):
    return read_as([several(tmp_path, labels)], Said(**NOTHING | keys), Facts(tmp_path / "cache"))


def test_one_file_an_object(tmp_path):
    meaning, labelling = of_files(tmp_path)
    assert (meaning.names, meaning.values, labelling.objects) == (("background", "object"), {0: 0}, "files")
    meaning, _ = of_files(tmp_path, classes={"background": 0, "nucleus": []})
    assert meaning.names == ("background", "nucleus")


def test_files_that_are_called_alike_for_each_image_are_classes(tmp_path):
    refs = []
    for image in "ab":
        paths = [tmp_path / image / f"{name}.png" for name in ("membrane", "nucleus")]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(blobs(255).astype(np.uint8)).save(path)
        refs.append(ImageRef(paths[0], others=(paths[1],)))
    with pytest.raises(DataError, match="the same 2 mask files, membrane, nucleus: classes rather than objects"):
        read_as(refs, Said(**NOTHING), Facts(tmp_path / "cache"))
    assert read_as(refs, Said(**NOTHING | {"instances": True}), Facts(tmp_path / "cache"))[1].objects == "files"


def test_objects_of_several_classes(tmp_path):
    labels = ("rbc", "wbc", "rbc")
    meaning, labelling = of_files(tmp_path, labels)
    assert (meaning.names, meaning.objects) == (("background", "rbc", "wbc"), {"rbc": 1, "wbc": 2})
    assert labelling.names == meaning.objects
    assert of_files(tmp_path, labels, ignore="wbc")[0].objects == {"rbc": 1, "wbc": IGNORE}
    meaning, _ = of_files(tmp_path, labels, classes={"background": [], "cell": ["rbc", "wbc"]})
    assert (meaning.names, meaning.objects) == (("background", "cell"), {"rbc": 1, "wbc": 1})
    meaning, _ = of_files(tmp_path, labels, classes={"background": "wbc", "rbc": []})
    assert meaning.objects == {"wbc": 0, "rbc": 1, "": 1}
    meaning, _ = of_files(tmp_path, labels, classes={"background": [], "red": "rbc"}, ignore="undeclared")
    assert meaning.objects == {"rbc": 1, "wbc": IGNORE}
    with pytest.raises(ConfigError, match="objects are called 'wbc'") as caught:
        of_files(tmp_path, labels, classes={"background": [], "red": "rbc"})
    assert "'dataset.classes={background: [], red: [rbc], wbc: [wbc]}'" in caught.value.remedy
    with pytest.raises(ConfigError, match="names 'wcb', which no object is called"):
        of_files(tmp_path, labels, ignore="wcb")
    with pytest.raises(ConfigError, match=r"'rbc' stands in dataset\.classes\.b and in another class"):
        of_files(tmp_path, labels, classes={"background": [], "a": ["rbc", "wbc"], "b": "rbc"})


# --- strokes, slips, levels, layers ----------------------------------------------------------------------


def test_strokes_are_asked_about(read):
    masks = [np.zeros((64, 64), np.uint8) for _ in range(4)]
    for number, mask in enumerate(masks):
        mask[8::16] = 1
        mask[8::16, 10 * number : 10 * number + 20] = 2
    text = remedy(read, masks)
    assert "0 fills 94% of the 4 masks, and 1 and 2 are thin strokes" in text
    assert "dataset.ignore=0 'dataset.classes={background: 1, class 1: 2}'" in text
    assert "'dataset.classes={background: 0, class 1: 1, class 2: 2}'" in text
    meaning, _ = read(masks, ignore=0, classes={"background": 1, "cell": 2})
    assert meaning.values == {0: IGNORE, 1: 0, 2: 1}


def slipped(value, *slips, masks=5):
    result = []
    for number in range(masks):
        mask = blobs(*[value] * 8, side=64)
        for place, slip in enumerate(slips):
            mask[50 + place, 3 * number : 3 * number + 2] = slip
        result.append(mask)
    return result


def test_slips_are_told_from_classes(read):
    masks = slipped(255, 2, 3, 254)
    text = remedy(read, masks)
    assert "2, 3 and 254 are in 30 pixels of 5 masks" in text
    assert "`dataset.ignore=[2,3,254]` (or `dataset.ignore=undeclared`)" in text
    meaning, labelling = read(masks, ignore=[2, 3, 254])
    assert (meaning.values, labelling.undeclared) == ({2: IGNORE, 3: IGNORE, 254: IGNORE, 0: 0, 255: 1}, False)
    meaning, labelling = read(masks, ignore="undeclared")
    assert (meaning.values, labelling.undeclared) == ({0: 0, 255: 1}, True)
    assert meaning.notes == ("ignored as undeclared: 2, 3 and 254, in 30 pixels",)
    assert "`dataset.ignore=2`" in remedy(read, slipped(1, 2))  # though 0, 1, 2 might be classes
    _, labelling = read(masks, ignore="undeclared", classes={"background": 0, "cell": 255})
    assert labelling.undeclared


def test_no_advice_throws_half_of_the_labels_away(read):
    masks = [blobs(*[255] * 6), blobs(*[1] * 6), blobs(*[255] * 7)]
    first = remedy(read, masks).partition("dataset.")[2]
    assert first.startswith("classes={background: 0, foreground: [1, 255]}")


def test_levels_near_two_ends_come_with_a_threshold(read):
    masks = [blobs(*[255] * 9) for _ in range(3)]
    for mask in masks:
        mask[mask > 0] -= np.arange((mask > 0).sum(), dtype=np.uint16) % 9
        mask[mask == 0] = np.arange((mask == 0).sum()) % 9
    assert "`dataset.mask_threshold=127`" in remedy(read, masks)
    meaning, labelling = read(masks, threshold=127)
    assert (meaning.values, labelling.threshold) == ({0: 0, 1: 1}, 127)
    assert read(masks, threshold=127, classes={"background": 0, "cell": 1})[0].names == ("background", "cell")


def test_a_layer_a_class(read, tmp_path):
    classes = [blobs(1, 2, 1, 2), blobs(2, 1, 1, 1)]
    whole = [np.stack([c == n for n in range(3)]).astype(np.uint8) for c in classes]
    refs = []
    for number, mask in enumerate(whole):
        tifffile.imwrite(tmp_path / f"l{number}.tif", mask, photometric="minisblack")
        refs.append(ImageRef(tmp_path / f"l{number}.tif", axes="CYX"))
    facts = Facts(tmp_path / "cache")
    meaning, labelling = read_as(refs, Said(**NOTHING | {"layers": True}), facts)
    assert (meaning.names, labelling.layers) == (("background", "class 1", "class 2"), "all")
    for number, mask in enumerate(whole):
        tifffile.imwrite(tmp_path / f"l{number}.tif", mask[1:] * 255, photometric="minisblack")
    assert read_as(refs, Said(**NOTHING | {"layers": True}), facts)[1].layers == "rest"
    tifffile.imwrite(tmp_path / "l1.tif", whole[1], photometric="minisblack")
    meaning, labelling = read_as(refs[:1], Said(**NOTHING | {"layers": True, "instances": True}), facts)
    assert (meaning.names, labelling.objects, labelling.layers) == (("background", "object"), "values", "rest")
    card = DatasetCard("toy", "toy", meaning.names, meaning.values, 1, "made here", labelling=labelling)
    objects = read_labels(refs[0], card, refs[0]).objects
    assert objects is not None
    assert np.array_equal(objects, classes[0])
    with pytest.raises(DataError, match=r"unlike numbers of layers: 2 in .*l0.* and 3 in"):
        read_as(refs, Said(**NOTHING | {"layers": True}), facts)
    tifffile.imwrite(tmp_path / "l1.tif", np.ones((2, 24, 24), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match=r"l1\.tif has not a layer a class"):
        read_as(refs, Said(**NOTHING | {"layers": True}), facts)


def test_layers_that_a_file_takes_for_colours_and_an_alpha(tmp_path):
    shape = np.minimum(blobs(1, 2, 3, 1, 2, 3), 3)
    ref = ImageRef(tmp_path / "a.tif")
    layers = np.stack([shape == n for n in range(4)]).astype(np.uint8)
    tifffile.imwrite(ref.path, layers, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"])
    with pytest.raises(DataError) as caught:
        read_as([ref], Said(**NOTHING), Facts(tmp_path / "cache"))
    assert "If so: `dataset.mask_axes=CYX dataset.mask_layers=true`" in caught.value.remedy
    meaning, labelling = read_as(
        [replace(ref, axes="CYX")], Said(**NOTHING | {"layers": True}), Facts(tmp_path / "cache")
    )
    assert (len(meaning.names), labelling.layers) == (4, "all")


def test_objects_of_a_few_pixels_are_counted_in_the_question_too(read):
    masks = [blobs(1, 2, 3, side=60), blobs(1, 2, side=60)]
    masks[0][50, 50], masks[0][50, 54] = 7, 8
    assert "2 to 5 a mask, 5 different ones in all" in remedy(read, masks)


def halved(mask):
    """Every region without its second column: in two pieces, one of a quarter."""
    mask[:, 2::6] = 0
    return mask


def test_numbers_that_count_up_are_objects_though_these_lie_in_pieces(read):
    masks = [halved(blobs(*range(1, last))) for last in (5, 6, 7, 8)]
    said = remedy(read, masks)
    assert "look like numbered objects: each mask has all of 1, 2, ... to a last one of its own, 4 to 7 a mask" in said
    assert read(masks, instances=True)[1].objects == "values"
    assert read([halved(blobs(1, 2, 3, 4)) for _ in range(4)])[0].names[1:] == tuple(f"class {n}" for n in range(1, 5))


def test_the_greatest_number_may_mark_what_nobody_labelled(read):
    masks = [blobs(1, 2, 255), blobs(1, 2, 3, 255), blobs(4, 255)]
    said = remedy(read, masks, instances=True)
    assert "255 is in nearly all of the 3 masks, and the other numbers end at 4" in said
    assert "`dataset.ignore=255`" in said
    assert read(masks, instances=True, ignore=255)[0].values == {0: 0, 255: IGNORE}
    assert read(masks, instances=True, classes={"background": 0, "object": []})[0].values == {0: 0}
    assert read([blobs(1, 2), blobs(3, 255), blobs(4)], instances=True)[0].values == {0: 0}


def test_more_objects_than_8_bits_count(read):
    mask = np.zeros((100, 100), np.uint16)
    mask[1::5, 1::5] = mask[2::5, 1::5] = np.arange(1, 401).reshape(20, 20)
    assert "more objects than 8 bits can count" in remedy(read, [mask.astype(np.uint8)] * 2, instances=True)
    read([mask, mask], instances=True)
    read([np.where(mask > 255, 0, mask).astype(np.uint8)] * 2, instances=True)


# --- palettes ------------------------------------------------------------------------------------------------

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


@pytest.fixture
def indexed(tmp_path):
    """Reads masks of one shape, each stored as indices of a palette of its own."""

    def reading(*palettes, colours=(BLACK, RED, GREEN), **keys):
        shape, refs = blobs(1, 2, 1, 2, 1), []
        for number, palette in enumerate(palettes):
            table = np.array([palette.index(colour) for colour in colours], np.uint8)
            picture = Image.frombytes("P", shape.shape, table[np.minimum(shape, len(colours) - 1)].tobytes())
            picture.putpalette([channel for colour in palette for channel in colour])
            picture.save(path := tmp_path / f"{number}.png")
            refs.append(ImageRef(path))
        return read_as(refs, Said(**NOTHING | keys), Facts(tmp_path / "cache"))[0]

    return reading


def test_one_palette_for_all(indexed):
    assert indexed((BLACK, RED, GREEN), (BLACK, RED, GREEN)).values == {0: 0, 1: 1, 2: 2}


def test_palettes_that_number_colours_in_another_order(indexed):
    palettes = (BLACK, RED, GREEN), (GREEN, RED, BLACK)
    with pytest.raises(DataError, match=r"the index 0 is #000000 in .*0\.png, and #00ff00 in .*1\.png") as caught:
        indexed(*palettes)
    assert '\'dataset.classes={background: "#000000", class 1: "#00ff00", class 2: "#ff0000"}\'' in caught.value.remedy
    classes = {"background": "#000000", "a": "#ff0000", "b": "#00ff00"}
    assert indexed(*palettes, classes=classes).values == {BLACK: 0, RED: 1, GREEN: 2}


def test_a_palette_whose_first_colour_is_not_the_black_one(indexed):
    with pytest.raises(DataError, match=r"the index 0 is #ff0000 in .*0\.png, and black is 1"):
        indexed((RED, BLACK), (RED, BLACK), colours=(BLACK, RED))
