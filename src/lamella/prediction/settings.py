"""What is predicted with, and what is written: what a command settles once for all of its files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lamella.errors import ConfigError
from lamella.hardware import Hardware
from lamella.inference.checkpoint import Trained
from lamella.inference.pictures import require_alike


@dataclass(frozen=True)
class Wanted:
    """What is written of each file beside its labels, objects, overlay and rows of tables.

    Attributes:
        probability: NAME_probability.tif.
        uncertainty: NAME_uncertainty.tif.
        geojson: NAME.geojson, outlines for QuPath.
        rois: NAME_rois.zip, outlines for Fiji.
        challenge: NAME_challenge.tif, what the ISBI-2012 challenge takes.
    """

    probability: bool = False
    uncertainty: bool = False
    geojson: bool = False
    rois: bool = False
    challenge: bool = False

    def names(self, name: str) -> dict[str, str]:
        """The kind of each file -> what it is called, of a file of that name."""
        ends = {"labels": "_labels.tif", "objects": "_objects.tif", "overlay": "_overlay.png"}
        asked = {
            "probability": "_probability.tif", "uncertainty": "_uncertainty.tif", "geojson": ".geojson",
            "rois": "_rois.zip", "challenge": "_challenge.tif",
        }  # fmt: skip
        return {kind: name + end for kind, end in (ends | asked).items() if kind in ends or getattr(self, kind)}


@dataclass(frozen=True)
class Predictor:
    """One network or an ensemble, with all that decides what it finds.

    Attributes:
        trained: the networks; the first one's threshold and view of objects hold for all.
        hardware: device and precision.
        tta: average over the eight flips and quarter turns; None: as the first one's test.
        smallest: objects of fewer pixels are none.
        neck: pixels by which a region must be narrower in between to be cut there; None: nothing is cut.
    """

    trained: Sequence[Trained]
    hardware: Hardware
    tta: bool | None
    smallest: int
    neck: float | None

    @property
    def first(self) -> Trained:
        """The network that stands for all."""
        return self.trained[0]

    @property
    def views(self) -> bool:
        """Whether test-time views are averaged."""
        return self.first.segmenter.inference.tta if self.tta is None else self.tta

    def identity(self) -> dict[str, Any]:
        """What decides the results, in plain values: where they are equal, the same is found."""
        return {
            "networks": [_fingerprint(each) for each in self.trained],
            "views": self.views,
            "precision": self.hardware.precision,
            "smallest": self.smallest,
            "neck": self.neck,
        }


def check(predictor: Predictor, wanted: Wanted) -> None:
    """Raises ConfigError where networks do not go together, or cannot give what is wanted."""
    first, segmenter = predictor.first, predictor.first.segmenter
    require_alike(predictor.trained)
    if not segmenter.gives_probabilities and (wanted.probability or wanted.uncertainty or wanted.challenge):
        raise ConfigError(
            "a method without training gives masks alone, no probabilities",
            "Leave probability, uncertainty and challenge out.",
        )
    if wanted.uncertainty and not predictor.views and len(predictor.trained) == 1:
        raise ConfigError(
            "uncertainty is how far views or networks differ, and there is one view of one network",
            "Add tta=true, or name several runs: runs=[ID,ID].",
        )
    if wanted.challenge and (first.objects != "neurites" or len(first.class_names) != 2):
        raise ConfigError(
            "challenge=true is for networks that tell membranes from cells: the ISBI-2012 challenge takes nothing else",
            "Leave it out; probability=true writes the probabilities of any network.",
        )


def _fingerprint(trained: Trained) -> str:
    """SHA-256 of a network's weights and of what else decides its classes."""
    segmenter = trained.segmenter
    digest = hashlib.sha256()
    for part in (segmenter.network, segmenter.normalise):
        for name, tensor in part.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    plain = (
        segmenter.inference.tile, segmenter.inference.overlap, segmenter.inference.threshold, segmenter.context,
        trained.class_names, trained.dtype, trained.channels, trained.scale, trained.percentiles, trained.objects,
    )  # fmt: skip
    digest.update(repr(plain).encode())
    return digest.hexdigest()
