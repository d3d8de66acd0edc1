"""Every sound message comes back as it was; every other sequence of bytes is refused in one way only."""

import json
import zlib
from collections.abc import Callable
from random import Random
from typing import TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermafleet.contracts.ack import Ack, decode_ack, encode_ack
from dermafleet.contracts.envelope import Header, encode, entry_hash, split
from dermafleet.contracts.records import Event, Session, decode_event, decode_session, encode_record
from dermafleet.contracts.status import Status, decode_status, encode_status
from dermafleet.contracts.telemetry import Telemetry, decode_telemetry, encode_telemetry
from dermafleet.contracts.topics import Topics
from dermafleet.errors import InvalidEntry, InvalidHeader, InvalidMessage
from tests.unit.contracts import build
from tests.unit.contracts.strategies import TOKENS, acks, blocks, damaged, events, headers, sessions, statuses

quick = settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

T = TypeVar("T")
Decode = Callable[[bytes], object]
DECODERS: list[tuple[Decode, type[InvalidMessage], st.SearchStrategy[bytes]]] = [
    (split, InvalidHeader, headers().map(lambda header: encode(header, b"{}"))),
    (decode_telemetry, InvalidEntry, blocks().map(encode_telemetry)),
    (decode_telemetry, InvalidEntry, blocks().map(encode_telemetry).map(zlib.compress)),
    (decode_session, InvalidEntry, sessions().map(encode_record)),
    (decode_event, InvalidEntry, events().map(encode_record)),
    (decode_status, InvalidHeader, statuses().map(encode_status)),
    (decode_ack, InvalidMessage, acks().map(encode_ack)),
]

SOUND: list[tuple[Decode, type[InvalidMessage], bytes]] = [
    (split, InvalidHeader, encode(build.HEADER, b"{}")),
    (decode_telemetry, InvalidEntry, encode_telemetry(build.BLOCK)),
    (decode_telemetry, InvalidEntry, zlib.compress(encode_telemetry(build.BLOCK))),
    (decode_session, InvalidEntry, encode_record(build.SESSION)),
    (decode_event, InvalidEntry, encode_record(build.EVENT)),
    (decode_status, InvalidHeader, encode_status(build.STATUS)),
    (decode_ack, InvalidMessage, encode_ack(build.ACK)),
]


@quick
@given(headers(), st.binary(max_size=50))
def test_envelope_comes_back(header: Header, raw: bytes) -> None:
    assert split(encode(header, raw)) == (header, raw)


@quick
@given(blocks(), st.booleans())
def test_telemetry_comes_back(block: Telemetry, is_compressed: bool) -> None:
    raw = encode_telemetry(block)
    decoded = decode_telemetry(zlib.compress(raw) if is_compressed else raw)
    assert decoded.block == block
    assert decoded.unknown == {}


@quick
@given(sessions())
def test_session_comes_back(session: Session) -> None:
    decoded, body = decode_session(encode_record(session))
    assert decoded == session
    assert msgspec.json.decode(body, type=Session) == session


@quick
@given(events())
def test_event_comes_back(event: Event) -> None:
    decoded, body = decode_event(encode_record(event))
    assert msgspec.to_builtins(decoded) == json.loads(body) == json.loads(encode_record(event))


@quick
@given(acks())
def test_ack_comes_back(ack: Ack) -> None:
    assert decode_ack(encode_ack(ack)) == ack


@quick
@given(statuses())
def test_status_comes_back(status: Status) -> None:
    assert decode_status(encode_status(status)) == status


@pytest.mark.parametrize(("decode", "error", "sound"), DECODERS)
def test_damaged_bytes_are_decoded_or_refused_and_nothing_else(
    decode: Decode, error: type[InvalidMessage], sound: st.SearchStrategy[bytes]
) -> None:
    @quick
    @given(damaged(sound))
    def check(raw: bytes) -> None:
        _decoded_or_refused(decode, error, raw)

    check()


@pytest.mark.parametrize(("decode", "error", "sound"), DECODERS)
def test_arbitrary_bytes_are_refused_and_nothing_else(
    decode: Decode, error: type[InvalidMessage], sound: st.SearchStrategy[bytes]
) -> None:
    @quick
    @given(st.binary(max_size=200) | st.binary(max_size=100).map(zlib.compress) | st.text(max_size=50).map(str.encode))
    def check(raw: bytes) -> None:
        _decoded_or_refused(decode, error, raw)

    check()


@pytest.mark.parametrize(("decode", "error", "sound"), SOUND)
def test_thousands_of_damaged_bytes_are_decoded_or_refused(
    decode: Decode, error: type[InvalidMessage], sound: bytes
) -> None:
    """Cheaper per case than the search above, so that rare damage is met too."""
    rng = Random(0)
    for _ in range(3000):
        _decoded_or_refused(decode, error, _damage(rng, sound))


@quick
@given(
    st.text(max_size=100)
    | st.from_regex(r"dermafleet/v1/[0-9a-f]/[A-Za-z0-9_-]{1,5}/(up/[a-z]+|status)", fullmatch=True)
)
def test_arbitrary_topics_are_parsed_or_refused_and_nothing_else(topic: str) -> None:
    _decoded_or_refused(Topics().parse, InvalidHeader, topic)


@quick
@given(blocks(), blocks())
def test_hash_covers_kind_and_bytes(block: Telemetry, other: Telemetry) -> None:
    raw, other_raw = encode_telemetry(block), encode_telemetry(other)
    assert entry_hash("telemetry", raw) != entry_hash("event", raw)
    assert (entry_hash("telemetry", raw) == entry_hash("telemetry", other_raw)) == (raw == other_raw)


def _damage(rng: Random, sound: bytes) -> bytes:
    raw = bytearray(sound)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.randrange(6))
        raw[at:end] = rng.choice([rng.randbytes(rng.randrange(4)), rng.choice(TOKENS), bytes(raw[at:end]) * 3])
    return bytes(raw)


def _decoded_or_refused(decode: Callable[[T], object], error: type[InvalidMessage], raw: T) -> None:
    refusal = _refusal(decode, raw)
    if refusal is not None:
        assert type(refusal) is error
        assert refusal.field.split(".")[0].split("[")[0] in _FIRST_NAMES
        assert str(refusal).isprintable()


def _refusal(decode: Callable[[T], object], raw: T) -> InvalidMessage | None:
    try:
        decode(raw)
    except InvalidMessage as refusal:
        return refusal
    return None


_FIRST_NAMES = {"header", "entry", "telemetry", "session", "event", "status", "ack", "topic"}
