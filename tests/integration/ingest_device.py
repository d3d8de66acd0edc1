"""A device at a real broker, and an ingest process in a thread, for the tests of ingest."""

import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog
from paho.mqtt.client import Client, MQTTMessage
from pydantic import SecretStr

from dermafleet.contracts.ack import Ack, decode_ack
from dermafleet.contracts.topics import Topics
from dermafleet.embedded.program import free_port
from dermafleet.logs import configure
from dermafleet.mqtt import make_client, parse_url
from dermafleet.settings import Settings
from services.ingest import metrics
from services.ingest.decode import Message
from services.ingest.main import serve
from tests.unit.ingest.waiting import wait_until


class Device:
    """Publishes messages and remembers the acks. A context manager: connected and subscribed inside."""

    def __init__(self, url: str, device_id: str) -> None:
        self.acks: list[Ack] = []
        self.disconnects = 0
        self._broker = parse_url(url)
        self._client: Client = make_client(self._broker, device_id)
        self._filter = Topics().all_down(device_id)
        self._subscribed = threading.Event()
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, *messages: Message, qos: int = 0, retain: bool = False) -> None:
        for message in messages:
            self._client.publish(message.topic, message.payload, qos=qos, retain=retain)

    def deliver(self, entries: Mapping[int, Message], epoch: str) -> None:
        """Send entries as an agent does: eight at a time, again after a second, until all are acked."""
        numbers = sorted(entries)
        for i in range(0, len(numbers), 8):
            window = _Window(self, {number: entries[number] for number in numbers[i : i + 8]}, epoch)
            wait_until(window.is_acked, what=f"ack of {numbers[i : i + 8]}")

    def is_subscribed(self) -> bool:
        return self._subscribed.is_set()

    def numbers(self, field: str, epoch: str) -> set[int]:
        """All numbers that acks named in ``seqs``, ``refused`` or ``want``."""
        ranges = [r for ack in list(self.acks) if ack.epoch == epoch for r in getattr(ack, field)]
        return {number for first, last in ranges for number in range(first, last + 1)}

    def await_acked(self, epoch: str, numbers: set[int]) -> None:
        wait_until(lambda: numbers <= self.numbers("seqs", epoch), what=f"ack of {numbers} of {epoch}")

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(self._filter)

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.acks.append(decode_ack(bytes(message.payload)))

    def _on_disconnect(self, *_: object) -> None:
        self._subscribed.clear()
        self.disconnects += 1


@dataclass
class _Window:
    device: Device
    entries: Mapping[int, Message]
    epoch: str
    sent_at: float = float("-inf")

    def is_acked(self) -> bool:
        missing = self.entries.keys() - self.device.numbers("seqs", self.epoch)
        if missing and time.monotonic() - self.sent_at > 1:
            self.device.publish(*(self.entries[number] for number in sorted(missing)))
            self.sent_at = time.monotonic()
        return not missing


def settings(database_url: str, *broker_urls: str, **changes: Any) -> Settings:
    """Settings of an ingest process; changes by name."""
    fields: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "mqtt_url": tuple(SecretStr(url) for url in broker_urls),
        "auto_approve": True,
        "stop_s": 5.0,
    }
    return Settings(**(fields | changes))


@contextmanager
def running(of: Settings) -> Iterator[None]:
    """Ingest with these settings, subscribed inside, stopped in order after."""
    with _logs():
        yield from _run(of)


def _run(of: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=[of, stop], name="ingest")
    thread.start()
    try:
        wait_until(lambda: is_subscribed(of), what="ingest is subscribed")
        yield
    finally:
        stop.set()
        thread.join(2 * of.stop_s)
        assert not thread.is_alive()


@contextmanager
def process(database_url: str, broker_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Ingest as a process of its own, ready inside, killed after if it still runs."""
    port = free_port()
    environ = {
        "DERMAFLEET_DATABASE_URL": database_url,
        "DERMAFLEET_MQTT_URL": broker_url,
        "DERMAFLEET_AUTO_APPROVE": "true",
        "DERMAFLEET_METRICS_PORT": str(port),
    }
    with subprocess.Popen([sys.executable, "-m", "dermafleet", "ingest"], env=os.environ | environ) as child:
        try:
            wait_until(lambda: _is_ready(port), what="ingest is ready")
            yield child
        finally:
            child.kill()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _logs() -> Iterator[None]:
    """Logs as in the process: structlog's own default renders a traceback with all its variables, for seconds."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    configure("ingest")
    try:
        yield
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)


def is_subscribed(of: Settings) -> bool:
    """Whether the ingest with these settings is subscribed at all its brokers."""
    names = [str(parse_url(url)) for url in of.need_brokers()]
    return all(metrics.SUBSCRIBED.labels(name)._value.get() == 1 for name in names)
