"""Awaiting a condition of another thread or process, with a deadline."""

import time
from collections.abc import Callable
from threading import Event

_pause = Event()


def wait_until(holds: Callable[[], object], *, what: str, within_s: float = 20) -> None:
    """Return as soon as ``holds()`` is true; fail, naming ``what``, when it is not within the time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        _pause.wait(0.01)
