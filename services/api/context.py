"""What every route may use: settings, the clock, a connection to read with, and its own query parameters only."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dermafleet.settings import Settings
from dermafleet.storage.engine import translate
from services.api.feed import Feed
from services.api.live import Live
from services.api.problems import invalid_parameter, not_found
from services.api.tries import Tries


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one API process.

    Attributes:
        engine: for single statements that commit by themselves.
        writer: for changes, each in one transaction.
        reader: for questions; all of one request see the same instant and can change nothing.
    """

    settings: Settings
    engine: AsyncEngine
    writer: AsyncEngine
    reader: AsyncEngine
    feed: Feed
    live: Live
    tries: Tries = field(default_factory=Tries)
    now: Callable[[], datetime] = utc_now


async def context(request: Request) -> Context:
    return cast(Context, request.app.state.context)


InContext = Annotated[Context, Depends(context)]


async def now(parts: InContext) -> datetime:
    """The instant of a request: every decision in it is made for this one."""
    return parts.now()


Now = Annotated[datetime, Depends(now)]


async def read(parts: InContext) -> AsyncIterator[AsyncConnection]:
    with translate():
        async with parts.reader.connect() as connection:
            yield connection


Read = Annotated[AsyncConnection, Depends(read, scope="function")]
"""A read-only connection, given back before the answer is sent."""


async def write(parts: InContext) -> AsyncIterator[AsyncConnection]:
    with translate():
        async with parts.writer.begin() as connection:
            yield connection


Write = Annotated[AsyncConnection, Depends(write, scope="function")]
"""A connection in a transaction of its own, committed before the answer is sent; an error undoes it."""


async def known_parameters_only(request: Request) -> None:
    """Refuse query parameters that the route does not have: a mistyped filter must not look like an answer.

    And any that holds a NUL, which PostgreSQL takes in no text.
    """
    known = _query_names(request.scope["route"].dependant)
    for name, value in request.query_params.multi_items():
        if "\0" in value:
            raise invalid_parameter(name, "holds a NUL")
        if name not in known:
            raise invalid_parameter(name, f"is not a parameter here; known: {', '.join(sorted(known)) or 'none'}")
    for name, value in request.path_params.items():
        if "\0" in str(value):
            raise not_found(name, value)


def _query_names(dependant: Dependant) -> set[str]:
    names = {parameter.alias for parameter in dependant.query_params}
    return names.union(*(_query_names(inner) for inner in dependant.dependencies))
