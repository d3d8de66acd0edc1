"""Alarms as the follower writes them, with their append-only history; always in the caller's transaction."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.storage.follow import note_change
from dermafleet.storage.tables import alarm, alarm_event

Standing = Literal["raised", "acknowledged", "shelved", "cleared", "closed"]
Transition = Literal["raised", "reraised", "severity_up", "severity_down", "cleared"]
Document = Mapping[str, object]

FOLLOWER = "follower"
"""The actor of what was decided from the log."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A fault on record. Times are event times; ``raised_at`` is the latest raise, ``count`` how many there were."""

    id: uuid.UUID
    component: str
    fault: str
    severity: int
    standing: Standing
    confidence: float
    raised_at: datetime
    last_at: datetime
    cleared_at: datetime | None
    count: int
    detector: str
    detector_version: int
    detail: Document


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an alarm's history; ``event_at`` in event time, ``data`` what was known then."""

    transition: str
    event_at: datetime
    actor: str
    reason: str
    data: Document


_COLUMNS = [alarm.c[name] for name in Alarm.__dataclass_fields__]


async def lock_alarms(connection: AsyncConnection, device: int) -> list[Alarm]:
    """The alarms of a device that are not closed, locked until the transaction ends."""
    statement = (
        select(*_COLUMNS)
        .where(alarm.c.device_id == device, alarm.c.standing != "closed")
        .order_by(alarm.c.id)
        .with_for_update()
    )
    return [Alarm(**row._mapping) for row in await connection.execute(statement)]


async def save_alarm(connection: AsyncConnection, device: int, changed: Alarm) -> None:
    """Create or update an alarm. A second one not closed for the same fault is refused by the database."""
    values = {**asdict(changed), "detail": dict(changed.detail)}
    statement = insert(alarm).values(device_id=device, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


async def add_step(connection: AsyncConnection, device: int, alarm_id: uuid.UUID, step: Step) -> None:
    """Append to an alarm's history and tell the feed."""
    values = {**asdict(step), "data": dict(step.data)}
    await connection.execute(insert(alarm_event).values(alarm_id=alarm_id, **values))
    await note_change(connection, "alarm", device, {"alarm_id": str(alarm_id), "transition": step.transition})
