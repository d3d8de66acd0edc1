"""A session in which a sensor became suspect: what it showed until that was certain is no evidence."""

from typing import Literal

import msgspec

from dermafleet.contracts.records import Session
from services.alerts import evaluate
from services.alerts.context import Context
from services.alerts.evaluate import Memory
from services.alerts.findings import Findings
from services.alerts.limits import Limits
from services.alerts.observation import Origin
from tests.unit.detectors.signal import START_MS, Signal, treatment

M1 = Context(Limits(filter_dp_kpa=9.72, filter_flow_lpm=30.0))
SECONDS = 120


def treated(memory: Memory, number: int, *, stuck_at: float | None = None) -> list[Findings]:
    """A treatment, of each entry what it led to; the filter's gauge stands from its tenth second on, if at all."""
    after_ms = number * 1000 * SECONDS
    signal: Signal = treatment(SECONDS, at_ms=START_MS + after_ms, up_ms=after_ms, seed=number + 1)
    if stuck_at is not None:
        signal.put("filter_dp_kpa", stuck_at, 10)

    def told(op: Literal["start", "end"], at_ms: int) -> Findings:
        entry = Session(op=op, session=f"s{number}", boot="boot-1", at=at_ms, up=at_ms - START_MS, clock="synced")
        return evaluate.take_session(memory, entry, Origin("epoch-1", number), at_ms, M1)

    began = told("start", int(signal.at_ms[0]))
    during = [evaluate.take_block(memory, block, M1) for block in signal.blocks((100,))]
    return [began, *during, told("end", int(signal.at_ms[-1]) + 100)]


def baseline(memory: Memory) -> bytes:
    """What the sessions so far have taught."""
    return msgspec.json.encode(memory.components["main"].baselines)


def test_session_is_kept_but_judges_nothing_until_the_channel_is_known_to_be_bad() -> None:
    memory = Memory()
    healthy = treated(memory, 0)[-1]
    assert healthy.features
    before = baseline(memory)
    found = treated(memory, 1, stuck_at=4.0)
    assert [each.fault for one in found for each in one.observations] == ["sensor_stuck"]
    assert found[-1].features
    assert baseline(memory) == before
    (known,) = treated(memory, 2, stuck_at=4.0)[-1].features
    assert known.filter_index is None
    assert baseline(memory) != before


def test_what_was_gathered_before_the_first_contact_counts_as_the_session() -> None:
    memory = Memory()
    treated(memory, 0)
    before = baseline(memory)
    signal: Signal = treatment(SECONDS, at_ms=START_MS + 1000 * SECONDS, up_ms=1000 * SECONDS, seed=2)
    first_ms, begun_ms = int(signal.at_ms[0]), int(signal.at_ms[0]) + 20_000
    for block in signal.blocks((200,)):
        evaluate.take_block(memory, block, M1)
        if int(block.at_ms[0]) == first_ms:
            memory.components["main"].fast.channels.doubted["filter_dp_kpa"] = first_ms + 10_000
            evaluate.take_session(memory, entry("start", begun_ms), Origin("epoch-1", 1), begun_ms, M1)
    ended_ms = int(signal.at_ms[-1]) + 100
    (features,) = evaluate.take_session(memory, entry("end", ended_ms), Origin("epoch-1", 1), ended_ms, M1).features
    assert features.pump_s == SECONDS
    assert baseline(memory) == before


def entry(op: Literal["start", "end"], at_ms: int) -> Session:
    return Session(op=op, session="s1", boot="boot-1", at=at_ms, up=at_ms - START_MS, clock="synced")


def test_sensor_that_fails_again_and_again_does_not_blind_the_machine() -> None:
    memory = Memory()
    treated(memory, 0)
    judged = []
    for number in range(1, 5):
        before = baseline(memory)
        memory.components["main"].fast.channels.doubted["filter_dp_kpa"] = START_MS + number * 1000 * SECONDS
        treated(memory, number)
        judged.append(baseline(memory) != before)
    assert judged == [False, True, False, True]
