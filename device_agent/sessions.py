"""Sessions, recognised from the machine's own signals and what the operator told. Pure: one sample in, steps out.

A session begins at the first contact that seals, or at the operator's button; it ends when the pump has been off for a
while, or at the button. What is counted for the machine's life is counted with or without one.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec.structs import replace

from dermafleet.contracts.records import (
    CLINICAL_FIELDS,
    CODED_FIELDS,
    Counters,
    Outcome,
    Privacy,
    Session,
    decode_session,
    encode_record,
)
from dermafleet.contracts.telemetry import decode_telemetry
from dermafleet.contracts.vocabulary import VERSION
from dermafleet.errors import InvalidEntry
from device_agent.circuits import Circuits
from device_agent.clock import Instant
from device_agent.contact import Contact, Histogram
from device_agent.counters import Jar, Life
from device_agent.drivers import Operator, Sample

MAX_GAP_MS = 5_000
"""A longer pause between samples is not counted as pump or contact time: nobody watched."""

TREATING_MS = 60_000
"""A machine counts as treating this long after the last contact."""

TOLD_MS = 15 * 60_000
"""What the operator tells before a session is about one that begins within this time."""

_OVER_SETPOINT_KPA = 10.0
"""Above the set point by so much, the client feels more than was chosen."""
_SETPOINT_STEP_KPA = 0.5
_MAX_SETPOINTS = 200

_FITTED = ("modality", "tip_type", "tip_size_mm", "abrasive")
_TOLD = ("purpose", "screening_outcome", "abort_reason", "indications", "body_sites", "passes")


@dataclass(frozen=True, slots=True)
class SessionRules:
    """When a session is over, and what it may say.

    Attributes:
        over_vacuum_kpa: the machine's limit; 10 kPa above a measured set point counts too.
        privacy: indications and body sites are noted only with ``coded``.
    """

    off_ms: int = 300_000
    longest_ms: int = 4 * 3_600_000
    checkpoint_ms: int = 60_000
    over_vacuum_kpa: float = 65.0
    privacy: Privacy = "machine-only"


@dataclass(slots=True)
class Totals:
    """What a session came to so far."""

    session: str
    started: Instant
    pump_s: float = 0.0
    contact_s: float = 0.0
    over_vacuum_s: float = 0.0
    strokes: int = 0
    longest_dwell_s: float = 0.0
    crystals_g: float | None = None
    setpoints: list[tuple[float, float]] = field(default_factory=list)
    vacuum: Histogram = field(default_factory=Histogram)

    def fields(self) -> dict[str, Any]:
        """As fields of an entry; what was not measured is None."""
        has_contact = self.vacuum.total_ms > 0
        return {
            "pump_s": round(self.pump_s, 3),
            "contact_s": round(self.contact_s, 3),
            "strokes": self.strokes,
            "longest_dwell_s": round(self.longest_dwell_s, 3),
            "over_vacuum_s": round(self.over_vacuum_s, 3),
            "crystals_used_g": None if self.crystals_g is None else round(self.crystals_g, 1),
            "setpoints": list(self.setpoints) or None,
            "vacuum_p50_kpa": round(self.vacuum.quantile(0.5), 2) if has_contact else None,
            "vacuum_p95_kpa": round(self.vacuum.quantile(0.95), 2) if has_contact else None,
            "vacuum_max_kpa": round(self.vacuum.max_kpa, 2) if has_contact else None,
        }


class SessionTracker:
    """Follows one machine through its sessions and its life."""

    def __init__(self, rules: SessionRules, told: Counters | None = None) -> None:
        self.life = Life(told)
        self._rules = rules
        self._totals: Totals | None = None
        self._last: Instant | None = None
        self._pump_on = False
        self._pump_seen: Instant | None = None
        self._circuits = Circuits()
        self._contact = Contact()
        self._contact_up: int | None = None
        self._setpoint_kpa: float | None = None
        self._jar = Jar()
        self._checkpoint_up = 0
        self._fitted: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._told_up = 0

    @property
    def is_open(self) -> bool:
        return self._totals is not None

    def is_treating(self, now: Instant) -> bool:
        """A session is open and there was contact within the last minute."""
        return self.is_open and self._contact_up is not None and now.up - self._contact_up < TREATING_MS

    def tell(self, operator: Operator, screening_outcome: str | None, when: Instant) -> list[Session]:
        """Take what the operator told; returns what the button begins or ends."""
        for name in _FITTED:
            if (value := getattr(operator, name)) is not None:
                self._fitted[name] = value
        for name in _TOLD:
            value = screening_outcome if name == "screening_outcome" else getattr(operator, name)
            is_allowed = name not in CLINICAL_FIELDS or self._rules.privacy == "coded"
            if value is not None and is_allowed:
                self._told[name] = value
                self._told_up = when.up
        if operator.button == "start" and self._totals is None:
            return [self._begin(when)]
        if operator.button == "end" and self._totals is not None:
            return [self._end(when, self._outcome())]
        return []

    def step(self, sample: Sample) -> list[Session]:
        """Take a sample; returns what it begins, reaches or ends. Times: the sample's, an end: the pump's last."""
        when = sample.when
        gap_ms = self._gap_ms(when)
        reading = self._circuits.read(sample.values)
        was_on, self._pump_on = self._pump_on, reading.pump_on
        self._setpoint_kpa = reading.setpoint_kpa
        if self._pump_on and not was_on:
            self.life.pump_starts += 1
            self._contact.reset()
        is_new = self._count(sample, reading.vacuum_kpa, gap_ms if was_on else 0)
        steps = self._progress(when) if self._totals is not None else self._find_start(when, is_new)
        if self._pump_on:
            self._pump_seen = when
        self._last = when
        return steps

    def end(self, outcome: Outcome) -> list[Session]:
        """End an open session at the last sample, because the agent stops."""
        return [self._end(self._last, outcome)] if self._totals and self._last else []

    def snapshot(self) -> Session | None:
        """The open session as of the last sample: what a power cut would leave."""
        return self._step("checkpoint", self._last) if self._totals and self._last else None

    def _gap_ms(self, when: Instant) -> int:
        last = self._last
        return min(max(when.up - last.up, 0), MAX_GAP_MS) if last is not None and last.boot == when.boot else 0

    def _find_start(self, when: Instant, is_new: bool) -> list[Session]:
        """Whether a session begins: by sealed contact, or when the pump starts for another purpose than treatment."""
        if self._told and when.up - self._told_up > TOLD_MS:
            self._told.clear()
        is_announced = self._pump_on and self._told.get("purpose", "treatment") != "treatment"
        if not is_announced and not (is_new and self._contact.is_sealed):
            return []
        begun = self._begin(when)
        if is_new and self._totals is not None:
            self._totals.strokes = 1
        return [begun]

    def _begin(self, when: Instant) -> Session:
        self._totals = Totals(secrets.token_hex(8), when)
        self._contact_up = when.up if self._contact.since_up is not None else None
        self._checkpoint_up = when.up
        if self._setpoint_kpa is not None:
            _note_setpoint(self._totals, self._setpoint_kpa, when.up)
        return self._step("start", when)

    def _count(self, sample: Sample, vacuum_kpa: float | None, gap_ms: int) -> bool:
        """Count one sample; True when a contact begins with it."""
        life, totals = self.life, self._totals
        used_g = self._jar.step(jar_g := sample.values.get("crystal_jar_g"), pump_on=self._pump_on)
        life.crystals_g += used_g
        if totals is not None and jar_g is not None:
            totals.crystals_g = (totals.crystals_g or 0.0) + used_g
        if not self._pump_on:
            self._contact.release(sample.when.up)
            return False
        gap_s = gap_ms / 1000
        life.pump_s += gap_s
        if totals is not None:
            totals.pump_s += gap_s
        return vacuum_kpa is not None and self._count_contact(vacuum_kpa, sample.when.up, gap_ms)

    def _count_contact(self, vacuum: float, up: int, gap_ms: int) -> bool:
        contact, totals, gap_s = self._contact, self._totals, gap_ms / 1000
        since, setpoint = contact.since_up, self._setpoint_kpa
        is_new = contact.step(vacuum, up, gap_ms, setpoint)
        self.life.strokes += is_new
        if since is not None:
            self.life.contact_s += gap_s
        if totals is None:
            return is_new
        totals.strokes += is_new
        if since is not None:
            totals.contact_s += gap_s
            totals.longest_dwell_s = max(totals.longest_dwell_s, (up - max(since, totals.started.up)) / 1000)
        if contact.since_up is not None:
            self._contact_up = up
            totals.vacuum.add(vacuum, gap_ms)
        limit = self._rules.over_vacuum_kpa
        if vacuum > limit or (setpoint is not None and vacuum > setpoint + _OVER_SETPOINT_KPA):
            totals.over_vacuum_s += gap_s
        if setpoint is not None:
            _note_setpoint(totals, setpoint, up)
        return is_new

    def _progress(self, when: Instant) -> list[Session]:
        totals = self._totals
        assert totals is not None
        active = totals.started
        if self._pump_on:
            active = when
        elif self._pump_seen is not None and self._pump_seen.up > active.up:
            active = self._pump_seen
        if when.up - active.up >= self._rules.off_ms:
            return [self._end(active, self._outcome())]
        if when.up - totals.started.up >= self._rules.longest_ms:
            return [self._end(when, "timeout")]
        if when.up - self._checkpoint_up >= self._rules.checkpoint_ms:
            self._checkpoint_up = when.up
            return [self._step("checkpoint", when)]
        return []

    def _outcome(self) -> Outcome:
        """A treatment without contact was none."""
        assert self._totals is not None
        is_missed = self._told.get("purpose", "treatment") == "treatment" and not self._totals.strokes
        return "aborted" if is_missed or "abort_reason" in self._told else "completed"

    def _end(self, when: Instant, outcome: Outcome) -> Session:
        self.life.sessions += 1
        ended = self._step("end", when, outcome)
        self._totals = None
        self._told.clear()
        return ended

    def _step(
        self, op: Literal["start", "checkpoint", "end"], when: Instant, outcome: Outcome | None = None
    ) -> Session:
        """The session's entry at one moment."""
        assert self._totals is not None
        said = self._fitted | self._told
        return Session(
            op=op,
            session=self._totals.session,
            boot=when.boot,
            at=when.at,
            up=when.up,
            clock=when.clock,
            outcome=outcome,
            privacy=self._rules.privacy,
            vocabulary=VERSION if CODED_FIELDS.keys() & said.keys() else None,
            counters=self.life.told(),
            **self._totals.fields(),
            **said,
        )


