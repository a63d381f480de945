"""How files might pair that do not as they are named: looked for in the names themselves, and only ever proposed."""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import islice, permutations, product
from typing import NamedTuple

from lamella.data.datasets.pairing.listing import ANNOTATIONS, File
from lamella.data.datasets.pairing.names import Affixes, Match, match, plain

MASK_WORDS = re.compile(
    r"mask|msk|label|lbl|seg|truth|annot|target|instance|(?<![a-z])(?:gt|rois?|objects?)(?![a-z])", re.IGNORECASE
)
IMAGE_WORDS = re.compile(r"image|img|raw|orig|photo|input|source|(?<![a-z])(?:im|src|pic)(?![a-z])", re.IGNORECASE)
_SEPARATORS = "_-. +"
_FIRST_WORD = re.compile(r"[^\W\d]+[_\-. ]*")
_ALTERNATIVES = 8  # what stands beside more affixes than this is no name's core
_SHARED = 5  # so many of the most frequent affixes are tried
_SAMPLE = 500  # so many images are looked at for affixes
_TRIED = 40  # ... and so many of their combinations
_NO_TEXT = ("null", "true", "false", "nan", "inf")  # in Hydra's language

_Two = tuple[str, str]  # something of the names of images, and of masks
_Cuts = Callable[[str], Iterable[_Two]]


class Proposal(NamedTuple):
    """Affixes under which files would pair.

    Attributes:
        affixes: of both sides.
        match: what they give.
    """

    affixes: Affixes
    match: Match

    @property
    def paired(self) -> int:
        """How many images would have a mask."""
        return len(self.match.pairs)

    @property
    def total(self) -> int:
        """How many pairs there could be."""
        left = max(len(self.match.images), len(self.match.masks)) + (len(self.match.strays) + 1) // 2
        return self.paired + left + len(self.match.twofold)

    @property
    def most(self) -> bool:
        """Whether that is the most; a single pair, and names without a core, must say which is the mask."""
        plain_roles = _roles(self.affixes) is not None
        cores = all(key != image.folder for key, image, _ in self.match.pairs)
        return 2 * self.paired > self.total and (plain_roles or (cores and self.paired > 1))

    @property
    def rank(self) -> tuple[int, int, int, int, int]:
        """The lower, the better: many pairs, little left, plain roles, short."""
        texts = [text for text in asdict(self.affixes).values() if text]
        return -self.paired, self.match.left, not _roles(self.affixes), len(texts), sum(map(len, texts))


def proposal(
    images: Sequence[File], masks: Sequence[File] | None, is_mask: Callable[[File, File], bool], better_than: int = 0
) -> Proposal | None:
    """The affixes that pair most, where that is the most of all files and more than `better_than` pairs.

    Args:
        images: the files of images; or of both, where `masks` is None.
        masks: the files of masks.
        is_mask: whether the second of two files is the mask, rather than the first; asked where names do not say so.
        better_than: how many pairs there are without.
    """
    best: Proposal | None = None
    for affixes in islice(dict.fromkeys(_candidates(images, masks)), _TRIED):
        tried = Proposal(affixes, match(images, masks, affixes))
        if tried.most and tried.paired > better_than and (best is None or tried.rank < best.rank):
            best = tried
            if not tried.match.left and _roles(affixes):
                break
    if best and masks is None and _roles(best.affixes) is None and not is_mask(*best.match.pairs[0][1:]):
        turned = _turned(best.affixes)
        return Proposal(turned, match(images, masks, turned))
    return best


def spelt(key: str, value: str) -> str:
    """A key of the data set with its value, as it is typed on a command line."""
    plainly = re.fullmatch(r"[_.\-/]*[a-zA-Z][a-zA-Z0-9_.\-/]*", value) and value.lstrip("_.-/").lower() not in _NO_TEXT
    if value and not plainly:
        value = "'" + value.replace("'", "\\'") + "'"
    text = f"dataset.{key}={value}"
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def _roles(affixes: Affixes) -> bool | None:
    """Whether the names say which are the masks: True as it stands, False the other way round, None not at all."""
    image, mask = ("".join(side) for side in (affixes.of_images, affixes.of_masks))
    for word, of_mask in ((MASK_WORDS, True), (IMAGE_WORDS, False)):
        found = [bool(word.search(text)) for text in (image, mask)]
        if found[0] != found[1]:
            return found[1] == of_mask
    for types, of_mask in ((ANNOTATIONS, True), ((".jpg", ".jpeg"), False)):
        found = [text.endswith(types) for text in (image, mask)]
        if found[0] != found[1]:
            return found[1] == of_mask
    return None


def _turned(affixes: Affixes) -> Affixes:
    return Affixes(*affixes.of_masks, *affixes.of_images)


def _candidates(images: Sequence[File], masks: Sequence[File] | None) -> Iterator[Affixes]:
    """Affixes that names share, plain ones first. Of one folder's the names say which are the masks', if they do."""
    for types in _types(images, masks):
        sides = [_of_type(images, types[0]), _of_type(images if masks is None else masks, types[1])]
        together = masks is None and types == ("", "")
        for prefixes in _prefixes(sides[0], sides[1], together):
            cut = [_without(files, prefix) for files, prefix in zip(sides, prefixes, strict=True)]
            for ends in [("", ""), *_shared(cut[0], cut[1], _before_suffix, together and prefixes == ("", ""))]:
                affixes = Affixes(prefixes[0], ends[0] + types[0], prefixes[1], ends[1] + types[1])
                yield _turned(affixes) if masks is None and _roles(affixes) is False else affixes


