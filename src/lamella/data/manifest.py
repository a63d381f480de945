"""The manifest of a run: every file of its data with its hash, and one hash each for the data and the split."""

import hashlib
import json
from typing import Any

from lamella.data.cache.arrays import Store
from lamella.data.cache.facts import Facts
from lamella.data.io.labels import meaning
from lamella.data.types import Dataset, ImageRef, Split


def manifest(dataset: Dataset, split: Split, store: Store) -> list[dict[str, Any]]:
    """The rows of manifest.json, one a sample: files, hashes, sizes in bytes, group, and its part ("" for none).

    Files go by name, without folders, so that the manifest is the same on every machine. `pixels` is the hash of the
    image's values, by which it is known in any other file. Raises DataError.
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
        for s in dataset.samples
    ]


def data_sha256(dataset: Dataset, store: Store) -> str:
    """One hash over the ids, files and mask values of all samples; file paths do not enter it. Raises DataError."""
    files = [[s.id, *(_identity(ref, store.facts) for ref in (s.image, s.mask))] for s in dataset.samples]
    return hashlib.sha256(json.dumps([files, meaning(store.card)]).encode()).hexdigest()


def split_sha256(split: Split) -> str:
    """One hash over the ids of train, val and test, in order."""
    return hashlib.sha256(json.dumps(split_ids(split), sort_keys=True).encode()).hexdigest()


def split_ids(split: Split) -> dict[str, list[str]]:
    """The ids of train, val and test, as split.json holds them."""
    return {part: [s.id for s in samples] for part, samples in vars(split).items()}


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
