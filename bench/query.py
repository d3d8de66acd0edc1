"""What a browser asks for when someone opens a device: each page many times, one after the other, over HTTP.

One device has a month of samples a minute, another a day at 10 Hz.
"""

import argparse
import time
from datetime import timedelta

from bench.result import Result, percentiles
from bench.rows import add_log
from bench.stack import get, running
from dermafleet.storage.engine import connect

_BLOCK = 20
_SLOWEST_S = 3.0
"""Of one page: then the next has its turn, however few times this one was asked for."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--days", type=int, default=30, help="at a sample a minute")
    parser.add_argument("--hours", type=float, default=24.0, help="at 10 Hz")


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if the API does not start."""
    with running(50) as stack:
        month, day = stack.device_ids[:2]
        with connect(stack.database_url) as connection:
            minutes, tenths = options.days * 1440, int(options.hours * 36_000)
            add_log(connection, month, entries=minutes // _BLOCK, samples=_BLOCK, every=timedelta(minutes=1))
            add_log(connection, day, entries=tenths // _BLOCK, samples=_BLOCK, every=timedelta(milliseconds=100))
            connection.commit()
        with connect(stack.database_url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
        url, key = stack.start_api()
        pages = {
            "devices": "/devices?limit=50",
            "device": f"/devices/{day}",
            "telemetry_15min_10hz": f"/devices/{day}/telemetry?from=-15m",
            "telemetry_24h_10hz": f"/devices/{day}/telemetry?from=-24h",
            "telemetry_24h_1min": f"/devices/{month}/telemetry?from=-24h",
            "telemetry_30d_1min": f"/devices/{month}/telemetry?from=-30d",
            "telemetry_30d_1min_2_channels": f"/devices/{month}/telemetry?from=-30d&channels=flow_lpm,filter_dp_kpa",
            "sessions": f"/devices/{day}/sessions",
            "alarms": f"/devices/{day}/alarms",
        }
        return {name: _time(url + path, key, options.repeats) for name, path in pages.items()}


def _time(url: str, key: str, repeats: int) -> dict[str, float]:
    get(url, key)
    taken: list[float] = []
    while len(taken) < repeats and sum(taken) < _SLOWEST_S * 1000:
        began = time.monotonic()
        get(url, key)
        taken.append((time.monotonic() - began) * 1000)
    return percentiles(taken, "ms")
