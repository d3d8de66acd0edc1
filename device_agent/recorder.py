"""The recorder: samples in, entries of the log out. It cuts blocks, keeps the rates, and knows the latest values.

Used by the sampling thread; what is cut waits in a bounded queue for the thread that writes to disk.
"""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from dermafleet.contracts.envelope import DEFAULT_LIMITS
from dermafleet.contracts.records import MAINTENANCE, Counters, Event, Screening, Session
from dermafleet.contracts.status import MachineState
from dermafleet.contracts.telemetry import MAX_SPAN_MS, Telemetry
from dermafleet.contracts.vocabulary import screening_outcome
from device_agent.circuits import Circuits
from device_agent.clock import Instant
from device_agent.drivers import Operator, Sample, Values
from device_agent.entries import NO_FACTS, Facts
from device_agent.screening import TALLY, TURNED_AWAY, Tally, write_tally
from device_agent.sessions import SessionRules, SessionTracker

MAX_WAITING = 256
"""Cut entries waiting for the disk, about ten minutes at 2 s; then sampling pauses until the disk is back."""

_BYTES_PER_VALUE = 8
_BLOCK_BYTES = 60 * 1024
"""Two blocks fit the window of 128 KiB: one that gets no answer does not keep the next one back."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How many of the samples are kept.

    Attributes:
        after_s: full rate this long after the pump stopped.
        idle_s: one sample in this time otherwise; 0 = keep all.
        flush_s: a block is cut at this age, by the wall clock.
    """

    after_s: float = 10.0
    idle_s: float = 60.0
    flush_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Cut:
    """A finished block, and when its samples were taken (Unix seconds).

    Attributes:
        open_session, counters: as of its last sample; a power cut leaves them beside it. None = as before.
    """

    block: Telemetry
    taken: list[float]
    open_session: Session | None = None
    counters: Counters | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """An event, and what to remember in the same transaction."""

    event: Event | None
    facts: Facts = field(default_factory=lambda: NO_FACTS)


Waiting = Cut | Session | Note


@dataclass(slots=True)
class _Open:
    """A block that still grows."""

    first: Instant
    began: float
    names: tuple[str, ...]
    dt: list[int] = field(default_factory=list)
    columns: dict[str, list[float | None]] = field(default_factory=dict)
    taken: list[float] = field(default_factory=list)
    max_samples: int = DEFAULT_LIMITS.samples


