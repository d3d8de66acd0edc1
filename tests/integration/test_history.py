"""The past of simulated machines: what their agent would have logged, written into their outboxes."""

import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from device_agent.outbox_file import FILE_NAME
from device_agent.settings import Settings
from device_agent.simulator import history, past
from device_agent.simulator.driver import live
from device_agent.simulator.fleet import FleetSpec, MachineSpec
from device_agent.simulator.history import write_history
from device_agent.simulator.remains import read_remains

DAYS = 2
"""One of them at least is no Sunday."""
RIGHT = MachineSpec(device_id="D-1", seed=1, clinic="hamburg", treatment_s=20.0)
WRONG = MachineSpec(device_id="D-2", seed=2, clinic="hamburg", treatment_s=20.0, ailment="leak_dirty_side=1.0")
SPEC = FleetSpec(
    mqtt_urls={"D-1": "mqtt://u:p@127.0.0.1:1", "D-2": "mqtt://u:p@127.0.0.1:1"},
    machines=[RIGHT, WRONG],
)


@pytest.fixture(autouse=True)
def as_nice_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.nice", lambda by: by)


def write(folder: Path, stopping: threading.Event | None = None) -> bool:
    settings = Settings(data_dir=folder, outbox_mb=32)
    return write_history(SPEC, settings, DAYS, oracle=folder / "oracle", stopping=stopping or threading.Event())


def entries(folder: Path, device_id: str = "D-1") -> list[tuple[str, dict[str, Any]]]:
    connection = sqlite3.connect(folder / device_id / FILE_NAME)
    found = connection.execute("select kind, raw from entry order by id").fetchall()
    connection.close()
    return [(kind, json.loads(raw)) for kind, raw in found]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.nice", lambda by: by)
        assert write(folder)
    return folder


def test_each_day_is_a_boot_and_an_epoch_before_today(written: Path) -> None:
    log = entries(written)
    opened = [entry for kind, entry in log if kind == "event" and entry["type"] == "opened"]
    boots = {entry["boot"] for kind, entry in log if kind == "telemetry"}
    assert len(opened) == len(boots) >= 1
    times = [float(entry["t0"] if kind == "telemetry" else entry["at"]) for kind, entry in log]
    today_ms = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000
    assert all((today_ms - (DAYS + 1) * 86_400_000) < at < today_ms for at in times)


def test_sessions_are_those_that_the_agent_finds(written: Path) -> None:
    ended = [entry for kind, entry in entries(written) if kind == "session" and entry["op"] == "end"]
    treatments = [each for each in ended if each.get("purpose", "treatment") == "treatment"]
    assert len(treatments) >= 2
    assert {each["outcome"] for each in ended} == {"completed"}
    assert all(each["strokes"] > 0 and each["vacuum_p50_kpa"] > 5 and each["tip_type"] for each in treatments)
    assert all(5 < each["pump_s"] < 23 for each in treatments)
    sessions = [each["counters"]["sessions"] for each in ended]
    assert sessions == list(range(1, len(ended) + 1))


def test_every_sample_is_confirmed(written: Path) -> None:
    lines = (written / "oracle" / "D-1.past.jsonl").read_text().splitlines()
    stored = [entry for kind, entry in entries(written) if kind == "telemetry"]
    assert sum(len(json.loads(line)["taken"]) for line in lines) == sum(len(entry["dt"]) for entry in stored) > 0


def test_a_second_run_writes_nothing_again(written: Path) -> None:
    before = entries(written)
    assert write(written)
    assert entries(written) == before


def test_who_was_stopped_goes_on_where_it_was(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, real, boots = threading.Event(), past.write_boot, []

    def stop_after_one(*arguments: Any) -> None:
        real(*arguments)
        boots.append(arguments)
        stopping.set()

    monkeypatch.setattr(history, "write_boot", stop_after_one)
    assert not write(tmp_path, stopping)
    assert read_remains(tmp_path / "D-1") is None
    monkeypatch.setattr(history, "write_boot", real)
    assert write(tmp_path)
    assert len(boots) == 1
    for device_id in ("D-1", "D-2"):
        again = [entry["t0"] for kind, entry in entries(tmp_path, device_id) if kind == "telemetry"]
        assert again == [entry["t0"] for kind, entry in entries(written, device_id) if kind == "telemetry"]


def test_a_machine_goes_live_as_its_past_has_left_it(written: Path) -> None:
    remains, before = read_remains(written / "D-2"), live(2)
    assert remains is not None
    life = live(2)
    remains.apply(life)
    assert [(each.fault, each.level_at(0)) for each in life.schedule] == [("leak_dirty_side", 1.0)]
    assert life.circuits[0].hours > before.circuits[0].hours
    assert life.circuits[0].dust_load == pytest.approx(remains.circuits[0].dust)
    assert life.jar_g != before.jar_g


def test_the_past_begins_on_the_same_day_however_often_it_is_gone_on_with(tmp_path: Path) -> None:
    wanted = datetime.now(UTC).date() - timedelta(days=9)
    assert history._first_day(tmp_path, wanted) == wanted
    assert history._first_day(tmp_path, wanted + timedelta(days=1)) == wanted
