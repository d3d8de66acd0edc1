"""From the sample to the screen: how old a sample is when its row is in the database, and when a stream shows it.

The machines are simulated, all else is real: outbox with fsync, broker, ingest, API. They cut a block every half
second, as in the demo; a sample waits for that first.
"""

import argparse
import http.client
import json
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from bench.result import Result, percentiles, rounded
from bench.stack import Stack, await_true, running, used
from dermafleet.storage.engine import connect

_STREAMS = 10
_WARM_UP_S = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if a process does not start or nothing arrives."""
    with running(options.devices) as stack:
        server = stack.start_broker()
        stack.start_ingest(server)
        stack.start_service("alerts")
        url, key = stack.start_api()
        stack.start_machines(server, ready=lambda: None)
        streams = [_Stream(url, key, device_id) for device_id in stack.device_ids[:_STREAMS]]
        await_true(lambda: any(stream.ages_ms for stream in streams), timeout_s=30, what="a sample is shown")
        time.sleep(_WARM_UP_S)
        before, since = stack.cpu_s(), time.time()
        time.sleep(options.seconds)
        cpu_s, until = used(before, stack.cpu_s()), time.time()
        shown = [age for stream in streams for at, age in list(stream.ages_ms) if since <= at <= until]
        stored = _stored_ages(stack, since)
        return {
            "devices": options.devices,
            "samples_per_s": rounded(len(stored) / (until - since)),
            "taken_to_stored": percentiles(stored, "ms"),
            "taken_to_stream": percentiles(shown, "ms"),
            "streams": len(streams),
            "cpu_percent": {name: rounded(100 * each / (until - since)) for name, each in cpu_s.items()},
        }


class _Stream:
    """Follows one device's stream in a thread, and notes the age of every sample when it comes."""

    def __init__(self, url: str, key: str, device_id: str) -> None:
        self.ages_ms: list[tuple[float, float]] = []
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        path = f"{parts.path}/stream?device_id={device_id}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        self._answer = connection.getresponse()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        event = b""
        try:
            while line := self._answer.readline():
                name, _, value = line.strip().partition(b": ")
                if name == b"event":
                    event = value
                elif name == b"data" and event == b"telemetry":
                    now = time.time()
                    self.ages_ms += [(now, now * 1000 - at) for at in json.loads(value)["t"]]
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            return  # the API has ended


def _stored_ages(stack: Stack, since: float) -> Sequence[float]:
    """How old each sample was when its entry was written, ms; the commit follows within the same batch."""
    with connect(stack.database_url) as connection:
        rows = connection.execute(
            """
            select extract(epoch from e.stored_at - t.event_at)::float * 1000
            from telemetry t join log_entry e on e.device_id = t.device_id and e.entry = t.entry
            where e.stored_at >= to_timestamp(%s)
            """,
            [since],
        )
        return [age for (age,) in rows]
