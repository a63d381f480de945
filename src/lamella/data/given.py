"""Masks that were made elsewhere for images of a data set: found, understood as one, and read as predictions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from skimage.measure import label

from lamella.data.datasets.meaning.classes import Ignore, declared
from lamella.data.datasets.meaning.words import said
from lamella.data.datasets.pairing import composed, named
from lamella.data.download.unpack import is_litter
from lamella.data.io.labels import Labels, parted
from lamella.data.io.masks import Objects, mask_values, read_mask, read_numbered
from lamella.data.io.read import SUFFIXES, header, pages, suffix
from lamella.data.types import IGNORE, DatasetCard, ImageRef, MaskValue, Sample
from lamella.errors import ConfigError, DataError

_PIECES = 1.5  # connected regions an id at most, on average: what has more are grey levels, or classes
_TOLD = 3  # names in a message


class Given(NamedTuple):
    """Masks made elsewhere, one for each of some images, and what their values mean.

    Attributes:
        masks: the id of an image -> its mask.
        values: value -> class id; those of `numbered` masks say nothing of single objects.
        numbered: each value but 0 is one object.
        border: what parts objects that touch in the class masks of numbered ones; see `parted`.
        meaning: what was understood, in words.
        beside: how many other files there are.
    """

    masks: dict[str, ImageRef]
    values: dict[MaskValue, int]
    numbered: bool
    border: str
    meaning: str
    beside: int

    def read(self, id_: str) -> Labels:
        """The mask of an image: class ids (H, W), and ids of its objects where they are numbered. Raises DataError."""
        ref = self.masks[id_]
        if not self.numbered:
            return Labels(read_mask(ref, self.values), None)
        objects, _ = read_numbered(ref, {})
        return Labels(parted(Labels((objects > 0).astype(np.uint8), objects), self.border), objects)


def given(
    samples: Sequence[Sample],
    card: DatasetCard,
    place: Path,
    *,
    suffix: str = "",
    classes: Mapping[Any, Any] | None = None,
    numbered: bool | None = None,
) -> Given:
    """The masks that `place` has for the samples, each of the size of its image, and what they mean.

    Args:
        samples: the images that need a mask each.
        card: of their data set; the masks are of the same classes, under whatever values.
        place: a folder of masks, named as their images or their ids; or one stack, with as many pages as that of
            the images.
        suffix: what the stems of masks end in, and their images' lack.
        classes: {name: value or values} of the masks; None: as is plain.
        numbered: whether each value is one object; None: as is plain.

    Raises:
        DataError: an image without a mask, a mask of another size, values that may mean several things, or none of
            the data set's classes.
        ConfigError: keys that contradict each other, or classes that the data set does not have.
    """
    masks, beside = _found(samples, place, suffix)
    for sample in samples:
        _require_size(sample, masks[sample.id])
    values, objects, meaning = _understood(masks, card, classes, numbered)
    # The truth of a network that tells no objects apart has no border between them, nor may a mask have one then.
    border = "background" if card.labelling.objects and card.labelling.border == "background" else "none"
    return Given(masks, values, objects, border, meaning, beside)


def _found(samples: Sequence[Sample], place: Path, end: str) -> tuple[dict[str, ImageRef], int]:
    """The mask of each sample, by its id, and how many more files there are."""
    if not place.exists():
        raise DataError(f"{place} is missing", "`masks=` names the folder, or the stack, that holds your masks.")
    if place.is_file():
        return _of_stack(samples, place), 0
    files = dict(_files(place))
    masks: dict[str, ImageRef] = {}
    owner: dict[ImageRef, str] = {}
    missing = []
    for sample in samples:
        names = [name for name in _names(sample, end) if name in files]
        if not names:
            missing.append(sample)
            continue
        if len(files[names[0]]) > 1:
            first, second = files[names[0]][:2]
            raise DataError(f"{first} and {second.name} both are the mask of {sample.id}", "Remove one of them.")
        ref = ImageRef(files[names[0]][0])
        if ref.path.samefile(sample.image.path):
            raise DataError(
                f"{ref.path} is the image itself, not a mask of it",
                "Say what the names of masks end in, such as `masks_suffix=_cp_masks`, or name their folder.",
            )
        if sample.image.page is not None and pages(ref.path, None) > 1:
            ref = ImageRef(ref.path, sample.image.page)
        if (other := owner.setdefault(ref, sample.id)) != sample.id:
            raise DataError(f"{ref} would be the mask of {other} and of {sample.id}", "Name masks as the images' ids.")
        masks[sample.id] = ref
    if missing:
        raise _missing(missing, samples, place, end, files)
    return masks, sum(map(len, files.values())) - len({ref.path for ref in masks.values()})


def _of_stack(samples: Sequence[Sample], place: Path) -> dict[str, ImageRef]:
    """The pages of a stack that go with the pages of another."""
    count, stacks = pages(place, None), {sample.image.path for sample in samples}
    if count == 1 and len(samples) == 1:
        return {samples[0].id: ImageRef(place)}
    (stack,) = stacks if len(stacks) == 1 else (None,)
    pages_there = 0 if stack is None else pages(stack, samples[0].image.axes)
    if pages_there != count:
        of = f"the images are {len(stacks)} files" if stack is None else f"{stack} has {pages_there}"
        raise DataError(f"{place} has {count} page(s), {of}", "Give a mask for each page of the stack, or a folder.")
    return {sample.id: ImageRef(place, sample.image.page) for sample in samples}


def _files(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Pictures in a folder and its sub-folders by their place in it, without the ends of their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and suffix(path) in SUFFIXES and not is_litter(path.name):
            name = path.relative_to(folder).as_posix()
            found.setdefault(composed(name[: len(name) - len(suffix(path))]), []).append(path)
    yield from found.items()


def _names(sample: Sample, end: str) -> list[str]:
    """What the mask of an image may be called, without the end of the name: as its id, or as its image."""
    called = (sample.id, Path(sample.id).name, named(sample.image.path).stem)
    return [composed(f"{name}{end}") for name in dict.fromkeys(called)]


def _missing(
    missing: Sequence[Sample],
    samples: Sequence[Sample],
    place: Path,
    end: str,
    files: Mapping[str, Sequence[Path]],
) -> DataError:
    """Says which images have no mask, and what the names of masks seem to end in."""
    more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
    called = ", ".join(sample.id for sample in missing[:_TOLD]) + more
    stems = [Path(name).name for name in files]
    begun = [named(sample.image.path).stem for sample in samples]
    ends = Counter(
        rest for start in begun for rest in {stem.removeprefix(start) for stem in stems if stem.startswith(start)}
    )
    remedy = "Every test image needs one, named as its image; none is left out."
    if not files:
        remedy = f"No picture lies there. {remedy}"
    elif ends and (best := ends.most_common(1)[0])[0] != end and best[1] > len(samples) - len(missing):
        remedy = f"Did you mean `masks_suffix={best[0]}`? It finds {best[1]} of {len(samples)}."
    return DataError(
        f"{len(missing)} of {len(samples)} test images have no mask in {place}"
        + (f" that ends in {end}" if end else "")
        + f": {called}",
        remedy,
    )


def _require_size(sample: Sample, mask: ImageRef) -> None:
    wanted, found = header(sample.image)[:2], header(mask)[:2]
    if wanted != found:
        sizes = [f"{width}x{height}" for height, width in (found, wanted)]
        raise DataError(
            f"{mask} is {sizes[0]}, its image {sample.image} {sizes[1]}",
            "Scores are of masks at the size of the images: export them so; nothing is resized.",
        )


def _understood(
    masks: Mapping[str, ImageRef], card: DatasetCard, classes: Mapping[Any, Any] | None, numbered: bool | None
) -> tuple[dict[MaskValue, int], bool, str]:
    """The class id of each value, whether values number objects, and both in words."""
    if numbered and classes is not None:
        raise ConfigError("instances and classes are both set", "Values are either objects or classes.")
    if numbered and len(card.class_names) > 2:
        raise ConfigError(
            f"instances=true says which object a pixel is of, but {card.name} has {len(card.class_names)} classes",
            "Give masks of classes.",
        )
    held = {id_: mask_values(ref) for id_, ref in masks.items()}
    found = {value for values in held.values() for value in values}
    if classes is not None:
        values = _as_said(classes, card)
    elif numbered:
        _require_background(held, masks)
        return {}, True, _objects(held)
    else:
        plain = _plain(found, card)
        if plain is None and numbered is None and _may_number(found, card):
            _require_background(held, masks)
            _require_regions(masks)
            return {}, True, _objects(held)
        if plain is None:
            raise _unclear(found, card, masks)
        values = plain
    if stray := sorted(found - {*values}, key=str):
        holder = next(id_ for id_, there in held.items() if stray[0] in there)
        raise DataError(
            f"mask {masks[holder]} holds {said(stray[0])}, which is no class", "Name every value in `classes=`."
        )
    each = [f"{said(value)} {card.class_names[id_]}" for value, id_ in values.items() if value in found]
    return values, False, ", ".join(each)


def _as_said(classes: Mapping[Any, Any], card: DatasetCard) -> dict[MaskValue, int]:
    """The class ids of the values that a user gives to classes by their names."""
    meant = declared(classes, Ignore())
    if {*meant.names} != {*card.class_names}:
        raise ConfigError(
            f"classes= names {', '.join(meant.names)}; {card.name} has {', '.join(card.class_names)}",
            f"Give each its value: 'classes={{{_template(card)}}}'.",
        )
    return {value: card.class_names.index(meant.names[id_]) for value, id_ in meant.values.items()}


def _plain(found: set[MaskValue], card: DatasetCard) -> dict[MaskValue, int] | None:
    """What values mean that can mean nothing else: those of the data set's own masks, 0 and 1 or 255, or class ids."""
    own = {value: id_ for value, id_ in card.mask_values.items() if id_ != IGNORE}
    count = len(card.class_names)
    usual: list[dict[MaskValue, int]] = [{0: 0, 1: 1}, {0: 0, 255: 1}] if count == 2 else [{n: n for n in range(count)}]
    meant = [values for values in (own, *usual) if found <= {*values}]
    if not meant or any(each[value] != meant[0][value] for each in meant for value in found):
        return None
    return meant[0]


