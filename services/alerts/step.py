"""One step of one device: claim it, read on, decide, and write everything with the new position in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dermafleet.contracts.releases import Mode
from dermafleet.storage import alarms, condition, follow
from dermafleet.storage.blocks import read_samples
from dermafleet.storage.engine import translate
from dermafleet.storage.follow import Claim, Entry
from dermafleet.storage.releases import decode_releases
from dermafleet.storage.rules import decode_rules
from services.alerts import evaluate, holes, lifecycle, metrics, projection
from services.alerts.context import Context
from services.alerts.entries import (
    MAX_ENTRIES,
    channels_needed,
    cut_step,
    maintenance_in,
    may_follow,
    read_event,
    read_session,
    to_block,
)
from services.alerts.findings import Findings
from services.alerts.libraries import Libraries
from services.alerts.limits import decode_limits
from services.alerts.observation import Block, Observation, Origin, unix_ms, utc
from services.alerts.order import Blocked, Idle, Move, Position, Read, find_next
from services.alerts.shadow import Shadow, open_shadow
from services.alerts.tuning import FIRST, Tuning, version_for


@dataclass(frozen=True, slots=True)
class Patience:
    """How long newer entries wait for a missing one: before it is named, and before it is declared lost."""

    alarm_after: timedelta = timedelta(minutes=15)
    lost_after: timedelta = timedelta(days=1)


class Progress(Enum):
    """What a step came to: nothing; to the end of what had arrived; or further, and there may be more."""

    NONE = "none"
    CAUGHT_UP = "caught up"
    MOVED = "moved"


async def step(engine: AsyncEngine, device: int, patience: Patience, libraries: Libraries | None = None) -> Progress:
    """Take one device's evaluation one step further.

    Args:
        libraries: what this process has read of them; None = nothing yet.

    Safe to call from any number of tasks and processes: whoever finds the device taken moves nothing.

    Raises:
        TransientError: the database; nothing was written, or all of it.
    """
    with translate():
        async with engine.begin() as connection:
            claim = await follow.claim(connection, device)
            if claim is not None:
                return await _Step(connection, claim, patience, libraries or Libraries()).run()
        async with engine.begin() as connection:
            is_new = await follow.add_device(connection, device, version=evaluate.VERSION)
    return Progress.MOVED if is_new else Progress.NONE


class _Step:
    """The transaction of one step."""

    def __init__(self, connection: AsyncConnection, claim: Claim, patience: Patience, libraries: Libraries) -> None:
        self._connection = connection
        self._claim = claim
        self._patience = patience
        self._libraries = libraries
        self._memory = evaluate.recall(claim.state, claim.version)
        self._tuning = self._version("active") or FIRST
        self._shadow: Shadow | None = None

    async def run(self) -> Progress:
        logs = await follow.read_open_logs(self._connection, self._claim.device)
        match find_next(logs, Position(self._claim.epoch, self._claim.seq)):
            case Read() as read:
                is_end = await self._read(read) and len(logs) == 1
                return Progress.CAUGHT_UP if is_end else Progress.MOVED
            case Move() as move:
                await self._move(move)
                return Progress.MOVED
            case Blocked() as hole:
                return Progress.MOVED if await self._wait(hole) else Progress.NONE
            case Idle():
                return Progress.NONE

    async def _read(self, read: Read) -> bool:
        """Evaluate what comes next; True = all that was to be read."""
        claim, limit = self._claim, MAX_ENTRIES
        found = await follow.read_entries(
            self._connection, claim.device, read.epoch, after=read.after, upto=read.upto, limit=limit
        )
        entries = cut_step(found)
        is_all = len(found) < limit and len(entries) == len(found)
        if (in_shadow := self._version("shadow")) is not None:
            self._shadow = await open_shadow(self._connection, claim, in_shadow)
        observations = await self._take(read.epoch, entries)
        seq = read.upto if is_all else entries[-1].seq
        if claim.blocked_since is not None:
            observations.append(holes.unblocked(Origin(read.epoch, seq), now=claim.now))
        await self._judge(observations)
        until = max((entry.last_at for entry in entries), default=claim.evaluated_until)
        if until is not None and claim.evaluated_until is not None:
            until = max(until, claim.evaluated_until)
        await self._save(Position(read.epoch, seq), until, blocked_since=None)
        if self._shadow is not None:
            await self._shadow.save(self._connection, claim.device, until)
        metrics.entries.inc(len(entries))
        metrics.samples.inc(sum(entry.samples for entry in entries))
        return is_all

    async def _take(self, epoch: str, entries: Sequence[Entry]) -> list[Observation]:
        """Show entries in order to detectors and projections; what they find is written, but for the observations."""
        device, context = self._claim.device, self._context()
        blocks = [entry for entry in entries if entry.kind == "telemetry"]
        samples = await read_samples(self._connection, device, blocks, channels_needed(context))
        observations: list[Observation] = []
        waiting: list[tuple[Entry, Block]] = []
        for entry in entries:
            later = await self._at(context, entry.last_at)
            block = to_block(epoch, entry, samples[entry.entry]) if entry.entry in samples else None
            if block is None or later is not context or not may_follow([each for _, each in waiting], block):
                observations += await self._flush(waiting, context)
            context = later
            if block is not None:
                waiting.append((entry, block))
            elif entry.kind == "session":
                observations += await self._store(await self._take_session(epoch, entry, context), entry)
            elif entry.kind == "event":
                observations += await self._store(await self._take_event(epoch, entry, context), entry)
        observations += await self._flush(waiting, context)
        if self._shadow is not None:
            self._shadow.take(epoch, entries, samples, context)
        return observations

    async def _flush(self, waiting: list[tuple[Entry, Block]], context: Context) -> list[Observation]:
        """Show the detectors the telemetry entries that wait; none does afterwards."""
        observations: list[Observation] = []
        if waiting:
            self._memory, found = evaluate.take_blocks(self._memory, [block for _, block in waiting], context)
            for (entry, _), findings in zip(waiting, found, strict=True):
                if not findings.is_empty:
                    observations += await self._store(findings, entry)
            waiting.clear()
        return observations

    def _version(self, mode: Mode) -> Tuning | None:
        """The version of the detectors that is released for this device."""
        claim = self._claim
        return version_for(decode_releases(claim.releases), mode, claim.model, claim.device_id)

    def _context(self) -> Context:
        """What is known of the device besides its log."""
        claim = self._claim
        rules = tuple(rule for rule in decode_rules(claim.rules) if rule.covers(claim.model))
        return Context(
            limits=decode_limits(claim.limits),
            profile=claim.profile,
            altitude_m=claim.altitude_m,
            rules=rules,
            time_zone=claim.time_zone,
            tuning=self._tuning,
        )

    async def _at(self, context: Context, at: datetime) -> Context:
        """The same with the library that holds at this event time."""
        claim = self._claim
        library = await self._libraries.at(self._connection, claim.model, at, now=claim.now)
        return context if library is context.library else replace(context, library=library)

    async def _take_session(self, epoch: str, entry: Entry, context: Context) -> Findings:
        device, told = self._claim.device, read_session(entry)
        await follow.project_session(self._connection, device, told, at=entry.first_at)
        if told.counters is not None:
            await follow.project_counters(self._connection, device, told.counters, at=entry.first_at)
        if told.op in ("start", "end"):
            body = {"session_id": told.session, "op": told.op}
            await follow.note_change(self._connection, "session", device, body)
        origin = Origin(epoch, entry.seq)
        return evaluate.take_session(self._memory, told, origin, unix_ms(entry.first_at), context)

    async def _take_event(self, epoch: str, entry: Entry, context: Context) -> Findings:
        device, body, at = self._claim.device, read_event(entry), entry.first_at
        await follow.project_event(self._connection, device, epoch, entry, type=body.type, data=body.data)
        if (done := maintenance_in(body)) is not None:
            data = {name: value for name, value in body.data.items() if name not in ("type", "component")}
            record = condition.MachineMaintenance(done.component, done.type, at, epoch, entry.seq, data)
            await condition.save_maintenance(self._connection, device, record)
        return evaluate.take_event(self._memory, body, Origin(epoch, entry.seq), unix_ms(at), context)

    async def _store(self, findings: Findings, entry: Entry) -> list[Observation]:
        """Write what one entry led to, but for its observations: they are returned."""
        connection, device, at = self._connection, self._claim.device, entry.last_at
        await condition.save_features(connection, device, projection.feature_rows(findings))
        await condition.save_baselines(connection, device, projection.baseline_rows(findings))
        await condition.save_forecasts(connection, device, projection.forecast_rows(findings))
        await condition.save_observability(connection, device, projection.observability_rows(findings, at))
        if self._claim.model is not None:
            await condition.save_filter_life(connection, device, self._claim.model, projection.life_rows(findings))
        return findings.observations

    async def _move(self, move: Move) -> None:
        claim = self._claim
        if move.leaving is not None:
            left = await follow.leave_epoch(self._connection, claim.device, move.leaving, upto=move.left_at)
            if not left:
                return
        if claim.blocked_since is not None:
            await self._judge([holes.unblocked(Origin(move.epoch, 0), now=claim.now)])
        await self._save(Position(move.epoch, 0), claim.evaluated_until, blocked_since=None)

    async def _wait(self, hole: Blocked) -> bool:
        """Note since when, say so after a while, and give up in the end; True = it goes on."""
        claim, patience = self._claim, self._patience
        position = Position(claim.epoch, claim.seq)
        if claim.blocked_since is None:
            await self._save(position, claim.evaluated_until, blocked_since=claim.now)
            return False
        waited = claim.now - claim.blocked_since
        if waited >= patience.alarm_after:
            if hole.otherwise is not None:
                await self._move(hole.otherwise)
                return True
            origin = Origin(hole.epoch, hole.seq)
            since = claim.blocked_since
            await self._judge([holes.blocked(origin, since=since, at=since + patience.alarm_after)])
        if waited >= patience.lost_after and await follow.is_hole_old(
            self._connection,
            claim.device,
            since=claim.blocked_since,
            lost_after=patience.lost_after,
            recent=min(patience.alarm_after, patience.lost_after),
        ):
            lost = await follow.declare_lost(self._connection, claim.device, hole.epoch, lost_after=patience.lost_after)
            metrics.lost.inc(lost)
            return lost > 0
        return False

    async def _judge(self, observations: list[Observation]) -> None:
        """Bring the device's alarms up to what was observed, and note when standing ones were last seen."""
        seen = evaluate.last_seen(self._memory)
        if not observations and not seen:
            return
        stored = await alarms.lock_alarms(self._connection, self._claim.device)
        standing = {(alarm.component, alarm.fault): alarm for alarm in stored}
        for observation in observations:
            key = (observation.component, observation.fault)
            decision = lifecycle.decide(self._claim.device_id, standing.get(key), observation, sure=self._tuning.sure)
            if decision.alarm is None:
                continue
            if decision.alarm != standing.get(key):
                await alarms.save_alarm(self._connection, self._claim.device, decision.alarm)
            standing[key] = decision.alarm
            if decision.transition is not None:
                await self._tell(decision, observation)
        for key, at_ms in seen.items():
            await self._see(standing.get(key), utc(at_ms))

    async def _tell(self, decision: lifecycle.Decision, observation: Observation) -> None:
        if decision.alarm is None or decision.transition is None:
            return
        data = {
            "severity": decision.alarm.severity,
            "confidence": observation.confidence,
            "at_entry": str(observation.origin),
            "release": self._tuning.version,
            "detail": dict(observation.detail),
            "candidates": dict(observation.candidates),
        }
        told = alarms.Step(decision.transition, observation.at, alarms.FOLLOWER, decision.reason, data)
        await alarms.add_step(self._connection, self._claim.device, decision.alarm.id, told)
        metrics.transitions.labels(observation.fault, decision.transition).inc()

    async def _see(self, alarm: alarms.Alarm | None, at: datetime) -> None:
        if alarm is not None and alarm.standing != "cleared" and at > alarm.last_at:
            await alarms.save_alarm(self._connection, self._claim.device, replace(alarm, last_at=at))

    async def _save(self, position: Position, until: datetime | None, *, blocked_since: datetime | None) -> None:
        await follow.save_claim(
            self._connection,
            self._claim,
            version=evaluate.VERSION,
            epoch=position.epoch,
            seq=position.seq,
            evaluated_until=until,
            blocked_since=blocked_since,
            state=evaluate.to_document(self._memory),
        )
