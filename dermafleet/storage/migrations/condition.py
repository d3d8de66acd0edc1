"""The tables of a device's condition in the first schema: see `dermafleet.storage.condition_tables`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB


def create() -> None:
    """In the migration under way; devices and their models are there."""
    op.create_table(
        "session_feature",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("filter_index", sa.Float(), nullable=True),
        sa.Column("features", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("session_feature_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "component", "session_id", name=op.f("session_feature_pkey")),
        comment="One session of one component, as features; see services.alerts.features.types.SessionFeatures",
    )
    op.create_index("session_feature_ended_idx", "session_feature", ["device_id", "ended_at"], unique=False)
    op.create_table(
        "baseline",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("tip", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("spread", sa.Float(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("baseline_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "component", "tip", "quantity", "version", name=op.f("baseline_pkey")),
        comment="A learned healthy value; the newest version holds, none is ever overwritten",
    )
    op.create_table(
        "forecast",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ratio", sa.Float(), nullable=False),
        sa.Column("share_left", sa.Float(), nullable=False),
        sa.Column("remaining", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("filters", sa.Integer(), nullable=False),
        sa.Column("evening_probability", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("forecast_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "component", "made_at", name=op.f("forecast_pkey")),
        comment="Remaining life of an intake filter; remaining: {sessions, hours, days: [p10, p50, p90]}",
    )
    op.create_table(
        "observability",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("observable", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ambiguous_with", JSONB(), nullable=False),
        sa.Column("since_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("observability_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "component", "fault", name=op.f("observability_pkey")),
        comment="Whether a fault could be seen on a device; since_at = since when this answer holds",
    )
    op.create_table(
        "maintenance_record",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("data", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(source = 'machine') = (epoch is not null and seq is not null)",
            name=op.f("maintenance_record_entry_check"),
        ),
        sa.CheckConstraint("source in ('machine', 'person')", name=op.f("maintenance_record_source_check")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("maintenance_record_device_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("maintenance_record_pkey")),
        comment="Service done on a component; epoch and seq: the log entry that told of it",
    )
    op.create_index("maintenance_record_device_idx", "maintenance_record", ["device_id", "event_at"], unique=False)
    op.create_table(
        "filter_life",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("censored", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("curve", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("filter_life_device_id_fkey")),
        sa.ForeignKeyConstraint(["model_id"], ["device_model.id"], name=op.f("filter_life_model_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "component", "from_at", name=op.f("filter_life_pkey")),
        comment="The whole course of one intake filter; censored = changed before it reached the rated limit",
    )
    op.create_index("filter_life_model_idx", "filter_life", ["model_id", "to_at"], unique=False)
    op.create_table(
        "forecast_library",
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("learned_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("filters", sa.Integer(), nullable=False),
        sa.Column("document", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["device_model.id"], name=op.f("forecast_library_model_id_fkey")),
        sa.PrimaryKeyConstraint("model_id", "version", name=op.f("forecast_library_pkey")),
        comment="What the filters of a model that ended by learned_until taught; a version never changes",
    )


def drop() -> None:
    op.drop_table("forecast_library")
    op.drop_table("filter_life")
    op.drop_table("maintenance_record")
    op.drop_table("observability")
    op.drop_table("forecast")
    op.drop_table("baseline")
    op.drop_table("session_feature")
