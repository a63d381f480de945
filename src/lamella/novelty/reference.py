"""What the images that a network was trained on are like, learned once, at the end of training."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.read import Pixels, image_blocks
from lamella.data.types import Sample
from lamella.inference.segmenter import Segmenter
from lamella.novelty import numbers
from lamella.novelty.criterion import Criterion, fit
from lamella.novelty.features import Layer, deepest, features
from lamella.novelty.gathered import Gathered, Gathering

Floats = npt.NDArray[np.float64]

FORMAT = 1
MOST = 200  # images that are looked at, of those that trained and of those that chose
NEEDED = 20  # validation images without which no threshold is set
FALSE_FLAGS = 0.05  # the share of images of the same kind that are flagged
AXES = 24  # along which inner features are looked at
LEAST_SPREAD = {"levels": 0.01, "texture": 0.01, "features": 1e-6}  # no number is taken to vary less
_SEEN = 96  # side of what the network sees of a window once more
_SHARE = 0.04  # of an image's pixels that it sees once more, at most, but for one window


class Inner(NamedTuple):
    """How inner features become a few numbers.

    Attributes:
        layer: of the network.
        centre, spread: (D,) of the features of training windows.
        axes: (K, D), along which the training images differ most.
    """

    layer: Layer
    centre: Floats
    spread: Floats
    axes: Floats

    def numbers(self, found: Floats) -> dict[str, float]:
        """The numbers of an image by its windows' features (N, D): where it lies along the axes, and how far beside."""
        off = (found - self.centre) / self.spread
        along = off @ self.axes.T
        beside = np.linalg.norm(off - along @ self.axes, axis=1) / math.sqrt(off.shape[1])
        named = {f"axis_{number}": float(value) for number, value in enumerate(along.mean(axis=0), start=1)}
        return named | {"beside": float(np.log2(np.maximum(beside, 1e-6)).mean())}


