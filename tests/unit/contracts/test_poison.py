"""What a broken or hostile device may send: refused with the field's name, never anything else."""

import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest

from dermafleet.contracts.ack import MAX_ACK_BYTES, decode_ack
from dermafleet.contracts.envelope import DEFAULT_LIMITS, MAX_HEADER_BYTES, Limits, expand, split
from dermafleet.contracts.records import decode_event, decode_session
from dermafleet.contracts.status import MAX_STATUS_BYTES, decode_status
from dermafleet.contracts.telemetry import decode_telemetry
from dermafleet.errors import InvalidEntry, InvalidHeader, InvalidMessage
from tests.unit.contracts.build import ACK, BLOCK, EPOCH, EVENT, HEADER, OTHER_EPOCH, SESSION, STATUS, changed, without


def _spliced(message: msgspec.Struct, fields: bytes) -> bytes:
    """The message's JSON with raw bytes added before the closing brace."""
    return msgspec.json.encode(message)[:-1] + b"," + fields + b"}"


DEEP = b"[" * 100_000 + b"]" * 100_000

TELEMETRY: list[tuple[str, bytes, str]] = [
    ("empty", b"", "telemetry"),
    ("null", b"null", "telemetry"),
    ("an array", b"[]", "telemetry"),
    ("a number", b"5", "telemetry"),
    ("two documents", msgspec.json.encode(BLOCK) * 2, "telemetry"),
    ("random bytes", b"\x00\xff\xfe", "telemetry"),
    ("byte order mark", b"\xef\xbb\xbf" + msgspec.json.encode(BLOCK), "telemetry"),
    ("boot missing", without(BLOCK, "boot"), "telemetry.boot"),
    ("boot with NUL", changed(BLOCK, boot="a\x00"), "telemetry.boot"),
    ("boot with a newline", changed(BLOCK, boot="a\n"), "telemetry.boot"),
    ("boot too long", changed(BLOCK, boot="a" * 65), "telemetry.boot"),
    ("boot of invalid UTF-8", _spliced(BLOCK, b'"boot":"\xff"'), "telemetry"),
    ("boot a lone surrogate", _spliced(BLOCK, b'"boot":"\\ud800x"'), "telemetry"),
    ("boot a raw surrogate", _spliced(BLOCK, b'"boot":"\xed\xa0\x80"'), "telemetry"),
    ("up negative", changed(BLOCK, up=-1), "telemetry.up"),
    ("up 2^53", changed(BLOCK, up=2**53), "telemetry.up"),
    ("up 2^63", changed(BLOCK, up=2**63), "telemetry.up"),
    ("up 2^64", changed(BLOCK, up=2**64), "telemetry.up"),
    ("up of 5 000 digits", _spliced(BLOCK, b'"up":' + b"9" * 5000), "telemetry.up"),
    ("up a fraction", changed(BLOCK, up=1.5), "telemetry.up"),
    ("up true", changed(BLOCK, up=True), "telemetry.up"),
    ("t0 text", changed(BLOCK, t0="now"), "telemetry.t0"),
    ("t0 -2^63", changed(BLOCK, t0=-(2**63)), "telemetry.t0"),
    ("clock unknown", changed(BLOCK, clock="ntp\x00" * 1000), "telemetry.clock"),
    ("dt empty", changed(BLOCK, dt=[], ch={"a": []}), "telemetry.dt"),
    ("dt decreasing", changed(BLOCK, dt=[0, 200, 100]), "telemetry.dt[2]"),
    ("dt negative", changed(BLOCK, dt=[-1, 0, 1]), "telemetry.dt[0]"),
    ("dt a year", changed(BLOCK, dt=[0, 1, 31_536_000_000]), "telemetry.dt[2]"),
    ("dt an object", changed(BLOCK, dt={}), "telemetry.dt"),
    ("one sample too many", changed(BLOCK, dt=[0] * 3001, ch={"a": [1] * 3001}), "telemetry.dt"),
    ("a million samples", zlib.compress(changed(BLOCK, dt=[0] * 1_000_000, ch={"a": [1] * 1_000_000})), "entry"),
    ("400 000 samples", zlib.compress(changed(BLOCK, dt=[0] * 400_000)), "telemetry.dt"),
    ("ch empty", changed(BLOCK, ch={}), "telemetry.ch"),
    ("65 channels", changed(BLOCK, ch={f"c{i}": [1, 2, 3] for i in range(65)}), "telemetry.ch"),
    ("ch an array", changed(BLOCK, ch=[1]), "telemetry.ch"),
    ("channel without name", changed(BLOCK, ch={"": [1, 2, 3]}), "telemetry.ch"),
    ("channel name with NUL", changed(BLOCK, ch={"a\x00": [1, 2, 3]}), "telemetry.ch"),
    ("channel name too long", changed(BLOCK, ch={"a" * 65: [1, 2, 3]}), "telemetry.ch"),
    ("channel too short", changed(BLOCK, ch={"a": [1, 2, 3], "b": [1, 2]}), "telemetry.ch.b"),
    ("channel a number", changed(BLOCK, ch={"a": [1, 2, 3], "b": 5}), "telemetry.ch.b"),
    ("value text", changed(BLOCK, ch={"a": [1, 2, 3], "b": [1, "2", 3]}), "telemetry.ch.b[1]"),
    ("value true", changed(BLOCK, ch={"a": [1, True, 3]}), "telemetry.ch.a[1]"),
    ("value NaN", _spliced(BLOCK, b'"ch":{"a":[1,NaN,3]}'), "telemetry"),
    ("value Infinity", _spliced(BLOCK, b'"ch":{"a":[1,-Infinity,3]}'), "telemetry"),
    ("value 1e999", _spliced(BLOCK, b'"ch":{"a":[1,1e999,3]}'), "telemetry.ch.a[1]"),
    ("value beyond 32 bits", changed(BLOCK, ch={"a": [1, 3.5e38, 3]}), "telemetry.ch.a[1]"),
    ("value of 400 digits", _spliced(BLOCK, b'"ch":{"a":[1,' + b"9" * 400 + b",3]}"), "telemetry.ch.a[1]"),
    ("a repeated field that is bad", _spliced(BLOCK, b'"dt":[3,2,1]'), "telemetry.dt[1]"),
    ("unknown field of invalid UTF-8", _spliced(BLOCK, b'"x":"\xff"'), "telemetry.x"),
    ("unknown field with NUL", _spliced(BLOCK, b'"x":["\\u0000"]'), "telemetry.x[0]"),
    ("unknown field with a NUL key", _spliced(BLOCK, b'"x":{"\\u0000":1}'), "telemetry.x"),
    ("unknown field named NUL", _spliced(BLOCK, b'"\\u0000":1'), "telemetry"),
    ("unknown field 1e999", _spliced(BLOCK, b'"x":1e999'), "telemetry.x"),
    ("unknown field 2^63", _spliced(BLOCK, b'"x":9223372036854775808'), "telemetry.x"),
    ("unknown field 33 deep", _spliced(BLOCK, b'"x":' + b"[" * 33 + b"]" * 33), "telemetry.x" + "[0]" * 32),
    ("nested 100 000 deep", _spliced(BLOCK, b'"x":' + DEEP), "telemetry"),
    ("zlib cut short", zlib.compress(msgspec.json.encode(BLOCK))[:-5], "entry"),
    ("zlib of nothing", zlib.compress(b""), "telemetry"),
    ("zlib with bytes after it", zlib.compress(msgspec.json.encode(BLOCK)) + b"x", "entry"),
    ("zlib's first byte alone", b"\x78", "entry"),
    ("zlib that is none", b"\x78\x00\x00\x00", "entry"),
    ("zlib inside zlib", zlib.compress(zlib.compress(msgspec.json.encode(BLOCK))), "telemetry"),
    ("a bomb of 200 MB", zlib.compress(b"[" * 200_000_000, 9), "entry"),
    ("300 kB of JSON", b" " * 300_000, "entry"),
]

