"""Baselines: what is normal for this machine, and what is not accepted as normal."""

from collections.abc import Mapping
from functools import cache

import msgspec
import numpy as np
import pytest

from dermafleet.physics import steady
from dermafleet.physics.gas import hole_m2
from dermafleet.physics.machine import M1, Machine
from services.alerts import baselines
from services.alerts.baselines import FILTER, Normalised, Residual
from services.alerts.context import Context
from services.alerts.features import expected, nominal
from services.alerts.features.types import CappedFeatures, ContactFeatures, Means, OpenFeatures, SessionFeatures

CONTEXT = Context()
FULL = expected.CHANNELS["open"]
MINIMAL = ("vacuum_inlet_kpa",)


@cache
def settled(
    machine: Machine, state: steady.State, setpoint_kpa: float, ambient_kpa: float, mains_v: float
) -> steady.Operating:
    set_ = machine.with_(bleed_m2=nominal.bleed_for(M1, setpoint_kpa))
    return steady.solve(set_, state, ambient_kpa * 1000, mains_v)


def a_session(
    machine: Machine = M1,
    *,
    channels: tuple[str, ...] = FULL,
    setpoints: tuple[float, ...] = (40.0,),
    ambient_kpa: float = 101.325,
    mains_v: float = 230.0,
    index: float | None = None,
    seconds: float = 60.0,
    at_ms: int = 0,
) -> SessionFeatures:
    """A treatment as an ideal machine would show it; ``index`` is the filter's, as measured."""
    known = {"ambient_kpa": ambient_kpa, "mains_v": mains_v} if channels is FULL else {}

    def means(state: steady.State, setpoint_kpa: float) -> Means:
        at = settled(machine, state, setpoint_kpa, ambient_kpa, mains_v)
        told = {"setpoint_kpa": setpoint_kpa} if channels is FULL else {}
        return {name: float(getattr(at, name)) for name in channels} | told

    return SessionFeatures(
        session_id="s",
        purpose="treatment",
        component="main",
        tip="",
        started_ms=at_ms,
        ended_ms=at_ms,
        pump_s=300,
        contact_s=100,
        strokes=20,
        open=OpenFeatures(seconds, means("open", 40.0)),
        contacts=[ContactFeatures(kpa, 20, seconds, means("contact", kpa)) for kpa in setpoints],
        ambient_kpa=known.get("ambient_kpa"),
        mains_v=known.get("mains_v"),
        filter_index=index,
    )


def a_self_test(machine: Machine = M1) -> SessionFeatures:
    closed = steady.solve(machine, "capped")
    mean = {name: float(getattr(closed, name)) for name in expected.CHANNELS["capped"]} | {"setpoint_kpa": 40.0}
    down = steady.pump_down_s(machine, 60.0) - steady.pump_down_s(machine, 15.0)
    capped = CappedFeatures(
        plateau=True,
        mean=mean,
        pump_down_s=float(down),
        leak_down_kpa_s=float(steady.leak_down_kpa_s(machine, 60.0)),
        leak_down_from_kpa=60.0,
        is_self_test=True,
    )
    plain = a_session(machine)
    return msgspec.structs.replace(plain, purpose="self_test", contacts=[], capped=capped)


def adjusted(**unlike: float) -> Machine:
    """A machine that is so many times the type, its dial adjusted to it."""
    machine = M1.with_(**{name: float(getattr(M1, name)) * factor for name, factor in unlike.items()})
    return machine.with_(bleed_m2=float(steady.bleed_for_contact(machine, 40.0)))


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("displacement", [0.88, 1.12])
def test_the_maximum_of_a_pump_that_its_dial_is_adjusted_to_is_no_fault(displacement: float, is_read: bool) -> None:
    shown = a_self_test(adjusted(displacement_m3s=displacement))
    assert shown.capped is not None
    if not is_read:
        del shown.capped.mean["setpoint_kpa"]
    found = baselines.take(baselines.State(), shown, CONTEXT)
    maximum = residuals(found)["capped", "vacuum_inlet_kpa"]
    assert abs(maximum.residual) < 2 * np.hypot(maximum.error, np.linalg.norm(maximum.shared))
    assert "capped.vacuum_inlet_kpa" not in found.rejected


