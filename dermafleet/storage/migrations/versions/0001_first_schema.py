"""The first schema: registry of devices, their logs and samples, alarms, logins, and the feed of changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB

from dermafleet.storage.columns import Xid8
from dermafleet.storage.migrations import condition, releases, rules, timescale

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("entry_number", cache=1)))
    op.create_table(
        "change",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("xact", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=True),
        sa.Column("body", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("change_pkey")),
        comment="Feed of what changed; read in order of (xact, id) below the oldest running transaction",
    )
    op.create_index("change_xact_idx", "change", ["xact", "id"], unique=False)
    op.create_table(
        "device_model",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("limits", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "profile in ('minimal', 'basic', 'standard', 'full')", name=op.f("device_model_profile_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("device_model_pkey")),
        comment="limits: see services.alerts.limits",
    )
    op.create_table(
        "organization",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "kind in ('manufacturer', 'service_partner', 'clinic_owner')", name=op.f("organization_kind_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("organization_pkey")),
        sa.UniqueConstraint("name", name=op.f("organization_name_key")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("payload_bytes", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("quarantine_pkey")),
        sa.UniqueConstraint("topic", "hash", name=op.f("quarantine_topic_hash_key")),
        comment="Messages refused, with the reason; payload is whole up to the cap of the settings",
    )
    op.create_table(
        "server",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.CheckConstraint("single", name=op.f("server_one_row_check")),
        sa.PrimaryKeyConstraint("single", name=op.f("server_pkey")),
        comment="Identity of this database: devices obey only acks that carry it",
    )
    op.create_table(
        "telemetry",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("vacuum_inlet_kpa", sa.REAL(), nullable=True),
        sa.Column("pump_on", sa.REAL(), nullable=True),
        sa.Column("motor_current_a", sa.REAL(), nullable=True),
        sa.Column("ambient_kpa", sa.REAL(), nullable=True),
        sa.Column("mains_v", sa.REAL(), nullable=True),
        sa.Column("filter_dp_kpa", sa.REAL(), nullable=True),
        sa.Column("pump_temp_c", sa.REAL(), nullable=True),
        sa.Column("ambient_temp_c", sa.REAL(), nullable=True),
        sa.Column("flow_lpm", sa.REAL(), nullable=True),
        sa.Column("vacuum_handpiece_kpa", sa.REAL(), nullable=True),
        sa.Column("exhaust_dp_kpa", sa.REAL(), nullable=True),
        sa.Column("crystal_jar_g", sa.REAL(), nullable=True),
        sa.Column("canister_g", sa.REAL(), nullable=True),
        sa.Column("setpoint_kpa", sa.REAL(), nullable=True),
        sa.Column("pump_duty", sa.REAL(), nullable=True),
        sa.Column("extra", JSONB(), nullable=True),
        sa.Column("marks", sa.Integer(), nullable=True),
        comment="One sample. No unique key: the ledger de-duplicates. marks: bit i = channel i is out of range",
    )
    op.create_index("telemetry_device_id_event_at_idx", "telemetry", ["device_id", "event_at"], unique=False)
    op.create_table(
        "user_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("user_account_pkey")),
        sa.UniqueConstraint("email", name=op.f("user_account_email_key")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("shards", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("worker_pkey")),
        comment="A running process; names the shards it serves",
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("api_key_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("api_key_pkey")),
        sa.UniqueConstraint("key_hash", name=op.f("api_key_key_hash_key")),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state in ('pending', 'active', 'suspended', 'revoked', 'retired')", name=op.f("device_state_check")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["device_model.id"], name=op.f("device_model_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("device_pkey")),
        sa.UniqueConstraint("device_id", name=op.f("device_device_id_key")),
        comment="id for the hot path, device_id everywhere outside. Its row lock guards the device's ledger",
    )
    op.create_table(
        "login",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("login_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("login_pkey")),
        comment="A server-side session of the dashboard (never a treatment)",
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("opening_hours", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("holidays", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("altitude_m", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("contacts", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("site_organization_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("site_pkey")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("site_organization_id_name_key")),
        comment="A clinic. opening_hours: {mon: [[08:30, 18:00], ...], ...} in time_zone",
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("detector_version", sa.Integer(), nullable=False),
        sa.Column("detail", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "standing in ('raised', 'acknowledged', 'shelved', 'cleared', 'closed')", name=op.f("alarm_standing_check")
        ),
        sa.CheckConstraint("confidence between 0 and 1", name=op.f("alarm_confidence_check")),
        sa.CheckConstraint("severity between 0 and 4", name=op.f("alarm_severity_check")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("alarm_device_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("alarm_pkey")),
        comment="A fault on record. At most one not closed per device, component and fault. *_at in event time",
    )
    op.create_index("alarm_device_idx", "alarm", ["device_id", "raised_at"], unique=False)
    op.create_index(
        "alarm_open_idx",
        "alarm",
        ["device_id", "component", "fault"],
        unique=True,
        postgresql_where=sa.text("standing <> 'closed'"),
    )
    op.create_index("alarm_raised_idx", "alarm", ["raised_at", "id"], unique=False)
    op.create_table(
        "boot_anchor",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("anchor_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("boot_anchor_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "boot", name=op.f("boot_anchor_pkey")),
        comment="Wall clock minus uptime of one boot; the first one told stands for ever",
    )
    op.create_table(
        "detector_state",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("evaluated_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("detector_state_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("detector_state_pkey")),
        comment="Where the follower stands in a device's log, and what its detectors remember",
    )
    op.create_table(
        "device_log",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("opened", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("head", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("low", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("upto", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("received", INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("refused", INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("lost", INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("late", INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("samples", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("device_log_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "epoch", name=op.f("device_log_pkey")),
        sa.UniqueConstraint("device_id", "number", name=op.f("device_log_device_id_number_key")),
        comment="What has arrived of one epoch: de-duplication ledger and gap map; see services.ingest.ledger.Log",
    )
    op.create_index(
        "device_log_open_idx", "device_log", ["device_id"], unique=False, postgresql_where=sa.text("not done")
    )
    op.create_table(
        "device_status",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("connection", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=True),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("boot", sa.Text(), nullable=True),
        sa.Column("head_epoch", sa.Text(), nullable=True),
        sa.Column("head_seq", sa.BigInteger(), nullable=True),
        sa.Column("latest", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("latest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("device_status_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("device_status_pkey")),
        comment="Latest status of a device; changed_at = since when online is what it is",
    )
    op.create_table(
        "event",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("event_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "epoch", "seq", name=op.f("event_pkey")),
    )
    op.create_table(
        "log_entry",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", JSONB(), nullable=True),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("up", sa.BigInteger(), nullable=False),
        sa.Column("time_source", sa.Text(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.CheckConstraint("kind in ('telemetry', 'session', 'event')", name=op.f("log_entry_kind_check")),
        sa.CheckConstraint("time_source in ('device', 'anchor', 'received')", name=op.f("log_entry_time_source_check")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("log_entry_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "epoch", "seq", name=op.f("log_entry_pkey")),
        comment="One log entry. entry rises in the device's commit order. time_source received = time unknown",
    )
    op.create_index("log_entry_entry_idx", "log_entry", ["device_id", "entry"], unique=False)
    op.create_index(
        "log_entry_stored_idx",
        "log_entry",
        ["stored_at"],
        unique=False,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    op.create_table(
        "placement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("to_at is null or from_at < to_at", name=op.f("placement_order_check")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("placement_device_id_fkey")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("placement_organization_id_fkey")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("placement_site_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("placement_pkey")),
    )
    op.create_index(
        "placement_current_idx", "placement", ["device_id"], unique=True, postgresql_where=sa.text("to_at is null")
    )
    op.create_table(
        "session",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("pump_s", sa.Float(), nullable=True),
        sa.Column("contact_s", sa.Float(), nullable=True),
        sa.Column("strokes", sa.BigInteger(), nullable=True),
        sa.Column("longest_dwell_s", sa.Float(), nullable=True),
        sa.Column("purpose", sa.Text(), server_default="treatment", nullable=False),
        sa.Column("setpoints", JSONB(), nullable=True),
        sa.Column("crystals_used_g", sa.Float(), nullable=True),
        sa.Column("vacuum_p50_kpa", sa.Float(), nullable=True),
        sa.Column("vacuum_p95_kpa", sa.Float(), nullable=True),
        sa.Column("vacuum_max_kpa", sa.Float(), nullable=True),
        sa.Column("over_vacuum_s", sa.Float(), nullable=True),
        sa.Column("modality", sa.Text(), nullable=True),
        sa.Column("tip_type", sa.Text(), nullable=True),
        sa.Column("tip_size_mm", sa.Float(), nullable=True),
        sa.Column("abrasive", sa.Text(), nullable=True),
        sa.Column("screening_outcome", sa.Text(), nullable=True),
        sa.Column("abort_reason", sa.Text(), nullable=True),
        sa.Column("indications", JSONB(), nullable=True),
        sa.Column("body_sites", JSONB(), nullable=True),
        sa.Column("passes", sa.BigInteger(), nullable=True),
        sa.Column("vocabulary", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("session_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "session_id", name=op.f("session_pkey")),
        comment="One session, projected by the follower from session entries",
    )
    op.create_table(
        "device_counter",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("pump_s", sa.Float(), nullable=False),
        sa.Column("contact_s", sa.Float(), nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.Column("strokes", sa.BigInteger(), nullable=False),
        sa.Column("crystals_g", sa.Float(), nullable=False),
        sa.Column("pump_starts", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("device_counter_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "generation", name=op.f("device_counter_pkey")),
        comment="What a machine did in its life, projected by the follower; its life is the sum over the generations",
    )
    op.create_index("session_last_idx", "session", ["device_id", "last_at"], unique=False)
    op.create_index("session_recent_idx", "session", ["last_at"], unique=False)
    op.create_table(
        "alarm_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("alarm_id", sa.Uuid(), nullable=False),
        sa.Column("transition", sa.Text(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["alarm_id"], ["alarm.id"], name=op.f("alarm_event_alarm_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("alarm_event_pkey")),
        comment="Append-only history of an alarm",
    )
    op.create_index("alarm_event_alarm_idx", "alarm_event", ["alarm_id", "id"], unique=False)
    op.execute("insert into server (server_id) values (replace(gen_random_uuid()::text, '-', ''))")
    condition.create()
    rules.create()
    releases.create()
    for statement in timescale.statements(op.get_bind()):
        op.execute(statement)


def downgrade() -> None:
    releases.drop()
    rules.drop()
    condition.drop()
    op.drop_index("alarm_event_alarm_idx", table_name="alarm_event")
    op.drop_table("alarm_event")
    op.drop_index("session_recent_idx", table_name="session")
    op.drop_index("session_last_idx", table_name="session")
    op.drop_table("device_counter")
    op.drop_table("session")
    op.drop_index("placement_current_idx", table_name="placement", postgresql_where=sa.text("to_at is null"))
    op.drop_table("placement")
    op.drop_index("log_entry_stored_idx", table_name="log_entry")
    op.drop_index("log_entry_entry_idx", table_name="log_entry")
    op.drop_table("log_entry")
    op.drop_table("event")
    op.drop_table("device_status")
    op.drop_index("device_log_open_idx", table_name="device_log", postgresql_where=sa.text("not done"))
    op.drop_table("device_log")
    op.drop_table("detector_state")
    op.drop_table("boot_anchor")
    op.drop_index("alarm_raised_idx", table_name="alarm")
    op.drop_index("alarm_open_idx", table_name="alarm", postgresql_where=sa.text("standing <> 'closed'"))
    op.drop_index("alarm_device_idx", table_name="alarm")
    op.drop_table("alarm")
    op.drop_table("site")
    op.drop_table("login")
    op.drop_table("device")
    op.drop_table("api_key")
    op.drop_table("worker")
    op.drop_table("user_account")
    op.drop_index("telemetry_device_id_event_at_idx", table_name="telemetry")
    op.drop_table("telemetry")
    op.drop_table("server")
    op.drop_table("quarantine")
    op.drop_table("organization")
    op.drop_table("device_model")
    op.drop_index("change_xact_idx", table_name="change")
    op.drop_table("change")
    op.execute(sa.schema.DropSequence(sa.Sequence("entry_number")))
