import signal

import pytest

from lamella.training.stopping import REQUEST, Stopped, graceful


def test_a_signal_ends_the_program_at_once_where_nothing_trains() -> None:
    with pytest.raises(Stopped) as stop:
        REQUEST.hear(signal.SIGTERM)
    assert (stop.value.code, stop.value.problem) == (143, "stopped by SIGTERM")


def test_where_a_network_trains_it_is_noted_and_obeyed_when_all_is_saved() -> None:
    saved = []

    def train() -> None:
        with graceful():
            REQUEST.hear(signal.SIGINT)
            saved.append("all")

    with pytest.raises(Stopped):
        train()
    assert saved
    with graceful():
        pass  # it is no longer asked for


def test_what_fails_is_not_hidden_by_a_signal() -> None:
    def train() -> None:
        with graceful():
            REQUEST.hear(signal.SIGINT)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        train()
    assert (REQUEST.active, REQUEST.requested) == (False, None)
