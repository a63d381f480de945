"""A user's own images and masks: every layout, real files of all kinds, and every mistake named."""

import functools
import json
import subprocess
import sys
from dataclasses import replace

import h5py
import hydra
import numpy as np
import pytest
import roifile
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image
from scipy import ndimage

from lamella.cli import main as cli
from lamella.config.check import build, check
from lamella.config.paths import CHECKOUT
from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.datasets.folder import _natural
from lamella.data.datasets.meaning.classes import Ignore, declared, found
from lamella.data.datasets.meaning.held import Held
from lamella.data.io.labels import read_labels
from lamella.data.io.read import mask_values, read_image, read_mask
from lamella.data.types import IGNORE, ImageRef, Split
from lamella.errors import ConfigError, DataError
from lamella.splits import found as split_found

BINARY = np.array([[0, 255, 0], [255, 255, 0]], np.uint8)
LEVELS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
COLOURS = np.zeros((2, 3, 3), np.uint8)
COLOURS[0, 1:] = 255, 0, 0


@functools.cache
def defaults():
    return compose().dataset


def compose(*overrides):
    cli.register()
    with hydra.initialize_config_dir(str(CHECKOUT / "conf"), version_base="1.3"):
        return check(hydra.compose("train", ["dataset=folder", *overrides]))


def opened(tmp_path, **keys):
    """The data set that these keys give, all others as `conf/dataset/folder.yaml` has them."""
    keys = {k: str(v) if k in ("images", "masks", "pairs") else v for k, v in keys.items()}
    return build(replace(defaults(), arguments=defaults().arguments | {"cache": str(tmp_path / "cache")} | keys))


def write(path, array, rgb=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, array, photometric="rgb" if rgb else "minisblack")
    else:
        Image.fromarray(array).save(path)
    return path


