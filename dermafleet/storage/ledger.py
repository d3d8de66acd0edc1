"""The ledger's rows: devices, their logs, anchors and entry numbers, as one ingest transaction reads and writes them.

A device's row lock, taken by `lock_devices`, guards everything else here. What the rows mean: `services.ingest.ledger`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dermafleet.contracts.ranges import NOTHING, RangeSet

Connection = psycopg.Connection[tuple[Any, ...]]
"""Rows are tuples; each function below gives them their types."""

_RANGE = re.compile(r"\[(\d+),(\d+)\)")


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device: ``id`` for the hot path, ``device_id`` everywhere outside."""

    id: int
    device_id: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One epoch of one device; the fields are those of `services.ingest.ledger.Log`."""

    epoch: str
    number: int
    opened: bool
    previous: str | None
    head: int
    low: int
    upto: int
    received: RangeSet
    refused: RangeSet
    lost: RangeSet
    late: RangeSet
    done: bool


_LOG_COLUMNS = tuple(LogRow.__dataclass_fields__)
_RANGE_COLUMNS = ("received", "refused", "lost", "late")


def server_id(connection: Connection) -> str:
    """The identity of this database; it is in every ack."""
    row = connection.execute("select server_id from server").fetchone()
    if row is None:
        raise psycopg.DataError("table server is empty")
    return str(row[0])


def lock_devices(connection: Connection, device_ids: Iterable[str]) -> dict[str, Device]:
    """Lock the rows of the named devices until the transaction ends, in one order for all; unknown ones are absent."""
    rows = connection.execute(
        """
        select id, device_id, state from device where device_id = any(%s)
        order by id for no key update
        """,
        [list(device_ids)],
    )
    return {name: Device(number, name, state) for number, name, state in rows}


def register_devices(connection: Connection, device_ids: Iterable[str], *, state: str, max_pending: int) -> None:
    """Add devices never seen before; none once ``max_pending`` wait for approval (any name may knock)."""
    connection.execute(
        """
        with added as (
            insert into device (device_id, label, state)
            select name, name, %(state)s from unnest(%(names)s::text[]) as name
            where %(state)s <> 'pending' or (select count(*) from device where state = 'pending') < %(cap)s
            order by name
            on conflict (device_id) do nothing
            returning id, state
        )
        insert into change (topic, device_id, body)
        select 'device', id, jsonb_build_object('registered', state) from added
        """,
        {"state": state, "names": list(device_ids), "cap": max_pending},
    )


def read_logs(connection: Connection, epochs: Mapping[int, Iterable[str]]) -> dict[int, list[LogRow]]:
    """Lock and read the logs of locked devices: those the follower has not left, and the epochs named."""
    pairs = [(device, epoch) for device, named in epochs.items() for epoch in named]
    rows = connection.execute(
        f"""
        select device_id, {", ".join(f"{c}::text" if c in _RANGE_COLUMNS else c for c in _LOG_COLUMNS)}
        from device_log
        where (device_id, epoch) in (
            select device_id, epoch from device_log where device_id = any(%s) and not done
            union select * from unnest(%s::int[], %s::text[]))  -- an `or` would read all the epochs of each device
        order by device_id, epoch for update
        """,  # noqa: S608  # names of our own columns
        [list(epochs), [device for device, _ in pairs], [epoch for _, epoch in pairs]],
    )
    logs: dict[int, list[LogRow]] = {device: [] for device in epochs}
    for device, *values in rows:
        fields = dict(zip(_LOG_COLUMNS, values, strict=True))
        fields.update({name: _ranges(fields[name]) for name in _RANGE_COLUMNS})
        logs[device].append(LogRow(**fields))
    return logs


def count_epochs(connection: Connection, devices: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Per device the number of its newest epoch, and how many were new within the last day; numbers have no gaps."""
    rows = connection.execute(
        """
        select id, newest, newest - coalesce((
            select number from device_log where device_id = id and created_at <= now() - interval '1 day'
            order by number desc limit 1), 0)
        from unnest(%s::int[]) id, lateral (select max(number) as newest from device_log where device_id = id) log
        where newest is not null
        """,
        [list(devices)],
    )
    return {device: (newest, recent) for device, newest, recent in rows}


