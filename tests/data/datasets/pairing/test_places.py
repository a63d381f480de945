"""Pairs by name: exact, or an error that names every file left over; and what is plain without names."""

import unicodedata
from collections import Counter

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamella.data.datasets.blood import blood
from lamella.data.datasets.pairing import Affixes, counted, from_places
from lamella.data.datasets.pairing.listing import named
from lamella.data.datasets.pairing.names import plain
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
    assume(len(set(map(plain, images | masks))) == len(images | masks))
    suffix = st.sampled_from([".png", ".tif", ".PNG", ".Jpg", ".nii.gz", ".h5"])
    files = [{stem + data.draw(suffix) for stem in sorted(group)} for group in (images, masks)]
    folders = fill(tmp_path_factory.mktemp("pairs"), *files)
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
        assert all(named(image).stem == named(mask).stem == stem for stem, image, mask in pairs)
        assert {image.name for _, image, _ in pairs} == files[0]
        assert {mask.name for _, _, mask in pairs} == files[1]


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
    with pytest.raises(DataError, match=r"file is a file, .*masks a folder"):
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
    assume(len(set(map(plain, names))) == len(names))
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


# --- names that differ in little -------------------------------------------------------------------------


def noted(images, masks=None, **affixes):
    found = from_places(str(images), masks and str(masks), Affixes(**affixes))
    return {pair.id: pair.mask.path.name for pair in found.pairs}, dict(found.passed_over), found.notes


def test_capitals_and_zeros_before_numbers_are_no_difference_and_said(folders):
    fill(folders[0].parent, ["Cell-1.TIF", "cell-2.tif", "cell-10.tif"], ["cell-01.png", "cell-02.png", "cell-10.png"])
    pairs, _, (note,) = noted(*folders)
    assert pairs == {"Cell-1": "cell-01.png", "cell-2": "cell-02.png", "cell-10": "cell-10.png"}
    assert note.startswith("2 of 3 names differ")
    assert note.endswith("taken as the same: Cell-1.TIF with cell-01.png")


def test_zeros_behind_a_decimal_point_are_a_difference(folders):
    fill(folders[0].parent, ["c1.05.png", "c1.5.png", "c2.07.png"], ["c1.05.png", "c1.5.png", "c2.7.png"])
    with pytest.raises(DataError, match=r"c2\.07\.png without a mask"):
        noted(*folders)


def test_names_that_differ_in_capitals_among_themselves_are_told_apart_by_them(folders):
    if (folders[0] / "A.png").touch() or (folders[0] / "a.png").exists():
        pytest.skip("a file system that knows no capitals")
    fill(folders[0].parent, ["A.png", "a.png"], ["A.png", "a.tif"])
    assert noted(*folders) == ({"A": "A.png", "a": "a.tif"}, {}, [])
    (folders[1] / "a.tif").rename(folders[1] / "aa.tif")
    with pytest.raises(DataError, match=r"a\.png without a mask"):
        paired(*folders)


# --- prefixes, types -------------------------------------------------------------------------------------


def test_prefixes_and_suffixes_on_either_side(folders):
    fill(folders[0].parent, ["image1.png", "image2.png"], ["1_mask.png", "2_mask.png"])
    assert noted(*folders, image_prefix="image", mask_suffix="_mask")[0] == {"1": "1_mask.png", "2": "2_mask.png"}


def test_a_suffix_may_name_the_type(folders):
    fill(folders[0].parent, ["1.BMP", "1.png", "2.bmp", "2.png", "a_x.tif", "a_y.tif"], [])
    with pytest.raises(DataError, match=r"a_x\.tif"):
        paired(folders[0], image_suffix=".bmp", mask_suffix=".png")
    for name in ("a_x.tif", "a_y.tif"):
        (folders[0] / name).unlink()
    assert noted(folders[0], image_suffix=".bmp", mask_suffix=".png")[0] == {"1": "1.png", "2": "2.png"}
    fill(folders[0].parent, ["c.jpg", "c.jpg.mask.png"], [])
    for name in ("1.BMP", "1.png", "2.bmp", "2.png"):
        (folders[0] / name).unlink()
    assert noted(folders[0], mask_suffix=".jpg.mask.png")[0] == {"c": "c.jpg.mask.png"}