def _may_number(found: set[MaskValue], card: DatasetCard) -> bool:
    """Whether values are such as number objects: of one kind, from 0, more than a class needs."""
    return len(card.class_names) == 2 and len(found) > 2 and all(isinstance(v, int) and v >= 0 for v in found)


def _require_background(held: Mapping[str, Mapping[MaskValue, int]], masks: Mapping[str, ImageRef]) -> None:
    """Raises DataError where another value than 0 fills masks as a background does."""
    everything = sum(sum(values.values()) for values in held.values())
    for value in set.intersection(*({*values} for values in held.values())) - {0, (0, 0, 0)}:
        share = sum(values[value] for values in held.values()) / everything
        if len(held) > 1 and share >= 0.5:
            raise DataError(
                f"{said(value)} fills {share:.0%} of the {len(masks)} masks, and is in every one: it looks like "
                "background, which is 0 where objects are numbered",
                "Save the masks with 0 as background. If each of them shows one large object: `classes=`.",
            )


def _require_regions(masks: Mapping[str, ImageRef]) -> None:
    """Raises DataError where values do not outline regions as objects do."""
    ids, pieces = 0, 0
    for ref in masks.values():
        objects: Objects = read_numbered(ref, {})[0]
        ids += int(objects.max(initial=0))
        pieces += int(label(objects, connectivity=2).max(initial=0))
    if pieces > _PIECES * ids:
        raise DataError(
            f"the masks hold {ids} values in {pieces} separate regions: are these objects, classes or grey levels?",
            "Where each value is one object, say so: `instances=true`. Probabilities have to be thresholded first.",
        )


def _objects(held: Mapping[str, Mapping[MaskValue, int]]) -> str:
    count = sum(len({*values} - {0, (0, 0, 0)}) for values in held.values())
    return f"each value is one object: {count} in {len(held)} image{'s' if len(held) > 1 else ''}"


def _unclear(found: set[MaskValue], card: DatasetCard, masks: Mapping[str, ImageRef]) -> DataError:
    shown = ", ".join(said(value) for value in sorted(found, key=str)[:10]) + (", ..." if len(found) > 10 else "")
    numbers = " Where each value is one object: `instances=true`." if len(card.class_names) == 2 else ""
    return DataError(
        f"the {len(masks)} masks hold the values {shown}, which may mean several things",
        f"Say what they mean: 'classes={{{_template(card)}}}'.{numbers}",
    )


def _template(card: DatasetCard) -> str:
    return ", ".join(f"{name}: ..." for name in card.class_names)
