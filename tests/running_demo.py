"""A demo as the user starts it, for system and browser tests."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg

from dermafleet.embedded.processes import Process
from tests.waiting import until

START_S = 90
DATABASE_S = 60
STOP_S = 5.0


class RunningDemo:
    """``dermafleet demo`` with a data folder and a free port; a context manager: it greets inside, and is gone after.

    Attributes:
        info: what `demo.json` says, read again by `read_info` after restarts.
    """

    def __init__(self, data_dir: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.environ = environ or {}
        self.arguments = arguments
        self.info: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._log = data_dir.with_name(data_dir.name + ".log")

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "dermafleet", "demo", "--data-dir", str(self.data_dir), "--port", "0"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environ},
                start_new_session=True,
            )
        self._await_greeting()
        self.read_info()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def read_info(self) -> dict[str, Any]:
        self.info = json.loads((self.data_dir / "demo.json").read_text())
        return self.info

    def children(self) -> dict[str, Process]:
        """Its processes by name, as `demo.json` names them now."""
        found = {name: Process.find(pid) for name, pid in self.read_info()["pids"].items()}
        return {name: process for name, process in found.items() if process is not None}

    def reachable_database(self) -> str:
        """The database's URL, once it answers: its server may be the one that was killed, or recover from it."""
        url: str = self.info["database_url"]

        def answers() -> bool:
            try:
                psycopg.connect(url, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        until(answers, deadline_s=DATABASE_S, what="the database's answer")
        return url

    def api(self) -> httpx.Client:
        """A client with the demo's API key; paths start with ``/``, below ``/api/v1``."""
        return httpx.Client(
            base_url=self.info["api_url"] + "/api/v1",
            headers={"Authorization": f"Bearer {self.info['api_key']}"},
            trust_env=False,
        )

    @property
    def log(self) -> str:
        """What it and its processes wrote to the terminal."""
        return self._log.read_text(errors="replace")

    def _await_greeting(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        deadline, said = time.monotonic() + START_S, b""
        while b"Ctrl-C stops everything." not in said:
            readable, _, _ = select.select([self.process.stdout], [], [], max(deadline - time.monotonic(), 0))
            part = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not part:
                self.__exit__(None, None, None)
                raise AssertionError(f"the demo did not start: {said.decode()}\n{self.log}")
            said += part
