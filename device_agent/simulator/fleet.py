"""Many machines in one process: simulated ones, or recorded runs replayed, each with its own outbox and connection."""

import itertools
import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dermafleet.contracts.channels import Profile
from dermafleet.errors import SettingError
from device_agent.clock import Clock, SystemClock, WarpedClock, wall_ms
from device_agent.drivers import Driver
from device_agent.drivers.recording import Run, load_runs
from device_agent.drivers.replay import ReplayDriver
from device_agent.machine import Machine
from device_agent.outbox import open_outbox
from device_agent.outbox_file import FILE_NAME
from device_agent.recorder import Rates, Recorder
from device_agent.runner import Runner, wait_until
from device_agent.settings import Settings
from device_agent.simulator.clocks import ClockFault, FaultyClock
from device_agent.simulator.driver import DEFAULT_MODEL, TREATMENT_S, HallDriver, begin_fault, live
from device_agent.simulator.hall import Guest, Hall
from device_agent.simulator.oracle import Oracle
from device_agent.simulator.reach import Reach, is_loss
from device_agent.simulator.remains import read_remains
from device_agent.simulator.truth import TruthFile

log = logging.getLogger(__name__)

_WRITERS = 4
_OPENERS = 16
_FILES_PER_MACHINE = 12
_REPLAY_PERIOD_S = 0.05
_STOP_S = 2.0
_LAST_WORDS_S = 1.0

DEFAULTS = {
    "flush_s": 0.5,
    "session_off_s": 60.0,
    "ack_timeout_s": 3.0,
    "silence_s": 20.0,
    "hold_s": 5.0,
    "reconnect_max_s": 3.0,
}
"""Simulated machines are near their server, and someone is waiting: shorter times than a machine in a clinic has."""


class MachineSpec(msgspec.Struct, frozen=True):
    """One machine of the fleet.

    Attributes:
        fault: as in `faults.parse`; a clogging filter without a level grows over ``clog_s`` seconds of pump time.
        clock: what is wrong with its wall clock.
        treatment_s: pump time of a treatment.
        ailment: as ``fault``, but slow: it grows over the past that is written before the machine goes live, and stays.
    """

    device_id: str
    model: str = ""
    profile: Profile | None = None
    clinic: str = "zurich"
    seed: int = 1
    fault: str | None = None
    clog_s: float = 90.0
    clock: ClockFault | None = None
    treatment_s: float = TREATMENT_S
    ailment: str | None = None

    def wrongs(self, more: Iterable[str] = ()) -> tuple[str, ...]:
        """What goes wrong while it is live, its network included."""
        return (*([self.fault] if self.fault else []), *more)


class FleetSpec(msgspec.Struct, frozen=True):
    """The file of machines, with the URL by which each reaches its broker."""

    mqtt_urls: dict[str, str]
    machines: list[MachineSpec]


@dataclass(frozen=True, slots=True)
class Simulation:
    """How simulated machines run: ``history_s`` of event time first, ``speed`` times as fast, then as time goes by.

    Attributes:
        model: of all machines, instead of what the file says.
        faults: of every machine, besides what the file says; as in `faults.parse`.
    """

    history_s: float = 0.0
    speed: float = 60.0
    stop_after_s: float | None = None
    model: str | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """How recorded runs are replayed: seconds of event time per recorded second, and per second of wall time."""

    source: Path
    speed: float
    seconds_per_second: float = 3600.0
    mapping: Path | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    machine: Machine
    oracle: Oracle | None


def read_machines(file: Path) -> FleetSpec:
    """Read the file of machines.

    Raises:
        SettingError: it cannot be read, or a machine has no URL; the message names it.
    """
    try:
        spec = msgspec.json.decode(file.read_bytes(), type=FleetSpec)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingError(f"--machines: {file}: {error}") from error
    for machine in spec.machines:
        if machine.device_id not in spec.mqtt_urls:
            raise SettingError(f"--machines: {file}: mqtt_urls has no entry for {machine.device_id}")
    return spec


def simulate(
    spec: FleetSpec, settings: Settings, plan: Simulation, *, oracle: Path | None, stopping: threading.Event
) -> None:
    """Run simulated machines until asked to stop, or for ``stop_after_s`` and until all is acknowledged."""
    clock: Clock = SystemClock()
    if plan.history_s > 0:
        clock = WarpedClock(start_at=wall_ms() - round(plan.history_s * 1000), speed=plan.speed)
    drivers = _drivers(spec, settings, plan, oracle)
    members = _build(spec, settings, clock, drivers, oracle, sessions=True, faults=plan.faults)
    deadline = time.monotonic() + plan.stop_after_s if plan.stop_after_s is not None else None
    _run(
        members,
        period_s=1 / settings.rate_hz,
        is_over=lambda: deadline is not None and time.monotonic() >= deadline,
        stopping=stopping,
    )


def _drivers(spec: FleetSpec, settings: Settings, plan: Simulation, oracle: Path | None) -> list[Driver]:
    """One hall with all machines, and the driver of each; what is wrong is written beside the oracle."""
    hall = Hall([_guest(machine, plan, settings.data_dir / machine.device_id) for machine in spec.machines])
    return [
        HallDriver(
            hall,
            number,
            rate_hz=settings.rate_hz,
            truth=TruthFile(oracle / "truth", machine.device_id) if oracle else None,
        )
        for number, machine in enumerate(spec.machines)
    ]


