"""Test images, each with its truth, and what every method predicted of it and got wrong."""

import base64
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from lamella.data.audit.pictures import FOREGROUND
from lamella.data.io.read import Bytes
from lamella.errors import StorageError
from lamella.evaluation.error_maps import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    NOT_COUNTED,
    RIGHT_FOREGROUND,
    WRONG_CLASS,
    error_map_name,
    picture_name,
    read_error_map,
    read_picture,
)
from lamella.metrics.catalogue import lookup
from lamella.plots import overlays
from lamella.plots.overlays import Colour
from lamella.reporting.cohorts import Cohort, Method, SeedRun, Values
from lamella.reporting.numbers import score_text
from lamella.reporting.summary import per_image, ranked

_PIXELS = 60e6  # of the predictions of a gallery together, so that many methods make no huge page
_SIDES = 640, 1600  # pixels of an overlay's longer side, about: of many methods and images, of few
_SMALL = 400  # of wrong pixels as they are seen at first
_METHODS = 11  # of an image, at most: with the image itself they fill four rows of three
_FEW = 5  # methods; of so many one image of each kind is open at first

_TRUE = (RIGHT_FOREGROUND, FALSE_NEGATIVE, WRONG_CLASS)  # foreground in truth
_PREDICTED = (RIGHT_FOREGROUND, FALSE_POSITIVE, WRONG_CLASS)
_EXTRA, _MISSED = (FALSE_POSITIVE,), (FALSE_NEGATIVE, WRONG_CLASS)
_WRONG = overlays.FALSE_POSITIVE, overlays.FALSE_NEGATIVE  # their colours
# What a pixel of a code counts: false positives in the lower 16 bits, what is missed above them.
_COUNTED = np.array([1 if code in _EXTRA else 1 << 16 if code in _MISSED else 0 for code in range(256)], np.uint32)
_LOW = np.uint32(0xFFFF)

_Counts = npt.NDArray[np.uint32]
_Read = TypeVar("_Read")


class Layer(NamedTuple):
    """A picture that lies over another one, or below all of them.

    Attributes:
        uri: the picture, as a data URI; transparent where nothing is, if it lies over another.
        alt: what it shows, for those who cannot see it.
        size: (height, width) in pixels of the image that it covers; it may reach beyond its lower and right edge.
    """

    uri: str
    alt: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Panel:
    """What a method made of an image.

    Attributes:
        label: the method.
        text: the score of its run, and how much is wrong.
        prediction: what it took for foreground; None where its run kept no pictures, as older ones.
        errors: its wrong pixels; None as well.
        small: the same ones for a small picture: where pixels meet in one, any wrong one is seen; None as well.
    """

    label: str
    text: str
    prediction: Layer | None
    errors: Layer | None
    small: Layer | None


@dataclass(frozen=True)
class Case:
    """One test image of the gallery.

    Attributes:
        heading: why it is shown, such as "worst 1 of 12".
        id: the image's.
        text: its mean score, the methods furthest apart, the fold that judged it.
        size: (height, width) in pixels, as it was scored.
        image: the image itself; None where no run kept it.
        truth: its foreground, and what is not counted; None where no run kept it.
        panels: one a method, the best method first.
        folded: it is shown when it is asked for.
    """

    heading: str
    id: str
    text: str
    size: tuple[int, int]
    image: Layer | None
    truth: Layer | None
    panels: tuple[Panel, ...]
    folded: bool


@dataclass(frozen=True)
class Gallery:
    """Test images with what each method made of them.

    Attributes:
        words: which images, methods and pixels are shown, in sentences.
        colours: what each colour means.
        cases: the images, in their order.
    """

    words: tuple[str, ...]
    colours: tuple[tuple[Colour, str], ...]
    cases: tuple[Case, ...]


