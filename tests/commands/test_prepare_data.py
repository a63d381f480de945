"""Data sets made ready: from a real server on this machine, from archives on disk, and by the command itself."""

import hashlib
import io
import os
import signal
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from filelock import FileLock
from hydra import compose, initialize_config_dir
from PIL import Image

from lamella.cli import main as cli
from lamella.commands import prepare_data as prepare
from lamella.config.paths import CHECKOUT
from lamella.data.download.archives import PairsLayout, PublishedArchive, PublishedTiff, VolumeLayout
from lamella.errors import ConfigError, DataError, StorageError
from support import processes
from support.processes import PATIENCE_S
from support.server import LOGIN, page, sends, serving, status

COMMAND = CHECKOUT / "scripts" / "prepare_data.py"
RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 256, (3, 16, 16), np.uint8)
LABELS = np.where(VOLUME < 50, 0, 255).astype(np.uint8)
NAMES = ("train-volume.tif", "train-labels.tif", "test-volume.tif")


def tiff(array):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack")
    return buffer.getvalue()


FILES = dict(zip(NAMES, (tiff(VOLUME), tiff(LABELS), tiff(VOLUME[::-1])), strict=True))


def picture(name, size=(8, 6)):
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, {"jpg": "JPEG", "png": "PNG"}[name.rpartition(".")[2]])
    return buffer.getvalue()


PAIRS = {f"{part}/{kind}/{name}": picture(name) for part, names in (("train", "abc"), ("test", "ef"))
         for stem in names for kind in ("original", "mask") for name in (f"{stem}.png",)}  # fmt: skip

SECTIONS = PublishedArchive(
    title="a small volume",
    url="http://nowhere.invalid/volume.zip",
    by_hand="Get it from the shelf.",
    file_name="volume.zip",
    layout=VolumeLayout(
        tuple(PublishedTiff(name, "", "", frozenset({0, 255}) if "labels" in name else None) for name in NAMES),
        (),
        3,
        16,
    ),
)
SMEARS = PublishedArchive(
    title="a few smears",
    url="http://nowhere.invalid/smears.zip",
    by_hand="Get it from the shelf.",
    file_name="smears.zip",
    layout=PairsLayout({"train": 3, "test": 2}, {("PNG", (8, 6)): 5}),
)
PLACES = {"em": SECTIONS, "blood": SMEARS}


def pack(path, files, root="", method=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(root + name, content)
    return path


class Home:
    """A folder for the data, and the command upon it, run in this process with small data sets."""

    def __init__(self, root, capsys):
        self.root = root
        self.data = root / "data"
        self.capsys = capsys

    def run(self, dataset, *overrides, places=PLACES):
        """What the command says."""
        cli.register()
        with initialize_config_dir(str(CHECKOUT / "conf"), version_base="1.3"):
            paths = (f"paths.{name}={self.root / name}" for name in ("data", "cache", "output"))
            cfg = compose("prepare_data", [f"dataset={dataset}", "audit=false", *paths, *overrides])
        prepare.run(cfg, places)
        return self.capsys.readouterr().out

    def refused(self, dataset, *overrides, error=DataError, **keywords):
        """The error in words; the data set's folder is as it was."""
        before = self.left(dataset)
        with pytest.raises(error) as caught:
            self.run(dataset, *overrides, **keywords)
        assert self.left(dataset) == before
        assert not (self.data / f".{dataset}.unpacking").exists()
        return str(caught.value)

    def left(self, dataset):
        folder = self.data / dataset
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path, capsys):
    return Home(tmp_path, capsys)


@pytest.fixture
def web():
    with serving() as web:
        yield web


