"""The follower's loop: find devices with something to read, and take each one step at a time, several at once.

Polling guarantees that nothing is left; the claim in the database guarantees that no device is taken twice.
"""

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.errors import DermafleetError, TransientError
from dermafleet.logs import get_logger
from dermafleet.storage import follow
from dermafleet.storage.engine import translate
from dermafleet.storage.follow import Work
from services.alerts import metrics
from services.alerts.libraries import Libraries
from services.alerts.step import Patience, Progress, step

WORKERS = 4
"""Steps at once: while one waits for the database another computes. More processes use more cores."""
MAX_STEPS = 5
"""Of one device in a row; then the others have their turn: live machines wait for those with a backlog."""
QUIET_S = (1.0, 30.0)
"""How long a device that did not move, though it has entries, is left alone: at first, and after a long wait.

It waits for missing ones. When one of them arrives, it is taken at once.
"""
FAILED_QUIET_S = 60.0
"""Likewise one whose evaluation failed: it needs another version, or another limit in its model."""
_BACKOFF_S = (0.2, 10.0)

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Quiet:
    """A device left alone until then, or until something of it is resolved."""

    resolved: int
    pause_s: float
    until: float

    def holds(self, work: Work, now: float) -> bool:
        return not work.is_ready and work.resolved == self.resolved and now < self.until


def quieten(before: Quiet | None, work: Work, now: float) -> Quiet:
    """Leave a device alone, twice as long as before if it still waits for the same."""
    is_same = before is not None and before.resolved == work.resolved
    pause_s = min(2 * before.pause_s, QUIET_S[1]) if before and is_same else QUIET_S[0]
    return Quiet(work.resolved, pause_s, now + pause_s)


class Follower:
    """Follows all devices until told to stop. One per process; any number of processes."""

    def __init__(self, engine: AsyncEngine, *, patience: Patience, poll: timedelta, workers: int = WORKERS) -> None:
        self._engine = engine
        self._patience = patience
        self._poll_s = poll.total_seconds()
        self._workers = workers
        self._libraries = Libraries()
        self._quiet: dict[int, Quiet] = {}
        self._failed_until: dict[int, float] = {}
        self._failures: dict[int, str] = {}
        self._is_behind = False
        self.trouble: str | None = "has not polled the database yet"
        """Why the process is not ready; None once a poll has been worked off."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a step under way is finished. A database not (yet) usable is waited for."""
        backoff_s = _BACKOFF_S[0]
        while not stop.is_set():
            try:
                moved = await self.poll(stop)
            except DermafleetError as error:  # also a missing table or right: an operator repairs it meanwhile
                is_away = isinstance(error, TransientError)
                if self.trouble != (trouble := "the database does not answer" if is_away else str(error)):
                    _log.warning("Waiting for the database", error=str(error))
                self.trouble = trouble
                metrics.failures.labels("transient" if is_away else "permanent").inc()
                await _sleep(stop, backoff_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
                backoff_s = min(2 * backoff_s, _BACKOFF_S[1])
                continue
            if self.trouble is not None:
                _log.info("Following the devices' logs")
            self.trouble, backoff_s = None, _BACKOFF_S[0]
            if not moved or not self._is_behind:
                await _sleep(stop, self._poll_s)  # live entries gather meanwhile: a step costs more than an entry

    async def poll(self, stop: asyncio.Event) -> bool:
        """Look once for devices with something to read and take them on; True if one of them moved.

        Raises:
            DermafleetError: the database; what was begun is undone and will be found again.
        """
        with translate():
            async with self._engine.connect() as connection:
                found = await follow.find_work(connection)
        now = time.monotonic()
        waiting = {work.device for work in found}
        self._quiet = {device: quiet for device, quiet in self._quiet.items() if device in waiting}
        self._failed_until = {device: until for device, until in self._failed_until.items() if until > now}
        due = [
            work
            for work in found
            if work.device not in self._failed_until
            and not ((quiet := self._quiet.get(work.device)) and quiet.holds(work, now))
        ]
        metrics.pending.set(len(due))
        self._is_behind = False
        random.shuffle(due)  # so that several processes seldom try the same one
        queue = deque(due)
        results = await asyncio.gather(*(self._work(queue, stop) for _ in range(self._workers)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return True in results

    async def _work(self, queue: deque[Work], stop: asyncio.Event) -> bool:
        moved = False
        while queue and not stop.is_set():
            moved |= await self._take(queue.popleft(), stop)
        return moved

    async def _take(self, work: Work, stop: asyncio.Event) -> bool:
        """Take one device some steps further; True if it moved."""
        device = work.device
        for taken in range(MAX_STEPS):
            if stop.is_set():
                return taken > 0
            try:
                with metrics.step_seconds.time():
                    progress = await step(self._engine, device, self._patience, self._libraries)
            except TransientError:
                raise
            except Exception as error:
                # Data never ends the process: this device waits for a repaired version, the others go on.
                self._note_failure(device, error)
                return False
            self._failures.pop(device, None)
            if progress is Progress.CAUGHT_UP:
                return True
            if progress is Progress.NONE:
                if taken == 0:
                    self._quiet[device] = quieten(self._quiet.get(device), work, time.monotonic())
                return taken > 0
        self._is_behind = True
        return True

    def _note_failure(self, device: int, error: Exception) -> None:
        """Say why once, not at every try: a bad limit in a model fails all of its devices every minute."""
        metrics.failures.labels("permanent").inc()
        self._failed_until[device] = time.monotonic() + FAILED_QUIET_S
        if self._failures.get(device) != str(error):
            trace = None if isinstance(error, DermafleetError) else error
            _log.error("Evaluating a device failed", device=device, reason=str(error), exc_info=trace)
        self._failures[device] = str(error)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond `stop`."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
