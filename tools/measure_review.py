"""How many planted faults `review` finds: python tools/measure_review.py [--images 20] [key=value ...]

Takes pairs of the blood smears (below `paths.data`), damages objects of copies of their masks (removed, added, shifted
by 12 pixels, two merged; as many of each), trains a small U-Net on each of five folds, reviews them, and counts the
faults among the first objects of the ranking. An object finds a fault of its image where its place lies within the
changed pixels, or the least distance from them. All is drawn from one seed, in a folder that is removed afterwards.
Chance: as many objects drawn blindly from all that there are to look at, which is what a reader without a ranking does.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import hydra
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy import ndimage

from lamella.cli import main as cli
from lamella.commands import review, train
from lamella.config.paths import CONF
from lamella.data.datasets.blood import blood

KINDS = ("removed", "added", "shifted", "merged")
SHIFT = 12  # pixels
GAP = 8, 48  # pixels between two cells that are merged
BRIDGE = 40  # pixels, how wide at most what joins them is
NEAR = 6  # pixels between the place that is named and the fault
LIGHT = [
    *("model=unet_ronneberger", "model.width=12", "data.crop=96", "data.context=24", "data.batch_size=4"),
    *("data.steps=50", "trainer.max_epochs=2", "trainer.ema=0.9", "optimizer.lr=0.005", "data.workers=0"),
    *("trainer=cpu", "trainer.progress=false"),
    *("inference.tta=false", "tracking.figures=0", "tracking.experiment=review"),
]

Mask = npt.NDArray[np.bool_]


class Fault(NamedTuple):
    """One damaged object: its image, what was done to it, and the pixels whose label is wrong now."""

    id: str
    kind: str
    changed: Mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--first", type=int, default=40)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    source = Path(os.environ.get("LAMELLA_DATA", "data"))
    parser.add_argument("--data", type=Path, default=source, help="the folder that holds blood/")
    parser.add_argument("--keep", type=Path, help="a folder for the review's files and the list of faults")
    parser.add_argument("overrides", nargs="*", help="keys of train.py")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root, rng = Path(folder), np.random.default_rng(options.seed)
        faults, objects = plant(options.data / "blood", root / "blood", options.images, options.faults, rng)
        made = reviewed(root, options.folds, options.overrides)
        table = pd.read_csv(made / "objects.csv")
        if options.keep:
            shutil.copytree(made, options.keep, dirs_exist_ok=True)
            told(faults).to_csv(options.keep / "faults.csv", index=False)
    report(table, faults, options.first)
    chance = options.faults * options.first / objects
    print(f"by chance {chance:.2f}: {options.first} of the {objects} objects of {options.images} images")
    print(f"{time.monotonic() - began:.0f} s")


def reviewed(root: Path, folds: int, overrides: Sequence[str]) -> Path:
    """Trains on every fold and reviews: the folder of the review."""
    place = [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.uri=sqlite:///{root}/runs.db"]
    cli.register()
    for fold in range(folds):
        asked = [*LIGHT, "dataset=blood", f"dataset.root={root}/blood", "dataset/split=hashed_folds"]
        asked += [f"dataset.split.folds={folds}", f"dataset.split.fold={fold}", *overrides]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            configured = hydra.compose("train", [*asked, *place, f"tracking.artifacts={root}/artifacts"])
        train.run(configured)
    with hydra.initialize(None, version_base="1.3"):
        configured = hydra.compose("review", ["experiment=review", *place])
    review.run(configured)
    return max((root / "outputs").glob("review-*"))


def report(table: pd.DataFrame, faults: Sequence[Fault], first: int) -> None:
    """Prints how many faults are among the first objects, of each kind, and the ranks of all."""
    ranks = found(table, faults)
    by_kind = Counter(faults[number].kind for number, rank in ranks.items() if rank < first)
    print(f"{by_kind.total()} of {len(faults)} faults among the first {first} of {len(table)} objects ranked")
    print("; ".join(f"{kind} {by_kind[kind]} of {sum(f.kind == kind for f in faults)}" for kind in KINDS))
    order = sorted(ranks, key=lambda number: ranks[number])
    print("ranks: " + ", ".join(f"{faults[number].kind} {ranks[number] + 1}" for number in order))


def plant(source: Path, folder: Path, images: int, count: int, rng: np.random.Generator) -> tuple[list[Fault], int]:
    """Copies of pairs with damaged masks in the layout of the blood smears: the faults, and how many objects there are.

    Each image has one fault at most, as long as there are images enough.
    """
    samples = blood(root=str(source)).samples
    chosen = [samples[number] for number in np.sort(rng.permutation(len(samples))[:images])]
    truth = {sample.id: np.array(Image.open(sample.mask.path).convert("L")) > 127 for sample in chosen}
    faults: list[Fault] = []
    for number, sample in enumerate(some(chosen, count, rng)):
        for kind in (*KINDS[number % 4 :], *KINDS[: number % 4]):
            mask = truth[sample.id].copy()
            if damage(mask, kind, rng):
                faults.append(Fault(sample.id, kind, mask ^ truth[sample.id]))
                truth[sample.id] = mask
                break
    objects = sum(fault.kind == "removed" for fault in faults)
    for number, sample in enumerate(chosen):
        part = folder / ("test" if number == 0 else "train")  # both must be there; folds do not heed them
        for kind in ("original", "mask"):
            (part / kind).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample.image.path, part / "original" / sample.image.path.name)
        Image.fromarray(truth[sample.id].astype(np.uint8) * 255).save(part / "mask" / f"{sample.id}.png")
        objects += len(cells(truth[sample.id])[1])
    return faults, objects


def some(samples: Sequence, count: int, rng: np.random.Generator) -> Iterator:
    """So many samples in random order, each again only after all others."""
    order = rng.permutation(len(samples))
    return (samples[order[number % len(samples)]] for number in range(count))


def cells(mask: Mask) -> tuple[npt.NDArray[np.int32], list[int]]:
    """The connected regions of a mask, numbered, and the numbers of those that are no specks."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    return labels, [number for number in range(1, len(sizes)) if sizes[number] >= 400]


