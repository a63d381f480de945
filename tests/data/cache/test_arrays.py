"""Decoded arrays on disk: right, made once, and never half-written, whatever happens meanwhile."""

import multiprocessing
import os
import signal
import subprocess
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from lamella.data.cache import arrays as store_module
from lamella.data.cache.arrays import Store
from lamella.data.io.intensity import stretch
from lamella.data.io.pieces import blocks
from lamella.data.io.pieces.blocks import Block
from lamella.data.io.read import shrink, shrink_mask
from lamella.data.types import DatasetCard, ImageRef, Sample
from lamella.errors import DataError, StorageError

CARD = DatasetCard("toy", "toy", ("ground", "cell"), {0: 0, 255: 1}, channels=3, source="made here")


def make_sample(folder, name="a", seed=0, side=40):
    rng = np.random.default_rng(seed)
    image, mask = folder / f"{name}.png", folder / f"{name}_mask.png"
    Image.fromarray(rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)).save(image)
    Image.fromarray(rng.integers(0, 2, (side, side + 8), dtype=np.uint8) * 255).save(mask)
    return Sample(name, ImageRef(image), ImageRef(mask), name)


@pytest.fixture
def sample(tmp_path):
    return make_sample(tmp_path)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache", CARD, 0.5)


def cached(store):
    """Arrays and what is left of them; not the facts about files, which have tests of their own."""
    files = (path for path in store.folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not path.name.startswith("facts-"))


def true_image(sample):
    return np.asarray(Image.open(sample.image.path)).transpose(2, 0, 1)


def true_mask(sample):
    return np.asarray(Image.open(sample.mask.path)) // 255


def all_of(store, sample):
    return store.image(sample), store.mask(sample), store.truth(sample)


def test_arrays_are_those_of_the_files(store, sample):
    assert np.array_equal(store.image(sample), shrink(true_image(sample), 0.5))
    assert np.array_equal(store.mask(sample), shrink_mask(true_mask(sample), 0.5))
    assert np.array_equal(store.truth(sample), true_mask(sample))
    assert np.array_equal(store.full_image(sample), true_image(sample))


def test_the_same_pixels_are_one_picture_in_whatever_file(tmp_path, sample, monkeypatch):
    image = np.asarray(Image.open(sample.image.path))
    strange = image.copy()
    strange[3, 5, 1] ^= 1
    tifffile.imwrite(tmp_path / "one.tif", image, photometric="rgb", compression="zlib")
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([strange, image]), photometric="rgb")
    tifffile.imwrite(tmp_path / "deep.tif", image.astype(np.uint16), photometric="rgb")
    tifffile.imwrite(tmp_path / "float.tif", image.astype(np.float32), photometric="rgb")
    tifffile.imwrite(tmp_path / "stretched.tif", image.astype(np.uint16) * 257, photometric="rgb")
    Image.fromarray(image[::-1]).save(tmp_path / "flipped.png")
    moved = Store(tmp_path / "cache", CARD, 0.5, (0.3, 0.0), (1, 99))
    known = moved.pixels(sample)

    def pixels(name, page=None):
        return Store(tmp_path / "cache", CARD, 1.0).pixels(replace(sample, image=ImageRef(tmp_path / name, page)))

    same = [pixels("one.tif"), pixels("stack.tif", 1), pixels("deep.tif"), pixels("float.tif")]
    assert same == [known] * 4
    others = {pixels("stack.tif", 0), pixels("stretched.tif"), pixels("flipped.png")}
    assert len(others | {known}) == 4
    fresh = Store(tmp_path / "fresh", CARD, 0.5)
    fresh.image(sample)
    monkeypatch.setattr(store_module, "read_image", None)  # known since it was decoded
    assert fresh.pixels(sample) == known


def test_everything_is_decoded_once_and_mapped(store, sample, monkeypatch):
    first = all_of(store, sample)
    monkeypatch.setattr(store_module, "read_image", None)
    monkeypatch.setattr(store_module, "read_labels", None)
    again = all_of(Store(store.folder, CARD, 0.5), sample)
    for a, b in zip(first, again, strict=True):
        assert isinstance(b, np.memmap)
        assert not b.flags.writeable
        assert np.array_equal(a, b)
    assert len(cached(store)) == 3


