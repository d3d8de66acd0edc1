"""The API as a process: its address, its end, and the dashboard's files."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from dermafleet.errors import SettingError
from services.api.dashboard import Dashboard
from services.api.main import bind
from tests.builders import Builder
from tests.waiting import until

STOP_S = 3


@contextmanager
def open_process(database_url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running API process and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"DATABASE_URL": database_url, "API_PORT": str(port), "STOP_S": str(STOP_S)}
    environ = {**os.environ, **{f"DERMAFLEET_{name}": value for name, value in settings.items()}}
    process = subprocess.Popen(
        [sys.executable, "-m", "dermafleet", "api"], env=environ, stderr=subprocess.PIPE, text=True
    )
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(is_ready, what="the API is ready")
        yield process, url
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_stops_in_time_with_a_stream_open(database_url: str, number: signal.Signals) -> None:
    with psycopg.connect(database_url) as connection:
        build = Builder(connection)
        build.user()
        headers = {"Authorization": f"Bearer {build.key()}"}
    with (
        open_process(database_url) as (process, url),
        httpx.Client(headers=headers, timeout=30) as client,
        client.stream("GET", f"{url}/api/v1/stream") as answer,
    ):
        chunks = answer.iter_text()
        assert "retry:" in next(chunks)
        process.send_signal(number)
        began = time.monotonic()
        for _ in chunks:  # until the server ends the stream
            pass
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - began < STOP_S + 5  # the machine may be busy


def test_taken_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingError, match=f"DERMAFLEET_API_PORT: port {port} is taken on 127.0.0.1"):
            bind("127.0.0.1", port)


def test_host_that_is_not_ours_is_told_in_one_line() -> None:
    with pytest.raises(SettingError, match=r"DERMAFLEET_API_PORT: cannot listen on 192\.0\.2\.1"):
        bind("192.0.2.1", 0)


async def test_dashboard_is_served_with_its_pages_and_cached_by_name(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-4f2a.js").write_text("1")
    app = Starlette(routes=[Mount("/", Dashboard(tmp_path))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as browser:
        for path in ("/", "/index.html", "/devices/D-1", "/alarms"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.text) == (200, "<!doctype html>")
            assert answer.headers["Cache-Control"] == "no-cache"
        script = await browser.get("/assets/index-4f2a.js")
        assert "immutable" in script.headers["Cache-Control"]
        for path in ("/assets/gone.js", "/favicon.ico", "/../secret.txt", "/api/v1/gone"):
            assert (await browser.get(path)).status_code == 404


async def test_dashboard_that_is_not_built_says_how(tmp_path: Path) -> None:
    app = Starlette(routes=[Mount("/", Dashboard(tmp_path / "static"))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as browser:
        answer = await browser.get("/")
    assert (answer.status_code, "npm run build" in answer.text) == (503, True)
