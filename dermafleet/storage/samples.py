"""Appending log entries and their samples, by binary COPY.

Instants go to the wire as PostgreSQL keeps them (microseconds since 2000, an int8): building a `datetime` per sample
would cost more than all the rest of its row.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dermafleet.contracts.channels import CHANNELS
from dermafleet.storage.ledger import Connection

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_MS = int(_EPOCH.timestamp()) * 1000
_NAMES = [channel.name for channel in CHANNELS]


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one entry, column by column.

    Attributes:
        at_ms: event time of each sample, Unix ms.
        channels: per channel of the registry, one value per sample; absent = not fitted.
        extra: per sample, the values of channels outside the registry; None = no such channel.
        marks: per sample, bit i = channel i is out of its range; None = all are in range.
    """

    at_ms: Sequence[int]
    channels: Mapping[str, Sequence[float | None]]
    extra: Sequence[Mapping[str, float | None]] | None = None
    marks: Sequence[int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """One entry to store; ``body`` is a JSON document or None."""

    device_id: int
    epoch: str
    seq: int
    entry: int
    kind: str
    hash: bytes
    body: bytes | None
    boot: str
    up: int
    time_source: str
    first_ms: int
    last_ms: int
    received_at: datetime
    late: bool
    samples: Samples | None


def append(connection: Connection, entries: Sequence[EntryRow]) -> None:
    """Store entries with their samples, in the caller's transaction.

    Raises:
        psycopg.Error: as the driver says; see `is_data_error`.
    """
    with connection.cursor() as cursor:
        with cursor.copy(_COPY_ENTRIES) as copy:
            copy.set_types(_ENTRY_TYPES)
            for entry in entries:
                copy.write_row(_entry_row(entry))
        with cursor.copy(_COPY_SAMPLES) as copy:
            copy.set_types(_SAMPLE_TYPES)
            for entry in entries:
                for row in _sample_rows(entry):
                    copy.write_row(row)


def append_possible(connection: Connection, entries: Sequence[EntryRow]) -> list[tuple[EntryRow, str]]:
    """Store all entries that the database takes; returns the others with its reason, found by halving.

    Raises:
        psycopg.Error: anything but a data error: nothing is decided, the transaction must be repeated.
    """
    if not entries:
        return []
    try:
        with connection.transaction():
            append(connection, entries)
    except psycopg.Error as error:
        if not is_data_error(error):
            raise
        if len(entries) == 1:
            return [(entries[0], f"database: {error.diag.message_primary or error}")]
    else:
        return []
    half = len(entries) // 2
    return append_possible(connection, entries[:half]) + append_possible(connection, entries[half:])


def is_data_error(error: psycopg.Error) -> bool:
    """Whether the rows are at fault: SQLSTATE 22 (data), 23 (constraint), 54 (too large), or the driver's encoding."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate[:2] in ("22", "23", "54")


_ENTRY_COLUMNS = {
    "device_id": "int4",
    "epoch": "text",
    "seq": "int8",
    "entry": "int8",
    "kind": "text",
    "hash": "bytea",
    "body": "jsonb",
    "boot": "text",
    "up": "int8",
    "time_source": "text",
    "first_at": "int8",
    "last_at": "int8",
    "received_at": "int8",
    "samples": "int4",
    "late": "bool",
}
_ENTRY_TYPES = list(_ENTRY_COLUMNS.values())
_COPY_ENTRIES = f"copy log_entry ({', '.join(_ENTRY_COLUMNS)}) from stdin (format binary)"
_SAMPLE_TYPES = ["int4", "int8", "int8", *repeat("float4", len(_NAMES)), "jsonb", "int4"]
_COPY_SAMPLES = (
    f"copy telemetry (device_id, event_at, entry, {', '.join(_NAMES)}, extra, marks) from stdin (format binary)"
)


def _entry_row(e: EntryRow) -> tuple[Any, ...]:
    return (
        e.device_id,
        e.epoch,
        e.seq,
        e.entry,
        e.kind,
        e.hash,
        None if e.body is None else Jsonb(e.body, dumps=bytes),
        e.boot,
        e.up,
        e.time_source,
        _micros(e.first_ms),
        _micros(e.last_ms),
        (e.received_at - _EPOCH) // timedelta(microseconds=1),
        0 if e.samples is None else len(e.samples.at_ms),
        e.late,
    )


def _sample_rows(e: EntryRow) -> Iterator[tuple[Any, ...]]:
    s = e.samples
    if s is None:
        return iter(())
    absent: Iterable[None] = repeat(None)
    return zip(
        repeat(e.device_id),
        [_micros(ms) for ms in s.at_ms],
        repeat(e.entry),
        *(s.channels.get(name, absent) for name in _NAMES),
        absent if s.extra is None else map(Jsonb, s.extra),
        absent if s.marks is None else s.marks,
        strict=False,
    )


def _micros(unix_ms: int) -> int:
    return (unix_ms - _EPOCH_MS) * 1000
