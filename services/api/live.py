"""Samples as they arrive, for the devices that somebody watches: read once per process, whoever watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.errors import DermafleetError
from dermafleet.logs import get_logger
from dermafleet.storage.engine import translate
from dermafleet.storage.telemetry import Arrival, arrivals, newest_entry
from services.api.subscriber import Message, Subscriber

POLL_S = 0.25
"""A browser draws new samples well within a second of their commit."""
MAX_ENTRIES = 64
MAX_SAMPLES = 3000
"""Of one device per poll; a backlog comes in pieces, not in one that stops everything."""
RETRY_S = 2.0

_encoder = msgspec.json.Encoder()
_log = get_logger()


@dataclass(slots=True)
class _Watch:
    """A device that streams watch; ``cursor`` is the newest entry they were sent."""

    device_id: str
    cursor: int
    streams: set[Subscriber] = field(default_factory=set)


class Live:
    """Reads the new samples of watched devices and hands them to their streams."""

    def __init__(self, reader: AsyncEngine) -> None:
        self._reader = reader
        self._watches: dict[int, _Watch] = {}

    @asynccontextmanager
    async def watch(self, id: int, device_id: str, stream: Subscriber) -> AsyncIterator[None]:
        """Send a stream what is committed for a device from now on, until the block ends."""
        if id not in self._watches:
            with translate():
                async with self._reader.connect() as connection:
                    cursor = await newest_entry(connection, id)
            self._watches.setdefault(id, _Watch(device_id, cursor))
        watch = self._watches[id]
        watch.streams.add(stream)
        try:
            yield
        finally:
            watch.streams.discard(stream)
            if not watch.streams:
                self._watches.pop(id, None)

    async def run(self) -> None:
        """Read for ever; ends when cancelled. An error is logged once and read over."""
        is_failing = False
        while True:
            try:
                await self.step()
                is_failing = False
            except DermafleetError as error:
                if not is_failing:
                    _log.warning("Live samples cannot be read", reason=str(error))
                is_failing = True
            except Exception:
                _log.exception("Reading live samples failed")
                is_failing = True
            await asyncio.sleep(RETRY_S if is_failing else POLL_S)

    async def step(self) -> None:
        """Read once and hand out."""
        if not self._watches:
            return
        cursors = {id: watch.cursor for id, watch in self._watches.items()}
        with translate():
            async with self._reader.connect() as connection:
                found = await arrivals(connection, cursors, entries=MAX_ENTRIES, samples=MAX_SAMPLES)
        for id, arrival in found.items():
            if watch := self._watches.get(id):
                watch.cursor = max(watch.cursor, arrival.cursor)
                if arrival.t:
                    self._hand_out(watch, arrival)

    def _hand_out(self, watch: _Watch, arrival: Arrival) -> None:
        body = {"device_id": watch.device_id, "t": arrival.t, "channels": arrival.channels}
        message = Message("telemetry", watch.device_id, _encoder.encode(body), None)
        for stream in watch.streams:
            stream.put(message)
