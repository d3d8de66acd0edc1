"""The agent as a process: killed and restarted, stopped, replaying, simulating."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from device_agent import local, telling
from device_agent.drivers import Operator
from tests.integration.played_server import Reachable, Server
from tests.waiting import until

DEVICE = "D-0029"
QUICK = ["--flush-s", "0.2", "--ack-timeout-s", "0.5", "--reconnect-max-s", "0.3"]


@contextmanager
def agent(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "device_agent", *arguments], env=os.environ | {"PYTHONPATH": "."})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run(url: str, folder: Path) -> list[str]:
    return ["run", "--device-id", DEVICE, "--mqtt-url", url, "--data-dir", str(folder), "--seed", "3", *QUICK]


def entries(server: Server, kind: str) -> list[dict[str, Any]]:
    """Decoded entries of one kind in log order, without repeats."""
    unique = {(header.epoch, header.seq): raw for header, raw in server.arrived}
    documents = [json.loads(raw) for raw in unique.values()]
    field = {"telemetry": "ch", "session": "op", "event": "type"}[kind]
    return [document for document in documents if field in document]


def test_killed_agent_ends_its_session_at_the_next_start(broker: Reachable, tmp_path: Path) -> None:
    server = Server(broker.url("ingest"), DEVICE)
    with agent(*run(broker.url(DEVICE), tmp_path)) as process:
        until(lambda: len(entries(server, "telemetry")) >= 3)
        assert local.ask(tmp_path, telling.question(Operator(button="start", tip_size_mm=5))) == b'{"told":true}'
        begun = until(lambda: next(iter(entries(server, "session")), None))
        assert begun is not None
        until(lambda: entries(server, "telemetry")[-1]["t0"] > begun["at"])
        process.send_signal(signal.SIGKILL)
    with agent(*run(broker.url(DEVICE), tmp_path)) as process:
        end = until(lambda: next((s for s in entries(server, "session") if s["op"] == "end"), None))
        assert end is not None
        assert (end["outcome"], end["tip_size_mm"]) == ("power_loss", 5)
        start = next(s for s in entries(server, "session") if s["op"] == "start" and s["session"] == end["session"])
        assert end["at"] > start["at"]
        assert end["counters"]["sessions"] == start["counters"]["sessions"] + 1
        opened = [e["data"]["previous"] for e in entries(server, "event") if e["type"] == "opened"]
        assert opened[0] is None
        assert opened[1][0] == server.arrived[0][0].epoch
        status = until(lambda: _status(tmp_path, connected=True))
        assert (status["device_id"], status["server"]) == (DEVICE, "server-1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert local.ask(tmp_path, "status") is None
    until(lambda: not server.statuses[-1].online)
    server.close()


def test_without_a_broker_the_agent_records_and_stops_at_once(tmp_path: Path) -> None:
    with agent(*run("mqtt://nobody:x@127.0.0.1:1", tmp_path)) as process:
        until(lambda: _status(tmp_path, entries=4))
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_replay_ends_when_everything_is_acknowledged(broker: Reachable, tmp_path: Path) -> None:
    devices = ["D-0027", "D-0028"]
    rows = [f"{unit},{n / 10:.1f},{n * unit},81,0\n" for unit in (1, 2) for n in range(100)]
    (tmp_path / "runs.csv").write_text("unit,t_s,dp_pa,flow,rul_s\n" + "".join(rows))
    with ExitStack() as stack:
        servers = [Server(broker.url("ingest"), device) for device in devices]
        for server in servers:
            stack.callback(server.close)
        replay = ["replay", "--input", str(tmp_path), "--speed", "18000"]
        process = stack.enter_context(agent(*replay, *_fleet(tmp_path, broker, devices)))
        assert process.wait(30) == 0
    for unit, server in enumerate(servers, start=1):
        done = json.loads((tmp_path / "oracle" / f"{server.device_id}.done").read_text())
        assert done == {"samples_read": 100, "samples_appended": 100}
        assert _samples(entries(server, "telemetry")) == _samples(_oracle(tmp_path, server.device_id))
        values = [v for entry in entries(server, "telemetry") for v in entry["ch"]["filter_dp_kpa"]]
        assert values == [n * unit * 0.001 for n in range(100)]
        assert entries(server, "session") == []


def test_killed_simulation_loses_nothing_that_it_confirmed(broker: Reachable, tmp_path: Path) -> None:
    devices = ["D-0024", "D-0025", "D-0026"]
    with ExitStack() as stack:
        servers = [Server(broker.url("ingest"), device) for device in devices]
        for server in servers:
            stack.callback(server.close)
        simulate = ["simulate", *_fleet(tmp_path, broker, devices)]
        for _ in range(2):
            before = sum(len(server.arrived) for server in servers)
            with agent(*simulate):
                until(lambda before=before: sum(len(s.arrived) for s in servers) > before + 20)  # type: ignore[misc]
        with agent(*simulate, "--stop-after", "1") as process:
            assert process.wait(30) == 0
    for server in servers:
        stored = {(h.epoch, h.seq): json.loads(raw) for h, raw in server.arrived}
        for line in _oracle(tmp_path, server.device_id):
            entry = stored[line["epoch"], line["seq"]]
            assert (entry["t0"], entry["dt"], entry["ch"]) == (line["t0"], line["dt"], line["ch"])


def _status(folder: Path, *, connected: bool = False, entries: int = 0) -> dict[str, Any]:
    answer = local.ask(folder, "status")
    status: dict[str, Any] = json.loads(answer) if answer else {}
    is_so = status and (status["connected"] or not connected) and status["backlog"]["entries"] >= entries
    return status if is_so else {}


def _fleet(folder: Path, broker: Reachable, devices: list[str]) -> list[str]:
    file = folder / "machines.json"
    spec = {
        "mqtt_urls": {device: broker.url(device) for device in devices},
        "machines": [{"device_id": device, "seed": n} for n, device in enumerate(devices)],
    }
    file.write_text(json.dumps(spec))
    folders = ["--data-dir", str(folder / "data"), "--oracle", str(folder / "oracle")]
    return ["--machines", str(file), *folders, "--flush-s", "0.2", "--ack-timeout-s", "0.5"]


def _oracle(folder: Path, device: str) -> list[dict[str, Any]]:
    lines = (folder / "oracle" / f"{device}.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _samples(blocks: list[dict[str, Any]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for block in blocks:
        for offset, value in zip(block["dt"], block["ch"]["filter_dp_kpa"], strict=True):
            found[block["t0"] + offset].append(value)
    return found
