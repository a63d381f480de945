"""What published data sets look like: which files of an archive belong, and what is found wrong on disk."""

import hashlib
import shutil
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image

from lamella.data.download.archives import BLOOD, EM, PairsLayout, PublishedTiff, VolumeLayout
from lamella.errors import DataError

PAGES, SIDE = 3, 16
RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 256, (PAGES, SIDE, SIDE), np.uint8)
LABELS = np.where(RNG.random((PAGES, SIDE, SIDE)) < 0.2, 0, 255).astype(np.uint8)
PAIRS = PairsLayout(
    parts={"train": 3, "test": 2},
    pictures={("PNG", (8, 6)): 3, ("JPEG", (10, 7)): 1, ("PNG", (10, 7)): 1},
)


def git_blob(path):
    return subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True).stdout.strip()


def write(folder, volume=VOLUME, labels=LABELS, **how):
    for name, array in (("volume.tif", volume), ("labels.tif", labels)):
        if array is not None:
            tifffile.imwrite(folder / name, array, photometric="minisblack", **how)


@pytest.fixture
def sections(tmp_path):
    """A layout of two files, as the organisers of this test wrote them."""
    original = tmp_path / "original"
    original.mkdir()
    write(original)
    published = [
        PublishedTiff(name, git_blob(original / name), hashlib.sha256(array.tobytes()).hexdigest(), values)
        for name, array, values in (("volume.tif", VOLUME, None), ("labels.tif", LABELS, frozenset({0, 255})))
    ]
    return VolumeLayout(tuple(published), extras=("more.tif",), pages=PAGES, side=SIDE)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def wrong(layout, folder, partial=False):
    with pytest.raises(DataError) as caught:
        layout.verify(folder, partial)
    return str(caught.value)


def write_pairs(folder, layout=PAIRS, image_mode="RGB"):
    """The published number of pairs, with the published formats and sizes; names count up."""
    places = [part for part, count in layout.parts.items() for _ in range(count)]
    kinds = [kind for kind, count in layout.pictures.items() for _ in range(count)]
    for number, (part, (kind, size)) in enumerate(zip(places, kinds, strict=True)):
        for sub, suffix in (("original", {"PNG": "png", "JPEG": "jpg"}[kind]), ("mask", "png")):
            path = folder / part / sub / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(image_mode, size).save(path)


class TestVolume:
    @pytest.mark.parametrize(
        ("volume", "how", "note"),
        [
            (VOLUME, {}, "these are the organisers' own files, byte for byte"),
            (VOLUME, {"compression": "zlib"}, "packed otherwise than the organisers' files; the pixels are"),
            (VOLUME ^ 1, {}, "NOT THE PUBLISHED PIXELS: volume.tif."),
        ],
    )
    def test_the_organisers_files_and_pixels_are_known(self, sections, folder, volume, how, note):
        write(folder, volume, **how)
        notes = sections.verify(folder, partial=False)
        assert notes[0] == "volume.tif, labels.tif: 3 pages of 16x16 pixels each"
        assert notes[1].startswith(note)

    @pytest.mark.parametrize(
        ("arrays", "problem"),
        [
            ({"labels": LABELS[1:]}, "labels.tif has 2 pages; 3 were published"),
            ({"volume": np.zeros((PAGES, SIDE, SIDE + 1), np.uint8)}, "volume.tif is 16x17 uint8; 16x16 uint8 was"),
            ({"volume": VOLUME.astype(np.uint16)}, "volume.tif is 16x16 uint16; 16x16 uint8 was"),
            ({"labels": LABELS - (LABELS == 255)}, "holds the value(s) 254; labels are 0 and 255"),
        ],
    )
    def test_what_was_not_published_is_named(self, sections, folder, arrays, problem):
        write(folder, **arrays)
        assert problem in wrong(sections, folder)

    def test_a_missing_file_needs_leave(self, sections, folder):
        write(folder, labels=None)
        message = wrong(sections, folder)
        assert f"{folder} lacks labels.tif" in message
        assert "partial=true" in message
        assert "left out: labels.tif" in sections.verify(folder, partial=True)
        (folder / "volume.tif").unlink()
        assert "lacks volume.tif, labels.tif" in wrong(sections, folder, partial=True)  # nothing is no part

    def test_an_archive_may_lack_the_extras_alone(self, sections):
        inside = {f"a b/{name}": name for name in ("volume.tif", "labels.tif", "more.tif")}
        assert sections.pick([*inside, "a b/README", "other/more.tif"], "a.zip", partial=False) == inside
        assert len(sections.pick(["volume.tif", "labels.tif"], "a.zip", partial=False)) == 2
        with pytest.raises(DataError, match=r"a\.zip lacks labels\.tif"):
            sections.pick(["volume.tif", "more.tif"], "a.zip", partial=False)
        assert len(sections.pick(["volume.tif", "more.tif"], "a.zip", partial=True)) == 2

    def test_two_copies_are_ambiguous(self, sections):
        with pytest.raises(DataError, match="more than once: in a and in b"):
            sections.pick(["a/volume.tif", "b/labels.tif"], "a.zip", partial=True)

    def test_another_archive_is_described(self, sections):
        with pytest.raises(DataError, match=r"a\.zip holds no volume\.tif, in any folder; it holds cats, more\.tif"):
            sections.pick(["cats/1.jpg", "cats/2.jpg", "more.tif"], "a.zip", partial=True)

    def test_the_published_volume_is_within_its_limits(self):
        limits = EM.layout.limits
        assert limits.each > 30 * 512 * 512 + 5000
        assert limits.total < 500_000_000
        assert limits.ratio > 30  # labels compress to 1/29


