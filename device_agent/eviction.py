"""Which entries leave a full outbox first: acked, then refused, then telemetry oldest first, everything else last.

Runs inside the outbox's transaction; an entry in flight is never touched.
"""

import sqlite3
from collections.abc import Iterable

from dermafleet.contracts.envelope import Position
from dermafleet.contracts.ranges import Range, RangeSet

_ROW_OVERHEAD_BYTES = 64
_BATCH = 5000
"""Rows looked at per tier: it bounds the ``dropped`` event far below the payload limit, whatever the pattern."""

_TIERS = (
    ("state = 1", False),
    ("state = 2", False),
    ("state = 0 and kind = 'telemetry'", True),
    ("state = 0 and kind <> 'telemetry'", True),
)
"""Condition, and whether the server must be told; what it acked or refused it has noted itself."""


def evict(connection: sqlite3.Connection, needed_bytes: int, in_flight: Iterable[int]) -> list[Position]:
    """Delete the least valuable entries until ``needed_bytes`` are free or nothing is left to delete.

    Returns:
        the positions of deleted entries that the server may not have.
    """
    protected = set(in_flight)
    unannounced: list[Position] = []
    for condition, announce in _TIERS:
        if needed_bytes <= 0:
            break
        rows = connection.execute(
            f"select id, epoch, seq, bytes from entry join life using (life) where {condition}"  # noqa: S608 - constants above
            " order by id limit ?",
            (_BATCH + len(protected),),
        ).fetchall()
        chosen: list[int] = []
        for entry_id, epoch, seq, size in rows:
            if needed_bytes <= 0:
                break
            if entry_id in protected:
                continue
            chosen.append(entry_id)
            needed_bytes -= size + _ROW_OVERHEAD_BYTES
            if announce:
                unannounced.append((epoch, seq))
        connection.executemany("delete from entry where id = ?", [(i,) for i in chosen])
    return unannounced


def delete_acked_before(connection: sqlite3.Connection, at: int) -> None:
    """Forget entries acknowledged before ``at`` (Unix ms): the server has had time to restore a backup."""
    connection.execute(
        "delete from entry where id in (select id from entry where state = 1 and acked_at < ? order by id limit ?)",
        (at, _BATCH),
    )


def as_ranges(positions: Iterable[Position]) -> dict[str, tuple[Range, ...]]:
    """Positions by epoch, as inclusive ranges."""
    by_epoch: dict[str, list[int]] = {}
    for epoch, seq in positions:
        by_epoch.setdefault(epoch, []).append(seq)
    return {epoch: RangeSet.of(numbers).ranges for epoch, numbers in by_epoch.items()}
