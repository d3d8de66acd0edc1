"""The follower on a backlog: complete logs appear at once in the database, and it reads them to the end.

Every machine's filter clogs on the way, so that detectors work and alarms are raised. One machine's log comes before
the others': once it is judged, the process has started.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import timedelta

from bench.result import Result, rounded
from bench.rows import add_log
from bench.stack import await_true, running, used
from dermafleet.storage.engine import connect
from dermafleet.storage.ledger import Connection
from dermafleet.storage.totals import count_unevaluated, read_totals

_SAMPLES = 20
_FIRST_ENTRIES = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--entries", type=int, default=400, help=f"per device, each of {_SAMPLES} samples at 10 Hz")


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if the follower does not reach the end."""
    with running(options.devices + 1) as stack, connect(stack.database_url, autocommit=True) as connection:
        first, *others = stack.device_ids
        stack.start_service("alerts")
        _add_logs(connection, [first], _FIRST_ENTRIES)
        await_true(lambda: not count_unevaluated(connection, [first]), timeout_s=50, what="the first log is evaluated")
        _add_logs(connection, others, options.entries)
        before, began = stack.cpu_s(), time.monotonic()
        await_true(lambda: not count_unevaluated(connection, others), timeout_s=50, what="all logs are evaluated")
        seconds, cpu_s = time.monotonic() - began, used(before, stack.cpu_s())
        entries = options.devices * options.entries
        return {
            "devices": options.devices,
            "entries": entries,
            "entries_per_s": rounded(entries / seconds),
            "samples_per_s": rounded(entries * _SAMPLES / seconds),
            "alarms_raised": read_totals(connection, others).alarms_raised,
            "cpu_s_per_million_samples": {
                name: rounded(cpu_s[name] * 1e6 / (entries * _SAMPLES)) for name in ("alerts", "postgres")
            },
        }


def _add_logs(connection: Connection, device_ids: Sequence[str], entries: int) -> None:
    """All at once."""
    with connection.transaction():
        for device_id in device_ids:
            add_log(connection, device_id, entries=entries, samples=_SAMPLES, every=timedelta(milliseconds=100))
