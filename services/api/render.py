"""From rows of the change feed to messages: what has changed is looked up once and shown as it is now."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.storage.alarm_queries import alarms_of
from dermafleet.storage.changes import Change, Position
from dermafleet.storage.devices import devices_of
from dermafleet.storage.sessions import sessions_of
from services.api import views
from services.api.subscriber import Message, Topic


async def messages_of(connection: AsyncConnection, changes: Sequence[Change], *, now: datetime) -> list[Message]:
    """One message per thing that changed, in the order of its last change.

    A device is told again when one of its alarms changes: their number is part of it. What has been deleted since, or
    has a body of an unknown form, is left out.
    """
    devices: dict[int, Position] = {}
    alarms: dict[UUID, Position] = {}
    sessions: dict[tuple[int, str], Position] = {}
    for change in changes:
        if change.topic in ("device", "alarm") and change.device_id is not None:
            devices[change.device_id] = change.position
        if change.topic == "alarm" and (alarm_id := _uuid(change.body.get("alarm_id"))):
            alarms[alarm_id] = change.position
        if change.topic == "session" and change.device_id is not None:
            sessions[change.device_id, str(change.body.get("session_id"))] = change.position

    internal_ids: dict[str, int] = {}
    messages: list[Message] = []
    if wanted := sorted(devices.keys() | {id for id, _ in sessions}):
        rows = await devices_of(connection, wanted, now=now)
        internal_ids = {row.device_id: row.id for row in rows}
        told = (row for row in rows if row.id in devices)
        messages += [_message("device", row.device_id, views.device(row), devices[row.id]) for row in told]
    if alarms:
        for alarm in await alarms_of(connection, list(alarms)):
            messages.append(_message("alarm", alarm.device_id, views.alarm(alarm), alarms[alarm.id]))
    if sessions:
        for session in await sessions_of(connection, list(sessions)):
            position = sessions[internal_ids[session.device_id], session.session_id]
            messages.append(_message("session", session.device_id, views.session(session), position))
    return sorted(messages, key=lambda message: message.position or Position(0, 0))


def _message(topic: Topic, device_id: str, body: BaseModel, position: Position) -> Message:
    return Message(topic, device_id, body.model_dump_json(by_alias=True).encode(), position)


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None
