"""The threads that drive machines: one samples all of them, a few write to disk. Publishers have their own.

One sampling thread for many machines, because 50 sleeping threads at 10 Hz cost more than the samples.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from device_agent.machine import Machine

log = logging.getLogger(__name__)

_JOIN_S = 5.0


class Runner:
    """Samples and writes for a fixed set of machines, from `start` to `stop`."""

    def __init__(self, machines: Sequence[Machine], *, period_s: float, writers: int = 1) -> None:
        self._machines = machines
        self._period_s = period_s
        self._stopping = threading.Event()
        # Each machine stands in the queue at most once, so its bound is the number of machines.
        self._to_write: queue.SimpleQueue[Machine | None] = queue.SimpleQueue()
        self._queued: set[int] = set()
        self._sampler = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._writers = [
            threading.Thread(target=self._write, name=f"writer-{i}", daemon=True) for i in range(max(1, writers))
        ]
        self.failure: BaseException | None = None

    def start(self) -> None:
        for machine in self._machines:
            machine.start()
        for thread in (*self._writers, self._sampler):
            thread.start()

    def stop(self) -> None:
        """Stop sampling, then write what was sampled. Publishers go on."""
        self._stopping.set()
        self._sampler.join(_JOIN_S)
        for _ in self._writers:
            self._to_write.put(None)
        for thread in self._writers:
            thread.join(_JOIN_S)
        for machine in self._machines:
            machine.finish()

    def _sample(self) -> None:
        """Visit every machine once per period, spread over it, so that neither disk nor network sees bursts."""
        count = max(len(self._machines), 1)
        began = time.monotonic()
        visit = 0
        while not self._stopping.is_set():
            due = began + visit * self._period_s / count
            now = time.monotonic()
            if now < due:
                # Sleep to the next due one, but not for less than 2 ms: each wake-up costs.
                self._stopping.wait(max(due - now, 0.002))
                continue
            if now - due > 1.0:
                began = now - visit * self._period_s / count  # we were asleep: no catching up
            self._visit(self._machines[visit % count], now)
            visit += 1

    def _visit(self, machine: Machine, now: float) -> None:
        try:
            machine.sample(now)
        except Exception as error:
            # A driver must not end the agent, and one machine must not end the others.
            self._report(machine, error)
        if machine.has_waiting and id(machine) not in self._queued:
            self._queued.add(id(machine))
            self._to_write.put(machine)

    def _write(self) -> None:
        while (machine := self._to_write.get()) is not None:
            self._queued.discard(id(machine))
            try:
                machine.write()
            except Exception as error:
                self._report(machine, error)

    def _report(self, machine: Machine, error: BaseException) -> None:
        if type(self.failure) is not type(error):
            log.error("%s: sampling or writing failed", machine.device_id, exc_info=error)
        self.failure = error


def wait_until(condition: Callable[[], bool], stopping: threading.Event, every_s: float = 0.1) -> bool:
    """Wait until the condition holds or we are asked to stop; returns whether it holds."""
    while not stopping.is_set():
        if condition():
            return True
        stopping.wait(every_s)
    return condition()
