"""``dermafleet rule``: users' rules, written, tried on stored history, activated and retired."""

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from dermafleet.errors import SettingError
from dermafleet.terminal import ACTOR, AsJson, ask, show, table, with_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from dermafleet.contracts.backtests import BacktestResult
    from dermafleet.contracts.rules import Rule
    from dermafleet.storage.rules import StoredRule

rule = typer.Typer(help="Rules of your own about channels and sessions.", no_args_is_help=True)

OfVersion = Annotated[int | None, typer.Option("--version", min=1, help="Default: the newest.")]


@rule.command("list")
def rule_list(as_json: AsJson = False) -> None:
    """List the rules: what they look at, and which version judges."""
    from dermafleet.storage import rules

    found = [_line(each) for each in ask(lambda connection: rules.list_rules(connection))]
    columns = ("key", "name", "quantity", "severity", "active", "newest")
    show(found, table(columns, found), as_json=as_json)


@rule.command("show")
def rule_show(key: str, as_json: AsJson = False) -> None:
    """Show a rule, its versions and its history."""
    from dermafleet.storage import rules

    stored = ask(lambda connection: rules.need_rule(connection, key))
    shown = {
        "key": key,
        "versions": [{**msgspec.structs.asdict(each.rule), "rule_state": each.state} for each in stored.versions],
        "history": [
            {"version": e.version, "transition": e.transition, "actor": e.actor, "at": e.at} for e in stored.events
        ],
    }
    rows = [f"version {each.version}, {each.state}: {_says(each.rule)}" for each in stored.versions]
    history = [f"{e.at:%Y-%m-%d %H:%M} version {e.version} {e.transition} by {e.actor}" for e in stored.events]
    show(shown, "\n".join([*rows, *history]), as_json=as_json)


@rule.command("add")
def rule_add(file: Path) -> None:
    """Store a rule from a JSON file as a draft; if there is one of its key, as another version."""
    from dermafleet.storage import rules

    new = _decode(file)

    async def add(connection: "AsyncConnection") -> "StoredRule":
        known = await rules.find_rule(connection, new.key)
        store = rules.add_rule if known is None else rules.add_version
        return await store(connection, new, actor=ACTOR)

    stored = ask(add)
    typer.echo(f"rule {stored.key} has a draft, version {stored.newest.version}")


@rule.command("activate")
def rule_activate(key: str, version: OfVersion = None) -> None:
    """Let a rule judge all that devices tell from now on."""
    from dermafleet.storage import rules

    stored = ask(lambda connection: rules.activate(connection, key, version=version, actor=ACTOR))
    assert stored.active is not None  # it was activated
    typer.echo(f"rule {key}: version {stored.active.version} is active")


@rule.command("retire")
def rule_retire(key: str) -> None:
    """Let a rule judge no more; its alarms are cleared."""
    from dermafleet.storage import rules

    ask(lambda connection: rules.retire(connection, key, actor=ACTOR))
    typer.echo(f"rule {key} is retired")


@rule.command("backtest")
def rule_backtest(
    what: Annotated[str, typer.Argument(metavar="KEY|FILE", help="A stored rule, or a JSON file.")],
    days: Annotated[float, typer.Option(min=0.01, help="How far back, event time.")] = 30,
    devices: Annotated[list[str] | None, typer.Option("--device", "--devices", help="Only these; repeated.")] = None,
    version: OfVersion = None,
    as_json: AsJson = False,
) -> None:
    """Say what a rule would have told on stored history. Changes nothing."""
    from dermafleet.contracts.backtests import BacktestRequest
    from dermafleet.settings import Settings

    backtest: Any = import_module("services.alerts.backtest")  # no service is imported before its verb runs
    request = BacktestRequest(version=version, days=days, devices=devices or [])
    bounds = backtest.Bounds.of(Settings.load())

    async def run(engine: "AsyncEngine") -> "BacktestResult":
        chosen = await _chosen(engine, what, version)
        result: BacktestResult = await backtest.run(engine, chosen, request, bounds, now=datetime.now(UTC))
        return result

    result = with_engine(run)
    show(msgspec.to_builtins(result), _report(result), as_json=as_json)


async def _chosen(engine: "AsyncEngine", what: str, version: int | None) -> "Rule":
    from dermafleet.storage import rules

    async with engine.connect() as connection:
        if (file := Path(what)).is_file():
            new = _decode(file)
            await rules.check(connection, new)
            return new
        stored = await rules.need_rule(connection, what)
    wanted = stored.newest.version if version is None else version
    found = next((each.rule for each in stored.versions if each.version == wanted), None)
    if found is None:
        raise rules.NoSuchRule(f"rule {what!r} has no version {wanted}")
    return found


def _decode(file: Path) -> "Rule":
    from dermafleet.contracts.rules import decode_rule

    try:
        return decode_rule(file.read_bytes())
    except OSError as error:
        raise SettingError(f"{file}: {error.strerror}") from error


def _line(stored: "StoredRule") -> dict[str, Any]:  # a row of any table
    shown = stored.active or stored.newest
    return {
        "key": stored.key,
        "name": shown.rule.name,
        "quantity": shown.rule.quantity,
        "severity": shown.rule.severity,
        "active": stored.active and stored.active.version,
        "newest": stored.newest.version,
    }


def _says(told: "Rule") -> str:
    held = f"for {told.duration_s:g} s" if told.feature is None else f"in {told.sessions} sessions in a row"
    return f"{told.quantity} {told.comparison} {told.level:g} {held}: severity {told.severity}, {told.name}"


def _report(result: "BacktestResult") -> str:
    rows = [msgspec.structs.asdict(each) for each in result.devices]
    lines = [
        f"{result.from_at:%Y-%m-%d %H:%M} to {result.until_at:%Y-%m-%d %H:%M} UTC, {result.samples} samples:"
        f" it would have fired {result.fired} times",
        table(("device_id", "samples", "fired", "raised_s"), rows),
    ]
    for each in result.examples:
        end = f"{each.until_at:%Y-%m-%d %H:%M:%S}" if each.until_at else "the end"
        lines.append(f"{each.device_id} {each.from_at:%Y-%m-%d %H:%M:%S} to {end}: {each.reason}")
    return "\n".join([*lines, *(f"left out: {each}" for each in result.left_out)])