def gallery(cohort: Cohort, score: str, k: int = 3) -> Gallery | None:
    """The worst, typical and best images by mean score over all methods, and those on which methods differ most.

    Each image stands once: of few images each kind has fewer. Images without the score are in none; None where there
    is no image to show. Of many methods some are left out, which the words say.

    Args:
        cohort: the methods.
        score: a column of every table; an error with a sign goes by its size.
        k: images of each kind, at most.
    """
    of_methods = np.stack([per_image(method, score) for method in cohort.methods])
    chosen = _chosen(of_methods, k, lower=lookup(score).lower_is_better)
    if not chosen:
        return None
    methods = ranked(cohort, score)
    if len(methods) > _METHODS:
        methods = [*methods[: _METHODS - 1], methods[-1]]
    side = int(np.clip(np.sqrt(_PIXELS / (len(chosen) * len(methods))), *_SIDES))
    several = any(int(run.params.get("dataset.num_classes", 2)) > 2 for each in methods for run in each.runs)
    drawer = _Drawer(cohort, methods, score, of_methods, side, several)
    kinds = [kind for kind, _, _ in chosen]
    found = [
        drawer.case(f"{kind} {place}", image, folded=i > 0 if len(methods) > _FEW else kind in kinds[:i])
        for i, (kind, place, image) in enumerate(chosen)
    ]
    times = max(drawer.times(case.size) for case in found)
    return Gallery(_words(cohort, score, found, several, times), _colours(found, several), tuple(found))


