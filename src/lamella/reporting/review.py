"""Labels to look at again: objects and images ranked by how confidently networks disagree, as tables and a page."""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lamella.data.cache.arrays import Store
from lamella.data.io.read import Bytes, move
from lamella.data.types import Dataset, Sample
from lamella.errors import StorageError
from lamella.evaluation.disagreements import KINDS, Disagreement, Looked
from lamella.pages.render import Cell, Table, render
from lamella.plaintext import write_csv
from lamella.plots.overlays import Colour, visible
from lamella.version import __version__

LABEL: Colour = (255, 120, 0)
NETWORK: Colour = (0, 160, 255)
_SIDE = 288  # pixels of a picture
_AROUND = 1.6  # times the objects' box
_IMAGES = 20  # in the page's table


@dataclass(frozen=True)
class Doubt:
    """A row of `objects.csv`: an object whose label is doubted.

    Attributes:
        id: of the image.
        kind: one of `lamella.evaluation.disagreements.KINDS`.
        score: what objects are ranked by: the disagreement over 1 and what else is disputed in its image.
        disagreement: 1 where as many pixels as a typical object has are wrong beyond doubt.
        x, y: the middle, in pixels from the left and from the top of the mask.
        left, top, width, height: of all that is doubted.
        pixels: that are doubted.
        label: the class there.
        network: the network's.
        mask: the file to open, and its page.
        runs: that judged it.
    """

    id: str
    kind: str
    score: float
    disagreement: float
    x: int
    y: int
    left: int
    top: int
    width: int
    height: int
    pixels: int
    label: str
    network: str
    mask: str
    runs: str


@dataclass(frozen=True)
class ImageDoubts:
    """A row of `images.csv`: an image, the disagreement of its objects, and how many have at least a quarter."""

    id: str
    disagreement: float
    objects: int
    mask: str
    runs: str


@dataclass(frozen=True)
class Reviewed:
    """The labels of a data set, the most doubtful first."""

    dataset: Dataset
    objects: list[Doubt]
    images: list[ImageDoubts]
    looked: Mapping[str, Looked]
    store: Store


def reviewed(
    dataset: Dataset,
    samples: Sequence[Sample],
    looked: Mapping[str, Looked],
    judged: Mapping[str, Sequence[str]],
    store: Store,
) -> Reviewed:
    """Objects and images, the most doubtful first.

    An object is ranked by its disagreement over 1 and all other disagreement in its image, in the same units: a network
    that disagrees everywhere has not understood the image, and says little of a single object in it.

    Args:
        dataset: of the images.
        samples: that were looked at.
        looked: the id of an image -> what was found in it.
        judged: the id of an image -> the runs that judged it.
        store: of the images.
    """
    sizes = np.concatenate([np.zeros(0, np.int64), *(each.sizes for each in looked.values())])
    typical = float(np.median(sizes)) if sizes.size else 1.0
    names = dataset.card.class_names
    objects, images = [], []
    for sample in samples:
        runs, mask = " ".join(judged[sample.id]), str(sample.mask)
        doubted = looked[sample.id].disagreements
        total = sum(each.weight for each in doubted)
        mine = [_doubt(sample, each, total - each.weight, typical, names, runs) for each in doubted]
        objects += mine
        grave = sum(each.disagreement >= 0.25 for each in mine)
        images.append(ImageDoubts(sample.id, total / typical, grave, mask, runs))
    return Reviewed(
        dataset,
        sorted(objects, key=lambda each: -each.score),
        sorted(images, key=lambda each: -each.disagreement),
        looked,
        store,
    )


def write(folder: Path, found: Reviewed, notes: Sequence[str], *, shown: int) -> Path:
    """Writes `review.html`, which is returned, `objects.csv` and `images.csv`. Raises StorageError.

    Args:
        folder: made for them.
        found: what is ranked.
        notes: what a reader must know.
        shown: objects with pictures.
    """
    page = folder / "review.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("objects", found.objects), ("images", found.images)):
            table = pd.DataFrame([asdict(row) for row in rows])
            write_csv(table, folder / f"{name}.csv", index_label="rank", float_format="%.4f")
        page.write_text(_page(found, notes, shown), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"the review cannot be written to {folder}: {error.strerror or error}") from error
    return page


