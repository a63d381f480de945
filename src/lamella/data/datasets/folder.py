"""A data set of the user's own images and masks: two folders, or one; two stacks; or a CSV of pairs."""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from lamella.config.key import Key
from lamella.data.cache.facts import Facts
from lamella.data.datasets.labelling import Border, Said, in_layers, layered, read_as
from lamella.data.datasets.pairing import Pair, composed, from_csv, from_places
from lamella.data.datasets.sections import in_stacks
from lamella.data.io.read import header, pages
from lamella.data.types import Dataset, DatasetCard, ImageRef, Labelling, Sample
from lamella.errors import ConfigError, DataError

Regions = Literal["neurites", "cells", ""]

_VERSION = 1  # counts up when `pages` means something else, so that remembered answers are not believed
_STACKS = (".tif", ".tiff")


def folder(
    *,
    name: Annotated[str, Key("short name; also the default MLflow experiment")],
    images: Annotated[str | None, Key("folder of images, or one stack")],
    masks: Annotated[str | None, Key("folder of masks, or one stack; null: they lie among the images")],
    pairs: Annotated[str | None, Key("instead of the two: a CSV with the columns image and mask")],
    image_suffix: Annotated[str, Key("what the stems of images end in, and their masks' lack")],
    mask_suffix: Annotated[str, Key("what the stems of masks end in: _mask where a.tif has a_mask.png")],
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
    cache: Annotated[str, Key("folder that remembers what masks hold")],
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
    found_pairs = _pairs(images, masks, pairs, image_suffix, mask_suffix)
    group_of = _grouping(group, found_pairs)
    neighbours = serial is not False
    paged = [
        s
        for pair in found_pairs
        for s in _samples(pair, axes, mask_axes, neighbours, mask_layers, group_of(pair), facts)
    ]
    samples, notes = in_stacks(paged, serial, facts)
    first: dict[str, Sample] = {}
    for sample in samples:
        if (other := first.setdefault(sample.id, sample)) is not sample:
            raise DataError(
                f"{sample.image} and {other.image} both give the image {sample.id}",
                "Each image belongs to the data once, under a name of its own: rename or remove one.",
            )
    said = Said(classes, ignore, instances, border, mask_threshold, mask_layers)
    meaning, labelling = read_as([s.mask for s in samples], said, facts)
    where = Path(pairs or images or "").absolute()
    card = DatasetCard(
        name=name,
        title=f"{'/'.join(where.parts[-2:])}: {', '.join(meaning.names[1:])} against {meaning.names[0]}",
        class_names=meaning.names,
        mask_values=meaning.values,
        channels=_channels(samples),
        source=f"the user's own images, {where}",
        spacing_nm=_spacing(spacing_nm),
        objects=_regions(objects, labelling),
        labelling=labelling,
        notes=(*notes, *meaning.notes),
    )
    return Dataset(card, samples)


def _pairs(images: str | None, masks: str | None, pairs: str | None, image_suffix: str, mask_suffix: str) -> list[Pair]:
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
    if masks is None and Path(images).is_file():
        raise ConfigError("dataset.masks has no value", f"Name the masks of the stack {images}: dataset.masks=FILE.")
    found_pairs = from_places(Path(images), Path(images if masks is None else masks), image_suffix, mask_suffix)
    return sorted(found_pairs, key=lambda pair: _natural(pair.id))


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
        match = expression.search(composed(pair.image.stem))
        if match is None or not match[1]:
            raise DataError(f"dataset.group={pattern!r} finds no group in the name of {pair.image}", _GROUP)
        return match[1]

    return group_of


def _samples(
    pair: Pair, axes: str | None, mask_axes: str | None, serial: bool, layers: bool, group: str | None, facts: Facts
) -> list[Sample]:
    """One sample, or one a page of a stack. What cannot be read is left to the audit, which names it all."""
    mask_count = 1
    try:
        count, mask_count = _count(pair.image, axes, facts), _count(pair.mask, mask_axes, facts)
    except DataError:
        image_pages, mask_pages = [pair.image_page], [pair.mask_page]
    else:
        image_pages = _pages(pair.image, count, pair.image_page)
        mask_pages = [None] if layers else _pages(pair.mask, mask_count, pair.mask_page)
    if len(image_pages) != len(mask_pages):
        if len(image_pages) == 1 and (problem := layered(ImageRef(pair.mask, None, mask_axes))) is not None:
            raise problem
        raise DataError(
            f"{pair.image} gives {len(image_pages)} image(s), {pair.mask} {len(mask_pages)} mask(s)",
            "Each page needs its mask. Where one of them is a single picture with channels, declare its axes: "
            "`dataset.axes=CYX`, or `dataset.mask_axes` for masks.",
        )
    samples = []
    for page, mask_page in zip(image_pages, mask_pages, strict=True):
        id_ = pair.id if page is None else f"{pair.id}-{page:03d}"
        image, mask = ImageRef(pair.image, page, axes), ImageRef(pair.mask, mask_page, mask_axes)
        mask = in_layers(mask, mask_count) if layers else mask
        stack, place = (pair.id, page) if serial and page is not None else ("", None)
        samples.append(Sample(id_, image, mask, group or stack or id_, pair.part, stack, place))
    return samples


def _count(path: Path, axes: str | None, facts: Facts) -> int:
    """How many pages a file has."""
    if path.suffix.lower() not in _STACKS:
        return 1
    return int(facts.recall(f"pages {_VERSION} {facts.sha256(path)} {axes}", lambda: pages(path, axes)))


def _pages(path: Path, count: int, wanted: int | None) -> list[int | None]:
    """The pages of a file that are used, [None] where it is no stack."""
    if wanted is not None and wanted >= count:
        raise DataError(f"{path} has no page {wanted}, but {count} page(s)", "Pages are counted from 0.")
    if count == 1:
        return [None]
    return list(range(count)) if wanted is None else [wanted]


def _spacing(said: Any) -> tuple[float, float] | None:
    """Height and width of a pixel in nanometres, as they are typed."""
    if said is None:
        return None
    both = list(said) if isinstance(said, list | tuple) else [said, said]
    if len(both) != 2 or not all(isinstance(n, int | float) and 0 < n < math.inf for n in both):
        raise ConfigError(
            f"dataset.spacing_nm must be one number above 0, or two; got {said!r}",
            "Such as dataset.spacing_nm=325, or, height first, dataset.spacing_nm=[4,8].",
        )
    return float(both[0]), float(both[1])


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
