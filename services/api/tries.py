"""The brake on guessing passwords: few tries for an account, some more from an address, few at the same time."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=10)
MAX_PER_ACCOUNT = 10
"""Failed tries for one e-mail address within the window; a person mistypes a few times, a program does not stop."""
MAX_PER_ADDRESS = 50
"""Likewise from one network address, which a whole clinic may share."""
MAX_REMEMBERED = 10_000
"""Keys kept; the oldest is forgotten. Guessing at that many accounts is stopped by the address."""
MAX_AT_ONCE = 2
"""Each check of a password takes 19 MiB and a core for 20 ms."""
MAX_WAITING = 32
"""Requests that may wait for their check; more are told to come back."""


class Tries:
    """The failed logins of the last minutes, of this process."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._waiting = 0

    def wait_s(self, email: str, address: str, now: datetime) -> int:
        """Seconds until this account may be tried from this address again; 0 = now."""
        if self._waiting >= MAX_WAITING:
            return 1
        return max(self._wait_s(email, MAX_PER_ACCOUNT, now), self._wait_s(address, MAX_PER_ADDRESS, now))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the places in which a password may be checked."""
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1

    def note_failure(self, email: str, address: str, now: datetime) -> None:
        for key in (email, address):
            self._failed.setdefault(key, deque(maxlen=MAX_PER_ADDRESS)).append(now)
            self._failed.move_to_end(key)
        while len(self._failed) > MAX_REMEMBERED:
            self._failed.popitem(last=False)

    def note_success(self, email: str) -> None:
        self._failed.pop(email, None)

    def _wait_s(self, key: str, most: int, now: datetime) -> int:
        times = self._failed.get(key, ())
        recent = [at for at in times if at > now - WINDOW]
        if len(recent) < most:
            return 0
        return max(1, int((recent[-most] + WINDOW - now).total_seconds()))
