"""The audit as one HTML page: counts, classes, levels, findings, and pictures with their masks' outlines."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from lamella.data.audit.findings import Finding, Looked
from lamella.data.audit.report import Report
from lamella.data.cache.arrays import Store
from lamella.data.io.read import Bytes
from lamella.data.types import IGNORE
from lamella.errors import StorageError

_PICTURES = 60  # at most, so that the page stays small
_EACH = 6  # of one finding
_EXAMPLES = 4  # of each part
_SIDE = 256  # pixels of a picture's longer side
_STEPS = 64  # of a histogram
_VERSION = 1  # counts up when pictures are drawn otherwise
_ORANGE = np.array([255, 120, 0], np.float32)
_TINT = 0.22  # of foreground; its outline is drawn in full

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --error: #d33; --warning: #d90; --bar: #47a; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td, th { overflow-wrap: normal; }
.counts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; padding: 0; }
.counts b { font-size: 1.6rem; display: block; }
.finding { border-left: .3rem solid; padding: .1rem 0 .1rem .9rem; margin: 1.2rem 0; }
.error { border-color: var(--error); } .warning { border-color: var(--warning); }
.kind { font-weight: 600; } .finding p { margin: .2rem 0; } .remedy { opacity: .75; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .7rem; }
figure { margin: .5rem 0 0; } figcaption { font-size: .8rem; }
img { width: 100%; border-radius: .2rem; display: block; }
svg { width: 100%; height: 4rem; fill: var(--bar); border-bottom: 1px solid var(--line); display: block; }
.scale { display: flex; justify-content: space-between; font-size: .8rem; opacity: .75; }
"""


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
    """The whole page. Files are named from the folder that holds them all."""
    title = f"Audit: {report.dataset.card.title}"
    pictures = _Pictures(report)
    parts = [
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        _counts(report),
        _findings("Errors", report.errors, report, pictures),
        _findings("Warnings", report.warnings, report, pictures),
        _parts(report),
        _classes(report),
        _levels(report),
        _examples(report, pictures),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


class _Pictures:
    """Hands out figures until the page has enough of them."""

    def __init__(self, report: Report) -> None:
        self.store = report.store
        self.looked = {one.sample.id: one for one in report.looked}
        self.left = _PICTURES

    def figures(self, ids: Sequence[str], most: int) -> str:
        """A grid of samples, the first ones of those that could be read."""
        shown = [self.looked[id_] for id_ in ids if id_ in self.looked][: min(most, self.left)]
        self.left -= len(shown)
        figures = [
            f'<figure><img loading=lazy alt="{escape(f"{one.sample.id}, its mask outlined")}" '
            f'src="data:image/jpeg;base64,{_picture(one, self.store)}">'
            f"<figcaption>{escape(one.sample.id)}{f' · {one.part}' if one.part else ''}</figcaption></figure>"
            for one in shown
        ]
        return f"<div class=pictures>{''.join(figures)}</div>" if figures else ""


def _counts(report: Report) -> str:
    counts = {"image": len(report.dataset.samples), "error": len(report.errors), "warning": len(report.warnings)}
    spans = [f"<span><b>{n}</b>{name}{'' if n == 1 else 's'}</span>" for name, n in counts.items()]
    return f"<p class=counts>{''.join(spans)}</p>"


def _findings(title: str, findings: Sequence[Finding], report: Report, pictures: _Pictures) -> str:
    if not findings:
        return ""
    blocks = [
        f"<div class='finding {f.severity}'><p><span class=kind>{escape(f.kind)}</span>: "
        f"{_prose(report.brief(f.message))}</p><p class=remedy>{_prose(report.brief(f.remedy))}</p>"
        f"{pictures.figures(f.samples, _EACH)}</div>"
        for f in findings
    ]
    return f"<h2>{title}</h2>{''.join(blocks)}"


def _prose(text: str) -> str:
    """What stands between backticks is code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))


def _by_part(report: Report) -> dict[str, list[Looked]]:
    names = {"train": "train", "val": "validation", "test": "test", "": "unused"}
    found = {name: [one for one in report.looked if one.part == part] for part, name in names.items()}
    return {name: looked for name, looked in found.items() if looked}


def _parts(report: Report) -> str:
    rows = []
    for name, looked in _by_part(report).items():
        sizes = sorted({one.stats.image_size for one in looked})
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:4]) + (", ..." if len(sizes) > 4 else "")
        types = ", ".join(sorted({one.stats.dtype for one in looked}))
        groups = len({one.sample.group for one in looked})
        rows.append([name, str(len(looked)), str(groups), shown, types])
    offset = report.offset
    told = (
        f"<p>Labels lie {offset.down:+.2f} px down and {offset.right:+.2f} px right of what they outline "
        f"(standard errors {offset.down_error:.2f} and {offset.right_error:.2f}), beyond the offset that is corrected, "
        f"{tuple(report.store.offset)}.</p>"
        if offset
        else ""
    )
    return "<h2>Parts</h2>" + _table(["part", "images", "groups", "pixels", "type"], rows) + told


def _classes(report: Report) -> str:
    card = report.dataset.card
    by_part = _by_part(report)
    values = {
        id_: ", ".join(str(value) for value, class_ in card.mask_values.items() if class_ == id_)
        for id_ in (*range(len(card.class_names)), IGNORE)
    }
    rows = []
    for id_, name in [*enumerate(card.class_names), (IGNORE, "ignored")]:
        if id_ == IGNORE and not values[IGNORE]:
            continue
        row = [name, values[id_]]
        for looked in by_part.values():
            pixels = [one.stats.classes.get(id_, 0) for one in looked]
            share = sum(pixels) / sum(sum(one.stats.classes.values()) for one in looked)
            row.append(f"{share:.1%}, in {sum(n > 0 for n in pixels)} of {len(looked)}")
        rows.append(row)
    heading = ["class", "values in masks", *by_part]
    return "<h2>Classes</h2><p>Share of pixels, and how many masks hold any.</p>" + _table(heading, rows)


def _levels(report: Report) -> str:
    looked = report.looked
    if not looked:
        return ""
    low, high = min(one.stats.low for one in looked), max(one.stats.high for one in looked)
    edges = np.linspace(low, max(high, low + 1e-6), _STEPS + 1)
    plots = []
    for name, ours in _by_part(report).items():
        share = np.zeros(_STEPS)
        for one in ours:
            counts = np.concatenate([[0], np.cumsum(one.stats.histogram)])
            own = np.linspace(one.stats.low, max(one.stats.high, one.stats.low + 1e-6), len(counts))
            share += np.diff(np.interp(edges, own, counts / counts[-1])) / len(ours)
        bars = "".join(
            f"<rect x={step} y={20 - 20 * value:.2f} width=.9 height={20 * value:.2f} />"
            for step, value in enumerate(share / max(share.max(), 1e-9))
        )
        plots.append(
            f'<p>{name}</p><svg viewBox="0 0 {_STEPS} 20" preserveAspectRatio=none role=img '
            f'aria-label="Histogram of levels, {name}">{bars}</svg>'
            f"<div class=scale><span>{low:.6g}</span><span>{high:.6g}</span></div>"
        )
    return f"<h2>Levels of the images</h2>{''.join(plots)}"


def _examples(report: Report, pictures: _Pictures) -> str:
    grids = []
    for name, looked in _by_part(report).items():
        chosen = np.unique(np.linspace(0, len(looked) - 1, _EXAMPLES).round().astype(int)).tolist()
        figures = pictures.figures([looked[place].sample.id for place in chosen], _EXAMPLES)
        grids.append(f"<p>{name}</p>{figures}" if figures else "")
    return f"<h2>Examples</h2>{''.join(grids)}" if any(grids) else ""


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _picture(one: Looked, store: Store) -> str:
    """A small JPEG with the mask's outline, in base64; drawn once for an image and its mask."""
    key = f"picture {_VERSION} {_SIDE} {one.stats.image} {one.stats.mask}"
    return str(store.facts.recall(key, lambda: base64.b64encode(_draw(one, store)).decode()))


def _draw(one: Looked, store: Store) -> bytes:
    image = np.asarray(store.image(one.sample))
    height, width = image.shape[1:]
    shrink = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    planes = image if len(image) == 3 else [image.mean(axis=0, dtype=np.float32)] * 3
    low, high = (0, 255) if image.dtype == np.uint8 else np.percentile(image[:, ::4, ::4], [0.5, 99.5])
    levels = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BOX)) for plane in planes
    ]
    seen = np.clip((np.stack(levels, axis=-1) - low) * (255 / max(high - low, 1e-6)), 0, 255)
    truth = np.asarray(Image.fromarray(np.asarray(store.truth(one.sample))).resize(size, Image.Resampling.NEAREST))
    weight = np.where(_edges(truth), 1, np.where((truth > 0) & (truth != IGNORE), _TINT, 0))[..., None]
    file = io.BytesIO()
    Image.fromarray((seen + weight * (_ORANGE - seen)).astype(np.uint8)).save(file, "JPEG", quality=72)
    return file.getvalue()


def _edges(ids: Bytes) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another class."""
    edges = np.zeros(ids.shape, np.bool_)
    edges[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edges[:-1] |= ids[:-1] != ids[1:]
    return edges
