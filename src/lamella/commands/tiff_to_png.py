"""TIFF -> PNG: one PNG a page, numbered so that they sort, with all else that the file says beside them as JSON."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lamella.config.check import check
from lamella.config.schema import TiffToPng
from lamella.console import console
from lamella.data.io import decode
from lamella.data.io.eight_bit import Range, Scaling, check_scaling, scaling
from lamella.data.io.read import Pixels, read
from lamella.data.types import ImageRef
from lamella.errors import DataError, StorageError
from lamella.version import __version__


@dataclass(frozen=True)
class _Source:
    """A TIFF file, and the names of the PNG files it becomes: by page, then by channel where it has to be parted."""

    path: Path
    axes: str | None
    names: tuple[tuple[str, ...], ...]

    @property
    def record(self) -> str:
        """The name of the file for all else."""
        return f"{self.path.stem}.json"

    def page(self, number: int) -> Pixels:
        """As stored; floats are read where all are numbers."""
        pixels = decode.stored(self.ref(number))
        return pixels if pixels.dtype.kind in "iu" else read(self.ref(number))

    def ref(self, number: int) -> ImageRef:
        return ImageRef(self.path, number, self.axes)


def run(composed: DictConfig) -> None:
    """Converts what `input` names, with progress on a terminal.

    Args:
        composed: by Hydra.

    Raises:
        LamellaError: anything a user can mend. What was converted before stays; nothing is half-written.
    """
    cfg = check(composed, TiffToPng)
    out = console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        line = bar.add_task("pages", total=None)
        written = tiff_to_png(
            find(cfg.input),
            Path(cfg.output).expanduser(),
            axes=cfg.axes,
            eight_bit=cfg.eight_bit,
            limits=cfg.range if cfg.range is None or isinstance(cfg.range, str) else tuple(cfg.range),
            percentiles=None if cfg.percentiles is None else (cfg.percentiles[0], cfg.percentiles[1]),
            overwrite=cfg.overwrite,
            progress=lambda done, total: bar.update(line, completed=done, total=total),
        )
    out.print(f"{len(written)} PNG file(s) in {cfg.output}")


def find(what: str) -> list[Path]:
    """The TIFF files that a path names: a file, all of a folder, or all that a glob matches; sorted.

    Raises:
        DataError: there is none, or a file is no TIFF by its name.
    """
    place = Path(what).expanduser()
    found: Iterable[Path] = [place] if place.exists() else []
    if place.is_dir():
        found = (path for path in place.iterdir() if path.suffix.lower() in decode.TIFF)
    elif not found:
        with suppress(ValueError):  # no pattern
            found = list(Path(place.anchor).glob(str(place.relative_to(place.anchor))))
    paths = sorted(path for path in found if path == place or not path.name.startswith("."))
    if not paths:
        raise DataError(f"input={what} names no TIFF file", "Name a file, a folder that holds .tif files, or a glob.")
    for path in paths:
        if path.suffix.lower() not in decode.TIFF:
            raise DataError(f"{path} is no TIFF by its name", f"TIFF files end in {' or '.join(decode.TIFF)}.")
    return paths


def tiff_to_png(
    paths: Sequence[Path],
    output: Path,
    *,
    axes: str | None = None,
    eight_bit: bool = False,
    limits: Range | str | None = None,
    percentiles: Range | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Writes every page of TIFF files as a PNG, `stem_000.png`, or `stem.png` where there is one page only.

    Images of one channel become grey, of three RGB; of any other number one grey PNG a channel, `stem_000_c0.png`.
    Beside them goes `stem.json`. All that becomes of a file appears together, when all is there.

    Args:
        paths: the files.
        output: folder for all PNGs; made where it is missing.
        axes: the files' axes where they do not name them. See `ImageRef`.
        eight_bit: scale to 8 bits; else 16 bits stay 16 bits.
        limits: the levels that become 0 and 255; "minmax": the least and greatest of each file.
        percentiles: the same, as percentiles of each file.
        overwrite: replace what is there.
        progress: called with (pages done, pages in all).

    Returns:
        The PNGs, in order.

    Raises:
        ConfigError: a scaling that is none, or that nothing asks for.
        DataError: a file that cannot be read, or whose values a PNG cannot hold without a scaling.
        StorageError: `output` cannot be written, or holds one of the names already.
    """
    check_scaling(eight_bit, limits, percentiles)
    sources = [_source(path, axes) for path in paths]
    _check_names(sources, output, overwrite)
    done, total, written = count(1), sum(len(source.names) for source in sources), []
    page_done = (lambda: progress(next(done), total)) if progress else lambda: None
    for source in sources:
        chosen = _scaling(source, limits, percentiles) if eight_bit else None
        try:
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".tiff_to_png-", dir=output) as unfinished:
                names = _convert(source, chosen, Path(unfinished), page_done)
                _publish(Path(unfinished), output, source.record, names)
        except OSError as error:
            raise StorageError(
                f"PNG files cannot be written to {output}: {error.strerror or error}",
                "Free space there, or name another folder: output=FOLDER.",
            ) from error
        written += [output / name for name in names]
    return written


