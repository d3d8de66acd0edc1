"""A client of server-sent events that calls the application directly: what a browser's EventSource does."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.types import Message

from tests.integration.api import Api

DEADLINE_S = 20


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any  # JSON
    id: str | None


class Stream:
    """An open stream. `last_id` is what a browser would resume from."""

    def __init__(self) -> None:
        self.status = 0
        self.last_id: str | None = None
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_left = asyncio.Event()
        self._is_asked = False
        self._text = ""

    async def next(self) -> Event | None:
        """The next event; None when the server has ended the stream."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                block, found, rest = self._text.partition("\n\n")
                if not found:
                    chunk = await self.chunks.get()
                    if chunk is None:
                        return None
                    self._text += chunk.decode()
                    continue
                self._text = rest
                if event := self._parse(block):
                    return event

    async def take(self, count: int) -> list[Event]:
        return [event for _ in range(count) if (event := await self.next())]

    async def opened(self) -> None:
        """Wait until the server has said from where the stream goes on."""
        async with asyncio.timeout(DEADLINE_S):
            while "\nid: " not in self._text:
                self._text += (await self.chunks.get() or b"").decode()

    def _parse(self, block: str) -> Event | None:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        self.last_id = fields.get("id", self.last_id)
        if "data" not in fields:
            return None
        return Event(fields["event"], msgspec.json.decode(fields["data"]), fields.get("id"))

    async def receive(self) -> Message:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.is_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif body := message.get("body"):
            await self.chunks.put(body)


@asynccontextmanager
async def open_stream(
    api: Api, path: str = "/api/v1/stream", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Connect with the rights of `api`'s client; left when the block ends."""
    stream, url = Stream(), urlsplit(path)
    sent = {"authorization": api.client.headers["Authorization"], "host": "api", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "root_path": "",
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("test", 1),
        "server": ("api", 80),
    }

    async def call() -> None:
        await api.app(scope, stream.receive, stream.send)
        await stream.chunks.put(None)

    task = asyncio.create_task(call())
    try:
        await stream.opened()
        yield stream
    finally:
        stream.is_left.set()
        async with asyncio.timeout(DEADLINE_S):
            await task
