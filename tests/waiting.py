"""Awaiting a condition instead of sleeping."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.05


def until(probe: Callable[[], T], *, deadline_s: float = 30, what: str = "") -> T:
    """Call `probe` until it returns something true, and return that; fail with its last answer when time is up."""
    deadline, pause = time.monotonic() + deadline_s, Event()
    while not (found := probe()):
        assert time.monotonic() < deadline, f"{what or probe} not within {deadline_s} s; last: {found!r}"
        pause.wait(_POLL_S)
    return found
