"""The one reader of the change feed in this process, and the streams it feeds.

Polling is the guarantee; nothing here holds a connection while it waits. A stream that cannot keep up, or resumes from
too far back, is told to start over: never a gap without a word.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.errors import DermafleetError
from dermafleet.logs import get_logger
from dermafleet.storage import changes
from dermafleet.storage.changes import Position
from dermafleet.storage.engine import translate
from services.api.render import messages_of
from services.api.subscriber import Message, Subscriber, Topic

BATCH = 500
"""Changes read at once: what 10 000 devices report in a second."""
MAX_REPLAY = 2000
"""Changes replayed to a stream that resumes; fetching everything anew costs less than more of them."""
RETRY_S = 2.0

_log = get_logger()


class Feed:
    """Reads what changed and hands it to the streams of this process.

    Attributes:
        position: everything up to here was handed out; None before the first read.
    """

    def __init__(self, reader: AsyncEngine, *, poll_s: float, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._poll_s = poll_s
        self._now = now
        self._streams: set[Subscriber] = set()
        self._is_closed = False
        self.position: Position | None = None

    def count_streams(self, owner: str) -> int:
        """How many streams an account has open."""
        return sum(stream.owner == owner for stream in self._streams)

    @contextmanager
    def subscribe(self, topics: frozenset[Topic], device_id: str | None, *, owner: str) -> Iterator[Subscriber]:
        """A stream's queue, filled from `position` on until the block ends."""
        stream = Subscriber(topics, device_id, self.position or Position(0, 0), owner=owner)
        if self._is_closed:
            stream.close()
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    def close(self) -> None:
        """End all streams, also those that open later; the process is stopping."""
        self._is_closed = True
        for stream in self._streams:
            stream.close()

    async def replay(self, stream: Subscriber, token: Position) -> list[Message] | None:
        """What a stream missed between ``token`` and the start of its queue; None = too much or too long ago.

        A token that is newer than the queue's start comes from another process, further on than this one: the stream
        then skips what it has seen already.
        """
        with translate():
            async with self._reader.connect() as connection:
                if not await changes.can_resume(connection, token):
                    return None
                if token >= stream.position:
                    stream.position = token
                    return []
                missed = await changes.changes_after(connection, token, limit=MAX_REPLAY + 1)
                missed = [change for change in missed if change.position <= stream.position]
                if len(missed) > MAX_REPLAY:
                    return None
                messages = await messages_of(connection, missed, now=self._now())
        return [message for message in messages if stream.wants(message)]

    async def run(self) -> None:
        """Read for ever; ends when cancelled. An error is logged once and read over."""
        is_failing = False
        while True:
            try:
                is_full = await self.step()
                if is_failing:
                    _log.info("Reading changes again")
                is_failing = False
            except DermafleetError as error:
                if not is_failing:
                    _log.warning("Changes cannot be read; browsers see no news until they can", reason=str(error))
                is_failing = True
            except Exception:
                _log.exception("Reading changes failed")
                is_failing = True
            if is_failing:
                await asyncio.sleep(RETRY_S)
            elif not is_full:
                await asyncio.sleep(self._poll_s)

    async def step(self) -> bool:
        """Read once and hand out; returns whether more is waiting."""
        with translate():
            async with self._reader.connect() as connection:
                end = await changes.end_of_feed(connection)
                if self.position is None or self.position > end:
                    self._start_over(end)
                    return False
                found = await changes.changes_after(connection, self.position, limit=BATCH)
                messages = await messages_of(connection, found, now=self._now()) if self._streams else []
                is_full = len(found) == BATCH
                # At once: a stream that opened while we wait here for anything would miss what was not rendered for it.
                self._hand_out(messages, found[-1].position if is_full else end)
                return is_full

    def _hand_out(self, messages: list[Message], position: Position) -> None:
        for stream in self._streams:
            for message in messages:
                stream.put(message)
        self.position = position

    def _start_over(self, position: Position) -> None:
        """Begin at ``position``: at the start, or because the database was restored to an earlier state."""
        if self.position is not None:
            _log.warning("The change feed went back in time: the database was restored", position=str(position))
        for stream in self._streams:
            stream.position = position
            stream.restart()
        self.position = position
