"""Processes known by more than their number, which the system gives to others later."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine.

    Attributes:
        start: what tells it from a later process with the same number: boot and clock ticks since then; opaque.
    """

    pid: int
    start: str

    @classmethod
    def find(cls, pid: int) -> Self | None:
        """The living process with that number; None if there is none, or if it is a zombie."""
        start = _start_of(pid)
        return None if start is None else cls(pid, start)

    def is_alive(self) -> bool:
        return _start_of(self.pid) == self.start

    def works_in(self, folder: Path) -> bool:
        """Whether this is its working directory, as the data folder is of a PostgreSQL server."""
        try:
            return Path(f"/proc/{self.pid}/cwd").samefile(folder)
        except OSError:
            return False

    def end(self, number: signal.Signals, *, timeout_s: float) -> None:
        """Ask it to end and, when time is up, kill it; returns when it is gone. Harmless when it is gone already."""
        with self._held() as handle:
            for each in (number, signal.SIGKILL):
                if handle is None or _has_ended(handle, 0):
                    return
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, each)
                _has_ended(handle, timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; False if it still runs when time is up."""
        with self._held() as handle:
            return handle is None or _has_ended(handle, timeout_s)

    @contextlib.contextmanager
    def _held(self) -> Iterator[int | None]:
        """A handle of this very process, or None if it is gone. While it is held, the number means no other."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            yield None
            return
        try:
            yield handle if self.is_alive() else None
        finally:
            os.close(handle)


def _has_ended(handle: int, timeout_s: float) -> bool:
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    return bool(ended.poll(timeout_s * 1000))


def _start_of(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{ticks}"
