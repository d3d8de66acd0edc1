"""One machine as the server sees it: its samples and records go through the very code that runs in production."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNEL_BY_NAME, PROFILES, Profile, fitted
from dermafleet.contracts.records import Event, Session
from dermafleet.storage.alarms import Alarm
from device_agent.simulator.scenario import Stretch
from services.alerts import evaluate, lifecycle
from services.alerts.context import Context
from services.alerts.entries import EventBody
from services.alerts.findings import FilterForecast, FilterLife, Findings, Observability
from services.alerts.observation import Block, Observation, Origin

Uplink = Literal["full", "lean"]
"""full: every sample; lean: one a second, the rate at which metered machines send."""

LEAN_MS = 1000
MAX_SAMPLES = 3000
"""Of one entry, as on the wire; results do not depend on it."""

EPOCH = "0000000000000001"


@dataclass(frozen=True, slots=True)
class Told:
    """One transition of one alarm, told after that many treatments."""

    at_ms: int
    session: int
    transition: str
    alarm: Alarm
    reason: str


@dataclass(slots=True)
class Watch:
    """A machine being watched.

    Attributes:
        history: every transition of its alarms, oldest first.
        forecasts, lives: every forecast of its filter, and every filter that ended.
        observability: newest per (component, fault). sessions: treatments ended so far.
    """

    device_id: str
    context: Context
    uplink: Uplink = "full"
    history: list[Told] = field(default_factory=list)
    forecasts: list[FilterForecast] = field(default_factory=list)
    lives: list[FilterLife] = field(default_factory=list)
    observability: dict[tuple[str, str], Observability] = field(default_factory=dict)
    sessions: int = 0
    _memory: evaluate.Memory = field(default_factory=evaluate.Memory)
    _alarms: dict[tuple[str, str], Alarm] = field(default_factory=dict)
    _seq: int = 0

    @property
    def open_alarms(self) -> list[Alarm]:
        return [alarm for alarm in self._alarms.values() if alarm.standing not in ("cleared", "closed")]

    def show(self, stretch: Stretch) -> None:
        """Take in a stretch, in the order of the machine's log."""
        self.context = replace(self.context, altitude_m=stretch.altitude_m)
        done = 0
        for place, record in stretch.records:
            if isinstance(record, Session) and record.op == "checkpoint":
                continue  # it decides nothing, and long blocks are judged faster
            self._show_samples(stretch, done, place)
            done = max(done, place)
            self._show_record(record)
        self._show_samples(stretch, done, len(stretch.at_ms))

    def _show_samples(self, stretch: Stretch, start: int, end: int) -> None:
        for first in range(start, end, MAX_SAMPLES):
            span = slice(first, min(first + MAX_SAMPLES, end))
            block = self._block(stretch, span)
            if len(block.at_ms):
                self._take(evaluate.take_block(self._memory, block, self.context), int(block.at_ms[-1]))

    def _block(self, stretch: Stretch, span: slice) -> Block:
        at_ms = stretch.at_ms[span]
        kept: slice | NDArray[np.bool_] = slice(None)
        if self.uplink == "lean" and len(at_ms):
            kept = np.diff(at_ms // LEAN_MS, prepend=-1) != 0
        up_ms = stretch.up_ms + int(at_ms[0] - stretch.at_ms[0]) if len(at_ms) else stretch.up_ms
        self._seq += 1
        channels = {
            name: plausible(name, values[span][kept])
            for name, values in stretch.channels.items()
            if is_fitted(name, self.context.profile)
        }
        return Block(EPOCH, self._seq, stretch.boot, up_ms, at_ms[kept], channels)

    def _show_record(self, record: Session | Event) -> None:
        self._seq += 1
        origin = Origin(EPOCH, self._seq)
        if isinstance(record, Session):
            self.sessions += record.op == "end" and record.purpose == "treatment"
            self._take(evaluate.take_session(self._memory, record, origin, record.at, self.context), record.at)
        else:
            event = EventBody(record.type, record.data)
            self._take(evaluate.take_event(self._memory, event, origin, record.at, self.context), record.at)

    def _take(self, findings: Findings, now_ms: int) -> None:
        self.forecasts += findings.forecasts
        self.lives += findings.lives
        self.observability |= {(each.component, each.fault): each for each in findings.observability}
        for observation in findings.observations:
            self._judge(observation, now_ms)

    def _judge(self, observation: Observation, now_ms: int) -> None:
        key = (observation.component, observation.fault)
        decision = lifecycle.decide(self.device_id, self._alarms.get(key), observation)
        if decision.alarm is None:
            return
        self._alarms[key] = decision.alarm
        if decision.transition is not None:
            self.history.append(Told(now_ms, self.sessions, decision.transition, decision.alarm, decision.reason))


def plausible(name: str, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """As stored and read back: 32 bits, and nothing where ingest marks a value as out of range."""
    channel = CHANNEL_BY_NAME.get(name)
    wide = values.astype(np.float64)
    return wide if channel is None else np.where((wide < channel.low) | (wide > channel.high), np.nan, wide)


_FITTED: Mapping[Profile, frozenset[str]] = {p: frozenset(c.name for c in fitted(p)) for p in PROFILES}


def is_fitted(name: str, profile: Profile) -> bool:
    """Whether the server gets this channel from a machine of that profile; makers' own channels always."""
    return name in _FITTED[profile] or name not in CHANNEL_BY_NAME


def raised(history: list[Told], severity: int = 1) -> Iterator[Told]:
    """Transitions that put an alarm of at least this severity before a person."""
    for told in history:
        if told.transition in ("raised", "reraised", "severity_up") and told.alarm.severity >= severity:
            yield told
