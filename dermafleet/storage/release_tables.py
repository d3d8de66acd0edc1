"""Which version of the built-in detectors runs where, and what a version in shadow would have said."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from dermafleet.storage.columns import at, device_key, json, metadata, now

detector_release = Table(
    "detector_release",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("mode", Text, nullable=False),
    Column("models", JSONB, nullable=False, server_default=text("'[]'")),
    Column("percent", SmallInteger, nullable=False, server_default=text("100")),
    now("created_at"),
    Column("created_by", Text, nullable=False),
    at("ended_at", nullable=True),
    CheckConstraint("mode in ('shadow', 'active')", name="mode"),
    CheckConstraint("percent between 1 and 100", name="percent"),
    Index("detector_release_open_idx", "id", postgresql_where=text("ended_at is null")),
    comment="models: empty = all. Of those that cover a device and have not ended the newest holds, per mode",
)

shadow_state = Table(
    "shadow_state",
    metadata,
    device_key(primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("memory_version", Integer, nullable=False),
    json("memory"),
    Column("alarms", JSONB, nullable=False),
    at("from_at"),
    at("until_at"),
    Column("trouble", Text),
    comment="What a version in shadow remembers of a device; from_at to until_at: judged; trouble: why it failed",
)

shadow_alarm_event = Table(
    "shadow_alarm_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    device_key(),
    Column("version", Integer, nullable=False),
    Column("component", Text, nullable=False),
    Column("fault", Text, nullable=False),
    Column("transition", Text, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("confidence", Float, nullable=False),
    at("event_at"),
    now("recorded_at"),
    Column("reason", Text, nullable=False),
    json("detail"),
    Index("shadow_alarm_event_version_idx", "version", "device_id", "id"),
    comment="What a version in shadow would have told of alarms; nobody is told",
)