def image(seed=0, shape=(2, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


@pytest.fixture
def pair(tmp_path):
    """Writes pairs into images/ and masks/ and says where they are."""

    def fill(names="abc", suffix=".png", mask=BINARY, mask_file_suffix=".png"):
        for name in names:
            write(tmp_path / "images" / f"{name}{suffix}", image())
            write(tmp_path / "masks" / f"{name}{mask_file_suffix}", mask)
        return {"images": tmp_path / "images", "masks": tmp_path / "masks"}

    return fill


def table(tmp_path, text, **keys):
    path = tmp_path / "data" / "pairs.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return opened(tmp_path, pairs=path, **keys)


# --- the common case -------------------------------------------------------------------------------------


def test_two_folders_and_nothing_else(tmp_path, pair):
    where = pair(["cell10", "cell9", "cell1"], ".jpg", mask_file_suffix=".bmp")
    dataset = opened(tmp_path, **where)
    assert [s.id for s in dataset.samples] == ["cell1", "cell9", "cell10"]
    assert [(s.image.path.name, s.mask.path.name) for s in dataset.samples][1] == ("cell9.jpg", "cell9.bmp")
    assert dataset.samples[0].group == "cell1"
    assert (dataset.samples[0].part, dataset.samples[0].stack, dataset.samples[0].place) == ("", "", None)
    card = dataset.card
    assert (card.name, card.class_names, card.mask_values) == ("folder", ("background", "foreground"), {0: 0, 255: 1})
    assert (card.channels, card.phantom) == (1, False)
    assert card.title == f"{tmp_path.name}/images: foreground against background"


@pytest.mark.parametrize(
    ("suffix", "shape", "dtype", "channels"),
    [
        (".png", (2, 3), np.uint8, 1),
        (".png", (2, 3, 3), np.uint8, 3),
        (".png", (2, 3), np.uint16, 1),
        (".jpg", (2, 3, 3), np.uint8, 3),
        (".bmp", (2, 3, 3), np.uint8, 3),
        (".tif", (2, 3), np.uint16, 1),
        (".tiff", (2, 3, 3), np.uint8, 3),
        (".tif", (2, 3), np.float32, 1),
    ],
)
def test_images_of_all_kinds(tmp_path, suffix, shape, dtype, channels):
    write(tmp_path / "i" / f"a{suffix}", image(0, shape, dtype), rgb=len(shape) == 3)
    write(tmp_path / "m" / "a.png", BINARY)
    dataset = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m")
    assert dataset.card.channels == channels
    assert read_image(dataset.samples[0].image, channels).shape == (channels, 2, 3)


def test_one_bit_and_palette_masks(tmp_path):
    for name, mask in (("a", BINARY), ("b", BINARY.T.copy())):
        write(tmp_path / "i" / f"{name}.png", image())
        (tmp_path / "m").mkdir(exist_ok=True)
        Image.fromarray(mask).convert("1").save(tmp_path / "m" / f"{name}.png")
    card = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m").card
    assert card.mask_values == {0: 0, 255: 1}
    for name in "ab":
        picture = Image.fromarray(LEVELS).convert("P")
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        picture.save(tmp_path / "m" / f"{name}.png")
    dataset = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m")
    assert dataset.card.class_names == ("background", "class 1", "class 2")
    assert np.array_equal(read_mask(dataset.samples[0].mask, dataset.card.mask_values), LEVELS)


def test_what_masks_hold_is_found_out_once(tmp_path, pair, monkeypatch):
    where = pair(mask=LEVELS)
    read = []

    def counted(ref, labelling):
        read.append(ref.path.name)
        return mask_values(ref, labelling)

    monkeypatch.setattr("lamella.data.datasets.meaning.held.mask_values", counted)
    first = opened(tmp_path, **where)
    assert len(read) >= 1  # three masks of one content, found out by three threads at once
    read.clear()
    assert opened(tmp_path, **where) == first
    assert read == []
    write(tmp_path / "masks" / "b.png", LEVELS + 1)
    assert len(opened(tmp_path, **where).card.class_names) == 4
    assert read == ["b.png"]


# --- one folder, sub-folders, stacks ---------------------------------------------------------------------


def test_one_folder_with_suffixes(tmp_path):
    for name in ("a", "b_mask_1"):
        write(tmp_path / "all" / f"{name}.tif", image())
        write(tmp_path / "all" / f"{name}_mask.png", BINARY)
    for masks in (None, tmp_path / "all"):
        keys = {} if masks is None else {"masks": masks}
        dataset = opened(tmp_path, images=tmp_path / "all", mask_suffix="_mask", **keys)
        assert [(s.id, s.image.path.name, s.mask.path.name) for s in dataset.samples] == [
            ("a", "a.tif", "a_mask.png"),
            ("b_mask_1", "b_mask_1.tif", "b_mask_1_mask.png"),
        ]


def test_sub_folders_are_published_parts(tmp_path):
    for part, names in (("train", "abc"), ("val", "a"), ("test", "ad")):
        for name in names:
            write(tmp_path / "i" / part / f"{name}.png", image())
            write(tmp_path / "m" / part / f"{name}.png", BINARY)
    dataset = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m")
    assert [(s.id, s.part) for s in dataset.samples] == [
        ("test/a", "test"), ("test/d", "test"), ("train/a", "train"), ("train/b", "train"), ("train/c", "train"),
        ("val/a", "val"),
    ]  # fmt: skip
    split = split_found(dataset.samples, val=0.5, test=0.4, seed=0)
    assert [[s.id for s in part] for part in split.parts.values()] == [
        ["train/a", "train/b", "train/c"], ["val/a"], ["test/a", "test/d"],
    ]  # fmt: skip


def test_stacks_give_a_sample_a_page(tmp_path):
    stacks = (
        write(tmp_path / "volume.tif", image(0, (12, 4, 5))),
        write(tmp_path / "labels.tif", np.eye(5, dtype=np.uint8)[None, :4].repeat(12, 0)),
    )
    dataset = opened(tmp_path, images=stacks[0], masks=stacks[1])
    assert [s.id for s in dataset.samples][:2] == ["volume-000", "volume-001"]
    assert {s.group for s in dataset.samples} == {"volume"}
    assert [(s.stack, s.place) for s in dataset.samples] == [("volume", page) for page in range(12)]
    assert dataset.card.mask_values == {0: 0, 1: 1}
    pages = [read_image(s.image, 1)[0] for s in dataset.samples]
    assert np.array_equal(pages, tifffile.imread(stacks[0]))
    split = split_found(dataset.samples, val=0.15, test=0.25, seed=0)
    assert [[s.image.page for s in part] for part in (split.val, split.test)] == [[6, 7], [9, 10, 11]]
    unrelated = opened(tmp_path, images=stacks[0], masks=stacks[1], serial=False)
    assert [s.group for s in unrelated.samples] == [s.id for s in unrelated.samples]
    assert {(s.stack, s.place) for s in unrelated.samples} == {("", None)}


def test_the_regions_of_a_stack_go_to_its_pages(tmp_path):
    """As ImageJ's ROI Manager saves them: one archive a stack, each region with its slice."""
    stack = write(tmp_path / "volume.tif", image(0, (12, 8, 9)))
    regions = []
    for page in range(12):
        corners = np.array([(0, 0), (4, 0), (4, 4), (0, 4)]) + np.array([page % 5, page % 4])
        regions.append(roifile.ImagejRoi.frompoints(corners))
        regions[-1].position = page + 1
        regions[-1].name = f"{page + 1:04d}"
    roifile.roiwrite(tmp_path / "rois.zip", regions)
    dataset = opened(tmp_path, images=stack, masks=tmp_path / "rois.zip")
    assert [(s.image.page, s.mask.page) for s in dataset.samples] == [(page, page) for page in range(12)]
    for page, sample in enumerate(dataset.samples):
        expected = np.zeros((8, 9), bool)
        expected[page % 4 : page % 4 + 4, page % 5 : page % 5 + 4] = True
        assert np.array_equal(read_labels(sample.mask, dataset.card, sample.image).objects == 1, expected)


def test_a_file_of_several_arrays_says_which_there_are(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["raw"], file["label"] = image(0, (12, 8, 9)), image(0, (12, 8, 9)) % 2
    with pytest.raises(DataError, match=r"v\.h5 holds 2 arrays; which is meant is not said") as caught:
        opened(tmp_path, images=tmp_path / "v.h5", masks=f"{tmp_path}/v.h5:/label")
    assert f"{tmp_path}/v.h5:/raw  (12 x 8 x 9, uint8)" in caught.value.remedy
    dataset = opened(tmp_path, images=f"{tmp_path}/v.h5:/raw", masks=f"{tmp_path}/v.h5:/label")
    assert [(s.image.page, s.mask.page) for s in dataset.samples] == [(page, page) for page in range(12)]


def test_folders_of_stacks_and_single_images(tmp_path):
    for name, shape in (("one", (3, 4, 5)), ("two", (2, 4, 5)), ("flat", (4, 5))):
        write(tmp_path / "i" / f"{name}.tif", image(0, shape))
        write(tmp_path / "m" / f"{name}.tif", image(1, shape) % 2)
    dataset = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m")
    assert [(s.id, s.group) for s in dataset.samples] == [
        ("flat", "flat"), ("one-000", "one"), ("one-001", "one"), ("one-002", "one"), ("two-000", "two"),
        ("two-001", "two"),
    ]  # fmt: skip
    assert [(s.stack, s.place) for s in dataset.samples] == [
        ("", None), ("one", 0), ("one", 1), ("one", 2), ("two", 0), ("two", 1),
    ]  # fmt: skip
    write(tmp_path / "m" / "two.tif", image(1, (3, 4, 5)) % 2)
    with pytest.raises(DataError, match=r"two\.tif gives 2 image\(s\), .*two\.tif 3 mask\(s\)"):
        opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m")


def test_declared_axes(tmp_path):
    tifffile.imwrite(tmp_path / "i.tif", image(0, (4, 6, 7)), photometric="minisblack", metadata=None)
    write(tmp_path / "m.png", image(1, (6, 7)) % 2)
    keys = {"images": tmp_path / "i.tif", "masks": tmp_path / "m.png"}
    with pytest.raises(DataError, match=r"gives 4 image\(s\), .* 1 mask") as caught:
        opened(tmp_path, **keys)
    assert "dataset.axes=CYX" in caught.value.remedy
    dataset = opened(tmp_path, **keys, axes="CYX")
    assert dataset.card.channels == 4
    assert dataset.samples[0].image == ImageRef(tmp_path / "i.tif", None, "CYX")
    assert read_image(dataset.samples[0].image, 4).shape == (4, 6, 7)


# --- CSV -------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "data" / "i" / f"{name}.png", image())
        write(tmp_path / "data" / "m" / f"{name}_x.png", BINARY)
    write(tmp_path / "data" / "stack.tif", image(0, (3, 2, 3)))
    write(tmp_path / "data" / "labels.tif", np.stack([BINARY] * 3))
    return tmp_path


def test_a_csv_of_pairs(data):
    plain = 'image,mask,note\ni/b.png,m/b_x.png,"late, dark"\ni/a.png,m/a_x.png,\n'
    for text in (
        plain,
        "\ufeff" + plain,
        plain.replace("\n", "\r\n"),
        "image;mask\ni/b.png;m/b_x.png\ni/a.png; m/a_x.png\n",
    ):
        samples = table(data, text).samples
        assert [(s.id, s.group, s.part, s.mask.path.name) for s in samples] == [
            ("i/b", "i/b", "", "b_x.png"),
            ("i/a", "i/a", "", "a_x.png"),
        ]


def test_a_csv_with_all_columns(data):
    samples = table(
        data,
        "image,mask,group,part,image_page,mask_page\n"
        "stack.tif,labels.tif,left,train,0,2\nstack.tif,labels.tif,left,train,1,1\ni/a.png,m/a_x.png,right,test,,\n",
    ).samples
    assert [(s.id, s.image.page, s.mask.page, s.group, s.part) for s in samples] == [
        ("stack-000", 0, 2, "left", "train"),
        ("stack-001", 1, 1, "left", "train"),
        ("i/a", None, None, "right", "test"),
    ]
    assert [(s.stack, s.place) for s in samples] == [("stack", 0), ("stack", 1), ("", None)]
    assert [s.id for s in table(data, "image,mask\nstack.tif,labels.tif").samples][-1] == "stack-002"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,mask\ni/a.png,m/a_x.png\ni/c.png,m/b_x.png", r"pairs\.csv, line 3: there is no file .*i.c\.png"),
        ("image,mask\ni/a.png,", "line 2: no mask"),
        ("image,mask\ni/a.png", "line 2: no mask"),
        ("image,mask\ni/a.png,m/a_x.png,x", "line 2: more values than columns"),
        ("image,label\ni/a.png,m/a_x.png", "has no column mask; it has image, label"),
        ("", "has no column image and no column mask; it has none"),
        ("image,mask\n", "has no row"),
        ("image,mask,goup\ni/a.png,m/a_x.png,p", "has a column 'goup'"),
        ("Image,mask\ni/a.png,m/a_x.png", "has a column 'Image'"),
        ("image,mask,mask\ni/a.png,m/a_x.png,m/b_x.png", "has the column mask twice"),
        ("image,mask,part\ni/a.png,m/a_x.png,dev", "line 2: part is 'dev'"),
        ("image,mask,group\ni/a.png,m/a_x.png,p\ni/b.png,m/b_x.png,", "line 3: no group"),
        ("image,mask,image_page\ni/a.png,m/a_x.png,-1", "line 2: image_page is '-1'"),
        ("image,mask,image_page\nstack.tif,m/a_x.png,3", r"stack\.tif has no page 3, but 3 page\(s\)"),
        ("image,mask,image_page\nstack.tif,labels.tif,1", r"stack\.tif gives 1 image\(s\), .*labels\.tif 3 mask"),
        ("image,mask\ni/a.png,m/a_x.png\ni/a.png,m/a_x.png", "line 3: the same image and mask as in line 2"),
        ("image,mask,class\ni/a.png,m/a_x.png,", "line 2: no class"),
        ("image,mask,group\ni/a.png,m/a_x.png,p\ni/a.png,m/b_x.png,q", "line 3: another group or part than in line 2"),
        ("image,mask,mask_page\ni/a.png,labels.tif,0\ni/a.png,labels.tif,1", "line 2: .* has several masks"),
        (b"image,mask\n\xe4.png,m/a_x.png", "is not text in UTF-8"),
    ],
)
def test_a_faulty_csv_is_refused(data, text, problem):
    with pytest.raises(DataError, match=problem):
        table(data, text)


def test_a_csv_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv is missing"):
        opened(tmp_path, pairs=tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="cannot be read"):
        opened(tmp_path, pairs=tmp_path)


# --- neighbouring sections in files of their own ----------------------------------------------------------


def test_sections_in_files_of_their_own_are_split_in_blocks_and_audited(tmp_path):
    volume = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(20, 64, 64)), (1.5, 3, 3))
    for number, section in enumerate(volume):
        write(tmp_path / "i" / f"cut_{number:02d}.png", np.clip(128 + 900 * section, 0, 255).astype(np.uint8))
        write(tmp_path / "m" / f"cut_{number:02d}.png", (section > 0.02).astype(np.uint8))
    dataset = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m")
    assert [(s.stack, s.place, s.group) for s in dataset.samples] == [("cut", n, "cut") for n in range(20)]
    assert "taken as one stack" in dataset.card.notes[0]
    split = split_found(dataset.samples, val=0.15, test=0.2, seed=0)
    assert [[s.place for s in part] for part in split.parts.values()] == [[*range(11)], [12, 13, 14], [16, 17, 18, 19]]
    store = Store(tmp_path / "cache", dataset.card, 1)
    assert audit(dataset, split, store).findings == ()
    picked = Split(*(tuple(dataset.samples[n] for n in places) for places in ([*range(9), *range(10, 19)], [9], [19])))
    findings = {finding.kind: finding.message for finding in audit(dataset, picked, store).findings}
    assert findings == {"border": "neighbouring sections, which look alike, are in two parts: cut sections 8 and 9 "
                        "(train and val), 9 and 10 (val and train), 18 and 19 (train and test)"}  # fmt: skip
    scattered = Split(*(tuple(s for s in dataset.samples if s.place % 5 in some) for some in ([0, 1, 2], [3], [4])))
    kinds = {finding.kind for finding in audit(dataset, scattered, store).findings}
    assert kinds == {"neighbours"}
    unrelated = opened(tmp_path, images=tmp_path / "i", masks=tmp_path / "m", serial=False)
    assert {(s.stack, s.group == s.id) for s in unrelated.samples} == {("", True)}


