"""Which sessions there were, and what machines did in their life."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session. ``began_at`` orders it: its start, or while that has not arrived, the last that is known."""

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
    purpose: str
    setpoints: list[tuple[float, float]] | None
    crystals_used_g: float | None
    vacuum_p50_kpa: float | None
    vacuum_p95_kpa: float | None
    vacuum_max_kpa: float | None
    over_vacuum_s: float | None
    modality: str | None
    tip_type: str | None
    tip_size_mm: float | None
    abrasive: str | None
    screening_outcome: str | None
    abort_reason: str | None
    indications: list[str] | None
    body_sites: list[str] | None
    passes: int | None
    vocabulary: int | None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What a machine did in its life, over all generations of its counters."""

    pump_s: float
    contact_s: float
    sessions: int
    strokes: int
    crystals_g: float
    pump_starts: int
    last_at: datetime


class SessionKey(NamedTuple):
    """A session's place in the list of its device."""

    began_at: datetime
    session_id: str


_COLUMNS = """
select s.session_id, d.device_id, coalesce(s.started_at, s.last_at) as began_at, s.started_at, s.last_at, s.ended_at,
  s.outcome, s.pump_s, s.contact_s, s.strokes, s.longest_dwell_s, s.purpose, s.setpoints, s.crystals_used_g,
  s.vacuum_p50_kpa, s.vacuum_p95_kpa, s.vacuum_max_kpa, s.over_vacuum_s, s.modality, s.tip_type, s.tip_size_mm,
  s.abrasive, s.screening_outcome, s.abort_reason, s.indications, s.body_sites, s.passes, s.vocabulary
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


async def lifetime_of(connection: AsyncConnection, id: int) -> Lifetime | None:
    """What a device did in its life; None while it has told of no counters."""
    rows = await connection.execute(
        text(
            """
            select sum(pump_s) as pump_s, sum(contact_s) as contact_s, sum(sessions)::bigint as sessions,
              sum(strokes)::bigint as strokes, sum(crystals_g) as crystals_g, sum(pump_starts)::bigint as pump_starts,
              max(last_at) as last_at
            from device_counter where device_id = :id having count(*) > 0
            """
        ),
        {"id": id},
    )
    row = rows.one_or_none()
    return None if row is None else Lifetime(**row._mapping)
