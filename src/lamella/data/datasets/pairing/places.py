"""Which image goes with which mask: two stacks, or files in folders by their names. No file is dropped silently."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lamella.data.annotations import is_annotation
from lamella.data.datasets.pairing.coco import all_entries, by_entries, entries, entry
from lamella.data.datasets.pairing.listing import (
    ANNOTATIONS,
    File,
    Listing,
    ending,
    is_file,
    joined,
    listed,
    named,
)
from lamella.data.datasets.pairing.names import NONE, Affixes, Match, begun, match
from lamella.data.datasets.pairing.pairs import Files, Found, Pair, counted, part_of, some
from lamella.data.datasets.pairing.proposals import spelt
from lamella.data.datasets.pairing.refusal import refused, unnamed
from lamella.data.io.read import located
from lamella.data.types import ImageRef
from lamella.errors import DataError

_IMAGE_FOLDERS = {"images", "image", "img", "imgs", "original", "originals", "raw", "inputs", "input"}
_MASK_FOLDERS = {
    *("masks", "mask", "msk", "labels", "label", "gt", "groundtruth", "ground_truth", "ground truth", "annotations"),
    *("annotation", "segmentation", "segmentations", "seg", "targets", "target", "rois", "roi"),
}
_FLAT = "images and masks pair by their names alone, as only the images or only the masks lie in sub-folders"
_ROLES = dict.fromkeys(_IMAGE_FOLDERS, "image") | dict.fromkeys(_MASK_FOLDERS, "mask")


def from_places(images: str, masks: str | None, affixes: Affixes = NONE) -> Found:
    """The pairs of two stacks, or of two folders (which may be one) with all their sub-folders.

    Files pair by their names (see `names.match`), in sub-folders of the same name. Sub-folders train/, val/ and test/
    are published parts. Besides, where it is plain: `images/` and `masks/` within one folder, or within each of its
    sub-folders; a folder of masks an image, one file an object; COCO's one file for all images.

    Args:
        images: a folder or a stack; of a file that holds several arrays also which: "file.h5:/volume/raw".
        masks: the same; None: they lie among the images.
        affixes: what tells their names apart.

    Raises:
        DataError: a place is missing or empty, or holds a format that is not read; an image without a mask, a mask
            without an image, two of one name. Where other affixes or folders would pair most of them, it says so.
    """
    image_place, image_inside = located(images)
    mask_place, mask_inside = located(images if masks is None else masks)
    for path, key in ((image_place, "images"), (mask_place, "masks")):
        if not path.exists():
            raise DataError(f"{path} is missing", f"Set `dataset.{key}` to your folder of {key}, or to a stack.")
    kind, mask_kind = ("file" if is_file(path) else "folder" for path in (image_place, mask_place))
    insides = image_inside, mask_inside
    if kind == mask_kind == "file":
        if masks is None or (image_place.samefile(mask_place) and image_inside == mask_inside):
            raise DataError(
                f"the masks of {images} are not named",
                unnamed(image_place, image_place) or "Name their file: `dataset.masks=FILE`.",
            )
        image, mask = (ImageRef(path, inside=i) for path, i in zip((image_place, mask_place), insides, strict=True))
        mask = replace(mask, inside=mask_inside or entry(image_place, mask_place))
        return Found([Pair(named(image_place).stem, image, mask)], Counter(), [])
    if kind == "folder" and mask_kind == "file" and (names := entries(mask_place)):
        here = listed(image_place)
        passed_over = here.passed_over + Counter(ending(f) for f in here.annotations if not mask_place.samefile(f.path))
        files = Files(here.pictures, [], {named(mask_place): names}, passed_over, [])
        return by_entries(files, image_place)
    if kind != mask_kind:
        raise DataError(
            f"{image_place} is a {kind}, {mask_place} a {mask_kind}",
            "`dataset.images` and `dataset.masks` must be two files (stacks) or two folders; or a folder of images and "
            "a COCO file that names them.",
        )
    return _from_folders(image_place, mask_place, affixes, insides)


def _from_folders(
    image_place: Path, mask_place: Path, affixes: Affixes, insides: tuple[str | None, str | None]
) -> Found:
    """The pairs of two folders, or of one."""
    files = _files(image_place, mask_place, affixes, insides)
    _check_parts(image_place, mask_place, files)
    if files.coco:
        return by_entries(files, image_place)
    found = match(files.images, files.masks, affixes)
    no_outlines = [f for f in found.masks if f.type in ANNOTATIONS and not is_annotation(f.path)]
    found = found._replace(masks=[f for f in found.masks if f not in no_outlines])
    if found.left and not found.pairs and files.masks is not None:
        several = _by_folder(files.images, files.masks, mask_place) or _by_number(files.images, files.masks)
        if several:
            return several._replace(passed_over=files.passed_over, notes=[*files.notes, *several.notes])
        if flat := _flat(files.images, files.masks, affixes):
            found = flat
            files.notes.append(_FLAT)
    if found.left or not found.pairs:
        raise refused(image_place, mask_place, affixes, files, found)
    notes = list(files.notes)
    if found.unlike:
        image, mask = next((image, mask) for key, image, mask in found.pairs if key == found.unlike[0])
        notes.append(
            f"{len(found.unlike)} of {len(found.pairs)} names differ from their masks' in capitals or in zeros before "
            f"numbers alone, and are taken as the same: {image.path.name} with {mask.path.name}"
        )
    pairs = [
        Pair(key, ImageRef(image.path, inside=insides[0]), ImageRef(mask.path, inside=insides[1]), part_of(image))
        for key, image, mask in found.pairs
    ]
    return Found(pairs, files.passed_over + found.beside + Counter(map(ending, no_outlines)), notes)


def _files(image_place: Path, mask_place: Path, affixes: Affixes, insides: tuple[str | None, str | None]) -> Files:
    """What is to be paired of two folders, or of one."""
    if not image_place.samefile(mask_place):
        here, there = listed(image_place, without=mask_place), listed(mask_place, without=image_place)
        _checksome(image_place, "image", here, here.pictures)
        _checksome(mask_place, "mask", there, there.pictures or there.annotations)
        unused = [*here.annotations, *(there.annotations if there.pictures else [])]
        passed_over = here.passed_over + there.passed_over + Counter(map(ending, unused))
        coco = {} if there.pictures else all_entries(there.annotations)
        return Files(here.pictures, there.pictures or there.annotations, coco, passed_over, [])
    here = listed(image_place)
    _checksome(image_place, "image", here, here.pictures)
    if None not in insides and insides[0] != insides[1]:
        return Files(here.pictures, here.pictures, {}, here.passed_over + Counter(map(ending, here.annotations)), [])
    if by_role := _by_role(here):
        return by_role
    if affixes == NONE and (coco := all_entries(here.annotations)):
        unused = [file for file in here.annotations if file not in coco]
        return Files(here.pictures, [], coco, here.passed_over + Counter(map(ending, unused)), [])
    return Files([*here.pictures, *here.annotations], None, {}, here.passed_over, [])


def _checksome(place: Path, what: str, listing: Listing, files: Sequence[File]) -> None:
    if files:
        return
    others = listing.passed_over + Counter(map(ending, listing.annotations))
    if not others:
        raise DataError(f"the folder {place} is empty", f"Put the {what}s there, or name another folder.")
    raise DataError(
        f"the folder {place} holds no {what}, but {counted(others)}",
        f"Name the folder of {what}s, `dataset.{what}s=FOLDER`; or save them as PNG or TIFF.",
    )


def _by_role(here: Listing) -> Files | None:
    """The files of one folder as its sub-folders' names have it, where each file lies below one such; else None."""
    spelt_as: dict[str, set[str]] = {"image": set(), "mask": set()}
    sides: dict[str, list[File]] = {"image": [], "mask": []}
    for file in [*here.pictures, *here.annotations]:
        folders = file.folder.split("/")
        roles = [(role, f) for f in folders if (role := _ROLES.get(f.casefold()))]
        if len(roles) != 1:
            if file.type in ANNOTATIONS:
                continue
            return None
        role, name = roles[0]
        spelt_as[role].add(name)
        sides[role].append(file._replace(folder=joined(*(f for f in folders if f != name))))
    if len(spelt_as["image"]) != 1 or len(spelt_as["mask"]) != 1:
        return None
    images, masks = ([f for f in side if f.type not in ANNOTATIONS] for side in sides.values())
    drawn = [f for f in sides["mask"] if f.type in ANNOTATIONS]
    if not images:
        return None
    note = "images are what lies in {}/, masks what lies in {}/".format(
        *(name for names in spelt_as.values() for name in names)
    )
    used = {f.path for f in (masks or drawn)}
    passed_over = here.passed_over + Counter(ending(f) for f in here.annotations if f.path not in used)
    return Files(images, masks or drawn, {} if masks else all_entries(drawn), passed_over, [note])


