"""What is known of a device's condition: features of its sessions, baselines, forecasts, what can be seen, service."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.storage.condition import BaselineRow, ForecastRow, ObservabilityRow


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One session of one component; ``features`` is the whole document."""

    component: str
    session_id: str
    purpose: str
    started_at: datetime
    ended_at: datetime
    version: int
    filter_index: float | None
    features: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MaintenanceRow:
    """Service done."""

    id: UUID
    component: str
    type: str
    event_at: datetime
    source: str
    data: dict[str, Any]
    recorded_at: datetime


class MaintenanceKey(NamedTuple):
    """A record's place in the list of its device."""

    event_at: datetime
    id: UUID


_TREND = text("""
select f.component, session_id, purpose, started_at, ended_at, version, filter_index, features
from (select distinct component from session_feature where device_id = :id) c,
lateral (select * from session_feature s where s.device_id = :id and s.component = c.component
         order by s.ended_at desc, s.session_id limit :sessions) f
order by f.component, f.ended_at, f.session_id""")

_SESSION = text("""
select component, session_id, purpose, started_at, ended_at, version, filter_index, features
from session_feature where device_id = :id and session_id = :session_id order by component""")

_BASELINES = text("""
select distinct on (component, tip, quantity) component, tip, quantity, version, value, spread, n, from_at, reason
from baseline where device_id = :id order by component, tip, quantity, version desc""")

_FORECASTS = text("""
select distinct on (component) component, made_at, ratio, share_left, remaining, basis, filters, evening_probability
from forecast where device_id = :id order by component, made_at desc""")

_OBSERVABILITY = text("""
select component, fault, observable, reason, ambiguous_with, since_at
from observability where device_id = :id order by component, fault""")

_MAINTENANCE = text("""
select id, component, type, event_at, source, data, recorded_at from maintenance_record
where device_id = :id
  and (cast(:before_at as timestamptz) is null or (event_at, id) < (:before_at, cast(:before_id as uuid)))
order by event_at desc, id desc limit :limit""")


async def feature_trend(connection: AsyncConnection, id: int, *, sessions: int) -> list[FeatureRow]:
    """The last sessions of each component of a device, oldest first."""
    rows = await connection.execute(_TREND, {"id": id, "sessions": sessions})
    return [FeatureRow(**row._mapping) for row in rows]


async def session_features(connection: AsyncConnection, id: int, session_id: str) -> list[FeatureRow]:
    """One session of a device, by component."""
    rows = await connection.execute(_SESSION, {"id": id, "session_id": session_id})
    return [FeatureRow(**row._mapping) for row in rows]


async def baselines(connection: AsyncConnection, id: int) -> list[BaselineRow]:
    """What holds now, by component, tip and quantity."""
    return [BaselineRow(**row._mapping) for row in await connection.execute(_BASELINES, {"id": id})]


async def forecasts(connection: AsyncConnection, id: int) -> list[ForecastRow]:
    """The newest one of each component."""
    return [ForecastRow(**row._mapping) for row in await connection.execute(_FORECASTS, {"id": id})]


async def observabilities(connection: AsyncConnection, id: int) -> list[ObservabilityRow]:
    """By component and fault; empty while nothing of the device was judged."""
    return [ObservabilityRow(**row._mapping) for row in await connection.execute(_OBSERVABILITY, {"id": id})]


async def list_maintenance(
    connection: AsyncConnection, id: int, *, before: MaintenanceKey | None, limit: int
) -> list[MaintenanceRow]:
    """At most ``limit`` records of a device, newest first, below ``before``."""
    before_at, before_id = before or (None, None)
    given = {"id": id, "before_at": before_at, "before_id": before_id, "limit": limit}
    return [MaintenanceRow(**row._mapping) for row in await connection.execute(_MAINTENANCE, given)]
