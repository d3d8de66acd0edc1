"""The condition of a device: what its sessions showed, what can be seen, how long its filter lasts, its service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from dermafleet.storage import condition_queries as queries
from dermafleet.storage.alarm_queries import AlarmFilter, list_alarms
from dermafleet.storage.condition_queries import MaintenanceKey
from dermafleet.storage.devices import evaluated_until
from dermafleet.storage.sessions import sessions_of
from services.api import condition_models as models
from services.api import condition_views as views
from services.api.auth import caller
from services.api.context import Read, known_parameters_only
from services.api.pages import MAX_LIMIT, Cursor, Limit, cut, decode_cursor
from services.api.problems import not_found
from services.api.routes.devices import KnownDevice

router = APIRouter(
    prefix="/api/v1/devices/{device_id}",
    tags=["condition"],
    dependencies=[Depends(caller), Depends(known_parameters_only)],
)

_OPEN = ("raised", "acknowledged", "shelved")


@router.get("/condition", summary="Condition of a device", operation_id="get_condition")
async def condition(
    connection: Read,
    row: KnownDevice,
    sessions: Annotated[int, Query(ge=1, le=200, description="How many sessions of the trend.")] = 30,
) -> models.Condition:
    """By component: the trend of its features, what can be seen and what cannot, open faults, learned baselines."""
    wanted = AlarmFilter(device_ids=(row.device_id,), standings=_OPEN)
    return views.condition(
        row.device_id,
        await evaluated_until(connection, row.id),
        await queries.feature_trend(connection, row.id, sessions=sessions),
        await queries.observabilities(connection, row.id),
        await queries.baselines(connection, row.id),
        await list_alarms(connection, wanted, before=None, limit=MAX_LIMIT),
    )


@router.get("/forecast", summary="Remaining filter life", operation_id="get_forecast")
async def forecast(connection: Read, row: KnownDevice) -> models.Forecasts:
    """How long the intake filter of each component will last; empty until there is a forecast."""
    return views.forecasts(row.device_id, await queries.forecasts(connection, row.id))


@router.get("/sessions/{session_id}", summary="One session and its features", operation_id="get_session")
async def session(connection: Read, row: KnownDevice, session_id: str) -> models.SessionDetail:
    """What the machine told of it, and per component what was measured in it."""
    found = await sessions_of(connection, [(row.id, session_id)])
    features = await queries.session_features(connection, row.id, session_id)
    if not found and not features:
        raise not_found("session", session_id)
    return views.session_detail(row.device_id, session_id, found[0] if found else None, features)


@router.get("/maintenance", summary="Service done on a device", operation_id="list_maintenance")
async def maintenance(
    connection: Read, row: KnownDevice, limit: Limit = 50, cursor: Cursor = None
) -> models.MaintenancePage:
    """Newest first."""
    before = decode_cursor(cursor, MaintenanceKey)
    rows = await queries.list_maintenance(connection, row.id, before=before, limit=limit + 1)
    page, next_cursor = cut(rows, limit, lambda record: MaintenanceKey(record.event_at, record.id))
    return models.MaintenancePage(data=[views.maintenance(record) for record in page], next_cursor=next_cursor)
