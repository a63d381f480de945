"""What a data set was taken for, in a few lines, so that a misreading is seen before anything trains."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from lamella.data.audit.report import Looked, Report
from lamella.data.io.decode import metadata
from lamella.data.io.read import header
from lamella.data.types import IGNORE, PARTS, Sample
from lamella.errors import DataError
from lamella.splits import suited

_SIZES = 3  # are listed; of more the smallest and the largest are
_PARTS = {"train": "train", "val": "validation", "test": "test"}


def understood(report: Report, rule: str) -> str:
    """What an audit found a data set to be: images, classes, objects and parts, a line or a few each.

    Args:
        report: the audit's.
        rule: how the parts came about; see `rule_of`.
    """
    lines = [("images", _images(report))]
    if report.looked:
        lines += [("", _pixels(report)), *_classes(report), *_objects(report)]
    lines.append(("split", _split(report, rule)))
    lines += [("found" if n == 0 else "", note) for n, note in enumerate(report.dataset.card.notes)]
    return "\n".join(f"{name:9}{text}" for name, text in lines)


def rule_of(target: str, keys: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """By what rule a data set is split, in words: by the function of that name, called with these keys."""
    name = target.rpartition(".")[2]
    if not target.startswith("lamella."):
        return f"by {target}"
    if name == "found":
        function, keys = suited(samples, val=keys["val"], test=keys["test"], seed=keys["seed"])
        name = function.__name__
    fold = f"fold {keys['fold']} of {keys['folds']}: " if name.endswith("_folds") else ""
    return fold + _rule(name.removesuffix("_folds"), keys, samples, bool(fold))


def _rule(name: str, keys: Mapping[str, Any], samples: Sequence[Sample], fold: bool) -> str:
    whole = len({sample.group for sample in samples}) < len(samples)
    drawn = f"{'whole groups' if whole else 'images'} drawn by name and seed {keys.get('seed', 0)}"
    if name == "blocks":
        gap = keys.get("gap", 0)
        return "blocks of neighbouring sections, " + (f"{gap} left out between two" if gap else "without a gap")
    if name == "published_stack":
        return "as published; for validation the end of the stack that trains"
    if name == "published":
        carved = fold or not any(sample.part == "val" for sample in samples)
        return "as published" + (f"; for validation {drawn}" if carved else "")
    if name == "file":
        return f"as {keys['path']} says"
    return f"{'' if fold else 'hashed: '}{drawn}" if name == "hashed" else f"by {name}"


def _images(report: Report) -> str:
    samples, looked = report.dataset.samples, report.looked
    files = len({sample.image.path for sample in samples})
    text = f"{len(samples):,} from {files:,} file{'s' if files > 1 else ''}"
    stacks = Counter(sample.stack for sample in samples if sample.stack)
    if stacks:
        text += f", {sum(stacks.values()):,} of them" if sum(stacks.values()) < len(samples) else ""
        text += f", neighbours in {len(stacks)} stack{'s' if len(stacks) > 1 else ''}"
    elif any(sample.image.page is not None for sample in samples):
        text += ", pages without neighbours"
    if len(looked) < len(samples):
        text += f"; {len(looked):,} could be read"
    return text


def _pixels(report: Report) -> str:
    """Sizes, channels, bits, axes, and the size of a pixel."""
    looked, card, store = report.looked, report.dataset.card, report.store
    words = [_sizes(looked), f"{card.channels} channel{'s' if card.channels > 1 else ''} of {_bits(report)}"]
    ref = looked[0].sample.image
    with suppress(DataError):  # none but TIFFs name their axes
        if ref.path.suffix.lower() in (".tif", ".tiff"):
            words.append(f"axes {metadata(ref)['axes']}")
    if card.spacing_nm is None:
        words.append("pixel size unknown")
    else:
        down, right = (f"{side:g}" for side in card.spacing_nm)
        words.append(f"{right} nm a pixel" if down == right else f"{right} x {down} nm a pixel")
    if store.scale != 1:
        words.append(f"scaled by {store.scale:g} for the network")
    return "; ".join(words)


def _sizes(looked: Sequence[Looked]) -> str:
    found = Counter(one.stats.image_size for one in looked)
    texts = {size: f"{size[1]:,} x {size[0]:,}" for size in found}
    if len(found) == 1:
        return f"{next(iter(texts.values()))} pixels"
    if len(found) <= _SIZES:
        return ", ".join(f"{number:,} of {texts[size]}" for size, number in found.most_common()) + " pixels"
    least, *_, most = sorted(found, key=lambda size: size[0] * size[1])
    return f"{texts[least]} to {texts[most]} pixels, in {len(found)} sizes"


def _bits(report: Report) -> str:
    if report.store.percentiles is None:
        types = {one.stats.dtype for one in report.looked}
    else:  # of the levels as stored, not as stretched
        types = {str(header(report.looked[0].sample.image).dtype)}
    names = {"uint8": "8 bits", "uint16": "16 bits", "float32": "32 bits, with fractions"}
    return " or ".join(names.get(dtype, dtype) for dtype in sorted(types, reverse=True))


def _classes(report: Report) -> list[tuple[str, str]]:
    """A line a class: its values in masks, its share of all pixels, and in how many images it is."""
    looked, card = report.looked, report.dataset.card
    total = sum(sum(one.stats.classes.values()) for one in looked)
    rows = []
    for id_, name in [*enumerate(card.class_names), (IGNORE, "ignored")]:
        pixels = [one.stats.classes.get(id_, 0) for one in looked]
        if id_ == IGNORE and not any(pixels):
            continue
        rows.append((name, f"{_share(sum(pixels) / total)} of the pixels, in {sum(n > 0 for n in pixels):,} images"))
    width = max(len(name) for name, _ in rows)
    return [("classes" if n == 0 else "", f"{name:{width}}  {text}") for n, (name, text) in enumerate(rows)]


def _share(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:4.1f} %"


def _objects(report: Report) -> list[tuple[str, str]]:
    """How many objects an image has, where something tells them apart."""
    counts = [one.stats.objects for one in report.looked if one.stats.objects is not None]
    if not counts:
        return []
    middle, least, most = median(counts), min(counts), max(counts)
    text = f"{middle:,g} an image" + (f" (median; {least:,} to {most:,})" if least < most else "")
    how = "as the masks tell them apart" if report.dataset.card.labelling.objects else "each connected region is one"
    return [("objects", f"{text}, {sum(counts):,} in all; {how}")]


def _split(report: Report, rule: str) -> str:
    split, samples = report.split, report.dataset.samples
    sizes = {_PARTS[part]: len(getattr(split, part)) for part in PARTS} | {"left out": len(split.left)}
    if unused := len(samples) - sum(sizes.values()):
        sizes["unused"] = unused
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size) + f" ({rule})"
