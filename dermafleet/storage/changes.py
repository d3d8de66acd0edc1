"""The feed of what changed: read in the order in which nothing can appear behind the reader.

A row becomes readable when every transaction that began to write before its own has ended; then (xact, id) is final.
Ids alone are no order: a slow transaction commits a smaller id after a larger one was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

RETENTION = timedelta(hours=1)
"""How long a browser may be away and still resume."""

_MAX_ID = 2**63 - 1
_PRUNE_LOCK = 0x64666368
"""Advisory lock of `prune`, an arbitrary number: one process prunes at a time."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the feed; everything up to it is read. As text it is what a stream resumes from."""

    xact: int
    id: int

    def __str__(self) -> str:
        return f"{self.xact}-{self.id}"

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """The position that a token stands for; None if it is not one."""
        xact, _, id = token.partition("-")
        if not (xact.isascii() and xact.isdigit() and id.isascii() and id.isdigit()) or len(token) > 40:
            return None
        position = cls(int(xact), int(id))
        return position if position.xact < 2**63 and position.id <= _MAX_ID else None


@dataclass(frozen=True, slots=True)
class Change:
    """Something of a topic changed; ``device_id`` is the internal one, ``body`` says what (any JSON object)."""

    position: Position
    topic: str
    device_id: int | None
    body: dict[str, Any]
    at: datetime


_END = text("select cast(cast(pg_snapshot_xmin(pg_current_snapshot()) as text) as bigint) - 1")

_AFTER = text("""
select cast(cast(xact as text) as bigint) as xact, id, topic, device_id, body, at from change
where (xact, id) > (cast(cast(:xact as text) as xid8), cast(:id as bigint))
  and xact < pg_snapshot_xmin(pg_current_snapshot())
order by xact, id limit :limit""")

_FIRST = text("select cast(cast(xact as text) as bigint) as xact, id from change order by xact, id limit 1")

_LAG = text("""
select min(at) from change where (xact, id) > (cast(cast(:xact as text) as xid8), cast(:id as bigint))""")

_PRUNE = text("""
delete from change using (
  select xact, id from change where at < :older order by xact desc, id desc limit 1) newest_old
where (change.xact, change.id) < (newest_old.xact, newest_old.id) and pg_try_advisory_xact_lock(:lock)""")


async def end_of_feed(connection: AsyncConnection) -> Position:
    """The position below which everything is final now: a reader that starts there misses nothing that comes."""
    return Position(int(await connection.scalar(_END) or 0), _MAX_ID)


async def changes_after(connection: AsyncConnection, position: Position, *, limit: int) -> Sequence[Change]:
    """At most ``limit`` final changes after a position, in order."""
    rows = await connection.execute(_AFTER, {"xact": str(position.xact), "id": position.id, "limit": limit})
    return [Change(Position(r.xact, r.id), r.topic, r.device_id, r.body, r.at) for r in rows]


async def can_resume(connection: AsyncConnection, position: Position) -> bool:
    """Whether nothing after a position has been pruned, and the position is of this database's past.

    `prune` leaves the newest row that it could have removed, so the oldest row marks where the feed begins.
    """
    first = (await connection.execute(_FIRST)).first()
    is_kept = first is None or position >= Position(first.xact, first.id)
    return is_kept and position <= await end_of_feed(connection)


async def oldest_unread(connection: AsyncConnection, position: Position) -> datetime | None:
    """When the oldest change after a position was written; None if all are read."""
    found: datetime | None = await connection.scalar(_LAG, {"xact": str(position.xact), "id": position.id})
    return found


async def prune(connection: AsyncConnection, *, now: datetime) -> int:
    """Remove changes older than `RETENTION`, all but the newest of them; returns how many. One process at a time."""
    result = await connection.execute(_PRUNE, {"older": now - RETENTION, "lock": _PRUNE_LOCK})
    return result.rowcount