def drawn(seed: int) -> Machine:
    """A healthy machine: design values up to 15 % off the type's."""
    random = np.random.default_rng(seed)
    names = ("displacement_m3s", "filter_r1", "exhaust_r1", "feed_m2", "return_m2", "tip_m2", "friction_w")
    return M1.with_(**{name: float(getattr(M1, name)) * random.uniform(0.85, 1.15) for name in names})


def learn(state: baselines.State, machine: Machine, sessions: int = 3) -> Normalised:
    for _ in range(sessions):
        last = baselines.take(state, a_session(machine), CONTEXT)
    return last


def residuals(found: Normalised) -> Mapping[tuple[str, str], Residual]:
    return {(each.state, each.channel): each for each in found.residuals}


@pytest.mark.parametrize("seed", range(6))
def test_a_healthy_machine_is_normal_before_it_is_known(seed: int) -> None:
    found = baselines.take(baselines.State(), a_session(drawn(seed)), CONTEXT)
    rows = [each for each in found.residuals if each.state == "open"]
    off = np.array([each.residual for each in rows])
    assert off @ np.linalg.solve(baselines.covariance(rows), off) < 2.5 * len(rows)
    assert not found.rejected


@pytest.mark.parametrize("seed", range(4))
def test_a_known_machine_is_normal_at_another_site_and_set_point(seed: int) -> None:
    machine, state = drawn(seed), baselines.State()
    learn(state, machine)
    moved = a_session(machine, ambient_kpa=77.0, mains_v=215.0, setpoints=(25.0,))
    found = baselines.take(state, moved, CONTEXT)
    assert all(each.is_learned and not any(each.shared) for each in found.residuals)
    assert max(abs(each.residual / each.error) for each in found.residuals if each.state == "open") < 2


def test_a_poor_seal_while_learning_is_not_taken_for_the_machine() -> None:
    machine, poor, good = drawn(1), baselines.State(), baselines.State()
    learn(poor, machine.with_(seal=0.9))
    learn(good, machine)
    a, b = (residuals(baselines.take(state, a_session(machine), CONTEXT)) for state in (poor, good))
    for key in a:
        assert a[key].healthy == pytest.approx(b[key].healthy, abs=0.03), key


@pytest.mark.parametrize(
    ("fault", "quantity"),
    [
        ({"return_area": 0.2}, ("open", "vacuum_inlet_kpa")),
        ({"displacement": 0.7}, ("open", "flow_lpm")),
        ({"exhaust_load": 24.0}, ("open", "exhaust_dp_kpa")),
    ],
)
def test_a_fault_from_the_first_session_on_is_not_learned(fault: dict[str, float], quantity: tuple[str, str]) -> None:
    state = baselines.State()
    learn(state, M1.with_(**fault), sessions=6)
    last = baselines.take(state, a_session(M1.with_(**fault)), CONTEXT)
    found = residuals(last)[quantity]
    assert not found.is_learned
    assert abs(found.residual) > 0.2
    assert ".".join(quantity) in last.rejected


def test_a_leak_from_the_first_self_test_on_is_not_learned() -> None:
    state = baselines.State()
    leaking = a_self_test(M1.with_(leak_dirty_m2=float(hole_m2(1.0))))
    for _ in range(5):
        found = baselines.take(state, leaking, CONTEXT)
    assert not residuals(found)["capped", "leak_down_kpa_s"].is_learned
    assert not residuals(found)["capped", "vacuum_inlet_kpa"].is_learned