def test_at_full_size_mask_and_truth_are_one_array(tmp_path, sample):
    store = Store(tmp_path / "cache", CARD, 1)
    all_of(store, sample)
    assert len(cached(store)) == 2


def test_what_shapes_an_array_is_part_of_its_name(store, sample):
    inverted = DatasetCard("toy", "toy", ("cell", "ground"), {255: 0, 0: 1}, channels=3, source="made here")
    assert np.array_equal(Store(store.folder, inverted, 1).truth(sample), 1 - store.truth(sample))
    assert Store(store.folder, CARD, 0.25).image(sample).shape != store.image(sample).shape


def test_a_changed_file_is_noticed(store, sample):
    before = [np.array(a) for a in all_of(store, sample)]
    make_sample(sample.image.path.parent, seed=1)
    for a, b in zip(before, all_of(store, sample), strict=True):
        assert not np.array_equal(a, b)
    assert np.array_equal(store.truth(sample), true_mask(sample))


def test_moved_and_equal_files_share_their_arrays(store, sample, tmp_path):
    all_of(store, sample)
    (tmp_path / "elsewhere").mkdir()
    moved = make_sample(tmp_path / "elsewhere", "b")
    all_of(store, moved)
    assert len(cached(store)) == 3


# --- when something goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda whole: whole[:50],
        lambda whole: whole[:-1],
        lambda whole: b"\x93NUMPY" + whole,
        lambda _: b"PK\x03\x04" + bytes(200),
        lambda whole: bytes(len(whole)),
    ],
    ids=["empty", "cut in the header", "cut at the end", "garbled header", "another kind", "zeros"],
)
def test_a_damaged_array_is_made_again(store, sample, damage):
    all_of(store, sample)
    for path in cached(store):
        path.write_bytes(damage(path.read_bytes()))
    assert np.array_equal(store.image(sample), shrink(true_image(sample), 0.5))
    assert np.array_equal(store.truth(sample), true_mask(sample))


def test_a_missing_file_is_named(store, sample):
    sample.image.path.unlink()
    with pytest.raises(DataError, match=r"a\.png cannot be read: No such file"):
        store.image(sample)
    assert not cached(store)


def test_an_unsound_file_leaves_nothing(store, sample):
    sample.mask.path.write_bytes(sample.mask.path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"a_mask\.png cannot be read"):
        store.mask(sample)
    assert not cached(store)


def test_a_file_where_the_folder_should_be(store, sample):
    store.folder.write_text("in the way")
    with pytest.raises(StorageError, match="decoded images cannot be") as caught:
        store.image(sample)
    assert "paths.cache" in caught.value.remedy


def test_a_file_that_cannot_grow_leaves_nothing(store, sample):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
        with pytest.raises(StorageError, match=r"written in .*: File too large"):
            store.image(sample)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not cached(store)
    assert np.array_equal(store.image(sample), shrink(true_image(sample), 0.5))


def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        large, small = make_sample(tmp_path, "large", side=200), make_sample(tmp_path, "small", side=30)
        store = Store(disk, CARD, 1)
        with pytest.raises(StorageError, match="No space left"):
            store.image(large)
        assert not cached(store)
        assert np.array_equal(store.truth(small), true_mask(small))  # what still fits is still kept
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # a failed call keeps its store for the traceback


# --- several processes -----------------------------------------------------------------------------------


def decode(folder, samples):
    store = Store(folder, CARD, 0.5)
    return [[int(array.sum()) for array in all_of(store, sample)] for sample in samples]


def test_processes_may_fill_one_folder_at_once(tmp_path):
    samples = [make_sample(tmp_path, str(i), seed=i) for i in range(12)]
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        waiting = [pool.submit(decode, tmp_path / "cache", samples) for _ in range(4)]
        found = [future.result() for future in waiting]
    assert all(sums == found[0] for sums in found)
    assert found[0] == decode(tmp_path / "fresh", samples)
    files = cached(Store(tmp_path / "cache", CARD, 0.5))
    assert len(files) == 36
    assert {path.suffix for path in files} == {".npy"}


def test_killed_half_way_leaves_nothing_that_is_read(tmp_path):
    array, target = np.arange(20, dtype=np.uint8).reshape(2, 10), tmp_path / "ab" / "abc.npy"

    def killed():
        yield Block(array[:1], 0, 2)
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=store_module._write, args=(target, killed()))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = (tmp_path / "ab").iterdir()
    assert left.suffix == ".part"  # a name that is never read
    store_module._write(target, iter([Block(array, 0, 2)]))
    assert np.array_equal(store_module._load(target), array)


