"""What the migrations do where TimescaleDB is at hand: `telemetry` becomes a compressed hypertable with retention.

Without the extension the schema is complete too; this only saves space and makes dropping old samples cheap.
"""

from datetime import timedelta

from sqlalchemy import Connection, text

OUTBOX_AGE = timedelta(days=30)
"""The longest a device may keep unacknowledged entries: so late may a sample arrive."""

COMPRESS_AFTER = OUTBOX_AGE + timedelta(days=7)
"""Late samples land in chunks that are not compressed yet: inserting into compressed ones is slow and has had bugs."""

RETENTION = timedelta(days=400)
"""Raw samples are kept for a year and a month, so that a season can be compared with the last one."""

CHUNK = timedelta(days=7)

_IS_USABLE = text(
    """
    select exists (select from pg_extension where extname = 'timescaledb')
        or exists (select from pg_available_extensions where name = 'timescaledb')
           and exists (select from pg_settings
                       where name = 'shared_preload_libraries' and setting like '%timescaledb%')
    """
)
"""An extension that is installed but not preloaded ends the connection when it is created: so look first."""


def statements(connection: Connection) -> list[str]:
    """The statements that this database can run: all of `HYPERTABLE`, or none."""
    return HYPERTABLE if connection.execute(_IS_USABLE).scalar_one() else []


def _interval(duration: timedelta) -> str:
    return f"interval '{duration.days} days'"


HYPERTABLE = [
    "create extension if not exists timescaledb",
    f"select create_hypertable('telemetry', by_range('event_at', {_interval(CHUNK)}), create_default_indexes => false)",
    "alter table telemetry set (timescaledb.enable_columnstore, "
    "timescaledb.segmentby = 'device_id', timescaledb.orderby = 'event_at')",
    f"call add_columnstore_policy('telemetry', after => {_interval(COMPRESS_AFTER)})",
    f"select add_retention_policy('telemetry', drop_after => {_interval(RETENTION)})",
]
"""Needs TimescaleDB 2.20 or later."""
