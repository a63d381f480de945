"""Finished runs -> cohorts of methods that may be compared."""

from lamella.reporting.cohorts.gather import (
    APART,
    OLDER,
    REPRODUCTION,
    RULES,
    by_method,
    cohorts,
    data_differences,
    differences,
)
from lamella.reporting.cohorts.origin import MASKS
from lamella.reporting.cohorts.types import Cohort, Folding, Method, SeedRun, Values, over_images

__all__ = [
    "APART",
    "MASKS",
    "OLDER",
    "REPRODUCTION",
    "RULES",
    "Cohort",
    "Folding",
    "Method",
    "SeedRun",
    "Values",
    "by_method",
    "cohorts",
    "data_differences",
    "differences",
    "over_images",
]
