"""Which alarms there are, and how they came about. Only the alert engine writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.storage.tables import ALARM_IS_OPEN


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm, its device and where that stands now. ``detail`` is the detector's own (any JSON)."""

    id: UUID
    device_id: str
    device_label: str
    site_id: UUID | None
    site_name: str | None
    time_zone: str | None
    component: str
    fault: str
    severity: int
    standing: str
    confidence: float
    raised_at: datetime
    last_at: datetime
    cleared_at: datetime | None
    count: int
    detector: str
    detector_version: int
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlarmEventRow:
    """One step in the life of an alarm."""

    transition: str
    event_at: datetime
    recorded_at: datetime
    actor: str
    reason: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlarmFilter:
    """Which alarms to list; empty or None = no condition. Several values of one attribute are alternatives."""

    device_ids: Sequence[str] = ()
    standings: Sequence[str] = ()
    faults: Sequence[str] = ()
    severity_gte: int | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None


class AlarmKey(NamedTuple):
    """An alarm's place in the list."""

    raised_at: datetime
    id: UUID


_COLUMNS = """
select a.id, d.device_id, d.label as device_label, site.id as site_id, site.name as site_name, site.time_zone,
  a.component, a.fault, a.severity, a.standing, a.confidence, a.raised_at, a.last_at, a.cleared_at, a.count,
  a.detector, a.detector_version, a.detail
from alarm a
join device d on d.id = a.device_id
left join placement p on p.device_id = d.id and p.to_at is null
left join site on site.id = p.site_id"""

_FILTERED = f"""
where (cast(:device_ids as text[]) is null or d.device_id = any(:device_ids))
  and (cast(:standings as text[]) is null or a.standing = any(:standings))
  and (cast(:faults as text[]) is null or a.fault = any(:faults))
  and (cast(:severity_gte as int) is null or a.severity >= :severity_gte)
  and (cast(:from_at as timestamptz) is null or {ALARM_IS_OPEN}
       or coalesce(a.cleared_at, a.last_at) >= :from_at)
  and (cast(:to_at as timestamptz) is null or a.raised_at < :to_at)
  and (cast(:before_at as timestamptz) is null or (a.raised_at, a.id) < (:before_at, cast(:before_id as uuid)))
order by a.raised_at desc, a.id desc
limit :limit"""

_CHOSEN = "where a.id = any(cast(:ids as uuid[]))"

_HISTORY = text("""
select transition, event_at, recorded_at, actor, reason, data from alarm_event where alarm_id = :id order by id""")


async def list_alarms(
    connection: AsyncConnection, wanted: AlarmFilter, *, before: AlarmKey | None, limit: int
) -> list[AlarmRow]:
    """At most ``limit`` alarms, newest first, below ``before``. A time range selects alarms that overlap it;
    an open one has no end.
    """
    before_at, before_id = before or (None, None)
    rows = await connection.execute(
        text(_COLUMNS + _FILTERED),
        {
            "device_ids": list(wanted.device_ids) or None,
            "standings": list(wanted.standings) or None,
            "faults": list(wanted.faults) or None,
            "severity_gte": wanted.severity_gte,
            "from_at": wanted.from_at,
            "to_at": wanted.to_at,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return [AlarmRow(**row._mapping) for row in rows]


async def alarms_of(connection: AsyncConnection, ids: Sequence[UUID]) -> list[AlarmRow]:
    """The alarms with these ids."""
    rows = await connection.execute(text(_COLUMNS + "\n" + _CHOSEN), {"ids": [str(id) for id in ids]})
    return [AlarmRow(**row._mapping) for row in rows]


async def alarm_history(connection: AsyncConnection, id: UUID) -> list[AlarmEventRow]:
    """What happened to an alarm, oldest first."""
    return [AlarmEventRow(**row._mapping) for row in await connection.execute(_HISTORY, {"id": id})]
