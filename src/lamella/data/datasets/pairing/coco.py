"""COCO: one file that outlines the objects of many images, each called by its name."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lamella.data.annotations import is_annotation, pictures
from lamella.data.datasets.pairing.listing import File, composed
from lamella.data.datasets.pairing.pairs import CSV, Files, Found, Pair, part_of, some
from lamella.data.types import ImageRef
from lamella.errors import DataError

_COCO_FILES = 12  # more JSON files than this are one an image


def entries(path: Path) -> list[str]:
    """The names of the images in a COCO file; none of any other. Raises DataError where JSON cannot be read."""
    return list(pictures(path)) if path.suffix.lower() == ".json" else []


def all_entries(annotations: Sequence[File]) -> dict[File, list[str]]:
    """The COCO files among some, with the names of their images; such files are few."""
    jsons = [file for file in annotations if file.type == ".json"]
    if len(jsons) > _COCO_FILES:
        return {}
    return {file: names for file in jsons if is_annotation(file.path) and (names := entries(file.path))}


def parts_of(name: str) -> tuple[str, ...]:
    """The folders and the file that a name in a COCO file is made of, with whatever slashes."""
    return tuple(part for part in composed(name).replace("\\", "/").split("/") if part not in ("", "."))


def by_entries(files: Files, place: Path) -> Found:
    """Each image with its entry in a COCO file, by the name that this gives it, seen from its own folder or any."""
    by_end: defaultdict[tuple[str, ...], list[File]] = defaultdict(list)
    for image in files.images:
        parts = (*image.folder.split("/"), composed(image.path.name)) if image.folder else (composed(image.path.name),)
        for start in range(len(parts)):
            by_end[parts[start:]].append(image)
    pairs: dict[File, Pair] = {}
    missing: list[str] = []
    for coco, names in files.coco.items():
        for name in names:
            of_name = _named_by(name, coco, by_end)
            if of_name is None:
                missing.append(name)
                continue
            if of_name in pairs:
                problem = f"{coco.path} names {of_name.path} again: {name!r}"
                raise DataError(problem, "Each image belongs to the data once: remove one entry.")
            outlines = ImageRef(coco.path, inside=name)
            pairs[of_name] = Pair(of_name.key, ImageRef(of_name.path), outlines, part_of(of_name))
    where = " and ".join(str(coco.path) for coco in files.coco)
    if missing:
        raise DataError(
            f"of {len(missing) + len(pairs)} images that {where} names {len(missing)} are not in {place}, or more than "
            f"once: {', '.join(missing[:3])}" + (" ..." if len(missing) > 3 else ""),
            "Add them, or name the folder that holds them: `dataset.images=FOLDER`.",
        )
    if left := [image for image in files.images if image not in pairs]:
        raise DataError(
            f"{len(left)} of {len(files.images)} images in {place} have no entry in {where}: {some(left)}",
            f"An entry without objects says that there are none. {CSV}",
        )
    called = " and ".join(dict.fromkeys(coco.path.name for coco in files.coco))
    notes = [*files.notes, f"{called} outlines the objects of {len(pairs)} images"]
    return Found([pairs[image] for image in files.images], files.passed_over, notes)


def _named_by(name: str, coco: File, by_end: dict[tuple[str, ...], list[File]]) -> File | None:
    """The image that a COCO file means; None where there is none, or more than one."""
    parts = parts_of(name)
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
    if not (names := entries(mask)):
        return None
    parts = tuple(map(composed, image.absolute().parts))
    fitting = {name for name in names if parts[-len(parts_of(name)) :] == parts_of(name)}
    fitting = fitting or {name for name in names if parts_of(name)[-1] == parts[-1]}
    if len(fitting) != 1:
        raise DataError(
            f"{mask} has {len(fitting)} entries for {image}, not one",
            f"It names {len(names)} images: {', '.join(names[:3])}{' ...' * (len(names) > 3)}.",
        )
    return fitting.pop()
