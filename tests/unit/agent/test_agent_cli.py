"""What a person sees, and what the agent costs to load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from device_agent.cli import main
from device_agent.local import LocalServer, ask
from tests.unit.agent.build import instant, opened, telemetry


def test_status_and_outbox_of_a_stopped_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry()], instant())
    outbox.close()
    main(["status", "--json", "--data-dir", str(tmp_path)])
    status = json.loads(capsys.readouterr().out)
    assert (status["running"], status["head"], status["backlog"]["entries"]) == (False, [outbox.epoch, 2], 2)
    main(["outbox", "ls", "--json", "--data-dir", str(tmp_path)])
    listed = json.loads(capsys.readouterr().out)
    assert listed["total"] == 2
    assert [entry["kind"] for entry in listed["entries"]] == ["event", "telemetry"]
    main(["outbox", "ls", "--data-dir", str(tmp_path)])
    assert f"{outbox.epoch}        2 telemetry" in capsys.readouterr().out
    main(["status", "--data-dir", str(tmp_path)])
    assert "agent         not running" in capsys.readouterr().out


def test_sample_shows_values_with_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sample"])
    assert "kPa" in capsys.readouterr().out
    main(["sample", "--json"])
    assert "vacuum_inlet_kpa" in json.loads(capsys.readouterr().out)["values"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run"], "mqtt_url"),
        (["run", "--mqtt-url", "mqtt://h", "--device-id", "a b"], "device_id"),
        (["sample", "--rate-hz", "x"], "--rate-hz"),
        (["status", "--data-dir", "/nowhere"], "data_dir: /nowhere/outbox.db: there is no outbox yet"),
        (["simulate", "--machines", "/nowhere"], "--machines: /nowhere"),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_status_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"dermafleet-agent: {line}")
    assert error.count("\n") == 1


def test_the_running_agent_answers_on_its_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    server = LocalServer(folder, {"status": lambda _: b'{"running":true}', "tell": str.encode})
    assert ask(folder, "status") == b'{"running":true}'
    assert ask(folder, "tell " + "x" * 5000 + " y") == b"x" * 5000 + b" y"
    assert ask(folder, "nonsense") == b'{"error":"unknown question"}'
    assert (folder / "agent.sock").stat().st_mode & 0o777 == 0o600
    server.close()
    assert ask(folder, "status") is None


def test_hours_are_imported_while_the_agent_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(tmp_path).close()
    folder = ["--data-dir", str(tmp_path)]
    main(["counters", "--json", *folder])
    assert json.loads(capsys.readouterr().out) is None
    (tmp_path / "hours.json").write_text('{"pump_s": 1260000}')
    main(["counters", "--json", "--import", str(tmp_path / "hours.json"), *folder])
    assert json.loads(capsys.readouterr().out)["pump_s"] == 1_260_000
    running = opened(tmp_path)
    with pytest.raises(SystemExit):
        main(["counters", "--import", str(tmp_path / "hours.json"), *folder])
    assert "in use by another agent" in capsys.readouterr().err
    running.close()


def test_nobody_is_told_where_no_agent_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tell", "purpose=cleaning", "--data-dir", str(tmp_path)])
    assert "no agent runs here" in capsys.readouterr().err


def test_the_agent_loads_nothing_of_the_server() -> None:
    heavy = {"numpy", "pydantic", "sqlalchemy", "fastapi", "structlog", "typer", "psycopg", "device_agent.simulator"}
    code = f"import sys, device_agent.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
