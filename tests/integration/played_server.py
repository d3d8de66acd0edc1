"""A server that a test plays for one device: it remembers what arrives, and answers as told."""

from typing import Literal, Protocol

from paho.mqtt.client import Client, MQTTMessage

from dermafleet.contracts.ack import Ack, encode_ack
from dermafleet.contracts.envelope import Header, split
from dermafleet.contracts.status import Status, decode_status
from dermafleet.contracts.topics import Topics
from dermafleet.mqtt import make_client, parse_url
from tests.waiting import until

TOPICS = Topics()


class Reachable(Protocol):
    def url(self, username: str) -> str: ...


class Server:
    """Remembers what arrives for one device, and answers as told."""

    def __init__(self, url: str, device_id: str, name: str = "server-1") -> None:
        self.device_id, self.name = device_id, name
        self.arrived: list[tuple[Header, bytes]] = []
        self.statuses: list[Status] = []
        self.is_acking, self.lose_next = True, 0
        self.hold: Literal["unknown"] | None = None
        self._subscribed = False
        broker = parse_url(url)
        self._client = make_client(broker, f"test-{name}-{device_id}")
        self._client.on_message = self._receive
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 0) for topic in TOPICS.ingest_filters()])
        self._client.on_subscribe = lambda *_: setattr(self, "_subscribed", True)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        until(lambda: self._subscribed)

    def answer(self, ack: Ack) -> None:
        self._client.publish(TOPICS.down(self.device_id, "ack"), encode_ack(ack))

    def send_raw(self, payload: bytes) -> None:
        self._client.publish(TOPICS.down(self.device_id, "ack"), payload)

    def positions(self) -> set[tuple[str, int]]:
        return {(header.epoch, header.seq) for header, _ in self.arrived}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _receive(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        incoming = TOPICS.parse(message.topic)
        if incoming.device_id != self.device_id:
            return
        if incoming.kind is None:
            if message.payload:
                self.statuses.append(decode_status(bytes(message.payload)))
            return
        header, raw = split(bytes(message.payload))
        self.arrived.append((header, raw))
        if self.hold is not None:
            self.answer(Ack(server=self.name, hold=self.hold, wait_ms=300))
        elif self.lose_next:
            self.lose_next -= 1
        elif self.is_acking:
            self.answer(Ack(server=self.name, epoch=header.epoch, seqs=[(header.seq, header.seq)]))
