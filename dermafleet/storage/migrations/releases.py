"""The tables of detectors' versions in the first schema: see `dermafleet.storage.release_tables`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB


def create() -> None:
    """In the migration under way; devices are there."""
    op.create_table(
        "detector_release",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("models", JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("percent", sa.SmallInteger(), server_default=sa.text("100"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode in ('shadow', 'active')", name=op.f("detector_release_mode_check")),
        sa.CheckConstraint("percent between 1 and 100", name=op.f("detector_release_percent_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("detector_release_pkey")),
        comment="models: empty = all. Of those that cover a device and have not ended the newest holds, per mode",
    )
    op.create_index(
        "detector_release_open_idx",
        "detector_release",
        ["id"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_table(
        "shadow_state",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("memory_version", sa.Integer(), nullable=False),
        sa.Column("memory", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("alarms", JSONB(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("shadow_state_device_id_fkey")),
        sa.PrimaryKeyConstraint("device_id", "version", name=op.f("shadow_state_pkey")),
        comment="What a version in shadow remembers of a device; from_at to until_at: judged; trouble: why it failed",
    )
    op.create_table(
        "shadow_alarm_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("transition", sa.Text(), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("shadow_alarm_event_device_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("shadow_alarm_event_pkey")),
        comment="What a version in shadow would have told of alarms; nobody is told",
    )
    op.create_index(
        "shadow_alarm_event_version_idx", "shadow_alarm_event", ["version", "device_id", "id"], unique=False
    )


def drop() -> None:
    op.drop_table("shadow_alarm_event")
    op.drop_table("shadow_state")
    op.drop_table("detector_release")
