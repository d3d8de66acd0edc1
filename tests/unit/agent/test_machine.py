"""A machine puts its samples on disk, waits while the disk cannot take them, and loses none that it read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermafleet.contracts.envelope import Position
from dermafleet.errors import PermanentError, TransientError
from device_agent.clock import Instant
from device_agent.drivers import Sample
from device_agent.machine import Machine
from device_agent.outbox import Outbox
from device_agent.outbox_file import FILE_NAME
from device_agent.publisher import Link
from device_agent.recorder import MAX_WAITING, Cut, Rates, Recorder
from tests.unit.agent.build import MIB, FixedClock, instant, opened, session

_EVERYTHING = 10**9


class CountingDriver:
    """One sample per 100 ms of event time, with its number as value."""

    ended = False

    def __init__(self) -> None:
        self.given = 0

    def read(self, now: Instant) -> Sample | None:
        at = instant(self.given / 10)
        if at.up > now.up:
            return None
        self.given += 1
        return Sample(at, {"filter_dp_kpa": float(self.given)}, self.given / 10)

    def close(self) -> None:
        pass


class Bench:
    """A machine without network, on a clock that the test moves."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.clock, self.driver = FixedClock(), CountingDriver()
        self.outbox: Outbox = opened(folder, budget_bytes=budget_bytes)
        self.confirmed: list[tuple[Position, Cut]] = []
        self.recorder = Recorder(Rates(idle_s=0, flush_s=0.5), None)
        link = Link("D-1", brokers=())
        self.machine = Machine(
            link,
            clock=self.clock,
            driver=self.driver,
            recorder=self.recorder,
            outbox=self.outbox,
            confirmed=self.confirmed.extend,
        )

    def run(self, start: float, seconds: float, *, write: bool = True) -> None:
        for tenth in range(round(start * 10), round((start + seconds) * 10)):
            self.clock.current = instant(tenth / 10)
            self.machine.sample(tenth / 10)
            if write:
                self.machine.write()

    def values_on_disk(self) -> list[float]:
        entries = self.outbox.take(100_000, _EVERYTHING, only_fitting=False)
        blocks = [json.loads(e.raw) for e in entries if e.kind == "telemetry" and b'"ch"' in e.raw]
        return [value for block in blocks for value in block["ch"]["filter_dp_kpa"]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, MIB)
    yield made
    made.outbox.close()


def test_samples_are_on_disk_in_order_before_they_are_confirmed(bench: Bench) -> None:
    bench.run(0, 5)
    bench.machine.finish()
    assert bench.values_on_disk() == [float(n) for n in range(1, 51)]
    assert bench.machine.samples_read == bench.machine.samples_appended == 50
    assert [cut.block.ch["filter_dp_kpa"][0] for _, cut in bench.confirmed][:2] == [1.0, 7.0]
    assert bench.confirmed[0][0] == (bench.outbox.epoch, 2)


def test_while_the_disk_is_behind_sampling_pauses_and_then_nothing_is_missing(bench: Bench) -> None:
    bench.run(0, MAX_WAITING, write=False)
    assert len(bench.recorder.waiting) == MAX_WAITING
    assert bench.driver.given < MAX_WAITING * 10
    while bench.machine.has_waiting:
        bench.machine.write()
    bench.run(MAX_WAITING, 10)
    bench.machine.finish()
    assert bench.values_on_disk() == [float(n) for n in range(1, bench.driver.given + 1)]


def fill(outbox: Outbox) -> list[int]:
    """Fill an outbox up to its last byte with entries in flight, which nothing may evict; returns their ids."""
    ids: list[int] = []
    sizes = [30_000, 3_000, 200, 10]
    while sizes:
        try:
            outbox.append([session(sizes[0])], instant())
        except TransientError:
            sizes.pop(0)
        ids += [e.id for e in outbox.take(1000, _EVERYTHING, only_fitting=False)]
    return ids


def test_a_full_disk_keeps_entries_waiting_until_there_is_room(bench: Bench) -> None:
    stuck = fill(bench.outbox)
    bench.run(0, 1, write=False)
    bench.machine.finish()
    assert bench.machine.has_waiting
    assert bench.confirmed == []
    bench.outbox.settle(stuck, [], instant())
    bench.machine.finish()
    assert not bench.machine.has_waiting
    assert sum(len(cut.taken) for _, cut in bench.confirmed) == 10


def test_a_damaged_outbox_confirms_nothing_and_asks_for_a_new_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 64 * MIB)
    bench.outbox.append([session(3000) for _ in range(1000)], instant())  # more than SQLite keeps in memory
    (tmp_path / FILE_NAME).write_bytes(b"")
    with pytest.raises(PermanentError):
        bench.outbox.take(1000, _EVERYTHING, only_fitting=False)
    bench.run(0, 5)
    bench.machine.finish()
    assert bench.machine.failure is not None
    assert bench.confirmed == []
    bench.outbox.close()
