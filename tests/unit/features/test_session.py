"""The features of a session: from what the sensors said to the quantities that diagnosis works with."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermafleet.physics import steady
from dermafleet.physics.machine import M1
from services.alerts.context import Context
from services.alerts.features import nominal, segments, session
from services.alerts.features.types import SessionFeatures
from services.alerts.limits import Limits
from services.alerts.observation import Block, Floats
from tests.unit.features.machine import START_MS, Bench, cut, part

CONTEXT = Context()
BENCH = Context(limits=Limits(architecture="bench", over_vacuum_kpa=None))


class Follower:
    """Shows blocks as the evaluation does; its memory is written as JSON between them."""

    def __init__(self, context: Context = CONTEXT) -> None:
        self.context = context
        self.segments, self.session = segments.State(), session.State()
        self.done: list[SessionFeatures] = []

    def take(self, *blocks: Block) -> "Follower":
        for block in blocks:
            closed = segments.take(self.segments, block)
            self.done += session.take(self.session, block, closed, self.context)
            self.segments = msgspec.json.decode(msgspec.json.encode(self.segments), type=segments.State)
            self.session = msgspec.json.decode(msgspec.json.encode(self.session), type=session.State)
        return self

    def begin(self, at_ms: int, purpose: str = "treatment") -> "Follower":
        session.begin(self.session, "s1", purpose, "", at_ms)
        return self

    def end(self, at_ms: int) -> SessionFeatures | None:
        return session.end(self.session, at_ms, self.context, segments.close(self.segments))


def features_of(
    block: Block, purpose: str = "treatment", begins: int = 130, edges: tuple[int, ...] = ()
) -> SessionFeatures:
    """Features of a session whose start is told before sample ``begins``."""
    follower = Follower()
    for piece in cut(block, [begins, *edges]):
        if piece.at_ms[0] == block.at_ms[begins]:
            follower.begin(int(piece.at_ms[0]), purpose)
        follower.take(piece)
    found = follower.end(int(block.at_ms[-1]))
    assert found is not None
    return found


def a_treatment(profile: str) -> Block:
    bench = Bench(profile=profile).run("off", 12).run("open", 15).treat(10, contact_s=6, seal=0.98)  # type: ignore[arg-type]
    bench.setpoint_kpa = 25.0
    return bench.treat(8, contact_s=6, seal=0.98).run("capped", 9).run("open", 4).run("off", 4).block()


TREATMENTS = {profile: a_treatment(profile) for profile in ("full", "standard", "minimal")}


@pytest.mark.parametrize("profile", TREATMENTS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_cut_into_blocks_gives_the_same_features_to_the_last_bit(profile: str, data: st.DataObject) -> None:
    block = TREATMENTS[profile]
    edges = data.draw(st.lists(st.integers(1, len(block.at_ms) - 1), max_size=30))
    assert features_of(block, edges=tuple(edges)) == features_of(block)


def test_open_and_contact_of_every_set_point_are_told_apart() -> None:
    found = features_of(TREATMENTS["full"])
    assert found.open is not None
    assert found.open.mean["vacuum_inlet_kpa"] == pytest.approx(2.35, abs=0.1)
    assert [(c.setpoint_kpa, c.strokes) for c in found.contacts] == [(25.0, 8), (40.0, 10)]
    assert [c.mean["vacuum_inlet_kpa"] for c in found.contacts] == pytest.approx([25, 40], abs=0.8)
    assert found.strokes == 18, "the contact that led to a cap is no stroke"
    assert found.capped is not None
    closed = steady.solve(M1.with_(bleed_m2=nominal.bleed_for(M1, 25.0)), "capped")
    assert found.capped.mean["vacuum_inlet_kpa"] == pytest.approx(float(closed.vacuum_inlet_kpa), abs=0.6)


def test_pumping_before_the_told_start_belongs_to_the_session_but_not_an_earlier_run() -> None:
    bench = Bench().run("off", 5).run("open", 20, filter_load=15.0).run("off", 10).run("open", 20).treat(5)
    block = bench.block()
    found = features_of(block, begins=560)
    assert found.pump_s == pytest.approx(45, abs=0.5)
    assert found.filter_index == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("index", [1.0, 5.0, 13.0, 40.0])
@pytest.mark.parametrize(("ambient_kpa", "setpoint_kpa"), [(101.325, 40.0), (77.0, 20.0)])
def test_filter_index_is_that_of_the_filter_whatever_the_site_and_the_set_point(
    index: float, ambient_kpa: float, setpoint_kpa: float
) -> None:
    bench = Bench(ambient_kpa=ambient_kpa, setpoint_kpa=setpoint_kpa, zeros={"filter_dp_kpa": 0.3})
    bench.run("off", 12, filter_load=index - 1).run("open", 10, filter_load=index - 1).treat(5, filter_load=index - 1)
    full = bench.block()
    found = features_of(full)
    assert found.filter_index == pytest.approx(index, rel=0.04)
    without_flow = {name: values for name, values in full.channels.items() if name != "flow_lpm"}
    blind = features_of(Block("e1", 1, "b1", full.up_ms, full.at_ms, without_flow))
    assert blind.filter_index == pytest.approx(index, rel=0.12)
    without_drop = {name: values for name, values in full.channels.items() if name != "filter_dp_kpa"}
    assert features_of(Block("e1", 1, "b1", full.up_ms, full.at_ms, without_drop)).filter_index is None


@pytest.mark.parametrize("has_handpiece", [True, False])
def test_filter_index_is_that_of_the_filter_though_the_inlet_gauge_fails(has_handpiece: bool) -> None:
    block = Bench().run("off", 12).run("open", 10).treat(12).block()
    channels = dict(block.channels)
    for name in ("vacuum_inlet_kpa",) if has_handpiece else ("vacuum_inlet_kpa", "vacuum_handpiece_kpa"):
        channels[name] = np.where(np.arange(len(block.at_ms)) < 300, channels[name], np.nan)
    found = features_of(Block("e1", 1, "b1", block.up_ms, block.at_ms, channels))
    assert found.filter_index == pytest.approx(1.0, abs=0.05)


def test_a_filter_that_loads_within_the_session_shows_its_slope() -> None:
    bench = Bench().run("off", 12)
    for load in (0.0, 1.0, 2.0, 3.0, 4.0):
        bench.run("open", 20, filter_load=load)
    found = features_of(bench.block(), begins=125)
    assert found.filter_index_slope == pytest.approx(4 / (80 / 3600), rel=0.25)
    assert found.values["filter_index_last"] - found.values["filter_index_first"] > 2.5


def test_poor_seals_do_not_move_the_envelope() -> None:
    bench = Bench().run("off", 12).run("open", 10)
    for i in range(16):
        bench.treat(1, contact_s=5, seal=0.98 if i % 2 else 0.85)
    found = features_of(bench.block())
    assert found.contacts[0].mean["vacuum_inlet_kpa"] == pytest.approx(39.5, abs=1)
    assert (found.contacts[0].seal_spread or 0) > 0.15


def test_zeros_of_the_sensors_are_taken_off() -> None:
    zeros = {"vacuum_inlet_kpa": 0.8, "flow_lpm": -0.5}
    found = features_of(Bench(zeros=zeros).run("off", 12).run("open", 20).block(), begins=125)
    assert found.off_mean["vacuum_inlet_kpa"] == pytest.approx(0.8, abs=0.05)
    assert found.open is not None
    assert found.open.mean["vacuum_inlet_kpa"] == pytest.approx(2.35, abs=0.06)


@pytest.mark.parametrize(("ambient_kpa", "mains_v", "setpoint_kpa"), [(101.325, 230.0, 40.0), (77.0, 207.0, 20.0)])
def test_residuals_tell_the_pump_from_altitude_and_mains(
    ambient_kpa: float, mains_v: float, setpoint_kpa: float
) -> None:
    for displacement in (1.0, 0.8):
        machine = M1.with_(displacement=displacement)
        bench = Bench(machine, ambient_kpa=ambient_kpa, mains_v=mains_v, setpoint_kpa=setpoint_kpa)
        values = features_of(bench.run("off", 12).run("open", 20).treat(6).block()).values
        assert values["pump_ratio_open"] == pytest.approx(displacement, abs=0.02)
        assert values["pump_ratio_contact"] == pytest.approx(displacement, abs=0.04)
        if displacement == 1.0:
            assert values["current_residual_contact_a"] == pytest.approx(0, abs=0.006)


def test_hose_and_feed_show_in_their_own_quantities() -> None:
    def values(**faults: float) -> dict[str, float]:
        bench = Bench().run("off", 12, **faults).run("open", 10, **faults).treat(6, contact_s=10, seal=0.98, **faults)
        return dict(features_of(bench.block()).values)

    healthy, hose, feed = values(), values(return_area=0.5), values(feed_area=0.43)
    assert hose["return_resistance"] / healthy["return_resistance"] == pytest.approx(4, rel=0.15)
    assert feed["return_resistance"] == pytest.approx(healthy["return_resistance"], rel=0.1)
    gap = 0.02 * 0.7 * np.pi * 2.5**2
    assert healthy["feed_conductance_mm2"] == pytest.approx(gap + 0.75 * np.pi * 0.6**2, rel=0.06)
    assert feed["feed_conductance_mm2"] == pytest.approx(gap + 0.43 * 0.75 * np.pi * 0.6**2, rel=0.06)


def self_test(rise_kpa_s: float, limit_kpa: float, plateau_s: float, leak_kpa_s: float, **faults: float) -> Block:
    """10 s off, 5 s open, capped with a linear rise, stop, 5 s of linear fall."""
    open_ = Bench().run("off", 10).run("open", 5, **faults).block()
    inlet = open_.channels["vacuum_inlet_kpa"].tolist()
    rise = np.arange(inlet[-1], limit_kpa, rise_kpa_s / 10)
    capped = [*rise, *np.full(round(plateau_s * 10), rise[-1])]
    fall = np.maximum(capped[-1] - leak_kpa_s * np.arange(0.1, 5.1, 0.1), 0)
    pump = [*open_.channels["pump_on"].tolist(), *np.ones(len(capped)), *np.zeros(50)]
    vacuum: Floats = np.array([*inlet, *capped, *fall])
    at_ms = START_MS + 100 * np.arange(len(vacuum))
    return Block("e1", 1, "b1", 0, at_ms, {"vacuum_inlet_kpa": vacuum, "pump_on": np.array(pump)})


def test_a_self_test_gives_plateau_pump_down_and_leak() -> None:
    block = self_test(rise_kpa_s=20, limit_kpa=78, plateau_s=4, leak_kpa_s=0.7)
    found = features_of(block, "self_test", begins=1)
    assert found.capped is not None
    assert found.capped.plateau
    assert found.capped.is_self_test
    assert found.capped.mean["vacuum_inlet_kpa"] == pytest.approx(76.5, abs=0.6)
    assert found.capped.pump_down_s == pytest.approx(45 / 20, abs=0.02)
    assert found.capped.late_rise_s == pytest.approx(0.2 * 101.325 / 20, abs=0.02)
    assert found.capped.leak_down_kpa_s == pytest.approx(0.7, abs=0.01)
    assert (found.strokes, found.contacts) == (0, [])
    assert features_of(block, "self_test", begins=1, edges=(155, 160, 190, 230)) == found


@pytest.mark.parametrize("lasts", [2, 50])
def test_a_signal_that_drops_out_or_a_cap_taken_off_is_no_leak(lasts: int) -> None:
    block = self_test(rise_kpa_s=20, limit_kpa=78, plateau_s=4, leak_kpa_s=0.7)
    stop = len(block.at_ms) - 50
    block.channels["vacuum_inlet_kpa"][stop + 20 : stop + 20 + lasts] = 0.0
    found = features_of(block, "self_test", begins=1).capped
    assert found is not None
    assert (found.plateau, found.leak_down_kpa_s) == (True, None)


def test_a_self_test_stopped_at_its_limit_has_no_plateau() -> None:
    found = features_of(self_test(20, 80, 0, 0.0), "self_test", begins=1)
    assert found.capped is not None
    assert not found.capped.plateau
    assert found.capped.pump_down_s == pytest.approx(45 / 20, abs=0.02)


def test_a_pump_down_behind_a_clogged_filter_begins_with_the_cap_not_with_the_open_tip() -> None:
    found = features_of(self_test(20, 78, 4, 0.7, filter_load=16.0), "self_test", begins=1).capped
    assert found is not None
    assert found.pump_down_s == pytest.approx(45 / 20, abs=0.02)


def test_a_self_test_without_a_cap_gives_none() -> None:
    block = Bench().run("off", 10).run("open", 20).run("off", 6).block()
    assert features_of(block, "self_test", begins=1).capped is None


def test_times_above_the_limits_are_counted() -> None:
    bench = Bench().run("off", 12).run("open", 5).run("contact", 12, feed_area=0.0, seal=0.985).run("open", 5)
    values = features_of(bench.block()).values
    assert values["over_vacuum_s"] == pytest.approx(10, abs=1)
    assert values["over_setpoint_s"] == pytest.approx(11, abs=1)


def test_masses_are_those_of_the_first_and_the_last_minute() -> None:
    block = Bench().run("open", 200).block()
    noise = np.random.default_rng(1).normal(0, 5, len(block.at_ms))
    jar = {"crystal_jar_g": np.linspace(500, 400, len(block.at_ms)) + noise}
    values = features_of(Block("e1", 1, "b1", 0, block.at_ms, {**block.channels, **jar}), begins=1).values
    assert values["crystal_jar_first_g"] == pytest.approx(485, abs=4)
    assert values["crystal_jar_last_g"] == pytest.approx(415, abs=4)


def test_a_session_in_which_nothing_was_measured_has_no_features() -> None:
    assert Follower().begin(START_MS).end(START_MS + 1000) is None
    assert Follower().end(START_MS) is None


def test_a_rig_that_tells_no_sessions_gets_one_per_ten_minutes_of_pumping() -> None:
    count = 13_000
    on = np.ones(count)
    on[:50] = 0.0
    channels: dict[str, Floats] = {"pump_on": on, "filter_dp_kpa": 0.6 * on, "flow_lpm": 30 * on}
    block = Block("e1", 1, "b1", 0, START_MS + 100 * np.arange(count), channels)
    found = Follower(BENCH).take(block).done
    assert [round(each.pump_s) for each in found] == [600, 600]
    assert found[0].session_id == f"auto-{START_MS + 5000}"
    assert found[0].filter_index == pytest.approx(1.0, abs=0.01)
    pieces = cut(block, [7, 50, 51, 3_000, 6_049, 6_050, 9_000])
    assert Follower(BENCH).take(*pieces).done == found
    later = Block("e1", 2, "b1", 3_600_000, block.at_ms + 3_600_000, channels)
    ended = Follower(BENCH).take(block, part(later, 0, 100)).done
    assert [round(each.pump_s) for each in ended] == [600, 600, 95]


def test_the_model_of_warming_agrees_with_the_table_of_operating_states() -> None:
    table = nominal.warming("crystal")
    assert table[2][0] == pytest.approx(19, abs=1.5)
    assert table[39][0] == pytest.approx(30, abs=1.5)


def test_memory_stays_small_however_long_the_session_is() -> None:
    bench = Bench().run("off", 12).run("open", 10)
    for setpoint_kpa in (15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0):
        bench.setpoint_kpa = setpoint_kpa
        bench.treat(4)
    follower = Follower().take(part(bench.block(), 0, 130)).begin(START_MS)
    follower.take(part(bench.block(), 130, len(bench.block().at_ms)))
    assert len(msgspec.json.encode(follower.session)) < 20_000
