"""What a user may do at the broker, judged by what is delivered: MQTT 3.1.1 reports a refused publish as success."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from paho.mqtt.client import Client, MQTTMessage

from dermafleet.contracts.topics import Topics
from dermafleet.embedded import broker as embedded
from dermafleet.embedded.broker import connection_problem, open_broker
from dermafleet.embedded.program import Child
from dermafleet.mqtt import make_client, parse_url

TOPICS = Topics()
MINE, OTHER = "D-0001", "D-0002"
END = b"end"


class Broker(Protocol):
    def url(self, username: str) -> str: ...


class Inbox:
    """A connected client that remembers what it was sent."""

    def __init__(self, url: str, subscribe: list[tuple[str, int]]) -> None:
        self.received: list[tuple[str, bytes, bool]] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._subscribe = subscribe
        self.client = make_client(parse_url(url), f"test-{id(self):x}")
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_message
        broker = parse_url(url)
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def wait_for(self, payload: bytes) -> None:
        with self._news:
            assert self._news.wait_for(lambda: payload in self.payloads, 10), self.received

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload, _ in self.received]

    @property
    def topics(self) -> set[str]:
        return {topic for topic, payload, _ in self.received if payload != END}

    def publish(self, topic: str, payload: bytes = b"x", *, qos: int = 0, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=qos, retain=retain)

    def _on_connect(self, client: Client, *_: object) -> None:
        if self._subscribe:
            client.subscribe(self._subscribe)
        else:
            self._ready.set()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._news:
            self.received.append((message.topic, bytes(message.payload), message.retain))
            self._news.notify_all()


Connect = Callable[..., Inbox]


@pytest.fixture
def connect(any_broker: Broker) -> Iterator[Connect]:
    """Connect as a user, subscribed to the given filters (QoS 1 unless told)."""
    with connections(any_broker) as connect:
        yield connect


@contextmanager
def connections(broker: Broker) -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_inbox(user: str, *filters: str, qos: int = 1) -> Inbox:
            inbox = Inbox(broker.url(user), [(each, qos) for each in filters])
            stack.callback(inbox.stop)
            return inbox

        yield open_inbox


def test_device_publishes_its_log_and_status_to_ingest(connect: Connect) -> None:
    ingest, device = connect("ingest", *TOPICS.ingest_filters()), connect(MINE)
    device.publish(TOPICS.up(MINE, "telemetry"))
    device.publish(TOPICS.up(MINE, "event"))
    device.publish(TOPICS.status(MINE), END, qos=1)
    ingest.wait_for(END)
    assert {TOPICS.up(MINE, "telemetry"), TOPICS.up(MINE, "event")} <= ingest.topics


def test_device_publishes_nowhere_else(connect: Connect) -> None:
    spy, device = connect("spy", f"{TOPICS.prefix}/#"), connect(MINE)
    forbidden = [
        TOPICS.up(OTHER, "telemetry"),
        TOPICS.status(OTHER),
        TOPICS.down(MINE, "ack"),
        TOPICS.down(OTHER, "ack"),
        TOPICS.up(MINE, "event") + "/deeper",
        f"{TOPICS.prefix}/anything",
    ]
    for topic in forbidden:
        device.publish(topic)
        connect(MINE).publish(topic, qos=1)  # a connection of its own: some brokers end it
    connect(MINE).publish(TOPICS.up(MINE, "event"), END)
    spy.wait_for(END)
    assert not spy.topics & set(forbidden)


@pytest.mark.parametrize("qos", [0, 1])
def test_device_reads_its_own_acks_and_no_others(connect: Connect, qos: int) -> None:
    filters = [TOPICS.all_down(MINE), TOPICS.all_down(OTHER), f"{TOPICS.prefix}/#", "#", "$MQTT/sub/#", "$MQTT/#"]
    inboxes = [connect(MINE, each, qos=qos) for each in filters]
    other, ingest = connect(OTHER, TOPICS.all_down(OTHER), qos=qos), connect("ingest")
    ingest.publish(TOPICS.down(OTHER, "ack"), b"for the other", qos=qos)
    ingest.publish(TOPICS.down(MINE, "ack"), END, qos=qos)
    inboxes[0].wait_for(END)
    other.wait_for(b"for the other")
    connect(OTHER).publish(TOPICS.up(OTHER, "event"), b"the other's log")
    assert [inbox.payloads for inbox in inboxes if b"for the other" in inbox.payloads] == []
    assert [inbox.topics for inbox in inboxes if inbox.topics - {TOPICS.down(MINE, "ack")}] == []


def test_retained_message_reaches_a_later_subscriber_with_rights_and_no_other(connect: Connect) -> None:
    ingest = connect("ingest")
    ingest.publish(TOPICS.down(OTHER, "config"), b"settings", qos=1, retain=True)
    late = connect(OTHER, TOPICS.all_down(OTHER))
    late.wait_for(b"settings")
    assert (TOPICS.down(OTHER, "config"), b"settings", True) in late.received
    nosy = connect(MINE, "#", TOPICS.all_down(MINE))
    ingest.publish(TOPICS.down(MINE, "ack"), END, qos=1)
    nosy.wait_for(END)
    assert b"settings" not in nosy.payloads
    ingest.publish(TOPICS.down(OTHER, "config"), b"", qos=1, retain=True)


def test_last_will_of_a_device_reaches_ingest(connect: Connect, any_broker: Broker) -> None:
    ingest = connect("ingest", *TOPICS.ingest_filters())
    broker = parse_url(any_broker.url(MINE))
    dying = make_client(broker, "dying")
    dying.will_set(TOPICS.status(MINE), b"gone", qos=1, retain=True)
    dying.connect(broker.host, broker.port)
    dying.loop_start()
    dying.publish(TOPICS.up(MINE, "event"), b"alive")
    ingest.wait_for(b"alive")
    sock = dying.socket()
    assert sock is not None
    dying.loop_stop()
    sock.close()
    ingest.wait_for(b"gone")


def test_wrong_password_and_no_password_are_refused(any_broker: Broker) -> None:
    url = any_broker.url("ingest")
    address = url.rpartition("@")[2]
    assert connection_problem(url) is None
    assert connection_problem(f"mqtt://ingest:wrong@{address}") is not None
    assert connection_problem(f"mqtt://{address}") is not None


def test_embedded_broker_takes_new_users_without_a_restart(tmp_path: Path) -> None:
    broker = open_broker(tmp_path / "with space", [embedded.spy("spy", TOPICS)])
    with Child(broker.program, tmp_path / "log") as child, connections(broker) as connect:
        spy = connect("spy", f"{TOPICS.prefix}/#")
        broker.users = {**broker.users, "NEW": embedded.device("NEW", TOPICS)}
        broker.write()
        child.reload()
        deadline = time.monotonic() + 10
        while (problem := connection_problem(broker.url("NEW"))) is not None:
            assert time.monotonic() < deadline, problem
        connect("NEW").publish(TOPICS.up("NEW", "event"), END)
        spy.wait_for(END)


def test_embedded_broker_keeps_retained_messages_when_killed(tmp_path: Path) -> None:
    broker = open_broker(tmp_path / "broker", [embedded.spy("spy", TOPICS)])
    child = Child(broker.program, tmp_path / "log")
    with child, connections(broker) as connect:
        first = connect("spy", f"{TOPICS.prefix}/#")
        first.publish(TOPICS.status(MINE), b"here", qos=1, retain=True)
        first.wait_for(b"here")
        child.kill()
        child.start()
        connect("spy", f"{TOPICS.prefix}/#").wait_for(b"here")


def test_embedded_brokers_folder_is_closed_to_others(broker: embedded.EmbeddedBroker) -> None:
    assert (broker.folder / "nats.conf").stat().st_mode & 0o777 == 0o600
    assert broker.folder.stat().st_mode & 0o777 == 0o700
