"""Users' rules, their history, and what they would have said before: see `dermafleet.contracts.rules`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from dermafleet.storage.columns import at, json, metadata, now

rule = Table(
    "rule",
    metadata,
    Column("key", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    json("document"),
    Column("state", Text, nullable=False),
    now("created_at"),
    Column("created_by", Text, nullable=False),
    at("activated_at", nullable=True),
    CheckConstraint("state in ('draft', 'active', 'retired')", name="state"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("state <> 'active' or activated_at is not null", name="activated"),
    Index("rule_active_idx", "key", unique=True, postgresql_where=text("state = 'active'")),
    comment="One version of a user's rule; its document never changes. At most one active per key",
)

rule_event = Table(
    "rule_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("key", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("transition", Text, nullable=False),
    Column("actor", Text, nullable=False),
    now("at"),
    CheckConstraint("transition in ('created', 'activated', 'retired')", name="transition"),
    ForeignKeyConstraint(["key", "version"], ["rule.key", "rule.version"]),
    Index("rule_event_key_idx", "key", "id"),
    comment="Append-only history of rules; the newest id of a key is its revision",
)

rule_backtest = Table(
    "rule_backtest",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("version", Integer, nullable=False),
    json("request"),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    json("result", nullable=True),
    Column("reason", Text),
    now("created_at"),
    Column("created_by", Text, nullable=False),
    at("finished_at", nullable=True),
    CheckConstraint("state in ('queued', 'running', 'done', 'failed')", name="state"),
    CheckConstraint("(state = 'done') = (result is not null)", name="result"),
    ForeignKeyConstraint(["key", "version"], ["rule.key", "rule.version"]),
    Index("rule_backtest_waiting_idx", "created_at", postgresql_where=text("state in ('queued', 'running')")),
    comment="What a rule would have said on stored history; worked off by alerts. reason: why it failed",
)
