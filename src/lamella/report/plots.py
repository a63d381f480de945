"""The pictures of a report: drawn from a cohort's tables, readable on a phone, and explained in words."""

from lamella.report.plots_checks import bland_altman, reliability
from lamella.report.plots_costs import against
from lamella.report.plots_curves import curves
from lamella.report.plots_images import distributions, paired_images
from lamella.report.plots_pairs import differences
from lamella.report.plots_ranking import ranking

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
