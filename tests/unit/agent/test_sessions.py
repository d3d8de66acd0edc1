"""Sessions are read from pump and vacuum, and a power cut leaves none open."""

from dermafleet.contracts.records import Session, decode_session, encode_record
from dermafleet.contracts.telemetry import Telemetry, encode_telemetry
from device_agent.sessions import SessionRules, SessionTracker, end_after_power_loss, pump_is_on
from tests.unit.agent.build import instant, sample

RULES = SessionRules(off_ms=30_000, longest_ms=3_600_000, checkpoint_ms=60_000)


def play(*phases: tuple[float, float, float]) -> list[Session]:
    """Steps of a machine that spends (seconds, pump_on, vacuum) in each phase, at 10 Hz."""
    tracker, steps, at = SessionTracker(RULES), [], 0
    for seconds, pump_on, vacuum in phases:
        for _ in range(round(seconds * 10)):
            steps += tracker.step(sample(at / 10, pump_on=pump_on, vacuum_inlet_kpa=vacuum))
            at += 1
    return steps


def test_a_treatment_is_one_session_with_its_totals() -> None:
    steps = play((5, 0, 0), (10, 1, 2.4), (4, 1, 40), (1, 1, 2.4), (2, 1, 40), (10, 1, 2.4), (40, 0, 0))
    assert [step.op for step in steps] == ["start", "end"]
    start, end = steps
    assert (start.session, start.at, start.up) == (end.session, instant(5).at, instant(5).up)
    assert end.at == instant(31.9).at
    assert (end.strokes, end.longest_dwell_s, end.outcome) == (2, 4.0, "completed")
    assert end.contact_s is not None
    assert abs(end.contact_s - 6) < 0.2
    assert end.pump_s is not None
    assert abs(end.pump_s - 26.9) < 0.2


def test_a_short_pause_does_not_end_a_session() -> None:
    assert [s.op for s in play((5, 1, 40), (20, 0, 0), (5, 1, 40), (31, 0, 0))] == ["start", "end"]


def test_without_contact_a_session_was_aborted() -> None:
    assert play((5, 1, 2.4), (31, 0, 0))[-1].outcome == "aborted"


def test_checkpoints_come_every_minute_and_the_longest_session_ends() -> None:
    steps = play((150, 1, 2.4))
    assert [step.op for step in steps] == ["start", "checkpoint", "checkpoint"]
    assert [s.outcome for s in play((3601, 1, 40)) if s.op == "end"] == ["timeout"]


def test_pump_is_derived_where_it_is_not_measured() -> None:
    assert pump_is_on({"motor_current_a": 0.5})
    assert not pump_is_on({"motor_current_a": 0.0, "vacuum_inlet_kpa": 50.0})
    assert pump_is_on({"vacuum_inlet_kpa": 2.4})
    assert not pump_is_on({"vacuum_inlet_kpa": None})


def test_after_a_power_cut_the_session_ends_at_the_last_sample_on_disk() -> None:
    [start] = play((1, 1, 40))
    last = instant(7)
    block = Telemetry(boot=last.boot, up=last.up, t0=last.at, clock="synced", dt=[0, 500], ch={"pump_on": [1.0, 1.0]})
    raw = end_after_power_loss(encode_record(start), encode_telemetry(block))
    assert raw is not None
    end, _ = decode_session(raw)
    assert (end.op, end.outcome, end.session) == ("end", "power_loss", start.session)
    assert (end.at, end.up) == (last.at + 500, last.up + 500)


def test_after_a_power_cut_without_later_samples_it_ends_where_it_was() -> None:
    [start] = play((1, 1, 40))
    raw = end_after_power_loss(encode_record(start), None)
    assert raw is not None
    assert decode_session(raw)[0].at == start.at
    assert end_after_power_loss(b"not json", None) is None


def test_after_a_power_cut_samples_that_a_newer_agent_wrote_count_too() -> None:
    [start] = play((1, 1, 40))
    block = Telemetry(boot=start.boot, up=start.up + 900, t0=start.at + 900, clock="synced", dt=[0], ch={"x": [1.0]})
    newer = encode_telemetry(block).replace(b"{", b'{"quality":"good",', 1)
    raw = end_after_power_loss(encode_record(start), newer)
    assert raw is not None
    assert decode_session(raw)[0].at == start.at + 900