class TestFromAnArchive:
    @pytest.mark.parametrize("root", ["", "ISBI-2012-challenge/"])
    def test_a_volume(self, home, root):
        archive = pack(home.root / "a.zip", FILES, root)
        said = home.run("em", f"archive={archive}")
        assert home.left("em") == FILES
        assert "3 pages of 16x16 pixels each" in said
        assert hashlib.sha256(archive.read_bytes()).hexdigest() in said
        assert sorted(path.name for path in home.data.iterdir()) == [".em.lock", "em"]
        assert archive.exists()

    def test_pairs_and_what_was_left(self, home):
        litter = {"__MACOSX/train/original/._a.png": b"?", "top/train/mask/.DS_Store": b"?"}
        inside = {f"top/{name}": content for name, content in PAIRS.items()}
        archive = pack(home.root / "a.zip", litter | inside | {"top/README.md": b"?"})
        said = home.run("blood", f"archive={archive}")
        assert home.left("blood") == PAIRS
        assert "unpacked 10 files; passed over 2 that macOS or Windows had added" in said
        assert "left in the archive: top/README.md" in said
        assert "5 pairs (3 train, 2 test)" in said

    def test_a_second_call_finds_it_there(self, home):
        archive = pack(home.root / "a.zip", FILES)
        home.run("em", f"archive={archive}")
        archive.unlink()
        (home.data / ".em.lock").unlink()
        said = home.run("em", f"archive={archive}")
        assert f"a small volume is at {home.data / 'em'}" in said
        assert "sha256" not in said
        assert [path.name for path in home.data.iterdir()] == ["em"]  # it may lie where nobody can write

    def test_a_part_needs_leave(self, home):
        some = {name: content for name, content in PAIRS.items() if "/a." not in name}
        archive = pack(home.root / "a.zip", some)
        message = home.refused("blood", f"archive={archive}")
        assert f"{archive} holds train: 2 images, 2 masks; test: 2 images, 2 masks; published are 3 pairs" in message
        assert "partial=true" in message
        assert "A PART of the published 5" in home.run("blood", f"archive={archive}", "partial=true")
        message = home.refused("blood")
        assert f"{home.data / 'blood'} holds train: 2 images" in message
        assert f"move {home.data / 'blood'} away" in message
        assert "A PART of the published 5" in home.run("blood", "partial=true")

    def test_a_faulty_archive_leaves_nothing(self, home):
        whole = pack(home.root / "a.zip", FILES, method=zipfile.ZIP_STORED).read_bytes()
        at = whole.index(b"train-labels") + 500
        (home.root / "damaged.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        pack(home.root / "other.zip", FILES | {"train-labels.tif": tiff(LABELS[1:])})
        pack(home.root / "evil.zip", FILES | {"../../evil": b"?"})
        pack(home.root / "bomb.zip", FILES | {"train-volume.tif": bytes(2_000_000)})
        for name, problem in (
            ("damaged", "damaged or cut off: Bad CRC-32 for file 'train-labels.tif'"),
            ("other", f"{home.root / 'other.zip'}/train-labels.tif has 2 pages; 3 were published"),
            ("evil", "would write outside its folder"),
            ("bomb", "would unpack 'train-volume.tif' to 2.0 MB"),
            ("none", "none.zip cannot be read: No such file"),
        ):
            assert problem in home.refused("em", f"archive={home.root / name}.zip")
            assert not (home.root / "evil").exists()

    def test_a_hash_that_does_not_fit(self, home):
        archive = pack(home.root / "a.zip", FILES)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        message = home.refused("em", f"archive={archive}", f"sha256={'0' * 64}")
        assert f"has the SHA-256 {found}, not {'0' * 64}" in message
        home.run("em", f"archive={archive}", f"sha256={found.upper()}")
        assert home.left("em") == FILES

    def test_what_a_kill_left_is_cleared_away(self, home):
        stale = home.data / ".em.unpacking" / "deep"
        stale.mkdir(parents=True)
        (stale / "train-volume.tif").write_bytes(b"half")
        home.run("em", f"archive={pack(home.root / 'a.zip', FILES)}")
        assert home.left("em") == FILES
        assert not (home.data / ".em.unpacking").exists()

    def test_an_empty_folder_is_filled_and_hidden_files_stay(self, home):
        (home.data / "em").mkdir(parents=True)
        (home.data / "em" / ".gitkeep").write_bytes(b"here")
        home.run("em", f"archive={pack(home.root / 'a.zip', FILES)}")
        assert home.left("em") == FILES | {".gitkeep": b"here"}

    def test_a_folder_with_something_else_is_left_alone(self, home):
        (home.data / "em").mkdir(parents=True)
        (home.data / "em" / "thesis.txt").write_bytes(b"mine")
        message = home.refused("em", f"archive={pack(home.root / 'a.zip', FILES)}")
        assert f"{home.data / 'em'} lacks train-volume.tif, train-labels.tif, test-volume.tif" in message
        assert f"move {home.data / 'em'} away" in message

    def test_a_link_to_another_disk_is_followed(self, home):
        other = home.root / "big" / "em"
        other.mkdir(parents=True)
        home.data.mkdir()
        (home.data / "em").symlink_to(other)
        home.run("em", f"archive={pack(home.root / 'a.zip', FILES)}")
        assert (home.data / "em").is_symlink()
        assert sorted(path.name for path in other.iterdir()) == sorted(NAMES)

    def test_two_calls_do_not_fill_one_folder(self, home):
        home.data.mkdir()
        with FileLock(home.data / ".em.lock"):
            message = home.refused("em", f"archive={pack(home.root / 'a.zip', FILES)}")
        assert "is being filled by another process" in message

    def test_a_place_that_cannot_be_written(self, home):
        home.data.write_text("a file")
        with pytest.raises(StorageError, match="cannot be written"):
            home.run("em", f"archive={pack(home.root / 'a.zip', FILES)}")


class TestFromTheWeb:
    def test_fetched_unpacked_and_said(self, home, web):
        archive = pack(home.root / "a.zip", FILES)
        web.answers = [status(503), sends(archive.read_bytes())]
        said = home.run("em", "timeout=5", places={"em": replace(SECTIONS, url=web.url)})
        assert home.left("em") == FILES
        assert f"fetching a small volume from {web.url}" in said
        assert f"{home.data / 'volume.zip'} ({len(archive.read_bytes()) / 1000:.1f} kB) is no longer needed" in said
        assert sorted(path.name for path in home.data.iterdir()) == [".em.lock", "em", "volume.zip"]

    def test_what_was_fetched_or_put_there_is_taken(self, home):
        pack(home.data / "volume.zip", FILES)
        assert "volume.zip, which is there already" in home.run("em")
        assert home.left("em") == FILES

    @pytest.mark.parametrize(
        ("answer", "problem"), [(page(LOGIN), "that asks for a login"), (status(404), "answers 404")]
    )
    def test_the_way_out_is_by_hand(self, home, web, answer, problem):
        web.answers = [answer]
        message = home.refused("em", f"url={web.url}")
        assert problem in message
        assert "Get it from the shelf." in message
        assert f"archive=FILE, or put it at {home.data / 'volume.zip'}" in message

    def test_a_length_too_short_is_noticed(self, home, web):
        data = pack(home.root / "a.zip", FILES).read_bytes()
        web.answers = [sends(data[:-200])]
        message = home.refused("em", f"url={web.url}")
        assert "volume.zip is damaged or cut off" in message
        assert f"To fetch it again, remove {home.data / 'volume.zip'} first." in message


class TestAudit:
    SPLIT = ("dataset.split.val=1", "dataset.split.test=1")

    def test_it_follows_and_leaves_a_page(self, home):
        page = home.root / "deep" / "audit.html"
        archive = pack(home.root / "a.zip", FILES)
        said = home.run("em", f"archive={archive}", "audit=true", f"html={page}", *self.SPLIT)
        assert "audit: 0 error(s), " in said
        assert f"with pictures: {page}" in said
        assert page.read_text().lstrip().lower().startswith("<!doctype html>")

    def test_a_fault_stops_and_the_page_shows_it(self, home):
        name = "train/mask/a.png"
        archive = pack(home.root / "a.zip", PAIRS | {name: picture(name, (9, 6))})
        with pytest.raises(DataError) as caught:
            home.run("blood", f"archive={archive}", "audit=true", "dataset.split.val_fraction=0.3")
        assert str(home.data / "blood" / name) in str(caught.value)
        assert "9x6" in str(caught.value)
        assert home.left("blood")
        assert "a.png" in (home.root / "output" / "audit-blood.html").read_text()
        assert "audit: 0 error(s)" not in home.capsys.readouterr().out


class TestOtherDataSets:
    def test_a_phantom_needs_no_archive(self, home):
        assert "phantom_blood: nothing to fetch" in home.run("phantom_blood")
        assert "archive= and url= go with dataset=em or dataset=blood" in home.refused(
            "phantom_blood", "archive=a.zip", error=ConfigError
        )


def start(root, *overrides, fresh=False):
    """The command as a user starts it."""
    paths = [f"paths.{name}={root / name}" for name in ("data", "cache", "output")]
    return processes.start(COMMAND, *paths, *overrides, cwd=root, fresh=fresh)


def end(process):
    done = processes.end(process)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


class TestTheCommand:
    def test_killed_while_fetching_and_called_again(self, tmp_path, web):
        """In the published size: 30 pages of 512x512, noise instead of tissue."""
        volume = RNG.integers(0, 256, (30, 512, 512), np.uint8)
        files = dict(zip(NAMES, (tiff(volume), tiff(volume // 128 * 255), tiff(volume)), strict=True))
        data = pack(tmp_path / "a.zip", files, "ISBI-2012-challenge/", zipfile.ZIP_STORED).read_bytes()
        part = tmp_path / "data" / "ISBI-2012-challenge.zip.part"
        web.answers = [sends(data, slowly=0.02), sends(data)]
        keys = ("dataset=em", f"url={web.url}", "audit=false")

        process = start(tmp_path, *keys)
        deadline = time.monotonic() + PATIENCE_S
        while not (part.exists() and part.stat().st_size > 1_000_000):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        have = part.stat().st_size
        assert have < len(data)
        assert not (tmp_path / "data" / "em").exists()

        code, stdout, stderr = end(start(tmp_path, *keys))
        assert (code, stderr) == (0, "")
        assert web.headers(1)["Range"] == f"bytes={have}-"
        assert (tmp_path / "data" / "em" / "train-labels.tif").read_bytes() == files["train-labels.tif"]
        assert "NOT THE PUBLISHED PIXELS" in stdout
        assert sorted(path.name for path in part.parent.iterdir()) == [".em.lock", "ISBI-2012-challenge.zip", "em"]

    def test_no_network_is_a_message(self, tmp_path):
        code, _, stderr = end(start(tmp_path, "dataset=blood", "url=http://nowhere.invalid/x", fresh=True))
        assert code == 1
        assert stderr.startswith("error: nowhere.invalid cannot be reached: ")
        assert "https://drive.google.com/file/d/1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71/view" in stderr
        assert "kaggle.com/datasets/jeetblahiri/bccd-dataset-with-mask" in stderr
        assert f"put it at {tmp_path / 'data' / 'BBBC041Seg.zip'}" in stderr

    def test_help_names_every_key(self, tmp_path):
        code, stdout, _ = end(start(tmp_path, "--help", fresh=True))
        assert code == 0
        for key in ("archive", "url", "sha256", "partial", "audit", "html", "timeout", "retries"):
            assert f"  {key} " in stdout