def _chosen(of_methods: Values, k: int, *, lower: bool) -> list[tuple[str, str, int]]:
    """The images that are shown: (kind, place among all, which one).

    Args:
        of_methods: the score, (methods, images); NaN where an image has none.
        k: of each kind, at most.
        lower: it is better.
    """
    means = of_methods.mean(axis=0)
    order = np.argsort(means if lower else -means, kind="stable")
    order = order[~np.isnan(means[order])]
    n = len(order)
    ends = min(k, (n + 1) // 3)
    middle = min(k, n - 2 * ends)
    start = (n - middle) // 2
    worst = [("worst", f"{i + 1} of {n}", int(order[n - 1 - i])) for i in range(ends)]
    typical = [("typical,", f"place {i + 1} of {n}", int(order[i])) for i in range(start, start + middle)]
    best = [("best", f"{i + 1} of {n}", int(order[i])) for i in range(ends)]
    shown = {image for _, _, image in (*worst, *typical, *best)}
    spread = np.ptp(of_methods, axis=0)
    apart = [
        ("methods differ,", f"place {i + 1} of {n}", int(image))
        for i, image in enumerate(order[np.argsort(-spread[order], kind="stable")][: (n + 1) // 2])
        if int(image) not in shown and spread[image] > 0
    ]
    return [*worst, *apart[:k], *typical, *best]


def _words(cohort: Cohort, score: str, found: Sequence[Case], several: bool, times: int) -> tuple[str, ...]:
    """What is shown, in sentences; `times` as many pixels of an image are one of what lies over it."""
    shown, of, folded = len(found[0].panels), len(cohort.methods), sum(case.folded for case in found)
    words = [
        "A click on a picture opens it over the whole window, up to single pixels, where it can be changed for the "
        "truth and for every other method's at the same place."
    ]
    differing = ", and of the others those on which methods differ most" if of > 1 else ""
    words.append(
        f"Shown are the images with the worst, the middle and the best mean {lookup(score).heading} over all methods"
        f"{differing}{f'; {folded} of {len(found)} are folded' if folded else ''}."
    )
    if shown < of:
        words.append(f"Of {of} methods the best {shown - 1} and the last are shown.")
    if any(len(method.runs) > 1 for method in cohort.methods):
        words.append("Each method shows its run with the median Dice.")
    if several:
        words.append("Foreground of all classes has one colour here.")
    words.append("In small pictures thin errors look thicker than they are.")
    if times > 1:
        words.append(
            f"So that the page stays small, a pixel over a large image stands for {times} × {times} of its pixels, and "
            "shows any wrong one of them."
        )
    return tuple(words)


def _colours(found: Sequence[Case], several: bool) -> tuple[tuple[Colour, str], ...]:
    known = (
        (FOREGROUND, "foreground, in truth or prediction"),
        (overlays.FALSE_POSITIVE, "foreground predicted, not there"),
        (overlays.FALSE_NEGATIVE, "foreground missed or confused" if several else "foreground missed"),
    )
    ignored = any(case.truth and case.truth.alt.endswith("not counted") for case in found)
    return (*known, (overlays.IGNORED, "not counted")) if ignored else known


@dataclass(frozen=True)
class _Drawer:
    """Draws the cases of one cohort.

    Attributes:
        cohort: whose images they are.
        methods: in the order of their panels.
        score: written beside each panel.
        of_methods: (methods of the cohort, images), mean over seeds; of errors, their sizes.
        side: pixels of an overlay's longer side, about.
        several: there are several classes of foreground.
    """

    cohort: Cohort
    methods: Sequence[Method]
    score: str
    of_methods: Values
    side: int
    several: bool

    def case(self, heading: str, image: int, *, folded: bool) -> Case:
        """One image of the cohort, by its place in `cohort.ids`."""
        id_ = self.cohort.ids[image]
        scored = [method.median.of_image(image) for method in self.methods]
        maps = [_of(*each, error_map_name, read_error_map) for each in scored]
        codes = next((each for each in maps if each is not None), None)
        # The same for every run: that of the first one that kept it.
        kept = next((each for each in (_of(*one, picture_name, _picture) for one in scored) if each), None)
        size = (codes.shape[0], codes.shape[1]) if codes is not None else kept[1] if kept else (3, 4)
        folds = sorted({run.fold for run, _ in scored})
        notes = [f"fold {run.fold}, " if len(folds) > 1 else "" for run, _ in scored]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # most of it is compression, which lets others work
            panels = pool.map(self._panel, self.methods, [image] * len(maps), maps, notes)
        return Case(
            heading=heading,
            id=id_,
            text=self._text(image) + (f"; scored by fold {folds[0]}" if len(folds) == 1 and folds[0] else ""),
            size=size,
            image=Layer(kept[0], f"{id_}: the image itself", size) if kept else None,
            truth=None if codes is None else self._truth(codes, id_),
            panels=tuple(panels),
            folded=folded,
        )

    def _text(self, image: int) -> str:
        """The mean score of an image, and the methods furthest apart."""
        values, labels = self.of_methods[:, image], [method.label for method in self.cohort.methods]
        if len(values) == 1:
            return self._score(values[0])
        low, high = (f"{self._number(values[i])} ({labels[i]})" for i in (values.argmin(), values.argmax()))
        return f"mean {self._score(values.mean())}" + (f", from {low} to {high}" if low != high else "")

    def _panel(self, method: Method, image: int, codes: Bytes | None, fold: str) -> Panel:
        of = f"{self.cohort.ids[image]} by {method.label}"
        text = fold + self._score(float(method.median.scores[self.score].iloc[image]))
        if codes is None:
            return Panel(method.label, f"{text}, no picture kept", None, None, None)
        counts, times = _counts(codes), self.times(codes.shape)
        smaller = times * -(-max(codes.shape) // (_SMALL * times))
        errors, small = wrong_pixels(codes, times, smaller)
        alt = f"{of}: {_wrong_words(counts, self.several)}"
        predicted = f"{of}: {_share(counts, _PREDICTED)}"
        return Panel(
            method.label,
            text,
            _layer(_mostly(codes, _PREDICTED, times), [FOREGROUND], times, predicted),
            _layer(errors, _WRONG, times, alt),
            _layer(small, _WRONG, smaller, alt),
        )

    def _truth(self, codes: Bytes, id_: str) -> Layer:
        counts, times = _counts(codes), self.times(codes.shape)
        ignored = f", {counts[NOT_COUNTED] / codes.size:.1%} not counted" if counts[NOT_COUNTED] else ""
        painted = np.maximum(_mostly(codes, _TRUE, times), 2 * _mostly(codes, [NOT_COUNTED], times))
        alt = f"{id_}: the truth, {_share(counts, _TRUE)}{ignored}"
        return _layer(painted, [FOREGROUND, overlays.IGNORED], times, alt)

    def times(self, size: tuple[int, ...]) -> int:
        """So many pixels of an image are one of what lies over it, in width and in height."""
        return max(1, round(max(size) / self.side))

    def _score(self, value: float) -> str:
        return f"{lookup(self.score).heading} {self._number(value)}"

    def _number(self, value: float) -> str:
        return score_text(value, self.score).removesuffix(".00")


def wrong_pixels(codes: Bytes, *times: int) -> list[Bytes]:
    """The wrong pixels of an error map (H, W), made smaller and smaller: 0 for none, 1 false positive, 2 missed.

    Args:
        codes: see `lamella.evaluation.error_maps`.
        times: by how much it is made smaller; each a multiple of the one before.

    Returns:
        (h, w) each. Where pixels meet in one, any wrong one is seen, and of two kinds the more frequent.
    """
    found, counts, before = [], _COUNTED[codes], 1
    for each in times:
        counts, before = _gathered(counts, each // before), each
        extra, missed = counts & _LOW, counts >> 16
        found.append(np.where(missed > extra, 2, extra > 0).astype(np.uint8))
    return found


def _mostly(codes: Bytes, some: Sequence[int], times: int) -> Bytes:
    """Which pixels (h, w) are mostly of some codes: 1, else 0."""
    among = np.zeros(256, np.uint32)
    among[list(some)] = 1
    return (2 * _gathered(among[codes], times) > times**2).astype(np.uint8)


def _gathered(counts: _Counts, times: int) -> _Counts:
    """The sums of blocks of so many pixels in width and height; those at the right and lower edge may be smaller."""
    if times == 1:
        return counts
    height, width = (-(-side // times) for side in counts.shape)
    padded = np.pad(counts, [(0, -side % times) for side in counts.shape])
    rows, found = np.zeros((height, width * times), np.uint32), np.zeros((height, width), np.uint32)
    for i in range(times):
        rows += padded[i::times]
    for i in range(times):
        found += rows[:, i::times]
    return found


def _counts(codes: Bytes) -> npt.NDArray[np.int64]:
    """How many pixels of an error map have each code."""
    return np.array(Image.fromarray(codes).histogram())


def _share(counts: npt.NDArray[np.int64], some: Sequence[int]) -> str:
    return f"{_part(counts, some)} of pixels foreground"


def _wrong_words(counts: npt.NDArray[np.int64], several: bool) -> str:
    missed = "missed or confused" if several else "missed"
    return f"{_part(counts, _EXTRA)} of pixels false positive, {_part(counts, _MISSED)} {missed}"


def _part(counts: npt.NDArray[np.int64], some: Sequence[int]) -> str:
    """How many of the pixels that are counted have one of some codes."""
    return f"{counts[list(some)].sum() / max(counts.sum() - counts[NOT_COUNTED], 1):.1%}"


def _of(run: SeedRun, row: int, name: Callable[[str], str], read: Callable[[Path], _Read]) -> _Read | None:
    """One of the files of an image of a run; None where the run did not keep it, or it is damaged."""
    try:
        return read(run.fetch(name(str(run.scores["case"].iloc[row])))) if "case" in run.scores else None
    except StorageError:
        return None


def _picture(path: Path) -> tuple[str, tuple[int, int]]:
    """The picture that a run kept, as its file has it, and its size. Raises StorageError."""
    height, width = read_picture(path).shape[:2]
    return _data("image/jpeg", path.read_bytes()), (height, width)


def _layer(painted: Bytes, colours: Sequence[Colour], times: int, alt: str) -> Layer:
    """Numbers (h, w) in their colours, 0 transparent, without loss: as WebP, made fast, it is smaller than as PNG."""
    picture, file = Image.fromarray(painted), io.BytesIO()
    picture.putpalette([0, 0, 0, 0, *(level for colour in colours for level in (*colour, 255))], "RGBA")
    picture.convert("RGBA").save(file, "WEBP", lossless=True, method=0, quality=0)
    return Layer(_data("image/webp", file.getvalue()), alt, (painted.shape[0] * times, painted.shape[1] * times))


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