# --- sub-folders -----------------------------------------------------------------------------------------


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_sub_folders_pair_by_their_names(tmp_path):
    tree(tmp_path, "i/p1/a.png", "i/p2/x/a.png", "m/p1/a.tif", "m/p2/x/a.tif")
    found = from_places(str(tmp_path / "i"), str(tmp_path / "m"))
    assert [(p.id, p.part, p.mask.path.relative_to(tmp_path).as_posix()) for p in found.pairs] == [
        ("p1/a", "", "m/p1/a.tif"),
        ("p2/x/a", "", "m/p2/x/a.tif"),
    ]


@pytest.mark.parametrize("masks", ["labels", "within"])
def test_masks_below_their_images_are_no_images(tmp_path, masks):
    tree(tmp_path, "i/a.png", "i/b.png", f"i/{masks}/a.png", f"i/{masks}/b.png")
    assert len(paired(tmp_path / "i", tmp_path / "i" / masks)) == 2


@pytest.mark.parametrize("layout", ["{part}/{role}/a.png", "{role}/{part}/a.png"])
def test_folders_named_for_what_they_hold(tmp_path, layout):
    parts = {"train": "train", "valid": "val", "test": "test"}
    tree(tmp_path, *(layout.format(part=part, role=role) for part in parts for role in ("Images", "masks")))
    found = from_places(str(tmp_path), None)
    assert {pair.id: pair.part for pair in found.pairs} == {f"{folder}/a": part for folder, part in parts.items()}
    assert found.notes == ["images are what lies in Images/, masks what lies in masks/"]


def test_what_lies_in_no_such_folder_is_in_doubt(tmp_path):
    tree(tmp_path, "images/a.png", "masks/a.png", "other/a.png")
    with pytest.raises(DataError, match="nothing in their names tells them apart") as caught:
        paired(tmp_path)
    assert f"dataset.images={tmp_path}/images dataset.masks={tmp_path}/masks`? It pairs 1 of 1" in caught.value.remedy


def test_a_link_that_leads_round_ends(tmp_path):
    tree(tmp_path, "i/p/a.png", "m/p/a.png")
    (tmp_path / "i" / "p" / "up").symlink_to(tmp_path / "i")
    assert len(paired(tmp_path / "i", tmp_path / "m")) == 1


# --- one file an object ----------------------------------------------------------------------------------


def test_a_folder_an_image_with_a_mask_an_object(tmp_path):
    names = ["1f/images/1f.png", "1f/masks/a.png", "1f/masks/b.png", "2e/images/2e.png", "2e/masks/c.png"]
    found = from_places(str(tree(tmp_path, *names)), None)
    assert [(pair.id, [path.name for path in pair.mask.paths]) for pair in found.pairs] == [
        ("1f", ["a.png", "b.png"]),
        ("2e", ["c.png"]),
    ]
    assert found.notes[1] == "each image has a folder of masks, with 1 to 2 files each"
    tree(tmp_path, "3d/images/3d.png")
    with pytest.raises(DataError, match=r"3d\.png without a folder of masks in .*; 2 of 3 have one"):
        paired(tmp_path)


def test_a_folder_of_masks_an_image(tmp_path):
    tree(tmp_path, "i/a.png", "i/b.tif", "m/a/1.png", "m/a/2.png", "m/b/1.png", "i/notes.txt")
    found = from_places(str(tmp_path / "i"), str(tmp_path / "m"))
    assert {pair.id: len(pair.mask.paths) for pair in found.pairs} == {"a": 2, "b": 1}
    assert found.passed_over == {"*.txt": 1}
    tree(tmp_path, "m/c/1.png")
    with pytest.raises(DataError, match="without an image"):
        paired(tmp_path / "i", tmp_path / "m")


