"""Corrected predictions train beside a data set's own images: which files were edited, and what they say."""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.datasets.corrected import joined
from lamella.data.datasets.folder import folder
from lamella.data.manifest import changes, manifest
from lamella.data.types import Dataset, DatasetCard, ImageRef, Labelling, Sample, Split
from lamella.errors import DataError
from support import predicted as edit
from support.predicted import RUN, box, predicted

HEIGHT, WIDTH = 24, 32
CARD = DatasetCard("cells", "cells", ("ground", "cell"), {0: 0, 255: 1}, channels=1, source="made", objects="cells")
Array = npt.NDArray[Any]


def picture(path: Path, seed: int) -> ImageRef:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8))
    return ImageRef(path)


def cells(*boxes: tuple[int, int, int, int], value: int = 1) -> Array:
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for top, left, bottom, right in boxes:
        classes[top:bottom, left:right] = value
    return classes


FOUND = cells((2, 2, 8, 9), (12, 12, 20, 22))
FIXED = cells((2, 2, 8, 9), (12, 11, 20, 22), (14, 26, 18, 30))


class Case:
    """A data set of three images, one a part, and a folder of three predictions."""

    def __init__(self, folder: Path, card: DatasetCard = CARD, found: Array = FOUND, **said: Any) -> None:
        samples = []
        for seed, part in enumerate(("train", "val", "test")):
            image = picture(folder / "own" / f"{part}.tif", seed)
            Image.fromarray(FOUND * 255).save(folder / "own" / f"{part}.png")
            samples.append(Sample(part, image, ImageRef(folder / "own" / f"{part}.png"), group=part, part=part))  # type: ignore[arg-type]
        self.dataset = Dataset(card, samples)
        self.split = Split(*((sample,) for sample in samples))
        self.images = {name: picture(folder / "new" / f"{name}.tif", 10 + n) for n, name in enumerate("abc")}
        said = {"names": card.class_names} | said
        self.folder = predicted(folder / "found", self.images, dict.fromkeys("abc", found), **said)
        self.card = card
        self.store = Store(folder / "cache", card, 1.0)

    def joined(self, accepted: list[str] | None = None, group: str | None = None) -> tuple[Dataset, Split]:
        return joined(self.dataset, self.split, self.store, folders=[self.folder], accepted=accepted or [], group=group)

    def truth(self, name: str = "a") -> Array:
        sample = next(sample for sample in self.joined()[1].train if sample.id == f"found/{name}")
        return np.asarray(self.store.truth(sample))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize(
    "save",
    [
        edit.of_fiji,
        edit.of_fiji_palette,
        edit.of_napari,
        lambda path, values: tifffile.imwrite(path, values.astype(np.uint16), imagej=True),
        lambda path, values: tifffile.imwrite(path, values.astype(np.float32), imagej=True),
        lambda path, values: tifffile.imwrite(path, np.dstack([values] * 3), photometric="rgb"),
        lambda path, values: Image.fromarray(values).save(path.with_suffix(".png")),
    ],
    ids=["lut", "palette", "int32", "16 bits", "32 bits", "rgb", "png beside"],
)
def test_class_ids_are_read_alike_however_they_were_saved(case: Case, save: Any) -> None:
    save(case.folder / "a_labels.tif", FIXED)
    np.testing.assert_array_equal(case.truth(), FIXED)


