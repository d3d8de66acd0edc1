import json
import subprocess
import sys
from pathlib import Path

import pytest

from dermafleet import cli, doctor
from dermafleet.settings import Settings

VERBS = [
    *("ingest", "alerts", "api", "demo", "doctor", "api-schema"),
    *("db upgrade", "db current", "db wait", "user add"),
    *("device list", "device add", "device approve", "device suspend"),
    *("quarantine list", "quarantine drop"),
    *("rule list", "rule show", "rule add", "rule activate", "rule retire", "rule backtest"),
    *("detector list", "detector shadow", "detector activate", "detector end", "detector report"),
]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE_URL", "MQTT_URL", "API_PORT"):
        monkeypatch.delenv(f"DERMAFLEET_{variable}", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """The exit code of ``dermafleet ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["dermafleet", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *verb.split(), "--help") == 0
    assert "Usage: " in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["db current", "db upgrade", "db wait", "device list --json"])
def test_a_missing_setting_ends_with_one_line_that_names_it(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *verb.split()) == 2

    error = capsys.readouterr().err
    assert error.startswith("dermafleet: DERMAFLEET_DATABASE_URL is not set")
    assert error.count("\n") == 1


@pytest.mark.parametrize("process", ["ingest", "alerts", "api", "doctor"])
def test_a_wrong_setting_ends_every_process_with_code_2(
    process: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DERMAFLEET_API_PORT", "http")

    assert run(monkeypatch, process) == 2
    assert capsys.readouterr().err.startswith("dermafleet: DERMAFLEET_API_PORT: ")


def test_an_unreachable_database_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DERMAFLEET_DATABASE_URL", "postgresql://user:hidden@127.0.0.1:1/db")

    assert run(monkeypatch, "device", "list") == 1

    error = capsys.readouterr().err
    assert error.startswith("dermafleet: database: ")
    assert "hidden" not in error
    assert error.count("\n") == 1


def test_an_unknown_verb_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "tickle") == 2


def test_the_command_line_loads_no_service_and_no_driver_before_a_verb_needs_it() -> None:
    program = "import sys, dermafleet.cli; print('\\n'.join(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    unwanted = (
        "services",
        "device_agent",
        "sqlalchemy",
        "psycopg",
        "alembic",
        "fastapi",
        "numpy",
        "dermafleet.storage",
    )
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "dermafleet", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout.count(".") == 2


def test_doctor_prints_findings_for_programs_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = doctor.Finding("missing", "broker", "not installed", "set DERMAFLEET_MQTT_URL")
    monkeypatch.setattr(doctor, "examine", lambda _settings: [finding])

    assert run(monkeypatch, "doctor", "--json") == 1
    assert json.loads(capsys.readouterr().out) == [
        {"grade": "missing", "subject": "broker", "found": "not installed", "remedy": "set DERMAFLEET_MQTT_URL"}
    ]


def test_doctor_grades_an_optional_gap_as_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = doctor.Finding("note", "for all tests", "not here: chromium", "apt install chromium")
    monkeypatch.setattr(doctor, "examine", lambda _settings: [finding])

    assert run(monkeypatch, "doctor") == 0
    assert capsys.readouterr().out == "note    for all tests: not here: chromium  ->  apt install chromium\n"


def test_doctor_tries_the_database_and_the_brokers_that_are_set() -> None:
    settings = Settings.load(
        {
            "DERMAFLEET_DATABASE_URL": "postgresql://user:hidden@127.0.0.1:1/db",
            "DERMAFLEET_MQTT_URL": "mqtt://user:hidden@127.0.0.1:1,http://127.0.0.1",
        }
    )

    findings = doctor.examine(settings)

    missing = [finding for finding in findings if finding.grade == "missing"]
    assert [finding.subject for finding in missing] == [
        "DERMAFLEET_DATABASE_URL",
        "DERMAFLEET_MQTT_URL",
        "DERMAFLEET_MQTT_URL",
    ]
    assert all(finding.remedy for finding in missing)
    assert "hidden" not in str(findings)


def test_doctor_gives_a_remedy_for_whatever_is_not_well() -> None:
    findings = doctor.examine(Settings.load({}))

    assert {"python", "user", "disk", "ports"} <= {finding.subject for finding in findings}
    assert [finding for finding in findings if finding.grade != "ok" and not finding.remedy] == []


def test_a_stale_api_description_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "openapi.json"
    stale.write_text("{}\n")

    assert run(monkeypatch, "api-schema", "--check", str(stale)) == 1
