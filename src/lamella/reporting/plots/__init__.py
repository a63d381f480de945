"""The pictures of a report: drawn from a cohort's tables, readable on a phone, and explained in words."""

from lamella.reporting.plots.checks import bland_altman, curves, reliability
from lamella.reporting.plots.costs import against
from lamella.reporting.plots.pairs import differences, paired_images
from lamella.reporting.plots.scores import distributions, ranking

__all__ = [
    "against",
    "bland_altman",
    "curves",
    "differences",
    "distributions",
    "paired_images",
    "ranking",
    "reliability",
]
