"""Samples of a device: as they were stored, as an envelope, and as they arrive.

For ranges PostgreSQL writes the arrays as JSON itself: its shortest form of a ``real`` is also the shortest to send,
and no sample becomes a Python object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate, groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Text,
    bindparam,
    cast,
    extract,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, REAL
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS
from dermafleet.storage.tables import telemetry

_ORIGIN: ColumnElement[datetime] = literal_column("timestamptz '1970-01-01 00:00:00+00'")


@dataclass(frozen=True, slots=True)
class Span:
    """The samples of one device with event time in ``[from_at, to_at)``; ``id`` is the internal one."""

    id: int
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True, slots=True)
class Samples:
    """JSON arrays of equal length: event times in Unix ms, and the values of each channel."""

    t: str
    value: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Envelope:
    """JSON arrays of equal length: starts of the buckets in Unix ms; minimum, maximum and mean of each channel."""

    t: str
    min: Mapping[str, str]
    max: Mapping[str, str]
    mean: Mapping[str, str]


@dataclass(slots=True)
class Arrival:
    """Samples of one device that were committed since ``cursor`` was lower; ``t`` in Unix ms, oldest first."""

    cursor: int
    t: list[int] = field(default_factory=list)
    channels: dict[str, list[float | None]] = field(default_factory=dict)


_ARRIVED = text("""
select w.id, e.entry, e.samples, e.first_at, e.last_at
from unnest(cast(:ids as int[]), cast(:cursors as bigint[])) as w (id, cursor)
join lateral (
  select entry, samples, first_at, last_at from log_entry
  where device_id = w.id and entry > w.cursor order by entry limit :entries) e on true
order by w.id, e.entry""")

_OF_ENTRIES = (
    select(func.floor(extract("epoch", telemetry.c.event_at) * 1000).label("t"), telemetry)
    .where(telemetry.c.device_id == bindparam("id"), telemetry.c.entry == func.any(bindparam("entries")))
    .where(telemetry.c.event_at.between(bindparam("first_at"), bindparam("last_at")))
    .order_by(telemetry.c.event_at, telemetry.c.entry)
)

_NEWEST_ENTRY = text("select coalesce(max(entry), 0) from log_entry where device_id = :id")

_EXTRA_NAMES = text("""
select distinct name from telemetry t, unnest(cast(:names as text[])) name
where t.device_id = :id and t.event_at >= :from_at and t.event_at < :to_at and t.extra ? name""")


async def count_samples(connection: AsyncConnection, span: Span, *, most: int) -> int:
    """How many samples are in the span, counted up to ``most``."""
    found = select(telemetry.c.entry).where(*_within(span)).limit(most).subquery()
    return int(await connection.scalar(select(func.count()).select_from(found)) or 0)


async def extra_channels(connection: AsyncConnection, span: Span, names: Sequence[str]) -> set[str]:
    """Which of these names the device reports in the span as channels of its maker's own."""
    values = {"id": span.id, "from_at": span.from_at, "to_at": span.to_at, "names": list(names)}
    return set(await connection.scalars(_EXTRA_NAMES, values))


async def read_samples(connection: AsyncConnection, span: Span, channels: Sequence[str]) -> Samples:
    """Every sample of the span, in the order of event time."""
    rows = (
        select(_ms(telemetry.c.event_at).label("t"), *(_value(name).label(f"c{i}") for i, name in enumerate(channels)))
        .where(*_within(span))
        .order_by(telemetry.c.event_at, telemetry.c.entry)
        .subquery()
    )
    t, *values = await _as_json(connection, rows)
    return Samples(t, dict(zip(channels, values, strict=True)))


