"""The tables. Migrations create them; every statement in this package uses these names.

The schema is complete on plain PostgreSQL 15 to 18. Where TimescaleDB is available, `telemetry` is a hypertable.
What alerts knows of a device's condition is in `condition_tables`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL

from dermafleet.contracts.channels import CHANNELS
from dermafleet.storage.columns import Xid8, at, device_key, json, metadata, now, ranges

server = Table(
    "server",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=text("true")),
    Column("server_id", Text, nullable=False),
    CheckConstraint("single", name="one_row"),
    comment="Identity of this database: devices obey only acks that carry it",
)

organization = Table(
    "organization",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    CheckConstraint("kind in ('manufacturer', 'service_partner', 'clinic_owner')", name="kind"),
)

site = Table(
    "site",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organization.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    json("opening_hours"),
    json("holidays"),
    Column("altitude_m", Float, nullable=False, server_default=text("0")),
    json("contacts"),
    UniqueConstraint("organization_id", "name"),
    comment="A clinic. opening_hours: {mon: [[08:30, 18:00], ...], ...} in time_zone",
)

device_model = Table(
    "device_model",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("profile", Text, nullable=False),
    json("limits"),
    CheckConstraint("profile in ('minimal', 'basic', 'standard', 'full')", name="profile"),
    comment="limits: see services.alerts.limits",
)

device = Table(
    "device",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("device_id", Text, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("model_id", Text, ForeignKey("device_model.id")),
    now("created_at"),
    CheckConstraint("state in ('pending', 'active', 'suspended', 'revoked', 'retired')", name="state"),
    comment="id for the hot path, device_id everywhere outside. Its row lock guards the device's ledger",
)

placement = Table(
    "placement",
    metadata,
    Column("id", Uuid, primary_key=True),
    device_key(),
    Column("organization_id", Uuid, ForeignKey("organization.id"), nullable=False),
    Column("site_id", Uuid, ForeignKey("site.id"), nullable=False),
    at("from_at"),
    at("to_at", nullable=True),
    CheckConstraint("to_at is null or from_at < to_at", name="order"),
    Index("placement_current_idx", "device_id", unique=True, postgresql_where=text("to_at is null")),
)

device_log = Table(
    "device_log",
    metadata,
    device_key(primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("opened", Boolean, nullable=False, server_default=text("false")),
    Column("previous", Text),
    Column("head", BigInteger, nullable=False, server_default=text("0")),
    Column("low", BigInteger, nullable=False, server_default=text("0")),
    Column("upto", BigInteger, nullable=False, server_default=text("0")),
    ranges("received"),
    ranges("refused"),
    ranges("lost"),
    ranges("late"),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    Column("duplicates", BigInteger, nullable=False, server_default=text("0")),
    Column("samples", BigInteger, nullable=False, server_default=text("0")),
    now("created_at"),
    UniqueConstraint("device_id", "number"),
    Index("device_log_open_idx", "device_id", postgresql_where=text("not done")),
    comment="What has arrived of one epoch: de-duplication ledger and gap map; see services.ingest.ledger.Log",
)

entry_number = Sequence("entry_number", metadata=metadata, cache=1)

log_entry = Table(
    "log_entry",
    metadata,
    device_key(primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("entry", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("body", JSONB),
    Column("boot", Text, nullable=False),
    Column("up", BigInteger, nullable=False),
    Column("time_source", Text, nullable=False),
    at("first_at"),
    at("last_at"),
    at("received_at"),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("samples", Integer, nullable=False),
    Column("late", Boolean, nullable=False),
    CheckConstraint("kind in ('telemetry', 'session', 'event')", name="kind"),
    CheckConstraint("time_source in ('device', 'anchor', 'received')", name="time_source"),
    Index("log_entry_entry_idx", "device_id", "entry"),
    Index("log_entry_stored_idx", "stored_at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
    comment="One log entry. entry rises in the device's commit order. time_source received = time unknown",
)

boot_anchor = Table(
    "boot_anchor",
    metadata,
    device_key(primary_key=True),
    Column("boot", Text, primary_key=True),
    Column("anchor_ms", BigInteger, nullable=False),
    comment="Wall clock minus uptime of one boot; the first one told stands for ever",
)

telemetry = Table(
    "telemetry",
    metadata,
    Column("device_id", Integer, nullable=False),
    at("event_at"),
    Column("entry", BigInteger, nullable=False),
    *(Column(channel.name, REAL) for channel in CHANNELS),
    Column("extra", JSONB),
    Column("marks", Integer),
    Index("telemetry_device_id_event_at_idx", "device_id", "event_at"),
    comment="One sample. No unique key: the ledger de-duplicates. marks: bit i = channel i is out of range",
)

device_status = Table(
    "device_status",
    metadata,
    device_key(primary_key=True),
    Column("connection", BigInteger, nullable=False),
    Column("n", BigInteger),
    Column("online", Boolean, nullable=False),
    at("received_at"),
    at("changed_at"),
    Column("state", Text),
    Column("boot", Text),
    Column("head_epoch", Text),
    Column("head_seq", BigInteger),
    json("latest"),
    at("latest_at", nullable=True),
    Column("agent", Text),
    comment="Latest status of a device; changed_at = since when online is what it is",
)

session = Table(
    "session",
    metadata,
    device_key(primary_key=True),
    Column("session_id", Text, primary_key=True),
    at("started_at", nullable=True),
    at("last_at"),
    at("ended_at", nullable=True),
    Column("outcome", Text),
    Column("pump_s", Float),
    Column("contact_s", Float),
    Column("strokes", BigInteger),
    Column("longest_dwell_s", Float),
    Column("purpose", Text, nullable=False, server_default="treatment"),
    json("setpoints", nullable=True),
    Column("crystals_used_g", Float),
    Column("vacuum_p50_kpa", Float),
    Column("vacuum_p95_kpa", Float),
    Column("vacuum_max_kpa", Float),
    Column("over_vacuum_s", Float),
    Column("modality", Text),
    Column("tip_type", Text),
    Column("tip_size_mm", Float),
    Column("abrasive", Text),
    Column("screening_outcome", Text),
    Column("abort_reason", Text),
    json("indications", nullable=True),
    json("body_sites", nullable=True),
    Column("passes", BigInteger),
    Column("vocabulary", Integer),
    Index("session_last_idx", "device_id", "last_at"),
    Index("session_recent_idx", "last_at"),
    comment="One session, projected by the follower from session entries",
)

device_counter = Table(
    "device_counter",
    metadata,
    device_key(primary_key=True),
    Column("generation", Text, primary_key=True),
    Column("pump_s", Float, nullable=False),
    Column("contact_s", Float, nullable=False),
    Column("sessions", BigInteger, nullable=False),
    Column("strokes", BigInteger, nullable=False),
    Column("crystals_g", Float, nullable=False),
    Column("pump_starts", BigInteger, nullable=False),
    at("last_at"),
    comment="What a machine did in its life, projected by the follower; its life is the sum over the generations",
)

event = Table(
    "event",
    metadata,
    device_key(primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("type", Text, nullable=False),
    at("event_at"),
    json("data"),
)

detector_state = Table(
    "detector_state",
    metadata,
    device_key(primary_key=True),
    Column("version", Integer, nullable=False),
    Column("epoch", Text),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
    at("evaluated_until", nullable=True),
    at("blocked_since", nullable=True),
    json("state"),
    comment="Where the follower stands in a device's log, and what its detectors remember",
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", Uuid, primary_key=True),
    device_key(),
    Column("component", Text, nullable=False),
    Column("fault", Text, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("standing", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    at("raised_at"),
    at("last_at"),
    at("cleared_at", nullable=True),
    Column("count", Integer, nullable=False, server_default=text("1")),
    Column("detector", Text, nullable=False),
    Column("detector_version", Integer, nullable=False),
    json("detail"),
    now("created_at"),
    CheckConstraint("severity between 0 and 4", name="severity"),
    CheckConstraint("standing in ('raised', 'acknowledged', 'shelved', 'cleared', 'closed')", name="standing"),
    CheckConstraint("confidence between 0 and 1", name="confidence"),
    Index(
        "alarm_open_idx", "device_id", "component", "fault", unique=True, postgresql_where=text("standing <> 'closed'")
    ),
    Index("alarm_device_idx", "device_id", "raised_at"),
    Index("alarm_raised_idx", "raised_at", "id"),
    comment="A fault on record. At most one not closed per device, component and fault. *_at in event time",
)

ALARM_IS_OPEN = "standing in ('raised', 'acknowledged', 'shelved')"
"""SQL about a row of `alarm`: neither cleared nor closed."""

alarm_event = Table(
    "alarm_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("alarm_id", Uuid, ForeignKey("alarm.id"), nullable=False),
    Column("transition", Text, nullable=False),
    at("event_at"),
    now("recorded_at"),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    json("data"),
    Index("alarm_event_alarm_idx", "alarm_id", "id"),
    comment="Append-only history of an alarm",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_id", Text),
    Column("topic", Text, nullable=False),
    Column("epoch", Text),
    Column("seq", BigInteger),
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("payload_bytes", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("count", BigInteger, nullable=False, server_default=text("1")),
    at("received_at"),
    UniqueConstraint("topic", "hash"),
    comment="Messages refused, with the reason; payload is whole up to the cap of the settings",
)

user_account = Table(
    "user_account",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    now("created_at"),
)

login = Table(
    "login",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", Uuid, ForeignKey("user_account.id", ondelete="CASCADE"), nullable=False),
    now("created_at"),
    at("expires_at"),
    comment="A server-side session of the dashboard (never a treatment)",
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("user_account.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    now("created_at"),
    at("expires_at", nullable=True),
    at("used_at", nullable=True),
)

worker = Table(
    "worker",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("shards", Text, nullable=False, server_default=text("''")),
    now("started_at"),
    now("seen_at"),
    comment="A running process; names the shards it serves",
)

change = Table(
    "change",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("xact", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("topic", Text, nullable=False),
    Column("device_id", Integer),
    json("body"),
    now("at"),
    Index("change_xact_idx", "xact", "id"),
    comment="Feed of what changed; read in order of (xact, id) below the oldest running transaction",
)
