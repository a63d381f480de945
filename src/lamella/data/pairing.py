"""Images and masks paired by stem, whatever their suffixes. No file is ever dropped silently."""

import unicodedata
from pathlib import Path

from lamella.data.images import SUFFIXES
from lamella.errors import DataError

_LITTER = ("thumbs.db", "desktop.ini")  # Windows leaves them in folders of pictures, unasked


def pair_by_stem(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """Pairs every image with the mask of the same stem.

    Hidden files (`.DS_Store`, `._copy.png`) and Windows' `Thumbs.db` and `desktop.ini` are nobody's images and
    are passed over; any other file that is no image is an error, and so is a folder.

    Args:
        images: folder of images.
        masks: folder of masks.

    Returns:
        (stem, image, mask), sorted by stem.

    Raises:
        DataError: a folder is missing or empty or holds something else, an image has no mask, a mask no image,
            a stem occurs twice.
    """
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    lonely = [image_files[s] for s in sorted(image_files.keys() - mask_files.keys())]
    orphans = [mask_files[s] for s in sorted(mask_files.keys() - image_files.keys())]
    problems = []
    if lonely:
        problems.append(f"{_some(lonely)} without a mask in {masks}")
    if orphans:
        problems.append(f"{_some(orphans)}: a mask without an image in {images}")
    if problems:
        raise DataError(
            "; ".join(problems),
            "Image and mask must have the same name (any suffix). Add what is missing, or remove what is left over.",
        )
    return [(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]


def _by_stem(folder: Path) -> dict[str, Path]:
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"the folder {folder} is missing", "Put the data there, or set `paths.data=FOLDER`.") from None
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}", "Allow yourself to read it.") from None
    files: dict[str, Path] = {}
    for path in paths:
        if path.name.startswith(".") or path.name.lower() in _LITTER:
            continue
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            raise DataError(
                f"{path} is not an image this program reads",
                f"It reads files named {', '.join(SUFFIXES)}. Move everything else out of the folder.",
            )
        # macOS spells an umlaut as two characters, others as one: the same name all the same.
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in files:
            raise DataError(
                f"{files[stem]} and {path.name} have the same stem, so their pair is ambiguous",
                "Rename or remove one.",
            )
        files[stem] = path
    if not files:
        raise DataError(f"the folder {folder} is empty", "Put the images there, or set `paths.data=FOLDER`.")
    return files


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(str(p) for p in paths[:3]) + more
