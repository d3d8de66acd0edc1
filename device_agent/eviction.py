"""Which entries leave a full outbox first: acked, then refused, then telemetry oldest first, then everything else.

Entry 1 of an epoch, which tells the server what came before, goes last. What an evicted ``dropped`` event told is told
again by the next one: otherwise the loss that it announced would be silent.
Runs inside the outbox's transaction; an entry in flight is never touched.
"""

import sqlite3
from collections.abc import Iterable, Mapping

from dermafleet.contracts.ranges import NOTHING, Range, Ranges, RangeSet
from dermafleet.contracts.records import DROPPED, decode_event, dropped_of

_ROW_OVERHEAD_BYTES = 64
_BATCH = 5000
"""Entries announced at a time: it bounds the ``dropped`` event far below the payload limit, whatever the pattern."""

_TIERS = (
    ("state = 1", False),
    ("state = 2", False),
    ("state = 0 and kind = 'telemetry'", True),
    ("state = 0 and kind <> 'telemetry' and seq > 1", True),
    ("state = 0 and seq = 1", True),
)
"""Condition, and whether the server must be told; what it acked or refused it has noted itself."""


def evict(connection: sqlite3.Connection, needed_bytes: int, in_flight: Iterable[int]) -> dict[str, RangeSet]:
    """Delete the least valuable entries until ``needed_bytes`` are free, or as many are gone as one event may announce.

    Returns:
        per epoch, the numbers of entries that the server may not have, to be announced as dropped.
    """
    protected = set(in_flight)
    unannounced: dict[str, RangeSet] = {}
    pieces = 0
    for condition, announce in _TIERS:
        rows = connection.execute(
            "select id, epoch, seq, bytes, case when kind = 'event' then raw end from entry join life using (life)"  # noqa: S608 - constants above
            f" where {condition} order by id limit ?",
            (_BATCH + len(protected) if announce else -1,),
        )
        chosen: list[int] = []
        told: dict[str, list[Range]] = {}
        for entry_id, epoch, seq, size, event in rows:
            if needed_bytes <= 0 or pieces > _BATCH:
                break
            if entry_id in protected:
                continue
            chosen.append(entry_id)
            needed_bytes -= size + _ROW_OVERHEAD_BYTES
            if announce:
                told.setdefault(epoch, []).append((seq, seq))
                for dropped_epoch, ranges in _announced_in(event).items():
                    told.setdefault(dropped_epoch, []).extend(ranges)
                    pieces += len(ranges)
        rows.close()
        connection.executemany("delete from entry where id = ?", [(i,) for i in chosen])
        for epoch, ranges in told.items():
            unannounced[epoch] = unannounced.get(epoch, NOTHING) | RangeSet(ranges)
        if needed_bytes <= 0 or pieces > _BATCH or (announce and len(chosen) >= _BATCH):
            break
    return unannounced


def delete_acked_before(connection: sqlite3.Connection, at: int) -> None:
    """Forget entries acknowledged before ``at`` (Unix ms): the server has had time to restore a backup."""
    connection.execute(
        "delete from entry where id in (select id from entry where state = 1 and acked_at < ? order by id limit ?)",
        (at, _BATCH),
    )


def _announced_in(event: bytes | None) -> Mapping[str, Ranges]:
    """What an event announces as dropped; nothing if it is no such event."""
    if event is None or b'"dropped"' not in event:
        return {}
    decoded, _ = decode_event(event)
    return dropped_of(decoded).ranges if decoded.type == DROPPED else {}
