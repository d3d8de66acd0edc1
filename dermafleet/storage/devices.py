"""Which devices are there, where they stand, whether they are present, and what they told last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.channels import Profile
from dermafleet.storage.tables import ALARM_IS_OPEN

PRESENCE_DEADLINE = timedelta(seconds=100)
"""Three heartbeats of 30 s and some slack: a retained *online* of a device that is gone must not last."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device with what is known about it now. The newest values are those of the newer of status and telemetry."""

    id: int
    device_id: str
    label: str
    state: str
    model_id: str | None
    model_name: str | None
    profile: Profile | None
    limits: Mapping[str, Any]
    site_id: UUID | None
    site_name: str | None
    time_zone: str | None
    organization: str | None
    presence: str
    activity: str | None
    last_seen_at: datetime | None
    presence_since: datetime | None
    agent: str | None
    latest_source: str | None
    latest_at: datetime | None
    latest_received_at: datetime | None
    latest: Mapping[str, float | None]
    reported: Sequence[str]
    alarms_open: int
    worst_severity: int | None


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices to list; None = no condition.

    Attributes:
        search: found anywhere in the device's id, its label or the name of its site, in any case.
        presence: online, offline or never_seen.
        has_alarm: whether it has an open alarm.
    """

    search: str | None = None
    presence: str | None = None
    has_alarm: bool | None = None


_FILTERED = f"""
with page as (
  select d.* from device d
  left join device_status s on s.device_id = d.id
  where d.device_id > cast(:after as text)
    and (cast(:presence as text) is null or :presence = case
      when s.device_id is null then 'never_seen'
      when s.online and s.received_at > :alive_since then 'online' else 'offline' end)
    and (cast(:has_alarm as boolean) is null or :has_alarm = exists (
      select from alarm where device_id = d.id and {ALARM_IS_OPEN}))
    and (cast(:search as text) is null or d.device_id ilike :search or d.label ilike :search or exists (
      select from placement p join site on site.id = p.site_id
      where p.device_id = d.id and p.to_at is null and site.name ilike :search))
  order by d.device_id
  limit :limit
)"""  # noqa: S608  # our own text

_CHOSEN = "with page as (select d.* from device d where d.id = any(:ids))"

_NAMED = "with page as (select d.* from device d where d.device_id = :device_id)"

_KNOWN = f"""
select d.id, d.device_id, d.label, d.state, m.id as model_id, m.name as model_name, m.profile,
  coalesce(m.limits, '{{}}') as limits,
  site.id as site_id, site.name as site_name, site.time_zone, o.name as organization,
  case when s.device_id is null then 'never_seen'
       when s.online and s.received_at > :alive_since then 'online' else 'offline' end as presence,
  case when s.online and s.received_at > :alive_since then s.state end as activity,
  greatest(s.received_at, e.received_at) as last_seen_at, s.changed_at as presence_since, s.agent,
  case when t.event_at >= coalesce(s.latest_at, t.event_at) then 'telemetry'
       when s.latest_at is not null then 'status' end as latest_source,
  greatest(t.event_at, s.latest_at) as latest_at,
  case when t.event_at >= coalesce(s.latest_at, t.event_at) then e.received_at
       when s.latest_at is not null then s.received_at end as latest_received_at,
  case when t.event_at >= coalesce(s.latest_at, t.event_at) then t.channels
       else coalesce(s.latest, '{{}}') end as latest,
  array(select jsonb_object_keys(coalesce(s.latest, '{{}}') || coalesce(t.channels, '{{}}'))) as reported,
  a.alarms_open, a.worst_severity
from page d
left join device_model m on m.id = d.model_id
left join placement p on p.device_id = d.id and p.to_at is null
left join site on site.id = p.site_id
left join organization o on o.id = p.organization_id
left join device_status s on s.device_id = d.id
left join lateral (
  select count(*) as alarms_open, max(severity) as worst_severity from alarm
  where device_id = d.id and {ALARM_IS_OPEN}) a on true
left join lateral (
  select t.event_at, t.entry, jsonb_strip_nulls(
    (to_jsonb(t) - array['device_id', 'event_at', 'entry', 'extra', 'marks']) || coalesce(t.extra, '{{}}')) as channels
  from telemetry t where t.device_id = d.id order by t.event_at desc limit 1) t on true
left join log_entry e on e.device_id = d.id and e.entry = t.entry
order by d.device_id"""  # noqa: S608  # our own text


async def list_devices(
    connection: AsyncConnection, wanted: DeviceFilter, *, after: str, limit: int, now: datetime
) -> list[DeviceRow]:
    """At most ``limit`` devices whose id sorts after ``after`` (``""`` = from the first), in the order of their ids."""
    search = None if wanted.search is None else f"%{_literal(wanted.search)}%"
    values = {
        "after": after,
        "limit": limit,
        "search": search,
        "presence": wanted.presence,
        "has_alarm": wanted.has_alarm,
    }
    return await _read(connection, _FILTERED, values, now=now)


async def find_device(connection: AsyncConnection, device_id: str, *, now: datetime) -> DeviceRow | None:
    """The device with this public id."""
    rows = await _read(connection, _NAMED, {"device_id": device_id}, now=now)
    return rows[0] if rows else None


async def devices_of(connection: AsyncConnection, ids: Sequence[int], *, now: datetime) -> list[DeviceRow]:
    """The devices with these internal ids."""
    return await _read(connection, _CHOSEN, {"ids": list(ids)}, now=now)


async def internal_id(connection: AsyncConnection, device_id: str) -> int | None:
    """The internal id of a device; None if it is not known."""
    query = text("select id from device where device_id = :device_id")
    found = await connection.scalar(query, {"device_id": device_id})
    return None if found is None else int(found)


async def evaluated_until(connection: AsyncConnection, id: int) -> datetime | None:
    """Event time up to which detectors have judged a device's log."""
    found: datetime | None = await connection.scalar(
        text("select evaluated_until from detector_state where device_id = :id"), {"id": id}
    )
    return found


async def _read(
    connection: AsyncConnection, page: str, values: Mapping[str, object], *, now: datetime
) -> list[DeviceRow]:
    rows = await connection.execute(text(page + _KNOWN), {**values, "alive_since": now - PRESENCE_DEADLINE})
    return [DeviceRow(**row._mapping) for row in rows]


def _literal(search: str) -> str:
    """The text with the wildcards of ``like`` taken literally."""
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
