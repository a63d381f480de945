"""What is proposed where nothing pairs: it works as it is typed, and pairs what belongs together."""

import re
import shlex

import numpy as np
import pytest
import roifile
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from lamella.data.datasets.pairing import Affixes, from_places
from lamella.data.datasets.pairing.proposals import spelt
from lamella.errors import DataError

KEYS = ("images", "masks", "image_prefix", "image_suffix", "mask_prefix", "mask_suffix")
PARSER = OverridesParser.create()


def put(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def refused(images, masks=None, **affixes):
    with pytest.raises(DataError) as caught:
        from_places(str(images), masks and str(masks), Affixes(**affixes))
    return caught.value


def typed(remedy, images, masks=None):
    """The pairs that the proposed keys give, typed beside the places; and how many of how many were promised."""
    said = re.fullmatch(r"Did you mean `(.*)`\? It pairs (\d+) of (\d+)\.", remedy)
    assert said, remedy
    keys = {"images": str(images), "masks": masks and str(masks)}
    for override in PARSER.parse_overrides(shlex.split(said[1])):
        assert override.key_or_group.removeprefix("dataset.") in KEYS
        assert isinstance(override.value(), str)
        keys[override.key_or_group.removeprefix("dataset.")] = override.value()
    found = from_places(keys.pop("images"), keys.pop("masks"), Affixes(**keys))
    assert len(found.pairs) == int(said[2])
    return {pair.image.path.name: pair.mask.path.name for pair in found.pairs}, said[2] + " of " + said[3]


def test_a_scheme_proposed_is_the_one_there_is(tmp_path):
    """Names as programs and people give them: one folder, or two."""
    numbers = [str(n) for n in (1, 2, 10, 11)]
    schemes = [
        ("{}.tif", "{}_cp_masks.tif"),
        ("{}.png", "{}_cp_masks.png"),
        ("img_{}.tif", "img_{}.mask.png"),
        ("s{}.jpg", "s{}_seg.png"),
        ("s{}.png", "s{}_label.png"),
        ("s{}.png", "s{}_labels.tif"),
        ("s{}.png", "s{}_gt.png"),
        ("s{}.tif", "s{}-mask.tif"),
        ("s{}.tif", "s{} mask.tif"),
        ("s{}_img.png", "s{}_masks.png"),
        ("{}.bmp", "{}.png"),
        ("image{}.png", "mask{}.png"),
        ("img_{}_x.png", "msk_{}_y.png"),
        ("{}_image.png", "{}_mask.png"),
        ("s{}.jpg", "s{}.jpg.mask.png"),
        ("orig_{}.tif", "label_{}.tif"),
        ("{}.tif", "mask_{}.tif"),
        ("{}_0000.nii.gz", "{}_label.nii.gz"),
        ("Präparat {}.tif", "Präparat {} (mask).tif"),
    ]
    for number, (image, mask) in enumerate(schemes):
        wanted = {image.format(n): mask.format(n) for n in numbers}
        one, two = tmp_path / f"{number}", tmp_path / f"{number} in two"
        put(one, [*wanted, *wanted.values()])
        put(two / "i", wanted)
        put(two / "m", wanted.values())
        assert typed(refused(one).remedy, one) == (wanted, "4 of 4")
        if image.split(".")[0] != mask.split(".")[0]:
            assert typed(refused(two / "i", two / "m").remedy, two / "i", two / "m") == (wanted, "4 of 4")


cores = st.text("abXY019_-ä", min_size=1, max_size=5).filter(lambda core: core[0].isalnum() and core[-1].isalnum())
ends = st.sampled_from(["", "_img", "_image", "-raw", " orig", "_im_1"])
mask_ends = st.sampled_from(["_mask", "_cp_masks", ".mask", " mask", "-seg", "_labels_2", "'s gt", "_1_label"])


@given(st.sets(cores, min_size=2, max_size=8), ends, mask_ends, st.booleans(), st.sampled_from(["", "x_", "img-"]))
@settings(max_examples=60, deadline=None)
def test_a_proposal_works_as_it_is_typed(tmp_path_factory, names, end, mask_end, one_folder, prefix):
    root = tmp_path_factory.mktemp("names")
    wanted = {f"{prefix}{name}{end}.png": f"{prefix}{name}{mask_end}.png" for name in sorted(names)}
    assume(len({*wanted, *wanted.values()}) == 2 * len(wanted))
    images, masks = (root, None) if one_folder else (root / "a", root / "b")
    put(images, wanted)
    put(masks or images, wanted.values())
    remedy = refused(images, masks).remedy
    if remedy.startswith("Did you mean"):
        pairs, _ = typed(remedy, images, masks)
        assert pairs == wanted
    else:
        assert not one_folder or len(names) < 3


def test_capitals_of_affixes_do_not_matter(tmp_path):
    put(tmp_path, ["a.png", "a_mask.png", "b.png", "b_Mask.png", "c.png", "c_MASK.PNG"])
    pairs, said = typed(refused(tmp_path).remedy, tmp_path)
    assert (pairs, said) == ({"a.png": "a_mask.png", "b.png": "b_Mask.png", "c.png": "c_MASK.PNG"}, "3 of 3")


def test_two_folders_may_differ_in_a_number(tmp_path):
    put(tmp_path / "i", [f"c_{n:03}_0000.nii.gz" for n in range(3)])
    put(tmp_path / "m", [f"c_{n:03}.nii.gz" for n in range(3)])
    remedy = refused(tmp_path / "i", tmp_path / "m").remedy
    assert remedy == "Did you mean `\"dataset.image_suffix='_0000'\"`? It pairs 3 of 3."


def test_only_the_greater_part_is_proposed_and_said_to_be_a_part(tmp_path):
    put(tmp_path, [f"{n}.png" for n in "abcde"] + [f"{n}_mask.png" for n in "abcd"])
    error = refused(tmp_path)
    assert error.remedy == "Did you mean `dataset.mask_suffix=_mask`? It pairs 4 of 5."
    assert "e.png without a mask" in refused(tmp_path, mask_suffix="_mask").problem
    few = tmp_path / "few"
    put(few / "i", [f"{n}.png" for n in "abcdef"])
    put(few / "m", ["a_mask.png", "b_mask.png", "x.png", "y.png", "z.png"])
    assert "Did you mean" not in refused(few / "i", few / "m").remedy


def test_wrong_affixes_are_taken_back(tmp_path):
    put(tmp_path, [f"{n}{end}.png" for n in "abc" for end in ("", "_mask")])
    error = refused(tmp_path, image_suffix="_img", mask_suffix="_seg")
    assert error.remedy == "Did you mean `dataset.image_suffix= dataset.mask_suffix=_mask`? It pairs 3 of 3."
    assert len(from_places(str(tmp_path), None, Affixes(mask_suffix="_mask")).pairs) == 3


def test_numbers_alone_tell_no_masks_from_images(tmp_path):
    put(tmp_path, [f"p{p}_{n}.png" for p in range(4) for n in (1, 2)])
    assert "Did you mean" not in refused(tmp_path).remedy


def test_a_third_file_of_each_image_is_no_hindrance(tmp_path):
    put(tmp_path, [f"{n}{end}" for n in "abc" for end in (".tif", "_mask.png", "_overlay.png")])
    assert refused(tmp_path).remedy == "Did you mean `dataset.mask_suffix=_mask`? It pairs 3 of 3."
    found = from_places(str(tmp_path), None, Affixes(mask_suffix="_mask"))
    assert found.passed_over == {"*_overlay.png": 3}
    assert [pair.image.path.name for pair in found.pairs] == ["a.tif", "b.tif", "c.tif"]


def test_which_are_the_masks_is_seen_in_the_pictures(tmp_path):
    """Where no name says so: the one with fewer values, whatever its channels."""
    rng = np.random.default_rng(0)
    for place, image in (("grey", rng.integers(0, 255, (9, 9))), ("rgb", rng.integers(0, 255, (9, 9, 3)))):
        (tmp_path / place).mkdir()
        for name in "ab":
            Image.fromarray(image.astype(np.uint8)).save(tmp_path / place / f"{name}_x.png")
            Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / place / f"{name}.png")
        expected = "Did you mean `dataset.image_suffix=_x`? It pairs 2 of 2."
        assert refused(tmp_path / place).remedy == expected