# --- outlines, spacing, objects ---------------------------------------------------------------------------


def test_outlines_of_a_coco_file(tmp_path, pair):
    where = pair("ab")
    boxes = [("rbc", [1, 0, 2, 0, 2, 1, 1, 1]), ("wbc", [0, 1, 2, 1, 2, 2, 0, 2]), ("dirt", [0, 0, 1, 0, 1, 1, 0, 1])]
    outlines = {
        "images": [{"id": n, "file_name": f"{name}.png", "height": 2, "width": 3} for n, name in enumerate("ab")],
        "categories": [{"id": n, "name": name} for n, (name, _) in enumerate(boxes)],
        "annotations": [
            {"id": 9 * image + n, "image_id": image, "category_id": n, "segmentation": [box], "iscrowd": 0}
            for image in (0, 1)
            for n, (_, box) in enumerate(boxes)
        ],
    }
    file = tmp_path / "all.json"
    file.write_text(json.dumps(outlines))
    keys = {"images": where["images"], "masks": file}
    card = opened(tmp_path, **keys).card
    assert (card.class_names, card.objects, card.labelling.objects) == (
        ("background", "rbc", "wbc", "dirt"), "cells", "drawn",
    )  # fmt: skip
    declared = opened(
        tmp_path, **keys, classes={"background": [], "cell": ["rbc", "wbc"]}, ignore="dirt", border="none"
    )
    labels = read_labels(declared.samples[0].mask, declared.card, declared.samples[0].image)
    assert labels.classes.tolist() == [[IGNORE, 1, 0], [1, 1, 0]]
    assert labels.objects is not None
    assert len(np.unique(labels.objects)) == 3