def _check_parts(image_place: Path, mask_place: Path, files: Files) -> None:
    """Raises DataError where some files lie in published parts and others do not, or masks lie in other ones."""
    parts = []
    for place, side in ((image_place, files.images), (mask_place, files.masks)):
        of_side = {part_of(file) for file in side or ()}
        if "" in of_side and len(of_side) > 1:
            beside = next(file for file in side or () if not part_of(file))
            part = next(file.folder.split("/")[0] for file in side or () if part_of(file))
            raise DataError(
                f"{beside.path} lies beside the sub-folder {part}/ of {place}",
                "Images lie either all in sub-folders train/, val/ and test/, or none does.",
            )
        parts.append(of_side)
    if files.masks and not files.coco and parts[0] != parts[1]:
        tops = [sorted({file.folder.split("/")[0] for file in side or ()}) for side in (files.images, files.masks)]
        both = [top for top in tops[0] if top and top in tops[1]]
        places = (("images", image_place), ("masks", mask_place))
        one = " ".join(spelt(key, str(place / top)) for top in both[:1] for key, place in places)
        raise DataError(
            f"{image_place} and {mask_place} hold different ones of the sub-folders train/, val/ and test/: "
            f"{' and '.join(', '.join(side).strip() or 'none' for side in tops)}",
            f"Both need the same ones{f'; or name one of them: `{one}`' if one else ''}.",
        )


