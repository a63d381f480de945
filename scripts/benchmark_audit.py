"""How fast the audit is beside a loop that does nothing but decode the same files.

    python scripts/benchmark_audit.py [--images 120] [--scale 0.25]

Makes phantom smears of 1600x1200 in a temporary folder (each drawn one moved round many times, since drawing takes
seconds), and times, in turns: the bare loop; filling the store without a check; the audit with a cold cache; at the
end, the audit with a warm one. All use as many threads as there are cores. One image is a pair: an RGB PNG, or one in
eight a JPEG, and its mask.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from lamella.data.audit import audit
from lamella.data.blood import blood
from lamella.data.phantom_blood import blood_smear
from lamella.data.store import Store
from lamella.data.types import Dataset, Sample, Split

HEIGHT, WIDTH = 1200, 1600
DRAWN = 6
TURN = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--scale", type=float, default=0.25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print(f"drawing {options.images} images ...", flush=True)
        write(root / "blood", options.images)
        dataset = blood(root=str(root / "blood"))
        stored, audited = (Store(root / name, dataset.card, options.scale) for name in ("stored", "audited"))
        bare, store, cold, warm = (Clock(name) for name in ("bare loop", "store alone", "audit, cold", "audit, warm"))
        # In turns, so that whatever else the machine does slows all of them alike.
        for first in range(0, options.images, TURN):
            some = dataset.samples[first : first + TURN]
            bare.time(some, lambda some=some: each(some, decode))
            store.time(some, lambda some=some: each(some, lambda s: (stored.image(s), stored.truth(s))))
            cold.time(some, lambda some=some: look(some, dataset, audited))
        warm.time(
            dataset.samples, lambda: look(dataset.samples, dataset, Store(audited.folder, dataset.card, options.scale))
        )
    for clock in (bare, store, cold, warm):
        print(
            f"{clock.name:12} {clock.images / clock.wall:8.1f} images/s {clock.cpu / clock.images * 1e3:8.1f} ms of CPU an image"
        )
    print(f"cold audit: {bare.wall / cold.wall:.2f} of the bare loop's speed, {bare.cpu / cold.cpu:.2f} by CPU time")
    print(f"warm audit: {warm.wall:.2f} s for {warm.images} images")


class Clock:
    """Adds up the time that turns take."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wall = self.cpu = 0.0
        self.images = 0

    def time(self, samples: Sequence[Sample], do: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        do()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        self.images += len(samples)


def look(samples: Sequence[Sample], dataset: Dataset, store: Store) -> None:
    cut = len(samples) // 2
    audit(Dataset(dataset.card, samples), Split(tuple(samples[:cut]), (), tuple(samples[cut:])), store)


def write(folder: Path, count: int) -> None:
    """Pairs in the layout of the blood set, one in eight of them in the test part."""
    with ProcessPoolExecutor() as pool:
        drawn = list(pool.map(draw, range(DRAWN)))
    for part in ("train", "test"):
        for kind in ("original", "mask"):
            (folder / part / kind).mkdir(parents=True)

    def save(number: int) -> None:
        image, mask = drawn[number % DRAWN]
        rng = np.random.default_rng(number)
        by = tuple(rng.integers((HEIGHT, WIDTH)).tolist())
        image, mask = np.roll(image, by, (0, 1)), np.roll(mask, by, (0, 1))
        part = folder / ("test" if number % 8 == 7 else "train")
        suffix = "jpg" if number % 8 == 3 else "png"
        Image.fromarray(image).save(part / "original" / f"{number:04d}.{suffix}", quality=88, compress_level=6)
        Image.fromarray(np.dstack([mask] * 3)).save(part / "mask" / f"{number:04d}.png")
        for path in (part / "original" / f"{number:04d}.{suffix}", part / "mask" / f"{number:04d}.png"):
            os.utime(path, (1e9, 1e9))  # as files that have lain there for long

    each(range(count), save)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return blood_smear(np.random.default_rng(seed), HEIGHT, WIDTH)


def decode(sample: Sample) -> None:
    for ref in (sample.image, sample.mask):
        with Image.open(ref.path) as picture:
            np.asarray(picture)


def each(things: Sequence, do: Callable) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(do, things):
            pass


if __name__ == "__main__":
    main()
