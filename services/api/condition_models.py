"""What the API answers about a device's condition. As `services.api.models`."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from services.api.models import Alarm, Model, Session

Share = Annotated[float, Field(ge=0, le=1)]


class FaultName(Model):
    """A fault and what it is called."""

    fault: str
    title: str


class FeaturePoint(Model):
    """One session in the trend of a component."""

    session_id: str
    purpose: str
    started_at: datetime
    ended_at: datetime
    filter_index: float | None
    """Resistance of the intake filter relative to a clean one; null = not measured."""
    values: dict[str, float]
    """Scalar features by name; one whose channels are not measured is absent."""


class SessionFeatures(FeaturePoint):
    """What one session showed of one component."""

    component: str
    version: int
    """Of the features' definitions."""
    features: dict[str, Any]
    """The whole document: means per state of the machine, per set point and in the self-test."""


class SessionDetail(Model):
    """One session: what the machine told of it, and what was measured in it."""

    session_id: str
    device_id: str
    session: Session | None
    """Null for a session that the server itself marked out on a machine that tells of none."""
    features: list[SessionFeatures]
    """By component; empty until the session has ended and was judged."""


class Observability(Model):
    """Whether a fault could be seen now. One that could not is never healthy."""

    fault: str
    title: str
    observable: bool
    reason: str
    """Why not, naming the channel; empty when it is observable."""
    ambiguous_with: list[FaultName]
    """Faults that the sensors of this machine cannot tell it from."""
    since: datetime
    """Event time since which this answer holds."""


class Baseline(Model):
    """A learned healthy value, in the version that holds now."""

    tip: str
    """Empty where the tip does not matter."""
    quantity: str
    version: int
    value: float
    spread: float
    n: int
    """Sessions it was learned from."""
    holds_from: datetime
    reason: str
    """Code of the maintenance record that made it necessary, or `learned`."""


class ComponentCondition(Model):
    """What is known of one component."""

    component: str
    filter_index: float | None
    """Of the last session in which it was measured."""
    trend: list[FeaturePoint]
    """The last sessions, oldest first."""
    observability: list[Observability]
    alarms: list[Alarm]
    """Open ones, worst first."""
    baselines: list[Baseline]


class Condition(Model):
    """What is known of a machine's condition, by component."""

    device_id: str
    evaluated_until: datetime | None
    """Event time up to which detectors have judged."""
    components: list[ComponentCondition]


class Range(Model):
    """A forecast with its uncertainty: eight of ten such filters end between `p10` and `p90`."""

    p10: float
    p50: float
    p90: float


class Forecast(Model):
    """Remaining life of the intake filter of one component."""

    component: str
    made_at: datetime
    """Event time of the session after which it was made."""
    ratio: float
    """Resistance relative to the rated limit."""
    share_left: Share
    """Of this filter's life, median."""
    sessions: Range | None
    """Null while the machine's pace is not known, as ``days``."""
    hours: Range
    """Of pumping."""
    days: Range | None
    """Of the calendar."""
    basis: str
    """`library`: learned from earlier filters of this model; `prior`: until there are some."""
    filters: int
    """How many earlier filters it rests on."""
    evening_probability: Share | None
    """That the filter reaches its limit during the next opening day; null = not judged."""


class Forecasts(Model):
    """The newest forecast of each component that has one."""

    device_id: str
    data: list[Forecast]


class MaintenanceRecord(Model):
    """Service done on a component."""

    id: UUID
    component: str
    type: str
    """Code of the vocabulary's list `maintenance`."""
    event_at: datetime
    source: Literal["machine", "person"]
    data: dict[str, Any]  # what else was told of it
    recorded_at: datetime


class MaintenancePage(Model):
    """Records, newest first."""

    data: list[MaintenanceRecord]
    next_cursor: str | None
