"""The follower on a backlog: complete logs appear at once in the database, and it reads them to the end.

Every machine's filter clogs on the way, so that detectors work and alarms are raised.
"""

import argparse
import time
from datetime import timedelta

from bench.result import Result, rounded
from bench.rows import add_log
from bench.stack import await_true, running, used
from dermafleet.storage.engine import connect
from dermafleet.storage.totals import count_unevaluated, read_totals

_SAMPLES = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--entries", type=int, default=400, help=f"per device, each of {_SAMPLES} samples at 10 Hz")


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if the follower does not reach the end."""
    with running(options.devices) as stack, connect(stack.database_url, autocommit=True) as connection:
        stack.start_service("alerts")
        with connection.transaction():
            for device_id in stack.device_ids:
                add_log(
                    connection,
                    device_id,
                    entries=options.entries,
                    samples=_SAMPLES,
                    every=timedelta(milliseconds=100),
                )
        before, began = stack.cpu_s(), time.monotonic()
        await_true(
            lambda: not count_unevaluated(connection, stack.device_ids), timeout_s=50, what="all logs are evaluated"
        )
        seconds, cpu_s = time.monotonic() - began, used(before, stack.cpu_s())
        entries = options.devices * options.entries
        return {
            "devices": options.devices,
            "entries": entries,
            "entries_per_s": rounded(entries / seconds),
            "samples_per_s": rounded(entries * _SAMPLES / seconds),
            "alarms_raised": read_totals(connection, stack.device_ids).alarms_raised,
            "cpu_s_per_million_samples": {
                name: rounded(cpu_s[name] * 1e6 / (entries * _SAMPLES)) for name in ("alerts", "postgres")
            },
        }
