"""A folder of damaged, misnamed and malicious files beside good ones: each gets its sentence, and nothing is lost."""

import hashlib
import io
import os
import pickle
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from lamella import tracking
from lamella.config.paths import CHECKOUT
from lamella.data import predictions
from lamella.data.cache.facts import Facts
from support import processes

PREDICT = CHECKOUT / "scripts" / "predict.py"
RNG = np.random.default_rng(4)
SMEAR = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
GOOD = ("aa.png", "mm.tif", "sub/zz.jpg", "one pixel.png", "flat.npy")


def encoded(kind: str, picture: Image.Image | None = None, **how: Any) -> bytes:
    file = io.BytesIO()
    (picture or Image.fromarray(SMEAR)).save(file, kind, **how)
    return file.getvalue()


def tiff(values: npt.NDArray[Any] = SMEAR, **how: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **how)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png() -> bytes:
    head = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def tagged(*tags: tuple[int, int, int, int], next_: int = 0) -> bytes:
    """A TIFF of these tags: number, type, count, value."""
    body = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + struct.pack("<I", next_) + bytes(64)


def tags(side: int = 8, **changed: int) -> list[tuple[int, int, int, int]]:
    said = {"compression": 1, "offset": 150, "bytes": 3 * side * side, "samples": 3, "photometric": 2} | changed
    return [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, said["compression"]),
        (262, 3, 1, said["photometric"]), (273, 4, 1, said["offset"]), (277, 3, 1, said["samples"]),
        (278, 4, 1, side), (279, 4, 1, said["bytes"]),
    ]  # fmt: skip


