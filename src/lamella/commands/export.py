"""The command `export`: a trained network as a file for other programs, checked against PyTorch when it is written."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console

from lamella.commands.trained import chosen, named
from lamella.config.check import check
from lamella.config.schema import Export
from lamella.console import console
from lamella.errors import ConfigError, LamellaError
from lamella.inference.checkpoint import Trained
from lamella.plaintext import printable

if TYPE_CHECKING:
    from lamella.export.graphs import Runner

KINDS = {
    ".onnx": ("export", ("onnx", "onnxscript", "onnxruntime")),
    ".pt2": ("export", ()),
    ".zip": ("bioimageio", ("onnx", "onnxscript", "onnxruntime", "bioimageio.spec")),
}
"""What is written, by the file's ending: the extra of the package that brings what it takes, and its modules."""

CLOSE = 1e-4  # how far a probability may be from PyTorch's
SIZES = ((2, 97, 131), (1, 64, 200))  # of the images that both are asked about: batch, height, width


def run(cfg: DictConfig) -> None:
    """Writes one trained network as ONNX, for torch.export, or as a bioimage.io package.

    Raises:
        LamellaError: anything a user can mend; a file that differs from PyTorch is not kept.
    """
    out = console()
    wanted = check(cfg, Export)
    path = Path(wanted.output)
    _require(path, wanted)
    if wanted.runs or wanted.precision == "bf16-mixed":
        problem = "runs=[...] is an ensemble" if wanted.runs else "precision=bf16-mixed is half a precision"
        raise ConfigError(f"{problem}, and a file holds one network in float32", "Export one run, without precision.")
    sources = named(wanted)
    (trained,) = chosen(wanted, out, sources)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with out.status("writing the graph"):
            worst = _write(part, wanted, trained, str(sources[0].words))
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"output={wanted.output} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
        part.with_suffix(".onnx").unlink(missing_ok=True)
    _tell(out, path, worst, trained)


def _require(path: Path, wanted: Export) -> None:
    """Raises ConfigError where nothing can be written, before anything is read."""
    if path.suffix.lower() not in KINDS:
        endings = ", ".join(f"NAME{ending}" for ending in KINDS)
        raise ConfigError(f"output={wanted.output} does not say by its ending what to write", f"Write {endings}.")
    if path.is_dir() or (path.exists() and not wanted.overwrite):
        raise ConfigError(f"{path} is there already", "Choose another name, or add overwrite=true.")
    extra, modules = KINDS[path.suffix.lower()]
    missing = [name for name in modules if _lacks(name)]
    if missing:
        raise ConfigError(
            f"{path.suffix} needs the package {missing[0]}, which is not installed",
            f"python -m pip install 'lamella[{extra}]'",
        )


def _lacks(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:  # the package that it would be in
        return True


def _write(part: Path, wanted: Export, trained: Trained, source: str) -> float:
    """Writes the file, and returns by how much at most its probabilities differ from PyTorch's."""
    from lamella.export import graphs
    from lamella.export.plain import Plain, by_torch, described

    facts = described(trained, source)
    program = graphs.traced(Plain(trained), trained.channels, trained.dtype)
    kind = part.suffix.lower()
    graph = part if kind != ".zip" else part.with_suffix(".onnx")
    run: Runner
    if kind == ".pt2":
        graphs.write_pt2(graph, program, facts)
        run = graphs.run_pt2(graph)
    else:
        graphs.write_onnx(graph, program, facts)
        run = graphs.run_onnx(graph)
    images = [_noise(trained, *size) for size in SIZES]
    truth = [by_torch(trained, torch.from_numpy(image)).numpy() for image in images]
    worst = max(float(np.abs(run(image) - wanted_).max()) for image, wanted_ in zip(images, truth, strict=True))
    if not worst <= CLOSE:
        raise LamellaError(
            f"the file's probabilities differ from PyTorch's by {worst:.2g}: it was not kept",
            "The network computes something that the exporter gets wrong: use predict.",
        )
    if kind == ".zip":
        from lamella.export.package import Owner, write_package

        owner = Owner(wanted.authors or (), wanted.license, wanted.cite)
        write_package(part, graph, trained, facts, (images[1], truth[1]), owner)
    return worst


def _noise(
    trained: Trained, batch: int, height: int, width: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    """Images (B, C, H, W) over all levels of the training images, smooth in places and rough in others."""
    random = np.random.default_rng(0)
    normalise = trained.segmenter.normalise
    low, high = float(normalise.low), float(normalise.high)
    if trained.percentiles:  # low and high are of stretched levels
        low, high = 0.0, 255.0
    rough = random.random((batch, trained.channels, height, width))
    smooth = np.linspace(0, 1, width)[None, None, None] * np.ones((1, 1, height, 1))
    levels = low + (high - low) * (0.5 * rough + 0.5 * smooth)
    return np.asarray(levels if trained.dtype == "float32" else levels.round(), trained.dtype)


def _tell(out: Console, path: Path, worst: float, trained: Trained) -> None:
    names = trained.class_names
    size = f"({trained.channels}, height, width)"
    out.print(f"{printable(str(path))}: {path.stat().st_size / 1e6:.1f} MB")
    out.print(f"  takes levels as stored, {trained.dtype} (batch, {size[1:]}, of any size; normalisation is inside")
    if len(names) == 2:
        threshold = trained.segmenter.inference.threshold
        out.print(f"  gives the probability of {printable(names[1])}; the run takes it above {threshold:g}")
    else:
        out.print(f"  gives the probabilities of {printable(', '.join(names))}; the likeliest is taken")
    out.print(f"  checked against PyTorch at {len(SIZES)} sizes: at most {worst:.1e} off")
