"""The demo's own processes as programs: ingest, alerts, API and the simulated machines."""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermafleet.embedded.files import write_private
from dermafleet.embedded.program import Program, Ready, free_port
from dermafleet.errors import SettingError

HOST = "127.0.0.1"
_PYTHON = (sys.executable, "-m")
_DEFAULT_API_PORT = 8000
_PORTS_TRIED = 100
_STOP_S = "2"
"""How long a service may take to stop: all of them together have five seconds."""
_PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Machines:
    """The simulated machines.

    Attributes:
        mqtt_urls: broker and credentials of each device.
        traits: device → its model, seed and what else the file of machines says of it.
        name: of the process, and of the file.
        arguments: verb and options of ``dermafleet-agent``, beyond those for files and folders.
    """

    mqtt_urls: Mapping[str, str]
    traits: Mapping[str, Mapping[str, object]]
    arguments: Sequence[str]
    once: bool
    name: str = "machines"

    def program(self, folder: Path, oracle: Path | None, ready: Ready) -> Program:
        """Write `{name}.json` into the folder, and say what to run on it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        write_private(file, json.dumps(self._document(), indent=1))
        verb, *options = self.arguments
        if oracle is not None:
            oracle.mkdir(mode=0o700, parents=True, exist_ok=True)
            options += ["--oracle", str(oracle)]
        return Program(
            name=self.name,
            argv=(*_PYTHON, "device_agent", verb, "--machines", str(file), "--data-dir", str(folder), *options),
            ready=ready,
            once=self.once,
        )

    def _document(self) -> dict[str, object]:
        machines = [{"device_id": device_id, **self.traits[device_id]} for device_id in self.mqtt_urls]
        return {"mqtt_urls": dict(self.mqtt_urls), "machines": machines}


def service(name: str, environ: Mapping[str, str]) -> Program:
    """``dermafleet ingest`` or ``alerts``: ready when its health port says so."""
    port = free_port()
    return Program(
        name=name,
        argv=(*_PYTHON, "dermafleet", name),
        environ={**environ, "DERMAFLEET_METRICS_PORT": str(port), "DERMAFLEET_STOP_S": _STOP_S},
        ready=lambda: http_problem(f"http://{HOST}:{port}/readyz"),
    )


def api(environ: Mapping[str, str], port: int, api_key: str) -> Program:
    """The API: ready when it takes our key, for another's API may listen where ours was to."""
    url = f"http://{HOST}:{port}"
    return Program(
        name="api",
        argv=(*_PYTHON, "dermafleet", "api"),
        environ={
            **environ,
            "DERMAFLEET_API_HOST": HOST,
            "DERMAFLEET_API_PORT": str(port),
            "DERMAFLEET_STOP_S": _STOP_S,
        },
        ready=lambda: http_problem(f"{url}/readyz") or http_problem(f"{url}/api/v1/me", api_key),
    )


def choose_api_port(wanted: int | None) -> int:
    """The port asked for; else 8000 or the next free one.

    Raises:
        SettingError: the port asked for is taken.
    """
    if wanted == 0:
        return free_port()
    if wanted is not None:
        if not _is_free(wanted):
            raise SettingError(f"--port {wanted} is taken: choose another, or none to get a free one")
        return wanted
    candidates = range(_DEFAULT_API_PORT, _DEFAULT_API_PORT + _PORTS_TRIED)
    return next((port for port in candidates if _is_free(port)), None) or free_port()


def http_problem(url: str, api_key: str | None = None) -> str | None:
    """Why this address does not answer 200; None if it does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"} if api_key else {})  # noqa: S310
    try:
        with opener.open(request, timeout=_PROBE_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read(500).decode(errors="replace").strip() or str(error)
    except OSError as error:
        return str(getattr(error, "reason", error))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