class Touches:
    """What a pickle would run: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled(trap: Path) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (4, 4)})
    return file.getvalue() + pickle.dumps(Touches(trap))


def zipped(**arrays: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def array(values: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def hdf5(write: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as held:
        write(held)
    return file.getvalue()


def clear() -> Image.Image:
    return Image.fromarray(np.dstack([SMEAR, np.full(SMEAR.shape[:2], 7, np.uint8)]))


def hostile(trap: Path) -> dict[str, bytes]:
    """Files by name, none of which can be predicted by a network of 8-bit RGB images."""
    png, whole = encoded("PNG"), tiff()
    frames = {"save_all": True, "append_images": [Image.fromarray(SMEAR[::-1])]}
    bad = np.where(SMEAR[0, 0, 0] == SMEAR, np.nan, SMEAR).astype(np.float32)
    volume = hdf5(lambda file: file.create_dataset("raw", data=SMEAR))
    return {
        "animated.png": encoded("PNG", **frames),
        "bytes.tif": bytes(1000),
        "cmyk.jpg": encoded("JPEG", Image.fromarray(SMEAR).convert("CMYK")),
        "complex.npy": array(SMEAR.astype(np.complex64)),
        "compressed.tif": tagged(*tags(compression=4711)),
        "half hdf5.h5": volume[: len(volume) // 2],
        "half jpeg.jpg": encoded("JPEG")[:500],
        "zeros.mrc": bytes(500),
        "half nifti.nii.gz": b"\x1f\x8b\x08\x00" + bytes(40),
        "half numpy.npy": array(SMEAR)[:900],
        "half png.png": png[: len(png) // 2],
        "half tiff.tif": whole[: len(whole) // 2],
        "deep.tif": tiff(SMEAR.astype(np.uint16) * 257, photometric="rgb"),
        "empty.h5": hdf5(lambda file: file.create_group("nothing")),
        "nothing at all.png": b"",
        "far.tif": tagged(*tags(offset=4_000_000_000)),
        "five channels.tif": tiff(np.dstack([SMEAR, SMEAR[..., :2]]), photometric="minisblack", planarconfig="contig"),
        "gif.png": encoded("GIF"),
        "grey.png": encoded("PNG", Image.fromarray(SMEAR[..., 0])),
        "large png.png": huge_png(),
        "large tiff.tif": tagged(*tags(2_000_000_000, bytes=100)),
        "linked.h5": hdf5(lambda file: file.__setitem__("raw", h5py.ExternalLink("/etc/hostname", "/raw"))),
        "loop.tif": tagged(*tags(), next_=8),
        "nan.tif": tiff(bad, photometric="rgb"),
        "nothing.npy": array(SMEAR[:0]),
        "photo.heic": b"\0\0\0\x18ftypheic" + bytes(50),
        "pickled.npy": pickled(trap),
        "slide.czi": b"ZISRAWFILE" + bytes(50),
        "text.tif": b"these are no pixels\n" * 9,
        "time and depth.tif": tiff(np.stack([[SMEAR[..., 0]] * 2] * 3), imagej=True, metadata={"axes": "TZYX"}),
        "transparent.png": encoded("PNG", clear()),
        "two.npz": zipped(one=SMEAR, two=SMEAR),
        "[bold]\x1b[31m\n=1+1.png": png[:60],
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "raw"
    (folder / "sub").mkdir(parents=True)
    for name, content in hostile(folder.parent / "trap").items():
        (folder / name).write_bytes(content)
    (folder / "broken.zarr").mkdir()
    (folder / "broken.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"}')
    (folder / "dead link.tif").symlink_to(folder / "nowhere.tif")
    os.mkfifo(folder / "pipe.tif")  # whoever opens it waits for ever
    (folder / "folder.tif").mkdir()
    for name in GOOD:
        values = SMEAR[:1, :1] if "pixel" in name else SMEAR
        suffix = Path(name).suffix
        content = {".png": encoded("PNG", Image.fromarray(values)), ".jpg": encoded("JPEG"), ".npy": array(SMEAR)}
        (folder / name).write_bytes(content.get(suffix, tiff(SMEAR, photometric="rgb")))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def done(
    raw: Path, root: Path, uri: str, runs: list[tracking.FinishedRun]
) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """The one call, of a new interpreter to its very end, and the hashes of the files before it."""
    before = hashes(raw)
    ended = processes.run(
        PREDICT, f"run={runs[0].run_id}", f"input={raw}", f"output={raw.parent}/found", f"tracking.uri={uri}",
        f"paths.cache={root}/cache", "accelerator=cpu", "geojson=true", "rois=true", cwd=raw.parent, fresh=True,
    )  # fmt: skip
    return ended, before


def shown(name: str) -> str:
    return name.replace("\x1b", "\\x1b").replace("\n", " ")


def test_each_gets_one_sentence_that_names_it(
    raw: Path, done: tuple[subprocess.CompletedProcess[str], dict[str, str]]
) -> None:
    ended, _ = done
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "Traceback" not in said
    failures = [line for line in ended.stdout.splitlines() if line.startswith("failed: ")]
    names = [*hostile(raw.parent / "trap"), "broken.zarr", "dead link.tif", "pipe.tif"]
    for name in names:
        assert sum(str(raw / shown(name)) in line for line in failures) == 1, f"{name!r}\n{said}"
    assert len(failures) == len(names) >= 30, said
    wanted = f"error: {len(names)} of {len(names) + len(GOOD)} files could not be predicted; all others are finished"
    assert ended.stderr.splitlines()[0] == wanted
    assert not (raw.parent / "trap").exists()
    assert "\x1b" not in said


def test_the_good_ones_are_whole_and_nothing_else_is_there(
    raw: Path, done: tuple[subprocess.CompletedProcess[str], dict[str, str]]
) -> None:
    folder = raw.parent / "found"
    names = {re.sub(r"\.\w+$", "", name) for name in GOOD}
    told = predictions.read(folder)
    assert {picture.name for picture in told.pictures} == names
    facts = Facts(raw.parent / "facts")
    assert all(facts.sha256(folder / name) == sha256 for name, sha256 in told.sha256.items())
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and ".predict" not in path.parts
    }
    assert there == {*told.sha256, "predictions.json", "images.csv", "objects.csv", "index.html"}
    for name in names:
        assert tifffile.imread(folder / f"{name}_labels.tif").shape == ((1, 1) if "pixel" in name else SMEAR.shape[:2])
    left = [
        path for path in (folder / ".predict").rglob("*") if path.is_file() and path.suffix not in (".json", ".csv")
    ]
    assert [path.name for path in left] in ([], ["lock"])


def test_no_input_was_touched(raw: Path, done: tuple[subprocess.CompletedProcess[str], dict[str, str]]) -> None:
    assert hashes(raw) == done[1]