class Recorder:
    """What one machine's samples become.

    Attributes:
        waiting: entries cut and not yet on disk, oldest first; the writing thread takes them.
        latest: newest value of each channel.
    """

    def __init__(self, rates: Rates, rules: SessionRules | None) -> None:
        """``rules`` None: the samples belong to no treatment, so there are no sessions."""
        self.waiting: deque[Waiting] = deque()
        self.latest: dict[str, float | None] = {}
        self.samples_kept = 0
        self._rates = rates
        self._circuits = Circuits()
        self._rules = rules
        self._tracker = SessionTracker(rules) if rules else None
        self._tally = Tally(rules.privacy if rules else "machine-only")
        self._open: _Open | None = None
        self._active_up: int | None = None
        self._kept_up: int | None = None
        self._pump_on = False
        self._last: Instant | None = None

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= MAX_WAITING

    def resume(self, counters: Counters | None, tally: Screening | None) -> None:
        """Go on from what an earlier start left; before the first sample."""
        if self._rules:
            self._tracker = SessionTracker(self._rules, counters)
            self._tally = Tally(self._rules.privacy, tally)

    def state(self) -> MachineState:
        if self._tracker and self._last and self._tracker.is_treating(self._last):
            return "treating"
        return "ready" if self._pump_on or (self._tracker and self._tracker.is_open) else "idle"

    def take(self, sample: Sample, mono: float) -> None:
        """Take one sample; ``mono`` is the monotonic time in seconds, for flushing."""
        if sample.operator is not None:
            self.tell(sample.operator, sample.when)
        self._last = sample.when
        self.latest = dict(sample.values)
        self._close_day(sample.when)
        pump_on = self._circuits.read(sample.values).pump_on
        if pump_on != self._pump_on:
            self._pump_on = pump_on
            self.cut()
        steps = self._tracker.step(sample) if self._tracker else []
        self._extend(steps)
        if self._is_kept(sample.when):
            self._add(sample, mono)
        if any(step.op == "end" for step in steps):
            self.cut()

    def tell(self, operator: Operator, now: Instant) -> None:
        """Take what the operator told. It stands in the log behind the last sample."""
        when = self._last or now
        for done in operator.maintenance:
            self._close_block()
            data = msgspec.to_builtins(done)
            event = Event(type=MAINTENANCE, boot=when.boot, at=when.at, up=when.up, clock=when.clock, data=data)
            self.waiting.append(Note(event))
        if self._tracker is None:
            return
        outcome = operator.screening_outcome
        if outcome is None and operator.contraindications:
            outcome = screening_outcome(operator.contraindications, operator.indications or [])
        if outcome is not None and self._tally.add(operator, outcome, when):
            self.waiting.append(Note(None, {TALLY: write_tally(self._tally.told)}))
        self._extend(self._tracker.tell(operator, None if outcome in TURNED_AWAY else outcome, when))

    def flush(self, mono: float) -> None:
        """Cut the block if it is old enough."""
        if self._open is not None and mono - self._open.began >= self._rates.flush_s:
            self.cut()

    def finish(self) -> None:
        """The agent stops: cut the block and end the session."""
        self.cut()
        if self._tracker:
            self.waiting.extend(self._tracker.end("aborted"))

    def cut(self) -> None:
        """Close the block, if there is one."""
        if self._tracker is None:
            self._close_block()
        elif self._open is not None:
            self._close_block(self._tracker.snapshot(), self._tracker.life.told())

    def _close_block(self, open_session: Session | None = None, counters: Counters | None = None) -> None:
        block, self._open = self._open, None
        if block is not None:
            first = block.first
            telemetry = Telemetry(
                boot=first.boot, up=first.up, t0=first.at, clock=first.clock, dt=block.dt, ch=block.columns
            )
            self.waiting.append(Cut(telemetry, block.taken, open_session, counters))

    def _extend(self, steps: list[Session]) -> None:
        """Add a session's steps; the tracker is ahead of the block before them, which therefore tells nothing of it."""
        if any(step.op != "checkpoint" for step in steps):
            self._close_block()
        self.waiting.extend(steps)

    def _close_day(self, when: Instant) -> None:
        if (event := self._tally.close(when)) is not None:
            self.waiting.append(Note(event, {TALLY: None}))

    def _is_kept(self, when: Instant) -> bool:
        if self._pump_on or (self._tracker and self._tracker.is_open):
            self._active_up = when.up
        recent = self._active_up is not None and when.up - self._active_up <= self._rates.after_s * 1000
        due = self._kept_up is None or when.up - self._kept_up >= self._rates.idle_s * 1000
        if recent or due:
            self._kept_up = when.up
            return True
        return False

    def _add(self, sample: Sample, mono: float) -> None:
        block = self._open
        if block is None or not _fits(block, sample):
            self.cut()
            block = self._open = _begin(sample, mono)
        block.dt.append(sample.when.up - block.first.up)
        block.taken.append(sample.taken)
        for name, column in block.columns.items():
            column.append(sample.values[name])
        self.samples_kept += 1


def _begin(sample: Sample, mono: float) -> _Open:
    names = tuple(sample.values)
    block = _Open(sample.when, mono, names, columns={name: [] for name in names})
    block.max_samples = min(DEFAULT_LIMITS.samples, _BLOCK_BYTES // (_BYTES_PER_VALUE * max(len(names), 1)))
    return block


def _fits(block: _Open, sample: Sample) -> bool:
    """Same boot, clock and channels, later, and within the limits of one entry."""
    when, first = sample.when, block.first
    offset = when.up - first.up
    return (
        len(block.dt) < block.max_samples
        and (when.boot, when.clock) == (first.boot, first.clock)
        and _same_channels(block.names, sample.values)
        and block.dt[-1] <= offset <= MAX_SPAN_MS
        and abs((when.at - first.at) - offset) <= 1000  # the wall clock stepped: a block has one time base
    )


def _same_channels(names: tuple[str, ...], values: Values) -> bool:
    return len(names) == len(values) and all(name in values for name in names)
