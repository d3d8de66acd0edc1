"""The agent of one machine, from start to stop."""

import logging
import threading
from pathlib import Path
from typing import Any

import msgspec

from dermafleet import __version__
from dermafleet.errors import SettingError
from device_agent import telling
from device_agent.clock import SystemClock
from device_agent.counters import COUNTERS, read_import, write_counters
from device_agent.drivers import Driver
from device_agent.local import Answers, LocalServer
from device_agent.machine import Machine
from device_agent.outbox import Outbox, open_outbox, open_to_read
from device_agent.outbox_file import FILE_NAME
from device_agent.recorder import Recorder
from device_agent.runner import Runner, wait_until
from device_agent.settings import Settings

log = logging.getLogger(__name__)


def open_driver(settings: Settings) -> Driver:
    """The machine's sensors: simulated ones, as long as there are no others.

    Raises:
        SettingError: what the simulation computes with is not installed.
    """
    try:
        from device_agent.simulator.driver import alone  # a machine with sensors of its own never loads it
    except ModuleNotFoundError as error:
        raise SettingError(f"the simulated machine needs {error.name}: pip install 'dermafleet[sim]'") from error
    return alone(settings.seed, settings.rate_hz)


def run(settings: Settings, stopping: threading.Event) -> None:
    """Record and publish until asked to stop.

    Raises:
        SettingError: a setting is missing or wrong; nothing was started.
        BrokenOutbox: the outbox was damaged meanwhile; the next start replaces it.
    """
    link = settings.link(settings.device_id, settings.mqtt_url)
    clock = SystemClock(quality=settings.quality)
    outbox = open_outbox(
        settings.data_dir / FILE_NAME,
        clock,
        budget_bytes=settings.outbox_bytes(),
        keep_acked_ms=settings.keep_acked_ms(),
    )
    machine = Machine(
        link,
        clock=clock,
        driver=open_driver(settings),
        recorder=Recorder(settings.rates(), settings.session_rules()),
        outbox=outbox,
    )
    runner = Runner([machine], period_s=1 / settings.rate_hz)
    runner.start()
    answers = {
        "status": lambda _: msgspec.json.encode(describe(machine)),
        "outbox": lambda _: msgspec.json.encode(outbox.list_entries()),
        "counters": lambda _: msgspec.json.encode(machine.counters),
        "tell": lambda text: telling.answer(text, machine.tell),
    }
    server = _answer_locally(settings.data_dir, answers)
    log.info("%s: runs, epoch %s", machine.device_id, outbox.epoch)
    wait_until(lambda: machine.failure is not None, stopping, every_s=1)
    log.info("%s: stops", machine.device_id)
    if server is not None:
        server.close()
    runner.stop()
    machine.stop(settings.stop_s)
    if machine.failure is not None:
        raise machine.failure


def _answer_locally(folder: Path, answers: Answers) -> LocalServer | None:
    """Recording goes on without it: samples are worth more than answers about them."""
    try:
        return LocalServer(folder, answers)
    except OSError as error:
        log.warning("no socket in %s, so the commands cannot ask this agent: %s", folder, error)
        return None


def import_counters(settings: Settings, file: Path) -> None:
    """Begin a new generation of counters with hours that no generation has counted; the agent must not run.

    Raises:
        SettingError: the file cannot be read, or an agent runs.
    """
    try:
        imported = read_import(file.read_bytes())
    except OSError as error:
        raise SettingError(f"--import: {file}: {error.strerror}") from error
    outbox = open_to_read(settings.data_dir / FILE_NAME)
    try:
        outbox.remember({COUNTERS: write_counters(imported)}, durable=True)
    finally:
        outbox.close()


def describe(machine: Machine) -> dict[str, Any]:  # a JSON document for people
    """What `status` shows of a running agent."""
    link, live = machine.publisher.link_state(), machine.live()
    return {
        "running": True,
        "device_id": machine.device_id,
        "state": live.state,
        "latest": live.latest,
        "broker": link.broker,
        "connected": link.connected,
        "holding": link.holding,
        "server": link.server,
        "last_ack_at": link.last_ack_at,
        "ack_time_s": link.ack_time_s,
        **_describe_outbox(machine.outbox),
    }


def describe_stopped(outbox: Outbox) -> dict[str, Any]:  # a JSON document for people
    """What `status` shows when no agent runs."""
    return {"running": False, "server": outbox.recall("server"), **_describe_outbox(outbox)}


def _describe_outbox(outbox: Outbox) -> dict[str, Any]:  # a JSON document for people
    backlog = outbox.backlog()
    return {
        "agent": __version__,
        "epoch": outbox.epoch,
        "low": outbox.low(),
        "head": outbox.head(),
        "backlog": msgspec.to_builtins(backlog),
    }
