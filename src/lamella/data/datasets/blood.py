"""BBBC041Seg: stained blood smears, every cell in a mask (Depto et al. 2021, Tissue and Cell 69:101473)."""

from pathlib import Path
from typing import Annotated

from lamella.config.key import Key
from lamella.config.paths import typed
from lamella.data.datasets.pairing import from_places
from lamella.data.types import Dataset, DatasetCard, Role, Sample
from lamella.errors import DataError

CARD = DatasetCard(
    name="blood",
    title="BBBC041Seg: blood smears, cell against ground",
    class_names=("ground", "cell"),
    mask_values={0: 0, 255: 1},
    channels=3,
    source="Depto et al. 2021, Tissue and Cell 69:101473 (masks); Broad Bioimage Benchmark Collection BBBC041 "
    "(images). 1,328 pairs: 1,208 PNG 1600x1200, 119 JPEG and 1 PNG 1944x1383. MIT as stated there.",
    objects="cells",
)
_PARTS: tuple[Role, ...] = ("train", "test")


def blood(
    *, root: Annotated[str, Key("folder that holds train/ and test/, each with original/ and mask/", path=True)]
) -> Dataset:
    """The blood smears of BBBC041Seg, from `root`/{train,test}/{original,mask}/.

    Images and masks pair by stem: `uuid.jpg` with `uuid.png`. Each image is its own group: the set names no slide or
    patient.

    Raises DataError where a folder is missing or empty, for an image or mask without its pair, a name in both parts.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"the blood data set is not at {folder}",
            f"Fetch it: {typed('prepare_data')} dataset=blood\n  Or set `paths.data` or LAMELLA_DATA "
            "to the folder that holds blood/. Without data: `dataset=phantom_blood`.",
        )
    samples = [
        Sample(pair.id, pair.image, pair.mask, group=pair.id, part=part)
        for part in _PARTS
        for pair in from_places(str(folder / part / "original"), str(folder / part / "mask")).pairs
    ]
    first: dict[str, Sample] = {}
    for sample in samples:
        if (other := first.setdefault(sample.id, sample)) is not sample:
            problem = f"{sample.image} and {other.image} have the same name in train and test"
            raise DataError(problem, "Remove one: an image that trains must not judge.")
    return Dataset(CARD, samples)
