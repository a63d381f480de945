"""What predicting pictures of any size costs: time, memory, and what is lost beside the network itself.

    python tools/benchmark_predict.py                            5,000 to 30,000 pixels a side: half an hour
    python tools/benchmark_predict.py --sides 5000 --repeats 3   less

A small network (U-Net of 2015, `--width 4` channels at full size), weights drawn. A line a finding:

- `size`: synthetic RGB TIFFs (tiles of 512, deflate) from the file to class ids, each in a process of its own: seconds,
  those of all processors together, also a million pixels, and the most memory that was taken;
- `ceiling`: pixels of tiles a second over those of the network's forward pass alone, on a tile that stays in memory;
- `monai`: seconds of `monai.inferers.sliding_window_inference` over ours, an array in memory, the same tile, overlap,
  batch and precision; where MONAI is installed.

Times are medians of interleaved repeats; a machine that does other things meanwhile is still fit for their ratios.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
import torch

from lamella import models
from lamella.data.types import ImageRef
from lamella.hardware import Hardware, freed_memory_kept
from lamella.inference.checkpoint import Trained
from lamella.inference.pictures import predict_rows
from lamella.inference.segmenter import Normalise, Segmenter, tiling_of
from lamella.inference.settings import Inference
from lamella.inference.tiling import spans
from lamella.inference.whole_images import computing, predict_image

BLOCK = 512
TILE, OVERLAP = 1024, 128  # where ours and MONAI's are compared
CPU = Hardware(torch.device("cpu"), "32-true")


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=lambda text: [int(each) for each in text.split(",")], default=SIDES)
    parser.add_argument("--repeats", type=int, default=5, help="of `ceiling` and `monai`")
    parser.add_argument("--width", type=int, default=4, help="channels of the network at full size")
    parser.add_argument("--folder", type=Path, help="where the pictures are written, and removed again")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # a picture, in a process of its own
    given = parser.parse_args()
    torch.manual_seed(0)
    if given.one:
        with freed_memory_kept(CPU.device):
            print(*_predicted(given.one, given.width))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, freed_memory_kept(CPU.device):
        for side in given.sides:
            _size(Path(folder), side, given.width)
        if given.repeats:
            _ceiling(Path(folder), given.repeats, given.width)
            _monai(given.repeats, given.width)


SIDES = [5_000, 10_000, 20_000, 30_000]


def network(width: int) -> torch.nn.Module:
    """The network that is measured."""
    torch.manual_seed(0)
    made = models.unet_ronneberger(
        in_channels=3, num_classes=2, width=width, dropout=0.0, batch_norm=True, encoder_weights=None
    )
    return made.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def segmenter(width: int, overlap: int | None = None) -> Segmenter:
    """The network with all that makes classes of an image."""
    how = Inference(tile=TILE, overlap=overlap, tta=False, threshold=0.5)
    return Segmenter.of(network(width), Normalise([128.0] * 3, [50.0] * 3), how, 0)


def written(path: Path, side: int) -> Path:
    """A synthetic picture as a TIFF, some rows of tiles at a time."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (BLOCK // 16, BLOCK // 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    tiles = [coarse + rng.integers(0, 16, coarse.shape, np.uint8) for _ in range(16)]
    number = (-(-side // BLOCK)) ** 2
    given: Iterator[npt.NDArray[np.uint8]] = (tiles[each % 16] for each in range(number))
    shape, block = (side, side, 3), (BLOCK, BLOCK)
    tifffile.imwrite(path, given, shape=shape, dtype=np.uint8, tile=block, compression="zlib", photometric="rgb")
    return path


def _trained(width: int) -> Trained:
    return Trained(segmenter(width), ("0", "1"), "uint8", 3, 1.0, None, None, "32-true", {}, (), "", None)


def _predicted(path: Path, width: int) -> tuple[float, float, float, int]:
    """Seconds, those of all processors and GB for the class ids of a picture, and how many pixels are foreground."""
    one, found = _trained(width), 0
    start, busy = time.perf_counter(), time.process_time()
    for band in predict_rows([one], ImageRef(path), CPU, tta=None):
        found += int((band.probability[0] > 0.5).astype(np.uint8).sum())
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, found


def _size(folder: Path, side: int, width: int) -> None:
    path = written(folder / f"{side}.tif", side)
    command = [sys.executable, __file__, "--one", str(path), "--width", str(width)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, busy, memory, _ = (float(each) for each in ran.stdout.split()[-4:])
    path.unlink()
    area = side * side / 1e6
    text = f"{seconds:.1f} s, of processors {busy:.1f} s, a million pixels {busy / area:.3f} s; {memory:.2f} GB"
    print(f"size {side}: {text}", flush=True)


def _ceiling(folder: Path, repeats: int, width: int) -> None:
    side = 5_000
    path, how = written(folder / "ceiling.tif", side), tiling_of([segmenter(width)], (side, side))
    tiles = spans(-(-side // how.multiple) * how.multiple, how)
    one = tiles[0].stop - tiles[0].start
    forward, tile = network(width), torch.randn(1, 3, one, one).to(memory_format=torch.channels_last)

    def alone() -> None:
        with computing(CPU):
            for _ in range(len(tiles) ** 2):
                forward(tile)

    ours, theirs = _interleaved(repeats, lambda: _predicted(path, width), alone)
    print(
        f"ceiling: {theirs / ours:.3f} of the network's own forward pass, {len(tiles) ** 2} tiles of {one}", flush=True
    )


def _monai(repeats: int, width: int) -> None:
    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        print("monai: not installed")
        return
    side = TILE + 3 * (TILE - OVERLAP)  # four tiles a side for both
    one, image = segmenter(width, OVERLAP), torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    for mode in ("constant", "gaussian"):

        def theirs(mode: str = mode) -> torch.Tensor:
            with computing(CPU):
                given = one.normalise(one.normalise.grey(image))
                found = sliding_window_inference(given, TILE, 1, one.network, overlap=OVERLAP / TILE, mode=mode)
                return found.sigmoid()  # type: ignore[union-attr]

        mine, other = _interleaved(repeats, lambda: predict_image(one, image, (side, side), CPU, tta=False), theirs)
        print(f"monai, {mode}: {other / mine:.2f} times our seconds ({mine:.2f})", flush=True)


def _interleaved(repeats: int, *what: Callable[[], object]) -> list[float]:
    """The median seconds of each."""
    taken: list[list[float]] = [[] for _ in what]
    for number in range(repeats + 1):
        for each, times in zip(what, taken, strict=True):
            start = time.perf_counter()
            each()
            if number:  # the first one warms up
                times.append(time.perf_counter() - start)
    return [statistics.median(each) for each in taken]


if __name__ == "__main__":
    main()
