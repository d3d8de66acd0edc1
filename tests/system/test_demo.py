"""``./fleet demo`` as a user meets it: three machines, in a folder with a space."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from dermafleet.embedded.broker import connection_problem
from dermafleet.embedded.postgres import Cluster, ensure_database
from tests.running_demo import STOP_S, RunningDemo
from tests.servers import Mosquitto
from tests.waiting import until

NAMES = {"postgres", "broker", "ingest", "alerts", "api", "machines"}
DEADLINE_S = 60.0
RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "air_filter_bench"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    with RunningDemo(tmp_path_factory.mktemp("demo with space") / "data", "--devices", "3") as demo:
        yield demo


def test_demo_json_tells_how_to_reach_everything_and_is_private(demo: RunningDemo) -> None:
    info = demo.read_info()
    assert set(info) == {"api_url", "email", "password", "api_key", "mqtt_url", "database_url", "pids"}
    assert set(info["pids"]) == NAMES
    assert (demo.data_dir / "demo.json").stat().st_mode & 0o777 == 0o600
    assert demo.data_dir.stat().st_mode & 0o777 == 0o700
    assert urlsplit(info["mqtt_url"]).username == "GUEST-1"
    assert connection_problem(info["mqtt_url"]) is None
    with psycopg.connect(info["database_url"]) as connection:
        assert connection.execute("select count(*) from site").fetchone() == (4,)


def test_printed_user_can_log_in(demo: RunningDemo) -> None:
    body = {"email": demo.info["email"], "password": demo.info["password"]}
    with httpx.Client(base_url=demo.info["api_url"] + "/api/v1", trust_env=False) as client:
        headers = {"X-Requested-With": "dermafleet"}
        assert client.post("/login", json=body, headers=headers).json()["email"] == demo.info["email"]
        assert client.get("/me").status_code == 200


def test_samples_of_every_machine_arrive(demo: RunningDemo) -> None:
    with demo.api() as api:
        for device_id in ("D-0001", "D-0002", "D-0003"):
            path = f"/devices/{device_id}/completeness"
            until(lambda path=path: api.get(path).json()["samples_stored"] > 0, deadline_s=DEADLINE_S)  # type: ignore[misc]
        assert api.get("/fleet/summary").json()["devices"] == 4


@pytest.mark.parametrize("name", sorted(NAMES))
def test_killed_process_is_replaced_and_samples_go_on(demo: RunningDemo, name: str) -> None:
    old = demo.children()[name]
    old.end(signal.SIGKILL, timeout_s=STOP_S)
    until(lambda: demo.read_info()["pids"][name] != old.pid, deadline_s=DEADLINE_S)
    with psycopg.connect(demo.reachable_database(), autocommit=True) as connection:
        count = "select count(*) from telemetry"
        before = connection.execute(count).fetchone()
        assert before is not None
        until(lambda: (connection.execute(count).fetchone() or (0,))[0] > before[0], deadline_s=DEADLINE_S, what=name)


def test_second_demo_in_the_same_folder_is_refused_in_one_line(demo: RunningDemo) -> None:
    second = _demo_command(demo.data_dir)
    assert second.returncode == 1
    assert second.stderr.startswith("dermafleet: a demo already runs in ")
    assert second.stderr.count("\n") == 1


def test_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = _demo_command(tmp_path / "data", "--port", str(port))
    assert refused.returncode == 2
    assert f"--port {port} is taken" in refused.stderr


def test_ctrl_c_and_a_kill_leave_no_process_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    path = "/devices/D-0001/completeness"
    with RunningDemo(tmp_path / "data", "--devices", "1") as demo:
        with demo.api() as api:
            until(lambda: api.get(path).json()["samples_stored"], deadline_s=DEADLINE_S)
        children, process = demo.children(), demo.process
        assert process is not None
        assert set(children) == NAMES
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(2 * STOP_S) == 0
        assert time.monotonic() - started < STOP_S
        assert [name for name, child in children.items() if child.is_alive()] == []
        assert not (demo.data_dir / "demo.json").exists()
    with RunningDemo(tmp_path / "data", "--devices", "1") as again:
        with again.api() as api:
            assert api.get(path).json()["samples_stored"] > 0
        children = again.children()
        assert again.process is not None
        again.process.kill()
        assert [name for name, child in children.items() if not child.wait(DEADLINE_S)] == []


def test_run_for_some_seconds_ends_with_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = _demo_command(tmp_path / "data", "--port", "0", "--devices", "2", "--for", "8", "--report", str(report))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["samples_stored"] > 0
    assert (found["entries_lost"], found["entries_missing"]) == (0, 0)
    assert found["latency_ms_p50"] < 5000


def test_replay_of_recorded_filters_loses_nothing_and_raises_each_alarm_once(tmp_path: Path) -> None:
    if not RECORDINGS.is_dir():
        pytest.skip("the recordings are not beside this checkout")
    report = tmp_path / "report.json"
    arguments = ("--replay", str(RECORDINGS), "--devices", "2", "--speed", "180000", "--for", "60")
    done = _demo_command(tmp_path / "data", "--port", "0", *arguments, "--report", str(report))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["samples_read"] == found["samples_appended"] == found["samples_stored"] == 4132
    assert (found["entries_lost"], found["entries_missing"]) == (0, 0)
    assert (found["alarms_raised"], found["alarms_open"]) == (2, 2)


def test_history_comes_through_the_outbox_once(tmp_path: Path) -> None:
    arguments = ("--devices", "2", "--history", "3")  # at least one of three days is no holiday of the clinic's
    past = tmp_path / "data" / "machines" / "D-0002" / "past.json"
    with RunningDemo(tmp_path / "data", *arguments) as demo:
        until(past.exists, deadline_s=DEADLINE_S)
        until(lambda: "machines-2" in demo.read_info()["pids"], deadline_s=DEADLINE_S)
        with psycopg.connect(demo.info["database_url"], autocommit=True) as connection:
            until(lambda: _of_the_past(connection) > 0 and _is_live(connection), deadline_s=DEADLINE_S)
            before = _of_the_past(connection)
    with RunningDemo(tmp_path / "data", *arguments) as again:
        assert set(again.info["pids"]) == NAMES
        with psycopg.connect(again.info["database_url"], autocommit=True) as connection:
            assert _of_the_past(connection) == before


def test_demo_on_servers_of_others_starts_none_of_its_own(
    tmp_path: Path, postgres15: Cluster, mosquitto: Mosquitto
) -> None:
    ensure_database(postgres15, "demo")
    environ = {"DERMAFLEET_DATABASE_URL": postgres15.url("demo"), "DERMAFLEET_MQTT_URL": mosquitto.url("spy")}
    with RunningDemo(tmp_path / "data", "--devices", "1", environ=environ) as demo, demo.api() as api:
        assert set(demo.info["pids"]) == NAMES - {"postgres", "broker"}
        assert demo.info["database_url"] == postgres15.url("demo")
        until(lambda: api.get("/devices/D-0001/completeness").json()["samples_stored"], deadline_s=DEADLINE_S)


def _of_the_past(connection: psycopg.Connection[tuple[int]]) -> int:
    """How many samples are stored of yesterday and before."""
    return _count(connection, "select count(*) from telemetry where event_at < now() - interval '3 hours'")


def _is_live(connection: psycopg.Connection[tuple[int]]) -> bool:
    """The second machine's present is stored, which stands behind its past."""
    recent = "select count(*) from telemetry t join device d on d.id = t.device_id"
    recent += " where d.device_id = 'D-0002' and event_at > now() - interval '1 hour'"
    return _count(connection, recent) > 0


def _count(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    (found,) = connection.execute(query.encode()).fetchone() or (0,)
    return found


def _demo_command(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dermafleet", "demo", "--data-dir", str(data_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