@pytest.mark.parametrize(("said", "read"), [(325, (325.0, 325.0)), ([4, 8.5], (4.0, 8.5)), (None, None)])
def test_the_size_of_a_pixel_as_it_is_said(tmp_path, pair, said, read):
    assert opened(tmp_path, **pair(), spacing_nm=said).card.spacing_nm == read


@pytest.mark.parametrize("said", [0, -3, "325 nm", [1, 2, 3], [1], True, float("nan")])
def test_the_size_of_a_pixel_that_is_none(tmp_path, pair, said):
    with pytest.raises(ConfigError, match=r"dataset\.spacing_nm must be one number above 0, or two"):
        opened(tmp_path, **pair(), spacing_nm=said)


def test_the_size_of_a_pixel_as_files_say(tmp_path):
    for name, side in (("a", 0.325), ("b", 0.325), ("c", 0.5)):
        write(tmp_path / "m" / f"{name}.png", BINARY)
        (tmp_path / "i").mkdir(exist_ok=True)
        tifffile.imwrite(
            tmp_path / "i" / f"{name}.tif",
            image(),
            imagej=True,
            resolution=(1 / side, 1 / side),
            metadata={"unit": "um"},
        )
    where = {"images": tmp_path / "i", "masks": tmp_path / "m"}
    card = opened(tmp_path, **where).card
    assert card.spacing_nm is None
    assert "in some files, not in all" in card.notes[-1]
    assert opened(tmp_path, **where, spacing_nm=400).card.spacing_nm == (400, 400)
    for kind, suffix in (("i", "tif"), ("m", "png")):
        (tmp_path / kind / f"c.{suffix}").unlink()
    card = opened(tmp_path, **where).card
    assert card.spacing_nm == (325, 325)
    assert card.notes == ("a pixel is 325 x 325 nm (height x width), as the files say",)


