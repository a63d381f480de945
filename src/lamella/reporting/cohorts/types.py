"""What is compared: cohorts of methods, methods of runs that differ by their seed, and runs of one fold or several."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lamella.reporting.cohorts.origin import Origin

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SeedRun:
    """What one seed of a method made of every test image: one finished run, or one run a fold put together.

    Of folds that judge the same images it is what one fold made of them, the mean over its seeds.

    Attributes:
        run_id: MLflow's; of several folds that of the first, of several seeds of a fold that of the median.
        name: the run's name.
        seed: it differs between the runs of a method.
        params: the flat configuration, as text.
        metrics: the last value of each.
        scores: `scores/test.csv`: one row an image, sorted by `id`.
        read_curve: what `curve` is read with: a store is asked for every metric of a run by itself, which takes time.
        fetch: the name of one of the run's files -> where it lies on this machine; raises StorageError. Of several
            folds ask the one that scored the image, see `of_image`.
        fold: which fold judged, where the run is one of several; "" for none.
        parts: the runs that this is made of, where these are several: those of the folds, of which one scored each
            image of `scores`; or the seeds of one `fold`, the median first, which is the one to be shown.
        labelled: on how many images it was trained; NaN where its tags do not tell, and of several folds.
    """

    run_id: str
    name: str
    seed: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    scores: pd.DataFrame
    read_curve: Callable[[], pd.DataFrame]
    fetch: Callable[[str], Path]
    fold: str = ""
    parts: tuple["SeedRun", ...] = ()
    labelled: float = np.nan

    @cached_property
    def curve(self) -> pd.DataFrame:
        """One row an epoch, columns such as `train/loss`, `val/dice`; no row for a method without training."""
        return self.read_curve()

    @property
    def each(self) -> tuple["SeedRun", ...]:
        """The finished runs that this is made of: itself, or one a fold."""
        return self.parts or (self,)

    @property
    def judges(self) -> tuple["SeedRun", ...]:
        """The finished runs that stand for this one in pictures and tables of pixels: of each image one."""
        return self.parts if self.parts and not self.fold else (self,)

    def of_image(self, image: int) -> tuple["SeedRun", int]:
        """The finished run that scored an image of `scores`, by its row, and the row in that run's own `scores`."""
        if not self.parts:
            return self, image
        id_ = self.scores["id"].iloc[image]
        for part in self.parts:
            rows = np.flatnonzero((part.scores["id"] == id_).to_numpy())
            if len(rows):
                return part, int(rows[0])
        raise KeyError(id_)


@dataclass(frozen=True)
class Method:
    """A method that is compared: its runs, which differ by their seed alone.

    Attributes:
        label: unique in its cohort, shown everywhere.
        runs: at least one, by seed; each with the same images.
        deterministic: it draws nothing at random; one run is as good as many.
        labelled: how many images it was trained on, mean over runs; NaN where that is not known.
        settings: all that makes it the method it is, key -> text; labels have what differs in their cohort.
        origin: what its networks were trained on.
    """

    label: str
    runs: tuple[SeedRun, ...]
    deterministic: bool
    labelled: float = np.nan
    settings: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def score(self, name: str) -> Values:
        """A column of the tables of all runs, (runs, images); NaN where an image has no such score."""
        return np.stack([each.scores[name].to_numpy(np.float64) for each in self.runs])

    def metric(self, name: str) -> float:
        """The mean of an MLflow metric over runs; NaN where one of them lacks it."""
        return float(np.mean([each.metrics.get(name, np.nan) for each in self.runs]))

    @property
    def median(self) -> SeedRun:
        """The run whose mean Dice is the median (the lower one of two): the one that pictures show."""
        means = over_images(self.score("dice"))
        return self.runs[int(np.argsort(means, kind="stable")[(len(means) - 1) // 2])]


@dataclass(frozen=True)
class Folding:
    """How the runs of a cohort are folds of one plan.

    Attributes:
        kind: "parted": each fold judges images of its own, and together they judge every image once (`hashed_folds`,
            `blocks_folds`); "repeated": every fold judges the same images, and others are held out of training
            (`published_folds`).
        names: of the folds that all methods have, in order.
        planned: how many folds there are in the plan; more than `names` where some were not run by every method.
        of: the fold that judged each image, in the order of the tables; empty where folds are repeated.
        ratio: images held out of a fold's training to judge, over those that train, mean over folds: what the
            correction for overlapping training sets needs (n2 / n1 of Nadeau and Bengio).
    """

    kind: Literal["parted", "repeated"]
    names: tuple[str, ...]
    planned: int
    of: tuple[str, ...]
    ratio: float


@dataclass(frozen=True)
class Cohort:
    """Methods that may be compared: the same test images, by the same protocol.

    Attributes:
        dataset: its name.
        phantom: a program made the images; said wherever a score appears.
        methods: in the order in which their first runs began.
        protocol: what was compared how, label -> text: the protocol card.
        card: what the data is, label -> text: the data card.
        folds: how its runs are folds of one plan; None where they are not.
        learning: the methods that were also trained on shares of the training images, label -> one `Method` a share,
            the smallest share first and the method itself last: the learning curves. Empty where there are none.
    """

    dataset: str
    phantom: bool
    methods: tuple[Method, ...]
    protocol: Mapping[str, str]
    card: Mapping[str, str]
    folds: Folding | None = None
    learning: Mapping[str, tuple[Method, ...]] = field(default_factory=dict)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of the test images, in the order of every table."""
        return tuple(self.methods[0].runs[0].scores["id"].astype(str))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group of each image: what is drawn together (a slide, a patient)."""
        return tuple(self.methods[0].runs[0].scores["group"].astype(str))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The scores that every run of every method has, in the order of the tables."""
        tables = [each.scores for method in self.methods for each in method.runs]
        shared = set.intersection(*(set(table.columns) for table in tables))
        return tuple(name for name in tables[0].columns if name in shared - {"id", "group", "case"})


def over_images(values: Values) -> Values:
    """The mean of each run, (runs,), over the images that have the score; NaN where none has it.

    Args:
        values: (runs, images), NaN where an image has no such score.
    """
    known = ~np.isnan(values).any(axis=0)
    if not known.any():
        return np.full(len(values), np.nan)
    return np.asarray((values if known.all() else values[:, known]).mean(axis=1))
