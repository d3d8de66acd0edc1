"""The command ``dermafleet-agent``: run one machine, look at it, or simulate many."""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from dermafleet import __version__
from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.errors import DermafleetError, SettingError
from device_agent import agent, local, settings, telling
from device_agent.clock import SystemClock
from device_agent.counters import COUNTERS, read_counters
from device_agent.outbox import open_to_read
from device_agent.outbox_file import FILE_NAME

_BAD_SETTING, _FAILED = 2, 1
_FLEET_FIXED = ("device_id", "mqtt_url", "seed", "quality")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exit status 2 with one line for a bad setting, 1 for another failure."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        arguments.verb(arguments)
    except SettingError as error:
        print(f"dermafleet-agent: {error}", file=sys.stderr)
        sys.exit(_BAD_SETTING)
    except DermafleetError as error:
        print(f"dermafleet-agent: {error}", file=sys.stderr)
        sys.exit(_FAILED)


def _run(arguments: argparse.Namespace) -> None:
    agent.run(_settings(arguments), _stop_on_signals())


def _sample(arguments: argparse.Namespace) -> None:
    """One sample to the terminal; nothing is stored or sent."""
    chosen = _settings(arguments)
    driver = agent.open_driver(chosen)
    sample = driver.read(SystemClock().now())
    assert sample is not None
    if arguments.json:
        print(json.dumps({"at": sample.when.at, "clock": sample.when.clock, "values": dict(sample.values)}))
        return
    for name, value in sample.values.items():
        shown = "not measured" if value is None else f"{value:10.3f}"
        print(f"{name:22} {shown} {CHANNEL_BY_NAME[name].unit}")


def _status(arguments: argparse.Namespace) -> None:
    status = _ask(_settings(arguments), "status")
    if arguments.json:
        print(json.dumps(status))
        return
    backlog = status["backlog"]
    print(f"agent         {'running' if status['running'] else 'not running'}, version {status['agent']}")
    if status["running"]:
        print(f"device        {status['device_id']}: {status['state']}")
        print(f"broker        {status['broker']}: {'connected' if status['connected'] else 'not connected'}")
        print(f"server        {status['server'] or 'none has acknowledged anything yet'}")
        if status["holding"]:
            print(f"on hold       {status['holding']}")
        print(f"last ack      {_shown_at(status['last_ack_at'])}")
    print(f"epoch         {status['epoch']}, newest entry {status['head'][1]}")
    print(f"unacked       {backlog['entries']} entries, {backlog['payload_bytes']} bytes")
    print(f"oldest        {_shown_at(backlog['oldest_at'])}")
    print(f"refused       {backlog['refused']}")


def _outbox_ls(arguments: argparse.Namespace) -> None:
    listed = _ask(_settings(arguments), "outbox")
    if arguments.json:
        print(json.dumps(listed))
        return
    if hidden := listed["total"] - len(listed["entries"]):
        print(f"({hidden} older entries are not shown)")
    for entry in listed["entries"]:
        at = _shown_at(entry["appended_at"])
        print(f"{entry['epoch']} {entry['seq']:8} {entry['kind']:9} {entry['bytes']:8} {entry['state']:8} {at}")


def _tell(arguments: argparse.Namespace) -> None:
    told = telling.parse_told(arguments.words)
    reply = local.ask(_settings(arguments).data_dir, telling.question(told))
    if reply is None:
        raise SettingError("tell: no agent runs here")
    if error := msgspec.json.decode(reply).get("error"):
        raise SettingError(f"tell: {error}")


def _counters(arguments: argparse.Namespace) -> None:
    chosen = _settings(arguments)
    if arguments.import_from is not None:
        agent.import_counters(chosen, arguments.import_from)
    counted = _ask(chosen, "counters")
    if arguments.json:
        print(json.dumps(counted))
        return
    for name, value in (counted or {"generation": "none has begun yet"}).items():
        print(f"{name:12} {value}")


def _simulate(arguments: argparse.Namespace) -> None:
    from device_agent.simulator import fleet  # a machine's agent never loads it

    spec = fleet.read_machines(arguments.machines)
    plan = fleet.Simulation(
        history_s=max(arguments.history_s, arguments.days * 86_400),
        speed=arguments.speed,
        stop_after_s=arguments.stop_after,
        model=arguments.model,
        faults=tuple(arguments.fault),
    )
    chosen = _settings(arguments, fleet.DEFAULTS)
    fleet.simulate(spec, chosen, plan, oracle=arguments.oracle, stopping=_stop_on_signals())


def _history(arguments: argparse.Namespace) -> None:
    from device_agent.simulator import fleet, history

    spec = fleet.read_machines(arguments.machines)
    chosen = _settings(arguments, fleet.DEFAULTS)
    stopping = _stop_on_signals()
    history.write_history(spec, chosen, arguments.days, oracle=arguments.oracle, stopping=stopping)


