"""Bad input through a real broker: found in quarantine with its reason, stored with its mark, or refused by the broker.

It never stops ingest and never costs good data.
"""

import random
import signal
import zlib
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from dermafleet.contracts.topics import Topics
from dermafleet.embedded.broker import EmbeddedBroker
from dermafleet.storage.engine import connect
from services.ingest.decode import Message
from tests.integration.ingest_device import Device, process
from tests.servers import Mosquitto
from tests.unit.ingest.messages import EPOCH_A, NOW_MS, Machine
from tests.unit.ingest.waiting import wait_until

BAD, GOOD, VICTIM = "D-0021", "D-0022", "D-0023"
M, OTHER = Machine(BAD), Machine(GOOD)
RAW = M.block(1).payload.split(b"\n", 1)[1]
IN_1970, IN_2100 = 1000, 4_102_444_800_000


def with_raw(seq: int, raw: bytes) -> Message:
    return M.message("telemetry", seq, raw)


def many_samples(count: int) -> bytes:
    zeros = b",".join([b"0"] * count)
    fields = b'{"boot":"boot-1","up":1,"t0":%d,"clock":"synced","dt":[%b],"ch":{"pump_on":[%b]}}'
    return zlib.compress(fields % (NOW_MS, zeros, zeros))


REFUSED = {
    2: ("wrong type", with_raw(2, RAW.replace(b"0.25", b'"high"')), "telemetry.ch.filter_dp_kpa[1]"),
    3: ("not a number", with_raw(3, RAW.replace(b"0.25", b"NaN")), "telemetry"),
    4: ("beyond 32 bits", with_raw(4, RAW.replace(b"0.25", b"1e300")), "telemetry.ch.filter_dp_kpa[1]"),
    5: ("compression bomb", with_raw(5, zlib.compress(b" " * 200_000_000, 1)), "entry"),
    6: ("a million samples", with_raw(6, many_samples(1_000_000)), "entry"),
    7: ("3 001 samples", with_raw(7, many_samples(3001)), "telemetry.dt"),
    8: ("no JSON", with_raw(8, b"\x00\xff\xfe"), "telemetry"),
    9: ("NUL in a text", M.event(9, "note", {"text": "a\x00b"}), "event.data.text"),
    10: (
        "lone surrogate",
        M.message(
            "event", 10, M.event(10, "note", {"t": "X"}).payload.split(b"\n", 1)[1].replace(b'"X"', b'"\\ud800"')
        ),
        "event",
    ),
    11: ("bottomless", M.message("event", 11, b'{"data":' * 25_000 + b"1" + b"}" * 25_000), "event"),
    12: ("300 kB", with_raw(12, b" " * 300_000), "entry"),
}
"""By number: what is wrong, the message, and the field that the quarantine must name."""

NOISE = random.Random(1)
GARBAGE = [
    Message(Topics().up(BAD, "telemetry"), NOISE.randbytes(300).replace(b"\n", b""), M.received_at),
    Message(Topics().up(BAD, "event"), b"", M.received_at),
    Message(Topics().up(BAD, "session"), b'{"epoch":1,"seq":"x"}\n{}', M.received_at),
    Message(Topics().status(BAD), b'{"connection":"many"}', M.received_at),
]


@dataclass
class Stored:
    """What the database holds after the flood."""

    connection: psycopg.Connection[tuple[Any, ...]]

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, arguments).fetchall()  # type: ignore[call-overload,unused-ignore]

    def numbers(self, device_id: str) -> set[int]:
        query = "select seq from log_entry e join device d on d.id = e.device_id where d.device_id = %s"
        return {seq for (seq,) in self.rows(query, device_id)}


