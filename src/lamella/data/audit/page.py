"""The audit as one HTML page: what it found, in numbers and pictures; `audit.html.j2` has the markup."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamella.data.audit.pictures import IGNORED, class_colours, pair_picture, small_picture
from lamella.data.audit.report import Looked, Report
from lamella.data.io.labels import meaning
from lamella.data.types import IGNORE, LEFT, DatasetCard
from lamella.errors import StorageError
from lamella.pages.render import Cell, Table, render

_PICTURES = 48  # at most, so that the page stays small
_EACH = 6  # of one finding
_EXAMPLES = 4  # of each part
_PAIRS = 6  # at the top of the page
_STEPS = 64  # of a histogram
_VERSION = 2  # counts up when pictures are drawn otherwise

_Parts = dict[str, list[Looked]]  # the samples of each part that has any


def write_page(report: Report, path: Path) -> None:
    """Writes the report as one page that needs no other file. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"the audit's page cannot be written to {path}: {error.strerror or error}",
            "Free space there, or choose another folder.",
        ) from error


def page(report: Report) -> str:
    """The HTML of the whole page. Files are named from the folder that holds them all."""
    told, pictures = report.as_json(), _Pictures(report)
    names = {"train": "train", "val": "validation", "test": "test", LEFT: "left out", "": "unused"}
    every = {name: [one for one in report.looked if one.part == part] for part, name in names.items()}
    parts = {name: looked for name, looked in every.items() if looked}
    findings = [found | {"pictures": pictures.of(found["samples"], _EACH)} for found in told["findings"]]
    card = report.dataset.card
    keys = [(name, "#" + bytes(colour).hex()) for name, colour in class_colours(card.class_names)]
    if any(IGNORE in one.stats.classes for one in report.looked):
        keys.append(("ignored", "#" + bytes(IGNORED).hex()))
    return render(
        "audit.html.j2",
        title=f"Audit: {report.dataset.card.title}",
        counts={"image": told["samples"], "error": len(report.errors), "warning": len(report.warnings)},
        pairs=[pictures.pair(one) for one in _spread(report.looked, _PAIRS)],
        numbered=bool(card.labelling.objects),
        keys=keys,
        errors=[found for found in findings if found["severity"] == "error"],
        warnings=[found for found in findings if found["severity"] == "warning"],
        parts=_parts(parts),
        offset=report.offset,
        corrected=tuple(report.store.offset),
        classes=_classes(parts, report.dataset.card),
        levels=_levels(parts),
        examples=_examples(parts, pictures),
    )


class _Pictures:
    """Hands out pictures until the page has enough of them."""

    def __init__(self, report: Report) -> None:
        self.store = report.store
        self.looked = {one.sample.id: one for one in report.looked}
        self.left = _PICTURES

    def of(self, ids: Sequence[str], most: int) -> list[dict[str, str]]:
        """Samples, the first ones of those that could be read: id, part and the picture in base64."""
        shown = [self.looked[id_] for id_ in ids if id_ in self.looked][: min(most, self.left)]
        self.left -= len(shown)
        return [{"id": one.sample.id, "part": _part(one), "jpeg": self._picture(one)} for one in shown]

    def _picture(self, one: Looked) -> str:
        """A small JPEG with the mask's outline, in base64; drawn once for an image and its mask."""
        key = f"picture {_VERSION} {one.stats.image} {one.stats.mask}"
        return str(self.store.facts.recall(key, lambda: _text(small_picture(one.sample, self.store))))

    def pair(self, one: Looked) -> dict[str, str]:
        """A larger picture of an image and its mask, drawn over each other, with what it shows."""

        def make() -> list[str]:
            found = pair_picture(one.sample, self.store)
            return [_text(found.jpeg), found.shown]

        card = self.store.card
        key = f"pair {_VERSION} {one.stats.image} {one.stats.mask} {len(card.class_names)} {meaning(card)}"
        jpeg, shown = self.store.facts.recall(key, make)
        return {"id": one.sample.id, "part": _part(one), "shown": shown, "jpeg": jpeg}


