"""The publisher against real brokers, with a server that the test plays."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermafleet.contracts.ack import Ack
from dermafleet.mqtt import parse_url
from device_agent.clock import SystemClock
from device_agent.entries import NewEntry
from device_agent.outbox import Outbox, open_outbox
from device_agent.outbox_file import FILE_NAME
from device_agent.publisher import Link, Live, Publisher
from device_agent.window import Pace
from tests.integration.played_server import Reachable, Server
from tests.waiting import until

QUICK = Pace(timeout_s=0.4, silence_s=3.0, hold_s=0.3)


class Device:
    """An outbox with its publisher."""

    def __init__(self, folder: Path, device_id: str, *urls: str) -> None:
        self.clock = SystemClock()
        self.outbox: Outbox = open_outbox(
            folder / FILE_NAME, self.clock, budget_bytes=8 * 1024 * 1024, keep_acked_ms=86_400_000
        )
        self.live = Live("idle", {"vacuum_inlet_kpa": 1.5})
        link = Link(
            device_id=device_id,
            brokers=tuple(parse_url(url) for url in urls),
            pace=QUICK,
            status_s=0.5,
            reconnect_s=(0.1, 0.3),
        )
        self.publisher = Publisher(link, self.outbox, self.clock, lambda: self.live)
        self.publisher.start()

    def append(self, *bodies: bytes) -> None:
        self.outbox.append([NewEntry("telemetry", body) for body in bodies], self.clock.now())
        self.publisher.wake()

    def drained(self) -> bool:
        return not self.outbox.has_pending()

    def close(self) -> None:
        self.publisher.stop(5)
        self.outbox.close()


@pytest.fixture
def server(any_broker: Reachable, request: pytest.FixtureRequest) -> Iterator[Server]:
    opened = Server(any_broker.url("ingest"), request.getfixturevalue("device_id"))
    yield opened
    opened.close()


@pytest.fixture
def device(any_broker: Reachable, device_id: str, tmp_path: Path) -> Iterator[Device]:
    opened = Device(tmp_path, device_id, any_broker.url(device_id))
    yield opened
    opened.close()


@pytest.fixture
def device_id(any_broker: Reachable) -> str:
    return "D-0031"


def test_everything_appended_arrives_in_order_and_is_settled(server: Server, device: Device) -> None:
    device.append(*(b'{"n":%d}' % n for n in range(50)))
    until(device.drained)
    seqs = [header.seq for header, _ in server.arrived]
    assert seqs == sorted(seqs)
    assert set(seqs) == set(range(1, 52))
    header, raw = server.arrived[-1]
    assert (header.head, header.low, raw) == (51, (device.outbox.epoch, 1), b'{"n":49}')
    assert header.anchor is not None


def test_lost_acks_are_made_up_for(server: Server, device: Device) -> None:
    server.lose_next = 10
    device.append(*(b'{"n":%d}' % n for n in range(30)))
    until(device.drained)
    assert server.positions() == {(device.outbox.epoch, n) for n in range(1, 32)}


def test_a_hold_keeps_the_data_until_it_is_lifted(server: Server, device: Device) -> None:
    server.hold = "unknown"
    device.append(b"{}", b"{}")
    until(lambda: device.publisher.link_state().holding == "unknown")
    assert device.outbox.backlog().entries == 3
    server.hold = None
    until(device.drained)
    assert device.publisher.link_state().holding is None


def test_only_the_enrolled_server_can_make_us_forget(server: Server, device: Device) -> None:
    until(device.drained)
    server.is_acking = False
    device.append(b"{}")
    until(lambda: len(server.positions()) == 2)
    server.answer(Ack(server="another", epoch=device.outbox.epoch, seqs=[(1, 100)]))
    server.answer(Ack(server="server-1", epoch=device.outbox.epoch, seqs=[], wait_ms=1))
    until(lambda: len(server.arrived) >= 4)
    assert not device.drained()
    server.is_acking = True
    until(device.drained)
    assert device.outbox.recall("server") == "server-1"


def test_wanted_entries_are_sent_again(server: Server, device: Device) -> None:
    device.append(b'{"n":1}', b'{"n":2}')
    until(device.drained)
    server.arrived.clear()
    server.answer(Ack(server="server-1", epoch=device.outbox.epoch, want=[(2, 2)]))
    device.publisher.wake()
    until(lambda: (device.outbox.epoch, 2) in server.positions())


def test_refused_entries_are_set_aside(server: Server, device: Device) -> None:
    until(device.drained)
    server.is_acking = False
    device.append(b"{}")
    until(lambda: len(server.positions()) == 2)
    server.answer(Ack(server="server-1", epoch=device.outbox.epoch, refused=[(2, 2)]))
    until(lambda: device.outbox.backlog().refused == 1)
    assert device.drained()


def test_status_says_what_the_machine_does_and_a_goodbye_ends_it(
    server: Server, any_broker: Reachable, tmp_path: Path, device_id: str
) -> None:
    device = Device(tmp_path / "own", device_id, any_broker.url(device_id))
    birth = until(lambda: next((s for s in server.statuses if s.online), None))
    assert birth is not None
    assert (birth.state, birth.latest, birth.epoch) == ("idle", {"vacuum_inlet_kpa": 1.5}, device.outbox.epoch)
    device.live = Live("treating", {"vacuum_inlet_kpa": 40.0})
    device.publisher.wake()
    treating = until(lambda: next((s for s in server.statuses if s.state == "treating"), None))
    assert treating is not None
    assert treating.connection == birth.connection
    assert treating.n is not None
    assert treating.n > (birth.n or 0)
    device.close()
    until(lambda: not server.statuses[-1].online)
    again = Device(tmp_path / "own", device_id, any_broker.url(device_id))
    until(lambda: server.statuses[-1].online and server.statuses[-1].connection > birth.connection)
    again.close()


def test_a_broker_that_is_down_is_skipped(
    server: Server, any_broker: Reachable, tmp_path: Path, device_id: str
) -> None:
    device = Device(tmp_path / "own", device_id, "mqtt://nobody:x@127.0.0.1:1", any_broker.url(device_id))
    device.append(b"{}")
    until(device.drained)
    device.close()


def test_a_backlog_from_before_the_start_is_sent_with_its_own_epoch(
    server: Server, any_broker: Reachable, tmp_path: Path, device_id: str
) -> None:
    first = Device(tmp_path / "own", device_id, "mqtt://nobody:x@127.0.0.1:1")
    first.append(b"{}", b"{}")
    first.close()
    second = Device(tmp_path / "own", device_id, any_broker.url(device_id))
    until(second.drained)
    assert [(h.epoch, h.seq) for h, _ in server.arrived][:4] == [
        (first.outbox.epoch, 1),
        (first.outbox.epoch, 2),
        (first.outbox.epoch, 3),
        (second.outbox.epoch, 1),
    ]
    assert json.loads(server.arrived[3][1])["data"] == {"previous": [first.outbox.epoch, 3]}
    second.close()


def test_unreadable_acks_are_told_once_and_change_nothing(
    server: Server, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.append(b"{}")
    until(device.drained)  # it hears the server; before, an ack of QoS 0 is nobody's
    for number in range(20):
        server.send_raw(b"\xff" * number)
    device.append(b"{}")
    until(device.drained)
    assert sum("unreadable" in record.getMessage() for record in caplog.records) == 1
