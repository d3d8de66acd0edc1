"""What the API answers about users' rules. As `services.api.models`."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from services.api.models import Model

RuleState = Literal["draft", "active", "retired"]


class RuleVersion(Model):
    """One version of a rule; it never changes but for its state."""

    version: int
    state: RuleState
    rule: dict[str, Any]  # a `dermafleet.contracts.rules.Rule`; see `services.api.schema`
    """As it was posted, with its version and all that was left out."""
    created_at: datetime
    created_by: str
    activated_at: datetime | None
    """When it was last activated."""


class RuleEvent(Model):
    """One step in the life of a version."""

    version: int
    transition: Literal["created", "activated", "retired"]
    actor: str
    at: datetime


class RuleSummary(Model):
    """A rule: the version that judges now, if one does, and the newest."""

    key: str
    fault: str
    """Code of the alarms that it raises."""
    revision: int
    """Another one after every change; the ETag of the rule."""
    active: RuleVersion | None
    newest: RuleVersion


class RuleDetail(RuleSummary):
    """A rule with all that is known of it."""

    versions: list[RuleVersion]
    """Newest first."""
    history: list[RuleEvent]
    """Newest first."""


class RulePage(Model):
    """Rules, in the order of their keys."""

    data: list[RuleSummary]
    next_cursor: str | None


class Activation(Model):
    """Which version of a rule shall judge."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Null = the newest."""


class Backtest(Model):
    """A rule tried, or to be tried, on stored history."""

    id: UUID
    key: str
    version: int
    state: Literal["queued", "running", "done", "failed"]
    request: dict[str, Any]  # a `dermafleet.contracts.backtests.BacktestRequest`
    result: dict[str, Any] | None  # a `BacktestResult`
    """What it would have said; null unless it is done."""
    reason: str | None
    """Why it failed."""
    created_at: datetime
    created_by: str
    finished_at: datetime | None
