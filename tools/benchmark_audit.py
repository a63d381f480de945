"""How fast the audit is beside a loop that does nothing but decode the same files.

    python tools/benchmark_audit.py [--images 96] [--rounds 3] [--scale 0.25]

Makes phantom smears of 1600x1200 in a temporary folder (each drawn one moved round many times, since drawing takes
seconds), and times, a dozen images at a time and in turns, so that other work on the machine slows all alike: the
bare loop; filling the store without a check; the audit with a cold cache; and with a warm one. Of several rounds the
best of each dozen counts. All use as many threads as there are cores. One image is a pair: an RGB PNG, or one in
eight a JPEG, and its mask.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.datasets.blood import blood
from lamella.data.datasets.phantom_blood import blood_smear
from lamella.data.types import Dataset, Sample, Split

HEIGHT, WIDTH = 1200, 1600
DRAWN = 6
TURN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.25)
    options = parser.parse_args()
    bare, filled, cold, warm = (Clock(name) for name in ("bare loop", "store alone", "audit, cold", "audit, warm"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print(f"drawing {options.images} images ...", flush=True)
        write(root / "blood", options.images)
        dataset = blood(root=str(root / "blood"))
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=root) as cache:
                alone, store = (Store(Path(cache) / name, dataset.card, options.scale) for name in ("alone", "audit"))
                for first in range(0, options.images, TURN):
                    some = dataset.samples[first : first + TURN]
                    bare.time(some, partial(each, some, decode))
                    filled.time(some, partial(each, some, partial(fill, alone)))
                    cold.time(some, partial(look, some, store))
                again = Store(store.folder, dataset.card, options.scale)
                warm.time(dataset.samples, partial(look, dataset.samples, again))
    for clock in (bare, filled, cold, warm):
        speed, cpu = clock.images / clock.wall, clock.cpu / clock.images * 1e3
        print(f"{clock.name:12} {speed:8.1f} images/s {cpu:8.1f} ms of CPU an image")
    print(f"cold audit: {bare.wall / cold.wall:.2f} of the bare loop's speed, {bare.cpu / cold.cpu:.2f} by CPU time")
    print(f"warm audit: {warm.wall:.2f} s for {warm.images} images")


class Clock:
    """Keeps the best time that each turn took."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.best: dict[str, tuple[int, float, float]] = {}

    def time(self, samples: Sequence[Sample], do: Callable[[], object]) -> None:
        turn = samples[0].id
        _, least_wall, least_cpu = self.best.get(turn, (0, math.inf, math.inf))
        wall, cpu = time.perf_counter(), time.process_time()
        do()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.best[turn] = len(samples), min(wall, least_wall), min(cpu, least_cpu)

    @property
    def images(self) -> int:
        return sum(images for images, _, _ in self.best.values())

    @property
    def wall(self) -> float:
        return sum(wall for _, wall, _ in self.best.values())

    @property
    def cpu(self) -> float:
        return sum(cpu for _, _, cpu in self.best.values())


def look(samples: Sequence[Sample], store: Store) -> None:
    cut = len(samples) // 2
    audit(Dataset(store.card, samples), Split(tuple(samples[:cut]), (), tuple(samples[cut:])), store)


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


def fill(store: Store, sample: Sample) -> None:
    store.image(sample)
    store.truth(sample)


def each(things: Sequence[Any], do: Callable[[Any], object]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(do, things):
            pass


if __name__ == "__main__":
    main()