# --- large images, a few rows at a time: here all images are large -------------------------------------------


@pytest.fixture
def large(tmp_path):
    """An image of 16 bits and its mask as TIFFs, and the array of the image as it is stored."""
    rng = np.random.default_rng(5)
    image = ndimage.gaussian_filter(rng.integers(0, 60_000, (3, 150, 130)).astype(np.uint16), (0, 2, 2))
    mask = (image[0] > np.median(image[0])).astype(np.uint8) * 255
    tifffile.imwrite(tmp_path / "i.tif", np.moveaxis(image, 0, -1), tile=(16, 32), compression="zlib")
    tifffile.imwrite(tmp_path / "m.tif", mask, rowsperstrip=5, compression="zlib")
    return Sample("a", ImageRef(tmp_path / "i.tif"), ImageRef(tmp_path / "m.tif"), "a"), image, mask // 255


def in_pieces(monkeypatch):
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setattr(blocks, "PIECE", 10_000)
    monkeypatch.setattr(store_module, "read_image", None)
    monkeypatch.setattr(store_module, "read_labels", None)


@pytest.mark.parametrize(
    ("scale", "offset", "percentiles"),
    [
        (1.0, (0.0, 0.0), None),
        (0.5, (0.0, 0.0), None),
        (0.3, (0.0, 0.0), None),
        (1.0, (-2.0, 3.0), None),
        (0.7, (1.3, -0.4), None),
        (1.0, (0.0, 0.0), (1, 99)),
        (0.4, (0.5, 0.5), (2.5, 90)),
    ],
)
def test_a_large_image_is_made_as_a_small_one(tmp_path, monkeypatch, large, scale, offset, percentiles):
    sample, image, mask = large
    settings = scale, offset, percentiles
    small = Store(tmp_path / "small", CARD, *settings)
    wanted = [small.image(sample), small.mask(sample), small.truth(sample)]
    known = small.pixels(sample)
    in_pieces(monkeypatch)
    store = Store(tmp_path / "large", CARD, *settings)
    got = store.image(sample), store.mask(sample), store.truth(sample)
    assert store.pixels(sample) == known
    for one, other in zip(got, wanted, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert np.array_equal(got[0], wanted[0])
    assert np.array_equal(got[1], wanted[1])
    assert np.array_equal(got[2], mask)
    if settings == (1.0, (0.0, 0.0), None):
        assert np.array_equal(got[0], image)


def test_the_hash_of_a_large_picture_is_that_of_its_values(tmp_path, monkeypatch, large):
    sample, image, _ = large
    low = (image >> 8).astype(np.uint8)
    names = {"bytes": low, "deep": low.astype(np.uint16), "floats": low.astype(np.float32)}
    for name, array in names.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", np.moveaxis(array, 0, -1), tile=(16, 16), photometric="rgb")
    refs = [replace(sample, image=ImageRef(tmp_path / f"{name}.tif")) for name in names]
    known = Store(tmp_path / "small", CARD, 1.0).pixels(refs[0])
    in_pieces(monkeypatch)
    assert {Store(tmp_path / "large", CARD, 0.5).pixels(each) for each in refs} == {known}


def test_an_offset_moves_images_and_never_masks(tmp_path, sample):
    plain, moved = Store(tmp_path / "cache", CARD, 1), Store(tmp_path / "cache", CARD, 1, (-2, 3))
    assert np.array_equal(moved.truth(sample), plain.truth(sample))
    assert np.array_equal(moved.image(sample)[:, 4:-6, 4:-4], plain.image(sample)[:, 6:-4, 1:-7])
    assert np.array_equal(moved.full_image(sample), plain.full_image(sample))  # people look at what was stored


def test_percentiles_give_16_bits(tmp_path, sample):
    plain, stretched = Store(tmp_path / "cache", CARD, 1), Store(tmp_path / "cache", CARD, 1, percentiles=(5, 95))
    assert stretched.image(sample).dtype == np.uint16
    assert np.array_equal(stretched.image(sample), stretch(plain.image(sample), (5, 95)))
