"""Grey pictures of dark discs on a light ground, as files, and a reference that was learned from them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from lamella.data.types import ImageRef, Sample
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.novelty.reference import Reference, learn
from support import tiny

HEIGHT, WIDTH = 160, 192


def picture(seed: int, size: float = 1.0, sides: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A picture (1, H, W), uint8: discs of about 8 pixels' radius, or `size` times as much, and noise."""
    rng, (height, width) = np.random.default_rng(seed), sides
    light, dark = rng.normal(200, 5), rng.normal(110, 5)
    radius, there = 8 * size, np.zeros((height, width), bool)
    y, x = np.ogrid[:height, :width]
    for _ in range(round(40 / size**2 * height * width / (HEIGHT * WIDTH))):
        at = rng.uniform((0, 0), (height, width))
        there |= np.hypot(y - at[0], x - at[1]) < radius * rng.uniform(0.8, 1.2)
    sharp = ndimage.gaussian_filter(np.where(there, dark, light), 0.7)
    return (sharp + rng.normal(0, rng.uniform(1.5, 2.5), there.shape)).clip(0, 255).round().astype(np.uint8)[None]


def samples(folder: Path, first: int, count: int) -> list[Sample]:
    """So many pictures as files."""
    made = []
    for seed in range(first, first + count):
        path = folder / f"{seed}.png"
        Image.fromarray(picture(seed)[0]).save(path)
        made.append(Sample(str(seed), ImageRef(path), ImageRef(path), f"group {seed}"))
    return made


def segmenter() -> Segmenter:
    """A network that was not trained, of one coarse layer and a fine one."""
    torch.manual_seed(0)
    down = nn.Conv2d(1, 8, 4, stride=4)
    network = nn.Sequential(down, nn.ReLU(), nn.Upsample(scale_factor=4), nn.Conv2d(8, 1, 3, padding=1))
    return Segmenter.of(network.eval(), Normalise([170.0], [40.0]), tiny.inference(), 0)


def reference(folder: Path, train: int = 40, val: int = 30) -> Reference:
    """What was learned from so many pictures; those from seed 1000 on it has not seen."""
    found = learn(segmenter(), samples(folder, 0, train), samples(folder, train, val), channels=1)
    assert found is not None
    return found
