"""The application: routes, errors, and the tasks that run beside them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet import __version__
from dermafleet.errors import DermafleetError
from dermafleet.logs import get_logger
from dermafleet.settings import Settings
from dermafleet.storage.engine import make_engine
from services.api import problems
from services.api.context import Context, utc_now
from services.api.dashboard import Dashboard
from services.api.feed import Feed
from services.api.frame import Frame
from services.api.live import Live
from services.api.routes import alarms, condition, detectors, devices, fleet, health, login, rules, stream
from services.api.schema import describe

_log = get_logger()


def make_app(settings: Settings, engine: AsyncEngine, *, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """The API and the dashboard on one database. The caller disposes of `engine` after the application has stopped."""
    committing = engine.execution_options(isolation_level="AUTOCOMMIT")
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    feed = Feed(reader, poll_s=settings.poll_ms / 1000, now=now)
    app = FastAPI(
        title="Dermafleet",
        version=__version__,
        description="Telemetry of microdermabrasion machines. Times are RFC 3339 in UTC, ranges half-open.",
        docs_url=None,  # its pages load scripts from another host
        redoc_url=None,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
    )
    app.state.context = Context(settings, committing, engine, reader, feed, Live(reader), now=now)
    problems.install(app)
    for module in (login, fleet, devices, condition, alarms, rules, detectors, stream, health):
        app.include_router(module.router)
    app.mount("/", Dashboard())
    app.add_middleware(Frame)
    describe(app)
    return app


def openapi() -> dict[str, Any]:  # OpenAPI is JSON of no fixed shape
    """The description of the API; the same code gives the same one. Needs no database."""
    return make_app(Settings.load({}), make_engine("postgresql://localhost/none")).openapi()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Context = app.state.context
    with suppress(DermafleetError):  # without a database the process serves its health until there is one
        await parts.feed.step()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (parts.feed.run(), parts.live.run())]
        _log.info("Serving the API")
        try:
            yield
        finally:
            parts.feed.close()
            for task in tasks:
                task.cancel()
