"""A fleet's load in a process of its own: the device's side of the protocol, without a disk.

Many devices share one connection to the broker; topics, envelopes, windows and acks are those of real ones. An entry
counts when its ack is here. ``python -m bench.load FILE`` reads a `Plan` and prints a `Tally`, both JSON.
"""

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from paho.mqtt.client import Client, MQTTMessage

from dermafleet.contracts.ack import decode_ack
from dermafleet.contracts.channels import CHANNELS
from dermafleet.contracts.envelope import Header, encode
from dermafleet.contracts.telemetry import Telemetry, encode_telemetry
from dermafleet.contracts.topics import Topics
from dermafleet.mqtt import make_client, parse_url

WINDOW = 8
"""Entries in flight per device: what the protocol allows."""
_RESEND_S = 10.0
_PATTERNS = 100
_BOOT = "bench"


class Plan(msgspec.Struct, frozen=True):
    """How to load: for ``run_s`` seconds, then until all is acknowledged, at most ``drain_s``."""

    url: str
    device_ids: list[str]
    samples: int
    channels: int
    run_s: float
    drain_s: float = 20.0


class Tally(msgspec.Struct):
    """Acknowledged entries and samples, from the first publication to the last ack; Unix seconds, CPU seconds."""

    entries: int = 0
    samples: int = 0
    resent: int = 0
    refused: int = 0
    open: int = 0
    began_at: float = 0.0
    ended_at: float = 0.0
    cpu_s: float = 0.0


class _Device:
    """One device: what it has in flight, by number, and when it was sent."""

    def __init__(self, device_id: str, seed: int) -> None:
        self.topic = Topics().up(device_id, "telemetry")
        self.epoch = f"{random.Random(seed).getrandbits(64):016x}"
        self.head = 0
        self.flying: dict[int, float] = {}
        self.offset = seed


class Load:
    """Publishes for all devices and keeps their windows full. One thread: paho's loop is driven from `run`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._devices = {each: _Device(each, i) for i, each in enumerate(plan.device_ids)}
        self._tails = [_tail(random.Random(seed), plan) for seed in range(_PATTERNS)]
        self._tally = Tally()
        self._ready: set[str] = set(self._devices)
        broker = parse_url(plan.url)
        self._client: Client = make_client(broker, "")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._is_subscribed = False
        self._client.connect(broker.host, broker.port)

    def run(self) -> Tally:
        """Load for as long as the plan says."""
        while not self._is_subscribed:
            self._client.loop(0.1)
        tally, cpu_s = self._tally, time.process_time()
        tally.began_at = time.time()
        ends = time.monotonic() + self._plan.run_s
        look_at = time.monotonic() + _RESEND_S
        while (now := time.monotonic()) < ends:
            for device_id in list(self._ready):
                self._fill(device_id, self._devices[device_id], now)
            self._ready.clear()
            self._client.loop(0.05)
            if now >= look_at:
                self._resend(now)
                look_at = now + 1.0
        while any(d.flying for d in self._devices.values()) and time.monotonic() < ends + self._plan.drain_s:
            self._client.loop(0.05)
            self._resend(time.monotonic())
        tally.cpu_s = time.process_time() - cpu_s
        tally.open = sum(len(d.flying) for d in self._devices.values())
        self._client.disconnect()
        return tally

    def _fill(self, device_id: str, device: _Device, now: float) -> None:
        for _ in range(WINDOW - len(device.flying)):
            device.head += 1
            self._publish(device, device.head, now)

    def _publish(self, device: _Device, seq: int, now: float) -> None:
        header = Header(
            epoch=device.epoch,
            seq=seq,
            low=(device.epoch, min(device.flying, default=seq)),
            head=device.head,
            now_boot=_BOOT,
            now_up=3_600_000,
            sent_at=time.time_ns() // 1_000_000,
        )
        device.flying[seq] = now
        span_ms = self._plan.samples * 100
        at = _START_MS + seq * span_ms
        tail = self._tails[(seq + device.offset) % _PATTERNS]
        raw = b'{"boot":"bench","up":%d,"t0":%d,' % (seq * span_ms, at) + tail
        self._client.publish(device.topic, encode(header, raw))

    def _resend(self, now: float) -> None:
        for device in self._devices.values():
            for seq, sent_at in list(device.flying.items()):
                if now - sent_at > _RESEND_S:
                    self._tally.resent += 1
                    self._publish(device, seq, now)

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(f"{Topics().prefix}/+/+/down/ack")

    def _on_subscribe(self, *_: object) -> None:
        self._is_subscribed = True

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        device_id = message.topic.split("/")[-3]
        device, ack = self._devices.get(device_id), decode_ack(bytes(message.payload))
        if device is None or ack.epoch != device.epoch:
            return
        for first, last in ack.seqs:
            for seq in range(first, last + 1):
                if device.flying.pop(seq, None) is not None:
                    self._tally.entries += 1
                    self._tally.samples += self._plan.samples
        for first, last in ack.refused:
            self._tally.refused += sum(device.flying.pop(seq, None) is not None for seq in range(first, last + 1))
        self._tally.ended_at = time.time()
        self._ready.add(device_id)


_START_MS = (int(time.time()) - 86_400) * 1000


def _tail(chance: random.Random, plan: Plan) -> bytes:
    """The part of an entry after its time: values with the digits a sensor has, within their plausible range."""
    block = Telemetry(
        boot=_BOOT,
        up=0,
        t0=0,
        clock="synced",
        dt=[100 * i for i in range(plan.samples)],
        ch={
            channel.name: [
                round(min(max(chance.gauss(0.4, 0.05), 0), 1) * min(channel.high, 100), 2) for _ in range(plan.samples)
            ]
            for channel in CHANNELS[: plan.channels]
        },
    )
    raw = encode_telemetry(block)
    return raw[raw.index(b'"clock"') :]


def main(arguments: Sequence[str]) -> None:
    """Read the plan, load, print the tally."""
    plan = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Plan)
    print(msgspec.json.encode(Load(plan).run()).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
