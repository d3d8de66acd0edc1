"""The queue between the brokers' network threads and the thread that stores.

Bounded in messages and in bytes. At the bound it is *full* and ingest unsubscribes; what the brokers had already sent
still finds room for a while. Only if that too is used up is a message left out, and counted: it was not acknowledged,
so its device sends it again.
"""

import threading
import time
from collections import deque

from services.ingest.decode import Message

OVERRUN = 1.25
"""How far beyond its bound the inbox takes messages while unsubscribing is under way."""

_BLOCK_S = 0.5
"""How long a network thread may be held up; its keep-alive must not suffer."""


class Inbox:
    """A bounded queue of messages. `put` from any thread, `take` from one."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._wanted = 1
        self._is_overrun = False
        self._changed = threading.Condition()

    @property
    def fill(self) -> float:
        """How full it is: 1 = at its bound, in messages or in bytes."""
        return max(len(self._messages) / self._max_messages, self._bytes / self._max_bytes)

    @property
    def is_full(self) -> bool:
        return self.fill >= 1

    @property
    def is_drained(self) -> bool:
        """Whether there is room enough to subscribe again."""
        return self.fill <= 0.5

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> bool:
        """Add a message, waiting briefly for room; False = it was left out."""
        with self._changed:
            if self.fill >= OVERRUN and not self._await_room():
                return False
            self._messages.append(message)
            self._bytes += len(message.payload)
            if len(self._messages) >= self._wanted:
                self._changed.notify_all()
        return True

    def take(self, count: int, max_bytes: int, *, patience_s: float, gather_s: float) -> list[Message]:
        """The oldest messages: at most ``count`` and, beyond the first, ``max_bytes``.

        Waits up to ``patience_s`` for the first one, then up to ``gather_s`` for the batch to become full.
        """
        with self._changed:
            if not self._wait_for(1, patience_s):
                return []
            self._wait_for(count, gather_s)
            taken: list[Message] = []
            size = 0
            while self._messages and len(taken) < count:
                size += len(self._messages[0].payload)
                if taken and size > max_bytes:
                    break
                taken.append(self._messages.popleft())
            self._bytes -= sum(len(message.payload) for message in taken)
            self._is_overrun = False
            self._changed.notify_all()
            return taken

    def _await_room(self) -> bool:
        """Block once, not once per message: the unsubscribing waits for the network thread too."""
        if not self._is_overrun:
            self._is_overrun = not self._changed.wait_for(lambda: self.fill < OVERRUN, _BLOCK_S)
        return not self._is_overrun

    def _wait_for(self, count: int, timeout_s: float) -> bool:
        self._wanted = count
        deadline = time.monotonic() + timeout_s
        try:
            while len(self._messages) < count and not self.is_full:
                if not self._changed.wait(deadline - time.monotonic()):
                    break
        finally:
            self._wanted = 1
        return len(self._messages) >= 1
