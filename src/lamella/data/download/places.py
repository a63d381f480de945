"""Where the data sets are published, under which names, and what there is to them."""

from collections.abc import Mapping
from dataclasses import dataclass

from lamella.data.download.archives import Layout, Pairs, Stack, Stacks


@dataclass(frozen=True)
class Place:
    """One data set as it was published.

    Attributes:
        name: short, as in `dataset=NAME`.
        title: what it is.
        url: where a program fetches the archive.
        by_hand: where a person finds it, in a sentence.
        archive: what the archive is called on disk.
        layout: what is in it.
    """

    name: str
    title: str
    url: str
    by_hand: str
    archive: str
    layout: Layout


# Neither archive was published with a hash. The challenge's own hashes are those of its TIFFs.
EM = Place(
    name="em",
    title="ISBI-2012 (serial-section electron micrographs)",
    url="https://downloads.imagej.net/ISBI-2012-challenge.zip",
    by_hand="Get https://downloads.imagej.net/ISBI-2012-challenge.zip with a browser "
    "(described at https://imagej.net/events/isbi-2012-segmentation-challenge).",
    archive="ISBI-2012-challenge.zip",
    layout=Stacks(
        stacks=(
            Stack(
                "train-volume.tif",
                blob="358e48bed4f747c20da43251eb7138727d98cec3",
                pixels="200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
            ),
            Stack(
                "train-labels.tif",
                blob="74ab9858c0be80842c94c41c6fb980aab49e9558",
                pixels="a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
                values=frozenset({0, 255}),
            ),
            Stack(
                "test-volume.tif",
                blob="3e3612ff0786d278b4d2712a29383c7ca58288ad",
                pixels="1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
            ),
        ),
        extras=("test-labels.tif",),  # found beside the others in unpacked copies; the challenge kept it secret
        pages=30,
        side=512,
    ),
)

BLOOD = Place(
    name="blood",
    title="BBBC041Seg (stained blood smears)",
    url="https://drive.google.com/uc?export=download&id=1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71",
    by_hand="Get the archive with a browser from "
    "https://drive.google.com/file/d/1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71/view or from "
    "https://www.kaggle.com/datasets/jeetblahiri/bccd-dataset-with-mask (asks for an account).",
    archive="BBBC041Seg.zip",
    layout=Pairs(
        parts={"train": 1169, "test": 159},
        pictures={("PNG", (1600, 1200)): 1208, ("JPEG", (1944, 1383)): 119, ("PNG", (1944, 1383)): 1},
    ),
)

PUBLISHED: Mapping[str, Place] = {place.name: place for place in (EM, BLOOD)}
