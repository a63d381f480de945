"""Pairs by stem: exact, or an error that names every file left over."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.data.datasets.blood import blood
from lamella.data.datasets.names import Affixes
from lamella.data.datasets.pairing import from_places
from lamella.data.io.read import SUFFIXES
from lamella.errors import DataError

stems = st.sets(st.text("abcXYZ019-_. ä", min_size=1, max_size=6).filter(lambda s: s[0] != "."), max_size=6)


@pytest.fixture
def folders(tmp_path):
    return fill(tmp_path, [], [])


def paired(images, masks=None, **affixes):
    """(id, image, mask) of each pair."""
    found = from_places(str(images), masks and str(masks), Affixes(**affixes))
    return [(pair.id, pair.image.path, pair.mask.path) for pair in found.pairs]


def fill(root, images, masks):
    """Empty files in root/images and root/masks."""
    for name, files in (("images", images), ("masks", masks)):
        (root / name).mkdir(exist_ok=True)
        for file in files:
            (root / name / file).touch()
    return root / "images", root / "masks"


@given(stems, stems, st.data())
@settings(max_examples=60, deadline=None)
def test_exact_pairs_or_the_lonely_ones_named(tmp_path_factory, images, masks, data):
    suffix = st.sampled_from([*SUFFIXES, ".PNG", ".Jpg"])
    named = [{stem + data.draw(suffix) for stem in sorted(group)} for group in (images, masks)]
    folders = fill(tmp_path_factory.mktemp("pairs"), *named)
    if not images or not masks:
        with pytest.raises(DataError, match="is empty"):
            paired(*folders)
    elif images != masks:
        with pytest.raises(DataError) as caught:
            paired(*folders)
        some = sorted(images - masks)[:3] + sorted(masks - images)[:3]
        assert all(f"/{stem}." in caught.value.problem for stem in some)
    else:
        pairs = paired(*folders)
        assert [stem for stem, _, _ in pairs] == sorted(images)
        assert all(image.stem == mask.stem == stem for stem, image, mask in pairs)
        assert {image.name for _, image, _ in pairs} == named[0]
        assert {mask.name for _, _, mask in pairs} == named[1]


def test_any_suffix_pairs_with_any(folders):
    fill(folders[0].parent, ["a.jpg", "b.png", "c.TIF"], ["a.png", "b.bmp", "c.png"])
    assert [(i.name, m.name) for _, i, m in paired(*folders)] == [
        ("a.jpg", "a.png"), ("b.png", "b.bmp"), ("c.TIF", "c.png"),
    ]  # fmt: skip


def test_both_sides_are_named_at_once(folders):
    fill(folders[0].parent, ["a.png", *(f"x{i}.jpg" for i in range(5))], ["a.png", "y.png"])
    with pytest.raises(DataError) as caught:
        paired(*folders)
    problem = caught.value.problem
    assert str(folders[0] / "x0.jpg") in problem
    assert f"and 2 more without a mask in {folders[1]}; " in problem
    assert f"{folders[1] / 'y.png'}: a mask without an image in {folders[0]}" in problem


def test_one_stem_twice_is_ambiguous(folders):
    fill(folders[0].parent, ["a.png", "a.jpg"], ["a.png"])
    with pytest.raises(DataError, match=r"a\.jpg and a\.png have the same stem"):
        paired(*folders)


def test_what_systems_leave_behind_is_passed_over(folders):
    litter = [".DS_Store", "._a.png", ".hidden.png", "Thumbs.db", "desktop.ini"]
    fill(folders[0].parent, ["a.png", *litter], ["a.png", *litter])
    assert [stem for stem, _, _ in paired(*folders)] == ["a"]


@pytest.mark.parametrize("name", ["a.png.part", "a"])
def test_a_file_of_no_known_type_is_an_error(folders, name):
    fill(folders[0].parent, ["a.png", name], ["a.png"])
    with pytest.raises(DataError, match=f"{name} "):
        paired(*folders)


def test_one_name_spelt_in_two_ways_is_one_name(folders):
    composed, apart = (unicodedata.normalize(form, "Präparat") for form in ("NFC", "NFD"))
    assert composed != apart
    fill(folders[0].parent, [f"{apart}.png"], [f"{composed}.png"])
    assert [stem for stem, _, _ in paired(*folders)] == [composed]


def test_missing_and_empty_folders(folders, tmp_path):
    with pytest.raises(DataError, match="images is empty"):
        paired(*folders)
    (folders[0] / "a.png").touch()
    with pytest.raises(DataError, match="nowhere is missing"):
        paired(folders[0], tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file, .*masks a folder"):
        paired(tmp_path / "file", folders[1])


# --- the published layout --------------------------------------------------------------------------------


def smears(root, train, test):
    for part, names in (("train", train), ("test", test)):
        for kind in ("original", "mask"):
            (root / part / kind).mkdir(parents=True)
            for name in names:
                (root / part / kind / name).touch()
    return str(root)


def test_blood_keeps_the_published_parts(tmp_path):
    samples = blood(root=smears(tmp_path, ["b.jpg", "a.png"], ["c.png"])).samples
    assert [(s.id, s.part, s.group) for s in samples] == [("a", "train", "a"), ("b", "train", "b"), ("c", "test", "c")]
    assert samples[1].image.path == tmp_path / "train" / "original" / "b.jpg"


def test_blood_in_both_parts_is_refused(tmp_path):
    with pytest.raises(DataError, match="same name in train and test"):
        blood(root=smears(tmp_path, ["a.png", "b.png"], ["b.png"]))


def test_blood_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="not at") as caught:
        blood(root=str(tmp_path / "blood"))
    assert "dataset=phantom_blood" in caught.value.remedy
    with pytest.raises(DataError, match=r"train.original is missing"):
        blood(root=str(tmp_path))


# --- suffixes of stems -----------------------------------------------------------------------------------

ends = st.sampled_from(["", "_mask", "_img", "_m", "ask", "-ä"])


@given(stems, st.sets(st.sampled_from([".png", ".tif", ".jpg"]), min_size=1), ends, ends, st.booleans())
@settings(max_examples=80, deadline=None)
def test_suffixes_pair_exactly(tmp_path_factory, names, suffixes, image_end, mask_end, one_folder):
    names = sorted(names | {"a", "b"})
    root = tmp_path_factory.mktemp("pairs")
    image_suffix, mask_suffix = sorted(suffixes)[0], sorted(suffixes)[-1]
    images = [f"{name}{image_end}{image_suffix}" for name in names]
    masks = [f"{name}{mask_end}{mask_suffix}" for name in names]
    folders = fill(root, images + masks, []) if one_folder else fill(root, images, masks)
    if one_folder:
        folders = (folders[0], folders[0])
    keys = {"image_suffix": image_end, "mask_suffix": mask_end}
    if one_folder and image_end == mask_end:
        with pytest.raises(DataError, match="nothing in their names tells them apart"):
            paired(*folders, **keys)
        return
    longer, shorter = sorted((image_end, mask_end), key=len, reverse=True)
    # A name such as a_m beside a, where both a_m + "ask" and a + "_mask" are the same file, fits in two ways.
    twofold = any(f"{name}{shorter}".endswith(longer) for name in names)
    if one_folder and (twofold or len({*images, *masks}) < 2 * len(names)):
        return
    pairs = paired(*folders, **keys)
    assert [(stem, image.name, mask.name) for stem, image, mask in pairs] == list(
        zip(names, images, masks, strict=True)
    )


def test_a_name_without_its_suffix_is_an_error(folders):
    fill(folders[0].parent, ["a_img.png", "b.png"], ["a.png", "b.png"])
    with pytest.raises(
        DataError, match=r"the names are not as dataset\.image_suffix=_img says: .*images.b\.png"
    ) as caught:
        paired(*folders, image_suffix="_img")
    assert "Correct the key" in caught.value.remedy
    fill(folders[0].parent, ["_img.png"], [])
    (folders[0] / "b.png").unlink()
    with pytest.raises(DataError, match=r"says: .*_img\.png"):  # nothing stands before it
        paired(*folders, image_suffix="_img")


def test_what_is_left_over_in_one_folder_is_named(folders):
    fill(folders[0].parent, ["a.png", "a_mask.png", "b.png", "c_mask.png"], [])
    with pytest.raises(DataError) as caught:
        paired(folders[0], mask_suffix="_mask")
    assert f"{folders[0] / 'b.png'} without a mask" in caught.value.problem
    assert f"{folders[0] / 'c_mask.png'}: a mask without an image" in caught.value.problem
    with pytest.raises(DataError, match=r"no mask in .*images: no file's name ends in _seg"):
        paired(folders[0], mask_suffix="_seg")
    with pytest.raises(DataError, match=r"no image in .*images: no file's name ends in _img"):
        paired(folders[0], mask_suffix="_mask", image_suffix="_img")


def test_a_folder_by_two_names_is_one_folder(folders, tmp_path):
    fill(folders[0].parent, ["a.png", "a_mask.png"], [])
    (tmp_path / "link").symlink_to(folders[0])
    assert [stem for stem, _, _ in paired(folders[0], tmp_path / "link", mask_suffix="_mask")] == ["a"]
