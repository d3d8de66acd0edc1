"""Alarms: the records of faults."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.storage.alarm_queries import AlarmFilter, AlarmKey, alarm_history, alarms_of, list_alarms
from services.api import models, views
from services.api.auth import caller
from services.api.context import Now, Read, known_parameters_only
from services.api.pages import Cursor, Limit, cut, decode_cursor
from services.api.problems import not_found
from services.api.routes.devices import KnownDevice
from services.api.times import From, To, parse_range

router = APIRouter(prefix="/api/v1", tags=["alarms"], dependencies=[Depends(caller), Depends(known_parameters_only)])

Standings = Annotated[list[models.Standing] | None, Query(description="Only these; repeated = or.")]
Faults = Annotated[list[str] | None, Query(description="Only these fault codes; repeated = or.")]
LeastSeverity = Annotated[int | None, Query(ge=0, le=4, description="Only this severe or worse.")]


async def alarm_filter(
    now: Now,
    standing: Standings = None,
    severity_gte: LeastSeverity = None,
    fault: Faults = None,
    from_: From = None,
    to: To = None,
) -> AlarmFilter:
    """The conditions of a list of alarms; a time range selects those that overlap it."""
    asked = parse_range(from_, to, now, default=None)
    return AlarmFilter(
        standings=standing or (),
        severity_gte=severity_gte,
        faults=fault or (),
        from_at=asked.from_at if from_ else None,
        to_at=asked.to_at if to else None,
    )


Wanted = Annotated[AlarmFilter, Depends(alarm_filter)]


@router.get("/alarms", summary="List alarms", operation_id="list_alarms")
async def alarms(
    connection: Read,
    wanted: Wanted,
    device_id: Annotated[list[str] | None, Query(description="Of these devices; repeated = or.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.AlarmPage:
    """Newest first."""
    return await _page(connection, replace(wanted, device_ids=device_id or ()), limit, cursor)


@router.get("/devices/{device_id}/alarms", summary="Alarms of a device", operation_id="list_device_alarms")
async def device_alarms(
    connection: Read, row: KnownDevice, wanted: Wanted, limit: Limit = 50, cursor: Cursor = None
) -> models.AlarmPage:
    """Newest first."""
    return await _page(connection, replace(wanted, device_ids=(row.device_id,)), limit, cursor)


@router.get("/alarms/{alarm_id}", summary="One alarm and its history", operation_id="get_alarm")
async def alarm(connection: Read, alarm_id: UUID) -> models.AlarmDetail:
    rows = await alarms_of(connection, [alarm_id])
    if not rows:
        raise not_found("alarm", alarm_id)
    return views.alarm_detail(rows[0], await alarm_history(connection, alarm_id))


async def _page(connection: AsyncConnection, wanted: AlarmFilter, limit: int, cursor: str | None) -> models.AlarmPage:
    rows = await list_alarms(connection, wanted, before=decode_cursor(cursor, AlarmKey), limit=limit + 1)
    page, next_cursor = cut(rows, limit, lambda row: AlarmKey(row.raised_at, row.id))
    return models.AlarmPage(data=[views.alarm(row) for row in page], next_cursor=next_cursor)
