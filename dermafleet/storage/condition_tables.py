"""What alerts knows of a device's condition: features, baselines, forecasts, service. *_at in event time."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from dermafleet.storage.columns import at, device_key, json, metadata, now

session_feature = Table(
    "session_feature",
    metadata,
    device_key(primary_key=True),
    Column("component", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    at("started_at"),
    at("ended_at"),
    Column("version", Integer, nullable=False),
    Column("filter_index", Float),
    json("features"),
    Index("session_feature_ended_idx", "device_id", "ended_at"),
    comment="One session of one component, as features; see services.alerts.features.types.SessionFeatures",
)

baseline = Table(
    "baseline",
    metadata,
    device_key(primary_key=True),
    Column("component", Text, primary_key=True),
    Column("tip", Text, primary_key=True),
    Column("quantity", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("value", Float, nullable=False),
    Column("spread", Float, nullable=False),
    Column("n", Integer, nullable=False),
    at("from_at"),
    Column("reason", Text, nullable=False),
    comment="A learned healthy value; the newest version holds, none is ever overwritten",
)

forecast = Table(
    "forecast",
    metadata,
    device_key(primary_key=True),
    Column("component", Text, primary_key=True),
    at("made_at", primary_key=True),
    Column("ratio", Float, nullable=False),
    Column("share_left", Float, nullable=False),
    json("remaining"),
    Column("basis", Text, nullable=False),
    Column("filters", Integer, nullable=False),
    Column("evening_probability", Float),
    comment="Remaining life of an intake filter; remaining: {sessions, hours, days: [p10, p50, p90]}",
)

observability = Table(
    "observability",
    metadata,
    device_key(primary_key=True),
    Column("component", Text, primary_key=True),
    Column("fault", Text, primary_key=True),
    Column("observable", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ambiguous_with", JSONB, nullable=False),
    at("since_at"),
    comment="Whether a fault could be seen on a device; since_at = since when this answer holds",
)

maintenance_record = Table(
    "maintenance_record",
    metadata,
    Column("id", Uuid, primary_key=True),
    device_key(),
    Column("component", Text, nullable=False),
    Column("type", Text, nullable=False),
    at("event_at"),
    Column("source", Text, nullable=False),
    Column("epoch", Text),
    Column("seq", BigInteger),
    json("data"),
    now("recorded_at"),
    CheckConstraint("source in ('machine', 'person')", name="source"),
    CheckConstraint("(source = 'machine') = (epoch is not null and seq is not null)", name="entry"),
    Index("maintenance_record_device_idx", "device_id", "event_at"),
    comment="Service done on a component; epoch and seq: the log entry that told of it",
)

filter_life = Table(
    "filter_life",
    metadata,
    device_key(primary_key=True),
    Column("component", Text, primary_key=True),
    at("from_at", primary_key=True),
    at("to_at"),
    Column("model_id", Text, ForeignKey("device_model.id"), nullable=False),
    Column("censored", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    json("curve"),
    Index("filter_life_model_idx", "model_id", "to_at"),
    comment="The whole course of one intake filter; censored = changed before it reached the rated limit",
)

forecast_library = Table(
    "forecast_library",
    metadata,
    Column("model_id", Text, ForeignKey("device_model.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    at("learned_until"),
    Column("filters", Integer, nullable=False),
    json("document"),
    now("created_at"),
    comment="What the filters of a model that ended by learned_until taught; a version never changes",
)
