"""The torch datasets: random windows for training, whole images for scoring. Grey levels stay as stored."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, SequentialSampler

from lamella.data.cache.arrays import Store
from lamella.data.loaders.workers import Loader
from lamella.data.types import IGNORE, Batch, Sample
from lamella.errors import ConfigError


@dataclass(eq=False, repr=False)
class RandomWindows(Dataset[Batch]):
    """Square windows cut from random places of the samples, as many as are asked for.

    A draw is named by a number and depends on it and the seed alone: not on workers, order or resumption.
    Every image is drawn once before any is drawn again. With `context`, windows may reach that far beyond
    the picture; what lies beyond is `fill` and invalid, so that the network sees where the picture ends.

    Attributes:
        samples: where windows are cut from.
        store: decoded arrays.
        window: side in pixels of the (scaled) image.
        context: how far, in pixels, a window may reach beyond the picture: up to half of it.
        fill: level beyond the picture.
        seed: another seed gives other windows.

    Raises:
        ConfigError: so much context that windows could miss the picture.
    """

    samples: Sequence[Sample]
    store: Store
    _: KW_ONLY
    window: int
    context: int
    fill: float
    seed: int

    def __post_init__(self) -> None:
        if self.context > self.window // 2:
            raise ConfigError(
                f"a frame of {self.context} pixels is too wide for training windows of {self.window}",
                "Set `data.context` to at most half of `data.crop`.",
            )

    def __getitem__(self, draw: int) -> Batch:
        round_, place = divmod(draw, len(self.samples))
        order = np.random.default_rng((self.seed, 0, round_)).permutation(len(self.samples))
        sample = self.samples[order[place]]
        image, mask = self.store.image(sample), self.store.mask(sample)
        size, (height, width) = self.window, mask.shape
        rng = np.random.default_rng((self.seed, 1, draw))
        top, left = self._start(height, rng), self._start(width, rng)
        out_image = np.full((image.shape[0], size, size), self.fill, image.dtype)
        out_mask = np.zeros((size, size), np.uint8)
        valid = np.zeros((size, size), np.bool_)
        y0, y1 = max(top, 0), min(top + size, height)
        x0, x1 = max(left, 0), min(left + size, width)
        inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        out_image[:, *inside] = image[:, y0:y1, x0:x1]
        piece = mask[y0:y1, x0:x1]
        valid[inside] = piece != IGNORE
        out_mask[inside] = np.where(valid[inside], piece, 0)
        return Batch(torch.from_numpy(out_image), torch.from_numpy(out_mask), torch.from_numpy(valid), [sample.id])

    def _start(self, side: int, rng: np.random.Generator) -> int:
        """Where the window starts along a side; a picture smaller than the window lies anywhere inside it."""
        ends = -self.context, side + self.context - self.window
        return int(rng.integers(min(ends), max(ends) + 1))


@dataclass(eq=False, repr=False)
class WholeImages(Dataset[Batch]):
    """Whole samples, one a batch: the image at the store's scale, the truth at full size."""

    samples: Sequence[Sample]
    store: Store

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        sample = self.samples[index]
        truth = np.asarray(self.store.truth(sample))
        valid = truth != IGNORE
        image = torch.from_numpy(np.array(self.store.image(sample)))
        return Batch(image, torch.from_numpy(np.where(valid, truth, 0)), torch.from_numpy(valid), [sample.id])


@dataclass(eq=False)
class Draws(Sampler[int]):
    """A sampler that numbers the windows on through all epochs: 0..n-1 in epoch 0, n..2n-1 in epoch 1, and so on.

    Lightning calls `set_epoch` before each epoch; but workers ask for the first numbers before that.

    Attributes:
        per_epoch: n.
        drawn: how many were drawn before, by a training that is gone on with: these never come again.
        epoch: the one that is drawn next.
    """

    per_epoch: int
    drawn: int = 0
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        epoch = max(self.epoch, self.drawn // self.per_epoch)
        return iter(range(max(epoch * self.per_epoch, self.drawn), (epoch + 1) * self.per_epoch))


@dataclass(eq=False)
class Share(Sampler[int]):
    """One process's share of what a sampler draws: every `processes`-th number.

    All processes get as many; what is missing for that is taken from the beginning again, so that some numbers come
    twice. See `lamella.metrics.image_counts.PerImage`, which counts them once.

    Attributes:
        drawn: what all processes draw together.
        rank: this process's number, from 0.
        processes: how many there are.
    """

    drawn: Draws | SequentialSampler
    rank: int
    processes: int

    def set_epoch(self, epoch: int) -> None:
        """Passes the epoch on. See `Draws`."""
        if isinstance(self.drawn, Draws):
            self.drawn.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.drawn) // self.processes)

    def __iter__(self) -> Iterator[int]:
        numbers = list(self.drawn)
        all_get = -(-len(numbers) // self.processes) * self.processes
        return (numbers[i % len(numbers)] for i in range(self.rank, all_get, self.processes))


def whole(samples: Sequence[Sample], store: Store, *, ahead: bool = False, rank: int = 0, processes: int = 1) -> Loader:
    """A loader of whole images, one a batch, in the samples' order; of several processes each loads its share.

    Args:
        samples: whose images are loaded.
        store: decoded arrays.
        ahead: a process of its own loads the next images, into memory from which a GPU copies without the host
            waiting. For runs on a GPU alone: pinning that memory opens it.
        rank: this process's number, from 0.
        processes: how many share the images.
    """
    images = WholeImages(samples, store)
    sampler = Share(SequentialSampler(images), rank, processes)
    return Loader(images, workers=int(ahead), sampler=sampler, pin_memory=ahead)
