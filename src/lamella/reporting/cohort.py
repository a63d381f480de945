"""Finished runs -> methods that may be compared: those scored on the same images by the same protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Repetition:
    """One finished run of a method.

    Attributes:
        run_id: MLflow's.
        name: the run's name.
        seed: it differs between repetitions.
        params: the flat configuration, as text.
        metrics: the last value of each.
        scores: `scores/test.csv`: one row an image, sorted by `id`.
        curve: one row an epoch, columns such as `train/loss`, `val/dice`; no row for a method without training.
        fetch: the name of one of the run's files -> where it lies on this machine; raises StorageError.
    """

    run_id: str
    name: str
    seed: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    scores: pd.DataFrame
    curve: pd.DataFrame
    fetch: Callable[[str], Path]


@dataclass(frozen=True)
class Method:
    """Runs that differ by their seed alone.

    Attributes:
        label: unique in its cohort, shown everywhere.
        repetitions: at least one, by seed; each with the same images.
        deterministic: it draws nothing at random; one repetition is as good as many.
    """

    label: str
    repetitions: tuple[Repetition, ...]
    deterministic: bool

    def score(self, name: str) -> Scores:
        """A column of the tables of all repetitions: (repetitions, images)."""
        return np.stack([each.scores[name].to_numpy(np.float64) for each in self.repetitions])

    def metric(self, name: str) -> float:
        """The mean of an MLflow metric over repetitions; NaN where one of them lacks it."""
        return float(np.mean([each.metrics.get(name, np.nan) for each in self.repetitions]))

    @property
    def median(self) -> Repetition:
        """The repetition whose mean Dice is the median (the lower one of two): the one that pictures show."""
        means = self.score("dice").mean(axis=1)
        return self.repetitions[int(np.argsort(means, kind="stable")[(len(means) - 1) // 2])]


@dataclass(frozen=True)
class Cohort:
    """Methods that may be compared: the same test images, by the same protocol.

    Attributes:
        dataset: its name.
        phantom: a program made the images; said wherever a score appears.
        methods: in the order in which their first runs began.
        protocol: what was compared how, label -> text: the protocol card.
        card: what the data is, label -> text: the data card.
    """

    dataset: str
    phantom: bool
    methods: tuple[Method, ...]
    protocol: Mapping[str, str]
    card: Mapping[str, str]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of the test images, in the order of every table."""
        return tuple(self.methods[0].repetitions[0].scores["id"].astype(str))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group of each image: what is drawn together (a slide, a patient)."""
        return tuple(self.methods[0].repetitions[0].scores["group"].astype(str))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The scores that every repetition of every method has, in the order of the tables."""
        tables = [each.scores for method in self.methods for each in method.repetitions]
        shared = set.intersection(*(set(table.columns) for table in tables))
        return tuple(name for name in tables[0].columns if name in shared - {"id", "group", "case"})