def test_a_mask_too_many_is_no_second_object(tmp_path):
    tree(tmp_path, "i/p/a.png", "i/q/a.png", "m/p/a.png", "m/p/b.png", "m/q/a.png")
    with pytest.raises(DataError, match=r"b\.png: a mask without an image"):
        paired(tmp_path / "i", tmp_path / "m")


def test_one_mask_a_folder_of_another_name_is_not_guessed_at(tmp_path):
    tree(tmp_path, "i/p/t1.png", "i/q/t1.png", "m/p/t2.png", "m/q/t2.png")
    with pytest.raises(DataError, match="without a mask"):
        paired(tmp_path / "i", tmp_path / "m")


def test_a_folder_may_name_what_its_files_do_not(tmp_path):
    tree(tmp_path, *(f"{patient}/{name}.png" for patient in ("p1", "p2") for name in ("image", "mask")), "notes.txt")
    with pytest.raises(DataError, match="nothing in their names") as caught:
        paired(tmp_path)
    assert caught.value.remedy == "Did you mean `dataset.image_suffix=image dataset.mask_suffix=mask`? It pairs 2 of 2."
    pairs, _, _ = noted(tmp_path, image_suffix="image", mask_suffix="mask")
    assert pairs == {"p1": "mask.png", "p2": "mask.png"}


def test_masks_numbered_behind_the_name_of_their_image(tmp_path):
    names = ["a_mask_1.png", "a_mask_2.png", "a b-1.png"]
    tree(tmp_path, "i/a.png", "i/a b.png", *(f"m/{name}" for name in names))
    found = from_places(str(tmp_path / "i"), str(tmp_path / "m"))
    assert {pair.id: [path.name for path in pair.mask.paths] for pair in found.pairs} == {
        "a": ["a_mask_1.png", "a_mask_2.png"],
        "a b": ["a b-1.png"],
    }
    assert found.notes == ["each image has 1 to 2 masks, numbered: each file's objects are its own"]


def test_the_same_numbers_of_each_image_may_be_classes(tmp_path):
    tree(tmp_path, *(f"i/{name}.png" for name in "ab"), *(f"m/{name}_{n}.png" for name in "ab" for n in (0, 1)))
    with pytest.raises(DataError, match="without a mask") as caught:
        paired(tmp_path / "i", tmp_path / "m")
    assert "columns image, mask and class" in caught.value.remedy


def test_names_alone_pair_where_one_side_has_folders(tmp_path):
    tree(tmp_path, "i/p/a.png", "i/q/b.png", "m/a.png", "m/b.png")
    assert noted(tmp_path / "i", tmp_path / "m") == (
        {"a": "a.png", "b": "b.png"},
        {},
        ["images and masks pair by their names alone, as only the images or only the masks lie in sub-folders"],
    )
    tree(tmp_path, "i/q/a.png", "m/c.png")
    with pytest.raises(DataError, match="without a mask"):
        paired(tmp_path / "i", tmp_path / "m")


# --- files beside ----------------------------------------------------------------------------------------

BESIDE = ["a_seg.npy", "a.csv", "a.txt", "a.xml", "README", "README.md", "run.log", "a.tfw", "x.xlsx", "Thumbs.db"]


def test_what_other_programs_left_is_passed_over_and_counted(folders):
    fill(folders[0].parent, ["a.png", "a.json", "a.roi", *BESIDE], ["a.png", "a.json", "a_flows.tif", "b_seg.npy"])
    pairs, passed_over, _ = noted(*folders)
    assert pairs == {"a": "a.png"}
    assert passed_over == {
        **{"*_seg.npy": 2, "*.json": 2, "*_flows.tif": 1, "*.roi": 1, "*.csv": 1, "*.txt": 1, "*.xml": 1, "*.md": 1},
        **{"README": 1, "*.log": 1, "*.tfw": 1, "*.xlsx": 1},
    }
    assert counted(Counter({"*_seg.npy": 40, "*.txt": 1})) == "41 files: 40 *_seg.npy, 1 *.txt"


