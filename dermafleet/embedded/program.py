"""A program to be run as a child: what it is, how to tell that it is ready, how to start and stop it from plain code.

`Child` is for tests and scripts; the demo's processes are run by `dermafleet.embedded.supervisor`.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import IO, Self

from dermafleet.errors import PermanentError

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_HOST = "127.0.0.1"

Ready = Callable[[], str | None]
"""Why a program does not do its work yet, in words; None when it does."""


def _nothing() -> None:
    pass


def _at_once() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run.

    Attributes:
        argv: absolute path of the program, then its arguments.
        ready: asked until it has no reason left. May block for two seconds.
        prepare: called before each start; clears what a killed predecessor left.
        environ: added to our own environment.
        stop_signals: sent one after the other, each when the one before did not end it in time.
        death_signal: what the program gets when our process dies.
        ordinary_user: do not run as root, even if we are root.
        once: it ends by itself, and is not started again when it ends with status 0.
    """

    name: str
    argv: tuple[str, ...]
    ready: Ready = _at_once
    prepare: Callable[[], None] = _nothing
    environ: Mapping[str, str] = field(default_factory=dict)
    stop_signals: tuple[Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    death_signal: Signals = signal.SIGKILL
    ordinary_user: bool = False
    once: bool = False

    @property
    def command(self) -> list[str]:
        """The argument vector that starts it as a child of this process, and ends it with this process.

        The death signal follows the *thread* that starts the child: start children from the main thread.
        """
        user = "ordinary" if self.ordinary_user and os.geteuid() == 0 else "same"
        shim = [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(int(self.death_signal)), user]
        return [*shim, *self.argv]

    @property
    def full_environ(self) -> dict[str, str]:
        return {**os.environ, **self.environ}


class Child:
    """A program running as our child, its output going to a file. A context manager: ready inside, ended after."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, timeout_s: float = 60) -> None:
        """Start and wait until ready.

        Raises:
            PermanentError: it ended, or was not ready in time; the message has the end of its log.
        """
        self.program.prepare()
        with self.log.open("ab") as log:
            self._process = _spawn(self.program, log)
        deadline = time.monotonic() + timeout_s
        while (reason := self.program.ready()) is not None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                self.stop()
                raise PermanentError(f"{self.program.name} did not start: {reason}\n{tail}")
            time.sleep(0.02)

    def stop(self, timeout_s: float = 5) -> None:
        """End it; harmless when it has ended."""
        if self._process is None:
            return
        for number in self.program.stop_signals:
            self._process.send_signal(number)
            try:
                self._process.wait(timeout_s)
                return
            except subprocess.TimeoutExpired:
                continue

    def kill(self) -> None:
        """End it without warning, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def reload(self) -> None:
        """Have it read its configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)


def free_port() -> int:
    """A TCP port that is free on the loopback address now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _spawn(program: Program, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # no shell, and the caller chooses the program
        program.command,
        env=program.full_environ,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
