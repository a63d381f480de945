"""Which image goes with which mask: two stacks, or files in folders by their names. No file is dropped silently."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lamella.data.datasets.listing import (
    ANNOTATIONS,
    File,
    Listing,
    composed,
    ending,
    is_file,
    joined,
    listed,
    located,
    named,
)
from lamella.data.datasets.names import NONE, Affixes, Match, match
from lamella.data.datasets.outlines import is_annotation, pictures
from lamella.data.datasets.proposals import MASK_WORDS, Proposal, proposal, spelt
from lamella.data.io.read import header, read
from lamella.data.types import ImageRef, Role
from lamella.errors import DataError

_IMAGE_FOLDERS = {"images", "image", "img", "imgs", "original", "originals", "raw", "inputs", "input"}
_MASK_FOLDERS = {
    *("masks", "mask", "msk", "labels", "label", "gt", "groundtruth", "ground_truth", "ground truth", "annotations"),
    *("annotation", "segmentation", "segmentations", "seg", "targets", "target", "rois", "roi"),
}
_ROLES = dict.fromkeys(_IMAGE_FOLDERS, "image") | dict.fromkeys(_MASK_FOLDERS, "mask")
_PARTS: dict[str, Role] = {
    **{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
_COCO_FILES = 12  # more JSON files than this are one an image
_PIXELS = 50_000_000  # a picture with more is not looked into for a proposal
_SIBLINGS = 8  # so many folders beside are looked into
_CSV = "Or name each image and its mask in a CSV: `dataset.pairs=FILE`."


@dataclass(frozen=True)
class Pair:
    """An image and its mask, with what their place or a CSV says about them.

    Attributes:
        id: unique, but for rows of a CSV that name pages.
        image: one file; its page as a CSV has it, else None: the only one, or all of a stack.
        mask: the same, or several files, each with objects of its own, and their classes; or annotations.
        part: where it was published.
        group: as a CSV has it.
    """

    id: str
    image: ImageRef
    mask: ImageRef
    part: Role = ""
    group: str | None = None


class Found(NamedTuple):
    """The pairs, and what a person should be told of how they were found.

    Attributes:
        pairs: in the order of their names; of a CSV in its own.
        passed_over: files that are neither image nor mask, counted by the end of their names: {"*_seg.npy": 40}.
        notes: one sentence each on what was not as plain as it could be, such as names that differ in case.
    """

    pairs: list[Pair]
    passed_over: Counter[str]
    notes: list[str]


class _Files(NamedTuple):
    """What is to be paired.

    Attributes:
        images: the files of images; or of both, where `masks` is None.
        masks: pictures, or annotations.
        coco: files that outline the objects of many images each, with the names of these; if any, they pair.
        passed_over, notes: see `Found`.
    """

    images: list[File]
    masks: list[File] | None
    coco: dict[File, list[str]]
    passed_over: Counter[str]
    notes: list[str]


def from_places(images: str, masks: str | None, affixes: Affixes = NONE) -> Found:
    """The pairs of two stacks, or of two folders (which may be one) with all their sub-folders.

    Files pair by their names, see `lamella.data.datasets.names.match`, in sub-folders of the same name. Sub-folders
    train/, val/ and test/ are published parts. Besides, where it is plain: `images/` and `masks/` within one folder, or
    within each of its sub-folders; a folder of masks an image, one file an object; COCO's one file for all images.

    Args:
        images: a folder or a stack; of a file that holds several arrays also which: "file.h5:/volume/raw".
        masks: the same; None: they lie among the images.
        affixes: what tells their names apart.

    Raises:
        DataError: a place is missing or empty, or holds a format that is not read; an image without a mask, a mask
            without an image, two of one name. Where other affixes or folders would pair most of them, it says so.
    """
    (image_place, image_inside), (mask_place, mask_inside) = (
        located(images),
        located(images if masks is None else masks),
    )
    for path, key in ((image_place, "images"), (mask_place, "masks")):
        if not path.exists():
            raise DataError(f"{path} is missing", f"Set `dataset.{key}` to your folder of {key}, or to a stack.")
    kind, mask_kind = ("file" if is_file(path) else "folder" for path in (image_place, mask_place))
    insides = image_inside, mask_inside
    if kind == mask_kind == "file":
        image, mask = (ImageRef(path, inside=i) for path, i in zip((image_place, mask_place), insides, strict=True))
        mask = replace(mask, inside=mask_inside or entry(image_place, mask_place))
        return Found([Pair(named(image_place).stem, image, mask)], Counter(), [])
    if kind == "folder" and mask_kind == "file" and (names := _entries(mask_place)):
        here = listed(image_place)
        files = _Files(here.pictures, [], {named(mask_place): names}, here.passed_over, [])
        return _by_entries(files, image_place)
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
        return _by_entries(files, image_place)
    found = match(files.images, files.masks, affixes)
    no_outlines = [f for f in found.masks if f.type in ANNOTATIONS and not is_annotation(f.path)]
    found = found._replace(masks=[f for f in found.masks if f not in no_outlines])
    if found.left and files.masks is not None and (several := _by_folder(files.images, files.masks, mask_place)):
        return several._replace(passed_over=files.passed_over, notes=[*files.notes, *several.notes])
    if found.left or not found.pairs:
        raise _refused(image_place, mask_place, affixes, files, found)
    notes = list(files.notes)
    if found.unlike:
        image, mask = next((image, mask) for key, image, mask in found.pairs if key == found.unlike[0])
        notes.append(
            f"{len(found.unlike)} of {len(found.pairs)} names differ from their masks' in capitals or in zeros before "
            f"numbers alone, and are taken as the same: {image.path.name} with {mask.path.name}"
        )
    pairs = [
        Pair(key, ImageRef(image.path, inside=insides[0]), ImageRef(mask.path, inside=insides[1]), _part(image))
        for key, image, mask in found.pairs
    ]
    return Found(pairs, files.passed_over + Counter(map(ending, [*found.beside, *no_outlines])), notes)


def _files(image_place: Path, mask_place: Path, affixes: Affixes, insides: tuple[str | None, str | None]) -> _Files:
    """What is to be paired of two folders, or of one."""
    if not image_place.samefile(mask_place):
        here, there = listed(image_place, without=mask_place), listed(mask_place, without=image_place)
        _check_some(image_place, "image", here, here.pictures)
        _check_some(mask_place, "mask", there, there.pictures or there.annotations)
        unused = [*here.annotations, *(there.annotations if there.pictures else [])]
        passed_over = here.passed_over + there.passed_over + Counter(map(ending, unused))
        coco = {} if there.pictures else _all_entries(there.annotations)
        return _Files(here.pictures, there.pictures or there.annotations, coco, passed_over, [])
    here = listed(image_place)
    _check_some(image_place, "image", here, here.pictures)
    if None not in insides and insides[0] != insides[1]:
        return _Files(here.pictures, here.pictures, {}, here.passed_over + Counter(map(ending, here.annotations)), [])
    if by_role := _by_role(here):
        return by_role
    if affixes == NONE and (coco := _all_entries(here.annotations)):
        unused = [file for file in here.annotations if file not in coco]
        return _Files(here.pictures, [], coco, here.passed_over + Counter(map(ending, unused)), [])
    return _Files([*here.pictures, *here.annotations], None, {}, here.passed_over, [])


def _check_some(place: Path, what: str, listing: Listing, files: Sequence[File]) -> None:
    if files:
        return
    others = listing.passed_over + Counter(map(ending, listing.annotations))
    if not others:
        raise DataError(f"the folder {place} is empty", f"Put the {what}s there, or name another folder.")
    raise DataError(
        f"the folder {place} holds no {what}, but {counted(others)}",
        f"Name the folder of {what}s, `dataset.{what}s=FOLDER`; or save them as PNG or TIFF.",
    )


def _by_role(here: Listing) -> _Files | None:
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
    return _Files(images, masks or drawn, {} if masks else _all_entries(drawn), passed_over, [note])


# --- published parts -------------------------------------------------------------------------------------


def _part(file: File) -> Role:
    return _PARTS.get(file.folder.split("/")[0].casefold(), "")


def _check_parts(image_place: Path, mask_place: Path, files: _Files) -> None:
    """Raises DataError where some files lie in published parts and others do not, or masks lie in other ones."""
    parts = []
    for place, side in ((image_place, files.images), (mask_place, files.masks)):
        of_side = {_part(file) for file in side or ()}
        if "" in of_side and len(of_side) > 1:
            beside = next(file for file in side or () if not _part(file))
            part = next(file.folder.split("/")[0] for file in side or () if _part(file))
            raise DataError(
                f"{beside.path} lies beside the sub-folder {part}/ of {place}",
                "Images lie either all in sub-folders train/, val/ and test/, or none does.",
            )
        parts.append(of_side)
    if files.masks and not files.coco and parts[0] != parts[1]:
        raise DataError(
            f"{image_place} and {mask_place} hold different ones of the sub-folders train/, val/ and test/",
            "Both need the same ones.",
        )


# --- several masks an image ------------------------------------------------------------------------------


def _by_folder(images: Sequence[File], masks: Sequence[File], mask_place: Path) -> Found | None:
    """Each image with all masks of one folder: of its own name, or of the folder that it alone lies in; else None."""
    of_folder: defaultdict[str, list[File]] = defaultdict(list)
    for mask in masks:
        of_folder[mask.folder].append(mask)
    inside = Counter(image.folder for image in images)
    pairs, without, used = [], [], 0
    for image in images:
        own = image.folder != "" and inside[image.folder] == 1
        key = next((k for k in (image.key, image.folder if own else "") if k and k in of_folder), None)
        if key is None:
            without.append(image)
            continue
        paths = [mask.path for mask in of_folder[key]]
        used += len(paths)
        id_ = key if key.split("/")[-1] == image.stem else image.key
        pairs.append(Pair(id_, ImageRef(image.path), ImageRef(paths[0], others=tuple(paths[1:])), _part(image)))
    if used < len(masks) or 2 * len(pairs) <= len(images):
        return None
    if without:
        raise DataError(
            f"{_some(without)} without a folder of masks in {mask_place}; {len(pairs)} of {len(images)} have one",
            "Add the masks; an image without objects has one mask that is 0 everywhere.",
        )
    numbers = [len(pair.mask.paths) for pair in pairs]
    return Found(pairs, Counter(), [f"each image has a folder of masks, with {_range(numbers)} files each"])


# --- COCO ------------------------------------------------------------------------------------------------


def _entries(path: Path) -> list[str]:
    """The names of the images in a COCO file; none of any other."""
    return pictures(path) if path.suffix.lower() == ".json" and is_annotation(path) else []


def _all_entries(annotations: Sequence[File]) -> dict[File, list[str]]:
    """The COCO files among some, with the names of their images; such files are few."""
    jsons = [file for file in annotations if file.type == ".json"]
    if len(jsons) > _COCO_FILES:
        return {}
    return {file: names for file in jsons if (names := _entries(file.path))}


def _split(name: str) -> tuple[str, ...]:
    return tuple(part for part in composed(name).replace("\\", "/").split("/") if part not in ("", "."))


def _by_entries(files: _Files, place: Path) -> Found:
    """Each image with its entry in a COCO file, by the name that this gives it, seen from its own folder or any."""
    by_end: defaultdict[tuple[str, ...], list[File]] = defaultdict(list)
    for image in files.images:
        parts = (*image.folder.split("/"), composed(image.path.name)) if image.folder else (composed(image.path.name),)
        for start in range(len(parts)):
            by_end[parts[start:]].append(image)
    pairs: dict[File, Pair] = {}
    missing = []
    for coco, names in files.coco.items():
        for name in names:
            image = _named_by(name, coco, by_end)
            if image is None:
                missing.append(name)
            elif image in pairs:
                raise DataError(
                    f"{coco.path} names {image.path} again: {name!r}",
                    "Each image belongs to the data once: remove one.",
                )
            else:
                pairs[image] = Pair(image.key, ImageRef(image.path), ImageRef(coco.path, inside=name), _part(image))
    where = " and ".join(str(coco.path) for coco in files.coco)
    if missing:
        raise DataError(
            f"of {len(missing) + len(pairs)} images that {where} names {len(missing)} are not in {place}, or more than "
            f"once: {', '.join(missing[:3])}" + (" ..." if len(missing) > 3 else ""),
            "Add them, or name the folder that holds them: `dataset.images=FOLDER`.",
        )
    if left := [image for image in files.images if image not in pairs]:
        raise DataError(
            f"{len(left)} of {len(files.images)} images in {place} have no entry in {where}: {_some(left)}",
            f"An entry without objects says that there are none. {_CSV}",
        )
    notes = [*files.notes, f"{where} outlines the objects of {len(pairs)} images"]
    return Found([pairs[image] for image in files.images], files.passed_over, notes)


def _named_by(name: str, coco: File, by_end: dict[tuple[str, ...], list[File]]) -> File | None:
    """The image that a COCO file means; None where there is none, or more than one."""
    parts = _split(name)
    within = tuple(coco.folder.split("/")) if coco.folder else ()
    for wanted in ((*within, *parts), *(parts[start:] for start in range(len(parts)))):
        found = by_end.get(wanted, [])
        if len(found) == 1:
            return found[0]
        near = [image for image in found if image.folder == coco.folder]
        if len(near) == 1:
            return near[0]
    return None


def entry(image: Path, mask: Path) -> str | None:
    """What a COCO file calls an image: the same name, with the longest end of its path; None of any other mask.

    Raises DataError where it has no entry, or several.
    """
    if not (names := _entries(mask)):
        return None
    parts = tuple(map(composed, image.absolute().parts))
    fitting = {name for name in names if parts[-len(_split(name)) :] == _split(name)}
    fitting = fitting or {name for name in names if _split(name)[-1] == parts[-1]}
    if len(fitting) != 1:
        raise DataError(
            f"{mask} has {len(fitting)} entries for {image}, not one",
            f"It names {len(names)} images: {', '.join(names[:3])}{' ...' * (len(names) > 3)}.",
        )
    return fitting.pop()


# --- what does not pair ----------------------------------------------------------------------------------


def _refused(image_place: Path, mask_place: Path, affixes: Affixes, files: _Files, found: Match) -> DataError:
    """The error over files that do not pair, with the keys under which most would."""
    one = files.masks is None
    hint = _proposed(image_place, mask_place, affixes, files, len(found.pairs))
    if one and affixes.of_images == affixes.of_masks:
        return DataError(
            f"images and masks are both in {image_place}, and nothing in their names tells them apart",
            hint
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
            f"the names are not as {' '.join(keys)} says: {_some(found.strays)}",
            hint or f"Correct the key, or give the files such names. {_CSV}",
        )
    if found.twofold:
        first, second = found.twofold[0]
        more = f" (and {len(found.twofold) - 1} more)" if len(found.twofold) > 1 else ""
        return DataError(
            f"{first.path} and {second.path.name} have the same stem, so their pair is ambiguous{more}",
            hint or f"Say which type is meant, such as {spelt('image_suffix', first.type)}; or rename one.",
        )
    problems = []
    if found.images:
        problems.append(f"{_some(found.images)} without a mask in {mask_place}")
    if found.masks:
        problems.append(f"{_some(found.masks)}: a mask without an image in {image_place}")
    given = " ".join(f"{key}={value!r}" for key, value in asdict(affixes).items() if value)
    apart = f", apart from {given}" if given else ""
    return DataError(
        "; ".join(problems),
        hint or f"Image and mask must have the same name{apart} (of any type). Add what is missing. {_CSV}",
    )


def _proposed(image_place: Path, mask_place: Path, affixes: Affixes, files: _Files, paired: int) -> str:
    """The keys, to be copied, under which most files would pair; "" where none are found."""
    tried: list[tuple[Sequence[File], Sequence[File] | None, dict[str, str]]] = []
    if files.masks is not None:
        tried.append((files.images, files.masks, {}))
    else:
        drawn = [f for f in files.images if f.type in ANNOTATIONS]
        looked_at = drawn if any(is_annotation(f.path) for f in drawn[:3]) else []
        tried.append(([*(f for f in files.images if f.type not in ANNOTATIONS), *looked_at], None, {}))
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


def _coco_beside(image_place: Path, images: Sequence[File]) -> str:
    """The key for a COCO file in the folder above that names all images; "" where there is none."""
    beside = [named(path) for path in sorted(image_place.absolute().parent.glob("*.json"))]
    for coco, names in _all_entries(beside).items():
        if {_split(name)[-1] for name in names} == {composed(file.path.name) for file in images}:
            return f"Did you mean `{spelt('masks', str(coco.path))}`? It names all {len(names)} images."
    return ""


def _elsewhere(
    image_place: Path, mask_place: Path, files: _Files
) -> Iterator[tuple[Sequence[File], Sequence[File], dict[str, str]]]:
    """Other folders that may have been meant, with the keys that name them."""
    if files.masks is None:
        within = _by_top(f for f in files.images if f.type not in ANNOTATIONS)
        for one, other in combinations(sorted(within, key=lambda name: bool(MASK_WORDS.search(name))), 2):
            places = {"images": str(image_place / one), "masks": str(image_place / other)}
            yield within[one], within[other], places
        siblings = [
            p for p in sorted(image_place.absolute().parent.iterdir()) if MASK_WORDS.search(p.name) and p.is_dir()
        ]
        for folder in siblings[:_SIBLINGS]:
            if not folder.samefile(image_place):
                with suppress(DataError):
                    there = listed(folder)
                    yield (
                        files.images,
                        there.pictures or there.annotations,
                        {"masks": str(image_place.parent / folder.name)},
                    )
    else:
        within = _by_top(files.masks)
        for folder in within:
            yield files.images, within[folder], {"masks": str(mask_place / folder)}


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
        if heads[0].channels != heads[1].channels:
            return heads[0].channels > heads[1].channels
        if heads[0].height * heads[0].width > _PIXELS:
            return True
        values = [len(np.unique(read(ImageRef(file.path)))) for file in (image, mask)]
    except DataError:
        return True
    return values[1] <= values[0]


def counted(passed_over: Counter[str]) -> str:
    """How many files were passed over, in words: "43 files: 40 *_seg.npy, 3 *.txt"."""
    total = passed_over.total()
    kinds = ", ".join(f"{count} {name}" for name, count in passed_over.most_common(6))
    return f"{total} file{'s' * (total > 1)}: {kinds}" + (" ..." if len(passed_over) > 6 else "")


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _some(files: Sequence[File]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(str(file.path) for file in files[:3]) + more
