"""What has arrived of some devices' logs, in totals: for the report at the end of a demo or a measurement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from dermafleet.storage.engine import translate
from dermafleet.storage.tables import ALARM_IS_OPEN


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all epochs of the devices; an alarm is open until it is cleared or closed."""

    samples_stored: int
    entries_duplicate: int
    entries_missing: int
    entries_lost: int
    alarms_raised: int
    alarms_open: int


_SIZE = "coalesce((select sum(upper(r) - lower(r)) from unnest({}) r), 0)"

_LEDGER = f"""
with ledger as (
  select l.*, greatest(l.head, case when s.head_epoch = l.epoch then s.head_seq else 0 end) as newest
  from device_log l join device d on d.id = l.device_id left join device_status s on s.device_id = l.device_id
  where d.device_id = any(%s)
)
select coalesce(sum(duplicates), 0)::bigint,
  coalesce(sum(greatest(newest - upto - {_SIZE.format("(received + refused + lost) * above")}, 0)), 0)::bigint,
  coalesce(sum({_SIZE.format("lost")}), 0)::bigint
from ledger, int8multirange(int8range(upto + 1, null)) above
"""  # noqa: S608  # our own text

_SAMPLES = """
select count(*) from telemetry t join device d on d.id = t.device_id where d.device_id = any(%s)
"""

_ALARMS = f"""
select count(*), count(*) filter (where {ALARM_IS_OPEN})
from alarm a join device d on d.id = a.device_id where d.device_id = any(%s)
"""  # noqa: S608  # our own text

_BEHIND = """
select count(*) from device d
cross join lateral (select epoch, upto from device_log where device_id = d.id order by number desc limit 1) newest
left join detector_state s on s.device_id = d.id
where d.device_id = any(%s) and (s.epoch is distinct from newest.epoch or s.seq < newest.upto)
"""

_HEARD = """
select count(*) from device_status s join device d on d.id = s.device_id
where d.device_id = any(%s) and s.received_at >= %s
"""

_EVALUATED = """
select count(*) from detector_state s join device d on d.id = s.device_id
where d.device_id = any(%s) and s.evaluated_until >= %s
"""

_STORED_AT = """
select e.epoch, e.seq, e.stored_at from log_entry e join device d on d.id = e.device_id
where d.device_id = %s and e.kind = 'telemetry'
"""


def read_totals(connection: psycopg.Connection[Any], device_ids: Sequence[str]) -> Totals:
    """Count what is stored of these devices."""
    ids = (list(device_ids),)
    with translate():
        duplicate, missing, lost = _one(connection, _LEDGER, ids)
        (samples,) = _one(connection, _SAMPLES, ids)
        raised, still_open = _one(connection, _ALARMS, ids)
    return Totals(samples, duplicate, missing, lost, raised, still_open)


def count_heard(connection: psycopg.Connection[Any], device_ids: Sequence[str], *, since: datetime) -> int:
    """How many of these devices have sent a status since then."""
    with translate():
        (heard,) = _one(connection, _HEARD, (list(device_ids), since))
    return int(heard)


def count_unevaluated(connection: psycopg.Connection[Any], device_ids: Sequence[str]) -> int:
    """How many of these devices have entries that the follower has not reached."""
    with translate():
        (behind,) = _one(connection, _BEHIND, (list(device_ids),))
    return int(behind)


def count_evaluated_until(connection: psycopg.Connection[Any], device_ids: Sequence[str], *, since: datetime) -> int:
    """How many of these devices the follower has evaluated up to that event time."""
    with translate():
        (evaluated,) = _one(connection, _EVALUATED, (list(device_ids), since))
    return int(evaluated)


def stored_at(connection: psycopg.Connection[Any], device_id: str) -> dict[tuple[str, int], datetime]:
    """When each telemetry entry of a device was stored, by epoch and sequence."""
    with translate():
        return {(epoch, seq): at for epoch, seq, at in connection.execute(_STORED_AT, (device_id,))}


def _one(connection: psycopg.Connection[Any], query: str, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return tuple(row)
