"""Releases of detectors' versions, and what a version in shadow remembers and said; in the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.releases import Judged, Mode, Release, ReleaseReport, Spell, compare
from dermafleet.errors import PermanentError
from dermafleet.storage.alarms import Alarm
from dermafleet.storage.release_tables import detector_release, shadow_alarm_event

_decoder = msgspec.json.Decoder(tuple[Release, ...])
_alarms = msgspec.json.Decoder(list[Alarm])


class NothingJudged(PermanentError):
    """A version has judged nothing in shadow."""


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A release on record; it holds until ``ended_at``."""

    id: int
    version: int
    mode: Mode
    models: list[str]
    percent: int
    created_at: datetime
    created_by: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShadowState:
    """What a version in shadow remembers of a device: its memory (JSON of that version), and alarms not closed.

    Attributes:
        from_at, until_at: event times between which it judged.
        trouble: why it judged nothing in its last step; None = it did.
    """

    memory_version: int
    memory: str
    alarms: Sequence[Alarm]
    from_at: datetime
    until_at: datetime
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class ShadowEvent:
    """A step in the life of an alarm that was never raised."""

    component: str
    fault: str
    transition: str
    severity: int
    confidence: float
    event_at: datetime
    reason: str
    detail: Mapping[str, object]


@lru_cache(8)  # every step asks, and seldom is it another one
def decode_releases(document: str) -> tuple[Release, ...]:
    """From a JSON list of releases."""
    return _decoder.decode(document)


async def list_releases(connection: AsyncConnection) -> list[ReleaseRow]:
    """All of them, newest first."""
    rows = await connection.execute(select(detector_release).order_by(detector_release.c.id.desc()))
    return [ReleaseRow(**row._mapping) for row in rows]


async def start_release(connection: AsyncConnection, release: Release, *, actor: str) -> None:
    """Put a version to work from now on.

    Raises:
        PermanentError: there is no such device model.
    """
    for model in release.models:
        if await connection.scalar(text("select count(*) from device_model where id = :id"), {"id": model}) == 0:
            raise PermanentError(f"there is no device model {model!r}")
    await connection.execute(insert(detector_release).values(**msgspec.structs.asdict(release), created_by=actor))


async def end_releases(connection: AsyncConnection, version: int) -> int:
    """End all releases of a version; what held before them holds again. Returns how many there were."""
    statement = "update detector_release set ended_at = now() where version = :version and ended_at is null"
    return (await connection.execute(text(statement), {"version": version})).rowcount


async def find_shadow(connection: AsyncConnection, device: int, version: int) -> ShadowState | None:
    """What a version remembers of a device."""
    row = (await connection.execute(_FIND_SHADOW, {"device": device, "version": version})).one_or_none()
    if row is None:
        return None
    return ShadowState(
        row.memory_version, row.memory, _alarms.decode(row.alarms), row.from_at, row.until_at, row.trouble
    )


_FIND_SHADOW = text("""
select memory_version, memory::text as memory, alarms::text as alarms, from_at, until_at, trouble
from shadow_state where device_id = :device and version = :version""")


async def save_shadow(
    connection: AsyncConnection, device: int, version: int, state: ShadowState, events: Iterable[ShadowEvent]
) -> None:
    """Write what it remembers now, and append what it said."""
    given = {
        **{name: getattr(state, name) for name in ("memory_version", "memory", "from_at", "until_at", "trouble")},
        "alarms": msgspec.json.encode(list(state.alarms)).decode(),
        "device": device,
        "version": version,
    }
    await connection.execute(_SAVE_SHADOW, given)
    if rows := [{**asdict(each), "device_id": device, "version": version} for each in events]:
        await connection.execute(insert(shadow_alarm_event), rows)


_SAVE_SHADOW = text("""
insert into shadow_state (device_id, version, memory_version, memory, alarms, from_at, until_at, trouble)
values (:device, :version, :memory_version, cast(:memory as jsonb), cast(:alarms as jsonb), :from_at, :until_at,
  :trouble)
on conflict (device_id, version) do update set memory_version = excluded.memory_version, memory = excluded.memory,
  alarms = excluded.alarms, from_at = excluded.from_at, until_at = excluded.until_at,
  trouble = excluded.trouble""")


async def report(connection: AsyncConnection, version: int) -> ReleaseReport:
    """What a version in shadow would change, on all devices that it has judged.

    Raises:
        NothingJudged: it has judged none.
    """
    told = (await connection.execute(_JUDGED, {"version": version})).one()
    if told.devices == 0:
        raise NothingJudged(f"version {version} has judged nothing in shadow")
    active = spells(row._asdict() for row in await connection.execute(_ACTIVE_EVENTS, {"version": version}))
    shadow = spells(row._asdict() for row in await connection.execute(_SHADOW_EVENTS, {"version": version}))
    return compare(version, active, shadow, judged=Judged(told.devices, told.failing, float(told.days)))


_JUDGED = text("""
select count(*) as devices, count(trouble) as failing,
  coalesce(sum(extract(epoch from until_at - from_at)) / 86400, 0) as days
from shadow_state where version = :version""")

_ACTIVE_EVENTS = text(r"""
select d.device_id, a.component, a.fault, e.transition, e.event_at, (e.data->>'severity')::int as severity, e.reason
from shadow_state s
join alarm a on a.device_id = s.device_id and a.component <> 'log' and a.fault not like 'rule\_%'
join alarm_event e on e.alarm_id = a.id and e.event_at > s.from_at and e.event_at <= s.until_at
join device d on d.id = s.device_id
where s.version = :version and e.transition in ('raised', 'reraised', 'cleared') order by e.id""")

_SHADOW_EVENTS = text("""
select d.device_id, e.component, e.fault, e.transition, e.event_at, e.severity, e.reason
from shadow_state s
join shadow_alarm_event e on e.device_id = s.device_id and e.version = s.version
  and e.event_at > s.from_at and e.event_at <= s.until_at
join device d on d.id = s.device_id
where s.version = :version and e.transition in ('raised', 'reraised', 'cleared') order by e.id""")


def spells(events: Iterable[Mapping[str, Any]]) -> list[Spell]:
    """When alarms stood, from their events in order; one that stood before the first event is not among them."""
    found: list[Spell] = []
    standing: dict[tuple[str, str, str], Spell] = {}
    for event in events:
        place = (event["device_id"], event["component"], event["fault"])
        if event["transition"] == "cleared":
            if (spell := standing.pop(place, None)) is not None:
                found.append(msgspec.structs.replace(spell, until_at=event["event_at"]))
        else:
            standing[place] = Spell(*place, event["event_at"], None, event["severity"], event["reason"])
    return [*found, *standing.values()]
