"""The MQTT side: one connection per broker, subscribed while ingest can store, and the way back for the acks.

A runner thread per broker connects, subscribes and unsubscribes; paho's own thread delivers. Every connection is a new
client with a clean session and a random id: nothing of an older one can leak into it.
"""

import random
import secrets
import threading
import time
from datetime import UTC, datetime

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dermafleet.logs import get_logger
from dermafleet.mqtt import Broker, make_client
from services.ingest import metrics
from services.ingest.decode import Message
from services.ingest.inbox import Inbox

KEEPALIVE_S = 20
ANSWER_S = 10.0
"""A broker that has not answered a CONNECT, SUBSCRIBE or UNSUBSCRIBE by then is given up and connected anew."""

QUIET_S = 45.0
"""Without any message for so long, subscribing again tests whether the connection still works: paho's thread can die
silently, and devices report every 30 s."""

_MAX_PAUSE_S = 15.0

_log = get_logger()


class Receiver:
    """One broker. `start`, `stop`; `pause` and `resume` say whether to be subscribed; `send` from any thread."""

    def __init__(self, broker: Broker, number: int, filters: list[str], inbox: Inbox) -> None:
        self.name = str(broker)
        self.problem: str | None = "not connected yet"
        self._broker = broker
        self._number = number
        self._filters = [(each, 0) for each in filters]  # QoS 0: nothing may queue at the broker
        self._inbox = inbox
        self._changed = threading.Condition()
        self._wanted = True
        self._stopping = False
        self._line: _Line | None = None
        self._thread = threading.Thread(target=self._run, name=f"broker-{number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def pause(self) -> None:
        """Leave the devices' data with the devices until `resume`."""
        self._want(False)

    def resume(self) -> None:
        self._want(True)

    def await_quiet(self, timeout_s: float) -> bool:
        """Wait until the broker has confirmed that it delivers no more, or is gone."""
        with self._changed:
            return self._changed.wait_for(lambda: self._line is None or not self._line.is_subscribed, timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Disconnect in order."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def send(self, topic: str, payload: bytes) -> None:
        """Publish an ack, QoS 0; if the broker is away it is lost, and the device asks again."""
        line = self._line
        if line is not None:
            line.client.publish(topic, payload, qos=0)

    def _want(self, wanted: bool) -> None:
        with self._changed:
            if self._wanted != wanted:
                self._wanted = wanted
                self._changed.notify_all()

    def _run(self) -> None:
        longest = 0.2
        while not self._stopping:
            line = _Line(self._broker, self._number, self._inbox, self._changed)
            try:
                reason = self._serve(line)
            except Exception as error:  # a broken line is replaced, whatever broke it
                reason = f"{type(error).__name__}: {error}"
            self._line = None
            line.close()
            metrics.SUBSCRIBED.labels(self.name).set(0)
            if self._stopping:
                return
            if line.was_subscribed or self.problem is None or self.problem == "not connected yet":
                _log.warning("No connection to a broker", broker=self.name, reason=reason)
            longest = 0.2 if line.was_subscribed else min(2 * longest, _MAX_PAUSE_S)
            self.problem = reason
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, random.uniform(0.05, longest))  # noqa: S311  # jitter

    def _serve(self, line: "_Line") -> str:
        """Keep one connection until it fails or we stop; returns why it ended."""
        line.connect()
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or line.is_connected or line.end, ANSWER_S)
        if not line.is_connected:
            return line.end or "it does not answer"
        metrics.CONNECTS.labels(self.name).inc()
        self._line = line
        while not self._stopping and line.end is None:
            if problem := self._steer(line):
                return problem
            with self._changed:
                seen = line.is_subscribed
                self._changed.wait_for(lambda: self._stopping or self._is_due(line, seen), 1.0)  # noqa: B023  # waits here
        return line.end or "stopped"

    def _is_due(self, line: "_Line", seen: bool) -> bool:
        """Whether there is something to do or to tell since ``seen``, the subscription when last looked at."""
        is_asking = line.asked_at is not None
        return (
            bool(line.end or line.refusal)
            or line.is_subscribed != seen
            or (not is_asking and line.is_subscribed != self._wanted)
        )

    def _steer(self, line: "_Line") -> str | None:
        """Ask for what is wanted if it is not so already; returns what is wrong with the connection."""
        now = time.monotonic()
        if line.refusal:
            return line.refusal
        if line.asked_at is not None:
            return "it does not answer" if now - line.asked_at > ANSWER_S else None
        if line.is_subscribed != self._wanted:
            line.ask(self._filters, subscribe=self._wanted)
        elif self._wanted and now - line.heard_at > QUIET_S:
            line.ask(self._filters, subscribe=True)
        if line.is_subscribed and self.problem is not None:
            _log.info("Subscribed at a broker", broker=self.name)
            self.problem = None
        metrics.SUBSCRIBED.labels(self.name).set(line.is_subscribed)
        return None


