"""The error over files that do not pair, with the keys under which most of them would."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from lamella.data.annotations import is_annotation
from lamella.data.datasets.pairing.coco import all_entries, parts_of
from lamella.data.datasets.pairing.listing import ANNOTATIONS, File, composed, listed, named
from lamella.data.datasets.pairing.names import NONE, Affixes, Match, begun, match
from lamella.data.datasets.pairing.pairs import CSV, Files, counted, some
from lamella.data.datasets.pairing.proposals import IMAGE_WORDS, MASK_WORDS, Proposal, proposal, spelt
from lamella.data.io.read import header, located, read
from lamella.data.predictions import NAME as PREDICTIONS
from lamella.data.types import ImageRef
from lamella.errors import DataError

_PIXELS = 50_000_000  # a picture with more is not looked into for a proposal
_SIBLINGS = 8  # so many folders beside are looked into


def refused(image_place: Path, mask_place: Path, affixes: Affixes, files: Files, found: Match) -> DataError:
    """The error over files that do not pair, with the keys under which most would."""
    one = files.masks is None
    predicted = _of_predictions(mask_place, files, len(found.pairs))
    hint = predicted or _proposed(image_place, mask_place, affixes, files, len(found.pairs))
    if one and affixes.of_images == affixes.of_masks:
        others = f" ({counted(files.passed_over)} passed over)" if files.passed_over else ""
        return DataError(
            f"images and masks are both in {image_place}, and nothing in their names tells them apart{others}",
            hint
            or unnamed(image_place, files.images[0].path)
            or "Name the folder of masks, `dataset.masks=FOLDER`, or what their names end in: "
            "`dataset.mask_suffix=_mask` where `a.tif` has the mask `a_mask.png`.",
        )
    sides = (("image", affixes.of_images, found.images), ("mask", affixes.of_masks, found.masks))
    for what, (prefix, suffix), left in sides:
        if one and not found.pairs and not left:
            ends = [f"begins with {prefix}"] * bool(prefix) + [f"ends in {suffix}"] * bool(suffix)
            return DataError(
                f"no {what} in {image_place}" + (f": no file's name {' and '.join(ends)}" if ends else ""),
                hint or f"Set `dataset.{what}_prefix` or `dataset.{what}_suffix` to what the names of {what}s have.",
            )
    if found.strays:
        keys = [f"dataset.{key}={value}" for key, value in asdict(affixes).items() if value]
        return DataError(
            f"the names are not as {' '.join(keys)} says: {some(found.strays)}",
            hint or f"Correct the key, or give the files such names. {CSV}",
        )
    if found.twofold:
        first, second = found.twofold[0]
        more = f" (and {len(found.twofold) - 1} more)" if len(found.twofold) > 1 else ""
        return DataError(
            f"{first.path} and {second.path.name} have the same stem, so their pair is ambiguous{more}",
            hint or f"Say which type is meant, such as {spelt('image_suffix', first.type)}; or rename one.",
        )
    if not one and not predicted and (several := _several(found)):
        hint = (
            f"Has {several[0].path.name} several masks, such as {several[1].path.name}? Then name each in a row of a "
            "CSV with the columns image, mask and class: `dataset.pairs=FILE`."
        )
    problems = []
    if found.images:
        problems.append(f"{some(found.images)} without a mask in {mask_place}")
    if found.masks:
        problems.append(f"{some(found.masks)}: a mask without an image in {image_place}")
    given = " ".join(f"{key}={value!r}" for key, value in asdict(affixes).items() if value)
    apart = f", apart from {given}" if given else ""
    return DataError(
        "; ".join(problems),
        hint or f"Image and mask must have the same name{apart} (of any type). Add what is missing. {CSV}",
    )


def unnamed(place: Path, file: Path) -> str:
    """How to name the arrays that are images and masks, where a file (in `place`, or that itself) holds several."""
    if located(f"{file}:none")[1] is None:
        return ""
    try:
        header(ImageRef(file, inside="none"))
    except DataError as error:
        return f"Name both: `dataset.images={place}:NAME dataset.masks={place}:NAME`. {error.remedy}"
    return ""


def _several(found: Match) -> tuple[File, File] | None:
    """An image with one of its masks, where most masks left over begin with the name of an image left over."""
    by_key = {image.key: image for image in found.images}
    two = [(by_key[key], mask) for mask in found.masks if (key := begun(mask.key, by_key))]
    images = {image for image, _ in two}
    return two[0] if 2 * len(images) > len(by_key) and len(two) >= 2 * len(images) else None


def _of_predictions(mask_place: Path, files: Files, paired: int) -> str:
    """The key for a folder in which `predict` left several files of each picture; "" where it is none."""
    if files.masks is None or not (mask_place / PREDICTIONS).is_file():
        return ""
    found = Proposal(NONE, match(files.images, files.masks, Affixes(mask_suffix="_labels")))
    if found.paired <= paired:
        return ""
    pairs = f"It pairs {found.paired} of {found.total}"
    return f"Did you mean `{spelt('mask_suffix', '_labels')}`? {pairs}: these hold the predicted classes."


def _proposed(image_place: Path, mask_place: Path, affixes: Affixes, files: Files, paired: int) -> str:
    """The keys, to be copied, under which most files would pair; "" where none are found."""
    tried: list[tuple[Sequence[File], Sequence[File] | None, dict[str, str]]] = []
    if files.masks is not None:
        tried.append((files.images, files.masks, {}))
    else:
        tried.append((_with_outlines(files.images), None, {}))
    if coco := _coco_beside(image_place, files.images):
        return coco
    best, keys = None, {}
    for images, masks, places in tried + list(_elsewhere(image_place, mask_place, files)):
        better_than = max(paired, best.paired if best else 0)
        found = match(images, masks, NONE) if places else None
        if found and len(found.pairs) > better_than and found.left == 0:
            best = Proposal(NONE, found)
        elif proposed := proposal(images, masks, _has_fewer_values, better_than):
            best = proposed
        else:
            continue
        keys = places
    if best is None:
        return ""
    changed = {k: v for k, v in asdict(best.affixes).items() if v != getattr(affixes, k)}
    typed = " ".join(spelt(key, value) for key, value in {**keys, **changed}.items())
    return f"Did you mean `{typed}`? It pairs {best.paired} of {best.total}."


def _with_outlines(files: Sequence[File]) -> list[File]:
    """The pictures among some files, and the annotations; of such as have a picture's name a few are looked into."""
    found = [file for file in files if file.type not in ANNOTATIONS]
    keys = {file.key for file in found}
    drawn = sorted((file for file in files if file.type in ANNOTATIONS), key=lambda file: file.key not in keys)
    if any(is_annotation(file.path) for file in drawn[:3]):
        found += [file for file in drawn if file.key in keys or is_annotation(file.path)]
    return found


