"""The examples in docs/protocol.md are what the code reads and writes, byte for byte."""

import re
import zlib
from pathlib import Path

from dermafleet.contracts.ack import decode_ack
from dermafleet.contracts.envelope import MAX_HEADER_BYTES, encode, split
from dermafleet.contracts.records import decode_event, decode_session, encode_record
from dermafleet.contracts.status import decode_status, encode_status
from dermafleet.contracts.telemetry import decode_telemetry, encode_telemetry
from dermafleet.contracts.topics import shard_of

_PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
_JSON = [block.encode() for block in re.findall(r"```json\n(.*?)\n```", _PAGE, re.DOTALL)]
_HEX = bytes.fromhex(*re.findall(r"```hex\n(.*?)\n```", _PAGE, re.DOTALL))
ENTRY, SESSION, EVENTS, ACKS, STATUSES = _JSON


def test_entry_is_of_the_length_and_bytes_it_says() -> None:
    header, raw = split(ENTRY)
    block = decode_telemetry(raw).block
    assert encode(header, encode_telemetry(block)) == ENTRY
    assert f"these {len(ENTRY)} bytes (header {len(ENTRY) - len(raw) - 1}, newline 1, entry {len(raw)})" in _PAGE
    assert header.anchor == block.t0 - block.up


def test_compressed_entry_is_the_same_entry() -> None:
    _, raw = split(ENTRY)
    assert zlib.decompress(_HEX) == raw
    assert decode_telemetry(_HEX) == decode_telemetry(raw)
    assert f"zlib, {len(_HEX)} bytes" in _PAGE


def test_session_and_events_are_read_and_written_as_shown() -> None:
    assert encode_record(decode_session(SESSION)[0]) == SESSION
    assert [encode_record(decode_event(line)[0]) for line in EVENTS.splitlines()] == EVENTS.splitlines()


def test_acks_are_read() -> None:
    ack, hold = (decode_ack(line) for line in ACKS.splitlines())
    assert (ack.want, ack.refused) == ([(900, 950)], [(1051, 1051)])
    assert hold.hold == "unknown"


def test_status_and_will_are_read_and_written_as_shown() -> None:
    assert [encode_status(decode_status(line)) for line in STATUSES.splitlines()] == STATUSES.splitlines()


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    assert f"`D-0001` is in shard `{shard_of('D-0001')}`" in _PAGE
    assert f"| header line | {MAX_HEADER_BYTES // 1000} {MAX_HEADER_BYTES % 1000:03} bytes |" in _PAGE
