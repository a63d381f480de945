"""Cells that several tables of the page share, and what stands before whatever shows scores of phantoms."""

from typing import Any

import numpy as np

from lamella.metrics.catalogue import lookup
from lamella.pages.render import Cell
from lamella.reporting.cohorts import Cohort, Values
from lamella.reporting.numbers import UNKNOWN, score_text, span


def told(cohort: Cohort) -> str:
    """ "Phantom: " where a program made the images, which every table of their scores begins with; else nothing."""
    return "Phantom: " if cohort.phantom else ""


def heading(name: str) -> Cell:
    """The heading of a score, with which way is better where that is not up."""
    return Cell(lookup(name).heading, ("lower is better",) if lookup(name).lower_is_better else ())


def words(*texts: str) -> list[Cell]:
    """Cells of words, which begin at the left."""
    return [Cell(text, left=True) for text in texts]


def mean(row: dict[Any, Any], name: str) -> Cell:
    """A score of a row of the summary: below it the interval, the deviation over seeds, and what it stands on."""
    low, high, deviation, images = (row[f"{name}_{part}"] for part in ("low", "high", "seed_sd", "images"))
    some = [f"in {images:.0f} of {row['images']:.0f} images"] if images < row["images"] else []
    if np.isnan(row[name]):
        return Cell(UNKNOWN, some)
    spread = [] if np.isnan(deviation) or row["deterministic"] else [f"±\u00a0{score_text(deviation, name)}"]
    imputed = row.get(f"{name}_imputed", 0)
    return Cell(
        score_text(row[name], name),
        [
            span(low, high, name).replace(" to ", " to\u00a0"),
            *spread,
            *some,
            *([f"{imputed:.0f} imputed"] if imputed else []),
        ],
    )


def of_seeds(means: Values, name: str) -> Cell:
    """A score without interval, from its mean of each seed: (runs,)."""
    spread = (f"±\u00a0{score_text(float(means.std(ddof=1)), name)}",) if len(means) > 1 else ()
    return Cell(score_text(float(means.mean()), name), spread)