def _coco_beside(image_place: Path, images: Sequence[File]) -> str:
    """The key for a COCO file in the folder above that names all images; "" where there is none."""
    beside = [named(path) for path in sorted(image_place.absolute().parent.glob("*.json"))]
    for coco, names in all_entries(beside).items():
        if {parts_of(name)[-1] for name in names} == {composed(file.path.name) for file in images}:
            return f"Did you mean `{spelt('masks', str(coco.path))}`? It names all {len(names)} images."
    return ""


def _elsewhere(
    image_place: Path, mask_place: Path, files: Files
) -> Iterator[tuple[Sequence[File], Sequence[File], dict[str, str]]]:
    """Other folders that may have been meant, with the keys that name them."""
    if files.masks is None:
        within = _by_top(f for f in files.images if f.type not in ANNOTATIONS)
        for top, masks in within.items():
            others = [file for file in files.images if file.folder.split("/")[0] != top]
            if MASK_WORDS.search(top) and others:
                yield others, masks, {"masks": str(image_place / top)}
        said = {top: bool(MASK_WORDS.search(top)) - bool(IMAGE_WORDS.search(top)) for top in within}
        two = combinations(sorted(within, key=lambda top: said[top]), 2)
        for one, other in sorted(two, key=lambda pair: said[pair[0]] - said[pair[1]]):
            places = {"images": str(image_place / one), "masks": str(image_place / other)}
            yield within[one], within[other], places
        above = image_place.parent if image_place.name not in ("", "..") else image_place.resolve().parent
        siblings = [path for path in sorted(above.iterdir()) if MASK_WORDS.search(path.name) and path.is_dir()]
        for folder in siblings[:_SIBLINGS]:
            if not folder.samefile(image_place):
                with suppress(DataError):
                    there = listed(folder)
                    yield files.images, there.pictures or there.annotations, {"masks": str(above / folder.name)}
    else:
        within = _by_top(files.masks)
        for top, masks in within.items():
            yield files.images, masks, {"masks": str(mask_place / top)}


def _by_top(files: Iterable[File]) -> dict[str, list[File]]:
    """Files by the first folder they are in, without those in none, and seen from there."""
    within: defaultdict[str, list[File]] = defaultdict(list)
    for file in files:
        top, _, rest = file.folder.partition("/")
        if top:
            within[top].append(file._replace(folder=rest))
    return dict(islice(within.items(), _SIBLINGS))


def _has_fewer_values(image: File, mask: File) -> bool:
    """Whether the second of two pictures looks more like a mask than the first; also where one cannot be read."""
    try:
        heads = [header(ImageRef(file.path)) for file in (image, mask)]
        if heads[0].height * heads[0].width > _PIXELS:
            return heads[0].channels >= heads[1].channels
        values = [len(np.unique(read(ImageRef(file.path)))) for file in (image, mask)]
    except DataError:
        return True
    return (values[0], heads[0].channels) >= (values[1], heads[1].channels)  # a mask may be grey that is spelt as RGB