def damage(mask: Mask, kind: str, rng: np.random.Generator) -> bool:
    """Damages one object of a mask; False where none is fit for it."""
    labels, numbers = cells(mask)
    sizes, boxes = np.bincount(labels.ravel()), ndimage.find_objects(labels)
    size = np.median(sizes[numbers])
    for number in rng.permutation([n for n in numbers if 0.6 * size < sizes[n] < 1.6 * size]):
        window = around(boxes[number - 1], mask.shape)
        if window is None:  # too near the frame to go anywhere
            continue
        here = labels[window] == number
        others = (labels[window] > 0) & ~here
        if kind == "removed":
            mask[window] &= ~here
            return True
        if kind == "merged":
            far = ndimage.distance_transform_edt(~here)
            gaps = {n: far[labels[window] == n].min() for n in np.unique(labels[window][others]) if sizes[n] > size / 2}
            near = [n for n, gap in sorted(gaps.items(), key=lambda each: each[1]) if GAP[0] <= gap <= GAP[1]]
            if near:
                mask[window] |= bridge(here, labels[window] == near[0])
                return True
            continue
        for _ in range(40):
            if kind == "shifted":
                angle = rng.uniform(0, 2 * np.pi)
                by = np.round(SHIFT * np.array([np.sin(angle), np.cos(angle)])).astype(int)
                moved = np.roll(here, by.tolist(), (0, 1))
                if not (ndimage.binary_dilation(moved, iterations=2) & others).any():
                    mask[window] = others | (moved)
                    return True
            else:
                top, left = (int(rng.integers(0, side - edge.stop + edge.start)) for side, edge in
                             zip(mask.shape, window, strict=True))  # fmt: skip
                place = slice(top, top + here.shape[0]), slice(left, left + here.shape[1])
                if not (ndimage.binary_dilation(here, iterations=12) & mask[place]).any():
                    mask[place] |= here
                    return True
    return False


def around(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """A box with room around it; None where the frame is too near."""
    wide = tuple(slice(side.start - GAP[1], side.stop + GAP[1]) for side in box)
    inside = all(side.start >= 0 and side.stop <= whole for side, whole in zip(wide, shape, strict=True))
    return wide if inside else None


def bridge(one: Mask, other: Mask) -> Mask:
    """What joins two regions where they are nearest: what lies between the two, about as wide as BRIDGE."""
    far = [ndimage.distance_transform_edt(~each) for each in (one, other)]
    width = float(far[0][other].min())
    middle = np.argwhere(far[0] + far[1] <= width + 1).mean(axis=0)
    y, x = np.indices(one.shape)
    return (far[0] + far[1] <= 1.5 * width + 4) & (np.hypot(y - middle[0], x - middle[1]) <= max(BRIDGE, width) / 2 + 2)


def found(table: pd.DataFrame, faults: Sequence[Fault]) -> dict[int, int]:
    """The rank of the first object that finds each fault; an object finds one fault at most."""
    ranks: dict[int, int] = {}
    for row in table.itertuples():
        for number, fault in enumerate(faults):
            if number not in ranks and row.id == fault.id and _near(fault.changed, row.y, row.x):
                ranks[number] = int(row.rank)
                break
    return ranks


def _near(changed: Mask, y: int, x: int) -> bool:
    piece = changed[max(0, y - NEAR) : y + NEAR + 1, max(0, x - NEAR) : x + NEAR + 1]
    return bool(piece.any())


def told(faults: Sequence[Fault]) -> pd.DataFrame:
    places = [np.argwhere(fault.changed).mean(axis=0).round().astype(int) for fault in faults]
    rows = [(f.id, f.kind, int(f.changed.sum()), x, y) for f, (y, x) in zip(faults, places, strict=True)]
    return pd.DataFrame(rows, columns=["id", "kind", "pixels", "x", "y"])


if __name__ == "__main__":
    main()
