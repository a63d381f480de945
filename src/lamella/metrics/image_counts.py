"""What is counted batch by batch and divided at the end, joined over processes: counts of images, sums over crops."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

import lamella.torchvision_ops  # noqa: F401 - before torchmetrics, which imports torchvision
from lamella.metrics.pixels import ImageTable

from torchmetrics import Metric  # isort: skip
from torchmetrics.utilities import dim_zero_cat  # isort: skip


class PerImage(Metric):
    """One row of numbers for each image of a set, in the set's order, from however many processes.

    An image that came twice counts once: loaders repeat some so that every process has as many. What travels between
    processes is an image's place in the set, for names have no common length.

    Args:
        ids: of all images of the set, each once.
    """

    full_state_update = False
    places: list[torch.Tensor]
    rows: list[torch.Tensor]

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__()
        self.ids = tuple(ids)
        self._place = {name: place for place, name in enumerate(self.ids)}
        self.add_state("places", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, ids: Sequence[str], rows: torch.Tensor) -> None:
        """Keeps the rows (B, ...) of B images. Raises KeyError where an image is none of the set."""
        places = torch.tensor([self._place[name] for name in ids])
        self.places.append(places.to(rows.device, non_blocking=True))
        self.rows.append(rows)

    def compute(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The places (N,) of the images that came, ascending, and their rows (N, ...), on the CPU."""
        places, rows = dim_zero_cat(self.places).cpu(), dim_zero_cat(self.rows).cpu()
        _, first = np.unique(places.numpy(), return_index=True)
        return places[first], rows[first]


class ImageCounts(PerImage):
    """The pixel counts of a set of images: rows are int64 (K, 4), see `lamella.metrics.pixels.count`."""

    def table(self) -> ImageTable:
        """The counts of all images that came, ready to be divided."""
        places, counts = self.compute()
        # torchmetrics makes a scalar of what holds one number.
        return ImageTable([self.ids[place] for place in places.view(-1).tolist()], counts.numpy())


class ImageMean(PerImage):
    """The mean over a set of images of one number each: rows are single numbers."""

    def mean(self) -> float:
        """The mean over all images that came, added up in their order in float32."""
        values = self.compute()[1].view(-1).float().numpy()
        return float(np.add.accumulate(values)[-1] / np.float32(len(values)))


class CropScores(Metric):
    """Mean loss and pooled Dice of an epoch's training crops. Nothing waits for the device before they are read."""

    full_state_update = False
    loss: torch.Tensor
    steps: torch.Tensor
    overlap: torch.Tensor
    total: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("loss", "steps", "overlap", "total"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, loss: torch.Tensor, predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> None:
        """Adds one step: its loss, and class ids (B, H, W) of prediction and truth where they are valid."""
        found, there = (predicted > 0) & valid, (truth > 0) & valid
        self.loss += loss
        self.steps += 1
        self.overlap += 2 * (found & there & (predicted == truth)).sum()
        self.total += found.sum() + there.sum()

    def compute(self) -> dict[str, torch.Tensor]:
        """`loss` and `dice` (of the foreground) over all crops of all processes."""
        return self.here()

    def sums(self) -> dict[str, torch.Tensor]:
        """What has been added up, for `go_on`."""
        return {name: getattr(self, name) for name in self.metric_state}

    def go_on(self, sums: Mapping[str, torch.Tensor]) -> None:
        """Takes up what an interrupted epoch had added up."""
        for name, value in sums.items():
            setattr(self, name, value.to(self.device))
        self._update_count += 1  # torchmetrics warns of sums that nothing was added to

    def here(self) -> dict[str, torch.Tensor]:
        """The same of this process's crops so far, without a word to the others."""
        return {"loss": self.loss / self.steps, "dice": self.overlap / self.total.clamp(min=1)}
