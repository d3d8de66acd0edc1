"""The follower's view of a device's log: what there is to read, where it stands, and what it projects.

Every function works in the caller's transaction; one transaction is one step of one device. The claim on a device is
the lock of its `detector_state` row, so a dead process holds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, bindparam, case, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.channels import Profile
from dermafleet.contracts.records import Counters, Session
from dermafleet.storage.tables import change, device_counter, event, log_entry, session

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Work:
    """A device whose log may be read on.

    Attributes:
        is_ready: it surely may; otherwise it may be blocked or wait for an epoch.
        resolved: how much of these epochs has no hole below it; a missing entry that arrives changes it.
    """

    device: int
    is_ready: bool
    resolved: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A device held by this transaction, and where its follower stands.

    Attributes:
        device, device_id: number inside, name outside.
        model, profile, limits: its model, None, "full" and empty if it has none.
        altitude_m, time_zone: of the site where it stands now.
        epoch, seq: the last entry evaluated.
        blocked_since: since when newer entries wait for a missing one.
        state: what the detectors remember, as of ``version``; JSON.
        rules: users' active rules, for whatever model; see `dermafleet.storage.rules.decode_rules`.
        releases: those that have not ended, newest first; see `dermafleet.storage.releases.decode_releases`.
        now: the database's clock.
    """

    device: int
    device_id: str
    model: str | None
    profile: Profile
    limits: Document
    altitude_m: float
    time_zone: str
    version: int
    epoch: str | None
    seq: int
    evaluated_until: datetime | None
    blocked_since: datetime | None
    state: str
    rules: str
    releases: str
    now: datetime


