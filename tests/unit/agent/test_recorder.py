"""Blocks are cut where they must be, and idle machines are quiet."""

from dataclasses import replace

from dermafleet.contracts.records import Session
from dermafleet.contracts.telemetry import decode_telemetry, encode_telemetry
from device_agent.drivers import Sample
from device_agent.recorder import MAX_WAITING, Cut, Rates, Recorder
from device_agent.sessions import SessionRules
from tests.unit.agent.build import instant, sample

RULES = SessionRules(off_ms=30_000)
ON = {"pump_on": 1.0, "vacuum_inlet_kpa": 40.0}
OFF = {"pump_on": 0.0, "vacuum_inlet_kpa": 0.0}


def recorder(*, sessions: bool = True, **rates: float) -> Recorder:
    return Recorder(Rates(**rates), RULES if sessions else None)


def blocks(r: Recorder) -> list[Cut]:
    return [item for item in r.waiting if isinstance(item, Cut)]


def feed(r: Recorder, start: float, seconds: float, values: dict[str, float]) -> None:
    for i in range(round(seconds * 10)):
        r.take(sample(start + i / 10, **values), mono=start + i / 10)
        r.flush(start + i / 10)


def test_a_block_is_cut_at_the_flush_interval_and_is_valid() -> None:
    r = recorder()
    feed(r, 0, 5, ON)
    lengths = [len(cut.block.dt) for cut in blocks(r)]
    assert len(lengths) == 2
    assert all(20 <= length <= 22 for length in lengths)
    decoded = decode_telemetry(encode_telemetry(blocks(r)[1].block)).block
    assert decoded.t0 == instant(lengths[0] / 10).at
    assert decoded.dt[:3] == [0, 100, 200]
    assert decoded.ch["vacuum_inlet_kpa"][0] == 40.0


def test_blocks_never_cross_a_session_border() -> None:
    r = recorder()
    feed(r, 0, 1, OFF)
    feed(r, 1, 0.5, {"pump_on": 1.0, "vacuum_inlet_kpa": 2.4})
    feed(r, 1.5, 4.5, ON)
    feed(r, 6, 40, OFF)
    items = list(r.waiting)
    start = next(i for i, item in enumerate(items) if isinstance(item, Session) and item.op == "start")
    end = next(i for i, item in enumerate(items) if isinstance(item, Session) and item.op == "end")
    start_at, end_at = items[start].at, items[end].at  # type: ignore[union-attr]  # sessions
    for cut in blocks(r):
        first, last = cut.block.t0, cut.block.t0 + cut.block.dt[-1]
        assert not first < start_at <= last
        assert not first <= end_at < last
    assert start < end


def test_an_idle_machine_keeps_one_sample_a_minute_and_ten_seconds_after_the_pump() -> None:
    r = recorder()
    feed(r, 0, 300, OFF)
    assert r.samples_kept == 5
    quick = Recorder(Rates(), SessionRules(off_ms=1000))
    feed(quick, 0, 5, ON)
    feed(quick, 5, 60, OFF)
    assert 50 + 100 <= quick.samples_kept <= 50 + 115


def test_latest_values_are_those_of_the_newest_sample_even_if_it_is_not_kept() -> None:
    r = recorder()
    r.take(sample(0, **OFF), 0)
    r.take(sample(0.1, pump_on=0.0, vacuum_inlet_kpa=0.5), 0.1)
    assert r.latest["vacuum_inlet_kpa"] == 0.5
    assert r.samples_kept == 1


def test_a_clock_step_or_another_channel_begins_a_new_block() -> None:
    r = recorder(sessions=False, idle_s=0.0)
    r.take(sample(0, **ON), 0)
    stepped = replace(instant(0.1), at=instant(3600).at)
    r.take(Sample(stepped, ON, 0.1), 0.1)
    r.take(Sample(replace(stepped, up=stepped.up + 100, at=stepped.at + 100), ON | {"flow_lpm": 1.0}, 0.2), 0.2)
    r.cut()
    assert [len(cut.block.dt) for cut in blocks(r)] == [1, 1, 1]


def test_a_large_block_stays_within_the_limits() -> None:
    r = recorder(sessions=False, idle_s=0.0, flush_s=1e9)
    values: dict[str, float | None] = {f"channel_{i}": 12.345678 for i in range(13)}
    for i in range(2000):
        r.take(Sample(instant(i / 10), values, i / 10), 0)
    assert all(len(encode_telemetry(cut.block)) < 256 * 1024 for cut in blocks(r))
    assert len(blocks(r)) >= 2


def test_the_waiting_entries_have_a_bound_that_the_machine_can_see() -> None:
    r = recorder(sessions=False, idle_s=0.0, flush_s=0.01)
    feed(r, 0, MAX_WAITING / 10 * 2 + 1, ON)
    assert r.is_full


def test_state_follows_the_treatment() -> None:
    r = recorder()
    states = [r.state()]
    for seconds, values in ((5.0, {"pump_on": 1.0, "vacuum_inlet_kpa": 2.4}), (5.0, ON), (90.0, OFF)):
        feed(r, sum([5.0] * (len(states) - 1)), seconds, values)
        states.append(r.state())
    assert states == ["idle", "ready", "treating", "idle"]