def _types(images: Sequence[File], masks: Sequence[File] | None) -> Iterator[_Two]:
    """The types of images and of masks that may tell them apart, at first none."""
    yield "", ""
    kinds = [[t for t, _ in Counter(f.type for f in files).most_common(4)] for files in (images, masks or ())]
    if masks is None:
        yield from (("", type_) for type_ in kinds[0] if type_ in ANNOTATIONS)
        yield from permutations(kinds[0], 2)
    else:
        yield from islice(product(*(["", *each] if len(each) > 1 else [""] for each in kinds)), 1, None)


def _of_type(files: Sequence[File], type_: str) -> Sequence[File]:
    """The files of a type; of "" the pictures, or annotations where there are no others."""
    if type_:
        return [file for file in files if file.type == type_]
    return [file for file in files if file.type not in ANNOTATIONS] or files


def _prefixes(images: Sequence[File], masks: Sequence[File], together: bool) -> list[_Two]:
    """What names may begin with: nothing, what stands before the same rest, or their first words."""
    heads = [[word[0] for f in files if (word := _FIRST_WORD.match(f.stem))] for files in (images, masks)]
    often = [[head for head, _ in Counter(each).most_common(2)] for each in heads]
    unlike = [(a, b) for a, b in product(*often) if a != b]
    return list(dict.fromkeys([("", ""), *_shared(images, masks, _after_prefix, together), *unlike]))


def _without(files: Sequence[File], prefix: str) -> list[File]:
    size = len(prefix)
    return [f._replace(stem=f.stem[size:]) for f in files if f.stem.startswith(prefix) and len(f.stem) > size]


def _shared(images: Sequence[File], masks: Sequence[File], cuts: _Cuts, together: bool) -> list[_Two]:
    """What names have beside a core that images and masks share, the most frequent first.

    Args:
        images, masks: the files, the same twice where they are `together` in one folder.
        cuts: a stem's cores, each with the affix beside it.
        together: see above.
    """
    some = images[:: 1 + len(images) // _SAMPLE]
    beside: defaultdict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for file in some:
        for core, affix in _cuts(file, cuts):
            beside[file.folder, core][0].add(affix)
    for file in masks:
        for core, affix in _cuts(file, cuts):
            if (file.folder, core) in beside:
                beside[file.folder, core][1].add(affix)
    at = 0 if cuts is _before_suffix else -1
    counts: Counter[_Two] = Counter()
    for of_images, of_masks in beside.values():
        if len(of_images) <= _ALTERNATIVES and len(of_masks) <= _ALTERNATIVES:
            pairs = (sorted(two, key=_length) if together else two for two in product(of_images, of_masks))
            counts.update({(one, other) for one, other in pairs if _apart(one, other, at, together)})
    return sorted(counts, key=lambda pair: (-counts[pair], _length("".join(pair)), pair))[:_SHARED]


def _cuts(file: File, cuts: _Cuts) -> Iterator[_Two]:
    """The cores of a file's name; in a folder, which has a name, too, "mask" and the like have none."""
    yield from cuts(file.stem)
    if file.folder and cuts is _before_suffix and (MASK_WORDS.search(file.stem) or IMAGE_WORDS.search(file.stem)):
        yield "", file.stem


def _length(text: str) -> tuple[int, str]:
    return len(text), text


def _apart(first: str, second: str, at: int, together: bool) -> bool:
    """Whether two affixes differ, and have no part of the core in common; `at` is its end.

    In one folder they must differ in more than numbers and separators: all files may be numbered.
    """
    if first == second or (together and len({re.sub(r"[\W_\d]+", "", text) for text in (first, second)}) == 1):
        return False
    return not (first and second and first[at] == second[at] and first[at] not in _SEPARATORS)


def _before_suffix(stem: str) -> Iterator[_Two]:
    """(core, suffix) of a stem, cut behind no separator; the core without capitals and zeros before numbers."""
    plainly, places = _places(stem)
    for place, at in places:
        if stem[place - 1] not in _SEPARATORS:
            yield plainly[:at], stem[place:]
    yield plainly, ""


def _after_prefix(stem: str) -> Iterator[_Two]:
    """(core, prefix) of a stem, cut before no separator; the core without capitals and zeros before numbers."""
    plainly, places = _places(stem)
    yield plainly, ""
    for place, at in places:
        if stem[place] not in _SEPARATORS:
            yield plainly[at:], stem[:place]


@lru_cache(1 << 15)
def _places(stem: str) -> tuple[str, list[tuple[int, int]]]:
    """A stem without capitals and zeros, and where it can be cut, in no number: places in the stem and in that."""
    plainly, places, done = "", [], 0
    for piece in re.findall(r"\d+|\D", stem):
        if done:
            places.append((done, len(plainly)))
        done += len(piece)
        plainly += plain(piece)
    return plainly, places