SESSION_CASES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "session"),
    ("future op", changed(SESSION, op="pause"), "session.op"),
    ("id with a slash", changed(SESSION, session="a/b"), "session.session"),
    ("id with a newline", changed(SESSION, session="a\n"), "session.session"),
    ("end without outcome", without(SESSION, "outcome"), "session.outcome"),
    ("start with outcome", changed(SESSION, op="start"), "session.outcome"),
    ("outcome unknown", changed(SESSION, outcome="bored"), "session.outcome"),
    ("negative seconds", changed(SESSION, pump_s=-0.1), "session.pump_s"),
    ("seconds 1e999", _spliced(SESSION, b'"pump_s":1e999'), "session.pump_s"),
    ("strokes 2^53", changed(SESSION, strokes=2**53), "session.strokes"),
    ("purpose unknown", changed(SESSION, purpose="lunch"), "session.purpose"),
    ("privacy unknown", changed(SESSION, privacy="none"), "session.privacy"),
    ("set points backwards in time", changed(SESSION, setpoints=[[-1, 30]]), "session.setpoints[0][0]"),
    ("201 set points", changed(SESSION, setpoints=[[0, 1]] * 201), "session.setpoints"),
    ("tip of no size", changed(SESSION, tip_size_mm=0), "session.tip_size_mm"),
    ("33 body sites", changed(SESSION, body_sites=["NECK"] * 33, privacy="coded"), "session.body_sites"),
    ("vocabulary 0", changed(SESSION, vocabulary=0), "session.vocabulary"),
    ("counters of no generation", changed(SESSION, counters={"pump_s": 1}), "session.counters.generation"),
    ("unknown field with NUL", changed(SESSION, note="a\x00b"), "session.note"),
    ("nested 100 000 deep", _spliced(SESSION, b'"x":' + DEEP), "session"),
]

