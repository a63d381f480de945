"""One image while it is predicted -> whether it is like those that the network was trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lamella.inference.checkpoint import Trained
from lamella.inference.pictures import Band
from lamella.novelty import words
from lamella.novelty.gathered import Gathering
from lamella.novelty.reference import FALSE_FLAGS, NEEDED, Reference, look

_PLAIN = 2.0  # the distance from which on it is said what is unlike, though it is not known how rare that is


class Judgement(NamedTuple):
    """Whether the prediction of one image can be trusted, as far as that can be told from the image and the networks.

    Attributes:
        unlike: the image is unlike those that the network was trained on; None: it cannot be said.
        score: how far it is from them; flagged above 1 where `unlike` is not None; None where nothing is known.
        reasons: why it is unlike, or why it cannot be said, a phrase each, in words; may hold what files say.
        distances: the score of each criterion: `levels`, `texture`, `features`; empty where nothing is known.
        uncertainty: the mean spread of the views' and networks' probabilities; None where there was but one.
        basis: what it was judged by, one sentence.
    """

    unlike: bool | None
    score: float | None
    reasons: tuple[str, ...]
    distances: dict[str, float]
    uncertainty: float | None
    basis: str


class Collector:
    """Takes an image's bands as they are predicted, and judges the image at the end.

        collector = Collector(trained)
        for band in predict_rows(trained, ref, hardware, tta=None):
            collector.add(band)
            ...
        judgement = collector.judgement()

    One for each image. What it says depends on the image, not on how it is cut into bands. It holds a few megabytes,
    and has the first network look at a few windows of the image once more.

    Args:
        trained: one network or an ensemble, on the device that predicts. The first one's training images are what the
            image is held against.
    """

    def __init__(self, trained: Sequence[Trained]) -> None:
        self._first, self._networks = trained[0], len(trained)
        self._gathering = Gathering(self._first.scale, self._first.percentiles)
        self._spread, self._pixels = 0.0, 0

    def add(self, band: Band) -> None:
        """Takes the next rows. Raises ValueError where rows are missing, or come twice."""
        self._gathering.add(band.image, band.top, band.height)
        if band.spread is not None:
            for row in band.spread:  # one by one: the sum must not depend on how rows are cut
                self._spread += float(row.sum(dtype=np.float64))
            self._pixels += band.spread.size

    def judgement(self) -> Judgement:
        """The judgement, when all rows have passed. Raises ValueError where some have not."""
        kept = self._gathering.gathered()
        uncertainty = self._spread / self._pixels if self._pixels else None

        def unknown(why: str) -> Judgement:
            return Judgement(None, None, (f"cannot be said: {why}",), {}, uncertainty, "")

        if self._first.novelty is None:
            return unknown("the network was trained by an older version, which kept nothing to hold images against")
        try:
            reference = Reference.of(self._first.novelty)
            segmenter = self._first.segmenter
            found = look(segmenter, kept, reference.inner and reference.inner.layer).numbers(reference.inner)
            distances = reference.distances(found)
            if not np.isfinite([*distances.values(), reference.threshold or 1]).all():
                raise ValueError("a distance is not finite")
        except (KeyError, TypeError, ValueError, LookupError) as error:
            return unknown(f"what the checkpoint keeps of its training images is not whole ({error})")
        limit = reference.threshold
        score = max(distances.values()) / (limit or 1)
        far = {name for name, distance in distances.items() if distance > (limit or _PLAIN)}
        normalise = segmenter.normalise
        scale = words.Scale(float(normalise.low), float(normalise.high))
        reasons = words.reasons(found, reference.criteria, far, scale)
        basis = _basis(reference)
        if self._networks > 1 and uncertainty is not None:
            basis += (
                f" The {self._networks} networks' probabilities differ by {uncertainty:.2g} (standard deviation, mean "
                "over the pixels); how much is usual for them is not known."
            )
        scaled = {name: distance / (limit or 1) for name, distance in distances.items()}
        if limit is None:
            few = f"{reference.validated} validation images, of which {NEEDED} are needed to know what is unusual"
            return Judgement(None, score, (f"cannot be said: {few}", *reasons), scaled, uncertainty, basis)
        return Judgement(score > 1, score, tuple(reasons), scaled, uncertainty, basis)


def _basis(reference: Reference) -> str:
    made = f"Held against {reference.trained} training images"
    if reference.threshold is None:
        return f"{made}."
    text = f"{made}; of images like the {reference.validated} validation images {FALSE_FLAGS:.0%} are flagged"
    if reference.groups < min(NEEDED, reference.validated):
        text += f" (these are of {reference.groups} group(s): images of others may be flagged more often)"
    return f"{text}."