@dataclass(frozen=True, slots=True)
class OpenLog:
    """One epoch that the follower has not left yet, as the ledger has it.

    Attributes:
        number: order of first commit among the device's epochs.
        opened: entry 1 has arrived, so ``previous`` is known.
        previous: the epoch before this one on the same disk.
        head: newest sequence the device has told of.
        upto: everything up to here is received, refused or lost; ``upto + 1`` is not.
        gapped: something above ``upto`` has arrived.
        stored: at least one entry that counts (not late) is in the database.
    """

    epoch: str
    number: int
    opened: bool
    previous: str | None
    head: int
    upto: int
    gapped: bool
    stored: bool

    @property
    def is_complete(self) -> bool:
        return self.upto >= self.head and not self.gapped

    @property
    def has_content(self) -> bool:
        return self.gapped or self.stored


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored log entry; ``body`` only of sessions and events, ``samples`` counted."""

    seq: int
    entry: int
    kind: str
    body: Document | None
    boot: str
    up_ms: int
    first_at: datetime
    last_at: datetime
    samples: int


async def find_work(connection: AsyncConnection) -> list[Work]:
    """Devices with entries that are not evaluated, those that can go on at once first."""
    rows = await connection.execute(
        text(
            """
            select l.device_id, coalesce(bool_or(l.epoch = s.epoch and l.upto > s.seq), false) as is_ready,
                   sum(l.upto)::bigint as resolved
            from device_log l left join detector_state s on s.device_id = l.device_id
            where not l.done
              and case when l.epoch = s.epoch then l.upto > s.seq or not isempty(l.received)
                       else l.upto > 0 or not isempty(l.received) end
            group by l.device_id order by is_ready desc
            """
        )
    )
    return [Work(row.device_id, row.is_ready, row.resolved) for row in rows]


async def add_device(connection: AsyncConnection, device: int, *, version: int) -> bool:
    """Begin to follow a device; False if it is followed already. Commit at once: others wait for it."""
    made = await connection.execute(_ADD_DEVICE, {"device": device, "version": version})
    return bool(made.rowcount)


async def claim(connection: AsyncConnection, device: int) -> Claim | None:
    """Take a device for this transaction; None when another worker has it, or it is not followed yet."""
    row = (await connection.execute(_CLAIM, {"device": device})).one_or_none()
    return None if row is None else Claim(**row._mapping)


_CLAIM = text(
    """
    select s.device_id as device, d.device_id, m.id as model, coalesce(m.profile, 'full') as profile,
           coalesce(m.limits, '{}') as limits, coalesce(site.altitude_m, 0) as altitude_m,
           coalesce(site.time_zone, 'UTC') as time_zone, s.version, s.epoch, s.seq,
           s.evaluated_until, s.blocked_since, s.state::text as state, clock_timestamp() as now,
           (select coalesce(jsonb_agg(document order by key), '[]')::text from rule where state = 'active') as rules,
           (select coalesce(jsonb_agg(jsonb_build_object('version', version, 'mode', mode, 'models', models,
                                                         'percent', percent) order by id desc), '[]')::text
            from detector_release where ended_at is null) as releases
    from detector_state s join device d on d.id = s.device_id left join device_model m on m.id = d.model_id
    left join placement p on p.device_id = d.id and p.to_at is null left join site on site.id = p.site_id
    where s.device_id = :device for update of s skip locked
    """
)
_ADD_DEVICE = text(
    "insert into detector_state (device_id, version) values (:device, :version) on conflict (device_id) do nothing"
)


async def save_claim(
    connection: AsyncConnection,
    claim: Claim,
    *,
    version: int,
    epoch: str | None,
    seq: int,
    evaluated_until: datetime | None,
    blocked_since: datetime | None,
    state: str,
) -> None:
    """Move the position of a claimed device, with what its detectors now remember."""
    await connection.execute(
        _SAVE_CLAIM,
        {
            "device": claim.device,
            "version": version,
            "epoch": epoch,
            "seq": seq,
            "evaluated_until": evaluated_until,
            "blocked_since": blocked_since,
            "state": state,
        },
    )


_SAVE_CLAIM = text(
    """
    update detector_state
    set version = :version, epoch = :epoch, seq = :seq, evaluated_until = :evaluated_until,
        blocked_since = :blocked_since, state = cast(:state as jsonb)
    where device_id = :device
    """
)


async def read_open_logs(connection: AsyncConnection, device: int) -> list[OpenLog]:
    """The epochs of a device that are not done."""
    rows = await connection.execute(
        text(
            """
            select epoch, number, opened, previous, head, upto, not isempty(received) as gapped,
                   not isempty(received) or exists (
                       select from log_entry e where e.device_id = l.device_id and e.epoch = l.epoch and not e.late
                   ) as stored
            from device_log l where device_id = :device and not done
            """
        ),
        {"device": device},
    )
    return [OpenLog(**row._mapping) for row in rows]


async def read_entries(
    connection: AsyncConnection, device: int, epoch: str, *, after: int, upto: int, limit: int
) -> list[Entry]:
    """The first ``limit`` entries in (after, upto] that count, in order."""
    given = {"device": device, "epoch": epoch, "after": after, "upto": upto, "limit": limit}
    return [Entry(**row._mapping) for row in await connection.execute(_ENTRIES, given)]


_E = log_entry.c
_ENTRIES = (
    select(
        _E.seq,
        _E.entry,
        _E.kind,
        case((_E.kind != "telemetry", _E.body)).label("body"),
        _E.boot,
        _E.up.label("up_ms"),
        _E.first_at,
        _E.last_at,
        _E.samples,
    )
    .where(_E.device_id == bindparam("device"), _E.epoch == bindparam("epoch"), ~_E.late)
    .where(_E.seq > bindparam("after"), _E.seq <= bindparam("upto"))
    .order_by(_E.seq)
    .limit(bindparam("limit", type_=BigInteger))
)


async def leave_epoch(connection: AsyncConnection, device: int, epoch: str, *, upto: int) -> bool:
    """Call an epoch done that ends at ``upto``; False when something has arrived meanwhile, and it is not done."""
    result = await connection.execute(
        text(
            """
            update device_log set done = true
            where device_id = :device and epoch = :epoch and upto = :upto and head <= upto and isempty(received)
            """
        ),
        {"device": device, "epoch": epoch, "upto": upto},
    )
    return bool(result.rowcount)


async def is_hole_old(
    connection: AsyncConnection, device: int, *, since: datetime, lost_after: timedelta, recent: timedelta
) -> bool:
    """Whether newer entries still came ``lost_after`` the hole was seen, and then for ``recent`` without filling it.

    Entries are stored in the order of their numbers, so the last one that is not recent tells: all would be too many.
    """
    found = await connection.scalar(
        text(
            """
            select stored_at >= :since from log_entry
            where device_id = :device and stored_at <= clock_timestamp() - cast(:recent as interval)
            order by entry desc limit 1
            """
        ),
        {"device": device, "since": since + lost_after, "recent": recent},
    )
    return bool(found)


async def declare_lost(connection: AsyncConnection, device: int, epoch: str, *, lost_after: timedelta) -> int:
    """Give up the missing entries of an epoch that newer ones have waited for ``lost_after``; returns how many.

    Takes the device's row lock as ingest does, so that what arrives afterwards is late.
    """
    given = {"device": device, "epoch": epoch, "lost_after": lost_after}
    await connection.execute(text("select from device where id = :device for no key update"), given)
    end = await connection.scalar(_LAST_TO_GIVE_UP, given)
    return int(await connection.scalar(_DECLARE_LOST, {**given, "end": end or 0}) or 0)


_LAST_TO_GIVE_UP = text(
    """
    select case
        when exists (select from log_entry
                     where device_id = :device and epoch <> :epoch and not late
                       and entry > coalesce((select max(entry) from log_entry
                                             where device_id = :device and epoch = :epoch and not late), 0)
                       and stored_at <= clock_timestamp() - cast(:lost_after as interval))
        then l.head
        else (select max(seq) from log_entry
              where device_id = :device and epoch = :epoch and seq > l.upto and not late
                and stored_at <= clock_timestamp() - cast(:lost_after as interval))
        end
    from device_log l where device_id = :device and epoch = :epoch
    """
)
_DECLARE_LOST = text(
    """
    with gap as (
        select upto, int8multirange(int8range(upto + 1, greatest(cast(:end as bigint), upto) + 1))
                         - received - refused - lost as lost,
               int8multirange(int8range(0, greatest(cast(:end as bigint), upto) + 1)) + received + refused + lost
                         as settled
        from device_log where device_id = :device and epoch = :epoch for update
    ), settled as (
        select lost, (select max(upper(r)) - 1 from unnest(settled) r where lower(r) = 0) as upto from gap
    )
    update device_log l
    set lost = l.lost + s.lost, upto = s.upto,
        received = l.received - int8multirange(int8range(0, s.upto + 1))
    from settled s where l.device_id = :device and l.epoch = :epoch and not isempty(s.lost)
    returning (select sum(upper(r) - lower(r)) from unnest(s.lost) r)
    """
)


async def project_event(
    connection: AsyncConnection, device: int, epoch: str, entry: Entry, *, type: str, data: Document
) -> None:
    """Write the row of an event entry."""
    values = {"device_id": device, "epoch": epoch, "seq": entry.seq, "type": type, "event_at": entry.first_at}
    await connection.execute(insert(event).values(**values, data=dict(data)).on_conflict_do_nothing())


async def project_session(connection: AsyncConnection, device: int, told: Session, *, at: datetime) -> None:
    """Write what a session entry tells; called in log order. What it tells replaces earlier, what it lacks stays."""
    row: dict[str, object] = {name: value for name in _TOLD if (value := getattr(told, name)) is not None}
    if told.op == "start":
        row["started_at"] = at
    if told.op == "end":
        row["ended_at"] = at
    statement = insert(session).values(device_id=device, session_id=told.session, last_at=at, **row)
    last_at = func.greatest(session.c.last_at, statement.excluded.last_at)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["device_id", "session_id"], set_={**row, "last_at": last_at})
    )


_TOLD = tuple(name for name in Session.__struct_fields__ if name in session.c)
"""Columns that are named as the fields of the entry."""


async def project_counters(connection: AsyncConnection, device: int, told: Counters, *, at: datetime) -> None:
    """Write what a machine's counters have reached; within a generation none goes back, in whatever order."""
    statement = insert(device_counter).values(
        device_id=device, last_at=at, **{name: getattr(told, name) for name in told.__struct_fields__}
    )
    grown = {
        column.name: func.greatest(column, statement.excluded[column.name])
        for column in device_counter.c
        if not column.primary_key
    }
    await connection.execute(statement.on_conflict_do_update(index_elements=["device_id", "generation"], set_=grown))


async def note_change(connection: AsyncConnection, topic: str, device: int, body: Document) -> None:
    """Tell the feed that something of a topic (``alarm``, ``session``) changed."""
    await connection.execute(insert(change).values(topic=topic, device_id=device, body=dict(body)))
