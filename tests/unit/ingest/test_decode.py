"""Decoding: what a message says, or what is wrong with it."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermafleet.contracts.topics import Topics
from services.ingest.decode import BadEntry, Entry, Message, Report, Unusable, decode
from tests.unit.ingest.messages import EPOCH_A, NOW, Machine

M = Machine()
RAW = M.block(1).payload.split(b"\n", 1)[1]


def read(payload: bytes, *, topic: str = Topics().up("D-0001", "telemetry")) -> Entry | BadEntry | Report | Unusable:
    return decode(Message(topic, payload, NOW), Topics())


def test_good_messages_become_entries_and_reports() -> None:
    for kind, message in {"telemetry": M.block(1), "session": M.session(1), "event": M.opened()}.items():
        entry = decode(message, Topics())
        assert isinstance(entry, Entry)
        assert (entry.device_id, entry.kind, entry.header.seq) == ("D-0001", kind, 1)
    report = decode(M.status(3, 4), Topics())
    assert isinstance(report, Report)
    assert report.status.order == (3, 4)


def test_hash_is_the_same_at_every_sending() -> None:
    first, again = decode(M.block(5), Topics()), decode(M.block(5, now_up=9_999_999, head=8), Topics())
    assert isinstance(first, Entry)
    assert isinstance(again, Entry)
    assert first.hash == again.hash


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "telemetry"),
        (b"\xff\xfe", "telemetry"),
        (b"[]", "telemetry"),
        (RAW.replace(b"0.25", b'"x"'), "telemetry.ch.filter_dp_kpa[1]"),
        (RAW.replace(b"0.25", b"NaN"), "telemetry"),
        (RAW.replace(b"0.25", b"1e39"), "telemetry.ch.filter_dp_kpa[1]"),
        (RAW.replace(b"[0,100]", b"[100,0]"), "telemetry.dt[1]"),
        (RAW.replace(b"[0,100]", b"[0]"), "telemetry.ch.vacuum_inlet_kpa"),
        (RAW.replace(b'"synced"', b'"certain"'), "telemetry.clock"),
        (zlib.compress(b" " * 2_000_000), "entry"),
        (zlib.compress(RAW)[:-3], "entry"),
        (b" " * 300_000, "entry"),
    ],
)
def test_bad_entry_has_its_number_and_names_the_field(raw: bytes, field: str) -> None:
    bad = read(M.block(7).payload.split(b"\n", 1)[0] + b"\n" + raw)
    assert isinstance(bad, BadEntry)
    assert (bad.header.epoch, bad.header.seq) == (EPOCH_A, 7)
    assert bad.field == field


@pytest.mark.parametrize(
    ("topic", "payload", "field"),
    [
        (Topics().up("D-0001", "event"), b"no newline", "header"),
        (Topics().up("D-0001", "event"), b"{}\n{}", "header.epoch"),
        (Topics().up("D-0001", "event"), M.block(1).payload.replace(b'"seq":1', b'"seq":0'), "header.seq"),
        (Topics().up("D-0001", "event") + "s", b"", "topic.kind"),
        ("dermafleet/v1/f/D-0001/up/event", b"", "topic.shard"),
        ("elsewhere", b"", "topic"),
        (Topics().status("D-0001"), b'{"connection":1}', "status.online"),
    ],
)
def test_message_without_a_number_is_unusable(topic: str, payload: bytes, field: str) -> None:
    bad = read(payload, topic=topic)
    assert isinstance(bad, Unusable)
    assert bad.field == field


def test_compressed_entry_is_read() -> None:
    entry = read(M.block(7).payload.split(b"\n", 1)[0] + b"\n" + zlib.compress(RAW))
    assert isinstance(entry, Entry)


@given(st.binary(max_size=200), st.sampled_from(["up/telemetry", "up/session", "up/event", "status"]), st.booleans())
def test_decoding_never_raises(noise: bytes, end: str, behind_a_header: bool) -> None:
    topic = Topics().status("D-0001").removesuffix("status") + end
    payload = M.block(7).payload.split(b"\n", 1)[0] + b"\n" + noise if behind_a_header else noise
    assert read(payload, topic=topic) is not None