def test_three_sessions_or_ten_stable_minutes_make_a_baseline() -> None:
    few, long = baselines.State(), baselines.State()
    assert [len(baselines.take(few, a_session(at_ms=i), CONTEXT).learned) for i in range(4)] == [0, 0, 12, 0]
    (first, *_) = baselines.take(long, a_session(seconds=310, at_ms=7), CONTEXT).learned
    assert (first.version, first.n, first.at_ms, first.reason) == (1, 1, 7, "learned")


def test_two_self_tests_that_agree_are_learned_and_one_that_does_not_is_left_out() -> None:
    plain, quantity = a_self_test(), "|capped.vacuum_inlet_kpa"
    assert plain.capped is not None
    odd_mean = {**plain.capped.mean, "vacuum_inlet_kpa": 0.9 * plain.capped.mean["vacuum_inlet_kpa"]}
    odd = msgspec.structs.replace(plain, capped=msgspec.structs.replace(plain.capped, mean=odd_mean))
    agreed, disturbed = baselines.State(), baselines.State()

    for session in (plain, plain):
        baselines.take(agreed, session, CONTEXT)
    for session in (plain, odd):
        baselines.take(disturbed, session, CONTEXT)

    assert agreed.learned[quantity].is_valid
    assert not disturbed.learned[quantity].is_valid
    baselines.take(disturbed, plain, CONTEXT)
    assert disturbed.learned[quantity].is_valid
    assert disturbed.learned[quantity].value == agreed.learned[quantity].value
    assert disturbed.learned[quantity].spread == agreed.learned[quantity].spread


def test_slow_wear_is_not_learned_away() -> None:
    state = baselines.State()
    learn(state, M1)
    for worn in np.linspace(1.0, 0.8, 20):
        found = baselines.take(state, a_session(M1.with_(displacement=float(worn))), CONTEXT)
    assert residuals(found)["open", "flow_lpm"].residual == pytest.approx(np.log(0.8), abs=0.03)


def test_the_filters_load_while_learning_is_none_of_the_machine() -> None:
    state, loaded = baselines.State(), M1.with_(filter_load=4.0)
    for _ in range(3):
        baselines.take(state, a_session(loaded, index=5.0), CONTEXT)
    clean = residuals(baselines.take(state, a_session(index=1.0), CONTEXT))
    for key, each in clean.items():
        assert each.residual == pytest.approx(0, abs=0.02), key


def test_a_new_filter_is_learned_in_its_first_session() -> None:
    state = baselines.State()
    baselines.take(state, a_session(index=9.0), CONTEXT)
    baselines.reset(state, "FILTER_INTAKE_REPLACED")
    found = baselines.take(state, a_session(index=1.2), CONTEXT)
    assert (found.filter_index, found.is_filter_learned, found.is_filter_exchanged) == (1.0, True, False)
    (learned,) = [each for each in found.learned if each.quantity == FILTER]
    assert (learned.value, learned.reason) == (1.2, "FILTER_INTAKE_REPLACED")
    assert baselines.take(state, a_session(index=6.0), CONTEXT).filter_index == pytest.approx(5.0)


@pytest.mark.parametrize("index", [0.05, 2.4])
def test_a_wrong_or_missing_filter_is_not_accepted_as_new(index: float) -> None:
    state = baselines.State()
    baselines.take(state, a_session(index=9.0), CONTEXT)
    baselines.reset(state, "FILTER_INTAKE_REPLACED")
    found = baselines.take(state, a_session(index=index), CONTEXT)
    assert FILTER in found.rejected
    assert (found.is_filter_learned, found.filter_index) == (False, index)


def test_an_exchange_without_a_record_is_noticed() -> None:
    state = baselines.State()
    told = [baselines.take(state, a_session(index=i), CONTEXT).is_filter_exchanged for i in (8.0, 8.5, 1.1, 1.2)]
    assert told == [False, False, True, False]