def test_what_was_edited_trains_and_nothing_else(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    dataset, split = case.joined()
    assert [sample.id for sample in split.train] == ["train", "found/a"]
    assert (split.val, split.test) == (case.split.val, case.split.test)
    assert dataset.card.notes == (
        "1 of 3 predictions in found were corrected by hand: these train; 2 untouched ones do not",
    )
    rows = {row["id"]: row for row in manifest(dataset, split, case.store)}
    row = rows["found/a"]
    assert (row["role"], row["origin"], row["corrected"], row["networks"]) == ("train", "corrected", True, [RUN])
    said = json.loads((case.folder / "predictions.json").read_text())
    assert row["predicted_sha256"] == said["sha256"]["a_labels.tif"] != row["mask"]["sha256"]
    assert row["image"]["file"] == "a.tif"
    assert row["added_by"] == "dataset.corrected"
    assert not {"origin", "corrected", "added_by"} & rows["train"].keys()
    assert str(changes(list(rows.values())[:3], list(rows.values()))) == "1 image is new (found/a)"


def test_a_file_that_was_saved_again_as_it_was_is_no_correction(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels.tif", FOUND)
    edit.of_napari(case.folder / "b_objects.tif", edit.numbered(FOUND, "cells")[::-1, ::-1][::-1, ::-1] * 7)
    edit.of_qupath(case.folder / "c.geojson", [("cell", box(12, 12, 20, 22)), ("", box(2, 2, 8, 9))])
    with pytest.raises(DataError, match=r"none of the 3 predictions .* was corrected; 3 were saved again as they were"):
        case.joined()
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    assert case.joined()[0].card.notes[0].endswith("(2 saved again without a change)")


def test_accepted_predictions_train_too(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    dataset, split = case.joined(["c"])
    assert [sample.id for sample in split.train] == ["train", "found/a", "found/c"]
    origins = {row["id"]: (row.get("origin"), row.get("corrected")) for row in manifest(dataset, split, case.store)}
    assert (origins["found/a"], origins["found/c"]) == (("corrected", True), ("accepted", False))
    np.testing.assert_array_equal(case.store.truth(split.train[2]), FOUND)
    assert [sample.id for sample in case.joined(["all"])[1].train] == ["train", "found/a", "found/b", "found/c"]
    with pytest.raises(DataError, match=r"dataset\.accepted names d, which was not predicted there"):
        case.joined(["d"])


# --- objects ---------------------------------------------------------------------------------------------


def test_numbered_objects_are_cells_and_those_that_touch_are_parted(case: Case) -> None:
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[2:8, 2:9], ids[12:20, 12:17], ids[12:20, 17:22] = 70000, 4, 5  # the second was two
    edit.of_napari(case.folder / "a_objects.tif", ids)
    np.testing.assert_array_equal(case.truth(), cells((2, 2, 8, 9), (12, 12, 20, 16), (12, 18, 20, 22)))


@pytest.mark.parametrize("border", ["background", "ignore", "none"])
def test_objects_of_a_data_set_that_tells_them_apart_stay_apart(tmp_path: Path, border: Any) -> None:
    numbers = replace(CARD, mask_values={}, labelling=Labelling("values", border, {"": 1}))
    case = Case(tmp_path, numbers)
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[12:20, 12:17], ids[12:20, 17:22] = 4, 5
    edit.of_napari(case.folder / "a_objects.tif", ids)
    wanted = cells((12, 12, 20, 22))
    if border != "none":
        wanted[12:20, 16:18] = 255 if border == "ignore" else 0
    np.testing.assert_array_equal(case.truth(), wanted)
    objects = case.store.objects(case.joined()[1].train[1])
    assert objects is not None
    assert np.unique(objects).tolist() == [0, 1, 2]


def test_outlines_of_qupath_give_the_very_pixels(case: Case) -> None:
    """One is moved, one is deleted, one is drawn anew, one is not to count."""
    shapes = [("cell", box(3, 4, 9, 11)), ("", box(14, 26, 18, 30)), ("Ignore*", box(20, 0, 24, 6))]
    edit.of_qupath(case.folder / "a.geojson", shapes)
    wanted = cells((3, 4, 9, 11), (14, 26, 18, 30))
    wanted[20:24, 0:6] = 255
    np.testing.assert_array_equal(case.truth(), wanted)
    assert case.joined()[1].train[1].origin.before == ""  # none was written


def test_a_diagonal_outline_takes_the_pixels_whose_centres_it_holds(case: Case) -> None:
    edit.of_qupath(case.folder / "a.json", [("cell", np.array([(2, 2), (10, 2), (2, 10)]))])
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row in range(8):
        wanted[2 + row, 2 : 2 + 7 - row] = 1
    np.testing.assert_array_equal(case.truth(), wanted)


def test_regions_of_fiji_give_the_very_pixels(case: Case) -> None:
    edit.of_roi_manager(case.folder / "a_rois.zip", [(0, box(3, 4, 9, 11)), (1, box(14, 26, 18, 30))])
    np.testing.assert_array_equal(case.truth(), cells((3, 4, 9, 11), (14, 26, 18, 30)))


def test_neurites_lie_between_membranes(tmp_path: Path) -> None:
    """There the foreground is what parts regions: a hand that draws through one makes membrane."""
    card = replace(CARD, class_names=("interior", "membrane"), mask_values={255: 0, 0: 1}, objects="neurites")
    found = np.zeros((HEIGHT, WIDTH), np.uint8)
    found[10:12] = 1
    case = Case(tmp_path, card, found, objects="neurites")
    ids = edit.numbered(found, "neurites").astype(np.int32)
    ids[:10, 16:] = 9  # the upper one was two, that touch
    edit.of_napari(case.folder / "a_objects.tif", ids)
    wanted = found.copy()
    wanted[:10, 15:17] = 1
    np.testing.assert_array_equal(case.truth(), wanted)


def test_of_several_classes_an_object_has_the_one_it_names_or_what_was_predicted(tmp_path: Path) -> None:
    card = replace(CARD, class_names=("ground", "red", "white"), mask_values={0: 0, 1: 1, 2: 2})
    found = cells((2, 2, 8, 9)) + cells((12, 12, 20, 22), value=2)
    case = Case(tmp_path, card, found)
    ids = edit.numbered(found, "cells").astype(np.int32)
    ids[12:20, 22:24] = ids[13, 13]
    edit.of_napari(case.folder / "a_objects.tif", ids)
    np.testing.assert_array_equal(case.truth(), cells((2, 2, 8, 9)) + cells((12, 12, 20, 24), value=2))
    same = [("", box(2, 2, 8, 9)), ("white", box(12, 12, 20, 22))]
    edit.of_qupath(case.folder / "b.geojson", same)
    assert [sample.id for sample in case.joined()[1].train] == ["train", "found/a"]
    edit.of_qupath(case.folder / "b.geojson", [("white", same[0][1]), same[1]])
    np.testing.assert_array_equal(case.truth("b"), cells((2, 2, 8, 9), (12, 12, 20, 22), value=2))
    edit.of_roi_manager(case.folder / "c_rois.zip", [(2, box(2, 2, 8, 9)), (0, box(12, 12, 20, 22))])
    np.testing.assert_array_equal(case.truth("c"), cells((2, 2, 8, 9), (12, 12, 20, 22), value=2))
    edit.of_qupath(case.folder / "b.geojson", [("", box(0, 25, 6, 30))])
    with pytest.raises(DataError, match=r"b\.geojson holds 1 object\(s\), the first near x=25, y=0, whose class"):
        case.truth("b")


def test_classes_in_another_order_are_found_by_their_names(tmp_path: Path) -> None:
    case = Case(tmp_path, names=("cell", "ground"), objects="")
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    np.testing.assert_array_equal(case.truth(), 1 - FIXED)


# --- stacks ----------------------------------------------------------------------------------------------


@pytest.fixture
def stack(tmp_path: Path) -> Case:
    """A fourth prediction: of a stack of three pages."""
    case = Case(tmp_path)
    pages = np.random.default_rng(5).integers(0, 255, (3, HEIGHT, WIDTH), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "new" / "s.tif", pages, imagej=True, metadata={"axes": "ZYX"})
    case.folder = predicted(
        tmp_path / "pages", {"s": ImageRef(tmp_path / "new" / "s.tif")}, {"s": np.stack([FOUND] * 3)}
    )
    return case


@pytest.mark.parametrize("save", [edit.of_fiji, edit.of_napari])
def test_of_a_stack_the_edited_page_trains(stack: Case, save: Any) -> None:
    save(stack.folder / "s_labels.tif", np.stack([FOUND, FIXED, FOUND]))
    dataset, split = stack.joined()
    assert [sample.id for sample in split.train] == ["train", "pages/s-001"]
    sample = split.train[1]
    assert (sample.group, sample.stack, sample.place) == ("pages/s", "pages/s", 1)
    np.testing.assert_array_equal(stack.store.truth(sample), FIXED)
    assert dataset.card.notes[0].startswith("1 of 3 predictions in pages were corrected")


def test_outlines_of_a_stack_are_of_their_pages(stack: Case) -> None:
    path = stack.folder / "s.geojson"
    features = []
    for page, shapes in enumerate(([box(2, 2, 8, 9), box(12, 12, 20, 22)], [box(3, 4, 9, 11)], [box(1, 1, 4, 4)])):
        edit.of_qupath(path, [("cell", shape) for shape in shapes], plane={"c": -1, "z": page, "t": 0})
        features += json.loads(path.read_text())["features"]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    split = stack.joined()[1]
    assert [sample.id for sample in split.train[1:]] == ["pages/s-001", "pages/s-002"]
    np.testing.assert_array_equal(stack.store.truth(split.train[1]), cells((3, 4, 9, 11)))


def test_a_stack_that_lost_a_page_is_refused(stack: Case) -> None:
    edit.of_napari(stack.folder / "s_labels.tif", np.stack([FOUND, FIXED]))
    with pytest.raises(DataError, match=r"s_labels\.tif has 2 page\(s\), and 3 were predicted"):
        stack.joined()


def test_pages_of_the_stack_that_the_data_set_has_take_their_places_in_it(stack: Case, tmp_path: Path) -> None:
    """So that the audit sees whether a corrected section lies beside one that tests."""
    image = tmp_path / "new" / "s.tif"
    own = [
        Sample(f"sec-{n}", ImageRef(image, n), stack.dataset.samples[0].mask, "tissue", "", "tissue", n + 7)
        for n in (0, 2)
    ]
    stack.dataset = Dataset(CARD, own)
    stack.split = Split((own[0],), (), (own[1],))
    edit.of_napari(stack.folder / "s_labels.tif", np.stack([FOUND, FIXED, FOUND]))
    sample = stack.joined()[1].train[1]
    assert (sample.group, sample.stack, sample.place) == ("tissue", "tissue", 8)


# --- what is refused -------------------------------------------------------------------------------------


def test_two_edited_masks_of_one_picture_are_refused(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    edit.of_qupath(case.folder / "a.geojson", [("cell", box(3, 4, 9, 11))])
    with pytest.raises(DataError, match=r"a_labels\.tif and a\.geojson were both edited, and only one can hold for a"):
        case.joined()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_picture_of_the_data_set_is_refused(case: Case, part: str, tmp_path: Path) -> None:
    """Also where it lies there under another name, as another type."""
    own = tifffile.imread(tmp_path / "own" / f"{part}.tif")
    tifffile.imwrite(case.images["a"].path, own.astype(np.uint16))
    predicted(case.folder, case.images, dict.fromkeys("abc", FOUND))
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    with pytest.raises(DataError, match=rf"a\.tif, of which .*a_labels.tif was corrected, is in the data .* as {part}"):
        case.joined()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (FIXED * 255, "holds 0 and 255, and nowhere cell"),
        (FIXED * 3, r"unexpected values: 3 \(\d+ px\)"),
        (FIXED.astype(np.float32) / 2, "holds fractions"),
        (np.dstack([FIXED, FIXED * 2, FIXED]), "is coloured"),
    ],
)
def test_values_that_are_no_classes_are_said_with_what_to_do(case: Case, values: Array, said: str) -> None:
    tifffile.imwrite(case.folder / "a_labels.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack")
    with pytest.raises(DataError, match=said) as refused:
        case.truth()
    assert "a_labels.tif" in refused.value.problem
    assert "0 ground, 1 cell; 255 is ignored" in refused.value.remedy


def test_ignored_pixels_count_nowhere(case: Case) -> None:
    values = FIXED.copy()
    values[:, 28:] = 255
    edit.of_napari(case.folder / "a_labels.tif", values)
    np.testing.assert_array_equal(case.truth(), values)


def test_a_class_that_the_network_lacks_is_said(case: Case) -> None:
    edit.of_qupath(case.folder / "a.geojson", [("Tumor", box(3, 4, 9, 11))])
    with pytest.raises(DataError, match=r"a\.geojson holds an object of the class 'Tumor', which the network does not"):
        case.truth()


def test_numbered_objects_of_another_size_are_said(case: Case) -> None:
    edit.of_napari(case.folder / "a_objects.tif", np.ones((5, 6), np.int32))
    with pytest.raises(DataError, match=r"a_objects\.tif is 6x5 pixels, its image 32x24"):
        case.truth()


def test_a_picture_that_is_gone_or_changed_is_said(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    path = case.images["a"].path
    kept = path.read_bytes()
    picture(path, 99)
    with pytest.raises(DataError, match=r"a\.tif is no longer the picture of which .*a_labels\.tif was predicted"):
        case.joined()
    path.unlink()
    with pytest.raises(DataError, match=r"a\.tif, of which .*a_labels\.tif was corrected, is missing"):
        case.joined()
    (case.folder / "a.tif").write_bytes(kept)  # beside its masks it is found
    assert len(case.joined()[1].train) == 2


def test_files_under_names_of_their_own_are_mentioned(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels-1.tif", FIXED)
    edit.of_roi_manager(case.folder / "RoiSet.zip", [(0, box(3, 4, 9, 11))])
    with pytest.raises(DataError, match=r"passed over RoiSet\.zip, a_labels-1\.tif: no prediction has such a name"):
        case.joined()


def test_other_classes_are_refused(tmp_path: Path) -> None:
    case = Case(tmp_path, names=("ground", "nucleus"))
    with pytest.raises(DataError, match="predictions of the classes ground, nucleus; cells has ground, cell"):
        case.joined()


def test_a_folder_without_predictions_is_refused(case: Case, tmp_path: Path) -> None:
    case.folder = tmp_path / "new"
    with pytest.raises(DataError, match=r"new is no folder of predictions: it has no predictions\.json"):
        case.joined()


def test_groups_are_found_in_the_names_of_pictures(case: Case) -> None:
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    assert case.joined(group="^(.)")[1].train[1].group == "a"
    with pytest.raises(DataError, match=r"dataset\.group='\^p\(.\)' finds no group in the name of .*a\.tif"):
        case.joined(group="^p(.)")


def test_labels_that_lie_beside_what_they_outline_move_no_corrected_picture(case: Case) -> None:
    """A data set's labels may be off by some pixels; a prediction lies on its picture."""
    edit.of_napari(case.folder / "a_labels.tif", FIXED)
    moved = Store(case.store.folder, CARD, 1.0, (3.0, 0.0))
    own, new = case.joined()[1].train
    assert not np.array_equal(moved.image(own), case.store.image(own))
    np.testing.assert_array_equal(moved.image(new), case.store.image(new))


# --- predictions alone, as the masks of a folder -----------------------------------------------------------


def read_folder(tmp_path: Path, masks: Path, **keys: str) -> Dataset:
    usual: dict[str, Any] = dict.fromkeys(inspect.signature(folder).parameters)
    usual |= dict.fromkeys(("image_prefix", "image_suffix", "mask_prefix", "mask_suffix"), "")
    usual |= {"instances": False, "mask_layers": False, "border": "background", "name": "folder"}
    images = str(tmp_path / "new")
    return folder(**usual | {"images": images, "masks": str(masks), "cache": str(tmp_path / "cache")} | keys)


def test_predictions_pair_as_masks_and_the_untouched_ones_are_a_warning(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read_folder(tmp_path, case.folder)
    assert "`dataset.mask_suffix=_labels`" in refused.value.remedy
    edit.of_napari(case.folder / "b_labels.tif", FIXED)
    dataset = read_folder(tmp_path, case.folder, mask_suffix="_labels")
    a, b, c = dataset.samples
    split, store = Split((a,), (b,), (c,)), Store(tmp_path / "cache", dataset.card, 1.0)
    rows = manifest(dataset, split, store)
    assert [(row["id"], row["origin"], row["corrected"]) for row in rows] == [
        ("a", "predicted", False),
        ("b", "corrected", True),
        ("c", "predicted", False),
    ]
    assert all("added_by" not in row for row in rows)
    (finding,) = [found for found in audit(dataset, split, store).findings if found.kind == "predicted"]
    assert finding.severity == "warning"
    assert finding.message.startswith("2 mask(s) are predictions that nobody touched since: ")


def test_untouched_predictions_in_no_part_are_no_warning(case: Case, tmp_path: Path) -> None:
    edit.of_napari(case.folder / "b_labels.tif", FIXED)
    dataset = read_folder(tmp_path, case.folder, mask_suffix="_labels")
    store = Store(tmp_path / "cache", dataset.card, 1.0)
    report = audit(dataset, Split((dataset.samples[1],), (), ()), store, parts=("train",))
    assert "predicted" not in {found.kind for found in report.findings}
