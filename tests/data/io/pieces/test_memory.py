"""What does not fit is told before it is decoded, with figures and a way out."""

import pytest

from lamella.data.io.pieces import memory
from lamella.errors import DataError


def test_what_is_free_is_no_more_than_the_process_may_take():
    resource = pytest.importorskip("resource")
    free, limits = memory.free_memory(), resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (2**40, limits[1]))
        assert 0 < memory.free_memory() <= free * 1.5
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_what_is_too_large_to_be_scored_is_told(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 12_000_000_000)
    memory.require_memory_to_score("a.tif", (10_000, 11_000))
    with pytest.raises(DataError, match=r"a\.tif is 30,000 x 20,000 pixels: .* about 60\.0 GB .* 12\.0 GB are free"):
        memory.require_memory_to_score("a.tif", (20_000, 30_000))
