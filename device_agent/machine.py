"""One machine: driver → recorder → outbox → publisher, and its life from start to stop.

`sample` is called by the sampling thread, `write` by a writing thread; the publisher has a thread of its own.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from dermafleet.contracts.envelope import Position
from dermafleet.contracts.records import Counters, Session, encode_record
from dermafleet.contracts.telemetry import encode_telemetry
from dermafleet.errors import TransientError
from device_agent.clock import Clock, Instant, StepWatch
from device_agent.counters import COUNTERS, read_counters, write_counters
from device_agent.drivers import Driver, Operator
from device_agent.entries import CLOCK_FLOOR, NewEntry, event_entry
from device_agent.outbox import Outbox
from device_agent.outbox_file import BrokenOutbox
from device_agent.publisher import Link, Live, Publisher
from device_agent.recorder import Cut, Note, Recorder, Waiting
from device_agent.screening import TALLY, read_tally
from device_agent.sessions import end_after_power_loss

log = logging.getLogger(__name__)

_OPEN_SESSION = "open_session"
_FLOOR_EVERY_MS = 60_000
_MAX_BATCH = 64
_RETRY_S = 1.0
"""Pause after the disk failed; at most this much later than necessary, a hundred times less noise."""

_MAX_TOLD = 100
"""What operators told and no sample has followed yet; a person is slower."""

Confirmed = Callable[[Sequence[tuple[Position, Cut]]], None]
"""Told of telemetry entries after they were committed to disk."""


class Machine:
    """Everything that runs for one device."""

    def __init__(
        self,
        link: Link,
        *,
        clock: Clock,
        driver: Driver,
        recorder: Recorder,
        outbox: Outbox,
        confirmed: Confirmed | None = None,
        is_reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        self.device_id = link.device_id
        self.outbox = outbox
        self.samples_read = 0
        self.samples_appended = 0
        self._clock = clock
        self._driver = driver
        self._recorder = recorder
        self._confirmed = confirmed
        self._publisher = Publisher(link, outbox, clock, self.live, is_reachable)
        self._writing = threading.Lock()
        self._steps = StepWatch()
        self._told: deque[Operator] = deque()
        self._counters: Counters | None = None
        self._floor_at = 0
        self._state = "idle"
        self._is_paused = False
        self._retry_at = 0.0
        self._disk_problem: str | None = None
        self._failure: BrokenOutbox | None = None

    @property
    def failure(self) -> BrokenOutbox | None:
        """Why only a new start of the process can help: the outbox is damaged."""
        return self._failure or self._publisher.failure

    @property
    def counters(self) -> Counters | None:
        """What the machine did in its life, as far as it is on disk; None before the first entry."""
        return self._counters

    @property
    def publisher(self) -> Publisher:
        return self._publisher

    @property
    def ended(self) -> bool:
        """The driver has no more samples, and all it gave are on disk."""
        return self._driver.ended and not self._recorder.waiting

    @property
    def has_waiting(self) -> bool:
        return bool(self._recorder.waiting)

    def live(self) -> Live:
        return Live(self._recorder.state(), self._recorder.latest)

    def start(self) -> None:
        """Go on where the last start stopped, and begin to publish."""
        self.resume()
        self._publisher.start()

    def resume(self) -> None:
        """Take up the counters, and end what a power cut left open; before the first sample."""
        outbox = self.outbox
        counters = read_counters(outbox.recall(COUNTERS))
        open_session = outbox.recall(_OPEN_SESSION)
        if open_session is not None:
            ended = end_after_power_loss(open_session.encode(), outbox.last_telemetry(), counters)
            if ended is not None:
                raw, counters = ended
                told = write_counters(counters) if counters else None
                outbox.append([NewEntry("session", raw)], self._clock.now(), {_OPEN_SESSION: None, COUNTERS: told})
        self._counters = counters
        self._recorder.resume(counters, read_tally(outbox.recall(TALLY)))

    def tell(self, operator: Operator) -> bool:
        """Take what the operator told, from any thread; False when too much waits already."""
        if len(self._told) >= _MAX_TOLD:
            return False
        self._told.append(operator)
        return True

    def sample(self, mono: float) -> None:
        """Read what is due; returns at once when the disk is behind, since nothing may pile up in memory."""
        recorder = self._recorder
        now = self._clock.now()
        while not recorder.is_full and (sample := self._driver.read(now)) is not None:
            self.samples_read += 1
            recorder.take(sample, mono)
        while self._told and not recorder.is_full:
            recorder.tell(self._told.popleft(), now)
        self._note_pause(recorder.is_full)
        if self._driver.ended:
            recorder.cut()
        recorder.flush(mono)
        state = recorder.state()
        if state != self._state:
            self._state = state
            self._publisher.wake()

    def write(self) -> None:
        """Put what waits on disk, in one commit; when the disk fails it keeps waiting, and the next try is later."""
        if time.monotonic() < self._retry_at:
            return
        with self._writing:
            try:
                self._write()
            except TransientError as error:
                self._retry_at = time.monotonic() + _RETRY_S
                self._note_disk(str(error))
            except BrokenOutbox as error:
                self._failure = error
            else:
                self._note_disk(None)

    def finish(self) -> None:
        """No more samples: cut, end the session, write all."""
        self._recorder.finish()
        while self._recorder.waiting:
            before = len(self._recorder.waiting)
            self._retry_at = 0.0
            self.write()
            if len(self._recorder.waiting) == before:
                log.error("%s: %d entries could not be written", self.device_id, before)
                return

    def stop(self, timeout_s: float) -> None:
        """Say goodbye and close; call `finish` before."""
        self._publisher.stop(timeout_s)
        self._driver.close()
        self.outbox.close()

    def _write(self) -> None:
        waiting = self._recorder.waiting
        batch = [waiting[i] for i in range(min(len(waiting), _MAX_BATCH))]
        now = self._clock.now()
        step = self._steps.observe(now)
        events = [event_entry("clock_step", now, {"by_ms": step})] if step is not None else []
        if not batch and not events:
            return
        encoded = [(item, entry) for item in batch if (entry := _encode(item)) is not None]
        entries = [*events, *(entry for _, entry in encoded)]
        positions = self.outbox.append(entries, now, self._facts(batch))[len(events) :]
        for _ in batch:
            waiting.popleft()
        self._counters = _newest_counters(batch) or self._counters
        self._note_clock(now, stepped=step is not None)
        written = zip(positions, encoded, strict=True)
        self._confirm([(position, item) for position, (item, _) in written if isinstance(item, Cut)])
        self._publisher.wake()

    def _facts(self, batch: Sequence[Waiting]) -> dict[str, str | None]:
        """What to remember with these entries: counts, counters, and how the next start can end an open session."""
        facts: dict[str, str | None] = {}
        session: Session | None = None
        for item in batch:
            if isinstance(item, Note):
                facts |= item.facts
            elif (told := item if isinstance(item, Session) else item.open_session) is not None:
                session = told
        if session is not None:
            facts[_OPEN_SESSION] = None if session.op == "end" else encode_record(session).decode()
        counters = _newest_counters(batch)
        if counters is not None and counters != self._counters:
            facts[COUNTERS] = write_counters(counters)
        return facts

    def _confirm(self, written: list[tuple[Position, Cut]]) -> None:
        self.samples_appended += sum(len(cut.taken) for _, cut in written)
        if self._confirmed is not None and written:
            self._confirmed(written)

    def _note_clock(self, now: Instant, *, stepped: bool) -> None:
        """Persist the floor and the boot's anchor, once a minute and after a step."""
        if now.clock != "unset" and (stepped or now.at - self._floor_at >= _FLOOR_EVERY_MS):
            self._floor_at = now.at
            self.outbox.remember({CLOCK_FLOOR: str(now.at)})
            self.outbox.note_anchor(now)

    def _note_disk(self, problem: str | None) -> None:
        if (problem is None) != (self._disk_problem is None):
            log.warning("%s: %s", self.device_id, problem or "the disk works again")
        self._disk_problem = problem

    def _note_pause(self, is_full: bool) -> None:
        if is_full != self._is_paused:
            self._is_paused = is_full
            log.warning("%s: sampling %s", self.device_id, "pauses: the disk is behind" if is_full else "goes on")


def _newest_counters(batch: Sequence[Waiting]) -> Counters | None:
    told = [item.counters for item in batch if not isinstance(item, Note) and item.counters is not None]
    return told[-1] if told else None


def _encode(item: Waiting) -> NewEntry | None:
    match item:
        case Cut():
            return NewEntry("telemetry", encode_telemetry(item.block))
        case Note():
            return None if item.event is None else NewEntry("event", encode_record(item.event))
        case _:
            return NewEntry("session", encode_record(item))
