"""A published data set from the web, or from an archive on disk, to its folder: unpacked, verified, audited."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig
from rich.console import Console

from lamella.config.check import check
from lamella.config.schema import PrepareData
from lamella.console import console, transfer
from lamella.data.download.archives import PUBLISHED, PublishedArchive
from lamella.data.download.fetch import fetch
from lamella.data.download.unpack import Unpacked, in_bytes, is_litter, not_written, unpack
from lamella.errors import ConfigError, DataError


def run(cfg: DictConfig, published: Mapping[str, PublishedArchive] = PUBLISHED) -> None:
    """Provides a data set: fetched and unpacked where it is missing, then verified and audited.

    Args:
        cfg: as Hydra composed it.
        published: the data sets that can be fetched, by the name of the function that reads them.

    Raises:
        LamellaError: anything a user can mend. The data set's folder is then as it was before.
    """
    out = console()
    checked = check(cfg, PrepareData)
    place = published.get(checked.dataset.target.rpartition(".")[2])
    if place is not None:
        # Where it is a link, what it leads to is filled.
        folder = Path(os.path.realpath(checked.dataset.arguments["root"]))
        if not _holds_something(folder):
            with _alone(folder):
                install(checked, place, folder, out)
        verify(checked, place, folder, out)
    elif checked.archive or checked.url:
        others = " or ".join(f"dataset={name}" for name in published)
        raise ConfigError(f"dataset={checked.dataset.name} needs no archive", f"archive= and url= go with {others}.")
    else:
        out.print(f"{checked.dataset.name}: nothing to fetch")
    if checked.audit:
        audit(checked, out)


def install(cfg: PrepareData, place: PublishedArchive, folder: Path, out: Console) -> None:
    """Fills a data set's folder from an archive, fetched where the user named none: whole, or not at all."""
    if _holds_something(folder):  # another process was first
        return
    archive = Path(cfg.archive) if cfg.archive else fetched(cfg, place, folder.parent / place.file_name, out)
    new = folder.with_name(f".{folder.name}.unpacking")
    try:
        _require_hash(archive, cfg.sha256, out)
        if new.exists():  # an earlier call was killed
            shutil.rmtree(new)
        new.mkdir(parents=True)
        with transfer(out, f"unpacking {archive.name}") as progress:
            pick = partial(place.layout.pick, where=str(archive), partial=cfg.partial)
            unpacked = unpack(archive, new, pick, place.layout.limits, progress)
        place.layout.verify(new, cfg.partial)
        if folder.is_dir():
            for hidden in folder.iterdir():  # .DS_Store, .gitkeep: whoever put them there shall find them
                hidden.replace(new / hidden.name)
            folder.rmdir()
        new.replace(folder)
    except DataError as error:
        again = "" if cfg.archive else f"\n  To fetch it again, remove {archive} first."
        raise DataError(error.problem.replace(str(new), str(archive)), error.remedy + again) from error
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    out.print(_described(unpacked))
    if not cfg.archive:
        out.print(f"{archive} ({in_bytes(archive.stat().st_size)}) is no longer needed")


def fetched(cfg: PrepareData, place: PublishedArchive, archive: Path, out: Console) -> Path:
    """The path of the archive: fetched now, there from an earlier call, or put there by hand."""
    if archive.is_file():
        out.print(f"taking {archive}, which is there already")
        return archive
    url = cfg.url or place.url
    out.print(f"fetching {place.title} from {url}")
    try:
        with transfer(out, f"fetching {archive.name}") as progress:
            fetch(url, archive, timeout=cfg.timeout, retries=cfg.retries, progress=progress, say=out.print)
    except DataError as error:
        by_hand = f"{place.by_hand}\n  Then name it: archive=FILE, or put it at {archive}, and run the command again."
        raise DataError(error.problem, "\n  ".join(filter(None, (error.remedy, by_hand)))) from error
    return archive


def verify(cfg: PrepareData, place: PublishedArchive, folder: Path, out: Console) -> None:
    """Compares what lies in the folder with what was published, and prints what it is. Raises DataError."""
    try:
        notes = place.layout.verify(folder, cfg.partial)
    except DataError as error:
        away = f"To fetch the whole, move {folder} away and run the command again."
        raise DataError(error.problem, "\n  ".join(filter(None, (away, error.remedy)))) from error
    for line in (f"{place.title} is at {folder}", *notes):
        out.print(line)


def audit(cfg: PrepareData, out: Console) -> None:
    """Audits the samples and writes the page about them. Raises DataError where a fault is found."""
    from lamella.commands.setup import inspect
    from lamella.data.audit.page import write_page  # late: torch takes seconds, which a missing network should not
    from lamella.data.audit.report import raise_errors

    report = inspect(cfg, out).report
    page = Path(cfg.html)
    write_page(report, page)
    for warning in report.warnings:
        out.print(f"warning: {warning.message}", style="yellow")
    errors, warnings = len(report.errors), len(report.warnings)
    out.print(f"audit: {errors} error(s), {warnings} warning(s); with pictures: {page}")
    raise_errors(report)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second call from filling the same folder. The lock ends with the process, however it ends."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"{folder} is being filled by another process", "Wait until it has ended.") from None
    except OSError as error:
        raise not_written(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _holds_something(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or not all(is_litter(path.name) for path in folder.iterdir()))


def _require_hash(archive: Path, wanted: str | None, out: Console) -> None:
    """Says the archive's SHA-256, which nobody published, and holds it to the user's."""
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror}", "Name an archive: archive=FILE.") from None
    out.print(f"{archive.name}: sha256 {found}")
    if wanted is not None and found != wanted.lower():
        raise DataError(f"{archive} has the SHA-256 {found}, not {wanted}", "It is not the file you mean, or damaged.")


def _described(unpacked: Unpacked) -> str:
    """What was taken out of an archive, and what was not."""
    line = f"unpacked {unpacked.files:,} files"
    if unpacked.litter:
        line += f"; passed over {unpacked.litter:,} that macOS or Windows had added (__MACOSX, .DS_Store, ...)"
    if unpacked.others:
        more = f" and {len(unpacked.others) - 5:,} more" if len(unpacked.others) > 5 else ""
        line += f"; left in the archive: {', '.join(unpacked.others[:5])}{more}"
    return line
