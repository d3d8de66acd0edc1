"""What to send when: the state of everything in flight. Pure: no clock, no disk, no socket.

Times are seconds of any one monotonic clock, passed in. After a timeout only the oldest entry is sent again until an
ack comes, so that a fleet that returns to a struggling server asks one question each instead of repeating everything.
A single entry that gets no answer holds up no other: a server may be unable to say anything about that one.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dermafleet.contracts.ranges import RangeSet

_VAIN_QUESTIONS = 3
"""After so many with the oldest entry, the question goes round: perhaps only that entry has no answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of architecture §4; tests scale the times."""

    entries: int = 8
    payload_bytes: int = 128 * 1024
    timeout_s: float = 10.0
    timeout_max_s: float = 300.0
    silence_s: float = 60.0
    silence_max_s: float = 3600.0
    hold_s: float = 30.0
    """How long a hold lasts that does not say."""


@dataclass(slots=True)
class Flight:
    """One entry that was sent and has no answer; ``timeouts`` counts those in which others had theirs."""

    id: int
    epoch: str
    seq: int
    payload_bytes: int
    sends: int = 0
    timeouts: int = 0
    is_lost: bool = False
    sent_at: float = -math.inf
    deadline: float = math.inf


@dataclass(frozen=True, slots=True)
class Settled:
    """Ids of the entries that an ack has answered."""

    acked: list[int]
    refused: list[int]


@dataclass(slots=True)
class Window:
    """Everything in flight, oldest first, and when the next sending is due.

    Args:
        pace: limits.
        random: uniform in [0, 1), for jitter.
    """

    pace: Pace
    random: Callable[[], float]
    holding: str | None = None
    _flights: dict[int, Flight] = field(default_factory=dict)
    _probing: bool = False
    _doublings: int = 0
    _ack_time_s: float | None = None
    _paused_until: float = -math.inf
    _progress_at: float = -math.inf
    _answered_at: float = -math.inf
    _silences: int = 0

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def ack_time_s(self) -> float | None:
        """Smoothed time from sending to ack."""
        return self._ack_time_s

    def payload_bytes(self) -> int:
        return sum(flight.payload_bytes for flight in self._flights.values())

    def room(self, now: float) -> tuple[int, int]:
        """How many new entries and bytes may be sent now; (0, 0) while paused or waiting for the first ack.

        An empty window takes one entry of any size: its limit is the payload limit, not ours.
        """
        if now < self._paused_until:
            return 0, 0
        free = self.pace.payload_bytes - self.payload_bytes()
        entries = self.pace.entries - len(self._flights)
        if self._probing:
            entries = 1 if self._is_vain() and len(self._flights) == 1 else 0
        return (entries, free) if entries > 0 and free > 0 else (0, 0)

    def add(self, entry_id: int, epoch: str, seq: int, payload_bytes: int) -> Flight:
        """Take an entry into the window; the caller sends it and calls `sent`."""
        flight = self._flights[entry_id] = Flight(entry_id, epoch, seq, payload_bytes)
        return flight

    def sent(self, flight: Flight, now: float) -> None:
        """Note that an entry went out; its answer is due after the timeout."""
        if len(self._flights) == 1 and flight.sends == 0:
            self._progress_at = max(self._progress_at, now)
        flight.sends += 1
        flight.is_lost = False
        flight.sent_at = now
        flight.deadline = now + self._timeout_s(self._doublings + flight.timeouts)
        if self._probing:  # one question at a time
            for other in self._flights.values():
                other.deadline = flight.deadline

    def due(self, now: float) -> list[Flight]:
        """The entries to send again now."""
        if not self._flights or now < self._paused_until:
            return []
        if self._probing:
            return self._question(now)
        late = [flight for flight in self._flights.values() if flight.deadline <= now]
        if any(flight.sent_at >= self._answered_at for flight in late):
            self._probing = True
            self._doublings += 1
            return [self._oldest()]
        for flight in late:
            flight.timeouts += 1
        return [flight for flight in self._flights.values() if flight.is_lost or flight.deadline <= now]

    def settle(self, epoch: str, acked: RangeSet, refused: RangeSet, now: float) -> Settled:
        """Take an ack. Only entries in flight count, so an ack for another life of this disk changes nothing."""
        done = Settled([], [])
        for flight in list(self._flights.values()):
            if flight.epoch != epoch or not (flight.seq in acked or flight.seq in refused):
                continue
            del self._flights[flight.id]
            (done.acked if flight.seq in acked else done.refused).append(flight.id)
            if flight.sends == 1:
                self._learn(now - flight.sent_at)
        if done.acked or done.refused:
            self._resume(now)
        return done

    def pause(self, wait_s: float, now: float) -> None:
        """The server asks for a pause: nothing is sent until it is over."""
        self._paused_until = max(self._paused_until, now + wait_s)
        self._progress_at = max(self._progress_at, self._paused_until)

    def hold(self, reason: str, wait_s: float, now: float) -> None:
        """The server stores nothing for now: wait, then ask with the oldest entry."""
        self.holding = reason
        self._probing = True
        self._paused_until = now + (wait_s or self.pace.hold_s) * (1 + 0.25 * self.random())
        self._progress_at = now
        self._lose_all(self._paused_until)

    def restart(self, now: float) -> None:
        """A new connection: whatever was in flight may be lost; ask with the oldest entry first."""
        self._progress_at = now
        self._probing = bool(self._flights)
        self._lose_all(now)

    def is_silent(self, now: float) -> bool:
        """Data is in flight and nothing was answered for so long that another broker should be tried."""
        silence = min(self.pace.silence_s * 2**self._silences, self.pace.silence_max_s)
        return bool(self._flights) and self.holding is None and now - self._progress_at >= silence

    def moved(self, now: float) -> None:
        """Another broker (or connection) is tried because of silence; the patience doubles."""
        self._silences = min(self._silences + 1, 16)
        self._progress_at = now

    def wake_at(self) -> float:
        """When `due`, `room` or `is_silent` may next change by time alone; infinity if never."""
        return min(self._moments(), default=math.inf)

    def _moments(self) -> Iterator[float]:
        if not self._flights:
            if self._paused_until > -math.inf:
                yield self._paused_until
            return
        deadlines = [self._oldest().deadline] if self._probing else [f.deadline for f in self._flights.values()]
        yield max(min(deadlines), self._paused_until)
        if self.holding is None:
            yield self._progress_at + min(self.pace.silence_s * 2**self._silences, self.pace.silence_max_s)

    def _question(self, now: float) -> list[Flight]:
        """What to ask with while nothing is answered, when it is time for it."""
        oldest = self._oldest()
        if oldest.deadline > now:
            return []
        # The first question after a reconnect or a hold is no timeout.
        self._doublings += not oldest.is_lost
        if not self._is_vain():
            return [oldest]
        return [min(self._flights.values(), key=lambda flight: flight.sent_at)]

    def _is_vain(self) -> bool:
        return self._doublings >= _VAIN_QUESTIONS

    def _lose_all(self, ask_at: float) -> None:
        for flight in self._flights.values():
            flight.is_lost, flight.deadline = True, ask_at

    def _oldest(self) -> Flight:
        return self._flights[min(self._flights)]

    def _resume(self, now: float) -> None:
        self._progress_at = max(now, self._progress_at)
        self._answered_at = now
        self._silences = self._doublings = 0
        self.holding = None
        if not self._probing:
            return
        self._probing = False
        for flight in self._flights.values():
            flight.deadline = min(flight.deadline, flight.sent_at + self._base_timeout_s())
            if flight.is_lost or flight.deadline <= now:
                flight.is_lost, flight.deadline = True, math.inf

    def _base_timeout_s(self) -> float:
        return max(self.pace.timeout_s, 3 * (self._ack_time_s or 0))

    def _timeout_s(self, doublings: int) -> float:
        doubled: float = self._base_timeout_s() * 2 ** min(doublings, 16)
        timeout = min(doubled, self.pace.timeout_max_s)
        return timeout * (1 + 0.25 * self.random())

    def _learn(self, ack_time_s: float) -> None:
        old = self._ack_time_s
        self._ack_time_s = ack_time_s if old is None else old + (ack_time_s - old) / 8
