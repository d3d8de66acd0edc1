"""The report at the end of a demo: what the machines took, what is stored, how long it took.

The machines' own files are the oracle: per device `{device_id}.jsonl`, one line per entry that is safe on its disk,
with the wall clock of each sample; `{device_id}.past.jsonl` likewise for what it did before it was connected, which has
no latency; and `{device_id}.done` when a replay has ended.
"""

import json
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from dermafleet.storage.totals import Totals, read_totals, stored_at


class _Line(msgspec.Struct):
    epoch: str
    seq: int
    taken: list[float]


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of samples, log entries and alarms. Latency: sample taken → its entry stored; None without samples."""

    samples_read: int
    samples_appended: int
    samples_stored: int
    entries_duplicate: int
    entries_missing: int
    entries_lost: int
    alarms_raised: int
    alarms_open: int
    latency_ms_p50: float | None
    latency_ms_p99: float | None

    @property
    def is_lossless(self) -> bool:
        return self.entries_lost == 0 and self.samples_stored >= self.samples_appended

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def make_report(connection: psycopg.Connection[Any], device_ids: Sequence[str], oracle: Path) -> Report:
    """Compare what is stored of these devices with what their files say."""
    totals: Totals = read_totals(connection, device_ids)
    appended, latencies = 0, array("d")
    for device_id in device_ids:
        stored = stored_at(connection, device_id)
        appended += sum(len(line.taken) for line in _lines(oracle / f"{device_id}.past.jsonl"))
        for line in _lines(oracle / f"{device_id}.jsonl"):
            appended += len(line.taken)
            if at := stored.get((line.epoch, line.seq)):
                latencies.extend((at.timestamp() - taken) * 1000 for taken in line.taken)
    latencies = array("d", sorted(latencies))
    return Report(
        samples_read=_samples_read(device_ids, oracle) or appended,
        samples_appended=appended,
        latency_ms_p50=_percentile(latencies, 0.50),
        latency_ms_p99=_percentile(latencies, 0.99),
        **asdict(totals),
    )


def _samples_read(device_ids: Sequence[str], oracle: Path) -> int:
    """What the ended replays say they have read; 0 if none has ended."""
    files = [oracle / f"{device_id}.done" for device_id in device_ids]
    return sum(int(json.loads(file.read_text())["samples_read"]) for file in files if file.exists())


def _lines(file: Path) -> Iterator[_Line]:
    """The entries in an oracle file; a line torn by a crash counts as not confirmed."""
    if not file.exists():
        return
    decoder = msgspec.json.Decoder(_Line)
    with file.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def _percentile(values: "array[float]", part: float) -> float | None:
    """The smallest value that at least this part of the sorted values does not exceed."""
    return round(values[max(math.ceil(part * len(values)) - 1, 0)], 1) if values else None
