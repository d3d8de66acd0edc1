"""Segments: what the machine did, from its samples."""

from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermafleet.physics.gas import hole_m2
from services.alerts.features import segments
from services.alerts.features.types import Segment
from services.alerts.observation import Block
from tests.unit.features.machine import Bench, cut, part


def segments_of(*blocks: Block) -> list[Segment]:
    state = segments.State()
    found = [segment for block in blocks for segment in segments.take(state, block)]
    return found + segments.close(state)


def a_day(profile: str) -> Block:
    bench = Bench(profile=profile).run("off", 12).run("open", 15).treat(8)  # type: ignore[arg-type]
    bench.setpoint_kpa = 15.0
    return bench.treat(6).run("open", 4).run("capped", 8).run("off", 6).block()


DAYS = {profile: a_day(profile) for profile in ("full", "standard", "minimal")}


@pytest.mark.parametrize("profile", DAYS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_cut_into_blocks_gives_the_same_segments_to_the_last_bit(profile: str, data: st.DataObject) -> None:
    block = DAYS[profile]
    edges = data.draw(st.lists(st.integers(1, len(block.at_ms) - 1), max_size=40))
    assert segments_of(*cut(block, edges)) == segments_of(block)


def test_a_state_written_as_json_between_blocks_changes_nothing() -> None:
    block = DAYS["standard"]
    state, found = segments.State(), []
    for piece in cut(block, range(0, len(block.at_ms), 37)):
        found += segments.take(state, piece)
        raw = msgspec.json.encode(state)
        assert len(raw) < 6_000
        state = msgspec.json.decode(raw, type=segments.State)
    assert found + segments.close(state) == segments_of(block)


@pytest.mark.parametrize("profile", ["full", "standard", "basic", "minimal"])
@pytest.mark.parametrize(
    ("faults", "ambient_kpa"),
    [
        ({}, 101.325),
        ({}, 77.0),
        ({"filter_load": 39.0}, 101.325),
        ({"return_area": 0.2}, 101.325),
        ({"displacement": 0.75}, 101.325),
        ({"leak_dirty_m2": float(hole_m2(1.0))}, 101.325),
        ({"feed_area": 0.2}, 101.325),
    ],
)
def test_every_stroke_is_found_whatever_the_machine_has(
    profile: str, faults: dict[str, float], ambient_kpa: float
) -> None:
    bench = Bench(profile=profile, ambient_kpa=ambient_kpa)  # type: ignore[arg-type]
    bench.run("off", 12, **faults).run("open", 60, **faults).treat(12, **faults)
    # Without a handpiece sensor the levels of a machine that is new to the server are learned from its first strokes.
    found = [s for s in segments_of(bench.block()) if s.at_ms > bench.block().at_ms[0] + 95_000]
    assert Counter(s.state for s in found)["contact"] in (7, 8)
    assert {s.state for s in found} == {"contact", "open"}


@pytest.mark.parametrize("setpoint_kpa", [15.0, 25.0, 45.0])
def test_a_changed_set_point_loses_no_stroke(setpoint_kpa: float) -> None:
    bench = Bench(profile="minimal").run("open", 10).treat(15)
    bench.setpoint_kpa = setpoint_kpa
    found = segments_of(bench.treat(15).block())
    assert Counter(s.state for s in found)["contact"] == 30


def test_means_are_over_the_settled_part() -> None:
    found = segments_of(Bench().run("off", 12).run("open", 20).run("contact", 10).run("open", 5).block())
    assert [s.state for s in found] == ["off", "open", "contact", "open"]
    assert found[1].mean["vacuum_inlet_kpa"] == pytest.approx(2.35, abs=0.05)
    assert found[2].mean["vacuum_inlet_kpa"] == pytest.approx(40.0, abs=0.8)
    assert found[2].settled_s == pytest.approx(7.5, abs=0.6)
    assert found[3].mean["vacuum_inlet_kpa"] == pytest.approx(2.35, abs=0.1)
    assert [s.previous for s in found] == [None, "off", "open", "contact"]


def test_noise_is_that_of_the_samples_not_the_rise_of_the_vacuum() -> None:
    found = segments_of(Bench().run("off", 12).run("open", 20).treat(30, contact_s=3.0, lift_s=1.5).block())
    strokes = [s.deviation["vacuum_inlet_kpa"] for s in found if s.state == "contact" and s.deviation]
    assert len(strokes) > 20
    assert np.mean(strokes) == pytest.approx(0.15, abs=0.03)


def test_samples_far_apart_tell_no_noise() -> None:
    found = segments_of(Bench(rate_hz=1.0).run("off", 12).run("open", 20).run("contact", 10).run("open", 5).block())
    assert not any(s.deviation for s in found)


def test_one_sample_a_second_still_tells_the_states() -> None:
    bench = Bench(rate_hz=1.0).run("off", 12).run("open", 20).treat(10, contact_s=5.0, lift_s=2.0)
    found = segments_of(bench.run("open", 5).block())
    assert Counter(s.state for s in found)["contact"] == 10
    assert found[2].mean["vacuum_inlet_kpa"] == pytest.approx(37, abs=4)


def test_a_capped_tip_is_recognised_without_a_self_test() -> None:
    for profile in ("full", "minimal"):
        bench = Bench(profile=profile).run("open", 10).treat(3).run("capped", 10).run("open", 3)
        capped = [s for s in segments_of(bench.block()) if s.state == "capped"]
        assert len(capped) == 1
        assert capped[0].mean["vacuum_inlet_kpa"] == pytest.approx(78.6, abs=0.8)


@pytest.mark.parametrize("faults", [{"feed_area": 0.2}, {"bleed_m2": 0.0}, {"feed_area": 0.0}])
def test_over_vacuum_on_skin_is_not_taken_for_a_cap(faults: dict[str, float]) -> None:
    for profile in ("full", "minimal"):
        bench = Bench(profile=profile).run("open", 10).treat(6, contact_s=8, seal=0.98, **faults)
        assert "capped" not in {s.state for s in segments_of(bench.block())}


def test_a_hole_in_the_data_and_a_restart_end_a_segment() -> None:
    block = Bench().run("open", 20).block()
    later = part(block, 100, 200)
    hole = Block("e1", 2, "b1", later.up_ms + 20_000, later.at_ms + 20_000, later.channels)
    restart = Block("e1", 2, "b2", 500, later.at_ms, later.channels)
    for second in (hole, restart):
        found = segments_of(part(block, 0, 100), second)
        assert [(s.state, s.previous, round(s.duration_s)) for s in found] == [("open", None, 10), ("open", None, 10)]


def test_missing_values_are_left_out_of_the_means() -> None:
    block = Bench().run("open", 20).block()
    block.channels["filter_dp_kpa"][50:] = np.nan
    block.channels["mains_v"][:] = np.nan
    (segment,) = segments_of(block)
    assert segment.mean["filter_dp_kpa"] == pytest.approx(0.61, abs=0.02)
    assert "mains_v" not in segment.mean
    assert segments_of(*cut(block, [33, 49, 51])) == [segment]


def test_without_pump_on_the_pump_is_told_by_current_flow_or_vacuum() -> None:
    for kept in ("motor_current_a", "flow_lpm", "vacuum_inlet_kpa"):
        block = Bench().run("off", 12).run("open", 20).run("off", 12).block()
        channels = {name: block.channels[name] for name in {kept, "vacuum_inlet_kpa"}}
        found = segments_of(Block("e1", 1, "b1", 0, block.at_ms, channels))
        assert [s.state for s in found] == ["off", "open", "off"]