def _part(one: Looked) -> str:
    """The part of a sample, and what became of its mask where a network drew it."""
    words = {"corrected": "corrected by hand", "accepted": "prediction, accepted", "predicted": "prediction"}
    return ", ".join(filter(None, (one.part, words[one.sample.origin.state] if one.sample.origin else "")))


def _text(jpeg: bytes) -> str:
    return base64.b64encode(jpeg).decode()


def _spread(looked: Sequence[Looked], count: int) -> list[Looked]:
    """So many of them, evenly spread, of those whose mask says anything if there are enough."""
    telling = [one for one in looked if len(one.stats.classes.keys() - {IGNORE}) > 1]
    some = telling if len(telling) >= min(count, len(looked)) else looked
    return [
        some[place] for place in np.unique(np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int))
    ]


def _parts(parts: _Parts) -> Table:
    rows = []
    for name, looked in parts.items():
        sizes = sorted({one.stats.image_size for one in looked})
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:4]) + (", ..." if len(sizes) > 4 else "")
        types = ", ".join(sorted({one.stats.dtype for one in looked}))
        groups = len({one.sample.group for one in looked})
        rows.append([*map(Cell, (name, str(len(looked)), str(groups))), Cell(shown, left=True), Cell(types, left=True)])
    head = [*map(Cell, ("part", "images", "groups")), Cell("pixels", left=True), Cell("type", left=True)]
    return Table("parts-table", "Images that could be read", "Their sizes are width x height.", head, rows)


def _classes(parts: _Parts, card: DatasetCard) -> Table:
    rows = []
    for id_, name in [*enumerate(card.class_names), (IGNORE, "ignored")]:
        values = ", ".join(str(value) for value, class_ in card.mask_values.items() if class_ == id_)
        if id_ == IGNORE and not values:
            continue
        row = [Cell(name), Cell(values)]
        for looked in parts.values():
            pixels = [one.stats.classes.get(id_, 0) for one in looked]
            share = sum(pixels) / sum(sum(one.stats.classes.values()) for one in looked)
            row.append(Cell(f"{share:.1%}, in {sum(n > 0 for n in pixels)} of {len(looked)}"))
        rows.append(row)
    head = [Cell(text) for text in ("class", "values in masks", *parts)]
    explanation = "Behind it stands in how many of the masks the class is found."
    return Table("classes-table", "Share of pixels of each class", explanation, head, rows)


def _levels(parts: _Parts) -> list[dict[str, Any]]:
    """A histogram for each part, all from the same least to the same greatest level; its bars are at most 1."""
    stats = {name: [one.stats for one in looked] for name, looked in parts.items()}
    low = min((one.low for ours in stats.values() for one in ours), default=0.0)
    high = max((one.high for ours in stats.values() for one in ours), default=0.0)
    edges = np.linspace(low, max(high, low + 1e-6), _STEPS + 1)
    plots = []
    for name, ours in stats.items():
        share = np.zeros(_STEPS)
        for one in ours:
            counts = np.concatenate([[0], np.cumsum(one.histogram)])
            own = np.linspace(one.low, max(one.high, one.low + 1e-6), len(counts))
            share += np.diff(np.interp(edges, own, counts / counts[-1])) / len(ours)
        bars = (share / max(share.max(), 1e-9)).tolist()
        plots.append({"part": name, "bars": bars, "low": f"{low:.6g}", "high": f"{high:.6g}"})
    return plots


def _examples(parts: _Parts, pictures: _Pictures) -> list[tuple[str, list[dict[str, str]]]]:
    grids = []
    for name, looked in parts.items():
        chosen = np.unique(np.linspace(0, len(looked) - 1, _EXAMPLES).round().astype(int)).tolist()
        if shown := pictures.of([looked[place].sample.id for place in chosen], _EXAMPLES):
            grids.append((name, shown))
    return grids
