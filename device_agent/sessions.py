"""Treatment sessions, recognised from the machine's own signals. Pure: one sample in, steps of a session out.

A session begins when the pump starts and ends when it has been off for a while; contact is read from the vacuum.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from dermafleet.contracts.records import Outcome, Session, decode_session, encode_record
from dermafleet.contracts.telemetry import decode_telemetry
from dermafleet.errors import InvalidEntry
from device_agent.clock import Instant
from device_agent.drivers import Sample, Values

CONTACT_KPA, LIFT_KPA = 9.0, 6.0
"""Vacuum at the inlet above which the tip is on skin, and below which it is lifted: an open tip draws 2.4 kPa and a
clogged filter at most 10 % of ambient more while it passes full flow."""

PUMP_CURRENT_A = 0.2
PUMP_VACUUM_KPA = 1.5
"""Where ``pump_on`` is not measured: the magnetising current alone is 0.4 A, the open tip 2.4 kPa."""

MAX_GAP_MS = 5_000
"""A longer pause between samples is not counted as pump or contact time: nobody watched."""

TREATING_MS = 60_000
"""A machine counts as treating this long after the last contact."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """When a session is over."""

    off_ms: int = 120_000
    longest_ms: int = 4 * 3_600_000
    checkpoint_ms: int = 60_000


@dataclass(slots=True)
class Totals:
    """What a session came to so far."""

    session: str
    started_up: int
    pump_s: float = 0.0
    contact_s: float = 0.0
    strokes: int = 0
    longest_dwell_s: float = 0.0

    def step(self, op: Literal["start", "checkpoint", "end"], when: Instant, outcome: Outcome | None = None) -> Session:
        """This session's entry at one moment."""
        return Session(
            op=op,
            session=self.session,
            boot=when.boot,
            at=when.at,
            up=when.up,
            clock=when.clock,
            pump_s=round(self.pump_s, 3),
            contact_s=round(self.contact_s, 3),
            strokes=self.strokes,
            longest_dwell_s=round(self.longest_dwell_s, 3),
            outcome=outcome,
        )


class SessionTracker:
    """Follows one machine through its sessions."""

    def __init__(self, rules: SessionRules) -> None:
        self._rules = rules
        self._totals: Totals | None = None
        self._last: Instant | None = None
        self._pump_on = False
        self._pump_seen: Instant | None = None
        self._contact_since: int | None = None
        self._contact_up: int | None = None
        self._checkpoint_up = 0

    @property
    def is_open(self) -> bool:
        return self._totals is not None

    def is_treating(self, now: Instant) -> bool:
        """A session is open and there was contact within the last minute."""
        return self.is_open and self._contact_up is not None and now.up - self._contact_up < TREATING_MS

    def step(self, sample: Sample) -> list[Session]:
        """Take a sample; returns what it begins, reaches or ends. Times: the sample's, an end: the pump's last."""
        when = sample.when
        self._pump_on = pump_is_on(sample.values)
        steps: list[Session] = []
        if self._totals is None:
            if self._pump_on:
                steps.append(self._begin(when))
        else:
            self._count(sample)
            steps += self._progress(when)
        if self._pump_on:
            self._pump_seen = when
        self._last = when
        return steps

    def end(self, outcome: Outcome) -> list[Session]:
        """End an open session at the last sample, because the agent stops."""
        return [self._end(self._last, outcome)] if self._totals and self._last else []

    def _begin(self, when: Instant) -> Session:
        self._totals = Totals(secrets.token_hex(8), when.up)
        self._contact_since = self._contact_up = None
        self._checkpoint_up = when.up
        return self._totals.step("start", when)

    def _count(self, sample: Sample) -> None:
        totals, last, up = self._totals, self._last, sample.when.up
        assert totals is not None
        gap_s = min(up - last.up, MAX_GAP_MS) / 1000 if last is not None else 0.0
        if self._pump_on:
            totals.pump_s += gap_s
        vacuum = contact_vacuum(sample.values)
        if vacuum is None:
            return
        if self._contact_since is None and vacuum >= CONTACT_KPA:
            self._contact_since = self._contact_up = up
            totals.strokes += 1
        elif self._contact_since is not None:
            totals.contact_s += gap_s
            self._contact_up = up
            totals.longest_dwell_s = max(totals.longest_dwell_s, (up - self._contact_since) / 1000)
            if vacuum < LIFT_KPA:
                self._contact_since = None

    def _progress(self, when: Instant) -> list[Session]:
        totals, pump_seen = self._totals, self._pump_seen
        assert totals is not None
        assert pump_seen is not None
        if when.up - pump_seen.up >= self._rules.off_ms:
            return [self._end(pump_seen, "completed" if totals.strokes else "aborted")]
        if when.up - totals.started_up >= self._rules.longest_ms:
            return [self._end(when, "timeout")]
        if when.up - self._checkpoint_up >= self._rules.checkpoint_ms:
            self._checkpoint_up = when.up
            return [totals.step("checkpoint", when)]
        return []

    def _end(self, when: Instant, outcome: Outcome) -> Session:
        assert self._totals is not None
        ended, self._totals = self._totals.step("end", when, outcome), None
        return ended


def pump_is_on(values: Values) -> bool:
    """Measured where there is a signal, else derived from current or vacuum."""
    if (measured := values.get("pump_on")) is not None:
        return measured >= 0.5
    if (current := values.get("motor_current_a")) is not None:
        return current > PUMP_CURRENT_A
    return (values.get("vacuum_inlet_kpa") or 0.0) > PUMP_VACUUM_KPA


def contact_vacuum(values: Values) -> float | None:
    """The vacuum that shows contact: at the handpiece where it is measured, since a clog does not raise it there."""
    handpiece = values.get("vacuum_handpiece_kpa")
    return values.get("vacuum_inlet_kpa") if handpiece is None else handpiece


def end_after_power_loss(open_session: bytes, last_telemetry: bytes | None) -> bytes | None:
    """The end of a session that a power cut left open, as an entry.

    Args:
        open_session: the session's newest entry on disk.
        last_telemetry: the newest telemetry entry on disk.

    Returns:
        its end at the last sample on disk, with the totals of its newest entry; None if it is not readable.
    """
    try:
        newest, _ = decode_session(open_session)
        block = decode_telemetry(last_telemetry).block if last_telemetry else None
    except InvalidEntry:
        return None
    fields: dict[str, Any] = {name: getattr(newest, name) for name in newest.__struct_fields__}
    if block is not None and block.boot == newest.boot and block.up + block.dt[-1] > newest.up:
        fields |= {"at": block.t0 + block.dt[-1], "up": block.up + block.dt[-1], "clock": block.clock}
    return encode_record(Session(**fields | {"op": "end", "outcome": "power_loss"}))