def _guest(machine: MachineSpec, plan: Simulation, folder: Path) -> Guest:
    """A machine as its past has left it, if it has one."""
    life = live(
        machine.seed,
        model=plan.model or machine.model or DEFAULT_MODEL,
        profile=machine.profile,
        clinic=machine.clinic,
        treatment_s=machine.treatment_s,
    )
    if (remains := read_remains(folder)) is not None:
        remains.apply(life)
    wrongs = itertools.filterfalse(is_loss, machine.wrongs(plan.faults))
    return Guest(life, tuple(begin_fault(text, machine.clog_s) for text in wrongs))


def replay(
    spec: FleetSpec, settings: Settings, plan: Replay, *, oracle: Path | None, stopping: threading.Event
) -> None:
    """Replay one run per machine, the k-th machine the k-th run, until all is acknowledged.

    All runs begin at the same event time, such that the last sample of the longest falls on the present.

    Raises:
        PermanentError: the recording cannot be read.
        SettingError: there are more machines than runs.
    """
    runs = load_runs(plan.source, plan.mapping)
    if len(runs) < len(spec.machines):
        raise SettingError(f"--machines: {len(spec.machines)} machines for {len(runs)} runs in {plan.source}")
    chosen = runs[: len(spec.machines)]
    start_at = replay_start(chosen, plan, wall_ms())
    clock = WarpedClock(start_at=start_at, speed=plan.speed)
    drivers: list[Driver] = [
        ReplayDriver(run, start_at=start_at, seconds_per_second=plan.seconds_per_second) for run in chosen
    ]
    members = _build(spec, settings, clock, drivers, oracle, sessions=False)
    _run(
        members,
        period_s=_REPLAY_PERIOD_S,
        is_over=lambda: all(member.machine.ended for member in members),
        stopping=stopping,
    )


def replay_start(runs: Sequence[Run], plan: Replay, now_ms: int) -> int:
    """Event time of the first samples, Unix ms, so that the longest run ends when its last sample is the present."""
    longest_ms = max((run.span_s() for run in runs), default=0.0) * plan.seconds_per_second * 1000
    return now_ms - round(longest_ms * (1 - 1 / plan.speed))


def _build(
    spec: FleetSpec,
    settings: Settings,
    clock: Clock,
    drivers: Sequence[Driver],
    oracle: Path | None,
    *,
    sessions: bool,
    faults: tuple[str, ...] = (),
) -> list[_Member]:
    _allow_files(len(spec.machines) * _FILES_PER_MACHINE + 100)
    rates = settings.rates() if sessions else Rates(idle_s=0, flush_s=settings.flush_s)
    rules = settings.session_rules() if sessions else None

    def build(machine: MachineSpec, driver: Driver) -> _Member:
        link = settings.link(machine.device_id, spec.mqtt_urls[machine.device_id])
        outbox = open_outbox(
            settings.data_dir / machine.device_id / FILE_NAME,
            clock,
            budget_bytes=settings.outbox_bytes(),
            keep_acked_ms=settings.keep_acked_ms(),
        )
        witness = Oracle(oracle, machine.device_id) if oracle else None
        built = Machine(
            link,
            clock=clock if machine.clock is None else FaultyClock(clock, machine.clock),
            driver=driver,
            recorder=Recorder(rates, rules),
            outbox=outbox,
            confirmed=witness,
            is_reachable=Reach(clock, filter(is_loss, machine.wrongs(faults))),
        )
        return _Member(built, witness)

    # Opening waits for the disk, and 50 waits side by side take little longer than one.
    with ThreadPoolExecutor(_OPENERS) as openers:
        return list(openers.map(build, spec.machines, drivers))


def _run(
    members: Sequence[_Member], *, period_s: float, is_over: Callable[[], bool], stopping: threading.Event
) -> None:
    """Start, wait, and stop in order: samples first, then the disk, then what is unacknowledged, then the network."""
    machines = [member.machine for member in members]
    runner = Runner(machines, period_s=period_s, writers=min(_WRITERS, max(1, len(machines))))
    runner.start()
    log.info("%d machines run", len(machines))
    wait_until(lambda: is_over() or _has_failed(machines), stopping)
    finished = is_over() and not _has_failed(machines)
    runner.stop()
    for member in members:
        if member.oracle and finished:
            member.oracle.finish(member.machine.samples_read, member.machine.samples_appended)
    if finished:
        log.info("all samples are taken; waiting for the server to acknowledge them")
        if wait_until(lambda: not _has_pending(machines), stopping, every_s=0.2):
            log.info("everything is acknowledged")
    elif any(member.oracle for member in members):  # who counts wants the last half second, too
        deadline = time.monotonic() + _LAST_WORDS_S
        wait_until(lambda: not _has_pending(machines) or time.monotonic() > deadline, threading.Event(), every_s=0.05)
    for machine in machines:
        machine.publisher.ask_stop()
    for member in members:
        member.machine.stop(_STOP_S)
        if member.oracle:
            member.oracle.close()
    if failure := next((machine.failure for machine in machines if machine.failure), runner.failure):
        raise failure


def _has_pending(machines: Sequence[Machine]) -> bool:
    return any(machine.outbox.has_pending() for machine in machines)


def _has_failed(machines: Sequence[Machine]) -> bool:
    return any(machine.failure is not None for machine in machines)


def _allow_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard) if hard > 0 else needed, hard))