def _doubt(sample: Sample, each: Disagreement, others: float, typical: float, names: Sequence[str], runs: str) -> Doubt:
    top, left, bottom, right = each.box
    return Doubt(
        id=sample.id,
        kind=each.kind,
        score=each.weight / (typical + others),
        disagreement=each.weight / typical,
        x=each.x,
        y=each.y,
        left=left,
        top=top,
        width=right - left,
        height=bottom - top,
        pixels=each.pixels,
        label=names[each.label],
        network=names[each.predicted],
        mask=str(sample.mask),
        runs=runs,
    )


def _page(found: Reviewed, notes: Sequence[str], shown: int) -> str:
    card, store = found.dataset.card, found.store
    samples = {sample.id: sample for sample in found.dataset.samples}
    counts = Counter(each.kind for each in found.objects[:shown])
    ranked = list(enumerate(found.objects[:shown], 1))
    pictures: dict[int, tuple[str, str]] = {}
    for id_ in dict.fromkeys(each.id for _, each in ranked):
        picture = _Picture(samples[id_], store, found.looked[id_])
        pictures |= {rank: picture.around(each) for rank, each in ranked if each.id == id_}
    phantom = "PHANTOM (generated images) · " if card.phantom else ""
    return render(
        "review.html.j2",
        title=f"Labels to look at again: {phantom}{card.title}",
        made=f"Lamella {__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        notes=notes,
        kinds={kind: f"{words} ({counts[kind]} of those shown)" for kind, words in KINDS.items() if counts[kind]},
        colours=[(LABEL, "the label's outline"), (NETWORK, "the network's")],
        objects=[(rank, each, *pictures[rank]) for rank, each in ranked],
        images=_images(found),
        total=len(found.objects),
    )


def _images(found: Reviewed) -> Table:
    head = [Cell(text) for text in ("image", "disagreement", "objects of at least 0.25")]
    rows = [
        [Cell(each.id), Cell(f"{each.disagreement:.2f}"), Cell(f"{each.objects}")] for each in found.images[:_IMAGES]
    ]
    explanation = f"Of {len(found.images)} images the {len(rows)} with the most to look at; images.csv has all."
    return Table("images-table", "Images", explanation, [*head, Cell("mask", left=True)], [
        [*row, Cell(each.mask, left=True)] for row, each in zip(rows, found.images, strict=False)
    ])  # fmt: skip


class _Picture:
    """An image from which pieces are cut, with the outlines of its label and of the network's classes."""

    def __init__(self, sample: Sample, store: Store, looked: Looked) -> None:
        self.seen = visible(move(store.full_image(sample), store.offset))
        self.label = np.asarray(store.truth(sample))
        self.network = looked.predicted(self.label.shape)

    def around(self, doubt: Doubt) -> tuple[str, str]:
        """Two JPEGs in base64: the piece as it is, and with outlines."""
        height, width = self.label.shape
        side = min(max(round(_AROUND * max(doubt.width, doubt.height)), 96), max(height, width))
        middle = doubt.top + doubt.height // 2, doubt.left + doubt.width // 2
        top, left = (
            max(0, min(at - side // 2, whole - side)) for at, whole in zip(middle, (height, width), strict=True)
        )
        piece = slice(top, top + side), slice(left, left + side)
        plain = _enlarged(self.seen[piece])
        drawn = plain.copy()
        for classes, colour in ((self.label, LABEL), (self.network, NETWORK)):
            drawn[_outline(_enlarged(classes[piece]))] = colour
        return _jpeg(plain), _jpeg(drawn)


def _enlarged(piece: Bytes) -> Bytes:
    """The piece at the size of a picture; class ids are not mixed."""
    scale = _SIDE / max(piece.shape[:2])
    size = max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale))
    how = Image.Resampling.BICUBIC if piece.ndim == 3 else Image.Resampling.NEAREST
    return np.array(Image.fromarray(np.ascontiguousarray(piece)).resize(size, how))


def _outline(classes: Bytes) -> np.ndarray:
    """Pixels whose right or lower neighbour, or left or upper one, is of another class."""
    edges = np.zeros(classes.shape, np.bool_)
    across, down = classes[:, :-1] != classes[:, 1:], classes[:-1] != classes[1:]
    edges[:, :-1] |= across
    edges[:, 1:] |= across
    edges[:-1] |= down
    edges[1:] |= down
    return edges


def _jpeg(picture: Bytes) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
