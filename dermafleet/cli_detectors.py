"""``dermafleet detector``: versions of the built-in detectors, in shadow, for some machines, and then for all."""

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from dermafleet.errors import SettingError
from dermafleet.terminal import ACTOR, AsJson, ask, show, table

if TYPE_CHECKING:
    from dermafleet.contracts.releases import Mode, ReleaseReport

detector = typer.Typer(help="Versions of the built-in detectors.", no_args_is_help=True)

OfModel = Annotated[list[str] | None, typer.Option("--model", help="Only this device model; repeated. Default: all.")]
Percent = Annotated[int, typer.Option(min=1, max=100, help="Of the devices; the same ones at every number.")]


@detector.command("list")
def detector_list(as_json: AsJson = False) -> None:
    """List the versions that this program knows, and where they run."""
    from dermafleet.storage import releases

    rows = ask(releases.list_releases)
    versions = [{"version": each.version, "summary": each.summary} for each in _versions().values()]
    running = [
        {
            "version": row.version,
            "mode": row.mode,
            "models": ", ".join(row.models) or "all",
            "percent": row.percent,
            "since": f"{row.created_at:%Y-%m-%d %H:%M}",
            "by": row.created_by,
        }
        for row in rows
        if row.ended_at is None
    ]
    columns = ("version", "mode", "models", "percent", "since", "by")
    lines = [
        table(("version", "summary"), versions),
        "",
        table(columns, running) if running else "version 1 runs on all",
    ]
    show({"versions": versions, "releases": running}, "\n".join(lines), as_json=as_json)


@detector.command("shadow")
def detector_shadow(version: int, models: OfModel = None, percent: Percent = 100) -> None:
    """Let a version judge beside the active one from now on; nobody is told what it says."""
    _start(version, "shadow", models, percent)


@detector.command("activate")
def detector_activate(version: int, models: OfModel = None, percent: Percent = 100) -> None:
    """Let a version judge for real from now on. Of those that cover a device the newest holds."""
    _start(version, "active", models, percent)


@detector.command("end")
def detector_end(version: int) -> None:
    """End all releases of a version: what held before holds again."""
    from dermafleet.storage import releases

    ended = ask(lambda connection: releases.end_releases(connection, version))
    typer.echo(f"{ended} releases of version {version} have ended")


@detector.command("report")
def detector_report(version: int, as_json: AsJson = False) -> None:
    """Say what a version in shadow would change."""
    from dermafleet.storage import releases

    found = ask(lambda connection: releases.report(connection, version))
    show(msgspec.to_builtins(found), _text(found), as_json=as_json)


def _versions() -> Any:  # services.alerts is loaded when its verb runs
    return import_module("services.alerts.tuning").VERSIONS


def _start(version: int, mode: "Mode", models: list[str] | None, percent: int) -> None:
    from dermafleet.contracts.releases import Release
    from dermafleet.storage import releases

    known = _versions()
    if version not in known:
        raise SettingError(f"there is no version {version}; known: {', '.join(map(str, known))}")
    release = Release(version, mode, models or [], percent)
    ask(lambda connection: releases.start_release(connection, release, actor=ACTOR))
    whom = f"{percent} % of {', '.join(models) if models else 'all models'}"
    typer.echo(f"version {version} runs {'in shadow' if mode == 'shadow' else 'for real'} on {whom}")


def _text(found: "ReleaseReport") -> str:
    rows = [{**msgspec.structs.asdict(each), "lead_h": _hours(each.lead_s)} for each in found.faults]
    columns = ("fault", "only_active", "only_shadow", "both", "earlier", "later", "lead_h", "worse", "milder")
    judged = found.judged
    lines = [
        f"version {found.version} judged {judged.devices} devices for {judged.device_days:.1f} device-days in shadow"
        + (f"; it fails on {judged.failing} of them, see the log of alerts" if judged.failing else ""),
        table(columns, rows),
    ]
    for each in found.examples:
        spell = each.spell
        lines.append(
            f"only {each.side}: {spell.device_id} {spell.fault} {spell.from_at:%Y-%m-%d %H:%M}: {spell.reason}"
        )
    return "\n".join([*lines, *([f"and {found.not_shown} more"] if found.not_shown else [])])


def _hours(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds / 3600:.1f}"
