"""The publisher: one thread that carries the outbox to the server and keeps the retained status fresh.

It alone talks to the broker. Other threads append to the outbox and call `wake`.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dermafleet import __version__
from dermafleet.contracts.ack import Ack, decode_ack
from dermafleet.contracts.envelope import Header, encode
from dermafleet.contracts.ranges import RangeSet
from dermafleet.contracts.status import MachineState, Status, encode_status
from dermafleet.contracts.topics import Topics
from dermafleet.errors import InvalidMessage, TransientError
from dermafleet.mqtt import Broker
from device_agent.clock import Clock, wall_ms
from device_agent.connection import Connection, WakePipe, Will
from device_agent.entries import Entry
from device_agent.outbox import Outbox
from device_agent.outbox_file import BrokenOutbox
from device_agent.window import Pace, Window

log = logging.getLogger(__name__)

_CONNACK_S = 10.0
_STATUS_GAP_S = 1.0
"""At most one status per second, however often the state changes."""
_STEADY_S = 10.0
"""A connection that lasted this long resets the back-off."""
_STORAGE_PAUSE_S = 10.0


DEFAULT_TOPICS = Topics()
DEFAULT_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Link:
    """How a device reaches its server.

    Attributes:
        brokers: tried in turn.
        status_s: at least one status in this time.
        reconnect_s: first and longest pause between attempts; the actual one is random below it.
    """

    device_id: str
    brokers: tuple[Broker, ...]
    topics: Topics = DEFAULT_TOPICS
    ca_file: Path | None = None
    pace: Pace = DEFAULT_PACE
    status_s: float = 30.0
    reconnect_s: tuple[float, float] = (1.0, 60.0)


@dataclass(frozen=True, slots=True)
class Live:
    """What the status says about the machine right now."""

    state: MachineState = "idle"
    latest: dict[str, float | None] | None = None


@dataclass(frozen=True, slots=True)
class LinkState:
    """What a person asks about the connection."""

    broker: str | None
    connected: bool
    holding: str | None
    last_ack_at: int | None
    ack_time_s: float | None
    server: str | None


class Publisher:
    """Sends what is pending, settles what is acknowledged, from `start` to `stop`.

    Attributes:
        failure: why it has ended before it was told to: the outbox is damaged.
    """

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        clock: Clock,
        live: Callable[[], Live],
        is_reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        """``is_reachable`` False: the network is gone, as in a simulation."""
        self.failure: BrokenOutbox | None = None
        self._link = link
        self._outbox = outbox
        self._clock = clock
        self._live = live
        self._is_reachable = is_reachable
        self._window = Window(link.pace, random.random)
        self._wake = WakePipe()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"publisher-{link.device_id}", daemon=True)
        self._broker_index = 0
        self._attempts = 0
        self._connection_number = int(outbox.recall("connection") or 0)
        self._server = outbox.recall("server")
        self._foreign: set[str] = set()
        self._told_unreadable = False
        self._state: MachineState | None = None
        self._connected = False
        self._last_ack_at: int | None = None

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something was appended, or the machine's state changed."""
        self._wake.wake()

    def stop(self, timeout_s: float) -> None:
        """Say goodbye to the broker and end the thread; what is unacknowledged stays in the outbox."""
        self.ask_stop()
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("%s: the publisher did not stop in time", self._link.device_id)
        else:
            self._wake.close()

    def ask_stop(self) -> None:
        """Begin to stop without waiting."""
        self._stopping.set()
        self._wake.wake()

    def link_state(self) -> LinkState:
        return LinkState(
            broker=str(self._broker()),
            connected=self._connected,
            holding=self._window.holding,
            last_ack_at=self._last_ack_at,
            ack_time_s=self._window.ack_time_s,
            server=self._server,
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._connect_and_serve()
            except TransientError as error:
                if self._attempts == 0 and not self._stopping.is_set():
                    log.warning("%s: no connection: %s", self._link.device_id, error)
            except BrokenOutbox as error:
                self.failure = error
                return
            except Exception:
                log.exception("%s: the publisher failed and starts again", self._link.device_id)
            self._connected = False
            self._broker_index += 1
            first, longest = self._link.reconnect_s
            delay = random.random() * min(longest, first * 2 ** min(self._attempts, 16))  # noqa: S311 - jitter
            self._attempts += 1
            self._stopping.wait(delay)

    def _broker(self) -> Broker:
        return self._link.brokers[self._broker_index % len(self._link.brokers)]

    def _connect_and_serve(self) -> None:
        link, broker = self._link, self._broker()
        if not self._is_reachable():
            raise TransientError(f"{broker}: no network")
        self._connection_number = self._next_connection_number()
        topic = link.topics.status(link.device_id)
        will = Will(topic, encode_status(Status(connection=self._connection_number, online=False)))
        connection = Connection(broker, link.device_id, will=will, ca_file=link.ca_file, wake=self._wake)
        try:
            connection.subscribe(link.topics.all_down(link.device_id))
            self._await_ready(connection)
            log.info("%s: connected to %s", link.device_id, broker)
            self._connected = True
            began = time.monotonic()
            self._window.restart(began)
            self._serve(connection)
            if time.monotonic() - began > _STEADY_S:
                self._attempts = 0
            if self._stopping.is_set() and connection.lost is None:
                connection.publish(topic, will.payload, qos=1, retain=True)
                connection.say_goodbye()
            elif connection.lost is not None:
                raise TransientError(f"{broker}: {connection.lost}")
        finally:
            connection.close()

    def _next_connection_number(self) -> int:
        number = connection_number(self._connection_number, wall_ms())
        self._outbox.remember({"connection": str(number)}, durable=True)
        return number

    def _await_ready(self, connection: Connection) -> None:
        """Until the broker has granted our subscription: an ack before that would pass us by."""
        deadline = time.monotonic() + _CONNACK_S
        while not connection.is_ready:
            if connection.lost is not None or self._stopping.is_set():
                raise TransientError(f"{self._broker()}: {connection.lost or 'stopping'}")
            if time.monotonic() > deadline:
                raise TransientError(f"{self._broker()}: no answer within {_CONNACK_S:.0f} s")
            connection.step(0.5)

    def _serve(self, connection: Connection) -> None:
        """Send and settle until the connection is lost, silent, or no longer wanted."""
        status_at, count = -math.inf, 0
        while connection.lost is None and not self._stopping.is_set():
            if not self._is_reachable():
                raise TransientError(f"{self._broker()}: the network is gone")
            now = time.monotonic()
            live = self._live()
            gap = _STATUS_GAP_S if live.state != self._state else self._link.status_s
            if now >= status_at + gap:
                self._publish_status(connection, live, count)
                status_at, count = now, count + 1
            self._send(connection, now)
            if self._window.is_silent(now):
                self._window.moved(now)
                log.warning("%s: no ack, trying the next broker", self._link.device_id)
                return
            wake_at = min(self._window.wake_at(), status_at + self._link.status_s)
            if live.state != self._state:
                wake_at = min(wake_at, status_at + _STATUS_GAP_S)
            for topic, payload in connection.step(min(wake_at - now, self._link.status_s)):
                self._receive(topic, payload)

    def _send(self, connection: Connection, now: float) -> None:
        for flight in self._window.due(now):
            entry = self._outbox.read(flight.id)
            if entry is not None:
                self._publish(connection, entry)
            self._window.sent(flight, now)
        entries, payload_bytes = self._window.room(now)
        if entries == 0:
            return
        for entry in self._outbox.take(entries, payload_bytes, only_fitting=len(self._window) > 0):
            flight = self._window.add(entry.id, entry.epoch, entry.seq, len(entry.raw))
            self._publish(connection, entry)
            self._window.sent(flight, now)

    def _publish(self, connection: Connection, entry: Entry) -> None:
        now = self._clock.now()
        header = Header(
            epoch=entry.epoch,
            seq=entry.seq,
            low=self._outbox.low(),
            head=entry.head,
            now_boot=now.boot,
            now_up=now.up,
            sent_at=wall_ms(),
            anchor=entry.anchor,
        )
        topic = self._link.topics.up(self._link.device_id, entry.kind)
        connection.publish(topic, encode(header, entry.raw))

    def _publish_status(self, connection: Connection, live: Live, count: int) -> None:
        now = self._clock.now()
        status = Status(
            connection=self._connection_number,
            online=True,
            n=count,
            at=now.at,
            boot=now.boot,
            epoch=self._outbox.epoch,
            low=self._outbox.low(),
            head=self._outbox.head(),
            state=live.state,
            latest=live.latest or {},
            agent=__version__,
        )
        connection.publish(self._link.topics.status(self._link.device_id), encode_status(status), qos=1, retain=True)
        self._state = live.state

    def _receive(self, topic: str, payload: bytes) -> None:
        if topic != self._link.topics.down(self._link.device_id, "ack"):
            return
        try:
            ack = decode_ack(payload)
        except InvalidMessage as error:
            if not self._told_unreadable:
                log.warning("%s: unreadable ack, and perhaps more: %s", self._link.device_id, error)
            self._told_unreadable = True
            return
        try:
            if self._obeys(ack):
                self._apply(ack, time.monotonic())
        except TransientError as error:
            # What could not be noted is sent again later, and acknowledged again.
            log.warning("%s: %s", self._link.device_id, error)
            self._window.pause(_STORAGE_PAUSE_S, time.monotonic())

    def _obeys(self, ack: Ack) -> bool:
        """Only the enrolled server can make us forget data; the first that committed something is it."""
        if self._server is None and ack.seqs:
            self._outbox.remember({"server": ack.server}, durable=True)
            self._server = ack.server
            log.info("%s: enrolled with server %s", self._link.device_id, ack.server)
        if self._server is None or ack.server == self._server:
            return True
        if ack.server not in self._foreign and len(self._foreign) < 16:
            self._foreign.add(ack.server)
            log.warning("%s: acks of server %s are ignored, ours is %s", self._link.device_id, ack.server, self._server)
        return False

    def _apply(self, ack: Ack, now: float) -> None:
        if ack.hold is not None:
            if self._window.holding != ack.hold:
                log.warning("%s: the server holds this device: %s", self._link.device_id, ack.hold)
            self._window.hold(ack.hold, ack.wait_ms / 1000, now)
            return
        assert ack.epoch is not None
        if self._window.holding is not None:
            log.info("%s: the server accepts this device", self._link.device_id)
        instant = self._clock.now()
        settled = self._window.settle(ack.epoch, RangeSet(ack.seqs), RangeSet(ack.refused), now)
        if ack.wait_ms:
            self._window.pause(ack.wait_ms / 1000, now)
        if settled.acked or settled.refused:
            self._last_ack_at = wall_ms()
            self._outbox.settle(settled.acked, settled.refused, instant)
        if settled.refused:
            log.warning("%s: the server refused %d entries", self._link.device_id, len(settled.refused))
        if ack.want:
            self._outbox.want(ack.epoch, ack.want, instant)


def connection_number(last: int, now_ms: int) -> int:
    """The number after ``last``, and above those of a disk that was replaced or put back: servers ignore older ones."""
    return max(last + 1, now_ms // 1000)
