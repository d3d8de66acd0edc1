"""A month of machines that were never connected, written into their outboxes; when they go live, the server gets it.

Whoever stops it may run it again: days that are written are not written twice.
"""

import itertools
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from device_agent.machine import Confirmed
from device_agent.outbox_file import FILE_NAME
from device_agent.settings import Settings
from device_agent.simulator.batch import Batch
from device_agent.simulator.clinic import clinic_of
from device_agent.simulator.driver import DEFAULT_MODEL
from device_agent.simulator.faults import Scheduled, parse
from device_agent.simulator.fleet import FleetSpec, MachineSpec
from device_agent.simulator.life import Life, begin
from device_agent.simulator.oracle import Oracle
from device_agent.simulator.past import write_boot, written_until
from device_agent.simulator.plan import Plan
from device_agent.simulator.remains import read_remains, remains_of, write_remains
from device_agent.simulator.stretches import Stretch
from device_agent.simulator.truth import TruthFile

log = logging.getLogger(__name__)

_SESSIONS_PER_DAY = (2, 2)
_SELF_TESTS = 0.5
_BEGINS_AT, _GROWN_AT = 0.4, 0.9
"""Shares of its past between which a machine's ailment grows."""
_FIRST_DAY_FILE = "first_day"
_NICENESS = 10


@dataclass(frozen=True, slots=True)
class _Member:
    """One machine: where its past goes to, and up to when it stands there."""

    spec: MachineSpec
    life: Life
    folder: Path
    until_ms: int
    confirmed: Oracle | None
    truth: TruthFile | None

    def note(self, stretch: Stretch) -> None:
        if self.truth is not None:
            self.truth.note(int(stretch.at_ms[0]), stretch.truth, {"main": round(stretch.filter_index, 3)})

    def close(self) -> None:
        for file in (self.confirmed, self.truth):
            if file is not None:
                file.close()


def write_history(
    spec: FleetSpec, settings: Settings, days: int, *, oracle: Path | None, stopping: threading.Event
) -> bool:
    """Write the days before today of all machines that have no past yet; returns whether it is complete.

    Args:
        days: of the calendar; a machine works on those its clinic is open.
        oracle: as for live machines; files ``{device_id}.past.jsonl``.

    Raises:
        BrokenOutbox: an outbox is damaged.
        TransientError: the disk is full or failing.
    """
    os.nice(_NICENESS)
    today = datetime.now(UTC).date()
    first = _first_day(settings.data_dir, today - timedelta(days=days))
    missing = [each for each in spec.machines if read_remains(settings.data_dir / each.device_id) is None]
    members = {
        member.life.device_id: member for member in (_open(each, settings, first, days, oracle) for each in missing)
    }
    try:
        for boot in _boots(Batch([member.life for member in members.values()]).run(), stopping) if members else ():
            _write(members[boot[0].device_id], boot, spec, settings)
        if stopping.is_set():
            return False
        for member in members.values():
            write_remains(member.folder, remains_of(member.life))
    finally:
        for member in members.values():
            member.close()
    log.info("the past of %d machines is written", len(members))
    return True


def _first_day(data_dir: Path, wanted: date) -> date:
    """The day on which the past begins, the same whenever it is gone on with."""
    file = data_dir / _FIRST_DAY_FILE
    if not file.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted.isoformat())
    return date.fromisoformat(file.read_text())


def _open(machine: MachineSpec, settings: Settings, first: date, days: int, oracle: Path | None) -> _Member:
    weekdays = clinic_of(machine.clinic).weekdays
    opened = sum((first + timedelta(days=number)).weekday() in weekdays for number in range(days))
    folder = settings.data_dir / machine.device_id
    return _Member(
        spec=machine,
        life=begin(_plan(machine, first, opened), machine.seed),
        folder=folder,
        until_ms=written_until(folder / FILE_NAME),
        confirmed=Oracle(oracle, f"{machine.device_id}.past") if oracle else None,
        truth=TruthFile(oracle / "truth", machine.device_id) if oracle else None,
    )


def _plan(machine: MachineSpec, first: date, days: int) -> Plan:
    return Plan(
        model=machine.model or DEFAULT_MODEL,
        profile=machine.profile,
        first_day=first,
        days=days,
        sessions_per_day=_SESSIONS_PER_DAY,
        pump_s=machine.treatment_s,
        clinics=(machine.clinic,),
        self_tests=_SELF_TESTS,
        faults=_ailment(machine, days),
    )


def _ailment(machine: MachineSpec, days: int) -> tuple[Scheduled, ...]:
    """The slow fault of a machine, if it has one."""
    if machine.ailment is None:
        return ()
    code, level, _ = parse(machine.ailment)
    sessions = days * sum(_SESSIONS_PER_DAY) / 2
    onset, grown = round(_BEGINS_AT * sessions), round(_GROWN_AT * sessions)
    return (Scheduled(fault=code, level=level, onset=onset, growing=max(grown - onset, 1)),)


def _boots(stretches: Iterable[Stretch], stopping: threading.Event) -> Iterator[Sequence[Stretch]]:
    """The stretches of one boot of one machine at a time; ends when asked to stop."""
    open_boots: dict[str, list[Stretch]] = {}
    for stretch in itertools.takewhile(lambda _: not stopping.is_set(), stretches):
        boot = open_boots.get(stretch.device_id, [])
        if boot and boot[0].boot != stretch.boot:
            yield boot
            boot = []
        open_boots[stretch.device_id] = [*boot, stretch]
    yield from itertools.takewhile(lambda _: not stopping.is_set(), open_boots.values())


def _write(member: _Member, boot: Sequence[Stretch], spec: FleetSpec, settings: Settings) -> None:
    """Write one boot, unless it stands in the outbox."""
    if int(boot[-1].at_ms[0]) <= member.until_ms:
        return
    device_id = member.spec.device_id
    for stretch in boot:
        member.note(stretch)
    confirmed: Confirmed | None = member.confirmed
    link = settings.link(device_id, spec.mqtt_urls[device_id])
    write_boot(member.folder / FILE_NAME, link, settings, boot, confirmed)
