"""What scoring costs: pixel scores as a share of a validation pass, V_rand and V_info in milliseconds.

    python tools/benchmark_scores.py [--images 4] [--repetitions 9]

Both on sections of 512x512 on the CPU: the EM set's where LAMELLA_DATA (else ./data) holds em/, else a phantom's.

The validation pass is what `lamella.training.task` does to one image after another: normalise, U-Net on resnet18
(random weights: no time here depends on them), probabilities, classes, counts; and at its end every score, per image
and pooled. Reading files and the loss are left out, so the share is an upper bound. Each repetition times both within
one pass, so that other work on the machine slows both, and the median of the shares counts. With several threads
that holds only on a machine that does nothing else: else the threads wait for each other at every small step, and
scores are nothing but small steps. OMP_NUM_THREADS=1, or OMP_WAIT_POLICY=passive, bears other work. Precision:
float32, and bfloat16 where Lamella would choose it.

V_rand and V_info take thresholding, thinning and scoring of one section. No network is trained here; two proposals
stand for a good and a bad one: the truth, blurred, and the section's own grey levels, smoothed. Times are CPU time,
which is time on one core.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from lamella.data.cache.arrays import Store
from lamella.data.datasets.em import em
from lamella.data.datasets.phantom import phantom_em
from lamella.data.types import Dataset
from lamella.errors import DataError
from lamella.hardware import Precision, freed_memory_kept, resolve
from lamella.inference import Inference
from lamella.inference.segmenter import Normalise
from lamella.inference.tiling import classes, predict
from lamella.metrics.image_counts import ImageCounts
from lamella.metrics.neurites import THRESHOLDS, scores_at
from lamella.metrics.pixels import ALL_SCORE_NAMES, count
from lamella.models.smp.networks import unet

SIDE = 512
MOST_SHARE, MOST_MILLISECONDS = 0.03, 50
WHOLE = Inference(tile=1024, overlap=64, tta=False, threshold=0.5)


class Section(NamedTuple):
    """One section: grey levels uint8 (1, H, W) and class ids uint8 (H, W), 0 interior and 1 membrane."""

    id: str
    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]


class Clock:
    """Adds up the seconds that pass within it, on the wall and on all cores."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def __exit__(self, *error: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4, help="sections of the validation pass")
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sections = read(Path(folder), options.images)
    with freed_memory_kept(torch.device("cpu")):  # as in every run
        for precision in dict.fromkeys(("32-true", resolve("cpu", "auto").precision)):
            time_pixels(sections, precision, options.repetitions)
        time_neurites(sections[0], options.repetitions)


def read(folder: Path, number: int) -> list[Section]:
    """The first sections of the EM set, or of a phantom where there is none."""
    root = Path(os.environ.get("LAMELLA_DATA", "data"))
    try:
        dataset: Dataset = em(root=str(root / "em"))
        print(f"sections of {root / 'em'}")
    except DataError as error:
        print(f"{error.problem}\n  Set LAMELLA_DATA to the folder that holds em/. All that follows is of a PHANTOM.")
        dataset = phantom_em(cache=str(folder), seed=0, sections=max(number, 3), size=SIDE)
    store = Store(folder / "arrays", dataset.card, 1.0)
    return [Section(s.id, np.array(store.image(s)), np.array(store.truth(s))) for s in dataset.samples[:number]]


def time_pixels(sections: Sequence[Section], precision: Precision, repetitions: int) -> None:
    network = unet(
        in_channels=1,
        num_classes=2,
        encoder="resnet18",
        encoder_weights=None,
        decoder_channels=[256, 128, 64, 32, 16],
    )
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    validate(sections, network, precision)  # the first pass also takes memory and chooses kernels
    passes = [validate(sections, network, precision) for _ in range(repetitions)]
    shares = [scoring.wall / whole.wall for scoring, whole in passes]
    scoring, whole = (median(each.wall for each in part) / len(sections) * 1e3 for part in zip(*passes, strict=True))
    print(
        f"pixel scores, {precision}, {torch.get_num_threads()} thread(s): {scoring:.2f} ms of {whole:.1f} ms an image; "
        f"share {median(shares):.2%} ({min(shares):.2%} to {max(shares):.2%} in {repetitions} passes of "
        f"{len(sections)} images), {verdict(median(shares) < MOST_SHARE)} {MOST_SHARE:.0%}"
    )


@torch.inference_mode()
def validate(sections: Sequence[Section], network: torch.nn.Module, precision: Precision) -> tuple[Clock, Clock]:
    """One validation pass: the time that scores take, and all."""
    normalise = Normalise([128.0], [40.0])
    images = [torch.from_numpy(section.image)[None] for section in sections]
    masks = [torch.from_numpy(section.truth)[None] for section in sections]

    def logits(grey: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(normalise(grey).to(memory_format=torch.channels_last))
        return found

    counts, scoring, whole = ImageCounts([section.id for section in sections]), Clock(), Clock()
    with whole, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        for section, image, mask in zip(sections, images, masks, strict=True):
            valid = torch.ones_like(mask, dtype=torch.bool)
            probability = predict(logits, normalise.grey(image), (SIDE, SIDE), WHOLE, context=0, tta=False)
            with scoring:
                counts.update([section.id], count(classes(probability, WHOLE.threshold), mask, valid, 2))
        with scoring:
            table = counts.table()
            for name in ALL_SCORE_NAMES:
                table.per_image(name).mean()
                table.pooled(name)
    return scoring, whole


def time_neurites(section: Section, repetitions: int) -> None:
    interior = section.truth == 0
    blurred = np.clip(ndimage.gaussian_filter(interior.astype(np.float32), 2), 0, 1)
    smooth = ndimage.gaussian_filter(section.image[0].astype(np.float32), 2)
    proposals = {"blurred truth": blurred, "smoothed grey levels": (smooth - smooth.min()) / np.ptp(smooth)}
    for what, probability in proposals.items():
        for thresholds in ((0.5,), THRESHOLDS):
            times = []
            for _ in range(repetitions + 1):
                with (clock := Clock()):
                    found = scores_at(probability, interior, thresholds)
                times.append(clock.cpu * 1e3)
            taken = median(times[1:])
            end = "" if len(thresholds) > 1 else f", {verdict(taken < MOST_MILLISECONDS)} {MOST_MILLISECONDS} ms"
            print(
                f"V_rand and V_info, {section.id}, {what}, {len(thresholds)} threshold(s): {taken:.1f} ms "
                f"({min(times[1:]):.1f} to {max(times[1:]):.1f}){end}; best V_rand {max(s.v_rand for s in found):.3f}"
            )


def verdict(within: bool) -> str:
    return "within the bound of" if within else "ABOVE the bound of"


if __name__ == "__main__":
    main()
