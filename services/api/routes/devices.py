"""Devices: who and where they are, what they report, what has arrived."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from dermafleet.storage import completeness as ledger
from dermafleet.storage.devices import DeviceFilter, DeviceRow, evaluated_until, find_device, list_devices
from dermafleet.storage.sessions import SessionKey, lifetime_of, list_sessions
from dermafleet.storage.telemetry import Span
from services.api import models, views
from services.api.auth import caller
from services.api.context import Now, Read, known_parameters_only
from services.api.pages import Cursor, Limit, cut, decode_cursor
from services.api.problems import not_found
from services.api.series import MAX_POINTS, MAX_RANGE, MIN_POINTS, parse_channels, read_series
from services.api.times import From, To, parse_range

DEFAULT_RANGE = timedelta(minutes=15)
"""What a live chart shows."""

router = APIRouter(prefix="/api/v1", tags=["devices"], dependencies=[Depends(caller), Depends(known_parameters_only)])


@router.get("/devices", summary="List devices", operation_id="list_devices")
async def devices(
    connection: Read,
    now: Now,
    q: Annotated[str | None, Query(max_length=100, description="Part of id, label or site, in any case.")] = None,
    presence: Annotated[models.Presence | None, Query(description="Only devices that are this.")] = None,
    alarm: Annotated[bool | None, Query(description="Only devices with (without) an open alarm.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.DevicePage:
    """In the order of their ids."""
    wanted = DeviceFilter(search=q or None, presence=presence, has_alarm=alarm)
    after = decode_cursor(cursor, str) or ""
    rows = await list_devices(connection, wanted, after=after, limit=limit + 1, now=now)
    page, next_cursor = cut(rows, limit, lambda row: row.device_id)
    return models.DevicePage(data=[views.device(row) for row in page], next_cursor=next_cursor)


async def known_device(device_id: str, connection: Read, now: Now) -> DeviceRow:
    """The device named in the path.

    Raises:
        Refused: there is none.
    """
    found = await find_device(connection, device_id, now=now)
    if found is None:
        raise not_found("device", device_id)
    return found


KnownDevice = Annotated[DeviceRow, Depends(known_device)]


@router.get("/devices/{device_id}", summary="One device", operation_id="get_device")
async def device(connection: Read, row: KnownDevice) -> models.DeviceDetail:
    return views.device_detail(
        row,
        evaluated_until=await evaluated_until(connection, row.id),
        backlog=await ledger.backlog(connection, row.id),
        lifetime=await lifetime_of(connection, row.id),
    )


@router.get("/devices/{device_id}/latest", summary="Newest values", operation_id="get_latest")
async def latest(row: KnownDevice) -> models.Latest:
    """From the status message or from telemetry, whichever is newer. Problem `not-found` while there is neither."""
    found = views.latest(row)
    if found is None:
        raise not_found("value of device", row.device_id)
    return found


@router.get(
    "/devices/{device_id}/telemetry",
    summary="Samples of a range",
    operation_id="get_telemetry",
    response_model=models.Telemetry,
)
async def telemetry(
    connection: Read,
    now: Now,
    row: KnownDevice,
    from_: From = None,
    to: To = None,
    channels: Annotated[
        str | None, Query(max_length=4000, description="Names, separated by commas. Default: all the device reports.")
    ] = None,
    points: Annotated[int, Query(ge=MIN_POINTS, le=MAX_POINTS, description="Most points per channel.")] = 1000,
) -> Response:
    """Every sample if there are at most `points`, else the minimum, maximum and mean of at most `points` equal
    buckets. Nothing is ever left out: the envelope holds every extreme. Default: the last 15 minutes."""
    wanted = parse_channels(channels)
    asked = parse_range(from_, to, now, default=DEFAULT_RANGE, longest=MAX_RANGE)
    body = await read_series(connection, row, wanted, Span(row.id, asked.from_at, asked.to_at), points)
    return Response(body, media_type="application/json")


@router.get("/devices/{device_id}/sessions", summary="Treatments of a device", operation_id="list_sessions")
async def sessions(
    connection: Read,
    now: Now,
    row: KnownDevice,
    from_: From = None,
    to: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.SessionPage:
    """Those that overlap the range, newest first. Default: all."""
    asked = parse_range(from_, to, now, default=None)
    rows = await list_sessions(
        connection,
        row.id,
        from_at=asked.from_at,
        to_at=asked.to_at,
        before=decode_cursor(cursor, SessionKey),
        limit=limit + 1,
    )
    page, next_cursor = cut(rows, limit, lambda session: SessionKey(session.began_at, session.session_id))
    return models.SessionPage(data=[views.session(session) for session in page], next_cursor=next_cursor)


@router.get(
    "/devices/{device_id}/completeness", summary="What has arrived of a device's log", operation_id="get_completeness"
)
async def completeness(connection: Read, row: KnownDevice) -> models.Completeness:
    """Every entry the device has told of is stored, missing, lost or refused."""
    return views.completeness(row.device_id, await ledger.epochs(connection, row.id))