async def read_envelope(
    connection: AsyncConnection, span: Span, channels: Sequence[str], *, width: timedelta
) -> Envelope:
    """The samples of the span in buckets that begin at multiples of ``width`` since 1970; empty ones are absent."""
    start = func.date_bin(cast(width, INTERVAL), telemetry.c.event_at, _ORIGIN)
    columns: list[ColumnElement[Any]] = [_ms(start).label("t")]  # integers and floats
    for i, name in enumerate(channels):
        value = _value(name)
        columns += [
            func.min(value).label(f"low{i}"),
            func.max(value).label(f"high{i}"),
            cast(func.avg(value), REAL).label(f"mean{i}"),
        ]
    rows = select(*columns).where(*_within(span)).group_by(start).order_by(start).subquery()
    t, *values = await _as_json(connection, rows)
    return Envelope(
        t,
        dict(zip(channels, values[0::3], strict=True)),
        dict(zip(channels, values[1::3], strict=True)),
        dict(zip(channels, values[2::3], strict=True)),
    )


async def newest_entry(connection: AsyncConnection, id: int) -> int:
    """The cursor from which only what is committed later is new; 0 if nothing has arrived."""
    return int(await connection.scalar(_NEWEST_ENTRY, {"id": id}) or 0)


async def arrivals(
    connection: AsyncConnection, cursors: Mapping[int, int], *, entries: int, samples: int
) -> dict[int, Arrival]:
    """What was committed for these devices since their cursors, and the cursors to go on from.

    Args:
        cursors: entry number by internal device id; it rises in the device's commit order.
        entries, samples: how much of one device to read at once (one entry at least); the rest is for the next call.
    """
    values = {"ids": list(cursors), "cursors": list(cursors.values()), "entries": entries}
    found = (await connection.execute(_ARRIVED, values)).all()
    blocks = {id: _first_of(list(rows), samples) for id, rows in groupby(found, key=lambda row: int(row.id))}
    return {id: await _arrival(connection, id, rows) for id, rows in blocks.items()}


def _first_of(rows: Sequence[Any], samples: int) -> Sequence[Any]:
    """The first entries that hold at most so many samples together; one at least."""
    totals = accumulate(row.samples for row in rows)
    return rows[: max(1, sum(total <= samples for total in totals))]


async def _arrival(connection: AsyncConnection, id: int, rows: Sequence[Any]) -> Arrival:
    arrival = Arrival(cursor=rows[-1].entry)
    if blocks := [row for row in rows if row.samples]:
        values = {
            "id": id,
            "entries": [row.entry for row in blocks],
            "first_at": min(row.first_at for row in blocks),
            "last_at": max(row.last_at for row in blocks),
        }
        for sample in await connection.execute(_OF_ENTRIES, values):
            _append(arrival, sample._mapping)
    return arrival


def _append(arrival: Arrival, sample: Mapping[Any, Any]) -> None:
    """Add one row of telemetry; a channel appears with its first value, null in the samples before."""
    before = len(arrival.t)
    arrival.t.append(int(sample["t"]))
    values = {channel.name: sample[channel.name] for channel in CHANNELS} | (sample["extra"] or {})
    for name, value in values.items():
        if value is not None and name not in arrival.channels:
            arrival.channels[name] = [None] * before
    for name, column in arrival.channels.items():
        column.append(values.get(name))


def _within(span: Span) -> tuple[ColumnElement[bool], ...]:
    at = telemetry.c.event_at
    return telemetry.c.device_id == span.id, at >= span.from_at, at < span.to_at


def _value(channel: str) -> ColumnElement[Any]:
    """The value of a channel: its column, or what the maker's own channel left in ``extra``."""
    if channel in CHANNEL_BY_NAME:
        return telemetry.c[channel]
    return cast(telemetry.c.extra[channel].astext, Double)


def _ms(at: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.floor(extract("epoch", at) * 1000)


async def _as_json(connection: AsyncConnection, rows: FromClause) -> list[str]:
    """Each column as one JSON array, in the order of the rows; ``[]`` without rows."""
    arrays = (func.coalesce(cast(func.array_to_json(func.array_agg(c)), Text), "[]") for c in rows.c)
    return [str(array) for array in (await connection.execute(select(*arrays))).one()]
