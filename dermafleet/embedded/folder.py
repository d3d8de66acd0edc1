"""The demo's data folder: held by one demo at a time, with a record of its processes and of how to reach it."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Self

from dermafleet.embedded.files import write_private
from dermafleet.embedded.processes import Process
from dermafleet.errors import PermanentError

_END_S = 5.0


class DemoFolder:
    """A data folder, made 0700 if it is not there; a context manager that holds it.

    Raises (on entry):
        PermanentError: another demo holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode().strip()
            os.close(self._lock)
            raise PermanentError(
                f"a demo already runs in {self.path} (process {holder}): stop it, or choose another --data-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self._end_left_over()
        self.forget()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.forget()
        if self._lock is not None:
            os.close(self._lock)

    @property
    def demo_file(self) -> Path:
        return self.path / "demo.json"

    def record(self, processes: Mapping[str, Process]) -> None:
        """Note the running processes, so that the next demo can tell what this one left if it was killed."""
        known = {name: [process.pid, process.start] for name, process in processes.items()}
        write_private(self._processes_file, json.dumps(known))

    def describe(self, fields: Mapping[str, object]) -> None:
        """Write how to reach the running demo."""
        write_private(self.demo_file, json.dumps(fields, indent=2) + "\n")

    def forget(self) -> None:
        """Remove the description and the record: nothing runs."""
        self.demo_file.unlink(missing_ok=True)
        self._processes_file.unlink(missing_ok=True)

    @property
    def _processes_file(self) -> Path:
        return self.path / "processes.json"

    def _end_left_over(self) -> None:
        """End what a killed demo left running, known by more than its number. Usually it has ended with the demo."""
        try:
            known: dict[str, list[object]] = json.loads(self._processes_file.read_text())
            left = [Process(int(str(pid)), str(start)) for pid, start in known.values()]
        except (OSError, ValueError, TypeError, AttributeError):
            return
        for process in reversed(left):
            process.end(Signals.SIGTERM, timeout_s=_END_S)