@pytest.mark.parametrize(
    ("record", "ended", "kept"),
    [
        ("FILTER_INTAKE_CLEANED", set(), {"open.flow_lpm", FILTER}),
        ("FILTER_INTAKE_REPLACED", {FILTER, "open.filter_dp_kpa"}, {"open.flow_lpm", "capped.pump_down_s"}),
        ("FILTER_EXHAUST_REPLACED", {"open.exhaust_dp_kpa", "open.motor_current_a"}, {"open.flow_lpm", FILTER}),
        ("HOSE_REPLACED", {"open.vacuum_inlet_kpa", "capped.leak_down_kpa_s"}, {"open.motor_current_a", FILTER}),
        ("CRYSTALS_REPLACED", {"contact.flow_lpm"}, {"open.flow_lpm", "capped.pump_down_s"}),
        ("SEAL_REPLACED", {"capped.leak_down_kpa_s"}, {"capped.pump_down_s", "contact.flow_lpm"}),
        ("PUMP_KIT_REPLACED", {"capped.pump_down_s", "open.flow_lpm", "open.motor_current_a"}, {FILTER}),
        ("REGULATOR_SERVICED", {"capped.vacuum_inlet_kpa"}, {"open.vacuum_inlet_kpa", FILTER}),
        ("SENSOR_REPLACED", {"open.flow_lpm", FILTER, "capped.pump_down_s"}, set()),
        ("CANISTER_EMPTIED", set(), {"capped.leak_down_kpa_s", FILTER}),
    ],
)
def test_a_record_ends_the_baselines_that_it_concerns(record: str, ended: set[str], kept: set[str]) -> None:
    state = baselines.State()
    baselines.reset(state, "FILTER_INTAKE_REPLACED")
    for _ in range(3):
        baselines.take(state, a_session(index=1.0), CONTEXT)
        baselines.take(state, a_self_test(), CONTEXT)
    state.learned[f"|{FILTER}"] = baselines.Learned(version=1, is_valid=True, value=1.0, n=1)
    baselines.reset(state, record)
    valid = {key.partition("|")[2] for key, each in state.learned.items() if each.is_valid}
    assert not ended & valid
    assert kept <= valid


def test_the_next_baseline_is_the_next_version() -> None:
    state = baselines.State()
    learn(state, M1)
    baselines.reset(state, "PUMP_REPLACED")
    found = learn(state, M1.with_(displacement=1.1))
    (flow,) = [each for each in found.learned if each.quantity == "open.flow_lpm"]
    assert (flow.version, flow.n, flow.reason) == (2, 3, "PUMP_REPLACED")


def test_every_tip_has_its_own_baselines() -> None:
    state = baselines.State()
    for tip in ("CRYSTAL_STEEL 5mm", "CRYSTAL_GLASS 4mm"):
        machine = M1.with_(tip_m2=nominal.tip_m2(M1, tip))
        for _ in range(3):
            found = baselines.take(state, msgspec.structs.replace(a_session(machine), tip=tip), CONTEXT)
        assert {each.tip for each in found.learned} == {tip}
        assert max(abs(each.residual) for each in found.residuals) < 0.01


def test_weather_is_allowed_for_where_ambient_pressure_is_not_measured() -> None:
    state = baselines.State()
    for _ in range(3):
        baselines.take(state, a_session(channels=MINIMAL), CONTEXT)
    stormy = baselines.take(state, a_session(channels=MINIMAL, ambient_kpa=98.3), CONTEXT)
    rows = list(stormy.residuals)
    off = np.array([each.residual for each in rows])
    assert all(each.is_learned for each in rows)
    assert off @ np.linalg.solve(baselines.covariance(rows), off) < 2.5 * len(rows)


def test_what_is_remembered_is_json_and_small() -> None:
    state = baselines.State()
    learn(state, drawn(3))
    raw = msgspec.json.encode(state)
    assert len(raw) < 5_000
    assert msgspec.json.decode(raw, type=baselines.State) == state
