"""How sure a mean over images is, and whether two methods differ by more than chance.

Images are the sample: everything is said about the mean over images like these. Where images come in groups (a
slide, a patient, a block) the groups are drawn, or flipped, as a whole, for images of one group are alike, and
counting them one by one would promise too much.
"""

from lamella.statistics.comparison import Comparison, best, compare, holm, in_order, paired
from lamella.statistics.intervals import Agreement, Interval, agreement, interval

__all__ = [
    "Agreement",
    "Comparison",
    "Interval",
    "agreement",
    "best",
    "compare",
    "holm",
    "in_order",
    "interval",
    "paired",
]