def write_logs(connection: Connection, rows: Sequence[tuple[int, LogRow, int, int]]) -> None:
    """Write logs of locked devices: (device, log, how many duplicates to add, how many samples to add)."""
    if not rows:
        return
    devices, logs, duplicates, samples = (list(column) for column in zip(*rows, strict=True))
    columns = [devices, *([_column(log, name) for log in logs] for name in _LOG_COLUMNS), duplicates, samples]
    connection.execute(_WRITE_LOGS, columns)


_WRITE_LOGS = f"""
    insert into device_log as old (device_id, {", ".join(_LOG_COLUMNS)}, duplicates, samples)
    select device_id, {", ".join(f"{c}::int8multirange" if c in _RANGE_COLUMNS else c for c in _LOG_COLUMNS)},
           duplicates, samples
    from unnest(%s::int[], %s::text[], %s::int[], %s::bool[], %s::text[], %s::int8[], %s::int8[], %s::int8[],
                %s::text[], %s::text[], %s::text[], %s::text[], %s::bool[], %s::int8[], %s::int8[])
         as new (device_id, {", ".join(_LOG_COLUMNS)}, duplicates, samples)
    on conflict (device_id, epoch) do update
    set {", ".join(f"{c} = excluded.{c}" for c in _LOG_COLUMNS if c != "epoch")},
        duplicates = old.duplicates + excluded.duplicates, samples = old.samples + excluded.samples
    """  # noqa: S608  # names of our own columns


def read_hashes(connection: Connection, entries: Sequence[tuple[int, str, int]]) -> dict[tuple[int, str, int], bytes]:
    """The hashes of stored entries, by (device, epoch, sequence)."""
    if not entries:
        return {}
    devices, epochs, seqs = (list(column) for column in zip(*entries, strict=True))
    rows = connection.execute(
        """
        select device_id, epoch, seq, hash from log_entry
        where (device_id, epoch, seq) in (select * from unnest(%s::int[], %s::text[], %s::int8[]))
        """,
        [devices, epochs, seqs],
    )
    return {(device, epoch, seq): bytes(digest) for device, epoch, seq, digest in rows}


def read_anchors(connection: Connection, boots: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The stored anchors, Unix ms at uptime 0, by (device, boot)."""
    pairs = sorted(set(boots))
    rows = connection.execute(
        """
        select device_id, boot, anchor_ms from boot_anchor
        where (device_id, boot) in (select * from unnest(%s::int[], %s::text[]))
        """,
        [[device for device, _ in pairs], [boot for _, boot in pairs]],
    )
    return {(device, boot): anchor for device, boot, anchor in rows}


def add_anchors(connection: Connection, anchors: Mapping[tuple[int, str], int]) -> None:
    """Store anchors of boots that have none: the first one stands for ever."""
    if not anchors:
        return
    connection.execute(
        """
        insert into boot_anchor (device_id, boot, anchor_ms)
        select * from unnest(%s::int[], %s::text[], %s::int8[]) on conflict do nothing
        """,
        [[device for device, _ in anchors], [boot for _, boot in anchors], list(anchors.values())],
    )


def take_entry_numbers(connection: Connection, count: int) -> list[int]:
    """New numbers for entries, ascending. Taken under the device's lock, so per device they rise in commit order."""
    rows = connection.execute("select nextval('entry_number') from generate_series(1, %s)", [count])
    return [number for (number,) in rows]


def add_change(connection: Connection, topic: str, device: int, body: Mapping[str, object]) -> None:
    """Tell the readers of the feed that something about a device changed, when this transaction commits."""
    connection.execute(
        "insert into change (topic, device_id, body) values (%s, %s, %s)", [topic, device, Jsonb(dict(body))]
    )


def _ranges(text: str) -> RangeSet:
    """Read PostgreSQL's text of an int8multirange: ``{[1,4),[7,8)}``."""
    return NOTHING if text == "{}" else RangeSet((int(first), int(end) - 1) for first, end in _RANGE.findall(text))


def _column(log: LogRow, name: str) -> object:
    value = getattr(log, name)
    if isinstance(value, RangeSet):
        return "{" + ",".join(f"[{first},{last}]" for first, last in value.ranges) + "}"
    return value
