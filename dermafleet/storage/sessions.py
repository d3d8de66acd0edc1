"""Which treatments there were."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One treatment. ``began_at`` orders it: its start, or while that has not arrived, the last that is known."""

    session_id: str
    device_id: str
    began_at: datetime
    started_at: datetime | None
    last_at: datetime
    ended_at: datetime | None
    outcome: str | None
    pump_s: float | None
    contact_s: float | None
    strokes: int | None
    longest_dwell_s: float | None


class SessionKey(NamedTuple):
    """A session's place in the list of its device."""

    began_at: datetime
    session_id: str


_COLUMNS = """
select s.session_id, d.device_id, coalesce(s.started_at, s.last_at) as began_at, s.started_at, s.last_at, s.ended_at,
  s.outcome, s.pump_s, s.contact_s, s.strokes, s.longest_dwell_s
from session s join device d on d.id = s.device_id"""

_OF_DEVICE = """
where s.device_id = :id and s.last_at >= :from_at and coalesce(s.started_at, s.last_at) < :to_at
  and (cast(:before_at as timestamptz) is null
       or (coalesce(s.started_at, s.last_at), s.session_id) < (:before_at, cast(:before_id as text)))
order by began_at desc, s.session_id desc
limit :limit"""

_CHOSEN = """
where (s.device_id, s.session_id) in (select * from unnest(cast(:ids as int[]), cast(:session_ids as text[])))"""


async def list_sessions(
    connection: AsyncConnection,
    id: int,
    *,
    from_at: datetime,
    to_at: datetime,
    before: SessionKey | None,
    limit: int,
) -> list[SessionRow]:
    """At most ``limit`` sessions of a device that overlap ``[from_at, to_at)``, newest first, below ``before``."""
    before_at, before_id = before or (None, None)
    rows = await connection.execute(
        text(_COLUMNS + _OF_DEVICE),
        {
            "id": id,
            "from_at": from_at,
            "to_at": to_at,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return [SessionRow(**row._mapping) for row in rows]


async def sessions_of(connection: AsyncConnection, keys: Sequence[tuple[int, str]]) -> list[SessionRow]:
    """The sessions with these (internal device id, session id)."""
    values = {"ids": [id for id, _ in keys], "session_ids": [session_id for _, session_id in keys]}
    rows = await connection.execute(text(_COLUMNS + _CHOSEN), values)
    return [SessionRow(**row._mapping) for row in rows]
