"""ISBI-2012: neuronal membranes in serial-section electron microscopy (Cardona et al. 2010, PLoS Biology)."""

from pathlib import Path
from typing import Annotated

from lamella.config.key import Key
from lamella.config.paths import typed
from lamella.data.io.read import pages
from lamella.data.types import Dataset, DatasetCard, ImageRef, Sample
from lamella.errors import DataError

# In the files 0 is membrane and 255 is interior. Membrane is what is sought, so it is class 1 here.
CARD = DatasetCard(
    name="em",
    title="ISBI-2012: Drosophila larva, ssTEM, membrane (foreground) against neurite interior",
    class_names=("interior", "membrane"),
    mask_values={255: 0, 0: 1},
    channels=1,
    source="Cardona et al. 2010, PLoS Biology 8:e1000502; Arganda-Carreras et al. 2015, Frontiers in "
    "Neuroanatomy 9:142. 30 labelled sections of 512x512, 4x4x50 nm a voxel.",
    spacing_nm=(4.0, 4.0),
    objects="neurites",
)

_AXES = "ZYX"


def em(*, root: Annotated[str, Key("folder that holds train-volume.tif and train-labels.tif", path=True)]) -> Dataset:
    """The labelled sections of the ISBI-2012 challenge, one sample a page, in the order of the block.

    The block is one stack of one animal, and so one group: statistics count it once. It is split into runs of sections
    (`lamella.splits.blocks`), never at random. Raises DataError where a file is missing or damaged, or the two hold
    different numbers of pages.
    """
    folder = Path(root)
    volume, labels = folder / "train-volume.tif", folder / "train-labels.tif"
    if not folder.is_dir() or not (volume.is_file() or labels.is_file()):
        raise DataError(
            f"the EM data set is not at {folder}",
            f"Fetch it: {typed('prepare_data')} dataset=em\n  "
            "Or set `paths.data` or LAMELLA_DATA to the folder that holds em/. Without data: `dataset=phantom_em`.",
        )
    count, label_count = pages(volume, _AXES), pages(labels, _AXES)
    if count != label_count:
        raise DataError(
            f"{volume} has {count} pages, {labels} has {label_count}",
            "Each section needs its label page; fetch both files again.",
        )
    samples = []
    for page in range(count):
        id_, image, mask = f"section-{page:03d}", ImageRef(volume, page, _AXES), ImageRef(labels, page, _AXES)
        samples.append(Sample(id_, image, mask, group=volume.stem, stack=volume.stem, place=page))
    return Dataset(CARD, samples)
