"""Backtests of rules: the jobs, and the stored history that they read. In the caller's transaction."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.backtests import BacktestRequest, BacktestResult
from dermafleet.contracts.channels import Profile
from dermafleet.contracts.rules import Rule
from dermafleet.storage.follow import OpenLog
from dermafleet.storage.rule_tables import rule_backtest
from dermafleet.storage.rules import NoSuchRule, RuleConflict, need_rule

MAX_WAITING = 20
"""Backtests in the queue; each may take fifteen minutes."""


@dataclass(frozen=True, slots=True)
class Job:
    """A backtest ordered; ``result`` once it is done, ``reason`` if it failed."""

    id: uuid.UUID
    key: str
    version: int
    request: dict[str, Any]
    state: str
    result: dict[str, Any] | None
    reason: str | None
    created_at: datetime
    created_by: str
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Machine:
    """A device to try a rule on, as it is now; see `dermafleet.storage.follow.Claim`."""

    device: int
    device_id: str
    model: str | None
    profile: Profile
    limits: dict[str, Any]
    altitude_m: float


async def order(connection: AsyncConnection, key: str, request: BacktestRequest, *, actor: str) -> Job:
    """Queue a backtest; alerts works it off.

    Raises:
        NoSuchRule: there is no such rule or version.
        RuleConflict: too many wait already.
    """
    stored = await need_rule(connection, key)
    version = stored.newest.version if request.version is None else request.version
    if all(each.version != version for each in stored.versions):
        raise NoSuchRule(f"rule {key!r} has no version {version}")
    waiting = int(await connection.scalar(_COUNT_WAITING) or 0)
    if waiting >= MAX_WAITING:
        raise RuleConflict(f"{waiting} backtests are waiting already")
    id = uuid.uuid4()
    job = {"id": id, "key": key, "version": version, "created_by": actor, "request": msgspec.to_builtins(request)}
    await connection.execute(insert(rule_backtest).values(job))
    found = await find_job(connection, key, id)
    assert found is not None  # just written
    return found


_COUNT_WAITING = text("select count(*) from rule_backtest where state in ('queued', 'running')")


async def find_job(connection: AsyncConnection, key: str, id: uuid.UUID) -> Job | None:
    """A backtest of this rule."""
    chosen = select(rule_backtest).where(rule_backtest.c.key == key, rule_backtest.c.id == id)
    row = (await connection.execute(chosen)).one_or_none()
    return None if row is None else Job(**row._mapping)


@asynccontextmanager
async def take_job(connection: AsyncConnection) -> AsyncIterator[tuple[Job, Rule] | None]:
    """The oldest backtest that is not finished and that nobody else works on, for the length of the block.

    The claim is a lock of the connection, which commits by itself: a dead process holds nothing.
    """
    waiting = await connection.execute(
        text("select id from rule_backtest where state in ('queued', 'running') order by created_at")
    )
    ids: Sequence[uuid.UUID] = waiting.scalars().all()
    for id in ids:
        if not await connection.scalar(text("select pg_try_advisory_lock(hashtextextended(:id, 0))"), {"id": str(id)}):
            continue
        try:
            row = (await connection.execute(_START, {"id": id})).one_or_none()
            if row is not None:  # else it was finished meanwhile
                mapping = dict(row._mapping)
                rule = msgspec.convert(mapping.pop("document"), Rule)
                yield Job(**mapping), rule
                return
        finally:
            await connection.execute(text("select pg_advisory_unlock(hashtextextended(:id, 0))"), {"id": str(id)})
    yield None


_START = text("""
update rule_backtest b set state = 'running' from rule r
where b.id = :id and b.state in ('queued', 'running') and r.key = b.key and r.version = b.version
returning b.id, b.key, b.version, b.request, b.state, b.result, b.reason, b.created_at, b.created_by, b.finished_at,
  r.document""")


async def finish(connection: AsyncConnection, id: uuid.UUID, result: BacktestResult) -> None:
    """Store what came out."""
    document = msgspec.json.encode(result).decode()
    await connection.execute(_FINISH, {"id": id, "result": document})


_FINISH = text("""
update rule_backtest set state = 'done', result = cast(:result as jsonb), finished_at = now() where id = :id""")


async def fail(connection: AsyncConnection, id: uuid.UUID, reason: str) -> None:
    """Store why nothing came out."""
    await connection.execute(
        text("update rule_backtest set state = 'failed', reason = :reason, finished_at = now() where id = :id"),
        {"id": id, "reason": reason},
    )


async def machines(connection: AsyncConnection, rule: Rule, device_ids: Sequence[str]) -> list[Machine]:
    """The devices in service that a rule is for, by their ids; only the named ones if there are any."""
    given = {"ids": list(device_ids) or None, "models": rule.models or None}
    return [Machine(**row._mapping) for row in await connection.execute(_MACHINES, given)]


_MACHINES = text("""
select d.id as device, d.device_id, m.id as model, coalesce(m.profile, 'full') as profile,
  coalesce(m.limits, '{}') as limits, coalesce(site.altitude_m, 0) as altitude_m
from device d left join device_model m on m.id = d.model_id
left join placement p on p.device_id = d.id and p.to_at is null left join site on site.id = p.site_id
where d.state in ('active', 'suspended')
  and (cast(:ids as text[]) is null or d.device_id = any(:ids))
  and (cast(:models as text[]) is null or m.id = any(:models))
order by d.device_id""")


async def logs_since(
    connection: AsyncConnection, device: int, from_at: datetime
) -> tuple[list[OpenLog], dict[str, int]]:
    """The epochs with entries since then, as far as they have no hole; and per epoch the first such entry."""
    rows = (await connection.execute(_LOGS, {"device": device, "from": from_at})).all()
    logs = [
        OpenLog(
            row.epoch, row.number, row.opened, row.previous, head=row.upto, upto=row.upto, gapped=False, stored=True
        )
        for row in rows
    ]
    return logs, {row.epoch: row.first for row in rows}


# Event time is never more than a day ahead of the time of storing, for which there is an index.
_LOGS = text("""
select l.epoch, l.number, l.opened, l.previous, l.upto, e.first
from device_log l
join (select epoch, min(seq) as first from log_entry
      where device_id = :device and not late and last_at >= :from
        and stored_at >= cast(:from as timestamptz) - interval '1 day'
      group by epoch) e on e.epoch = l.epoch
where l.device_id = :device and e.first <= l.upto""")