def _note_setpoint(totals: Totals, setpoint_kpa: float, up: int) -> None:
    """Note a set point that differs from the last one by more than a sensor's noise."""
    noted = totals.setpoints
    if not noted or (abs(setpoint_kpa - noted[-1][1]) >= _SETPOINT_STEP_KPA and len(noted) < _MAX_SETPOINTS):
        noted.append((round((up - totals.started.up) / 1000, 1), round(setpoint_kpa, 2)))


def end_after_power_loss(
    open_session: bytes, last_telemetry: bytes | None, counters: Counters | None
) -> tuple[bytes, Counters | None] | None:
    """The end of a session that a power cut left open, as an entry.

    Args:
        open_session: the session as of the newest block on disk, or its newest entry.
        last_telemetry: the newest telemetry entry on disk.
        counters: of the machine, as of the newest entry on disk.

    Returns:
        its end at the last sample on disk, with the totals up to there, and the counters with this session in them;
        None if it is not readable.
    """
    try:
        newest, _ = decode_session(open_session)
        block = decode_telemetry(last_telemetry).block if last_telemetry else None
    except InvalidEntry:
        return None
    if counters is not None:
        counters = replace(counters, sessions=counters.sessions + 1)
    changes: dict[str, Any] = {"op": "end", "outcome": "power_loss", "counters": counters}
    if block is not None and block.boot == newest.boot and block.up + block.dt[-1] > newest.up:
        changes |= {"at": block.t0 + block.dt[-1], "up": block.up + block.dt[-1], "clock": block.clock}
    return encode_record(replace(newest, **changes)), counters
