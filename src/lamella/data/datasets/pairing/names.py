"""Which files go together, by their names alone."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lamella.data.datasets.pairing.listing import ANNOTATIONS, TYPES, File, composed, joined
from lamella.data.io.read import suffix

_KINDS = 8  # of files that programs leave beside each pair, at most


@dataclass(frozen=True)
class Affixes:
    """What the names of images and of masks begin and end in, beside what image and mask have in common.

    A suffix is the end of the name without its file type (`_mask`), or of all of it (`_mask.png`, `.bmp`).
    """

    image_prefix: str = ""
    image_suffix: str = ""
    mask_prefix: str = ""
    mask_suffix: str = ""

    @property
    def of_images(self) -> tuple[str, str]:
        """Prefix and suffix."""
        return self.image_prefix, self.image_suffix

    @property
    def of_masks(self) -> tuple[str, str]:
        """Prefix and suffix."""
        return self.mask_prefix, self.mask_suffix


NONE = Affixes()


class Match(NamedTuple):
    """Files that go together, and those that do not.

    Attributes:
        pairs: what their names have in common, image, mask.
        images, masks: those left over.
        strays: those whose names are neither an image's nor a mask's.
        beside: those whose names say that they were made of an image that has its mask, such as a_overlay.png of
            a.tif; counted under *_overlay.png.
        twofold: files that have the same name but for their type.
        unlike: the pairs that differ in capitals, or in zeros before a number, by what the image's name is.
    """

    pairs: list[tuple[str, File, File]]
    images: list[File]
    masks: list[File]
    strays: list[File]
    beside: Counter[str]
    twofold: list[tuple[File, File]]
    unlike: list[str]

    @property
    def left(self) -> int:
        """How many files are in no pair."""
        return len(self.images) + len(self.masks) + len(self.strays) + 2 * len(self.twofold)


def match(images: Sequence[File], masks: Sequence[File] | None, affixes: Affixes) -> Match:
    """Images and masks that have the same name apart from their affixes and types, in folders of the same name.

    Where names differ in capitals or in zeros before a number alone ("Cell-1", "cell-01"), and no others do, they are
    the same.

    Args:
        images: the files of images; or of both, where `masks` is None: then the longer affixes that a name has decide.
        masks: the files of masks.
        affixes: what a name has beside.
    """
    strays: list[File] = []
    if masks is None:
        images, masks, strays = _told_apart(images, affixes)
    twofold: list[tuple[File, File]] = []
    by_key: list[dict[str, File]] = []
    for files, sides in ((images, affixes.of_images), (masks, affixes.of_masks)):
        ends = _Ends.of(*sides)
        named: dict[str, File] = {}
        ambiguous: set[str] = set()
        for file in files:
            core = ends.core(file)
            if core is None:
                strays.append(file)
            elif (other := named.setdefault(key := joined(file.folder, core), file)) is not file:
                twofold.append((other, file))
                ambiguous.add(key)
        by_key.append({key: file for key, file in named.items() if key not in ambiguous})
    of_images, of_masks = by_key
    pairs = {key: (file, of_masks[key]) for key, file in of_images.items() if key in of_masks}
    unlike = _nearly(of_images, of_masks, exact=set(pairs)) if len(pairs) < min(len(of_images), len(of_masks)) else {}
    pairs |= {key: (of_images[key], of_masks[mask_key]) for key, mask_key in unlike.items()}
    matched = {mask.path for _, mask in pairs.values()}
    left = [of_images[key] for key in sorted(of_images) if key not in pairs]
    beside = _beside(strays, left if affixes != NONE else [], pairs)
    return Match(
        [(key, *pairs[key]) for key in sorted(pairs)],
        [file for file in left if file not in beside],
        [of_masks[key] for key in sorted(of_masks) if of_masks[key].path not in matched],
        [file for file in strays if file not in beside],
        Counter(beside.values()),
        twofold,
        sorted(unlike),
    )


def plain(text: str) -> str:
    """The text without capitals, and without zeros before a number; of 1.05 they are kept."""
    return re.sub(r"(?<!\d[.,])(?<!\d)\d+", lambda number: number[0].lstrip("0") or "0", text.casefold())


def begun(key: str, keys: Collection[str]) -> str:
    """The longest of some keys that another begins with, "" for none."""
    return next((key[:cut] for cut in range(len(key) - 1, 0, -1) if not key[cut].isalnum() and key[:cut] in keys), "")


class _Ends(NamedTuple):
    """What the names of one side begin and end in, in capitals or not; the type "" is any."""

    prefix: str
    end: str
    type: str

    @classmethod
    def of(cls, prefix: str, end: str) -> "_Ends":
        type_ = suffix(Path(f"x{end}"))
        if type_ not in TYPES:
            type_ = ""
        return cls(composed(prefix), composed(end[: len(end) - len(type_)]), type_)

    def core(self, file: File) -> str | None:
        """What is left of a stem; None where it does not fit. Nothing may be left where a folder has a name instead."""
        stem = file.stem
        begins = stem[: len(self.prefix)].casefold() == self.prefix.casefold()
        if self.type not in ("", file.type) or not begins or not stem.casefold().endswith(self.end.casefold()):
            return None
        left = stem[len(self.prefix) : max(len(self.prefix), len(stem) - len(self.end))]
        return left if left or (file.folder and len(stem) == len(self.prefix) + len(self.end)) else None

    @property
    def length(self) -> int:
        return len(self.prefix) + len(self.end) + len(self.type)


def _told_apart(files: Sequence[File], affixes: Affixes) -> tuple[list[File], list[File], list[File]]:
    """The images and the masks of one folder, and what is neither."""
    of_images, of_masks = _Ends.of(*affixes.of_images), _Ends.of(*affixes.of_masks)
    images, masks, strays = [], [], []
    for file in files:
        drawn = file.type in ANNOTATIONS
        image = not drawn and of_images.core(file) is not None
        mask = of_masks.core(file) is not None and (not drawn or of_masks.type != "")
        if image and (not mask or of_images.length > of_masks.length):
            images.append(file)
        elif mask and (not image or of_masks.length > of_images.length):
            masks.append(file)
        else:
            strays.append(file)
    return images, masks, strays


def _nearly(images: dict[str, File], masks: dict[str, File], exact: set[str]) -> dict[str, str]:
    """Keys of images and of masks that differ in capitals and zeros alone; none where two of a side do not differ."""
    if len({plain(key) for key in images}) < len(images) or len({plain(key) for key in masks}) < len(masks):
        return {}
    of_masks = {plain(key): key for key in masks if key not in exact}
    return {key: of_masks[plain(key)] for key in images if key not in exact and plain(key) in of_masks}


def _beside(strays: list[File], images: list[File], pairs: dict[str, tuple[File, File]]) -> dict[File, str]:
    """The strays that begin with the name of a pair, and such of which each pair has one, with what they are called.

    Of images left over only the latter, and none that are numbered. A name ends where something that is no letter and
    no digit follows, or begins behind such: a1 is nothing of a.
    """
    found = {file: f"*{file.type}" for file in strays if file.type in ANNOTATIONS}
    if len(strays) + len(images) > _KINDS * len(pairs):  # then the affixes are not what tells these files apart
        return found
    kinds: defaultdict[str, list[File]] = defaultdict(list)
    sure = set(strays)
    for file in [*strays, *images]:
        for place in range(len(file.stem), -1, -1):
            start, rest = file.stem[:place], file.stem[place:]
            if not rest[:1].isalnum() and joined(file.folder, start) in pairs:
                kinds[f"*{rest}{file.type}"].append(file)
                break
            if rest and not start[-1:].isalnum() and joined(file.folder, rest) in pairs:
                kinds[f"{start}*{file.type}"].append(file)
                break
    for kind, files in kinds.items():
        each = 1 < len(pairs) == len(files) and re.search(r"[^\W\d_]", kind[: kind.rindex(".")])
        found.update({file: kind for file in files if each or (file in sure and kind.startswith("*"))})
    return found
