"""What the operator's verbs share: the database, and printing for people and for programs."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

ACTOR = "cli"
"""Who did it, in what keeps a history."""

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def database_url() -> str:
    """Of the settings.

    Raises:
        SettingError: none is set.
    """
    from dermafleet.settings import Settings

    return Settings.load().need_database()


@contextmanager
def database() -> "Iterator[psycopg.Connection[Any]]":
    """A connection to a database whose schema fits, for one transaction."""
    from dermafleet.storage import migrate
    from dermafleet.storage.engine import connect

    url = database_url()
    migrate.check(url)
    with connect(url, application_name="dermafleet-cli") as connection:
        yield connection


def show(data: object, text: str, *, as_json: bool) -> None:
    """Print the text, or the data as JSON."""

    def plain(value: object) -> str:
        return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)

    typer.echo(json.dumps(data, default=plain) if as_json else text)


def table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Columns padded to their widest value, under their names."""
    lines = [columns, *([str(row[name]) if row[name] is not None else "-" for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(f"{cell:<{widths[i]}}" for i, cell in enumerate(line)).rstrip() for line in lines)


def ask(question: "Callable[[AsyncConnection], Awaitable[Answer]]") -> Answer:
    """Ask the database something, in one transaction."""

    async def run(engine: "AsyncEngine") -> Answer:
        async with engine.begin() as connection:
            return await question(connection)

    return with_engine(run)


def with_engine(work: "Callable[[AsyncEngine], Awaitable[Answer]]") -> Answer:
    """Do something on a database whose schema fits."""
    from dermafleet.storage import migrate
    from dermafleet.storage.engine import make_engine, translate

    url = database_url()
    migrate.check(url)

    async def run() -> Answer:
        engine = make_engine(url, 2, application_name="dermafleet-cli")
        try:
            with translate():
                return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())
