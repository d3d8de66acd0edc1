"""The past of a machine as its agent would have logged it: stretches in, entries of its outbox out.

Each time the machine was switched on is a start of the agent of its own: the same recorder, the same outbox, with the
clock of then. Only the network is missing, so that everything waits for the server.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dermafleet.contracts.records import Maintenance, Session
from dermafleet.errors import TransientError
from device_agent.clock import Instant
from device_agent.drivers import Operator, Sample
from device_agent.entries import CLOCK_FLOOR
from device_agent.machine import Confirmed, Machine
from device_agent.outbox import open_outbox, open_to_read
from device_agent.publisher import Link
from device_agent.recorder import Recorder
from device_agent.settings import Settings
from device_agent.simulator.stretches import PERIOD_MS, Record, Stretch

_TOLD = ("modality", "tip_type", "tip_size_mm", "abrasive", "screening_outcome")
_DISK_PAUSE_S = 0.2
_PATIENCE_S = 30.0


class PastClock:
    """A clock that stands where it was last put."""

    def __init__(self, now: Instant) -> None:
        self._now = now

    def put(self, now: Instant) -> None:
        self._now = now

    def raise_floor(self, floor_ms: int) -> None:
        """The past is past: no floor."""

    def now(self) -> Instant:
        return self._now


class PastDriver:
    """Gives the samples of stretches one after the other, and moves the clock along."""

    def __init__(self, stretches: Sequence[Stretch], clock: PastClock) -> None:
        self.ended = False
        self._samples = (sample for stretch in stretches for sample in _samples(stretch))
        self._clock = clock

    def read(self, now: Instant) -> Sample | None:
        """The next sample, whatever the clock says; None after the last."""
        sample = next(self._samples, None)
        if sample is None:
            self.ended = True
        else:
            self._clock.put(sample.when)
        return sample

    def close(self) -> None:
        """Nothing is open."""


def write_boot(
    file: Path, link: Link, settings: Settings, stretches: Sequence[Stretch], confirmed: Confirmed | None = None
) -> None:
    """Let a machine live through the stretches of one boot, into its outbox.

    Raises:
        BrokenOutbox: the outbox is damaged.
        TransientError: the disk was full or failing for half a minute.
    """
    clock = PastClock(_instant(stretches[0], 0))
    outbox = open_outbox(file, clock, budget_bytes=settings.outbox_bytes(), keep_acked_ms=settings.keep_acked_ms())
    recorder = Recorder(settings.rates(), settings.session_rules())
    driver = PastDriver(stretches, clock)
    machine = Machine(link, clock=clock, driver=driver, recorder=recorder, outbox=outbox, confirmed=confirmed)
    try:
        machine.resume()
        _live_through(machine)
        machine.finish()
    finally:
        machine.stop(0)


def written_until(file: Path) -> int:
    """Up to when the past stands in an outbox, Unix ms; 0 = there is none."""
    if not file.exists():
        return 0
    outbox = open_to_read(file)
    try:
        return int(outbox.recall(CLOCK_FLOOR) or 0)
    finally:
        outbox.close()


def _live_through(machine: Machine) -> None:
    """Sample and write until the driver has ended and all is on disk."""
    pause, deadline = threading.Event(), time.monotonic() + _PATIENCE_S
    while not machine.ended:
        machine.sample(0.0)
        machine.write()
        if machine.failure is not None:
            raise machine.failure
        if machine.has_waiting:
            pause.wait(_DISK_PAUSE_S)
        else:
            deadline = time.monotonic() + _PATIENCE_S
        if time.monotonic() > deadline:
            raise TransientError(f"{machine.device_id}: its past could not be written, the disk fails")


def _samples(stretch: Stretch) -> Iterator[Sample]:
    """The samples of a stretch; with the first one and the last one what the operator tells."""
    names = tuple(stretch.channels)
    rows = zip(*(column.tolist() for column in stretch.channels.values()), strict=True)
    last = len(stretch.at_ms) - 1
    for number, row in enumerate(rows):
        told = None
        if number == 0:
            told = _told_before([record for _, record in stretch.records])
        elif number == last:
            told = Operator(button="end")
        values = {name: None if value != value else value for name, value in zip(names, row, strict=True)}
        yield Sample(_instant(stretch, number), values, time.time(), told)


def _told_before(records: Sequence[Record]) -> Operator:
    """What the operator tells at the beginning: what was done to the machine, what is fitted, and what for."""
    begun = next((each for each in records if isinstance(each, Session)), None)
    done = tuple(
        msgspec.convert({name: each.data[name] for name in ("type", "component")}, Maintenance)
        for each in records
        if not isinstance(each, Session)
    )
    if begun is None:
        return Operator(maintenance=done)
    if begun.purpose != "treatment":
        return Operator(button="start", purpose=begun.purpose, maintenance=done)
    return Operator(maintenance=done, **{name: getattr(begun, name) for name in _TOLD})


def _instant(stretch: Stretch, number: int) -> Instant:
    passed = number * PERIOD_MS
    return Instant(int(stretch.at_ms[0]) + passed, stretch.up_ms + passed, stretch.boot, "synced")
