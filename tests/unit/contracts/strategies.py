"""Any sound message, and any damage to its bytes."""

from typing import Literal

from hypothesis import strategies as st

from dermafleet.contracts.ack import Ack
from dermafleet.contracts.envelope import Header
from dermafleet.contracts.records import Counters, Event, Privacy, Purpose, Session
from dermafleet.contracts.status import Status
from dermafleet.contracts.telemetry import MAX_SPAN_MS, ClockState, Telemetry

NUMBERS = st.integers(1, 2**53 - 1)
UP = st.integers(0, 2**53 - 1)
TIMES = st.integers(-(2**53), 2**53 - 1)
EPOCHS = st.text("0123456789abcdef", min_size=16, max_size=16)
BOOTS = st.text("abcXYZ019_.:-", min_size=1, max_size=64)
CLOCKS: st.SearchStrategy[ClockState] = st.sampled_from(["synced", "holdover", "unset"])
PURPOSES: st.SearchStrategy[Purpose] = st.sampled_from(["treatment", "self_test", "cleaning", "demo", "service"])
PRIVACY: st.SearchStrategy[Privacy] = st.sampled_from(["machine-only", "coded"])
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=1, max_size=64)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
TOKENS = [b'"', b"{", b"[", b"]", b"}", b",", b"null", b"-", b"1e999", b"\\u0000", b"\\ud800", b"NaN", b"\xff"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair))), max_size=5)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    epoch, seq = draw(EPOCHS), draw(NUMBERS)
    low = draw(st.tuples(EPOCHS, NUMBERS) | st.tuples(st.just(epoch), st.integers(1, seq)))
    if low[0] == epoch:
        low = (epoch, min(low[1], seq))
    return Header(
        epoch=epoch,
        seq=seq,
        low=low,
        head=draw(st.integers(seq, 2**53 - 1)),
        now_boot=draw(BOOTS),
        now_up=draw(UP),
        sent_at=draw(st.none() | TIMES),
        anchor=draw(st.none() | TIMES),
    )


@st.composite
def blocks(draw: st.DrawFn) -> Telemetry:
    dt = sorted(draw(st.lists(st.integers(0, MAX_SPAN_MS), min_size=1, max_size=6)))
    values = st.lists(st.none() | FINITE, min_size=len(dt), max_size=len(dt))
    return Telemetry(
        boot=draw(BOOTS),
        up=draw(UP),
        t0=draw(TIMES),
        clock=draw(CLOCKS),
        dt=dt,
        ch=draw(st.dictionaries(NAMES, values, min_size=1, max_size=4)),
    )


@st.composite
def counters(draw: st.DrawFn) -> Counters:
    return Counters(generation=draw(EPOCHS), pump_s=draw(st.floats(0, 1e9)), strokes=draw(UP))


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    ops: st.SearchStrategy[Literal["start", "checkpoint", "end"]] = st.sampled_from(["start", "checkpoint", "end"])
    op = draw(ops)
    privacy: Privacy = draw(PRIVACY)
    sites = st.none() | st.lists(st.sampled_from(["NECK", "CHIN"]), max_size=2)
    return Session(
        op=op,
        session=draw(st.text("abcXYZ019_-", min_size=1, max_size=64)),
        boot=draw(BOOTS),
        at=draw(TIMES),
        up=draw(UP),
        clock=draw(CLOCKS),
        pump_s=draw(st.none() | st.floats(0, 1e9)),
        strokes=draw(st.none() | UP),
        outcome=draw(st.sampled_from(["completed", "aborted", "power_loss", "timeout"])) if op == "end" else None,
        purpose=draw(PURPOSES),
        setpoints=draw(st.none() | st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=3)),
        over_vacuum_s=draw(st.none() | st.floats(0, 1e9)),
        tip_type=draw(st.sampled_from([None, "CRYSTAL_GLASS"])),
        body_sites=draw(sites) if privacy == "coded" else None,
        privacy=privacy,
        vocabulary=draw(st.sampled_from([None, 1])),
        counters=draw(st.none() | counters()),
    )


def events() -> st.SearchStrategy[Event]:
    opened = st.tuples(st.just("opened"), st.builds(lambda p: {"previous": p}, st.none() | st.tuples(EPOCHS, NUMBERS)))
    dropped = st.tuples(st.just("dropped"), st.builds(lambda r: {"ranges": r}, st.dictionaries(EPOCHS, RANGES)))
    other = st.tuples(st.sampled_from(["self_test", "x"]), st.dictionaries(TEXT, JSON, max_size=4))
    return st.builds(
        lambda pair, **fields: Event(type=pair[0], data=pair[1], **fields),
        opened | dropped | other,
        boot=BOOTS,
        at=TIMES,
        up=UP,
        clock=CLOCKS,
    )


def acks() -> st.SearchStrategy[Ack]:
    server = st.text("abc-019", min_size=1, max_size=64)
    wait_ms = st.integers(0, 86_400_000)
    hold = st.sampled_from(["unknown", "suspended", "revoked"])
    return st.builds(
        Ack, server=server, epoch=EPOCHS, seqs=RANGES, refused=RANGES, want=RANGES, wait_ms=wait_ms
    ) | st.builds(Ack, server=server, hold=hold, wait_ms=wait_ms)


def statuses() -> st.SearchStrategy[Status]:
    position = st.none() | st.tuples(EPOCHS, NUMBERS)
    return st.builds(
        Status,
        connection=UP,
        n=UP,
        online=st.booleans(),
        at=st.none() | TIMES,
        boot=st.none() | BOOTS,
        epoch=st.none() | EPOCHS,
        low=position,
        head=position,
        state=st.none() | st.sampled_from(["treating", "ready", "idle"]),
        latest=st.dictionaries(NAMES, st.none() | FINITE, max_size=4),
    ) | st.builds(Status, connection=UP, online=st.just(False))


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Sound bytes with some cut out, overwritten, inserted or repeated."""
    raw = bytearray(draw(sound))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 8)))
        raw[at:end] = draw(st.binary(max_size=4) | st.sampled_from(TOKENS) | st.just(bytes(raw[at:end]) * 2))
    return bytes(raw)
