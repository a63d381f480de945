"""The command `tidy`: what runs take on disk, and leftovers of dead ones removed."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table

from lamella.config.check import check
from lamella.config.paths import resumed, typed
from lamella.config.schema import Tidy
from lamella.console import console
from lamella.data.download.unpack import in_bytes
from lamella.errors import StorageError
from lamella.tracking import usage


def run(cfg: DictConfig) -> None:
    """Lists what the runs of a store take, run by run and in all, and what nobody needs; removes that on request.

    Raises:
        StorageError: the store cannot be read, or a leftover cannot be removed.
    """
    wanted = check(cfg, Tidy)
    out = console()
    uri, output, cache = wanted.tracking.uri, Path(wanted.paths.output), Path(wanted.paths.cache)
    with out.status("looking through the runs"):
        found = usage.survey(uri, output, cache)
    _show_runs(found.runs, out)
    _show_places(output, cache, out)
    for folder, why in found.kept:
        name = folder.name
        how = ""
        if "alone" in why:
            how = f": `{resumed(name, uri, wanted.paths.output)}` goes on with it"
        elif "not all" in why:
            how = f": `{typed('sync')} run={name}` sends it"
        out.print(f"stays: {folder} ({why}{how})")
    if not found.leftovers:
        out.print("There are no leftovers.")
        return
    files = usage.Files()
    for each in found.leftovers:
        out.print(f"leftover: {each.path} ({each.why}, {in_bytes(files.size(each.path))})")
    if not wanted.remove:
        out.print(f"`{typed('tidy')} remove=true` removes {_counted(found.leftovers)}.")
        return
    free, failed = usage.remove(uri, found.leftovers)
    done = len(found.leftovers) - len(failed)
    out.print(f"{done} of {_counted(found.leftovers)} removed: {in_bytes(free)} became free.")
    if failed:
        raise StorageError(f"not removed: {failed[0]}", "\n".join(failed[1:]))


def _show_runs(runs: Sequence[usage.RunUsage], out: Console) -> None:
    """A row a run, no wider than 100 characters, and the sum."""
    numbers = (Column(name, justify="right") for name in ("checkp.", "model", "figures", "rest", "MB in all"))
    named = Column("name", max_width=22, no_wrap=True, overflow="ellipsis")
    columns = (Column("run", no_wrap=True), named, "state", "begun")
    table = Table(*columns, *numbers, title="What runs take, in MB", title_justify="left", box=None, pad_edge=False)
    sums = dict.fromkeys(usage.KINDS, 0)
    for each in runs:
        begun = f"{datetime.fromtimestamp(each.began):%Y-%m-%d}"
        cells = [_megabytes(each.sizes[kind]) for kind in usage.KINDS] if each.here else ["", "", "", ""]
        whole = _megabytes(sum(each.sizes.values())) if each.here else "server"
        table.add_row(each.run_id[:12], each.name, each.status, begun, *cells, whole)
        for kind, size in each.sizes.items():
            sums[kind] += size
    table.add_row("all", "", "", "", *(_megabytes(sums[kind]) for kind in usage.KINDS), _megabytes(sum(sums.values())))
    out.print(table)


def _show_places(output: Path, cache: Path, out: Console) -> None:
    """What working folders, reports and caches take, apart from the runs' own files."""
    out.print(f"{in_bytes(usage.Files().size(output))} in {output}: working folders, reports (paths.output)")
    files = usage.Files()
    made = [each for each in sorted(cache.glob("phantom_*")) if each.is_dir() and not each.is_symlink()]
    phantoms = [(each.name, files.size(each)) for each in made]
    arrays = files.size(cache)
    out.print(f"{in_bytes(arrays)} in {cache}: decoded images, made again where they are gone (paths.cache)")
    for name, size in phantoms:
        out.print(f"{in_bytes(size)} in {cache / name}: generated images")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _counted(leftovers: Sequence[usage.Leftover]) -> str:
    return f"{len(leftovers)} leftover{'s' if len(leftovers) > 1 else ''}"