def test_what_regions_stand_for(tmp_path, pair):
    where = pair()
    assert opened(tmp_path, **where).card.objects == ""
    assert opened(tmp_path, **where, objects="neurites").card.objects == "neurites"
    assert opened(tmp_path, **where, objects="cells").card.objects == "cells"
    declared = {"classes": {"background": 0, "cell": []}, "instances": True}
    assert opened(tmp_path, **where, **declared).card.objects == "cells"
    assert opened(tmp_path, **where, **declared, objects="none").card.objects == ""


# --- groups ----------------------------------------------------------------------------------------------


def test_groups_by_pattern(tmp_path, pair):
    where = pair(["p1_a", "p1_b", "p2_a"])
    assert [s.group for s in opened(tmp_path, **where, group="^([^_]+)_").samples] == ["p1", "p1", "p2"]
    assert [s.group for s in opened(tmp_path, **where, group="_(.)$").samples] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("pattern", "error", "problem"),
    [
        ("p.", ConfigError, r"has 0 \(parts\) in brackets, not 1"),
        ("(p)(.)", ConfigError, r"has 2 \(parts\)"),
        ("(p", ConfigError, "is no regular expression: .*unterminated"),
        ("^(q)", DataError, r"finds no group in the name of .*p1\.png"),
        ("(q?)", DataError, "finds no group"),
        ("p|(q)", DataError, "finds no group"),
    ],
)
def test_a_pattern_that_gives_no_group(tmp_path, pair, pattern, error, problem):
    with pytest.raises(error, match=problem) as caught:
        opened(tmp_path, **pair(["p1", "p2"]), group=pattern)
    assert "\"dataset.group='^([^_]+)_'\"" in caught.value.remedy  # as a shell and Hydra take it


