"""One MQTT connection, from connect to close: a paho client of its own, driven by the thread that owns it.

Every connection has a fresh client: nothing queued in an old one can come out late (paho keeps QoS 1 messages over
reconnects), and callbacks, publishing and decisions share one thread, so that there is nothing to lock.
"""

import logging
import os
import selectors
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dermafleet.errors import TransientError
from dermafleet.mqtt import Broker, make_client

log = logging.getLogger(__name__)

_KEEPALIVE_S = 30
_CONNECT_TIMEOUT_S = 5.0
_MAX_READS = 64
"""Packets read per step, so that a flood cannot keep the owner from its other work."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this connection breaks."""

    topic: str
    payload: bytes


class WakePipe:
    """Lets another thread end a wait. Writing never blocks."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self._write_end, False)
        self._lock = threading.Lock()  # a closed descriptor's number may already be another file's
        self._closed = False

    def wake(self) -> None:
        with self._lock, suppress(BlockingIOError):  # it is awake already
            if not self._closed:
                os.write(self._write_end, b"\0")

    def clear(self) -> None:
        try:
            while os.read(self.read_end, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.read_end)
            os.close(self._write_end)


class Connection:
    """A connection being made, then up, then gone; never used again after that."""

    def __init__(self, broker: Broker, client_id: str, *, will: Will, ca_file: Path | None, wake: WakePipe) -> None:
        """Connect and ask for a session; `step` until `is_ready`.

        Raises:
            TransientError: the broker cannot be reached.
        """
        self.is_ready = False
        self.lost: str | None = None
        self._subscription: str | None = None
        self._messages: list[tuple[str, bytes]] = []
        self._wake = wake
        self._client = self._make(broker, client_id, ca_file)
        self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        try:
            self._client.connect(broker.host, broker.port, keepalive=_KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise TransientError(f"{broker}: {error}") from error
        self._selector = selectors.DefaultSelector()
        self._socket = self._client.socket()
        if self._socket is None:
            raise TransientError(f"{broker}: closed while connecting")
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(wake.read_end, selectors.EVENT_READ)

    def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 0 as soon as the session is there; `is_ready` once the broker granted it."""
        self._subscription = topic_filter

    def step(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Wait for traffic, a wake-up or the timeout, do the network's work, and return what came: (topic, payload)."""
        if self.lost is not None:  # while publishing: its socket is closed
            return []
        sock = self._socket
        assert sock is not None
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        self._selector.modify(sock, events)
        ready = dict.fromkeys((key.fileobj for key, _ in self._selector.select(max(0.0, timeout_s))), True)
        if self._wake.read_end in ready:
            self._wake.clear()
        if sock in ready:
            self._read()
        if self.lost is None and self._client.want_write():
            self._check(self._client.loop_write())
        if self.lost is None:
            self._check(self._client.loop_misc())
        messages, self._messages = self._messages, []
        return messages

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Hand a message to the socket. No promise: only an ack of the server is one."""
        if self.lost is None:
            self._check(self._client.publish(topic, payload, qos=qos, retain=retain).rc)

    def say_goodbye(self) -> None:
        """Disconnect properly, so that the broker does not publish the will."""
        self._client.disconnect()

    def close(self) -> None:
        """Close the socket; without a goodbye the broker publishes the will."""
        self._selector.close()
        self._client.on_disconnect = None
        self._client._sock_close()  # paho offers no other way to leave without DISCONNECT

    def _read(self) -> None:
        for _ in range(_MAX_READS):
            before = len(self._messages)
            self._check(self._client.loop_read())
            pending = getattr(self._socket, "pending", None)  # bytes a TLS socket has already read
            more = len(self._messages) > before or (pending is not None and self.lost is None and pending() > 0)
            if self.lost is not None or not more:
                return

    def _check(self, rc: MQTTErrorCode) -> None:
        if rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN) and self.lost is None:
            self.lost = rc.name.removeprefix("MQTT_ERR_").lower().replace("_", " ")

    def _make(self, broker: Broker, client_id: str, ca_file: Path | None) -> Client:
        client = make_client(broker, client_id, ca_file=ca_file)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: Client, _data: Any, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.lost = f"refused: {code}"
        elif self._subscription is not None:
            client.subscribe(self._subscription, qos=0)

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(code.is_failure for code in codes):
            self.lost = "the subscription to our own acks was refused"
        else:
            self.is_ready = True

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self.lost = self.lost or str(code)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._messages.append((message.topic, bytes(message.payload)))
