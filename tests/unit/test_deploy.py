"""What is deployed: pinned, non-root, secrets by file, every process watched."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dermafleet import __version__
from dermafleet.mqtt import parse_url
from tests.missing import missing

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"migrate", "seed"}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What `deploy/make_secrets.py` writes."""
    script = tmp_path / "make_secrets.py"
    shutil.copy(ROOT / "deploy" / "make_secrets.py", script)
    runpy.run_path(str(script), run_name="__main__")
    return tmp_path / "secrets"


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_to_a_version(name: str) -> None:
    assert re.search(r":\d+\.\d+\.\d+(-\w+)?$", SERVICES[name]["image"])


def test_our_image_has_our_version_and_its_processes_do_not_run_as_root() -> None:
    assert {s["image"] for s in SERVICES.values() if "build" in s} == {f"dermafleet:{__version__}"}
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOT - {"machines"}))
def test_each_process_that_stays_has_a_health_check(name: str) -> None:
    assert "healthcheck" in SERVICES[name]


@pytest.mark.parametrize("name", ["ingest", "alerts"])
def test_metrics_are_reachable_by_the_other_containers_only(name: str) -> None:
    assert SERVICES[name]["environment"]["DERMAFLEET_METRICS_HOST"] == "0.0.0.0"
    assert "ports" not in SERVICES[name]


def test_no_environment_variable_holds_a_secret() -> None:
    for service in SERVICES.values():
        for variable in service.get("environment", {}):
            assert not re.search("PASSWORD$|URL$|KEY$", variable), variable


def test_every_secret_that_is_mounted_is_made(secrets: Path) -> None:
    made = {file.name for file in secrets.iterdir()}
    assert made == set(COMPOSE["secrets"])
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", ())} <= made
    assert secrets.stat().st_mode & 0o077 == 0


def test_secrets_are_kept_when_they_are_there(secrets: Path) -> None:
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    runpy.run_path(str(secrets.parent / "make_secrets.py"), run_name="__main__")
    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before


def test_secrets_are_kept_when_one_is_missing(secrets: Path) -> None:
    before = (secrets / "database_password").read_bytes()
    (secrets / "machines").unlink()
    with pytest.raises(SystemExit, match="lacks machines"):
        runpy.run_path(str(secrets.parent / "make_secrets.py"), run_name="__main__")
    assert (secrets / "database_password").read_bytes() == before


def test_the_machines_of_the_demo_reach_the_broker_of_the_file(secrets: Path) -> None:
    machines = json.loads((secrets / "machines").read_text())
    for device_id, url in machines["mqtt_urls"].items():
        assert (parse_url(url).username, parse_url(url).host) == (device_id, "broker")
    assert {machine["device_id"] for machine in machines["machines"]} == set(machines["mqtt_urls"])
    assert parse_url((secrets / "mqtt_url").read_text()).username == "ingest"


def test_docker_compose_accepts_the_file(secrets: Path, tmp_path: Path) -> None:
    compose = shutil.which("docker-compose") or missing("docker-compose", "docker-compose")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "deploy").mkdir()
    shutil.move(secrets, tmp_path / "deploy")
    command = [compose, "--profile", "demo", "config", "--services"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(SERVICES)
