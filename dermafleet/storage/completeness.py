"""What has arrived of a device's log, what has not, and what was refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.ranges import NOTHING, RangeSet
from dermafleet.storage.quarantine import Refusal


@dataclass(frozen=True, slots=True)
class EpochLedger:
    """One epoch of a device's log, every number in exactly one of stored, missing, lost and refused.

    Attributes:
        head: newest sequence the device has told of.
        upto: everything up to here is stored, refused or lost.
        stored: how many entries are in the database, late ones included.
        late: stored after they were declared lost, or after evaluation had left the epoch.
        duplicates: arrivals of an entry that was stored already.
        samples: how many are stored.
    """

    epoch: str
    head: int
    upto: int
    stored: int
    missing: RangeSet
    lost: RangeSet
    refused: RangeSet
    late: RangeSet
    duplicates: int
    samples: int


_LEDGERS = """
select l.epoch, l.upto, l.received, l.refused, l.lost, l.late, l.duplicates, l.samples,
  greatest(l.head, case when s.head_epoch = l.epoch then s.head_seq end) as head
from device_log l left join device_status s on s.device_id = l.device_id
where l.device_id = :id"""

_EPOCHS = text(_LEDGERS + " order by l.number")

_UNSETTLED = text(_LEDGERS + " and (l.head > l.upto or s.head_epoch = l.epoch and s.head_seq > l.upto)")

_UNHEARD = text("""
select coalesce(
  (select s.head_seq from device_status s where s.device_id = :id
    and not exists (select from device_log l where l.device_id = s.device_id and l.epoch = s.head_epoch)),
  (select 0 from device_log where device_id = :id limit 1))""")

_COMPLETE = text("""
with gap as (
  select number, epoch, upto from device_log where device_id = :id and upto < head order by number limit 1
)
select e.last_at from device_log l
left join gap on true
join lateral (
  select last_at from log_entry e
  where e.device_id = l.device_id and e.epoch = l.epoch
    and (gap.epoch is distinct from l.epoch or e.seq <= gap.upto)
  order by e.seq desc limit 1) e on true
where l.device_id = :id and (gap.number is null or l.number <= gap.number)
order by l.number desc limit 1""")

_REFUSALS = text("""
select id, device_id, topic, epoch, seq, field, reason, payload_bytes, count, received_at from quarantine
where (cast(:device_ids as text[]) is null or device_id = any(:device_ids))
  and (cast(:before as bigint) is null or id < :before)
order by id desc limit :limit""")


async def epochs(connection: AsyncConnection, id: int) -> list[EpochLedger]:
    """The ledger of a device, in the order in which its epochs were first heard of."""
    return [_ledger(row) for row in await connection.execute(_EPOCHS, {"id": id})]


async def backlog(connection: AsyncConnection, id: int) -> int | None:
    """How many entries that a device has told of have not arrived; None if it has told nothing."""
    unheard = await connection.scalar(_UNHEARD, {"id": id})
    if unheard is None:
        return None
    unsettled = await connection.execute(_UNSETTLED, {"id": id})
    return int(unheard) + sum(len(_ledger(row).missing) for row in unsettled)


async def complete_until(connection: AsyncConnection, id: int) -> datetime | None:
    """Event time of the last entry below the first hole in a device's log; None if nothing has arrived."""
    found: datetime | None = await connection.scalar(_COMPLETE, {"id": id})
    return found


async def list_refusals(
    connection: AsyncConnection, device_ids: Sequence[str], *, before: int | None, limit: int
) -> list[Refusal]:
    """At most ``limit`` refused messages, newest first, below ``before``; of any of these devices, if there are any."""
    values = {"device_ids": list(device_ids) or None, "before": before, "limit": limit}
    return [Refusal(**row._mapping) for row in await connection.execute(_REFUSALS, values)]


def _ledger(row: Row[Any]) -> EpochLedger:
    if row.upto >= row.head and not (row.received or row.refused or row.lost or row.late):
        return _complete(row)  # nearly all epochs, and a device has thousands
    received, refused, lost, late = (_ranges(r) for r in (row.received, row.refused, row.lost, row.late))
    head = max(row.head, row.upto, *(r.ranges[-1][1] for r in (received, refused, lost, late) if r))
    everything = RangeSet([(1, head)])
    settled = RangeSet([(1, row.upto)])
    gone = lost - late
    stored = ((settled | received) - refused - lost) | late
    return EpochLedger(
        epoch=row.epoch,
        head=head,
        upto=row.upto,
        stored=len(stored),
        missing=everything - stored - refused - gone,
        lost=gone,
        refused=refused,
        late=late,
        duplicates=row.duplicates,
        samples=row.samples,
    )


def _complete(row: Row[Any]) -> EpochLedger:
    return EpochLedger(
        epoch=row.epoch,
        head=row.upto,
        upto=row.upto,
        stored=row.upto,
        missing=NOTHING,
        lost=NOTHING,
        refused=NOTHING,
        late=NOTHING,
        duplicates=row.duplicates,
        samples=row.samples,
    )


def _ranges(multirange: Any) -> RangeSet:  # psycopg's Multirange through SQLAlchemy: half-open, discrete
    return RangeSet((piece.lower, piece.upper - 1) for piece in multirange)