EVENT_CASES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "event"),
    ("type in capitals", changed(EVENT, type="Opened"), "event.type"),
    ("data missing", without(EVENT, "data"), "event.data"),
    ("data an array", changed(EVENT, data=[]), "event.data"),
    ("data with NUL", changed(EVENT, type="x", data={"a": ["b", {"c": "\x00"}]}), "event.data.a[1].c"),
    ("data with a NUL key", changed(EVENT, type="x", data={"\x00": 1}), "event.data"),
    ("data with 2^63", changed(EVENT, type="x", data={"n": 2**63}), "event.data.n"),
    ("data with 1e999", _spliced(EVENT, b'"data":{"n":1e999}'), "event.data[...]"),
    ("opened after a number", changed(EVENT, data={"previous": 5}), "event.data.previous"),
    ("opened after no epoch", changed(EVENT, data={"previous": ["x", 5]}), "event.data.previous[0]"),
    ("opened after entry 0", changed(EVENT, data={"previous": [EPOCH, 0]}), "event.data.previous[1]"),
    ("dropped without ranges", changed(EVENT, type="dropped", data={}), "event.data.ranges"),
    ("dropped of no epoch", changed(EVENT, type="dropped", data={"ranges": {"x": []}}), "event.data.ranges"),
    (
        "dropped backwards",
        changed(EVENT, type="dropped", data={"ranges": {EPOCH: [[1, 2], [5, 4]]}}),
        f"event.data.ranges.{EPOCH}[1]",
    ),
]

HEADER_CASES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "header"),
    ("no newline", msgspec.json.encode(HEADER), "header"),
    ("only a newline", b"\n", "header"),
    ("newline too late", b" " * (MAX_HEADER_BYTES + 1) + b"\n", "header"),
    ("10 MB", b" " * 10_000_000, "header"),
    ("an array", b"[]\n", "header"),
    ("deep", b"[" * 1000 + b"\n", "header"),
    ("epoch missing", without(HEADER, "epoch") + b"\n", "header.epoch"),
    ("epoch in capitals", changed(HEADER, epoch="ABCDEF0123456789") + b"\n", "header.epoch"),
    ("epoch with a newline", changed(HEADER, epoch=EPOCH + "\n") + b"\n", "header.epoch"),
    ("seq 0", changed(HEADER, seq=0) + b"\n", "header.seq"),
    ("seq 2^53", changed(HEADER, seq=2**53, head=2**53) + b"\n", "header.seq"),
    ("seq 2^64", changed(HEADER, seq=2**64) + b"\n", "header.seq"),
    ("seq after head", changed(HEADER, seq=10) + b"\n", "header.head"),
    ("seq before low", changed(HEADER, seq=2) + b"\n", "header.low"),
    ("low without sequence", changed(HEADER, low=[EPOCH]) + b"\n", "header.low"),
    ("low of no epoch", changed(HEADER, low=["x", 1]) + b"\n", "header.low[0]"),
    ("boot with NUL", changed(HEADER, now_boot="\x00") + b"\n", "header.now_boot"),
    ("uptime negative", changed(HEADER, now_up=-1) + b"\n", "header.now_up"),
    ("anchor a fraction", changed(HEADER, anchor=0.5) + b"\n", "header.anchor"),
]

STATUS_CASES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "status"),
    ("too large", b" " * (MAX_STATUS_BYTES + 1), "status"),
    ("connection missing", without(STATUS, "connection"), "status.connection"),
    ("connection negative", changed(STATUS, connection=-1), "status.connection"),
    ("online without a count", without(STATUS, "n"), "status.n"),
    ("online a number", changed(STATUS, online=1), "status.online"),
    ("epoch of no epoch", changed(STATUS, epoch="x"), "status.epoch"),
    ("agent with NUL", changed(STATUS, agent="1\x00"), "status.agent"),
    ("latest 1e999", _spliced(STATUS, b'"latest":{"a":1e999}'), "status.latest[...]"),
    ("latest named NUL", changed(STATUS, latest={"\x00": 1}), "status.latest"),
    ("65 latest", changed(STATUS, latest={f"c{i}": 1 for i in range(65)}), "status.latest"),
]

