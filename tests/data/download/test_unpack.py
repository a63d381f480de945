"""Unpacking archives that mean no good, or that came to harm on the way."""

import resource
import shutil
import stat
import struct
import zipfile

import numpy as np
import pytest

from lamella.data.download.unpack import ArchiveLimits, in_bytes, is_litter, kind, unpack
from lamella.errors import DataError, StorageError

LIMITS = ArchiveLimits(entries=50, each=4_000_000, total=6_000_000, ratio=20)
PICTURE = np.random.default_rng(0).bytes(50_000)


def pack(path, *entries, method=zipfile.ZIP_DEFLATED):
    """A ZIP archive of (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content, compress_type=method)
    return path


def all_of(names):
    """Wants everything, each under its own name."""
    return {name: name for name in names}


def only_the_good(names):
    return {"good.png": "good.png"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").mkdir()
    folder = tmp_path / "outside" / "data"
    folder.mkdir()
    return folder


def refused(archive, folder, *, limits=LIMITS, pick=all_of, error=DataError):
    """The error, in words; nothing was written, inside or outside."""
    with pytest.raises(error) as caught:
        unpack(archive, folder, pick, limits)
    assert list(folder.parent.iterdir()) == [folder]
    return str(caught.value)


def test_what_is_wanted_is_unpacked_where_it_is_wanted(tmp_path, folder):
    archive = pack(
        tmp_path / "a.zip",
        ("root/", b""),
        ("root\\train\\x.png", PICTURE),  # as some programs under Windows write it
        ("root/train/.DS_Store", b"?"),
        ("__MACOSX/root/train/._x.png", b"?"),
        ("root/Thumbs.db", b"?"),
        ("root/LICENSE", b"MIT"),
        ("root/notes.txt", b"..."),
    )
    seen = []
    asked = []

    def pick(names):
        asked.extend(names)
        return {"root/train/x.png": "deep/er/y.png"}

    unpacked = unpack(archive, folder, pick, LIMITS, lambda done, total: seen.append((done, total)))
    assert (folder / "deep" / "er" / "y.png").read_bytes() == PICTURE
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["y.png"]
    assert asked == ["root/train/x.png", "root/LICENSE", "root/notes.txt"]
    assert (unpacked.files, unpacked.litter, unpacked.others) == (1, 3, ("root/LICENSE", "root/notes.txt"))
    assert seen[-1] == (len(PICTURE), len(PICTURE))


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "c:evil", "\\\\host\\share\\evil", "a/..", "//evil"],
)
def test_nothing_is_written_outside(tmp_path, folder, name):
    """Nor is an archive trusted that would, though nobody wants that file."""
    archive = pack(tmp_path / "a.zip", ("good.png", PICTURE), (name, b"evil"))
    assert "would write outside its folder" in refused(archive, folder, pick=only_the_good)


@pytest.mark.parametrize("what", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_are_refused(tmp_path, folder, what):
    entry = zipfile.ZipInfo("train")
    entry.external_attr = (what | 0o777) << 16
    archive = pack(tmp_path / "a.zip", (entry, "/etc"), ("train/passwd", b"evil"))
    assert "a link or a device: 'train'" in refused(archive, folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["X.png", "x.png"])
def test_one_name_is_not_unpacked_twice(tmp_path, folder, second):
    archive = pack(tmp_path / "a.zip", ("X.png", PICTURE), (second, b"other"))
    assert "two files of one name" in refused(archive, folder)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([("x.png", bytes(3_000_000))], "would unpack 'x.png' to 3.0 MB out of"),
        ([("x.png", np.random.default_rng(1).bytes(4_000_001))], "would unpack 'x.png' to 4.0 MB"),
        ([(f"{n}.png", bytes(1_000_000)) for n in range(7)], "would unpack to 7.0 MB, and at most 6.0 MB make sense"),
        ([(f"{n}.png", b"") for n in range(51)], "holds 51 entries, more than 50"),
    ],
    ids=["ratio", "one file", "all files", "number of files"],
)
def test_a_bomb_is_known(tmp_path, folder, entries, problem):
    assert problem in refused(pack(tmp_path / "a.zip", *entries), folder)


def test_small_files_may_be_compressed_well(tmp_path, folder):
    unpack(pack(tmp_path / "a.zip", ("x.png", bytes(1_000_000))), folder, all_of, LIMITS)
    assert (folder / "x.png").stat().st_size == 1_000_000


def rewrite(archive, central, local, new):
    """Overwrites a field of the only entry, in both of its headers: offsets from the header's beginning."""
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x01\x02", central), (b"PK\x03\x04", local)):
        at = data.index(signature) + offset
        data[at : at + len(new)] = new
    archive.write_bytes(data)
    return archive


