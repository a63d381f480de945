"""Predictions that a person corrected, beside a data set's own training images; and masks that are predictions.

Which masks were corrected, the hashes in their folder tell: see `lamella.data.predictions`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lamella.config.words import suggestion
from lamella.data import predictions
from lamella.data.cache.arrays import Store
from lamella.data.cache.facts import Facts
from lamella.data.datasets.pairing import composed
from lamella.data.io.decode import SUFFIXES, suffix
from lamella.data.io.masks import Objects
from lamella.data.io.read import header, pages
from lamella.data.io.redrawn import classes_of, numbered, redrawn_blocks
from lamella.data.predictions import KINDS, Kind, Picture, Predictions, values_hash, values_sha256
from lamella.data.types import Dataset, DatasetCard, ImageRef, Origin, Redrawn, Sample, Split
from lamella.errors import DataError
from lamella.plaintext import printable

_OUTLINES = {"geojson": (".geojson", ".json"), "rois": (".zip", ".roi")}
_ENDS: Mapping[Kind, str] = {"labels": "_labels", "objects": "_objects", "geojson": "", "rois": "_rois"}
_NAMED = 5


class _Edit(NamedTuple):
    """A file of a prediction that trains: one that was edited since, or that a person accepted as it is."""

    kind: Kind
    path: Path
    before: str  # "": nothing of its name was written
    accepted: bool = False


def joined(
    dataset: Dataset,
    split: Split,
    store: Store,
    *,
    folders: Sequence[Path],
    accepted: Sequence[str],
    group: str | None,
) -> tuple[Dataset, Split]:
    """The data set and its split with the corrected masks of folders of predictions among what trains, and only there.

    Args:
        dataset: what they join.
        split: of its samples, which stays as it is.
        store: of its arrays.
        folders: what `predict` left, with masks that were edited since.
        accepted: the names of predictions that are right as they are; "all" for all that nobody edited.
        group: a regular expression, whose (part) in the name of a picture is its group, as for the data set itself.

    Returns:
        Both, with one sample more for each corrected or accepted prediction; and a note on the card a folder.

    Raises:
        DataError: no mask was corrected, two edited masks of one picture, a picture that is gone, was changed, or is
            in the data set, classes that are not the data set's, a name that no prediction has.
    """
    pictures = _Pictures(dataset.samples, store)
    added: list[Sample] = []
    notes: list[str] = []
    names: set[str] = set()
    for place in folders:
        folder = _Folder(place, dataset.card, store.facts)
        edited, note = folder.edited(accepted)
        for picture, edit in edited:
            sample = folder.sample(picture, edit)
            added.append(pictures.add(_grouped(sample, group) if group else pictures.in_stack(sample)))
        names |= folder.names
        notes.append(note)
    if lost := [name for name in accepted if name != "all" and name not in names]:
        raise DataError(f"dataset.accepted names {lost[0]}, which was not predicted there", suggestion(lost[0], names))
    first: dict[str, Sample] = {}
    for sample in (*dataset.samples, *added):
        if (other := first.setdefault(sample.id, sample)) is not sample:
            raise DataError(
                f"{sample.image} and {other.image} both give the image {sample.id}",
                "Give one of the folders another name.",
            )
    card = replace(dataset.card, notes=(*dataset.card.notes, *notes))
    return Dataset(card, (*dataset.samples, *added)), replace(split, train=(*split.train, *added))


def marked(samples: Sequence[Sample], facts: Facts) -> list[Sample]:
    """The samples, those whose masks are predictions with what became of them since: corrected, or untouched."""
    held: dict[Path, Predictions | None] = {}

    def said(folder: Path) -> Predictions | None:
        if folder not in held:
            held[folder] = predictions.read(folder) if (folder / predictions.NAME).is_file() else None
        return held[folder]

    def origin(path: Path) -> Origin | None:
        for folder in path.absolute().parents:
            if (found := said(folder)) is None:
                continue
            if before := found.sha256.get(path.absolute().relative_to(folder).as_posix()):
                with suppress(DataError):  # what cannot be read, the audit says
                    return Origin("predicted" if facts.sha256(path) == before else "corrected", found.networks, before)
        return None

    return [replace(sample, origin=origin(sample.mask.path)) for sample in samples]


class _Pictures:
    """The pictures that are in the data already, known by their pixels."""

    def __init__(self, samples: Sequence[Sample], store: Store) -> None:
        self.store = store
        self.by_size: dict[tuple[int, int], list[Sample]] = defaultdict(list)
        self.stacks: dict[str, Sample] = {}
        for sample in samples:
            if (size := self._size(sample)) is not None:
                self.by_size[size].append(sample)
                if sample.stack and sample.image.page is not None:
                    self.stacks.setdefault(store.facts.sha256(sample.image.path), sample)

    def add(self, sample: Sample) -> Sample:
        """The sample, as one more. Raises DataError where its picture is in the data already."""
        if (size := self._size(sample)) is not None:
            pixels = self._pixels(sample)
            for other in self.by_size[size]:
                if pixels is not None and self._pixels(other) == pixels:
                    raise DataError(
                        f"{sample.image}, of which {sample.mask.path} was corrected, is in the data set already: "
                        f"as {other.id}",
                        "A picture belongs to the data once: a corrected prediction of one that validates or tests "
                        "would spoil the score, and one that trains has a mask: correct that. Take the correction "
                        "back, or take the folder away.",
                    )
            self.by_size[size].append(sample)
        return sample

    def in_stack(self, sample: Sample) -> Sample:
        """The sample in its place of the stack whose other pages the data set has, where that is so."""
        image = sample.image
        other = None if image.page is None else self.stacks.get(self.store.facts.sha256(image.path))
        if other is None or other.image.page is None or image.page is None:
            return sample
        place = (other.place or 0) + image.page - other.image.page
        return replace(sample, group=other.group, stack=other.stack, place=place)

    def _size(self, sample: Sample) -> tuple[int, int] | None:
        """None where the image cannot be read, which the audit says of all."""
        with suppress(DataError):
            return header(sample.image)[:2]
        return None

    def _pixels(self, sample: Sample) -> str | None:
        with suppress(DataError):
            return self.store.pixels(sample)
        return None


class _Folder:
    """A folder of predictions, seen from the data set that its corrected masks join.

    Raises:
        DataError: it is none, or its classes are not the data set's.
    """

    def __init__(self, place: Path, card: DatasetCard, facts: Facts) -> None:
        self.place = place.absolute()
        self.said = predictions.read(place)
        self.facts = facts
        if {*self.said.class_names} != {*card.class_names}:
            raise DataError(
                f"{place} holds predictions of the classes {', '.join(self.said.class_names)}; {card.name} has "
                f"{', '.join(card.class_names)}",
                "Corrected masks join the data set that their network learned from, or one of the same classes.",
            )
        self.ids = tuple(card.class_names.index(name) for name in self.said.class_names)
        self.by_name: dict[str, list[Picture]] = defaultdict(list)
        for picture in self.said.pictures:
            self.by_name[picture.name].append(picture)

    @property
    def names(self) -> set[str]:
        """What predictions are called: of pages the file's name, too."""
        return {name for picture in self.said.pictures for name in (picture.name, _page_name(picture))}

    def edited(self, accepted: Sequence[str]) -> tuple[list[tuple[Picture, _Edit]], str]:
        """The pictures of which a mask was edited, or is accepted, and a sentence on all of them. Raises DataError."""
        found: list[tuple[Picture, _Edit]] = []
        again = 0
        for name, pictures in self.by_name.items():
            edits = self._edits(name)
            for picture in pictures:
                real = [edit for edit in edits if self._changed(picture, edit)]
                again += bool(edits) and not real
                if len(real) > 1:
                    raise DataError(
                        f"{real[0].path} and {real[1].path.name} were both edited, and only one can hold for {picture}",
                        "Keep the one that is right, and delete the other.",
                    )
                if real:
                    found.append((picture, real[0]))
                elif {"all", picture.name, _page_name(picture)} & {*accepted}:
                    found.append((picture, self._accepted(picture)))
        count = len(self.said.pictures)
        taken = sum(edit.accepted for _, edit in found)
        corrected, rest = len(found) - taken, count - len(found)
        aside = self._passed_over()
        if not found:
            raise DataError(
                f"none of the {count} predictions in {self.place} was corrected"
                + (f"; {again} were saved again as they were" if again else "")
                + (f"; {aside}" if aside else ""),
                "Correct NAME_labels.tif, or one of the files beside it, and save it under its own name. Predictions "
                "that are right as they are: `dataset.accepted=[NAME,NAME]`.",
            )
        text = f"{corrected} of {count} predictions in {self.place.name} were corrected by hand: these train"
        text += f"; {taken} accepted as they are train, too" if taken else ""
        text += f"; {rest} untouched ones do not" if rest else ""
        text += f" ({again} saved again without a change)" if again else ""
        return found, text + (f"; {aside}" if aside else "")

    def sample(self, picture: Picture, edit: _Edit) -> Sample:
        """What trains of a picture. Raises DataError where the picture is gone, or was changed."""
        image = picture.image
        if not image.path.exists():
            raise DataError(
                f"{image}, of which {edit.path} was corrected, is missing",
                f"Bring it back, or put it into {self.place}.",
            )
        if self.facts.sha256(image.path) != picture.sha256:
            raise DataError(
                f"{image} is no longer the picture of which {edit.path} was predicted: its content has changed",
                "Bring that one back, or predict again.",
            )
        id_ = f"{self.place.name}/{_page_name(picture)}"
        stack = f"{self.place.name}/{picture.name}" if image.page is not None and picture.page is not None else ""
        return Sample(
            id_,
            image,
            self._ref(picture, edit),
            group=stack or id_,
            stack=stack,
            place=image.page if stack else None,
            origin=Origin("accepted" if edit.accepted else "corrected", self.said.networks, edit.before),
            redrawn=self._reading(picture, edit),
        )

    def _edits(self, name: str) -> list[_Edit]:
        """The files of a prediction that are not what was written, also in another format."""
        edits = []
        for kind in KINDS:
            for path in self._files(name, kind):
                before = self.said.sha256.get(path.relative_to(self.place).as_posix(), "")
                if self.facts.sha256(path) != before:
                    edits.append(_Edit(kind, path, before))
        return edits

    def _files(self, name: str, kind: Kind) -> list[Path]:
        """The files of one kind that a prediction has, in whatever format."""
        picture = self.by_name[name][0]
        place = self.place / picture.files.get(kind, f"{picture.name}{_ENDS[kind]}.tif")
        ends = _OUTLINES.get(kind, SUFFIXES)
        return [path for path in self._inside.get(_stem(place), ()) if suffix(path) in ends]

    @cached_property
    def _inside(self) -> dict[Path, list[Path]]:
        """All files that may be masks, by their place without what says their format."""
        found: dict[Path, list[Path]] = defaultdict(list)
        ends = {*SUFFIXES, *(end for ends in _OUTLINES.values() for end in ends)}
        for path in sorted(self.place.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(self.place).parts)
            if not hidden and suffix(path) in ends and path.name != predictions.NAME:
                found[_stem(path)].append(path)
        return found

    def _passed_over(self) -> str:
        """Files that may be masks, and are of no prediction: saved under another name, perhaps."""
        mine = {path for name in self.by_name for kind in KINDS for path in self._files(name, kind)}
        mine |= {self.place / name for name in self.said.sha256} | {each.image.path for each in self.said.pictures}
        others = [path for paths in self._inside.values() for path in paths if path not in mine]
        shown = ", ".join(printable(path.name) for path in others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        return f"passed over {shown}: no prediction has such a name" if others else ""

    def _accepted(self, picture: Picture) -> _Edit:
        path = self.place / picture.files.get("labels", f"{picture.name}{_ENDS['labels']}.tif")
        if not path.exists():
            raise DataError(f"{path} is missing, and dataset.accepted names it", "Bring it back, or predict again.")
        return _Edit("labels", path, self.said.sha256.get(picture.files["labels"], ""), accepted=True)

    def _ref(self, picture: Picture, edit: _Edit) -> ImageRef:
        """The page of an edited file that is the picture's. Raises DataError where it has other pages than it had."""
        if picture.page is None or edit.kind in _OUTLINES:
            return ImageRef(edit.path, picture.page)
        wanted, found = len(self.by_name[picture.name]), pages(edit.path)
        if wanted == found:
            return ImageRef(edit.path, picture.page)
        with suppress(DataError):  # three or four pages that a program, napari for one, wrote as colours
            if pages(edit.path, "ZYX") == wanted:
                return ImageRef(edit.path, picture.page, "ZYX")
        raise DataError(
            f"{edit.path} has {found} page(s), and {wanted} were predicted",
            "Save the whole stack again, its pages in their order.",
        )

    def _reading(self, picture: Picture, edit: _Edit) -> Redrawn:
        """How an edited file is read. Raises DataError where nothing tells the class of its objects."""
        names = self.said.class_names
        if edit.kind == "labels":
            return Redrawn("labels", names, self.ids)
        kind: Literal["objects", "outlines"] = "objects" if edit.kind == "objects" else "outlines"
        neurites = self.said.objects == "neurites"
        if len(names) == 2:
            return Redrawn(kind, names, self.ids, *((0, 1) if neurites else (1, 0)))
        labels = self.place / picture.files.get("labels", "")
        whole = _Edit("labels", labels, "")
        if neurites or not labels.is_file() or self._changed(picture, whole):
            why = "says nothing of the other classes" if neurites else f"needs {labels.name} as it was predicted"
            raise DataError(
                f"{edit.path} was edited, which of {len(names)} classes {why}",
                f"Correct {picture.files.get('labels', 'NAME_labels.tif')}, which holds classes.",
            )
        return Redrawn(kind, names, self.ids, None, 0, self._ref(picture, whole), picture.values.get("labels", ""))

    def _changed(self, picture: Picture, edit: _Edit) -> bool:
        """Whether an edited file says anything else of a picture than was predicted. What cannot be read does."""
        ref = self._ref(picture, edit)
        how = self._reading(picture, edit)
        try:
            if edit.kind == "labels":
                digest = values_hash()
                for block in redrawn_blocks(ref, replace(how, ids=tuple(range(len(how.names))))):
                    digest.update(np.ascontiguousarray(block.pixels).data)
                return digest.hexdigest() != picture.values.get("labels")
            ids, named = numbered(ref, how, picture.size)
            if values_sha256(_renumbered(ids), "objects") != picture.values.get("objects"):
                return True
            unnamed = classes_of(ids, ("",) * len(named), ref, how)
            return not np.array_equal(classes_of(ids, named, ref, how), unnamed)
        except DataError:
            return True


def _grouped(sample: Sample, pattern: str) -> Sample:
    """The sample in the group that the name of its picture says, as those of the data set are."""
    match = re.search(pattern, composed(sample.image.path.stem))
    if match is None or not match[1]:
        raise DataError(
            f"dataset.group={pattern!r} finds no group in the name of {sample.image.path}, whose prediction was "
            "corrected",
            "Without it nothing tells whether it is of a patient or slide that tests.",
        )
    return replace(sample, group=match[1])


def _renumbered(ids: Objects) -> Objects:
    """The ids in the order of their first pixels, from 1: the same for the same objects, however they are numbered."""
    found, first = np.unique(ids, return_index=True)
    order = np.argsort(first[found > 0])
    table = np.zeros(int(found.max(initial=0)) + 1, np.int32)
    table[found[found > 0][order]] = np.arange(1, len(order) + 1)
    return np.asarray(table[ids])


def _page_name(picture: Picture) -> str:
    return picture.name if picture.page is None else f"{picture.name}-{picture.page:03d}"


def _stem(path: Path) -> Path:
    """A file's place without what says its format, letters composed as they are written."""
    name = path.name
    return path.parent / composed(name[: len(name) - len(suffix(path))] if suffix(path) else name)
