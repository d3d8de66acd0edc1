"""One open stream: what it wants to hear, and the bounded queue of what it has not been sent yet."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal

from dermafleet.storage.changes import Position

Topic = Literal["device", "alarm", "session", "telemetry"]

MAX_QUEUED = 512
"""Messages a browser may be behind: half a minute of a busy fleet. One that is further behind starts over."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell. ``data`` is JSON; live telemetry has no position in the feed."""

    topic: Topic
    device_id: str
    data: bytes
    position: Position | None


class Subscriber:
    """The queue between the reader of the feed and one stream. Full: emptied, and the stream is told to start over."""

    def __init__(self, topics: frozenset[Topic], device_id: str | None, position: Position, *, owner: str) -> None:
        self.owner = owner
        self.topics = topics
        self.device_id = device_id
        self.position = position
        """Everything up to here was sent before, or is not for this stream."""
        self.is_behind = False
        """Messages were thrown away: the reader of this stream has to fetch everything anew."""
        self.is_closed = False
        self._queue: deque[Message] = deque()
        self._woken = asyncio.Event()

    def wants(self, message: Message) -> bool:
        return message.topic in self.topics and self.device_id in (None, message.device_id)

    def put(self, message: Message) -> None:
        is_seen = message.position is not None and message.position <= self.position
        if self.wants(message) and not is_seen:
            if len(self._queue) >= MAX_QUEUED:
                self.restart()
            self._queue.append(message)
            self._woken.set()

    def restart(self) -> None:
        """Throw away what is queued and say so."""
        self._queue.clear()
        self.is_behind = True
        self._woken.set()

    def close(self) -> None:
        """Let the stream end."""
        self.is_closed = True
        self._woken.set()

    def take(self) -> list[Message]:
        """Everything queued, oldest first."""
        taken = list(self._queue)
        self._queue.clear()
        self._woken.clear()
        if self.is_closed:
            self._woken.set()
        return taken

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to send or to do; False after ``timeout_s`` without."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True
