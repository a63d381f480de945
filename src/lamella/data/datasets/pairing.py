"""Images and masks paired by stem, whatever their suffixes. No file is ever dropped silently."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from lamella.data.io.read import SUFFIXES
from lamella.errors import DataError

_LITTER = ("thumbs.db", "desktop.ini")  # Windows leaves them in folders of pictures, unasked


def pair_by_stem(
    images: Path, masks: Path, *, image_suffix: str = "", mask_suffix: str = ""
) -> list[tuple[str, Path, Path]]:
    """Pairs every image with the mask of the same stem.

    Hidden files (`.DS_Store`, `._copy.png`) and Windows' `Thumbs.db` and `desktop.ini` are nobody's images and
    are passed over; any other file that is no image is an error, and so is a folder.

    Args:
        images: folder of images.
        masks: folder of masks. It may be the same one: then the longer suffix that a stem ends in decides.
        image_suffix: what every image's stem ends in, and its mask's lacks: "_img" in `a_img.tif`.
        mask_suffix: the same of masks.

    Returns:
        (stem without its suffix, image, mask), sorted by stem.

    Raises:
        DataError: a folder is missing or empty or holds something else, an image has no mask, a mask no image,
            a stem occurs twice or lacks its suffix, or one folder holds both and no suffix tells them apart.
    """
    if _same(images, masks):
        image_files, mask_files = _of_one_folder(images, image_suffix, mask_suffix)
    else:
        image_files = _by_stem(_pictures(images), image_suffix, "image_suffix")
        mask_files = _by_stem(_pictures(masks), mask_suffix, "mask_suffix")
    lonely = [image_files[s] for s in sorted(image_files.keys() - mask_files.keys())]
    orphans = [mask_files[s] for s in sorted(mask_files.keys() - image_files.keys())]
    problems = []
    if lonely:
        problems.append(f"{_some(lonely)} without a mask in {masks}")
    if orphans:
        problems.append(f"{_some(orphans)}: a mask without an image in {images}")
    if problems:
        apart = f", apart from {image_suffix!r} and {mask_suffix!r}" if image_suffix + mask_suffix else ""
        raise DataError(
            "; ".join(problems),
            f"Image and mask must have the same name{apart} (any suffix). Add what is missing, or remove what is left "
            "over.",
        )
    return [(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]


def contents(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden files and what systems leave behind.

    Raises:
        DataError: the folder is missing or may not be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"the folder {folder} is missing", "Put the data there, or name another folder.") from None
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}", "Allow yourself to read it.") from None
    return [p for p in paths if not p.name.startswith(".") and p.name.lower() not in _LITTER]


def composed(text: str) -> str:
    """macOS spells an umlaut as two characters, others as one: the same name all the same."""
    return unicodedata.normalize("NFC", text)


def _of_one_folder(folder: Path, image_suffix: str, mask_suffix: str) -> tuple[dict[str, Path], dict[str, Path]]:
    if image_suffix == mask_suffix:
        raise DataError(
            f"images and masks are both in {folder}, and nothing in their names tells them apart",
            "Name the folder of masks, `dataset.masks=FOLDER`, or what their names end in: "
            "`dataset.mask_suffix=_mask` where `a.tif` has the mask `a_mask.png`.",
        )
    longer = max(image_suffix, mask_suffix, key=len)
    paths = _pictures(folder)
    with_longer = [path for path in paths if _ends(path, longer)]
    others = [path for path in paths if not _ends(path, longer)]
    image_files, mask_files = (with_longer, others) if longer == image_suffix else (others, with_longer)
    for files, what, suffix in ((image_files, "image", image_suffix), (mask_files, "mask", mask_suffix)):
        if not files:
            raise DataError(
                f"no {what} in {folder}" + (f": no file's stem ends in {suffix}" if suffix else ""),
                f"Set `dataset.{what}_suffix` to what the stems of {what}s end in.",
            )
    return (
        _by_stem(image_files, image_suffix, "image_suffix"),
        _by_stem(mask_files, mask_suffix, "mask_suffix"),
    )


def _pictures(folder: Path) -> list[Path]:
    """The images of a folder that holds nothing else, at least one."""
    paths = contents(folder)
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            raise DataError(
                f"{path} is not an image this program reads",
                f"It reads files named {', '.join(SUFFIXES)}. Move everything else out of the folder.",
            )
    if not paths:
        raise DataError(f"the folder {folder} is empty", "Put the images there, or name another folder.")
    return paths


def _by_stem(paths: Iterable[Path], suffix: str, key: str) -> dict[str, Path]:
    """Files by their stem without `suffix`, which `key` sets."""
    files: dict[str, Path] = {}
    for path in paths:
        if not _ends(path, suffix):
            raise DataError(
                f"the stem of {path} does not end in {suffix}",
                f"Correct `dataset.{key}`, or move out of the folder what does not belong there.",
            )
        stem = _stem(path).removesuffix(composed(suffix))
        if stem in files:
            raise DataError(
                f"{files[stem]} and {path.name} have the same stem, so their pair is ambiguous",
                "Rename or remove one.",
            )
        files[stem] = path
    return files


def _ends(path: Path, suffix: str) -> bool:
    stem, suffix = _stem(path), composed(suffix)
    return stem.endswith(suffix) and stem != suffix


def _stem(path: Path) -> str:
    return composed(path.stem)


def _same(one: Path, other: Path) -> bool:
    return one.is_dir() and other.is_dir() and one.samefile(other)


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(str(p) for p in paths[:3]) + more
