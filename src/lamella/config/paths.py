"""Where Lamella's own files are."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
CONF = CHECKOUT / "conf"