def test_bad_input_costs_no_good_data(any_broker: EmbeddedBroker | Mosquitto, database_url: str) -> None:
    with (
        process(database_url, any_broker.url("ingest")) as ingest,
        Device(any_broker.url(BAD), BAD) as bad,
        Device(any_broker.url(GOOD), GOOD) as good,
        closing(connect(database_url, autocommit=True)) as connection,
    ):
        stored = Stored(connection)
        bad.publish(M.opened())
        for number, (_, message, _) in REFUSED.items():
            bad.publish(message)
            good.publish(OTHER.block(number))
        bad.publish(*GARBAGE)
        bad.publish(M.block(20, t0=IN_1970), M.block(21, t0=IN_2100))
        bad.publish(M.block(22, {"spin_rpm": [7.0], "vacuum_inlet_kpa": [400.0]}))
        bad.await_acked(EPOCH_A, {1, 20, 21, 22})
        bad.publish(M.block(22, {"spin_rpm": [8.0]}))
        wait_until(lambda: bad.numbers("refused", EPOCH_A) >= {*REFUSED, 22}, what="bad entries are refused")
        good.await_acked(EPOCH_A, set(REFUSED))

        check_quarantine(stored)
        check_marks(stored)
        check_foreign_topic(stored, bad, good)
        check_ten_megabytes(stored, bad)

        good.publish(OTHER.block(99))
        good.await_acked(EPOCH_A, {99})
        assert stored.numbers(GOOD) == {*REFUSED, 50, 99}
        assert stored.numbers(BAD) >= {1, 20, 21, 22}
        assert stored.numbers(BAD).isdisjoint(REFUSED)
        assert ingest.poll() is None
        ingest.send_signal(signal.SIGTERM)
        assert ingest.wait(10) == 0


def check_quarantine(stored: Stored) -> None:
    """Every refused entry is there, whole, with the field at fault; so is every message without a number."""
    kept = {
        seq: (field, reason, bytes(payload), size)
        for seq, field, reason, payload, size in stored.rows(
            "select seq, field, reason, payload, payload_bytes from quarantine where seq is not null"
        )
    }
    assert kept.keys() == {*REFUSED, 22}
    for number, (what, message, field) in REFUSED.items():
        found_field, reason, payload, size = kept[number]
        assert found_field == field, what
        assert reason, what
        assert payload == message.payload[: 256 * 1024], what
        assert size == len(message.payload), what
    assert kept[22][1].startswith("forked")
    unnumbered = {bytes(p) for (p,) in stored.rows("select payload from quarantine where seq is null and reason <> ''")}
    assert unnumbered == {message.payload for message in GARBAGE}


def check_marks(stored: Stored) -> None:
    """Impossible times are dated by the anchor; unknown channels are kept; implausible values are marked."""
    query = "select seq, time_source, abs(extract(epoch from first_at - received_at)) < 86400 from log_entry"
    dated = {seq: (source, near) for seq, source, near in stored.rows(query + " where seq in (20, 21, 22)")}
    assert dated[20] == dated[21] == ("anchor", True)
    values = stored.rows("select vacuum_inlet_kpa, extra, marks from telemetry where extra is not null")
    assert values == [(400.0, {"spin_rpm": 7.0}, 1)]


def check_foreign_topic(stored: Stored, bad: Device, good: Device) -> None:
    """The broker lets no device publish under another one's id."""
    bad.publish(Machine(VICTIM).block(1), OTHER.block(50, {"pump_on": [1.0]}))
    good.publish(OTHER.block(50))
    good.await_acked(EPOCH_A, {50})
    assert stored.rows("select 1 from device where device_id = %s", VICTIM) == []
    assert stored.rows("select 1 from quarantine where topic like '%%' || %s || '%%'", GOOD) == []


def check_ten_megabytes(stored: Stored, bad: Device) -> None:
    """Either the broker ends the connection, or it passes and is found in quarantine, cut, with its true size."""
    message = with_raw(30, b" " * 10_000_000)
    disconnects = bad.disconnects
    bad.publish(message)
    wait_until(lambda: bad.disconnects > disconnects or 30 in bad.numbers("refused", EPOCH_A), what="10 MB are refused")
    sizes = stored.rows("select payload_bytes, octet_length(payload) from quarantine where seq = 30")
    assert sizes == ([] if bad.disconnects > disconnects else [(len(message.payload), 256 * 1024)])
    wait_until(bad.is_subscribed, what="the device is back")
    bad.publish(M.block(31))
    bad.await_acked(EPOCH_A, {31})
