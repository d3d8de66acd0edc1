"""``dermafleet forecast``: what earlier filters taught about how long those in use will last."""

from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dermafleet.terminal import AsJson, ask, show, table, with_engine

if TYPE_CHECKING:
    from dermafleet.storage.libraries import LibraryVersion

forecast = typer.Typer(help="What earlier filters taught about how long those in use will last.", no_args_is_help=True)

_HOUR_S = 3600.0


@forecast.command("learn")
def forecast_learn() -> None:
    """Learn from the filters that ended by the last full hour, as alerts does every hour. Old versions stay."""
    libraries = import_module("services.alerts.libraries")  # loaded when its verb runs
    learned: int = with_engine(lambda engine: libraries.learn_all(engine, now=datetime.now(UTC)))
    typer.echo(f"models with a new version: {learned}" if learned else "no filter has ended since the last version")


@forecast.command("show")
def forecast_show(
    model: Annotated[str | None, typer.Option(help="Only this device model. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest version per device model: from how many filters, and how long they lasted."""
    from dermafleet.storage import libraries

    rows = [_row(name, version) for name, version in ask(libraries.newest_versions).items() if model in (None, name)]
    columns = ("model", "version", "learned_until", "filters", "to_their_limit", "median_h", "is_fitted")
    printed = [{**row, "learned_until": f"{row['learned_until']:%Y-%m-%d %H:%M}"} for row in rows]
    show(rows, table(columns, printed) if rows else "nothing has been learned yet", as_json=as_json)


def _row(model: str, version: "LibraryVersion") -> dict[str, Any]:
    """Hours are of pumping, of the filters that reached their limit."""
    library: Any = import_module("services.alerts.libraries").read_library(version.document)
    has_life = library.complete and not library.has_load
    return {
        "model": model,
        "version": version.version,
        "learned_until": version.learned_until,
        "filters": version.filters,
        "to_their_limit": library.complete,
        "median_h": round(library.life / _HOUR_S, 1) if has_life else None,
        "is_fitted": bool(library.rows),
    }
