"""Runs the demo's processes: started in order, each when the one before is ready, restarted with back-off, stopped in
reverse order. They die with this process, however it ends (`Program.command`).
"""

import asyncio
import contextlib
import random
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dermafleet.embedded.output import Output
from dermafleet.embedded.processes import Process
from dermafleet.embedded.program import Program
from dermafleet.errors import PermanentError

_PROBE_S = 0.05
_PATIENCE_S = 10.0
"""After this long a start that is not ready yet is mentioned."""
_START_S = 120.0
_FIRST_DELAY_S = 0.25
_MAX_DELAY_S = 15.0
_STEADY_S = 20.0
"""A process that ran this long was well; its next restart is quick again."""
_SHORTEST_STOP_S = 0.3
_POLITE_PART = 0.75
"""Part of its time that a program has after the first signal, before the next."""
_LAST_WORDS_S = 1.0
"""How long the output of a dead process is read: its own children may hold the other end."""


@dataclass(slots=True, eq=False)
class _Running:
    program: Program
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    task: asyncio.Task[int] | None = None


class Supervisor:
    """Runs programs; lives in the event loop of the main thread.

    Args:
        on_change: told the processes by name, each as last started, whenever one was started.
    """

    def __init__(self, output: Output, on_change: Callable[[Mapping[str, Process]], None]) -> None:
        self._output = output
        self._on_change = on_change
        self._running: list[_Running] = []
        self._processes: dict[str, Process] = {}

    async def start(self, program: Program) -> None:
        """Start a program and return when it is ready; it is kept running from then on.

        Raises:
            PermanentError: it ended before it was ready; the message has the end of its log, and where to read on.
        """
        running = _Running(program)
        self._running.append(running)
        running.task = asyncio.create_task(self._keep(running), name=program.name)
        ready = asyncio.create_task(running.ready.wait())
        try:
            await asyncio.wait({ready, running.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not running.ready.is_set():
            running.task.result()

    async def wait(self, name: str) -> int:
        """Wait until a program that runs once (`Program.once`) has done its work; returns its exit status."""
        task = next(each.task for each in self._running if each.program.name == name)
        assert task is not None
        return await asyncio.shield(task)

    async def stop(self, within_s: float) -> None:
        """End all, the last started first. Each may take half of the time that is left, the last one all of it."""
        deadline = _now() + within_s
        while self._running:
            running = self._running.pop()
            left_s = (deadline - _now()) / (2 if self._running else 1)
            await self._stop_one(running, max(left_s, _SHORTEST_STOP_S))

    async def stop_program(self, name: str, within_s: float) -> None:
        """End one program for good."""
        for running in [each for each in self._running if each.program.name == name]:
            await self._stop_one(running, within_s)
            self._running.remove(running)

    async def _stop_one(self, running: _Running, within_s: float) -> None:
        running.stopping = True
        process, task, signals = running.process, running.task, running.program.stop_signals
        if task is None:
            return
        if process is None:  # between two lives
            task.cancel()
        for each in signals if process else ():
            assert process is not None
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(each)
            patience_s = within_s * (_POLITE_PART if each == signals[0] else 1 - _POLITE_PART)
            await asyncio.wait({task}, timeout=None if each == signal.SIGKILL else patience_s)
            if task.done():
                break
        await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, running: _Running) -> int:
        """Run a program until it is stopped, or ended for good; returns its last exit status."""
        program, delay_s = running.program, _FIRST_DELAY_S
        while True:
            started = _now()
            status = await self._live(running)
            if running.stopping or (program.once and status == 0):
                return status
            if not running.ready.is_set():
                raise PermanentError(f"{program.name} did not start: {self._output.last_words(program.name)}")
            if _now() - started > _STEADY_S:
                delay_s = _FIRST_DELAY_S
            wait_s = random.uniform(delay_s / 2, delay_s)  # noqa: S311  # jitter
            self._output.say(program.name, f"ended ({_describe(status)}); starts again in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)
            delay_s = min(2 * delay_s, _MAX_DELAY_S)

    async def _live(self, running: _Running) -> int:
        """One life of a program, from its start to its exit status."""
        program = running.program
        await asyncio.to_thread(program.prepare)
        if running.stopping:
            return 0
        process = await asyncio.create_subprocess_exec(
            *program.command,
            env=program.full_environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
        )
        running.process = process
        assert process.stdout is not None
        copying = asyncio.create_task(self._output.copy(program.name, process.stdout))
        self._note_started(program.name, process.pid)
        probing = asyncio.create_task(self._probe(running))
        try:
            status = await process.wait()
            await asyncio.wait({copying}, timeout=_LAST_WORDS_S)
        finally:
            probing.cancel()
            copying.cancel()
            running.process = None
        return status

    async def _probe(self, running: _Running) -> None:
        program, again = running.program, running.ready.is_set()
        patience, deadline = _now() + _PATIENCE_S, _now() + _START_S
        while (reason := await asyncio.to_thread(program.ready)) is not None:
            if _now() > deadline:
                self._output.say(program.name, f"is not ready after {_START_S:.0f} s: {reason}")
                assert running.process is not None
                running.process.kill()
                return
            if _now() > patience:
                self._output.say(program.name, f"is not ready yet: {reason}")
                patience = _now() + _PATIENCE_S
            await asyncio.sleep(_PROBE_S)
        running.ready.set()
        if again:
            self._output.say(program.name, "is back")

    def _note_started(self, name: str, pid: int) -> None:
        process = Process.find(pid)
        if process is not None:
            self._processes[name] = process
            self._on_change(dict(self._processes))


def _describe(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def _now() -> float:
    return asyncio.get_running_loop().time()
