"""The demo's spare device, doing at the real broker what a test tells it."""

import secrets
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import msgspec
from paho.mqtt.client import Client

from dermafleet.contracts.envelope import Header, encode
from dermafleet.contracts.records import OPENED, Event, Opened, encode_record
from dermafleet.contracts.status import MachineState, Status, encode_status
from dermafleet.contracts.telemetry import Telemetry, encode_telemetry
from dermafleet.contracts.topics import Kind, Topics
from dermafleet.mqtt import make_client, parse_url

GUEST = "GUEST-1"
CLEAN = {"pump_on": 1.0, "filter_dp_kpa": 0.5, "flow_lpm": 30.0, "vacuum_inlet_kpa": 20.0, "ambient_kpa": 101.0}
CLOGGED = {**CLEAN, "filter_dp_kpa": 12.6}
"""Above the rated limit of the demo's model."""

_STEP_MS = 100
_BOOT = "browser-test"
_LEAD_MS = 600_000
"""How far in the past its clock starts, so that it can record minutes in no time and still be on a live chart."""


class Guest:
    """A context manager: connected inside. Its log is kept nowhere; the broker is near and takes every message.

    Attributes:
        at_ms: its clock, which moves by what it records.
    """

    def __init__(self, url: str) -> None:
        self.at_ms = int(time.time() * 1000) - _LEAD_MS
        self._started_ms = self.at_ms
        self._epoch, self._seq, self._n = secrets.token_hex(8), 0, 0
        self._broker = parse_url(url)
        self._client: Client = make_client(self._broker, GUEST)

    def __enter__(self) -> Self:
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        assert connected.wait(10)
        data = msgspec.to_builtins(Opened(previous=None))
        event = Event(type=OPENED, boot=_BOOT, at=self.at_ms, up=self._up_ms, clock="synced", data=data)
        self._append("event", encode_record(event))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def report(self, state: MachineState) -> None:
        """Publish a status: online, doing this."""
        self._n += 1
        status = Status(
            connection=int(time.time()),
            online=True,
            n=self._n,
            at=self.at_ms,
            boot=_BOOT,
            epoch=self._epoch,
            low=(self._epoch, 1),
            head=(self._epoch, self._seq),
            state=state,
            agent="test",
        )
        self._publish(Topics().status(GUEST), encode_status(status), retain=True)

    def record(self, values: Mapping[str, float], *, seconds: float) -> int:
        """Publish one block of samples, all with these values; returns the time of the last one, Unix ms."""
        count = int(seconds * 1000 / _STEP_MS)
        block = Telemetry(
            boot=_BOOT,
            up=self._up_ms,
            t0=self.at_ms,
            clock="synced",
            dt=[i * _STEP_MS for i in range(count)],
            ch={name: [value] * count for name, value in values.items()},
        )
        self.at_ms += count * _STEP_MS
        self._append("telemetry", encode_telemetry(block))
        return self.at_ms - _STEP_MS

    @property
    def _up_ms(self) -> int:
        return self.at_ms - self._started_ms

    def _append(self, kind: Kind, raw: bytes) -> None:
        self._seq += 1
        header = Header(
            epoch=self._epoch,
            seq=self._seq,
            low=(self._epoch, 1),
            head=self._seq,
            now_boot=_BOOT,
            now_up=self._up_ms,
            anchor=self._started_ms,
        )
        self._publish(Topics().up(GUEST, kind), encode(header, raw))

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)
