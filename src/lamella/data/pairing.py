"""Images and masks paired by stem, whatever their suffixes. No file is ever dropped silently."""

from pathlib import Path

from lamella.data.images import SUFFIXES
from lamella.errors import DataError


def pair_by_stem(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """Pairs every image with the mask of the same stem.

    Args:
        images: folder of images.
        masks: folder of masks.

    Returns:
        (stem, image, mask), sorted by stem.

    Raises:
        DataError: a folder is missing or empty, an image has no mask, a mask no image, a stem occurs twice.
    """
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    lonely = [image_files[s] for s in sorted(image_files.keys() - mask_files.keys())]
    orphans = [mask_files[s] for s in sorted(mask_files.keys() - image_files.keys())]
    if lonely:
        raise DataError(
            f"{_some(lonely)} without a mask in {masks}",
            "Add a mask file of the same name (any suffix), or remove the image.",
        )
    if orphans:
        raise DataError(
            f"{_some(orphans)}: a mask without an image in {images}",
            "Add the image of the same name (any suffix), or remove the mask.",
        )
    return [(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"the folder {folder} is missing", "Put the data there, or set `paths.data=FOLDER`.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{path} is not an image this program reads",
                f"It reads {', '.join(SUFFIXES)}. Move other files out of the folder.",
            )
        if path.stem in files:
            raise DataError(
                f"{files[path.stem]} and {path.name} have the same stem, so their pair is ambiguous",
                "Rename or remove one.",
            )
        files[path.stem] = path
    if not files:
        raise DataError(f"the folder {folder} is empty", "Put the images there, or set `paths.data=FOLDER`.")
    return files


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(str(p) for p in paths[:3]) + more
