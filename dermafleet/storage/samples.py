"""Appending log entries and their samples, by binary COPY.

Samples go from arrays to bytes without an object per row, and instants as PostgreSQL keeps them (microseconds since
2000, an int8): either would cost more than all the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from dermafleet.contracts.channels import CHANNELS
from dermafleet.storage.binary import HEADER, TRAILER, Column, encode_rows
from dermafleet.storage.ledger import Connection

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_MS = int(_EPOCH.timestamp()) * 1000
_NAMES = [channel.name for channel in CHANNELS]


@dataclass(frozen=True, slots=True)
class Samples:
    """The n samples of one entry, column by column.

    Attributes:
        at_ms: shape (n,), int64, event times in Unix ms.
        values: shape (channels of the registry, n), float64; NaN = not measured.
        marks: shape (n,), int32, bit i = channel i is out of its range.
        extra: per sample, the values of channels outside the registry; None = no such channel.
    """

    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    marks: NDArray[np.int32]
    extra: Sequence[Mapping[str, float | None]] | None = None


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
        blocks = [(entry, entry.samples) for entry in entries if entry.samples is not None]
        if plain := [(entry, samples) for entry, samples in blocks if samples.extra is None]:
            with cursor.copy(_COPY_SAMPLES) as copy:
                copy.write(HEADER + encode_rows(_columns(plain)) + TRAILER)
        if others := [(entry, samples) for entry, samples in blocks if samples.extra is not None]:
            with cursor.copy(_COPY_EXTRA_SAMPLES) as copy:
                copy.set_types([*_SAMPLE_TYPES, "jsonb"])
                for entry, samples in others:
                    for row in _rows_with_extra(entry, samples):
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
_SAMPLE_COLUMNS = ["device_id", "event_at", "entry", *_NAMES, "marks"]
_SAMPLE_TYPES = ["int4", "int8", "int8", *["float4"] * len(_NAMES), "int4"]
_COPY_SAMPLES = f"copy telemetry ({', '.join(_SAMPLE_COLUMNS)}) from stdin (format binary)"
_COPY_EXTRA_SAMPLES = f"copy telemetry ({', '.join(_SAMPLE_COLUMNS)}, extra) from stdin (format binary)"


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


def _columns(blocks: Sequence[tuple[EntryRow, Samples]]) -> list[Column]:
    """The columns of `_COPY_SAMPLES`, one block after the other."""
    counts = [len(samples.at_ms) for _, samples in blocks]
    at_ms = np.concatenate([samples.at_ms for _, samples in blocks])
    values = np.concatenate([samples.values for _, samples in blocks], axis=1)
    marks = np.concatenate([samples.marks for _, samples in blocks])
    return [
        Column(np.repeat([entry.device_id for entry, _ in blocks], counts).astype(">i4")),
        Column(((at_ms - _EPOCH_MS) * 1000).astype(">i8")),
        Column(np.repeat([entry.entry for entry, _ in blocks], counts).astype(">i8")),
        *(Column(each.astype(">f4"), ~np.isnan(each)) for each in values),
        Column(marks.astype(">i4"), marks != 0),
    ]


def _rows_with_extra(entry: EntryRow, s: Samples) -> Iterator[tuple[Any, ...]]:
    """The rows of `_COPY_EXTRA_SAMPLES`: rare enough to be made one by one."""
    for i, extra in enumerate(s.extra or ()):
        values = [None if value != value else value for value in s.values[:, i].tolist()]  # NaN differs from itself
        yield entry.device_id, _micros(int(s.at_ms[i])), entry.entry, *values, int(s.marks[i]) or None, Jsonb(extra)


def _micros(unix_ms: int) -> int:
    return (unix_ms - _EPOCH_MS) * 1000
