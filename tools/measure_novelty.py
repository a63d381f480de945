"""How many unlike images are flagged: python tools/measure_novelty.py [--images 200] [--data DIR] [key=value ...]

Makes phantoms of 200 images (blood smears; sections of tissue, five of each), trains a small U-Net for a few minutes on
three in four of them and lets the others choose, as `train.py` does, and judges images that the run never saw: of the
same kind (other smears, other tissue), and changed ones. With `LAMELLA_DATA` or `--data`, then the real sets, of whose
few images at least 20 are held out to choose by where there are so many. Everything is drawn from one seed, in a folder
that is removed afterwards. Intervals are Wilson's, of 95 %, over images.
"""

import argparse
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage, stats

from lamella.cli import main as cli
from lamella.commands import train
from lamella.config.paths import CONF
from lamella.data.datasets.blood import blood
from lamella.data.datasets.em import em
from lamella.data.datasets.phantom_blood import blood_smear
from lamella.data.datasets.phantom_em import grow_neurites, section
from lamella.data.io.read import read_image
from lamella.data.types import ImageRef
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.inference.pictures import Band, predict_rows
from lamella.novelty.collector import Collector, Judgement

Picture = npt.NDArray[np.uint8]  # (C, H, W)

CPU = Hardware(torch.device("cpu"), "32-true")
DOUBTED = 20  # images whose views' spread is held against the truth
SIZE = {"blood": (240, 320), "em": (256, 256)}
LIGHT = [
    *("model=unet_ronneberger", "model.width=12", "data.crop=96", "data.context=0", "data.batch_size=4"),
    *("data.steps=60", "trainer.max_epochs=3", "trainer.ema=0.9", "optimizer.lr=0.005", "data.workers=0"),
    *("trainer=cpu", "trainer.progress=false", "inference.tta=false", "tracking.figures=0"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="of a phantom")
    parser.add_argument("--data", type=Path, default=os.environ.get("LAMELLA_DATA"), help="holds blood/ and em/")
    parser.add_argument("--unseen", type=int, default=200, help="images of the same kind that are judged")
    parser.add_argument("--changed", type=int, default=60, help="images of each change that are judged")
    parser.add_argument("overrides", nargs="*", help="keys of train.py")
    options = parser.parse_args()
    cli.register()
    with tempfile.TemporaryDirectory() as folder:
        made = {kind: [*phantoms(kind, options.unseen, seed=2)] for kind in SIZE}
        for kind in SIZE:
            root = Path(folder) / kind
            for number, (image, mask) in enumerate(phantoms(kind, options.images, seed=1)):
                name = f"t{number // 5}_{number}" if kind == "em" else f"t{number}_{number}"
                for part, pixels in (("images", image), ("masks", mask[None])):
                    (root / part).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(np.moveaxis(pixels, 0, -1).squeeze()).save(root / part / f"{name}.png")
            own = ["dataset=folder", f"dataset.images={root}/images", f"dataset.masks={root}/masks"]
            own += ["dataset.group='^(t[0-9]+)'", "dataset.split.val=0.25", "dataset.split.test=0.02"]
            trained = network(root, [*own, *options.overrides])
            others = [as_channels(image, made[kind][0][0]) for image, _ in made["em" if kind == "blood" else "blood"]]
            large = [image for image, _ in phantoms(kind, options.changed, seed=3, times=2)]
            doubt(Path(folder), trained, made[kind][:DOUBTED])
            report(f"phantom {kind}", trained, [image for image, _ in made[kind]], large, others[: options.changed])
        if options.data:
            real(Path(folder), Path(options.data), options.overrides)


def real(folder: Path, data: Path, overrides: Sequence[str]) -> None:
    """The real sets: what can be said of so few images."""
    sets = {"blood": blood(root=str(data / "blood")), "em": em(root=str(data / "em"))}
    held = {
        "blood": ["dataset/split=hashed", "dataset.split.val=0.45", "dataset.split.test=0.2"],
        "em": ["dataset/split=blocks", "dataset.split.val=8", "dataset.split.test=7", "dataset.split.gap=1"],
    }
    images = {
        kind: {sample.id: read_image(sample.image, each.card.channels) for sample in each.samples}
        for kind, each in sets.items()
    }
    for kind in sets:
        own = [f"dataset={kind}", f"dataset.root={data}/{kind}", *held[kind], *overrides]
        trained = network(folder / f"real_{kind}", own)
        ids = (folder / f"real_{kind}" / "test.txt").read_text().split("\n")
        unseen = [images[kind][name] for name in ids]
        others = [as_channels(each, unseen[0]) for each in images["em" if kind == "blood" else "blood"].values()]
        report(f"real {kind}", trained, unseen, unseen, others)


def network(root: Path, overrides: Sequence[str]) -> checkpoint.Trained:
    """What a run with these keys leaves in its checkpoint; the ids of its test images are in test.txt."""
    place = [f"paths.cache={root}/cache", f"paths.output={root}/out", f"tracking.uri=sqlite:///{root}/runs.db"]
    root.mkdir(parents=True, exist_ok=True)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        configured = hydra.compose("train", [*LIGHT, *overrides, *place, f"tracking.artifacts={root}/artifacts"])
    began = time.monotonic()
    train.run(configured)
    print(f"trained in {time.monotonic() - began:.0f} s")
    rows = next(root.glob("artifacts/**/scores/test.csv")).read_text().splitlines()[1:]
    (root / "test.txt").write_text("\n".join(row.split(",")[0] for row in rows))
    return checkpoint.load(next(root.glob("artifacts/**/best.ckpt")))


def report(
    title: str, trained: checkpoint.Trained, unseen: Sequence[Picture], large: Sequence[Picture], others: Sequence[Any]
) -> None:
    """Prints the share that is flagged of each kind of image, and the commonest reason."""
    print(f"\n{title}")
    began, pixels = time.monotonic(), 0
    for name, images in changes(unseen, large, others):
        judged = [judge(trained, image) for image in images]
        pixels += sum(image.shape[1] * image.shape[2] for image in images)
        flagged = sum(each.score is not None and each.score > 1 for each in judged)
        low, high = wilson(flagged, len(judged))
        said = [reason for each in judged for reason in each.reasons if not reason.startswith("cannot")]
        by = {part: np.mean([each.distances[part] > 1 for each in judged]).round(2) for part in judged[0].distances}
        known = "" if judged[0].unlike is not None else " (no threshold: above nine in ten training images)"
        print(f"{name:18} {flagged:3} of {len(judged):3}  {low:.2f} to {high:.2f}{known}  {by}")
        if said:
            print(f"{'':18} {' | '.join(most(said))}")
    print(f"basis: {judged[0].basis}\n{1e9 * (time.monotonic() - began) / pixels:.0f} ns a pixel, changes included")


def most(said: Sequence[str]) -> list[str]:
    """The commonest reasons, of each kind (what stands before its first number) one."""
    kinds = Counter(re.split(r"[:\d]| than | in it", reason)[0] for reason in said)
    return [next(each for each in said if each.startswith(kind)) for kind, _ in kinds.most_common(3)]


def doubt(folder: Path, trained: checkpoint.Trained, pictures: Sequence[tuple[Picture, Picture]]) -> None:
    """Prints how well the views' spread tells wrong pixels from right ones, mean over images that it never saw."""
    areas, low = [], []
    for image, mask in pictures:
        file = folder / "unseen.png"
        Image.fromarray(np.moveaxis(image, 0, -1).squeeze()).save(file)
        bands = [*predict_rows([trained], ImageRef(file), CPU, tta=True)]
        spread = np.concatenate([band.spread for band in bands if band.spread is not None])
        mean = np.concatenate([band.probability[0] for band in bands], axis=0)
        wrong = (mean > trained.segmenter.inference.threshold) != (mask > 0)
        if wrong.any():
            areas.append(area_under(spread[wrong], spread[~wrong]))
            low.append(wrong[spread >= np.quantile(spread, 0.9)].sum() / wrong.sum())
    print(f"AUC of the views' spread for wrong pixels {np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})")
    print(f"the tenth of the pixels with the largest spread holds {np.mean(low):.0%} of the wrong ones")


def area_under(wrong: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float:
    """How often a wrong pixel has the larger value; equal ones count half (the area under the ROC curve)."""
    ranks = stats.rankdata(np.concatenate([wrong, right]))[: len(wrong)]
    return float((ranks.sum() - len(wrong) * (len(wrong) + 1) / 2) / (len(wrong) * len(right)))


def judge(trained: checkpoint.Trained, image: Picture) -> Judgement:
    collector = Collector([trained])
    height, width = image.shape[1:]
    collector.add(Band(0, height, image, np.zeros((1, height, width), np.float32), None))
    return collector.judgement()


def changes(
    unseen: Sequence[Picture], large: Sequence[Picture], others: Sequence[Picture]
) -> Iterator[tuple[str, list[Picture]]]:
    """Images of the same kind, as they are and changed; `large` are those that may be shrunk."""
    some = unseen[: len(large)]

    def each(change: Callable[[Picture], Picture]) -> list[Picture]:
        return [change(image) for image in some]

    yield "same kind", list(unseen)
    yield "other stain", each(stained)
    yield "half as large", [resized(image, 0.5) for image in large]
    yield "twice as large", each(lambda image: resized(image, 2))
    yield "inverted", each(lambda image: 255 - image)
    yield "blurred, sigma 1", each(lambda image: ndimage.gaussian_filter(image, (0, 1, 1)))
    yield "blurred, sigma 2", each(lambda image: ndimage.gaussian_filter(image, (0, 2, 2)))
    yield "other set", list(others)


def stained(image: Picture) -> Picture:
    """The image as if what absorbs light were another dye; of a grey one, as if its contrast were another."""
    if len(image) == 1:
        return (160 + 0.5 * (image.astype(float) - 132)).clip(0, 255).astype(np.uint8)
    density = -np.log((image.astype(float) + 1) / 256).mean(axis=0)
    dye = np.array([0.35, 1.6, 0.9])  # about eosin's: green is absorbed most, red least
    return (256 * np.exp(-dye[:, None, None] * density) - 1).clip(0, 255).astype(np.uint8)


def resized(image: Picture, times: float) -> Picture:
    size = round(image.shape[2] * times), round(image.shape[1] * times)
    return np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in image])


def as_channels(image: Picture, like: Picture) -> Picture:
    """An image with as many channels as another."""
    if len(image) < len(like):
        return np.repeat(image, len(like), axis=0)
    return image if len(image) == len(like) else image.mean(axis=0, keepdims=True).round().astype(np.uint8)


def phantoms(kind: str, count: int, seed: int, times: int = 1) -> Iterator[tuple[Picture, npt.NDArray[np.uint8]]]:
    """Images (C, H, W) and masks (H, W) of a phantom."""
    height, width = (side * times for side in SIZE[kind])
    for number in range(count):
        if kind == "blood":
            image, mask = blood_smear(np.random.default_rng((seed, number)), height, width)
            yield np.ascontiguousarray(np.moveaxis(image, -1, 0)), mask
        else:
            if number % 5 == 0:
                neurites = grow_neurites(1000 * seed + number, height)
            image, mask = section(neurites, 1000 * seed + number, 7 * (number % 5))
            yield image[None], 255 - mask


def wilson(hits: int, count: int) -> tuple[float, float]:
    z, share = 1.96, hits / count
    middle, half = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - half) / (1 + z**2 / count), (middle + half) / (1 + z**2 / count)


if __name__ == "__main__":
    main()
