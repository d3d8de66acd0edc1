"""The recorder: samples in, entries of the log out. It cuts blocks, keeps the rates, and knows the latest values.

Used by the sampling thread; what is cut waits in a bounded queue for the thread that writes to disk.
"""

from collections import deque
from dataclasses import dataclass, field

from dermafleet.contracts.envelope import DEFAULT_LIMITS
from dermafleet.contracts.records import Session
from dermafleet.contracts.status import MachineState
from dermafleet.contracts.telemetry import MAX_SPAN_MS, Telemetry
from device_agent.clock import Instant
from device_agent.drivers import Sample, Values
from device_agent.sessions import SessionRules, SessionTracker, pump_is_on

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
    """A finished block, and when its samples were taken (Unix seconds)."""

    block: Telemetry
    taken: list[float]


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
        self.waiting: deque[Cut | Session] = deque()
        self.latest: dict[str, float | None] = {}
        self.samples_kept = 0
        self._rates = rates
        self._tracker = SessionTracker(rules) if rules else None
        self._open: _Open | None = None
        self._active_up: int | None = None
        self._kept_up: int | None = None
        self._pump_on = False
        self._last: Instant | None = None

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= MAX_WAITING

    def state(self) -> MachineState:
        if self._tracker and self._last and self._tracker.is_treating(self._last):
            return "treating"
        return "ready" if self._pump_on or (self._tracker and self._tracker.is_open) else "idle"

    def take(self, sample: Sample, mono: float) -> None:
        """Take one sample; ``mono`` is the monotonic time in seconds, for flushing."""
        self._last = sample.when
        self.latest = dict(sample.values)
        pump_on = pump_is_on(sample.values)
        if pump_on != self._pump_on:
            self._pump_on = pump_on
            self.cut()
        steps = self._tracker.step(sample) if self._tracker else []
        before = [step for step in steps if step.op != "checkpoint"]
        if before:
            self.cut()
        self.waiting.extend(steps)
        if self._is_kept(sample.when):
            self._add(sample, mono)
        if any(step.op == "end" for step in steps):
            self.cut()

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
        block, self._open = self._open, None
        if block is not None:
            first = block.first
            telemetry = Telemetry(
                boot=first.boot, up=first.up, t0=first.at, clock=first.clock, dt=block.dt, ch=block.columns
            )
            self.waiting.append(Cut(telemetry, block.taken))

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