def test_outlines_of_fiji_by_other_names(tmp_path):
    """Two folders, or one."""
    images, outlines = ["a.tif", "b.tif"], ["a_RoiSet.zip", "b_RoiSet.zip"]
    put(tmp_path / "two" / "i", images)
    put(tmp_path / "two" / "m", outlines)
    place = tmp_path / "two" / "i", tmp_path / "two" / "m"
    assert typed(refused(*place).remedy, *place)[0] == dict(zip(images, outlines, strict=True))
    put(tmp_path / "one", images)
    for name in outlines:
        roifile.roiwrite(tmp_path / "one" / name, roifile.ImagejRoi.frompoints([[1, 1], [1, 4], [4, 4]]))
    assert refused(tmp_path / "one").remedy == "Did you mean `dataset.mask_suffix=_RoiSet.zip`? It pairs 2 of 2."


def test_two_types_of_images_are_told_apart(tmp_path):
    put(tmp_path / "i", ["a.tif", "a.jpg", "b.tif", "b.jpg"])
    put(tmp_path / "m", ["a.png", "b.png"])
    error = refused(tmp_path / "i", tmp_path / "m")
    assert "have the same stem" in error.problem
    pairs, said = typed(error.remedy, tmp_path / "i", tmp_path / "m")
    assert (list(pairs.values()), said) == (["a.png", "b.png"], "2 of 2")


