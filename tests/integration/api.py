"""The API on a real database, without a socket: what its tests share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI

from dermafleet.settings import Settings
from dermafleet.storage.engine import make_engine
from services.api.app import make_app
from services.api.context import Context
from tests.builders import NOW, Builder


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, duration: timedelta) -> None:
        self.at += duration


@dataclass
class Api:
    """One API process and a client of it that may see everything."""

    app: FastAPI
    client: httpx.AsyncClient
    build: Builder
    clock: Clock

    @property
    def parts(self) -> Context:
        found: Context = self.app.state.context
        return found

    async def get(self, path: str, **parameters: object) -> Any:  # JSON
        """The body of a successful answer."""
        answer = await self.client.get(path, params={k: str(v) for k, v in parameters.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def anonymous(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://api")


@asynccontextmanager
async def open_api(database_url: str, clock: Clock | None = None, **settings: str) -> AsyncIterator[Api]:
    """An API with one user and a client with that user's key. Its background tasks are not running."""
    clock = clock or Clock()
    engine = make_engine(database_url, 5)
    app = make_app(Settings.load({f"DERMAFLEET_{k.upper()}": v for k, v in settings.items()}), engine, now=clock)
    with psycopg.connect(database_url) as connection:
        build = Builder(connection)
        build.user()
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://api",
            headers={"Authorization": f"Bearer {build.key()}"},
        )
        async with client:
            yield Api(app, client, build, clock)
    await engine.dispose()
