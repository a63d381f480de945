"""Files on their way into a store: whole, linked where they can be, and with the modes of new files."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.tracking.delivery import Place, put


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than the other folders of tests, to which no link leads."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_checkpoint_is_another_name_of_the_same_file(tmp_path: Path) -> None:
    source, target = tmp_path / "last.ckpt", tmp_path / "store/deep/last.ckpt"
    source.write_bytes(b"first")
    put(source, target)
    assert target.samefile(source)
    put(source, target)  # again: nothing to do
    assert target.read_bytes() == b"first"
    part = tmp_path / "last.part"
    part.write_bytes(b"second")
    part.replace(source)
    assert target.read_bytes() == b"first"  # until it is put there
    put(source, target)
    assert target.read_bytes() == b"second"
    assert names(tmp_path / "store") == ["deep/last.ckpt"]


def test_other_files_are_copies_that_nobody_changes(tmp_path: Path) -> None:
    source, target = tmp_path / "scores.csv", tmp_path / "store/scores.csv"
    source.write_text("id,dice\n")
    put(source, target)
    source.write_text("changed where it lies\n")
    assert target.read_text() == "id,dice\n"


def test_on_another_disk_all_names_share_one_copy(tmp_path: Path, elsewhere: Path) -> None:
    source = tmp_path / "best.ckpt"
    source.write_bytes(b"x" * 4096)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/best.ckpt").hardlink_to(source)
    for name in ("checkpoints/best.ckpt", "model/best.ckpt", "logged/best.ckpt"):
        put(tmp_path / ("model/best.ckpt" if name.startswith("model") else "best.ckpt"), elsewhere / name)
    files = list(elsewhere.rglob("*.ckpt"))
    assert len(files) == 3
    assert len({file.stat().st_ino for file in files}) == 1
    assert not files[0].samefile(source)
    assert files[0].read_bytes() == source.read_bytes()
    other = tmp_path / "other.ckpt"
    other.write_bytes(b"y" * 4096)  # as large
    put(other, elsewhere / "checkpoints/best.ckpt")
    put(source, elsewhere / "again.ckpt")  # whose copy is another's now
    assert (elsewhere / "again.ckpt").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("name", ["last.ckpt", "scores.csv"])
def test_modes_are_those_of_new_files(tmp_path: Path, mask: int, name: str) -> None:
    number, source = tempfile.mkstemp(dir=tmp_path, suffix=name)  # which nobody else may read
    os.close(number)
    before = os.umask(mask)
    try:
        put(Path(source), tmp_path / "store" / name)
    finally:
        os.umask(before)
    assert (tmp_path / "store" / name).stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_full_disk_leaves_nothing_torn(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs to mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    try:
        source = tmp_path / "best.ckpt"
        source.write_bytes(os.urandom(100_000))
        put(source, small / "checkpoints/best.ckpt")
        whole = source.read_bytes()
        larger = tmp_path / "larger.ckpt"
        larger.write_bytes(os.urandom(400_000))
        with pytest.raises(OSError, match="No space left"):
            put(larger, small / "checkpoints/best.ckpt")
        assert names(small) == ["checkpoints/best.ckpt"]
        assert (small / "checkpoints/best.ckpt").read_bytes() == whole
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("name", ["with space", "Übung", "50%20of", "a#b"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    source = tmp_path / "file.txt"
    source.write_text("kept")
    place = Place((tmp_path / name).as_uri(), "")
    place.put(source, "deep/file.txt")
    assert (tmp_path / name / "deep/file.txt").read_text() == "kept"
    place.drop("deep/file.txt")
    place.drop("deep/file.txt")  # gone already
    assert names(tmp_path / name) == []