def _replay(arguments: argparse.Namespace) -> None:
    from device_agent.simulator import fleet

    spec = fleet.read_machines(arguments.machines)
    plan = fleet.Replay(arguments.input, arguments.speed, arguments.seconds_per_second, arguments.mapping)
    chosen = _settings(arguments, fleet.DEFAULTS)
    fleet.replay(spec, chosen, plan, oracle=arguments.oracle, stopping=_stop_on_signals())


def _ask(chosen: settings.Settings, question: str) -> Any:  # a JSON document for people
    """The running agent's answer, or what the file says when none runs."""
    answer = local.ask(chosen.data_dir, question)
    if answer is not None:
        return msgspec.json.decode(answer)
    outbox = open_to_read(chosen.data_dir / FILE_NAME)
    try:
        match question:
            case "outbox":
                return outbox.list_entries()
            case "counters":
                return msgspec.to_builtins(read_counters(outbox.recall(COUNTERS)))
            case _:
                return agent.describe_stopped(outbox)
    finally:
        outbox.close()


def _settings(arguments: argparse.Namespace, defaults: dict[str, float] | None = None) -> settings.Settings:
    names = settings.Settings.__struct_fields__
    flags = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return settings.load(flags, file=arguments.config, defaults=defaults)


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _shown_at(unix_ms: int | None) -> str:
    return "never" if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="seconds")


def _parser() -> argparse.ArgumentParser:
    # Wiring, straight down: one verb after the other.
    parser = argparse.ArgumentParser(prog="dermafleet-agent", description="The agent on a machine.")
    parser.add_argument("--version", action="version", version=f"dermafleet-agent {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    _verb(verbs, "run", _run, "record and publish this machine's samples")
    _verb(verbs, "sample", _sample, "show one sample; nothing is stored or sent", json=True)
    _verb(verbs, "status", _status, "show connection and backlog", json=True)
    outbox = verbs.add_parser("outbox", help="look into the outbox").add_subparsers(required=True, metavar="VERB")
    _verb(outbox, "ls", _outbox_ls, "list its newest entries", json=True)
    tell = _verb(verbs, "tell", _tell, "tell the running agent what its machine does not: purpose, tip, maintenance …")
    tell.add_argument("words", nargs="+", metavar="FIELD=VALUE", help="such as purpose=cleaning; docs/sessions.md")
    counters = _verb(verbs, "counters", _counters, "show what the machine did in its life", json=True)
    counters.add_argument(
        "--import", dest="import_from", type=Path, metavar="FILE", help="JSON: hours that were counted elsewhere"
    )

    simulate = _verb(verbs, "simulate", _simulate, "run many simulated machines", without=_FLEET_FIXED)
    history = _verb(
        verbs, "history", _history, "write simulated machines' past into their outboxes", without=_FLEET_FIXED
    )
    history.add_argument("--days", type=int, default=30, help="how many days before today")
    replay = _verb(verbs, "replay", _replay, "replay recorded runs as machines", without=_FLEET_FIXED)
    for verb in (simulate, history, replay):
        verb.add_argument("--machines", type=Path, required=True, metavar="FILE", help="JSON: mqtt_urls and machines")
        verb.add_argument("--oracle", type=Path, metavar="DIR", help="also write what the outboxes confirmed")
    simulate.add_argument("--model", help="of all machines, instead of what the file says")
    simulate.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT[=LEVEL][@TIME]",
        help="of all machines, after 90s, 5m, 2h or 3d of event time; again for a second one",
    )
    simulate.add_argument("--days", type=float, default=0.0, help="begin this many days ago")
    simulate.add_argument("--history-s", type=float, default=0.0, help="begin this much event time ago")
    simulate.add_argument("--speed", type=_positive, default=60.0, help="event time per wall time during history")
    simulate.add_argument("--stop-after", type=float, metavar="S", help="stop sampling after so many seconds")
    replay.add_argument("--input", type=Path, required=True, help="a CSV file, or a folder with runs*.csv[.gz]")
    replay.add_argument("--mapping", type=Path, help="what the columns mean, if they are none of the known ones")
    replay.add_argument("--speed", type=_positive, required=True, help="event time per wall time")
    replay.add_argument("--seconds-per-second", type=_positive, default=3600.0, help="event time per recorded second")
    return parser


def _verb(
    verbs: Any,  # argparse names this type only privately
    name: str,
    function: Any,
    meaning: str,
    *,
    json: bool = False,
    without: Sequence[str] = (),
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=meaning, description=meaning.capitalize() + ".")
    verb.set_defaults(verb=function)
    verb.add_argument("--config", type=Path, metavar="FILE", help=f"TOML; default {settings.DEFAULT_FILE}")
    if json:
        verb.add_argument("--json", action="store_true", help="for programs")
    group = verb.add_argument_group("settings", "each also by file and by environment DERMAFLEET_AGENT_…")
    for field in msgspec.structs.fields(settings.Settings):
        if field.name not in without:
            default = "" if field.default in ("", None) else f" [{field.default}]"
            flag = "--" + field.name.replace("_", "-")
            group.add_argument(flag, dest=field.name, metavar="VALUE", help=settings.MEANINGS[field.name] + default)
    return verb


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be positive")
    return value