class Reference(NamedTuple):
    """What new images are held against.

    Attributes:
        criteria: by their names, `levels`, `texture` and, where the network has inner features, `features`.
        inner: how those become numbers; None where there are none.
        trained: how many training images it was made from.
        validated: how many validation images the threshold was chosen by.
        groups: how many groups (patients, slides, stacks) these were of.
        threshold: the greatest distance that is not flagged; None where there were too few validation images.
    """

    criteria: dict[str, Criterion]
    inner: Inner | None
    trained: int
    validated: int
    groups: int
    threshold: float | None

    def distances(self, found: dict[str, dict[str, float]]) -> dict[str, float]:
        """How far an image is from the training images by each criterion."""
        return {
            name: float(each.distances(np.array([[found[name][number] for number in each.names]]))[0])
            for name, each in self.criteria.items()
        }

    def plain(self) -> dict[str, Any]:
        """The same as numbers, lists and tensors, as a checkpoint keeps it."""
        inner = self.inner
        return {
            "format": FORMAT,
            "criteria": {name: each.plain() for name, each in self.criteria.items()},
            "inner": inner
            and {
                "layer": list(inner.layer),
                **{name: torch.tensor(getattr(inner, name), dtype=torch.float32) for name in _OF_INNER},
            },
            **{name: getattr(self, name) for name in ("trained", "validated", "groups", "threshold")},
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Reference":
        """What `plain` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        if plain["format"] != FORMAT:
            raise ValueError(f"its format is {plain['format']}, not {FORMAT}")
        inner, threshold = plain["inner"], plain["threshold"]
        if inner is not None:
            name, call = inner["layer"]
            inner = Inner(Layer(str(name), int(call)), *(_floats(inner[each]) for each in _OF_INNER))
        return cls(
            {str(name): Criterion.of(each) for name, each in plain["criteria"].items()},
            inner,
            trained=int(plain["trained"]),
            validated=int(plain["validated"]),
            groups=int(plain["groups"]),
            threshold=None if threshold is None else float(threshold),
        )


_OF_INNER = ("centre", "spread", "axes")


def learn(
    segmenter: Segmenter,
    train: Sequence[Sample],
    val: Sequence[Sample],
    *,
    channels: int,
    scale: float = 1.0,
    percentiles: Sequence[float] | None = None,
) -> Reference | None:
    """What the training images are like, and how unlike them one in twenty validation images is.

    Of each part some 200 images are looked at, evenly spread. What is looked at is not augmented. The threshold is such
    that of new images of the same kind at most one in twenty is flagged, whatever their numbers are spread like: of n
    distances of validation images it is the (n + 1) * 0.95th smallest (split conformal prediction: Vovk, Gammerman and
    Shafer 2005, Algorithmic Learning in a Random World). This needs validation images that are independent of each
    other, which sections of one stack are not.

    Args:
        segmenter: trained, on any device.
        train: the training samples.
        val: the validation samples, not trained on.
        channels: of their images.
        scale: images are shrunk by this before the network sees them.
        percentiles: each image is stretched from these of its levels.

    Returns:
        None where one training image alone says nothing of how they differ.

    Raises:
        DataError: an image cannot be read.
    """
    chosen, chosen_val = _some(train), _some(val)
    if len(chosen) < 2:
        return None

    def seen(samples: Sequence[Sample]) -> Iterator[Gathered]:
        for sample in samples:
            gathering = Gathering(scale, percentiles)
            for block in image_blocks(sample.image, channels):
                gathering.add(block.pixels, block.top, block.height)
            yield gathering.gathered()

    layer = deepest(segmenter, channels)
    looked = [look(segmenter, each, layer) for each in seen(chosen)]
    inner = None if layer is None else _inner(layer, [each.inner for each in looked if each.inner is not None])
    of_train = [each.numbers(inner) for each in looked]
    criteria = {}
    for name in of_train[0]:
        names = tuple(of_train[0][name])
        table = np.array([[found[name][number] for number in names] for found in of_train])
        criteria[name] = fit(names, table, LEAST_SPREAD[name])
    reference = Reference(criteria, inner, len(chosen), len(chosen_val), len({each.group for each in chosen_val}), None)
    far = [max(reference.distances(look(segmenter, each, layer).numbers(inner)).values()) for each in seen(chosen_val)]
    return reference._replace(threshold=threshold(far))


def threshold(distances: Sequence[float]) -> float | None:
    """The greatest distance that is not flagged, by those of validation images; None where they are too few."""
    count = len(distances)
    if count < NEEDED:
        return None
    place = math.ceil(round((count + 1) * (1 - FALSE_FLAGS), 9))
    return float(np.sort(distances)[place - 1])


class Looked(NamedTuple):
    """One image: its numbers by criterion, and its windows' inner features (N, D), if there are any."""

    plain: dict[str, dict[str, float]]
    inner: Floats | None

    def numbers(self, inner: Inner | None) -> dict[str, dict[str, float]]:
        """All its numbers, by criterion."""
        if inner is None or self.inner is None:
            return self.plain
        return self.plain | {"features": inner.numbers(self.inner)}


def look(segmenter: Segmenter, kept: Gathered, layer: Layer | None) -> Looked:
    """What there is to know of one image. Raises LookupError where the network has no such layer."""
    grey = _grey(segmenter, kept.spread)
    texture = _grey(segmenter, kept.windows).mean(axis=1)
    plain = {"levels": numbers.of_levels(grey), "texture": numbers.of_texture(texture)}
    if layer is None:
        return Looked(plain, None)
    count, (height, width) = len(kept.windows), kept.windows.shape[-2:]
    wanted = min(count, max(1, int(_SHARE * kept.pixels / _SEEN**2)))
    some = ((2 * np.arange(wanted) + 1) * count) // (2 * wanted)
    top, left = max(0, height - _SEEN) // 2, max(0, width - _SEEN) // 2
    windows = kept.windows[some, :, top : top + _SEEN, left : left + _SEEN]
    return Looked(plain, features(segmenter, windows, layer).astype(np.float64))


def _inner(layer: Layer, found: Sequence[Floats]) -> Inner:
    """How features become numbers, by those of the training images' windows."""
    windows = np.concatenate(found)
    centre, spread = windows.mean(axis=0), windows.std(axis=0)
    spread = np.where(spread > 1e-3 * max(float(spread.max()), 1e-9), spread, max(float(spread.max()), 1e-9))
    off = (windows - centre) / spread
    _, _, axes = np.linalg.svd(off, full_matrices=False)
    return Inner(layer, centre, spread, axes[: max(1, min(AXES, len(found) // 4))])


def _grey(segmenter: Segmenter, stored: Pixels) -> Floats:
    """Grey levels, 0 to 255 over the training images, of levels as stored."""
    low, high = float(segmenter.normalise.low), float(segmenter.normalise.high)
    return (stored.astype(np.float64) - low) * (255 / (high - low))


def _floats(values: Any) -> Floats:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise ValueError("numbers that are none")
    return array


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """At most so many of them, evenly spread."""
    count = min(len(samples), MOST)
    return [samples[(2 * number + 1) * len(samples) // (2 * count)] for number in range(count)]
