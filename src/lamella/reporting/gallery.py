"""The images that all methods together did worst, typically and best on, each with every method's wrong pixels."""

import base64
import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from lamella.data.io.read import Bytes, scaled_size
from lamella.errors import StorageError
from lamella.evaluation.error_maps import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    NOT_COUNTED,
    WRONG_CLASS,
    error_map_name,
    picture_name,
    read_error_map,
    read_picture,
)
from lamella.metrics.catalogue import lookup
from lamella.plots import overlays
from lamella.reporting.cohorts import Cohort, Method, SeedRun, Values
from lamella.reporting.numbers import score_text
from lamella.reporting.summary import per_image, ranked

_SIDE = 480  # pixels of a panel's longer side, at most
_QUALITY = 70  # of the picture itself
_GREYS = 16  # behind the wrong pixels: so few that a file without loss is as small as one that blurs thin errors
_SMOOTH = 1.0  # pixels; noise behind the wrong pixels would be most of the file
_WRONG = ((FALSE_POSITIVE,), (FALSE_NEGATIVE, WRONG_CLASS))  # in one colour each
_COLOURS = (
    (overlays.FALSE_POSITIVE, "foreground predicted, not there"),
    (overlays.FALSE_NEGATIVE, "foreground missed or confused"),
)
_NOTHING = "no picture kept"
_SHAPE = (360, 480)  # of a panel without picture, where no other tells


@dataclass(frozen=True)
class Panel:
    """One picture of a test image: the image itself, or what a method made of it.

    Attributes:
        label: the method, or "image" for the picture itself.
        uri: the picture, as a data URI.
        alt: what it shows, for those who cannot see it.
        text: the score, to stand below.
    """

    label: str
    uri: str
    alt: str
    text: str


@dataclass(frozen=True)
class Case:
    """One test image of the gallery, with a picture a method.

    Attributes:
        heading: its place, such as "worst 1 of 12".
        id: the image's.
        panels: the picture itself, then one a method, the best method first.
    """

    heading: str
    id: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Gallery:
    """Test images with what each method made of them.

    Attributes:
        heading: of the score by which they were chosen.
        colours: what colours mean: (red, green, blue) and words.
        groups: ("worst", from the worst on), ("typical", around the median), ("best", from the best on).
    """

    heading: str
    colours: tuple[tuple[overlays.Colour, str], ...]
    groups: tuple[tuple[str, tuple[Case, ...]], ...]