@pytest.mark.parametrize(
    "value", ["", "_cp_masks", ".mask.png", "-mask", " mask", "_1", "1", "null", ".5", "'s (x)", "ä,b"]
)
def test_a_key_is_spelt_as_the_shell_and_hydra_read_it(value):
    (text,) = shlex.split(spelt("mask_suffix", value))
    (override,) = PARSER.parse_overrides([text])
    assert (override.key_or_group, override.value()) == ("dataset.mask_suffix", value)


# --- other folders ---------------------------------------------------------------------------------------


def test_a_folder_beside_is_proposed(tmp_path):
    put(tmp_path, ["pics/a.png", "pics/b.png", "my masks/a.png", "my masks/b.png"])
    pairs, said = typed(refused(tmp_path / "pics").remedy, tmp_path / "pics")
    assert (pairs, said) == ({"a.png": "a.png", "b.png": "b.png"}, "2 of 2")


def test_a_folder_of_masks_among_the_images_is_proposed(tmp_path):
    put(tmp_path, ["a.tif", "b.tif", "labels/a.tif", "labels/b.tif"])
    pairs, said = typed(refused(tmp_path).remedy, tmp_path)
    assert (pairs, said) == ({"a.tif": "a.tif", "b.tif": "b.tif"}, "2 of 2")


def test_two_folders_within_are_proposed(tmp_path):
    put(tmp_path, ["cells/a.png", "cells/b.png", "drawn masks/a_m.png", "drawn masks/b_m.png"])
    pairs, said = typed(refused(tmp_path).remedy, tmp_path)
    assert (pairs, said) == ({"a.png": "a_m.png", "b.png": "b_m.png"}, "2 of 2")


def test_a_folder_of_masks_within_is_proposed(tmp_path):
    put(tmp_path, ["i/a.png", "i/b.png", *(f"m/{kind}/{n}.png" for kind in ("nuclei", "membranes") for n in "ab")])
    pairs, said = typed(refused(tmp_path / "i", tmp_path / "m").remedy, tmp_path / "i", tmp_path / "m")
    assert (pairs, said) == ({"a.png": "a.png", "b.png": "b.png"}, "2 of 2")
