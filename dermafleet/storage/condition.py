"""What the follower found out about a device's condition, written in the transaction of its step."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.storage.condition_tables import (
    baseline,
    filter_life,
    forecast,
    maintenance_record,
    observability,
    session_feature,
)

Document = Mapping[str, object]

_NAMESPACE = uuid.UUID("c0b6d2a4-6a0e-5d0f-8f0a-7f6b6d0e9a52")
"""Fixed for ever: ids of maintenance records are derived from it."""


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One session of one component; ``features`` is the whole document, the rest what is searched for."""

    component: str
    session_id: str
    purpose: str
    started_at: datetime
    ended_at: datetime
    version: int
    filter_index: float | None
    features: Document


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """One version of a learned healthy value."""

    component: str
    tip: str
    quantity: str
    version: int
    value: float
    spread: float
    n: int
    from_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """Remaining life of a filter as it was foreseen at ``made_at``; ``remaining`` per unit [p10, p50, p90]."""

    component: str
    made_at: datetime
    ratio: float
    share_left: float
    remaining: Mapping[str, Sequence[float]]
    basis: str
    filters: int
    evening_probability: float | None


@dataclass(frozen=True, slots=True)
class ObservabilityRow:
    """Whether a fault can be seen; ``since_at`` in event time."""

    component: str
    fault: str
    observable: bool
    reason: str
    ambiguous_with: Sequence[str]
    since_at: datetime


@dataclass(frozen=True, slots=True)
class MachineMaintenance:
    """Service that the machine itself told of, in the log entry (epoch, seq)."""

    component: str
    type: str
    event_at: datetime
    epoch: str
    seq: int
    data: Document


@dataclass(frozen=True, slots=True)
class FilterLifeRow:
    """The whole course of one filter; ``censored``: it was changed before it reached the rated limit."""

    component: str
    from_at: datetime
    to_at: datetime
    censored: bool
    reason: str
    curve: Document


async def save_features(connection: AsyncConnection, device: int, rows: Iterable[FeatureRow]) -> None:
    """Write sessions' features; those of a session known already are replaced."""
    await _save(connection, session_feature, ["component", "session_id"], device, rows)


async def save_baselines(connection: AsyncConnection, device: int, rows: Iterable[BaselineRow]) -> None:
    """Append versions of baselines."""
    await _save(connection, baseline, ["component", "tip", "quantity", "version"], device, rows)


async def save_forecasts(connection: AsyncConnection, device: int, rows: Iterable[ForecastRow]) -> None:
    """Append forecasts."""
    await _save(connection, forecast, ["component", "made_at"], device, rows)


async def save_observability(connection: AsyncConnection, device: int, rows: Iterable[ObservabilityRow]) -> None:
    """Write what can be seen from now on."""
    await _save(connection, observability, ["component", "fault"], device, rows)


async def save_filter_life(
    connection: AsyncConnection, device: int, model_id: str, rows: Iterable[FilterLifeRow]
) -> None:
    """Append completed filters of a device of this model."""
    await _save(connection, filter_life, ["component", "from_at"], device, rows, model_id=model_id)


async def save_maintenance(connection: AsyncConnection, device: int, done: MachineMaintenance) -> None:
    """Write the record of an entry; the same at every replay."""
    id = uuid.uuid5(_NAMESPACE, f"{device}/{done.epoch}/{done.seq}")
    values = {**asdict(done), "id": id, "device_id": device, "source": "machine"}
    await connection.execute(insert(maintenance_record).values(values).on_conflict_do_nothing())


async def _save(
    connection: AsyncConnection, table: Table, key: list[str], device: int, rows: Iterable[object], **more: object
) -> None:
    """Write rows in order; later ones with the same key win."""
    by_key = {}
    for row in rows:
        values = {"device_id": device, **more, **asdict(row)}  # type: ignore[call-overload]  # all are dataclasses
        by_key[tuple(values[name] for name in key)] = values
    if not by_key:
        return
    statement = insert(table).values(list(by_key.values()))
    changed: dict[str, ColumnElement[object]] = {
        name: statement.excluded[name] for name in next(iter(by_key.values())) if name not in {"device_id", *key}
    }
    keys = ["device_id", *key]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
