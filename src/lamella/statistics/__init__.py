"""How sure a mean over images is, and whether two methods differ by more than chance.

Images are the sample: everything is said about the mean over images like these. Where images come in groups (a
slide, a patient, a stack of sections) the groups are drawn, and counted, as a whole, for images of one group are
alike, and counting them one by one would promise too much. NaN is a score that an image does not have.
"""

from lamella.statistics.comparison import (
    CERTAIN,
    TWO_SEEDS_ERROR,
    UNLIKE_SEEDS_ERROR,
    Comparison,
    best,
    compare,
    holm,
    in_order,
    paired,
)
from lamella.statistics.folds import Folds
from lamella.statistics.intervals import (
    Agreement,
    Interval,
    Share,
    agreement,
    interval,
    interval_of,
    interval_of_each,
    share,
)

__all__ = [
    "CERTAIN",
    "TWO_SEEDS_ERROR",
    "UNLIKE_SEEDS_ERROR",
    "Agreement",
    "Comparison",
    "Folds",
    "Interval",
    "Share",
    "agreement",
    "best",
    "compare",
    "holm",
    "in_order",
    "interval",
    "interval_of",
    "interval_of_each",
    "paired",
    "share",
]
