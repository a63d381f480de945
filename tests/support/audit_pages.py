"""Audits of small sets made for it, for tests of the audit's page."""

import numpy as np
from PIL import Image
from scipy import ndimage

from lamella.data.audit.audit import audit
from lamella.data.cache.arrays import Store
from lamella.data.types import IGNORE, Dataset, DatasetCard, ImageRef, Sample, Split


def audited(folder, count=9, *, dtype=np.uint8, channels=1, name="{}", words=""):
    """A report on `count` samples, with an empty mask among them.

    Args:
        folder: where their files are made.
        count: of samples.
        dtype: of the images.
        channels: 1 or 3.
        name: of a sample, {} its number.
        words: behind the names of the set and of its third class, which no mask holds.
    """
    card = DatasetCard(
        f"toy {words}",
        f"toy {words}",
        ("ground", "cell", f"other {words}"),
        {0: 0, 1: 1, 2: 2, 9: IGNORE},
        channels=channels,
        source="made here",
    )
    samples = []
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = (ndimage.gaussian_filter(rng.standard_normal((60, 80)), 4) > 0.04).astype(np.uint8) * (number != 4)
        mask[:5, :5] = 9
        image = 40 + 100 * mask + rng.normal(0, 6, mask.shape)
        image = (image.clip(0, 255) * (200 if dtype == np.uint16 else 1)).astype(dtype)
        paths = []
        for kind, array in (("image", np.stack([image] * 3, axis=-1) if channels == 3 else image), ("mask", mask)):
            paths.append(folder / f"{kind}-{name.format(number)}.png")
            Image.fromarray(array).save(paths[-1])
        samples.append(Sample(name.format(number), ImageRef(paths[0]), ImageRef(paths[1]), str(number)))
    split = Split(tuple(samples[: count // 2]), tuple(samples[count // 2 : -2]), tuple(samples[-2:]))
    return audit(Dataset(card, samples), split, Store(folder / "cache", card, 1.0), allow=["class"])