ACK_CASES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "ack"),
    ("too large", b" " * (MAX_ACK_BYTES + 1), "ack"),
    ("server missing", without(ACK, "server"), "ack.server"),
    ("epoch missing", without(ACK, "epoch"), "ack.epoch"),
    ("range backwards", changed(ACK, seqs=[[1, 2], [9, 8]]), "ack.seqs[1]"),
    ("range of one number", changed(ACK, want=[[1]]), "ack.want[0]"),
    ("range from 0", changed(ACK, refused=[[0, 1]]), "ack.refused[0][0]"),
    ("range to 2^53", changed(ACK, seqs=[[1, 2**53]]), "ack.seqs[0][1]"),
    ("hold with ranges", changed(ACK, hold="unknown"), "ack.seqs"),
    ("hold unknown", changed(ACK, hold="lunch"), "ack.hold"),
    ("wait of a year", changed(ACK, wait_ms=31_536_000_000), "ack.wait_ms"),
]


def _table(
    decode: Callable[[bytes], object], error: type[InvalidMessage], cases: list[tuple[str, bytes, str]]
) -> list[object]:
    return [pytest.param(decode, error, raw, field, id=f"{decode.__name__}: {name}") for name, raw, field in cases]


@pytest.mark.parametrize(
    ("decode", "error", "raw", "field"),
    [
        *_table(decode_telemetry, InvalidEntry, TELEMETRY),
        *_table(decode_session, InvalidEntry, SESSION_CASES),
        *_table(decode_event, InvalidEntry, EVENT_CASES),
        *_table(split, InvalidHeader, HEADER_CASES),
        *_table(decode_status, InvalidHeader, STATUS_CASES),
        *_table(decode_ack, InvalidMessage, ACK_CASES),
    ],
)
def test_poison_is_refused_by_the_name_of_its_field(
    decode: Callable[[bytes], object], error: type[InvalidMessage], raw: bytes, field: str
) -> None:
    with pytest.raises(error) as caught:
        decode(raw)
    assert type(caught.value) is error
    assert caught.value.field == field
    assert caught.value.reason
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()


def test_bomb_costs_no_more_memory_than_the_limit() -> None:
    bomb = zlib.compress(b"[" * 100_000_000, 9)
    tracemalloc.start()
    with pytest.raises(InvalidEntry):
        expand(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * DEFAULT_LIMITS.entry_bytes


def test_entry_of_exactly_the_limits_passes() -> None:
    limits = Limits(payload_bytes=1000, entry_bytes=2000)
    assert len(expand(b" " * 1000, limits)) == 1000
    assert len(expand(zlib.compress(b" " * 2000), limits)) == 2000
    with pytest.raises(InvalidEntry):
        expand(zlib.compress(b" " * 2001), limits)
    with pytest.raises(InvalidEntry):
        expand(b" " * 1001, limits)


def test_repeated_field_has_its_last_value() -> None:
    assert decode_telemetry(_spliced(BLOCK, b'"up":5')).block.up == 5


def test_negative_zero_is_zero() -> None:
    assert decode_telemetry(_spliced(BLOCK, b'"up":-0')).block.up == 0


def test_unknown_fields_are_kept_as_plain_json() -> None:
    unknown = decode_telemetry(_spliced(BLOCK, b'"x":{"a":1e-400,"a":2},"y":"\\u00e9"')).unknown
    assert {name: bytes(value) for name, value in unknown.items()} == {"x": b'{"a":2}', "y": '"é"'.encode()}
    _, body = decode_session(changed(SESSION, op="end", lifts=5, is_wet=True))
    assert msgspec.json.decode(body) == msgspec.to_builtins(SESSION) | {"lifts": 5, "is_wet": True}


def test_unknown_event_type_is_kept_with_its_data() -> None:
    event, _ = decode_event(changed(EVENT, type="lamp_changed", data={"previous": 5, OTHER_EPOCH: None}))
    assert event.data == {"previous": 5, OTHER_EPOCH: None}


def test_bottomless_unknown_field_of_a_status_does_no_harm() -> None:
    """How deep is too deep to skip over depends on Python's version."""
    read = None
    with suppress(InvalidHeader):
        read = decode_status(_spliced(STATUS, b'"x":' + b"[" * 7000 + b"]" * 7000))
    assert read in (None, STATUS)


def test_unknown_header_field_is_ignored_however_it_is_made() -> None:
    line = _spliced(HEADER, b'"x":"\\u0041","y":' + b"[" * 300 + b"]" * 300)
    assert split(line + b"\nrest") == (HEADER, b"rest")