def test_what_cellpose_leaves_beside_its_masks(folders):
    ends = (".tif", "_cp_masks.tif", "_seg.npy", "_flows.tif", "_cp_outlines.txt")
    fill(folders[0].parent, [f"{name}{end}" for name in "ab" for end in ends], [])
    pairs, passed_over, _ = noted(folders[0], mask_suffix="_cp_masks")
    assert pairs == {"a": "a_cp_masks.tif", "b": "b_cp_masks.tif"}
    assert passed_over == {"*_seg.npy": 2, "*_flows.tif": 2, "*_outlines.txt": 2}


def test_a_known_format_that_is_not_read_says_what_it_is(folders):
    fill(folders[0].parent, ["a.czi"], ["a.png"])
    with pytest.raises(DataError, match=r"a\.czi is a file of ZEISS ZEN"):
        paired(*folders)


def test_a_folder_with_nothing_but_files_beside(folders):
    fill(folders[0].parent, ["a.png"], ["a_seg.npy", "b_seg.npy"])
    with pytest.raises(DataError, match=r"masks holds no mask, but 2 files: 2 \*_seg\.npy"):
        paired(*folders)


# --- arrays in files -------------------------------------------------------------------------------------


def test_a_file_and_what_is_in_it(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["v/raw"] = file["v/label"] = np.zeros((4, 5), np.uint8)
    (pair,) = from_places(f"{tmp_path}/f.h5:/v/raw", f"{tmp_path}/f.h5:/v/label").pairs
    assert (pair.id, pair.image.inside, pair.mask.inside) == ("f", "/v/raw", "/v/label")
    assert pair.image.path == pair.mask.path == tmp_path / "f.h5"


def test_a_file_is_not_its_own_mask(tmp_path):
    """Of one file, and of a folder of such, the error lists the arrays, ready to copy."""
    for name in "fg":
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["v/raw"] = file["v/label"] = np.zeros((4, 5), np.uint8)
    for masks in (None, f"{tmp_path}/f.h5:/v/raw"):
        with pytest.raises(DataError, match=r"the masks of .*f\.h5:/v/raw are not named") as caught:
            from_places(f"{tmp_path}/f.h5:/v/raw", masks)
        assert f"`dataset.images={tmp_path}/f.h5:NAME dataset.masks={tmp_path}/f.h5:NAME`" in caught.value.remedy
        assert "f.h5:/v/label" in caught.value.remedy
    with pytest.raises(DataError, match="nothing in their names") as caught:
        from_places(str(tmp_path), None)
    assert f"`dataset.images={tmp_path}:NAME dataset.masks={tmp_path}:NAME`" in caught.value.remedy
    assert "f.h5:/v/label" in caught.value.remedy


def test_a_folder_of_files_and_what_is_in_each(tmp_path):
    tree(tmp_path, "a.h5", "b.h5")
    found = from_places(f"{tmp_path}:/raw", f"{tmp_path}:/label")
    assert [(pair.id, pair.image.inside, pair.mask.inside) for pair in found.pairs] == [
        ("a", "/raw", "/label"),
        ("b", "/raw", "/label"),
    ]


def test_a_folder_of_zarr_is_one_file(tmp_path):
    tree(tmp_path, "i/a.zarr/.zgroup", "i/a.zarr/0/0.0", "m/a.png")
    assert [(image.name, mask.name) for _, image, mask in paired(tmp_path / "i", tmp_path / "m")] == [
        ("a.zarr", "a.png")
    ]
    (pair,) = from_places(f"{tmp_path}/i/a.zarr", f"{tmp_path}/m/a.png").pairs
    assert (pair.id, pair.image.path.name) == ("a", "a.zarr")
