"""A data set of the user's own images and masks: two folders, or one; two stacks; or a CSV of pairs."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from lamella.config.key import Key
from lamella.data.annotations import is_annotation, require_pages
from lamella.data.cache.facts import Facts
from lamella.data.datasets.corrected import marked
from lamella.data.datasets.meaning.held import threads
from lamella.data.datasets.meaning.labelling import Border, Said, in_layers, layered, read_as
from lamella.data.datasets.pairing import Affixes, Found, Pair, composed, counted, from_csv, from_places
from lamella.data.datasets.sections import in_stacks
from lamella.data.io.decode import spacing_nm as told_spacing
from lamella.data.io.decode import suffix
from lamella.data.io.read import header, pages
from lamella.data.types import Dataset, DatasetCard, ImageRef, Labelling, Sample
from lamella.errors import ConfigError, DataError

Regions = Literal["neurites", "cells", ""]

_VERSION = 1  # counts up when `pages` means something else, so that remembered answers are not believed
_SINGLE = (".png", ".jpg", ".jpeg", ".bmp")


def folder(
    *,
    name: Annotated[str, Key("short name; also the default MLflow experiment")],
    images: Annotated[str | None, Key("folder of images, or one stack", path=True)],
    masks: Annotated[str | None, Key("folder of masks, or one stack; null: they lie among the images", path=True)],
    pairs: Annotated[str | None, Key("instead of the two: a CSV with the columns image and mask", path=True)],
    image_prefix: Annotated[str, Key("what the names of images begin with: image where image1.png has mask1.png")],
    image_suffix: Annotated[str, Key("what they end in, without or with the file type: _img, .bmp")],
    mask_prefix: Annotated[str, Key("what the names of masks begin with")],
    mask_suffix: Annotated[str, Key("what they end in: _mask where a.tif has a_mask.png; .png where a.bmp has a.png")],
    axes: Annotated[str | None, Key("axes of TIFF images that do not say themselves, such as ZYX or YXC")],
    mask_axes: Annotated[str | None, Key("axes of TIFF masks that do not say themselves")],
    serial: Annotated[
        bool | None,
        Key("pages of a stack, and numbered files, are neighbours: sections, frames; null: such files where alike"),
    ],
    group: Annotated[str | None, Key("regular expression, applied to an image's stem; its (part) is the group")],
    classes: Annotated[dict[Any, Any] | None, Key("{name: mask value or colour, ...}; null: found in the masks")],
    ignore: Annotated[Any, Key("mask value, colour, or a list of them, that counts in neither loss nor score")],
    instances: Annotated[bool, Key("masks number their objects: each value is one object")],
    border: Annotated[
        Border,
        Key("what parts touching objects in what is learnt", choices=("background", "ignore", "none")),
    ],
    mask_threshold: Annotated[int | None, Key("grey levels of masks above it are foreground")],
    mask_layers: Annotated[bool, Key("pages or channels of a mask are a layer a class (one-hot)")],
    objects: Annotated[
        Literal["cells", "neurites", "none"] | None,
        Key(
            "what connected regions stand for; null: cells where masks tell objects apart",
            choices=("cells", "neurites", "none"),
        ),
    ],
    spacing_nm: Annotated[Any, Key("size of a pixel in nanometres, one number or [height, width]; null: as files say")],
    cache: Annotated[str, Key("folder that remembers what masks hold", path=True)],
) -> Dataset:
    """A data set of the user's own images and masks: pairs, classes and groups, found or as declared.

    Images and masks pair by stem (`lamella.data.datasets.pairing`), or as the rows of a CSV say. A TIFF of several
    pages gives one sample a page, and needs a mask of as many. Sub-folders train/, val/ and test/ are published parts.

    What belongs together and must not be split (`Sample.group`): as `group` or the CSV's column says; else a stack
    whose pages are neighbours; else each image alone. Pages that are neighbours are a stack, each in its place.

    Raises:
        ConfigError: keys that contradict each other.
        DataError: no pairs, a file without its other half, stacks of different lengths, values of masks whose meaning
            is not plain, a name to which `group` does not apply.
    """
    facts = Facts(Path(cache))
    affixes = Affixes(image_prefix, image_suffix, mask_prefix, mask_suffix)
    found_pairs, passed_over, told = _found_pairs(images, masks, pairs, affixes)
    passed = [f"passed over {counted(passed_over)}"] if passed_over else []
    group_of = _grouping(group, found_pairs)
    neighbours = serial is not False
    paged = [
        s
        for pair in found_pairs
        for s in _samples(pair, axes, mask_axes, neighbours, mask_layers, group_of(pair), facts)
    ]
    samples, notes = in_stacks(marked(paged, facts), serial, facts)
    first: dict[str, Sample] = {}
    for sample in samples:
        if (other := first.setdefault(sample.id, sample)) is not sample:
            raise DataError(
                f"{sample.image} and {other.image} both give the image {sample.id}",
                "Each image belongs to the data once, under a name of its own: rename or remove one.",
            )
    said = Said(classes, ignore, instances, border, mask_threshold, mask_layers)
    meaning, labelling = read_as([s.mask for s in samples], said, facts)
    spacing, measured = _spacing(spacing_nm, samples, facts)
    where = Path(pairs or images or "").absolute()
    card = DatasetCard(
        name=name,
        title=f"{'/'.join(where.parts[-2:])}: {', '.join(meaning.names[1:])} against {meaning.names[0]}",
        class_names=meaning.names,
        mask_values=meaning.values,
        channels=_channels(samples),
        source=f"the user's own images, {where}",
        spacing_nm=spacing,
        objects=_regions(objects, labelling),
        labelling=labelling,
        notes=(*passed, *told, *notes, *meaning.notes, *measured),
    )
    return Dataset(card, samples)


def _found_pairs(images: str | None, masks: str | None, pairs: str | None, affixes: Affixes) -> Found:
    """The pairs of folders in their natural order (a2 before a10), those of a CSV in its own."""
    if pairs is not None:
        if images is not None or masks is not None:
            raise ConfigError(
                "dataset.pairs and dataset.images or dataset.masks are both set",
                "A CSV of pairs names the files itself: leave the folders out.",
            )
        return from_csv(Path(pairs))
    if images is None:
        raise ConfigError(
            "dataset.images has no value",
            "Name your folders: dataset.images=DIR dataset.masks=DIR; or a CSV: dataset.pairs=FILE.",
        )
    by_name = from_places(images, masks, affixes)
    return by_name._replace(pairs=sorted(by_name.pairs, key=lambda pair: _natural(pair.id)))


def _grouping(pattern: str | None, found_pairs: Sequence[Pair]) -> Callable[[Pair], str | None]:
    """What gives a pair's group; None where nothing was said."""
    if pattern is None:
        return lambda pair: pair.group
    if any(pair.group is not None for pair in found_pairs):
        raise ConfigError("dataset.group is set, and the CSV has a column group, too", "Use one of the two.")
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"dataset.group is no regular expression: {error}; got {pattern!r}", _GROUP) from None
    if expression.groups != 1:
        raise ConfigError(f"dataset.group has {expression.groups} (parts) in brackets, not 1; got {pattern!r}", _GROUP)

    def group_of(pair: Pair) -> str:
        match = expression.search(composed(pair.image.path.stem))
        if match is None or not match[1]:
            raise DataError(f"dataset.group={pattern!r} finds no group in the name of {pair.image.path}", _GROUP)
        return match[1]

    return group_of