def test_a_bomb_that_understates_its_size_is_cut_short(tmp_path, folder):
    archive = pack(tmp_path / "a.zip", ("x.png", bytes(2_000_000)))
    rewrite(archive, 24, 22, struct.pack("<L", 1000))
    with pytest.raises(DataError, match="damaged"):
        unpack(archive, folder, all_of, LIMITS)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1000


def test_an_encrypted_file_is_named(tmp_path, folder):
    archive = rewrite(pack(tmp_path / "a.zip", ("x.png", PICTURE)), 8, 6, struct.pack("<H", 1))
    assert "is encrypted: 'x.png' needs a password" in refused(archive, folder)


def test_a_compression_that_python_lacks_is_named(tmp_path, folder):
    archive = rewrite(pack(tmp_path / "a.zip", ("x.png", PICTURE)), 10, 8, struct.pack("<H", 9))  # Deflate64
    with pytest.raises(DataError, match="cannot be unpacked here") as caught:
        unpack(archive, folder, all_of, LIMITS)
    assert "another program" in caught.value.remedy


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_compressed_data_is_found(tmp_path, folder, method):
    archive = pack(tmp_path / "a.zip", ("x.png", PICTURE), method=method)
    data = bytearray(archive.read_bytes())
    data[10_000:10_100] = bytes(100)
    archive.write_bytes(data)
    with pytest.raises(DataError, match="damaged or cut off"):
        unpack(archive, folder, all_of, LIMITS)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbf \n<!DOCTYPE html><html><title>Sign in</title>", "a web page"),
        (b"<HTML><head>", "a web page"),
        (b"Rar!\x1a\x07\x00", "a RAR archive"),
        (b"some text", ""),
    ],
)
def test_what_is_no_archive_is_named(tmp_path, folder, content, name):
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    assert f"a.zip is no ZIP archive{name and ' but ' + name}\n" in refused(archive, folder)
    assert kind(content) == name


def test_what_cannot_be_read_is_named(tmp_path, folder):
    assert "is a folder, not a ZIP archive" in refused(tmp_path, folder)
    assert "none.zip cannot be read: No such file" in refused(tmp_path / "none.zip", folder)


def test_room_is_looked_for_beforehand(tmp_path, folder, monkeypatch):
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    message = refused(pack(tmp_path / "a.zip", ("x.png", PICTURE)), folder, error=StorageError)
    assert "unpacking a.zip needs 50.0 kB" in message
    assert "paths.data=FOLDER" in message


def test_a_file_that_cannot_be_written_is_named(tmp_path, folder):
    archive = pack(tmp_path / "a.zip", ("x.png", PICTURE))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # the kernel stops every file there
    try:
        with pytest.raises(StorageError, match=r"x\.png cannot be written: File too large"):
            unpack(archive, folder, all_of, LIMITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_damage_goes_unnoticed_or_does_harm(tmp_path, folder):
    """Archives with random bytes changed: unpacked as they were, or refused with one of our own errors."""
    contents = {"train/x.png": PICTURE[:300], "train/y.png": bytes(2000), "zé.png": b"z"}
    good = pack(tmp_path / "a.zip", *contents.items()).read_bytes()
    rng = np.random.default_rng(2)
    refusals = 0
    for trial in range(300):
        data = bytearray(good)
        for at in rng.integers(4, len(data), size=rng.integers(1, 6)):
            data[at] = rng.integers(256)
        (tmp_path / "b.zip").write_bytes(data)
        place = folder / str(trial)
        place.mkdir()
        try:
            unpack(tmp_path / "b.zip", place, all_of, LIMITS)
        except (DataError, StorageError):
            refusals += 1
            continue
        found = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
        assert all(content in contents.values() for content in found)
    assert 150 < refusals < 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "outside"]
    assert list((tmp_path / "outside").iterdir()) == [folder]


def test_litter_is_known():
    assert all(map(is_litter, ("__MACOSX/train/._x.png", "a/__MACOSX/x.png", "a/.DS_Store", "a/Desktop.ini")))
    assert not any(map(is_litter, ("train/original/x.png", "MACOSX/x.png")))


def test_sizes_in_words():
    said = {0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 2_050_000_000: "2.0 GB", 3e15: "3000.0 TB"}
    assert {count: in_bytes(count) for count in said} == said
