"""The samples of telemetry entries, as detectors take them.

PostgreSQL packs each sample into bytes of a fixed layout, so that no value becomes a Python object on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    ColumnElement,
    LargeBinary,
    Select,
    bindparam,
    cast,
    extract,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.storage.follow import Entry
from dermafleet.storage.tables import telemetry


@dataclass(frozen=True, slots=True)
class Samples:
    """The n samples of one entry in order.

    Attributes:
        at_ms: shape (n,), int64, event times in Unix ms.
        channels: per channel asked for shape (n,), float64, NaN = not measured.
        marks: shape (n,), int64, bit i = channel i of the registry is out of its range.
    """

    at_ms: NDArray[np.int64]
    channels: Mapping[str, NDArray[np.float64]]
    marks: NDArray[np.int64]


async def read_samples(
    connection: AsyncConnection, device: int, entries: Sequence[Entry], channels: tuple[str, ...]
) -> dict[int, Samples]:
    """The samples of telemetry entries, by entry number. The entries should lie close together in event time.

    Args:
        channels: names of the registry, or of a maker's own (they are stored in ``extra``).
    """
    if not entries:
        return {}
    given = {
        "device": device,
        "entries": [e.entry for e in entries],
        "first_at": min(e.first_at for e in entries),
        "last_at": max(e.last_at for e in entries),
    }
    layout = np.dtype([("at_ms", ">i8"), ("marks", ">i4"), ("values", ">f4", (len(channels),))])
    found = {}
    for entry, packed in await connection.execute(_query(channels), given):
        rows = np.frombuffer(packed, layout)
        values = np.ascontiguousarray(rows["values"].T, dtype=np.float64)
        named = dict(zip(channels, values, strict=True))
        found[entry] = Samples(rows["at_ms"].astype(np.int64), named, rows["marks"].astype(np.int64))
    return found


@cache  # building it costs as much as running it for one entry
def _query(channels: tuple[str, ...]) -> Select[Any]:
    """Per entry its number and its packed samples."""
    t = telemetry.c
    at_ms = cast(extract("epoch", t.event_at) * 1000, BigInteger)
    sample: ColumnElement[Any] = func.int8send(at_ms).op("||")(func.int4send(func.coalesce(t.marks, 0)))
    for name in channels:
        value: ColumnElement[Any] = t[name] if name in CHANNEL_BY_NAME else cast(t.extra.op("->>")(name), REAL)
        sample = sample.op("||")(func.float4send(func.coalesce(value, cast(literal("NaN"), REAL))))
    # Samples of one instant have no order of their own: their bytes give them one, the same at every reading.
    rows = (
        select(t.entry, sample.label("sample"))
        .where(t.device_id == bindparam("device"), t.entry == func.any(bindparam("entries", type_=ARRAY(BigInteger))))
        .where(t.event_at.between(bindparam("first_at"), bindparam("last_at")))
        .subquery()
    )
    packed = func.string_agg(
        rows.c.sample, aggregate_order_by(cast(literal(b""), LargeBinary), rows.c.sample), type_=LargeBinary
    )
    return select(rows.c.entry, packed).group_by(rows.c.entry)
