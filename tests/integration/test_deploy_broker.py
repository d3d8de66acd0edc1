"""The broker configuration of docker-compose.yml, loaded by the real Mosquitto with freshly made secrets."""

import json
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dermafleet.contracts.topics import Topics
from dermafleet.embedded.broker import connection_problem
from dermafleet.embedded.program import Child, Program, free_port
from tests.integration.test_embedded_broker import END, MINE, OTHER, Connect, connections
from tests.missing import missing

DEPLOY = Path(__file__).parents[2] / "deploy"
TOPICS = Topics()


@dataclass(frozen=True)
class Deployed:
    urls: dict[str, str]

    def url(self, username: str) -> str:
        return self.urls[username]


@pytest.fixture(scope="module")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    folder = tmp_path_factory.mktemp("deployed")
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin") or missing("mosquitto", "mosquitto")
    shutil.copy(DEPLOY / "make_secrets.py", folder)
    runpy.run_path(str(folder / "make_secrets.py"), run_name="__main__")
    ports = {"1883": free_port(), "1884": free_port()}
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    for inside, outside in (
        ("/run/secrets", str(folder / "secrets")),
        ("/mosquitto/config", str(DEPLOY / "mosquitto")),
        *((f"listener {port}", f"listener {free} 127.0.0.1") for port, free in ports.items()),
    ):
        assert inside in text
        text = text.replace(inside, outside)
    (folder / "mosquitto.conf").write_text(f"user root\n{text}")
    devices = json.loads((folder / "secrets" / "machines").read_text())["mqtt_urls"]
    urls = {**devices, "ingest": (folder / "secrets" / "mqtt_url").read_text()}
    for port, free in ports.items():
        urls = {name: url.replace(f"@broker:{port}", f"@127.0.0.1:{free}") for name, url in urls.items()}
    program = Program(
        name="mosquitto",
        argv=(binary, "-c", str(folder / "mosquitto.conf")),
        ready=lambda: connection_problem(urls["ingest"]),
    )
    with Child(program, folder / "log"), connections(Deployed(urls)) as connect:
        yield connect


def test_ingest_hears_a_device_and_answers_it_alone(connect: Connect) -> None:
    ingest = connect("ingest", *TOPICS.ingest_filters(), qos=0)
    device, other = connect(MINE, TOPICS.all_down(MINE)), connect(OTHER, TOPICS.all_down(OTHER), TOPICS.all_down(MINE))
    device.publish(TOPICS.up(MINE, "telemetry"), END)
    ingest.wait_for(END)
    ingest.publish(TOPICS.down(MINE, "ack"), b"to mine")
    device.wait_for(b"to mine")
    ingest.publish(TOPICS.down(OTHER, "ack"), b"to other")
    other.wait_for(b"to other")
    assert other.payloads == [b"to other"]


def test_a_device_cannot_speak_for_another(connect: Connect) -> None:
    ingest, device = connect("ingest", *TOPICS.ingest_filters(), qos=0), connect(MINE)
    device.publish(TOPICS.up(OTHER, "telemetry"), b"forged")
    device.publish(TOPICS.status(OTHER), b"forged", qos=1)
    device.publish(TOPICS.up(MINE, "telemetry"), END)
    ingest.wait_for(END)
    assert b"forged" not in ingest.payloads
