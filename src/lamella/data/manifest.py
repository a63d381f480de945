"""The manifest of a run: every file of its data with its hash, and one hash each for the data and the split."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lamella.data.cache.arrays import Store
from lamella.data.cache.facts import Facts
from lamella.data.io.labels import meaning, read_as
from lamella.data.types import LEFT, Dataset, ImageRef, Origin, Sample, Split

_NAMED = 5  # ids of images that are named; more are counted


def manifest(dataset: Dataset, split: Split, store: Store) -> list[dict[str, Any]]:
    """The rows of manifest.json, one a sample: files, hashes, sizes in bytes, group, and its part ("" for none; "left":
    left out of what trains by `dataset.take`).

    Files go by name, without folders, so that the manifest is the same on every machine. `pixels` is the hash of the
    image's values, by which it is known in any other file. Of a mask that a network drew `origin` says what became of
    it, `corrected` whether that was by hand, `networks` who drew it, and `predicted_sha256` what its file was then;
    `added_by` stands where a sample is not the data set's own. Raises DataError.
    """
    role = {name: part for part, names in split_ids(split).items() for name in names}
    return [
        {
            "id": s.id,
            "role": role.get(s.id, ""),
            "group": s.group,
            "image": _file(s.image, store.facts) | {"pixels": store.pixels(s)},
            "mask": _file(s.mask, store.facts),
        }
        | ({} if s.origin is None else _became(s.origin))
        | ({} if s.redrawn is None else {"added_by": "dataset.corrected"})
        for s in dataset.samples
    ]


class Changes(NamedTuple):
    """In what two manifests differ: ids of images with another image file or mask, and of those that one lacks."""

    images: tuple[str, ...]
    masks: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(map(len, self))

    def __str__(self) -> str:
        said = (
            _some(self.masks, "mask differs", "masks differ"),
            _some(self.images, "image differs", "images differ"),
            _some(self.added, "image is new", "images are new"),
            _some(self.removed, "image is gone", "images are gone"),
        )
        return "; ".join(filter(None, said)) or "their files are the same"


def changes(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Changes:
    """What differs from one manifest to another, by the content of files: neither names nor parts matter."""
    found = differing(before, after)
    images, masks = (tuple(id_ for id_, which, *_ in found.content if which == what) for what in ("image", "mask"))
    return Changes(images, masks, tuple(found.added), tuple(found.removed))


class Differing(NamedTuple):
    """Which files differ from one manifest to another.

    Attributes:
        content: an image's id, "image" or "mask", and the SHA-256 of its file in the first and in the second; the file
            itself where what is meant in it, such as a page, differs.
        added: ids that only the second one has.
        removed: ids that only the first one has.
    """

    content: list[tuple[str, str, str, str]]
    added: list[str]
    removed: list[str]


def differing(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Differing:
    """Which files differ from one manifest to another, by content as in `changes`, one by one."""
    old, new = ({row["id"]: row for row in rows} for rows in (before, after))
    content = [
        (id_, what, _told(old[id_][what]), _told(new[id_][what]))
        for id_ in new
        if id_ in old
        for what in ("image", "mask")
        if _content(old[id_][what]) != _content(new[id_][what])
    ]
    return Differing(content, [id_ for id_ in new if id_ not in old], [id_ for id_ in old if id_ not in new])


def _told(file: Mapping[str, Any]) -> str:
    return " ".join([file["sha256"], *(other["sha256"] for other in file.get("others", ()))])


def data_sha256(dataset: Dataset, store: Store) -> str:
    """One hash over the ids, files and mask values of all samples; file paths do not enter it. Raises DataError."""
    return _sha256([[_of_sample(s, store) for s in dataset.samples], meaning(store.card)])


def without_redrawn(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The samples of a data set itself, without the corrected predictions that train beside them."""
    return tuple(s for s in samples if s.redrawn is None)


def redrawn_sha256(samples: Sequence[Sample], store: Store) -> str:
    """One hash over the corrected predictions among samples; "" where there is none. Raises DataError."""
    redrawn = [_of_sample(s, store) for s in samples if s.redrawn is not None]
    return _sha256(redrawn) if redrawn else ""


def split_sha256(split: Split) -> str:
    """One hash over the ids of train, val and test, in order; of a share of what would train, of the whole."""
    ids = {part: [s.id for s in samples] for part, samples in split.parts.items()}
    if split.planned:
        ids["train"] = [s.id for s in split.planned]
    return hashlib.sha256(json.dumps(ids, sort_keys=True).encode()).hexdigest()


def split_ids(split: Split) -> dict[str, list[str]]:
    """The ids of train, val and test, as split.json holds them, and of those `left` out, where there are any."""
    parts = split.parts | ({LEFT: split.left} if split.left else {})
    return {part: [s.id for s in samples] for part, samples in parts.items()}


def _of_sample(sample: Sample, store: Store) -> list[Any]:
    files = [_identity(ref, store.facts) for ref in (sample.image, sample.mask)]
    return [sample.id, *files, *([] if sample.redrawn is None else [read_as(sample, store.card)])]


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _content(file: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a file of a manifest from another: its hash, and what of it is meant."""
    others = [other["sha256"] for other in file.get("others", ())]
    return file["sha256"], file["page"], file.get("inside"), others


def _became(origin: Origin) -> dict[str, Any]:
    return {
        "origin": origin.state,
        "corrected": origin.state == "corrected",
        "networks": list(origin.networks),
        "predicted_sha256": origin.before,
    }


def _some(ids: Sequence[str], one: str, many: str) -> str:
    """Such as "2 masks differ (a, b)"; nothing of none."""
    if not ids:
        return ""
    named = ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")
    return f"{len(ids)} {one if len(ids) == 1 else many} ({named})"


def _identity(ref: ImageRef, facts: Facts) -> list[Any]:
    """Content and place of a picture; what most pictures lack is left out."""
    more = [ref.inside, ref.labels, [facts.sha256(path) for path in ref.others]]
    return [facts.sha256(ref.path), ref.page, ref.axes, *(more if any(more) else ())]


def _file(ref: ImageRef, facts: Facts) -> dict[str, Any]:
    path = ref.path
    row: dict[str, Any] = {
        "file": path.name,
        "page": ref.page,
        "sha256": facts.sha256(path),
        "bytes": path.stat().st_size,
    }
    if ref.inside is not None:
        row["inside"] = ref.inside
    if ref.others:
        row["others"] = [{"file": other.name, "sha256": facts.sha256(other)} for other in ref.others]
    return row
