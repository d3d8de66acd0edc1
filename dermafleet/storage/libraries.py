"""What earlier filters taught, by device model: completed filters, and the versions of what was learned from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CompletedFilter:
    """The whole course of one filter of some device of the model; ``censored``: changed before its limit."""

    device_id: str
    component: str
    from_at: datetime
    to_at: datetime
    censored: bool
    reason: str
    curve: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LibraryVersion:
    """What the filters that had ended by ``learned_until`` taught; never changed."""

    version: int
    learned_until: datetime
    filters: int
    document: dict[str, Any]


_LOCK = text("select pg_try_advisory_xact_lock(4607183)")  # any number of our own

_MODELS = text("select distinct model_id from filter_life where to_at <= :until order by model_id")

_LIVES = text("""
select d.device_id, l.component, l.from_at, l.to_at, l.censored, l.reason, l.curve
from filter_life l join device d on d.id = l.device_id
where l.model_id = :model and l.to_at <= :until order by l.to_at, d.device_id, l.component""")

_HOLDING = text("""
select version, learned_until, filters, document,
       (select min(n.learned_until) from forecast_library n
        where n.model_id = l.model_id and n.learned_until > :until) as next_until
from forecast_library l where model_id = :model and learned_until <= :until order by version desc limit 1""")

_FIRST = text("select min(learned_until) from forecast_library where model_id = :model")

_LAST = text("""
select version, filters from forecast_library where model_id = :model order by version desc limit 1""")

_NEWEST = text("""
select distinct on (model_id) model_id, version, learned_until, filters, document
from forecast_library order by model_id, version desc""")

_ADD = text("""
insert into forecast_library (model_id, version, learned_until, filters, document)
values (:model, :version, :until, :filters, cast(:document as jsonb))""")


async def lock_learning(connection: AsyncConnection) -> bool:
    """Take the right to learn until the transaction ends; False while another process has it."""
    return bool(await connection.scalar(_LOCK))


async def models_with_filters(connection: AsyncConnection, *, until: datetime) -> list[str]:
    """Models of which a filter had ended by then."""
    return [row.model_id for row in await connection.execute(_MODELS, {"until": until})]


async def completed_filters(connection: AsyncConnection, model: str, *, until: datetime) -> list[CompletedFilter]:
    """Filters of a model that had ended by then, in the order of their ends."""
    rows = await connection.execute(_LIVES, {"model": model, "until": until})
    return [CompletedFilter(**row._mapping) for row in rows]


async def last_version(connection: AsyncConnection, model: str) -> tuple[int, int]:
    """The newest version of a model's library and how many filters it rests on; (0, 0) before the first."""
    row = (await connection.execute(_LAST, {"model": model})).one_or_none()
    return (0, 0) if row is None else (row.version, row.filters)


async def newest_versions(connection: AsyncConnection) -> dict[str, LibraryVersion]:
    """The newest version of each model's library, by model."""
    return {
        row.model_id: LibraryVersion(row.version, row.learned_until, row.filters, row.document)
        for row in await connection.execute(_NEWEST)
    }


async def add_version(
    connection: AsyncConnection, model: str, *, version: int, until: datetime, filters: int, document: str
) -> None:
    """Append a version; ``document`` is JSON."""
    given = {"model": model, "version": version, "until": until, "filters": filters, "document": document}
    await connection.execute(_ADD, given)


async def version_learned(
    connection: AsyncConnection, model: str, *, until: datetime
) -> tuple[LibraryVersion | None, datetime | None]:
    """The newest version learned until then, None if there is none; and until when the one after it learned."""
    row = (await connection.execute(_HOLDING, {"model": model, "until": until})).one_or_none()
    if row is None:
        return None, await connection.scalar(_FIRST, {"model": model})
    return LibraryVersion(row.version, row.learned_until, row.filters, row.document), row.next_until
