"""Are these samples sound? Every file is decoded before anything trains; all that is wrong is said at once."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from lamella.data.store import Store, file_sha256
from lamella.data.types import Dataset, Split
from lamella.errors import DataError

_SHOWN = 10


def audit(dataset: Dataset, store: Store, progress: Callable[[int, int], None] | None = None) -> None:
    """Decodes every image and mask into the store and checks that they belong together.

    Args:
        dataset: what to check.
        store: where the decoded arrays go.
        progress: called with (done, total) after each sample.

    Raises:
        DataError: names every faulty file (at most ten in words) and the way out.
    """
    faults: list[DataError] = []
    for number, sample in enumerate(dataset.samples, 1):
        try:
            image, mask, truth = store.image(sample), store.mask(sample), store.truth(sample)
            if image.shape[1:] != mask.shape:
                height, width = store.full_image(sample).shape[1:]
                raise DataError(
                    f"{sample.mask} is {truth.shape[1]}x{truth.shape[0]} pixels, its image {sample.image} "
                    f"{width}x{height}",
                    "Image and mask must have the same size. One of them was resized or belongs elsewhere.",
                )
        except DataError as fault:
            faults.append(fault)
        if progress:
            progress(number, len(dataset.samples))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise DataError(
            f"{len(faults)} of {len(dataset.samples)} samples are unsound",
            "\n  ".join([f"{f.problem}. {f.remedy}" for f in faults[:_SHOWN]] + more),
        )


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


def _identity(path: Any) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}
