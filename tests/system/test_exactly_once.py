"""Every sample that an outbox confirmed is stored once, with the same values, whatever is killed and how often.

The reference is the file that each simulated machine writes itself after its outbox has committed.
"""

import random
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from tests.running_demo import RunningDemo
from tests.waiting import until

DEVICES = 20
SEED = 20
ROUNDS: tuple[tuple[str, ...], ...] = (
    ("ingest",),
    ("broker",),
    ("postgres",),
    ("machines",),
    ("broker", "ingest"),
    ("postgres", "ingest"),
    ("postgres", "broker", "ingest", "machines"),
    ("machines", "broker"),
    ("ingest", "alerts"),
    ("postgres", "broker", "ingest", "machines", "alerts", "api"),
)
PROGRESS = 400
"""Samples confirmed between two rounds: the machines must have published in between, not just restarted."""
DEADLINE_S = 120.0


class Line(msgspec.Struct):
    """What a machine noted of one telemetry entry that was safe on its disk."""

    epoch: str
    seq: int
    dt: list[int]
    ch: dict[str, list[float | None]]


Key = tuple[str, str, int]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    folder = tmp_path_factory.mktemp("chaos")
    report = ("--report", str(folder / "report.json"))
    with RunningDemo(
        folder / "data", "--devices", str(DEVICES), "--history", "0", "--seed", str(SEED), *report
    ) as demo:
        yield demo


def test_killing_everything_in_turn_and_together_loses_and_doubles_nothing(demo: RunningDemo) -> None:
    chance = random.Random(SEED)
    oracle = demo.data_dir / "measured" / "oracle"
    for names in ROUNDS:
        confirmed = _confirmed_samples(oracle)
        until(lambda at=confirmed: _confirmed_samples(oracle) > at + PROGRESS, deadline_s=DEADLINE_S, what=f"{names}")  # type: ignore[misc]
        children = demo.children()
        for name in chance.sample(names, len(names)):
            if name in children:  # else it is between two lives already
                children[name].end(signal.SIGKILL, timeout_s=5)
        until(lambda: len(demo.children()) == 6, deadline_s=DEADLINE_S, what=f"restart after {names}")
    confirmed_lines = dict(_lines(oracle))
    assert len({key[0] for key in confirmed_lines}) == DEVICES
    until(lambda: not _unstored(demo, confirmed_lines), deadline_s=DEADLINE_S, what="entries not stored")
    _assert_same_values(demo, confirmed_lines)
    _assert_nothing_twice(demo)


def _lines(oracle: Path) -> Iterator[tuple[Key, Line]]:
    decoder = msgspec.json.Decoder(Line)
    for file in sorted(oracle.glob("*.jsonl")):
        for raw in file.read_bytes().split(b"\n"):
            try:
                line = decoder.decode(raw)
            except msgspec.DecodeError:
                continue  # torn by a kill, so never noted
            yield (file.stem, line.epoch, line.seq), line


def _confirmed_samples(oracle: Path) -> int:
    return sum(len(line.dt) for _, line in _lines(oracle))


def _unstored(demo: RunningDemo, confirmed: dict[Key, Line]) -> list[Key]:
    rows = _query(demo, "select d.device_id, l.epoch, l.seq from log_entry l join device d on d.id = l.device_id")
    return sorted(confirmed.keys() - set(rows))[:5]


def _assert_same_values(demo: RunningDemo, confirmed: dict[Key, Line]) -> None:
    names = list(CHANNEL_BY_NAME)
    rows = _query(
        demo,
        f"""
        select d.device_id, l.epoch, l.seq,
               (1000 * extract(epoch from t.event_at - l.first_at))::int8, {", ".join(f"t.{name}" for name in names)}
        from telemetry t join log_entry l using (device_id, entry) join device d on d.id = t.device_id
        order by 1, 2, 3, t.event_at, t.ctid
        """,
    )
    stored: dict[Key, list[tuple[Any, ...]]] = {}
    for device_id, epoch, seq, *sample in rows:
        stored.setdefault((device_id, epoch, seq), []).append((sample[0], *map(_float32, sample[1:])))
    for key, line in confirmed.items():
        expected = [
            (offset - line.dt[0], *(_float32(line.ch[name][i]) if name in line.ch else None for name in names))
            for i, offset in enumerate(line.dt)
        ]
        assert stored[key] == expected, key


def _assert_nothing_twice(demo: RunningDemo) -> None:
    """Each entry has as many samples as it says, and no sample stands beside the entries."""
    assert (
        _query(
            demo,
            """
            select l.entry, l.samples, s.count from (select entry, samples from log_entry where samples > 0) l
            full join (select entry, count(*) from telemetry group by entry) s using (entry)
            where l.samples is distinct from s.count
            """,
        )
        == []
    )
    assert _query(demo, "select count(*) from log_entry where late") == [(0,)]
    assert _query(demo, "select count(*) from device_log where lost <> '{}' or refused <> '{}'") == [(0,)]


def _float32(value: float | None) -> float | None:
    return None if value is None else struct.unpack("<f", struct.pack("<f", value))[0]


def _query(demo: RunningDemo, statement: str) -> list[tuple[Any, ...]]:
    """Rows as one snapshot sees them; each statement is one."""
    with psycopg.connect(demo.reachable_database()) as connection:
        return connection.execute(statement).fetchall()
