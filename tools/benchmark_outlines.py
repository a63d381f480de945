"""What single objects of a large picture cost: found, measured, written as GeoJSON and as regions of ImageJ.

    python tools/benchmark_outlines.py [--side 30000] [--cells 500000] [--touching 0.2] [--channels 3] [--rois]

The picture is made up: discs with rough outlines on a grid, a share of them shifted so that they touch the next one and
must be cut, class ids on disk, memory-mapped, as predictions are. Each step reports its time, that on one core (which
other work on the machine does not change), and the peak memory of the process until then, its libraries included.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lamella.data.io.pieces.blocks import release
from lamella.objects import geojson, rois
from lamella.objects.measures import Block, measure
from lamella.objects.regions import find
from lamella.objects.rows import bands

NAMES, COLOURS = ["background", "cell"], [(0, 0, 0), (230, 60, 60)]


def made_up(path: Path, side: int, cells: int, touching: float) -> npt.NDArray[np.uint8]:
    """Class ids (side, side) of about so many cells."""
    rng = np.random.default_rng(0)
    step = int(side / cells**0.5)
    classes = np.memmap(path, np.uint8, "w+", shape=(side, side))
    y, x = np.mgrid[:step, :step] - step / 2 + 0.5
    angle, far = np.arctan2(y, x), np.hypot(y, x)
    stamps = []
    for _ in range(64):
        rough = sum(rng.normal(0, 0.04) * np.cos(k * angle + rng.uniform(0, 7)) for k in range(2, 9))
        stamps.append((far < step * rng.uniform(0.3, 0.42) * (1 + rough)).astype(np.uint8))
    for top in range(0, side - step + 1, step):
        for left in range(0, side - step + 1, step):
            shift = step // 4 if rng.random() < touching else 0
            there = classes[top : top + step, max(0, left - shift) : max(0, left - shift) + step]
            np.maximum(there, stamps[rng.integers(64)], out=there)
        release(classes)
    classes.flush()
    return np.memmap(path, np.uint8, "r", shape=(side, side))


def picture(classes: npt.NDArray[np.uint8], channels: int) -> Iterator[Block]:
    """The levels of the picture, band by band."""
    for top, bottom in bands(classes):
        rows = 50 + 100 * classes[top:bottom]
        yield Block(top, np.broadcast_to(rows, (channels, *rows.shape)), rows.astype(np.float32) / 255)


@contextmanager
def timed(what: str) -> Iterator[None]:
    begin, worked = time.perf_counter(), time.process_time()
    yield
    took, worked = time.perf_counter() - begin, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what:24} {took:7.1f} s, on the CPU {worked:7.1f} s   peak memory {peak:5.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--cells", type=int, default=500_000)
    parser.add_argument("--touching", type=float, default=0.2)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--rois", action="store_true", help="regions of ImageJ, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with timed("made up"):
            classes = made_up(folder / "classes.u8", asked.side, asked.cells, asked.touching)
        with timed("found, cut at necks"):
            found = find(classes, "cells", smallest=20, neck=4, folder=folder)
        print(f"{len(found.class_ids):,} objects")
        with timed("measured"):
            columns = measure(found, picture(classes, asked.channels), (250, 250))
        sheet = geojson.Sheet(found, measures=columns)
        path = folder / "cells.geojson"
        with timed("GeoJSON"):
            geojson.write(path, [sheet], NAMES, COLOURS, picture="made up", detections=True)
        print(f"{path.stat().st_size / 1e6:,.0f} MB")
        if asked.rois:
            path = folder / "cells.zip"
            with timed("regions of ImageJ"):
                rois.write(path, [sheet], COLOURS)
            print(f"{path.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
