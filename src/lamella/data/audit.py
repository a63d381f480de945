"""Are these samples sound? Every file is decoded before anything trains; all that is wrong is said at once."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lamella.data.images import size
from lamella.data.store import Store, file_sha256
from lamella.data.types import Dataset, Sample, Split
from lamella.errors import DataError

_SHOWN = 10


def audit(dataset: Dataset, store: Store, progress: Callable[[int, int], None] | None = None) -> None:
    """Decodes every image and mask into the store and checks that they belong together.

    Args:
        dataset: what to check.
        store: where the decoded arrays go.
        progress: called with (done, total) after each sample.

    Raises:
        DataError: names every faulty file (the first ten, and how many more) and the way out.
        StorageError: the store's folder cannot be written.
    """
    faults: list[DataError] = []
    # Threads, because decoders work without Python's lock. Results come in the samples' order.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, found in enumerate(pool.map(lambda s: _faults(s, store), dataset.samples), 1):
            faults += found
            if progress:
                progress(number, len(dataset.samples))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise DataError(
            f"{len(faults)} faults in {len(dataset.samples)} samples",
            "\n  ".join([f"{f.problem}. {f.remedy}" for f in faults[:_SHOWN]] + more),
        )


def _faults(sample: Sample, store: Store) -> list[DataError]:
    """What is wrong with the files of one sample."""
    found = []
    for decode in (store.image, store.mask):
        try:
            decode(sample)
        except DataError as fault:
            found.append(fault)
    if found:
        return found
    # Full sizes: scaled down, two that differ by a few pixels may come out the same.
    (mask_height, mask_width), (height, width) = store.truth(sample).shape, size(sample.image)
    if (mask_height, mask_width) != (height, width):
        found.append(
            DataError(
                f"{sample.mask} is {mask_width}x{mask_height} pixels, its image {sample.image} {width}x{height}",
                "Image and mask must have the same size. One of them was resized or belongs elsewhere.",
            )
        )
    return found


def manifest(dataset: Dataset, split: Split) -> list[dict[str, Any]]:
    """One entry a sample: files, hashes, sizes in bytes, group, and the part it plays."""
    role = {
        s.id: name for name, part in (("train", split.train), ("val", split.val), ("test", split.test)) for s in part
    }
    return [
        {
            "id": s.id,
            "role": role[s.id],
            "group": s.group,
            "image": {"file": s.image.path.name, "page": s.image.page, **_identity(s.image.path)},
            "mask": {"file": s.mask.path.name, "page": s.mask.page, **_identity(s.mask.path)},
        }
        for s in dataset.samples
    ]


def data_sha256(dataset: Dataset, store: Store) -> str:
    """One hash over names, content and meaning of all samples; file paths do not enter it."""
    parts = [
        (s.id, file_sha256(s.image.path), s.image.page, file_sha256(s.mask.path), s.mask.page) for s in dataset.samples
    ]
    return hashlib.sha256(json.dumps([parts, sorted(store.card.mask_values.items())]).encode()).hexdigest()


def split_sha256(split: Split) -> str:
    """One hash over which sample plays which part."""
    return hashlib.sha256(json.dumps(split_ids(split), sort_keys=True).encode()).hexdigest()


def split_ids(split: Split) -> dict[str, list[str]]:
    """The ids of each part."""
    return {
        "train": [s.id for s in split.train],
        "val": [s.id for s in split.val],
        "test": [s.id for s in split.test],
    }


def _identity(path: Path) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}
