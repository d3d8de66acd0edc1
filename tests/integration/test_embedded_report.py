"""The demo's seeds, and the report it writes: what it counts, against a database that holds known things."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dermafleet.embedded import fleet
from dermafleet.embedded.report import make_report
from dermafleet.storage import seed
from dermafleet.storage.totals import count_unevaluated

EPOCH = "00000000000000aa"
TAKEN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
DEVICE = "D-0001"


@pytest.fixture
def seeded(database_url: str) -> Any:
    with psycopg.connect(database_url) as connection:
        _seed(connection)
        yield connection


def _seed(connection: psycopg.Connection[Any]) -> None:
    seed.add_sites(connection, (*fleet.SITES, fleet.TEST_HALL))
    seed.add_device_models(connection, fleet.MODELS)
    devices = [*fleet.machines(3, model=fleet.CRYSTAL), fleet.guest()]
    seed.place_devices(connection, devices, from_at=TAKEN - timedelta(days=1))


def test_seeding_twice_changes_nothing(seeded: psycopg.Connection[Any]) -> None:
    def rows() -> list[tuple[Any, ...]]:
        return seeded.execute(
            "select d.device_id, d.state, d.model_id, s.name, s.time_zone, s.altitude_m, o.name, o.kind "
            "from device d join placement p on p.device_id = d.id join site s on s.id = p.site_id "
            "join organization o on o.id = p.organization_id order by 1"
        ).fetchall()

    once = rows()
    _seed(seeded)
    assert rows() == once
    assert len(once) == 4
    assert {row[1] for row in once} == {"active"}
    assert len({row[4] for row in once if row[0] != fleet.GUEST}) == 3  # as many time zones


def test_report_counts_what_is_stored_missing_and_lost(seeded: psycopg.Connection[Any], tmp_path: Path) -> None:
    _log(seeded, head=12, upto=4, received="{[6,7],[9,9]}", lost="{[3,3]}", duplicates=5)
    for seq, delay_ms in ((1, 100), (2, 300)):
        _store(seeded, seq, TAKEN + timedelta(milliseconds=delay_ms))
    _oracle(tmp_path, {1: 2, 2: 2, 8: 1})
    (tmp_path / f"{DEVICE}.done").write_text('{"samples_read": 6, "samples_appended": 5}')
    report = make_report(seeded, [DEVICE, "D-0002"], tmp_path)
    assert (report.samples_read, report.samples_appended, report.samples_stored) == (6, 5, 4)
    assert (report.entries_duplicate, report.entries_missing, report.entries_lost) == (5, 5, 1)
    assert (report.alarms_raised, report.alarms_open) == (0, 0)
    assert (report.latency_ms_p50, report.latency_ms_p99) == (100.0, 300.0)
    assert not report.is_lossless


def test_report_of_nothing_has_no_latency(seeded: psycopg.Connection[Any], tmp_path: Path) -> None:
    report = make_report(seeded, [DEVICE], tmp_path)
    assert report.latency_ms_p50 is None
    assert report.is_lossless


def test_line_torn_by_a_crash_is_not_counted(seeded: psycopg.Connection[Any], tmp_path: Path) -> None:
    _oracle(tmp_path, {1: 2})
    with (tmp_path / f"{DEVICE}.jsonl").open("a") as file:
        file.write('{"epoch": "00')
    assert make_report(seeded, [DEVICE], tmp_path).samples_appended == 2


def test_device_is_evaluated_when_the_follower_has_reached_its_newest_epoch(seeded: psycopg.Connection[Any]) -> None:
    assert count_unevaluated(seeded, [DEVICE]) == 0
    _log(seeded, head=4, upto=4)
    assert count_unevaluated(seeded, [DEVICE]) == 1
    state = (
        "insert into detector_state (device_id, version, epoch, seq) "
        "select id, 1, %s, %s from device where device_id = %s"
    )
    seeded.execute(state, (EPOCH, 3, DEVICE))
    assert count_unevaluated(seeded, [DEVICE]) == 1
    seeded.execute("update detector_state set seq = 4")
    assert count_unevaluated(seeded, [DEVICE]) == 0


def _log(
    connection: psycopg.Connection[Any],
    *,
    head: int,
    upto: int,
    received: str = "{}",
    lost: str = "{}",
    duplicates: int = 0,
) -> None:
    connection.execute(
        "insert into device_log (device_id, epoch, number, head, upto, received, lost, duplicates) "
        "select id, %s, 1, %s, %s, %s, %s, %s from device where device_id = %s",
        (EPOCH, head, upto, received, lost, duplicates, DEVICE),
    )


def _store(connection: psycopg.Connection[Any], seq: int, stored_at: datetime) -> None:
    connection.execute(
        "insert into log_entry (device_id, epoch, seq, entry, kind, hash, boot, up, time_source, first_at, last_at, "
        "received_at, stored_at, samples, late) select id, %s, %s, %s, 'telemetry', '', 'b', 0, 'device', "
        "%s, %s, %s, %s, 2, false from device where device_id = %s",
        (EPOCH, seq, seq, TAKEN, TAKEN, stored_at, stored_at, DEVICE),
    )
    connection.execute(
        "insert into telemetry (device_id, event_at, entry) select id, %s, %s from device, generate_series(1, 2) "
        "where device_id = %s",
        (TAKEN, seq, DEVICE),
    )


def _oracle(folder: Path, samples: dict[int, int]) -> None:
    lines = [
        json.dumps({"epoch": EPOCH, "seq": seq, "t0": 0, "dt": [0], "ch": {}, "taken": [TAKEN.timestamp()] * count})
        for seq, count in samples.items()
    ]
    (folder / f"{DEVICE}.jsonl").write_text("".join(line + "\n" for line in lines))