def test_a_group_is_said_once(data):
    with pytest.raises(ConfigError, match="the CSV has a column group, too"):
        table(data, "image,mask,group\ni/a.png,m/a_x.png,p", group="(.)")


# --- what masks hold -------------------------------------------------------------------------------------


def counts(*held):
    """What masks hold: pixels of each value; of all but 0 in regions of half of them."""
    return {
        ImageRef(name): {value: Held(n, *((2, n // 2, n) if value else ())) for value, n in values.items()}
        for name, values in zip("abcdefgh", held, strict=False)
    }


NONE = Ignore()


@given(st.integers(1, 254), st.integers(1, 2**15))
@settings(max_examples=30)
def test_two_values_are_binary_and_all_up_to_k_are_classes(k, v):
    assert found(counts({0: 5}, {v: 3, 0: 1}), NONE).values == {0: 0, v: 1}
    held = counts(dict.fromkeys(range(k + 1), 1))
    if k < 20:
        classes = found(held, NONE)
        assert classes.values == {n: n for n in range(k + 1)}
        assert len(classes.names) == k + 1
        assert classes.names[0] == "background"
    else:  # numbered objects, more likely
        with pytest.raises(DataError, match=f"hold {k + 1} different values"):
            found(held, NONE)


def test_what_is_ignored_is_no_class():
    held = counts({0: 5, 1: 1}, {0: 5, 255: 9})
    assert found(held, Ignore((255,))).values == {255: IGNORE, 0: 0, 1: 1}
    with pytest.raises(DataError) as caught:
        found(held, NONE)
    assert "dataset.ignore=255" in caught.value.remedy
    assert found(counts({0: 9, 2: 1, 255: 1}), Ignore((255,))).values == {255: IGNORE, 0: 0, 2: 1}


@pytest.mark.parametrize(
    ("held", "ignore", "problem", "declaration"),
    [
        ([{0: 90, 128: 9}, {0: 9, 255: 9}], None, r"0 \(99 px\), 128 \(9 px\), 255 \(9 px\)",
         "dataset.classes={background: 0, class 1: 128, class 2: 255}"),
        ([{1: 5, 2: 9}], None, r"2 \(9 px\), 1 \(5 px\)", "dataset.classes={background: 2, class 1: 1}"),
        ([{0: 50, 255: 50}, {0: 5, 255: 5, 7: 1}], None, "; 7 in b", "class 1: 7, class 2: 255}"),
        ([{(0, 0, 0): 9, (255, 0, 0): 2}, {0: 9}], None, r"#000000 \(18 px\), #ff0000 \(2 px\); #ff0000 in a",
         'dataset.classes={background: "#000000", class 1: "#ff0000"}'),
        ([{0: 9}], None, "hold only 0", None),
        ([{0: 9, 255: 9}], 255, "hold only 0", None),
        ([{255: 9}], 255, "hold nothing but the value to ignore", None),
        ([{n * 3: 1 for n in range(60)}, {0: 5}], None, "hold 60 different values, a alone 60", None),
    ],
)  # fmt: skip
def test_values_of_unclear_meaning_come_with_a_declaration_to_copy(held, ignore, problem, declaration):
    with pytest.raises(DataError, match=problem) as caught:
        found(counts(*held), Ignore(() if ignore is None else (ignore,)))
    if declaration:
        assert declaration in caught.value.remedy


def test_the_declaration_to_copy_works(tmp_path, pair):
    where = pair(mask=COLOURS)
    with pytest.raises(DataError) as caught:
        opened(tmp_path, **where)
    line = caught.value.remedy.split("'")[1]
    assert line == 'dataset.classes={background: "#000000", class 1: "#ff0000"}'
    dataset = build(compose(line, f"paths.cache={tmp_path}", *(f"dataset.{k}={v}" for k, v in where.items())).dataset)
    assert dataset.card.class_names == ("background", "class 1")
    truth = read_mask(dataset.samples[0].mask, dataset.card.mask_values)
    assert truth.tolist() == [[0, 1, 1], [0, 0, 0]]


def test_declared_classes():
    assert declared({"ground": [0, 64], "cell": "255"}, Ignore((7,))).values == {7: IGNORE, 0: 0, 64: 0, 255: 1}
    colours = declared({"ground": 0, "red cell": "#FF0000"}, Ignore((255,)))
    assert colours.names == ("ground", "red cell")
    assert colours.values == {(255, 255, 255): IGNORE, (0, 0, 0): 0, (255, 0, 0): 1}


@pytest.mark.parametrize(
    ("classes", "ignore", "problem"),
    [
        ({"a": 0}, None, r"names 1 class\(es\)"),
        ({}, None, r"names 0 class\(es\)"),
        ({str(n): n for n in range(256)}, None, r"names 256 class\(es\); 2 to 255"),
        ({"a": 0, "b": 0}, None, r"^0 stands in dataset\.classes\.a and in dataset\.classes\.b"),
        ({"a": 0, "b": "#000000"}, None, r"#000000 stands in dataset\.classes\.a and"),
        ({"a": 0, "b": [5, 255]}, 255, r"255 stands in dataset\.ignore and in dataset\.classes\.b"),
        ({"a": 0, "b": "#ff00"}, None, r"dataset\.classes\.b must be a grey level.*got '#ff00'"),
        ({"a": 0, "b": 0.5}, None, "got 0.5"),
        ({"a": 0, "b": None}, None, "got None"),
        ({"a": 0, "b": True}, None, "got True"),
        ({0: "background", 128: "cell"}, None, r"dataset\.classes\.0 must be a grey level"),
    ],
)
def test_a_faulty_declaration_is_refused(classes, ignore, problem):
    with pytest.raises(ConfigError, match=problem):
        declared(classes, Ignore(() if ignore is None else (ignore,)))


def test_masks_that_cannot_be_read_are_left_to_the_audit(tmp_path, pair):
    where = pair()
    (tmp_path / "masks" / "b.png").write_bytes(b"no image")
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    dataset = opened(tmp_path, **where)
    assert len(dataset.samples) == 3
    assert dataset.card.mask_values == {0: 0, 255: 1}
    for kind in ("images", "masks"):  # not one that could be read
        for name in "abc":
            (tmp_path / kind / f"{name}.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=rf"{kind}.a\.png cannot be read"):
            opened(tmp_path, **where)


# --- what is wrong before any file is read ---------------------------------------------------------------


def test_keys_that_contradict_each_other(tmp_path, pair):
    where = pair()
    with pytest.raises(ConfigError, match=r"dataset\.images has no value") as caught:
        opened(tmp_path)
    assert "dataset.images=DIR dataset.masks=DIR" in caught.value.remedy
    with pytest.raises(ConfigError, match="are both set"):
        opened(tmp_path, pairs=tmp_path / "x.csv", **where)
    with pytest.raises(DataError, match=r"the masks of .*a\.png are not named"):
        opened(tmp_path, images=tmp_path / "images" / "a.png")
    with pytest.raises(ConfigError, match=r"dataset\.ignore must be a grey level"):
        opened(tmp_path, **where, ignore="white")


def test_places_that_are_wrong(tmp_path, pair):
    where = pair()
    with pytest.raises(DataError, match="nowhere is missing") as caught:
        opened(tmp_path, images=where["images"], masks=tmp_path / "nowhere")
    assert "dataset.masks" in caught.value.remedy
    with pytest.raises(DataError, match=r"a\.png is a file, .*masks a folder"):
        opened(tmp_path, images=where["images"] / "a.png", masks=where["masks"])
    for masks in ({}, {"masks": where["images"]}):
        with pytest.raises(DataError, match="nothing in their names tells them apart") as caught:
            opened(tmp_path, images=where["images"], **masks)
        assert f"dataset.masks={where['masks']}`? It pairs 3 of 3." in caught.value.remedy
    with pytest.raises(DataError, match=r"no mask in .*images: no file's name ends in _mask"):
        opened(tmp_path, images=where["images"], mask_suffix="_mask")
    write(tmp_path / "images" / "train" / "d.png", image())
    with pytest.raises(DataError, match=r"a\.png lies beside the sub-folder train/"):
        opened(tmp_path, **where)
    for file in [*where["images"].glob("*.png")]:
        file.rename(tmp_path / "images" / "train" / file.name)
    with pytest.raises(DataError, match="different ones of the sub-folders"):
        opened(tmp_path, **where)


@given(st.lists(st.text("ab019", min_size=1, max_size=5), min_size=2, max_size=6))
def test_names_sort_as_people_count(names):
    backwards = list(reversed(names))
    assert sorted(names, key=_natural) == sorted(backwards, key=_natural)
    numbers = sorted(range(0, 2000, 37), key=lambda n: _natural(f"s{n}b{n % 7}"))
    assert numbers == list(range(0, 2000, 37))


# --- on the command line ---------------------------------------------------------------------------------


def test_the_command_line_takes_classes_as_they_are_written():
    command = [sys.executable, "train.py", "--cfg", "job", "dataset=folder", "dataset.images=my images"]
    command += [
        "dataset.classes={background: [0, 7], red cell: 255}",
        'dataset.ignore="#ffffff"',
        "dataset.group='^([^_]+)_'",
    ]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    dataset = OmegaConf.create(done.stdout).dataset
    assert dataset.classes == {"background": [0, 7], "red cell": 255}
    assert (dataset.images, dataset.ignore, dataset.group) == ("my images", "#ffffff", "^([^_]+)_")


# --- the published data, read as anybody's ---------------------------------------------------------------


def test_blood_read_as_a_folder_is_blood(tmp_path, lamella_data):
    if not (lamella_data / "blood").is_dir():
        pytest.skip("no blood/")
    known = blood(root=str(lamella_data / "blood"))
    by_part = []
    for part in ("train", "test"):
        root = lamella_data / "blood" / part
        dataset = opened(tmp_path, images=root / "original", masks=root / "mask")
        assert dataset.card.mask_values == known.card.mask_values
        assert dataset.card.channels == 3
        by_part += [(s.id, s.image.path, s.mask.path) for s in dataset.samples]
    assert sorted(by_part) == sorted((s.id, s.image.path, s.mask.path) for s in known.samples)
    rows = [f"{s.image.path},{s.mask.path},{s.part}" for s in known.samples]
    listed = table(tmp_path, "\n".join(["image,mask,part", *rows]))
    assert [(s.image, s.mask, s.part) for s in listed.samples] == [(s.image, s.mask, s.part) for s in known.samples]
    for sample in known.samples[::20]:
        truth = read_mask(sample.mask, known.card.mask_values)
        assert np.array_equal(truth, read_mask(sample.mask, listed.card.mask_values))


def test_em_read_as_a_stack_is_em(tmp_path, lamella_data):
    root = lamella_data / "em"
    if not root.is_dir():
        pytest.skip("no em/")
    dataset = opened(
        tmp_path, images=root / "train-volume.tif", masks=root / "train-labels.tif",
        classes={"interior": 255, "membrane": 0}, axes="ZYX", mask_axes="ZYX",
    )  # fmt: skip
    known = em(root=str(root))
    assert [(s.image, s.mask) for s in dataset.samples] == [(s.image, s.mask) for s in known.samples]
    assert (dataset.card.class_names, dataset.card.mask_values) == (known.card.class_names, known.card.mask_values)
    assert [(s.stack, s.place) for s in dataset.samples] == [(s.stack, s.place) for s in known.samples]
    assert dataset.card.channels == 1
    split = split_found(dataset.samples, val=0.15, test=0.2, seed=0)
    assert [s.image.page for s in split.test] == list(range(24, 30))