class TestPairs:
    def test_the_whole_is_described(self, folder):
        write_pairs(folder)
        (folder / "train" / "original" / ".DS_Store").touch()
        (folder / "test" / "mask" / "Thumbs.db").touch()
        assert PAIRS.verify(folder, partial=False) == [
            "5 pairs (3 train, 2 test); the images are 3 PNG 8x6, 1 JPEG 10x7, 1 PNG 10x7"
        ]

    def test_a_lost_file_is_counted(self, folder):
        write_pairs(folder)
        (folder / "test" / "mask" / "3.png").unlink()
        assert "holds train: 3 images, 3 masks; test: 2 images, 1 masks; published are 3 pairs" in wrong(PAIRS, folder)

    def test_other_formats_and_sizes_are_counted(self, folder):
        write_pairs(folder)
        (folder / "test" / "original" / "3.jpg").unlink()
        Image.new("RGB", (10, 7)).save(folder / "test" / "original" / "3.png")
        Image.new("RGB", (9, 6)).save(folder / "train" / "original" / "1.png")
        message = wrong(PAIRS, folder)
        assert "2 PNG 8x6, 2 PNG 10x7, 1 PNG 9x6; published are 3 PNG 8x6, 1 JPEG 10x7, 1 PNG 10x7" in message

    def test_what_cannot_be_read_is_named(self, folder):
        write_pairs(folder)
        (folder / "train" / "original" / "1.png").write_bytes(b"?")
        assert "1.png cannot be read as an image" in wrong(PAIRS, folder)
        shutil.rmtree(folder / "test" / "mask")
        assert "test/mask cannot be read: No such file or directory" in wrong(PAIRS, folder)

    def test_the_published_set_is_within_its_limits(self):
        limits = BLOOD.layout.limits
        assert sum(BLOOD.layout.parts.values()) == sum(BLOOD.layout.pictures.values()) == 1328
        assert limits.each > 3 * 1944 * 1383
        assert limits.entries > 3 * 2 * 1328  # with macOS's litter


class TestRealData:
    def test_em(self, lamella_data):
        notes = EM.layout.verify(lamella_data / "em", partial=False)
        assert notes[0] == "train-volume.tif, train-labels.tif, test-volume.tif: 30 pages of 512x512 pixels each"
        assert "the pixels are the published ones" in notes[1]

    def test_blood_is_a_part(self, lamella_data):
        message = wrong(BLOOD.layout, lamella_data / "blood")
        assert "train: 48 images, 48 masks; test: 12 images, 12 masks" in message
        assert "published are 1,169 pairs to train and 159 pairs to test" in message
        notes = BLOOD.layout.verify(lamella_data / "blood", partial=True)
        assert notes[0].startswith("60 pairs (48 train, 12 test); the images are 54 PNG 1600x1200, 6 JPEG 1944x1383")