def _samples(
    pair: Pair, axes: str | None, mask_axes: str | None, serial: bool, layers: bool, group: str | None, facts: Facts
) -> list[Sample]:
    """One sample, or one a page of a stack. What cannot be read is left to the audit, which names it all."""
    image, mask = replace(pair.image, axes=axes), replace(pair.mask, axes=mask_axes)
    drawn = is_annotation(mask.path)
    count, mask_count = _counts(image, None if drawn else mask, facts)
    if count == 0:
        image_pages, mask_pages, mask_count = [image.page], [mask.page], 1
    else:
        image_pages, mask_pages = _pages(image, count), [None] if layers else _pages(mask, mask_count)
        if drawn:  # outlines say themselves which page they are of
            mask_pages = image_pages
            if count > 1 and mask.inside is None:
                require_pages(mask.path, count)
    if len(image_pages) != len(mask_pages):
        if len(image_pages) == 1 and (problem := layered(mask)) is not None:
            raise problem
        if mask.axes is None and mask_count == _rows(image):
            raise DataError(
                f"{mask.path} seems to hold {mask_count} masks, as many as its image {image.path} has rows",
                "If its last axis is channels: `dataset.mask_axes=YXC`.",
            )
        raise DataError(
            f"{image.path} gives {len(image_pages)} image(s), {mask.path} {len(mask_pages)} mask(s)",
            "Each page needs its mask. Where one of them is a single picture with channels, declare its axes: "
            "`dataset.axes=CYX`, or `dataset.mask_axes` for masks.",
        )
    samples = []
    for page, mask_page in zip(image_pages, mask_pages, strict=True):
        id_ = pair.id if page is None else f"{pair.id}-{page:03d}"
        if layers:
            mask = in_layers(mask, mask_count)
        stack, place = (pair.id, page) if serial and page is not None else ("", None)
        refs = replace(image, page=page), replace(mask, page=mask_page)
        samples.append(Sample(id_, *refs, group or stack or id_, pair.part, stack, place))
    return samples


