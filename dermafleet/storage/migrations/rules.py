"""The tables of rules in the first schema: see `dermafleet.storage.rule_tables`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB


def create() -> None:
    """In the migration under way."""
    op.create_table(
        "rule",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('draft', 'active', 'retired')", name=op.f("rule_state_check")),
        sa.CheckConstraint("version >= 1", name=op.f("rule_version_check")),
        sa.CheckConstraint("state <> 'active' or activated_at is not null", name=op.f("rule_activated_check")),
        sa.PrimaryKeyConstraint("key", "version", name=op.f("rule_pkey")),
        comment="One version of a user's rule; its document never changes. At most one active per key",
    )
    op.create_index("rule_active_idx", "rule", ["key"], unique=True, postgresql_where=sa.text("state = 'active'"))
    op.create_table(
        "rule_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("transition", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "transition in ('created', 'activated', 'retired')", name=op.f("rule_event_transition_check")
        ),
        sa.ForeignKeyConstraint(["key", "version"], ["rule.key", "rule.version"], name=op.f("rule_event_key_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("rule_event_pkey")),
        comment="Append-only history of rules; the newest id of a key is its revision",
    )
    op.create_index("rule_event_key_idx", "rule_event", ["key", "id"], unique=False)
    op.create_table(
        "rule_backtest",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("request", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("result", JSONB(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('queued', 'running', 'done', 'failed')", name=op.f("rule_backtest_state_check")),
        sa.CheckConstraint("(state = 'done') = (result is not null)", name=op.f("rule_backtest_result_check")),
        sa.ForeignKeyConstraint(["key", "version"], ["rule.key", "rule.version"], name=op.f("rule_backtest_key_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("rule_backtest_pkey")),
        comment="What a rule would have said on stored history; worked off by alerts. reason: why it failed",
    )
    op.create_index(
        "rule_backtest_waiting_idx",
        "rule_backtest",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state in ('queued', 'running')"),
    )


def drop() -> None:
    op.drop_table("rule_backtest")
    op.drop_table("rule_event")
    op.drop_table("rule")
