"""Rows put straight into the database, as ingest would have left them: for benchmarks that read."""

from datetime import timedelta

from dermafleet.contracts.channels import CHANNELS
from dermafleet.storage.ledger import Connection

EPOCH = "00000000000be9c4"

_NOISE = "sin(12.9898 * k + 78.233 * e.seq + {phase})"
"""No two samples alike, as from a sensor: one that stands still would be found stuck."""
_VALUES = {
    "pump_on": "1",
    "vacuum_inlet_kpa": "30 + 5 * sin(k / 7.0)",
    "motor_current_a": "0.6 + 0.02 * noise",
    "ambient_kpa": "101.3 * exp(-coalesce(site.altitude_m, 0) / 8430) + 0.02 * noise",
    "mains_v": "230 + noise",
    "filter_dp_kpa": "1 + 20 * e.seq / e.most + 0.02 * noise",  # clogs beyond the limit of the demo's model
    "pump_temp_c": "45 + 0.1 * noise",
    "ambient_temp_c": "21 + 0.1 * noise",
    "flow_lpm": "30 + sin(k / 5.0)",
    "vacuum_handpiece_kpa": "28 + 5 * sin(k / 7.0)",
    "exhaust_dp_kpa": "0.3 + 0.01 * noise",
    "crystal_jar_g": "300 + noise",
}
_COLUMNS = [channel.name for channel in CHANNELS[:12]]
_EXPRESSIONS = [_VALUES[name].replace("noise", _NOISE.format(phase=i)) for i, name in enumerate(_COLUMNS)]

_ENTRIES = """
insert into log_entry (device_id, epoch, seq, entry, kind, hash, boot, up, time_source, first_at, last_at, received_at,
                       samples, late)
select d.id, %(epoch)s, seq, nextval('entry_number'), 'telemetry', '', 'bench', seq::bigint * %(block_ms)s, 'device',
       at, at + (%(samples)s - 1) * %(every)s, now(), %(samples)s, false
from device d, generate_series(1, %(entries)s) seq,
     lateral (select now() - (%(entries)s - seq + 1) * %(samples)s * %(every)s as at) starts
where d.device_id = %(device_id)s
"""
_SAMPLES = f"""
insert into telemetry (device_id, event_at, entry, {", ".join(_COLUMNS)})
select e.device_id, e.first_at + k * %(every)s, e.entry, {", ".join(_EXPRESSIONS)}
from (select *, %(entries)s::float as most from log_entry) e join device d on d.id = e.device_id
     left join placement p on p.device_id = d.id and p.to_at is null left join site on site.id = p.site_id
     cross join generate_series(0, %(samples)s - 1) k
where d.device_id = %(device_id)s
"""  # names of our own columns
_LOG = """
insert into device_log (device_id, epoch, number, opened, head, upto, samples)
select id, %(epoch)s, 1, true, %(entries)s, %(entries)s, %(entries)s * %(samples)s::bigint
from device where device_id = %(device_id)s
"""


def add_log(connection: Connection, device_id: str, *, entries: int, samples: int, every: timedelta) -> None:
    """A complete log of a device that ends now: blocks of so many samples, so far apart. The caller commits."""
    given = {
        "epoch": EPOCH,
        "device_id": device_id,
        "entries": entries,
        "samples": samples,
        "every": every,
        "block_ms": samples * every // timedelta(milliseconds=1),
    }
    for statement in (_ENTRIES, _SAMPLES, _LOG):
        connection.execute(statement.encode(), given)