def _counts(image: ImageRef, mask: ImageRef | None, facts: Facts) -> tuple[int, int]:
    """How many pages an image and its mask have; (0, 0) where one cannot be read, and the other is no stack.

    Raises DataError where the other is one: what is wrong with this one is what is wrong with all.
    """
    counts, wrong = [], None
    for ref in (image, mask):
        try:
            counts.append(1 if ref is None else _count(ref, facts))
        except DataError as error:
            wrong = wrong or error
            counts.append(0)
    if wrong is not None and max(counts) > 1:
        raise wrong
    return (0, 0) if wrong is not None else (counts[0], counts[1])


def _rows(image: ImageRef) -> int | None:
    """How many an image has; None where it is several, or cannot be read."""
    with suppress(DataError):
        return header(image).height
    return None


def _count(ref: ImageRef, facts: Facts) -> int:
    """How many pages a file has."""
    if ref.others or suffix(ref.path) in _SINGLE:
        return 1
    key = f"pages {_VERSION} {facts.sha256(ref.path)} {ref.axes} {ref.inside}"
    return int(facts.recall(key, lambda: pages(ref.path, ref.axes, ref.inside)))


def _pages(ref: ImageRef, count: int) -> list[int | None]:
    """The pages of a file that are used, [None] where it is no stack."""
    if ref.page is not None and ref.page >= count:
        raise DataError(f"{ref.path} has no page {ref.page}, but {count} page(s)", "Pages are counted from 0.")
    if count == 1:
        return [None]
    return list(range(count)) if ref.page is None else [ref.page]


def _spacing(said: Any, samples: Sequence[Sample], facts: Facts) -> tuple[tuple[float, float] | None, list[str]]:
    """Height and width of a pixel in nanometres, as they are typed, or as all files say alike, which is noted."""
    if said is None:
        return _told(samples, facts)
    both = list(said) if isinstance(said, list | tuple) else [said, said]
    if len(both) != 2 or not all(_is_length(n) for n in both):
        raise ConfigError(
            f"dataset.spacing_nm must be one number above 0, or two; got {said!r}",
            "Such as dataset.spacing_nm=325, or, height first, dataset.spacing_nm=[4,8].",
        )
    return (float(both[0]), float(both[1])), []


def _is_length(said: Any) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool) and 0 < said < math.inf


def _told(samples: Sequence[Sample], facts: Facts) -> tuple[tuple[float, float] | None, list[str]]:
    """The size of a pixel that files tell, where all tell the same."""

    def look(path: Path) -> tuple[float, ...] | None:
        ref = next(sample.image for sample in samples if sample.image.path == path)
        with suppress(DataError):
            key = f"spacing {_VERSION} {facts.sha256(path)} {ref.axes} {ref.inside}"
            told = facts.recall(key, lambda: told_spacing(ref))
            return None if told is None else tuple(float(f"{side:.4g}") for side in told)
        return None

    paths = {sample.image.path: None for sample in samples if suffix(sample.image.path) not in _SINGLE}
    told = Counter(threads(look, list(paths)))
    sizes = [size for size in told if size is not None]
    if not sizes:
        return None, []
    shown = [f"{size[0]:g} x {size[1]:g} nm" for size in sizes]
    if len(sizes) > 1 or told[None] or len(paths) < len({sample.image.path for sample in samples}):
        some = " or ".join(shown[:2]) + (", ..." if len(shown) > 2 else "")
        return None, [f"a pixel is {some} in some files, not in all: no nanometres; `dataset.spacing_nm` says it"]
    return (sizes[0][0], sizes[0][1]), [f"a pixel is {shown[0]} (height x width), as the files say"]


def _regions(said: Literal["cells", "neurites", "none"] | None, labelling: Labelling) -> Regions:
    """What connected regions stand for."""
    if said == "none":
        return ""
    return said or ("cells" if labelling.objects else "")


def _channels(samples: Sequence[Sample]) -> int:
    """Of the first image that can be read."""
    for sample in samples:
        with suppress(DataError):
            return header(sample.image).channels
    return header(samples[0].image).channels  # raises what is wrong with it


def _natural(text: str) -> tuple[list[str | int], str]:
    """A key that sorts numbers in names by their size. Text and numbers take turns, so that like meets like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)], text


_GROUP = """Such as "dataset.group='^([^_]+)_'", which takes what stands before the first _ in the name of an image."""