# --- several masks an image ------------------------------------------------------------------------------


def _by_folder(images: Sequence[File], masks: Sequence[File], mask_place: Path) -> Found | None:
    """Each image with all masks of one folder: of its own name, or of the folder that it alone lies in; else None.

    One mask each, in folders of other names than the images', would be paired by nothing but that: then None, too.
    """
    of_folder: defaultdict[str, list[File]] = defaultdict(list)
    for mask in masks:
        of_folder[mask.folder].append(mask)
    inside = Counter(image.folder for image in images)
    pairs, without, by_name, used = [], [], [], 0
    for image in images:
        own = image.folder != "" and inside[image.folder] == 1
        key = next((k for k in (image.key, image.folder if own else "") if k and k in of_folder), None)
        if key is None:
            without.append(image)
            continue
        paths = [mask.path for mask in of_folder[key]]
        used += len(paths)
        by_name.append(key.split("/")[-1] == image.stem)
        id_ = key if by_name[-1] else image.key
        pairs.append(Pair(id_, ImageRef(image.path), ImageRef(paths[0], others=tuple(paths[1:])), part_of(image)))
    numbers = [len(pair.mask.paths) for pair in pairs]
    if used < len(masks) or 2 * len(pairs) <= len(images) or (max(numbers) == 1 and not all(by_name)):
        return None
    if without:
        raise DataError(
            f"{some(without)} without a folder of masks in {mask_place}; {len(pairs)} of {len(images)} have one",
            "Add the masks; an image without objects has one mask that is 0 everywhere.",
        )
    return Found(pairs, Counter(), [f"each image has a folder of masks, with {_range(numbers)} files each"])


def _by_number(images: Sequence[File], masks: Sequence[File]) -> Found | None:
    """Each image with all masks that are called as it is, and numbered: a_1, a_2, ... of a; else None.

    Where all images have the same numbers, these may stand for anything: then None, too.
    """
    by_key = {image.key: image for image in images}
    of_image: defaultdict[File, dict[str, Path]] = defaultdict(dict)
    for mask in masks:
        key = begun(mask.key, by_key)
        rest = mask.key[len(key) :]
        if not key or not re.fullmatch(r"[\W_].*\d", rest):
            return None
        of_image[by_key[key]][rest] = mask.path
    if len(of_image) < len(images) or len({tuple(numbers) for numbers in of_image.values()}) == 1:
        return None
    pairs = [
        Pair(image.key, ImageRef(image.path), ImageRef(path, others=tuple(others)), part_of(image))
        for image in images
        for path, *others in [of_image[image].values()]
    ]
    numbers = _range([len(pair.mask.paths) for pair in pairs])
    return Found(pairs, Counter(), [f"each image has {numbers} masks, numbered: each file's objects are its own"])


def _flat(images: Sequence[File], masks: Sequence[File], affixes: Affixes) -> Match | None:
    """The match without folders, where only images or only masks have some and nothing is left over; else None."""
    if any(file.folder for file in images) == any(file.folder for file in masks):
        return None
    flat_images, flat_masks = ([file._replace(folder="") for file in side] for side in (images, masks))
    found = match(flat_images, flat_masks, affixes)
    return None if found.left else found


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
