"""The fleet as a whole, the channel registry, and what was refused."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from dermafleet.contracts.channels import CHANNELS
from dermafleet.storage.completeness import list_refusals
from dermafleet.storage.fleet import count_fleet
from services.api import models, views
from services.api.auth import caller
from services.api.context import Now, Read, known_parameters_only
from services.api.pages import Cursor, Limit, cut, decode_cursor

router = APIRouter(prefix="/api/v1", tags=["fleet"], dependencies=[Depends(caller), Depends(known_parameters_only)])


@router.get("/fleet/summary", summary="The fleet in numbers", operation_id="get_fleet_summary")
async def summary(connection: Read, now: Now) -> models.FleetSummary:
    counts = await count_fleet(connection, now=now)
    return models.FleetSummary(
        devices=counts.online + counts.offline + counts.never_seen,
        online=counts.online,
        offline=counts.offline,
        never_seen=counts.never_seen,
        treating=counts.treating,
        alarms_open=sum(counts.alarms),
        alarms_by_severity={str(severity): number for severity, number in enumerate(counts.alarms)},
        sessions_today=counts.sessions_today,
        samples_per_s=counts.samples_per_s,
        as_of=now,
    )


@router.get("/channels", summary="The channel registry", operation_id="list_channels")
async def channels() -> models.Channels:
    """Every quantity that machines of any maker report under the same name."""
    return models.Channels(data=[views.channel(channel.name) for channel in CHANNELS])


@router.get("/quarantine", summary="Messages that were refused", operation_id="list_quarantine")
async def quarantine(
    connection: Read,
    device_id: Annotated[list[str] | None, Query(description="Of this device; repeated = or.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.QuarantinePage:
    before = decode_cursor(cursor, int)
    rows = await list_refusals(connection, device_id or [], before=before, limit=limit + 1)
    page, next_cursor = cut(rows, limit, lambda row: row.id)
    return models.QuarantinePage(data=[views.refusal(row) for row in page], next_cursor=next_cursor)