class _Line:
    """One connection: paho's callbacks turned into facts, each change told to ``changed``."""

    def __init__(self, broker: Broker, number: int, inbox: Inbox, changed: threading.Condition) -> None:
        self.is_connected = False
        self.is_subscribed = False
        self.was_subscribed = False
        self.end: str | None = None
        self.refusal: str | None = None
        self.asked_at: float | None = None
        self.heard_at = time.monotonic()
        self.client = make_client(broker, f"ingest-{secrets.token_hex(8)}")
        self._broker = broker
        self._number = number
        self._inbox = inbox
        self._changed = changed
        self._asked_to_subscribe = False
        self.client.on_connect = self._on_connect
        self.client.on_connect_fail = self._on_connect_fail
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_unsubscribe = self._on_unsubscribe
        self.client.on_message = self._on_message

    def connect(self) -> None:
        """Raises OSError if the broker cannot be reached."""
        self.client.connect_timeout = ANSWER_S / 2
        self.client.connect(self._broker.host, self._broker.port, keepalive=KEEPALIVE_S)
        self.client.loop_start()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def ask(self, filters: list[tuple[str, int]], *, subscribe: bool) -> None:
        self.asked_at = time.monotonic()
        self._asked_to_subscribe = subscribe
        if subscribe:
            code, _ = self.client.subscribe(filters)
        else:
            code, _ = self.client.unsubscribe([each for each, _ in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._tell(end=f"asking the broker failed: {code!s}")

    def _tell(self, *, end: str | None = None, refusal: str | None = None) -> None:
        with self._changed:
            self.end = self.end or end
            self.refusal = self.refusal or refusal
            self._changed.notify_all()

    def _on_connect(self, _: Client, __: object, ___: ConnectFlags, code: ReasonCode, ____: Properties | None) -> None:
        self.is_connected = not code.is_failure
        self._tell(end=f"refused: {code!s}" if code.is_failure else None)

    def _on_connect_fail(self, _: Client, __: object) -> None:
        self._tell(end="unreachable")

    def _on_disconnect(
        self, client: Client, _: object, __: DisconnectFlags, code: ReasonCode, ___: Properties | None
    ) -> None:
        self.is_connected = self.is_subscribed = False
        self._tell(end=f"disconnected: {code!s}")
        client.disconnect()  # ends paho's own loop of reconnecting: the runner makes a new client, with jitter

    def _on_subscribe(self, _: Client, __: object, ___: int, codes: list[ReasonCode], ____: Properties | None) -> None:
        self.asked_at, self.heard_at = None, time.monotonic()
        failed = [str(code) for code in codes if code.is_failure]
        self.is_subscribed = not failed
        self.was_subscribed |= self.is_subscribed
        self._tell(refusal=f"may not subscribe: {failed[0]}" if failed else None)

    def _on_unsubscribe(
        self, _: Client, __: object, ___: int, ____: list[ReasonCode], _____: Properties | None
    ) -> None:
        self.asked_at, self.is_subscribed = None, False
        self._tell()

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.heard_at = time.monotonic()
        try:
            topic = message.topic
        except UnicodeDecodeError:  # no topic of ours; MQTT forbids it, and not every broker checks
            metrics.LEFT_OUT.inc()
            return
        metrics.RECEIVED_BYTES.inc(len(message.payload))
        if not self._inbox.put(Message(topic, bytes(message.payload), datetime.now(UTC), self._number)):
            metrics.LEFT_OUT.inc()