def _source(path: Path, axes: str | None) -> _Source:
    pages = decode.pages(path, axes)
    digits = max(3, len(str(pages - 1)))
    stems = [f"{path.stem}_{page:0{digits}d}" for page in range(pages)] if pages > 1 else [path.stem]
    channels = decode.header(ImageRef(path, 0, axes)).channels
    ends = [".png"] if channels in (1, 3) else [f"_c{c:0{len(str(channels - 1))}d}.png" for c in range(channels)]
    return _Source(path, axes, tuple(tuple(stem + end for end in ends) for stem in stems))


def _check_names(sources: Sequence[_Source], output: Path, overwrite: bool) -> None:
    taken: dict[str, Path] = {}
    for source in sources:
        for name in (source.record, *(name for names in source.names for name in names)):
            other = taken.setdefault(name.lower(), source.path)
            if other != source.path:
                raise DataError(f"{other} and {source.path} would both become {name}", "Convert them to two folders.")
            if not overwrite and (output / name).exists():
                raise StorageError(f"{output / name} is there already", "Name another folder, or set overwrite=true.")


def _scaling(source: _Source, limits: Range | str | None, percentiles: Range | None) -> Scaling | None:
    """How the levels of one file become 8 bits; None where they are 8 bits and nothing else is said."""
    stored = decode.header(source.ref(0)).dtype
    if limits is None and percentiles is None and stored.itemsize == 1 and stored.kind in "bu":
        return None
    pages = (source.page(number) for number in range(len(source.names)))
    return scaling(source.path, pages, limits, percentiles)


def _convert(source: _Source, chosen: Scaling | None, folder: Path, page_done: Callable[[], None]) -> list[str]:
    """Writes the PNGs of one file and their record; returns the names of the PNGs."""
    new: list[dict[str, Any]] = []
    for number, names in enumerate(source.names):
        pixels = source.page(number)
        pixels = chosen(pixels) if chosen else _kept(pixels, source.ref(number))
        planes = [pixels] if len(names) == 1 else np.moveaxis(pixels, -1, 0)
        for channel, (name, plane) in enumerate(zip(names, planes, strict=True)):
            png = imagecodecs.png_encode(np.ascontiguousarray(plane))
            (folder / name).write_bytes(png)
            which = {"page": number, "channel": channel} if len(names) > 1 else {"page": number}
            new.append({"file": name, **which, "sha256": hashlib.sha256(png).hexdigest()})
        page_done()
    with source.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    record = {
        "made_by": f"lamella {__version__}, tiff_to_png",
        "source": {"file": source.path.name, "sha256": sha256, "bytes": source.path.stat().st_size},
        **decode.metadata(source.ref(0)),
        "scaling": asdict(chosen) if chosen else None,
        "png": new,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / source.record).write_text(text + "\n", encoding="utf-8")
    return [png["file"] for png in new]


def _kept(pixels: Pixels, ref: ImageRef) -> Pixels:
    """The same values as uint8 or uint16."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(
            f"{ref} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}, which no PNG holds",
            "Scale them to 8 bits: eight_bit=true with range=[low,high], range=minmax or percentiles=[1,99].",
        )
    return pixels.astype(np.uint16)


def _publish(unfinished: Path, output: Path, record: str, names: Sequence[str]) -> None:
    """Moves finished files into place, the record last; what an earlier, longer stack of that name left goes."""
    old: list[str] = []
    with suppress(OSError, ValueError, KeyError, TypeError):  # there is no record, or not one of ours
        old = [str(png["file"]) for png in json.loads((output / record).read_text(encoding="utf-8"))["png"]]
    for name in (*names, record):
        (unfinished / name).replace(output / name)
    for name in old:
        if name not in names and Path(name).name == name and name.endswith(".png"):
            (output / name).unlink(missing_ok=True)