def gallery(cohort: Cohort, score: str, k: int = 3) -> Gallery | None:
    """The worst, typical and best images by mean score over all methods and runs, each with every method's mistakes.

    A run without pictures (an older one) has panels that say so.

    Args:
        cohort: the methods.
        score: a column of every table; an error with a sign goes by its size.
        k: images of each kind, at most.

    Returns:
        Each image stands once: of few images each kind has fewer, and a kind without any is left out. Images without
        the score are in none; None where no image has it.
    """
    means = np.mean([per_image(method, score) for method in cohort.methods], axis=0)
    order = np.argsort(means if lookup(score).lower_is_better else -means, kind="stable")
    order = order[~np.isnan(means[order])].tolist()
    drawer = _Drawer(cohort, ranked(cohort, score), score, means)
    n = len(order)
    ends = min(k, (n + 1) // 3)
    middle = min(k, n - 2 * ends)
    start = (n - middle) // 2
    groups = {
        "worst": [drawer.case(f"worst {i + 1} of {n}", order[n - 1 - i]) for i in range(ends)],
        "typical": [drawer.case(f"typical, place {i + 1} of {n}", order[i]) for i in range(start, start + middle)],
        "best": [drawer.case(f"best {i + 1} of {n}", order[i]) for i in range(ends)],
    }
    kinds = tuple((name, tuple(found)) for name, found in groups.items() if found)
    return Gallery(lookup(score).heading, _COLOURS, kinds) if kinds else None


@dataclass(frozen=True)
class _Drawer:
    """Draws the cases of one cohort.

    Attributes:
        cohort: whose images they are.
        methods: in the order of their panels.
        score: written below each panel.
        means: (images,) over methods and runs; of errors, their sizes.
    """

    cohort: Cohort
    methods: Sequence[Method]
    score: str
    means: Values

    def case(self, heading: str, image: int) -> Case:
        """One image of the cohort, by its place in `cohort.ids`."""
        id_, seen = self.cohort.ids[image], self._picture(image)
        if seen is None:
            uri, alt = _blank(_SHAPE), f"{id_}: {_NOTHING}"
        else:
            uri, alt = _uri(_resized(seen, _fit(seen.shape)), quality=_QUALITY), f"{id_}: the image itself"
        picture = Panel("image", uri, alt, f"mean {self._score(self.means[image])}")
        return Case(heading, id_, (picture, *(self._panel(method, image, seen) for method in self.methods)))

    def _picture(self, image: int) -> Bytes | None:
        """The same for every run: of the first one that kept it."""
        for method in self.methods:
            with contextlib.suppress(StorageError):
                return read_picture(_file(method.median, image, picture_name))
        return None

    def _panel(self, method: Method, image: int, seen: Bytes | None) -> Panel:
        run, of = method.median, f"{self.cohort.ids[image]} by {method.label}"
        text = self._score(float(run.scores[self.score].iloc[image]))
        try:
            codes = read_error_map(_file(run, image, error_map_name))
        except StorageError:
            blank = _blank(_SHAPE if seen is None else _fit(seen.shape))
            return Panel(method.label, blank, f"{of}: {_NOTHING}", f"{text}, {_NOTHING}")
        return Panel(method.label, _uri(overlay(seen, codes), lossless=True), f"{of}: {_shares(codes)}", text)

    def _score(self, value: float) -> str:
        return f"{lookup(self.score).heading} {score_text(value, self.score).removesuffix('.00')}"


def overlay(seen: Bytes | None, codes: Bytes) -> Bytes:
    """Wrong pixels in colour over a pale grey picture, as `overlays.mistakes` has them, at the size of a panel.

    Args:
        seen: the picture (H', W', 3) of any size; None: plain ground.
        codes: (H, W), see `lamella.evaluation.error_maps`.

    Returns:
        (h, w, 3), the longer side at most 480. Where pixels meet in one, any wrong one is seen, and of two kinds the
        more frequent.
    """
    shape = _fit(codes.shape)
    ground = np.full(shape, 255.0)
    if seen is not None:
        smooth = Image.fromarray(_resized(seen, shape)).filter(ImageFilter.GaussianBlur(_SMOOTH))
        ground = np.asarray(smooth).mean(axis=-1)
    step = (ground * _GREYS / 256).astype(np.uint8)
    out = np.repeat((128 + (step + 0.5) * 128 / _GREYS).astype(np.uint8)[..., None], 3, axis=-1)
    extra, missed = (_gathered(np.isin(codes, some), shape) for some in _WRONG)
    out[(extra > 0) & (extra >= missed)] = overlays.FALSE_POSITIVE
    out[missed > extra] = overlays.FALSE_NEGATIVE
    return out


def _gathered(mask: npt.NDArray[np.bool_], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """How many pixels of a mask (H, W) fall into each pixel of a smaller grid (h, w)."""
    rows, columns = (np.arange(small) * large // small for small, large in zip(shape, mask.shape, strict=True))
    found: npt.NDArray[np.int32] = np.add.reduceat(mask, rows, axis=0, dtype=np.int32)
    return np.add.reduceat(found, columns, axis=1)


def _shares(codes: Bytes) -> str:
    """The wrong pixels, in words."""
    counted = max(int((codes != NOT_COUNTED).sum()), 1)
    extra, missed = (np.isin(codes, some).sum() / counted for some in _WRONG)
    confused = " or confused" if WRONG_CLASS in codes else ""
    return f"{extra:.1%} of pixels false positive, {missed:.1%} missed{confused}"


def _file(run: SeedRun, image: int, name: Callable[[str], str]) -> Path:
    if "case" not in run.scores:
        raise StorageError(f"run {run.run_id} kept no pictures")
    return run.fetch(name(str(run.scores["case"].iloc[image])))


def _fit(shape: tuple[int, ...]) -> tuple[int, int]:
    """(H, W) of a panel."""
    return scaled_size((shape[0], shape[1]), min(1.0, _SIDE / max(shape[:2])))


def _resized(seen: Bytes, shape: tuple[int, int]) -> Bytes:
    return np.asarray(Image.fromarray(seen).resize(shape[::-1], Image.Resampling.BOX))


def _uri(pixels: Bytes, **how: int) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", method=4, **how)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _blank(shape: tuple[int, int]) -> str:
    height, width = shape
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 480 360">'
        '<rect x="-960" y="-960" width="2400" height="2400" fill="#eee"/><text x="240" y="190" font-size="28" '
        f'font-family="sans-serif" text-anchor="middle" fill="#444">{_NOTHING}</text></svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
