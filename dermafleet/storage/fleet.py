"""The fleet in numbers, and which of its parts are running."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.topics import SHARDS
from dermafleet.storage.devices import PRESENCE_DEADLINE
from dermafleet.storage.tables import ALARM_IS_OPEN

RATE_WINDOW = timedelta(minutes=1)
WORKER_DEADLINE = timedelta(seconds=30)
"""A worker that has not been seen for this long serves nothing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Devices in service by presence, open alarms by severity 0…4, sessions of the day and the rate of samples."""

    online: int
    offline: int
    never_seen: int
    treating: int
    alarms: tuple[int, int, int, int, int]
    sessions_today: int
    samples_per_s: float


_DEVICES = text("""
select count(*) filter (where s.online and s.received_at > :alive_since) as online,
  count(*) filter (where s.device_id is not null and not (s.online and s.received_at > :alive_since)) as offline,
  count(*) filter (where s.device_id is null) as never_seen,
  count(*) filter (where s.online and s.received_at > :alive_since and s.state = 'treating') as treating
from device d left join device_status s on s.device_id = d.id
where d.state not in ('revoked', 'retired')""")

_ALARMS = text(f"""
select severity, count(*) as number from alarm
where {ALARM_IS_OPEN} group by severity""")  # noqa: S608  # our own text

_SESSIONS = text("""
select count(*) from session where last_at >= :midnight and started_at >= :midnight and purpose = 'treatment'""")

_SAMPLES = text("select coalesce(sum(samples), 0) from log_entry where stored_at >= :since and stored_at < :now")

_SHARDS = text("select shards from worker where kind = 'ingest' and seen_at > :alive_since")


async def count_fleet(connection: AsyncConnection, *, now: datetime) -> Counts:
    """The fleet at ``now``; the day is the one of UTC."""
    devices = (await connection.execute(_DEVICES, {"alive_since": now - PRESENCE_DEADLINE})).one()
    alarms = {row.severity: row.number for row in await connection.execute(_ALARMS)}
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    samples = await connection.scalar(_SAMPLES, {"since": now - RATE_WINDOW, "now": now})
    return Counts(
        online=devices.online,
        offline=devices.offline,
        never_seen=devices.never_seen,
        treating=devices.treating,
        alarms=(alarms.get(0, 0), alarms.get(1, 0), alarms.get(2, 0), alarms.get(3, 0), alarms.get(4, 0)),
        sessions_today=int(await connection.scalar(_SESSIONS, {"midnight": midnight}) or 0),
        samples_per_s=round(int(samples or 0) / RATE_WINDOW.total_seconds(), 2),
    )


async def unserved_shards(connection: AsyncConnection, *, now: datetime) -> list[str]:
    """The shards that no running ingest worker serves."""
    rows = await connection.scalars(_SHARDS, {"alive_since": now - WORKER_DEADLINE})
    return sorted(set(SHARDS) - set("".join(rows)))


async def schema_revision(connection: AsyncConnection) -> str | None:
    """The revision of the database's schema; None if it has none."""
    if await connection.scalar(text("select to_regclass('alembic_version')")) is None:
        return None
    found = await connection.scalar(text("select version_num from alembic_version"))
    return None if found is None else str(found)
