"""The phantoms: the same from run to run, in the layout of the real data, neither trivial nor hopeless."""

import multiprocessing
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label
from skimage.filters import threshold_otsu

from lamella.data.datasets import phantom
from lamella.data.datasets.phantom import write_blood, write_em
from lamella.data.datasets.phantom_em import Neurites
from lamella.data.datasets.phantom_texture import Bytes
from lamella.errors import StorageError

BLOOD = {"train": 16, "test": 6, "height": 240, "width": 320}
SMALL_BLOOD = {"train": 4, "test": 2, "height": 48, "width": 64}


@pytest.fixture(scope="module")
def em(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("em") / "volume"
    write_em(folder, seed=3, sections=12, size=256)
    return folder


@pytest.fixture(scope="module")
def blood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blood") / "smears"
    write_blood(folder, seed=3, **BLOOD)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def em_pages(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return tifffile.imread(folder / "train-volume.tif"), tifffile.imread(folder / "train-labels.tif")


def blood_pairs(folder: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    for image in sorted(folder.glob("*/original/*")):
        mask = image.parent.parent / "mask" / f"{image.stem}.png"
        yield np.asarray(Image.open(image)), np.asarray(Image.open(mask))[..., 0] == 255


def test_em_same_seed_same_pixels_other_seed_other_pixels(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("again", 1), ("other", 2)):
        write_em(tmp_path / name, seed=seed, sections=2, size=64)
    a, again, other = (em_pages(tmp_path / name) for name in ("a", "again", "other"))
    for kind in (0, 1):
        np.testing.assert_array_equal(a[kind], again[kind])
        assert (a[kind] != other[kind]).mean() > 0.1


def test_blood_same_seed_same_files_other_seed_other_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("again", 1), ("other", 2)):
        write_blood(tmp_path / name, seed=seed, **SMALL_BLOOD)
    assert files(tmp_path / "a") == files(tmp_path / "again")
    assert not set(files(tmp_path / "a")) & set(files(tmp_path / "other"))
    assert not set(files(tmp_path / "a").values()) & set(files(tmp_path / "other").values())


def test_em_first_sections_stay_when_more_are_asked_for(tmp_path: Path) -> None:
    write_em(tmp_path / "few", seed=5, sections=2, size=64)
    write_em(tmp_path / "many", seed=5, sections=5, size=64)
    for few, many in zip(em_pages(tmp_path / "few"), em_pages(tmp_path / "many"), strict=True):
        np.testing.assert_array_equal(few, many[:2])


def test_blood_first_images_stay_when_more_are_asked_for(tmp_path: Path) -> None:
    write_blood(tmp_path / "few", seed=5, **SMALL_BLOOD)
    write_blood(tmp_path / "many", seed=5, **{**SMALL_BLOOD, "train": 7, "test": 4})
    assert files(tmp_path / "few").items() <= files(tmp_path / "many").items()


def test_em_layout(em: Path) -> None:
    assert sorted(path.name for path in em.iterdir()) == ["train-labels.tif", "train-volume.tif"]
    for path in em.iterdir():
        with tifffile.TiffFile(path) as tiff:
            assert len(tiff.pages) == 12
            for page in tiff.pages:
                assert page.shape == (256, 256)
                assert page.dtype == np.uint8
                assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
    volume, labels = em_pages(em)
    assert set(np.unique(labels)) == {0, 255}
    assert 30 < volume.std() < 60  # 44 in the real volume
    assert volume[labels == 0].mean() < volume[labels == 255].mean() - 30


def test_blood_layout(blood: Path) -> None:
    suffixes = []
    for part, count in (("train", 16), ("test", 6)):
        images, masks = (sorted((blood / part / kind).iterdir()) for kind in ("original", "mask"))
        assert [path.stem for path in images] == [path.stem for path in masks]
        assert len(images) == count
        for image, mask in zip(images, masks, strict=True):
            assert [len(word) for word in image.stem.split("-")] == [8, 4, 4, 4, 12]
            assert (image.stem[0] in "ef") == (part == "test")
            assert mask.suffix == ".png"
            for path in (image, mask):
                pixels = np.asarray(Image.open(path))
                assert pixels.shape == (240, 320, 3)
                assert pixels.dtype == np.uint8
            assert set(np.unique(pixels)) == {0, 255}
            assert (pixels == pixels[..., :1]).all()
            suffixes.append(image.suffix)
    assert {suffix: suffixes.count(suffix) for suffix in set(suffixes)} == {".png": 19, ".jpg": 3}


@pytest.mark.parametrize(("train", "test"), [(6, 0), (4, 2), (3, 3), (0, 6)])
def test_six_blood_images_hold_a_jpeg(tmp_path: Path, train: int, test: int) -> None:
    write_blood(tmp_path / "six", seed=0, train=train, test=test, height=16, width=16)
    jpegs = list(tmp_path.glob("six/*/original/*.jpg"))
    assert jpegs
    assert all(Image.open(path).format == "JPEG" for path in jpegs)


def test_em_membrane_share(em: Path) -> None:
    share = (em_pages(em)[1] == 0).mean(axis=(1, 2))
    assert 0.19 < share.mean() < 0.26  # 0.22 in the real volume
    assert share.min() > 0.14
    assert share.max() < 0.31


def test_blood_cell_share(blood: Path) -> None:
    share = np.array([mask.mean() for _, mask in blood_pairs(blood)])
    assert 0.22 < share.mean() < 0.38  # 0.29 in the real set
    assert share.std() > 0.04
    assert share.min() > 0.04
    assert share.max() < 0.73


def test_neighbouring_sections_are_alike_and_distant_ones_are_not(em: Path) -> None:
    for pages in em_pages(em):
        flat = pages.reshape(len(pages), -1)
        apart = np.corrcoef(flat)
        mean = {gap: np.diagonal(apart, gap).mean() for gap in (1, 2, 6)}
        assert mean[1] > mean[2] + 0.05
        assert mean[2] > mean[6] + 0.05
        assert 0.15 < mean[1] < 0.7


def test_blood_is_neither_trivial_nor_hopeless_for_a_threshold(blood: Path) -> None:
    dice = []
    for image, mask in blood_pairs(blood):
        grey = image.mean(axis=2)
        found = grey < threshold_otsu(grey)
        dice.append(2 * (found & mask).sum() / (found.sum() + mask.sum()))
    assert min(dice) > 0.6
    assert max(dice) < 0.99
    assert 0.8 < np.mean(dice) < 0.97


def test_touching_blood_cells_are_parted_by_background(blood: Path) -> None:
    """Otherwise a picture would hold a few large clumps, not dozens of cells."""
    for _, mask in blood_pairs(blood):
        patches, count = label(mask, structure=np.ones((3, 3)))
        usual = np.median(np.bincount(patches.ravel())[1:])
        assert count > 10
        assert usual < 2 * np.pi * 14.5**2


def test_some_blood_cells_are_cut_by_the_frame(blood: Path) -> None:
    for _, mask in blood_pairs(blood):
        assert mask[[0, -1]].any() or mask[:, [0, -1]].any()


def _write_when_both_are_ready(folder: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    barrier.wait(timeout=60)
    write_blood(folder / "blood", seed=0, train=3, test=1, height=120, width=160)
    write_em(folder / "em", seed=0, sections=2, size=64)


def test_two_processes_may_write_the_same_folder_at_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    race = tmp_path / "race"
    both = [spawn.Process(target=_write_when_both_are_ready, args=(race, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    write_blood(tmp_path / "alone", seed=0, train=3, test=1, height=120, width=160)
    assert files(race / "blood") == files(tmp_path / "alone")
    assert em_pages(race / "em")[0].shape == (2, 64, 64)
    assert sorted(path.name for path in race.iterdir()) == ["blood", "em"]  # nothing temporary is left


def test_the_loser_of_a_race_keeps_the_winners_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "em"

    real = phantom.section

    def slow(neurites: Neurites, seed: int, index: int) -> tuple[Bytes, Bytes]:
        folder.mkdir()
        (folder / "theirs").touch()
        return real(neurites, seed, index)

    monkeypatch.setattr(phantom, "section", slow)
    write_em(folder, seed=0, sections=1, size=32)
    assert list(tmp_path.rglob("*")) == [folder, folder / "theirs"]


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    write_em(tmp_path, seed=0, sections=1, size=32)
    write_blood(tmp_path, seed=0, **SMALL_BLOOD)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_filled_and_can_be_read_by_all(tmp_path: Path) -> None:
    (tmp_path / "em").mkdir()
    write_em(tmp_path / "em", seed=0, sections=1, size=32)
    assert len(list((tmp_path / "em").iterdir())) == 2
    (tmp_path / "made by mkdir").mkdir()
    assert (tmp_path / "em").stat().st_mode == (tmp_path / "made by mkdir").stat().st_mode


@pytest.mark.parametrize("below", ["", "deep", "deep/deeper"])
def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    for write in (
        lambda: write_em(folder, seed=0, sections=1, size=32),
        lambda: write_blood(folder, seed=0, **SMALL_BLOOD),
    ):
        with pytest.raises(StorageError) as caught:
            write()
        assert str(folder) in caught.value.problem
        assert caught.value.remedy


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", no_space)
    with pytest.raises(StorageError, match="No space left on device"):
        write_em(tmp_path / "em", seed=0, sections=1, size=32)
    assert not list(tmp_path.iterdir())


def test_no_two_blood_images_are_alike(blood: Path) -> None:
    images = [image for image, _ in blood_pairs(blood)]
    assert all((a != b).mean() > 0.5 for a, b in combinations(images, 2))


@pytest.mark.parametrize(("height", "width"), list(product((33, 250), (47, 129))))
def test_any_size(tmp_path: Path, height: int, width: int) -> None:
    write_em(tmp_path / "em", seed=0, sections=1, size=height)
    write_blood(tmp_path / "blood", seed=0, train=1, test=0, height=height, width=width)
    assert em_pages(tmp_path / "em")[0].shape in ((height, height), (1, height, height))
    ((image, mask),) = blood_pairs(tmp_path / "blood")
    assert image.shape == (height, width, 3)
    assert mask.shape == (height, width)
