"""Which image goes with which mask: by their places and names, or as a CSV says."""

from lamella.data.datasets.pairing.listing import composed, named
from lamella.data.datasets.pairing.names import Affixes
from lamella.data.datasets.pairing.pairs import Found, Pair, counted
from lamella.data.datasets.pairing.places import from_places
from lamella.data.datasets.pairing.table import from_csv

__all__ = ["Affixes", "Found", "Pair", "composed", "counted", "from_csv", "from_places", "named"]
