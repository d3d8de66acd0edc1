"""From sessions to names, on a machine that differs from its type and whose habits are learned."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from dermafleet.contracts.channels import Profile, fitted
from dermafleet.physics import steady
from dermafleet.physics.machine import M1, Machine
from services.alerts.baselines import Normalised, Residual
from services.alerts.context import Context
from services.alerts.diagnosis import diagnose, signatures
from services.alerts.features.expected import CHANNELS, LATE_RISE, LEAK_DOWN, PUMP_DOWN, SENSORS, transform
from services.alerts.features.expected import State as Name
from services.alerts.features.self_test import LATE_SHARES
from services.alerts.features.types import CappedFeatures, ContactFeatures, SessionFeatures
from services.alerts.limits import Architecture, Limits
from services.alerts.observation import Observation, Origin

OWN = M1.with_(displacement_m3s=M1.displacement_m3s * 1.1, filter_r1=M1.filter_r1 * 0.9, feed_m2=M1.feed_m2 * 1.12)
"""A machine unlike its type."""


@dataclass
class Patient:
    """A machine whose sessions are diagnosed one after the other; its residuals are free of noise."""

    profile: Profile = "full"
    machine: Machine = OWN
    bleed: float = 1.0
    values: dict[str, float] = field(default_factory=dict)
    state: diagnose.State = field(default_factory=diagnose.State)
    sessions: int = 0
    pump_down_to_kpa: float = 60.0
    architecture: Architecture = "crystal"
    crystal_g_per_s: float | None = None

    def treat(self, seal: float = 0.98) -> list[Observation]:
        return self._take(
            [*self._rows("open", 40.0), *self._rows("contact", 40.0, seal), *self._rows("contact", 30.0, seal)]
        )

    def test(self) -> list[Observation]:
        return self._take([*self._rows("open", 40.0), *self._capped()])

    def _take(self, rows: list[Residual]) -> list[Observation]:
        self.sessions += 1
        features = SessionFeatures(
            session_id=str(self.sessions),
            purpose="treatment",
            component="main",
            tip="",
            started_ms=0,
            ended_ms=self.sessions * 1000,
            pump_s=600,
            contact_s=300,
            strokes=100,
            contacts=[
                ContactFeatures(
                    row.setpoint_kpa, 50, 150.0, {row.channel: row.measured}, crystal_g_per_s=self.crystal_g_per_s
                )
                for row in rows
                if (row.state, row.channel) == ("contact", "vacuum_inlet_kpa")
            ],
            mains_v=None if self.profile == "minimal" else 230.0,
            values=self.values,
            capped=CappedFeatures(plateau=True, mean={}, pump_down_to_kpa=self.pump_down_to_kpa),
        )
        normalised = Normalised(
            residuals=tuple(rows),
            filter_index=None,
            filter_index_error=None,
            is_filter_learned=True,
            is_filter_exchanged=False,
            rejected=(),
            learned=(),
            ambient_kpa=101.325,
            mains_v=230.0,
            temperature_c=20.0,
        )
        limits = Limits(jar_g=500.0, canister_g=600.0, architecture=self.architecture)
        context = Context(limits=limits, profile=self.profile)
        return diagnose.take(self.state, features, normalised, context, Origin("e", self.sessions))

    def _rows(self, state: Name, setpoint: float, seal: float = 0.98) -> Iterator[Residual]:
        dial = steady.bleed_for_contact(OWN, setpoint)
        now = steady.solve(self.machine.with_(bleed_m2=self.bleed * dial, seal=seal), state)
        usual = steady.solve(OWN.with_(bleed_m2=dial), state)
        nominal = steady.solve(M1.with_(bleed_m2=steady.bleed_for_contact(M1, setpoint)), state)
        for name in CHANNELS[state]:
            values = [float(getattr(point, name)) for point in (now, usual, nominal)]
            yield from self._residual(state, name, setpoint, *values)

    def _capped(self) -> Iterator[Residual]:
        yield from self._rows("capped", 40.0)
        dial = steady.bleed_for_contact(OWN, 40.0)
        machines = (self.machine.with_(bleed_m2=self.bleed * dial), OWN.with_(bleed_m2=dial), M1)
        seconds = [float(steady.pump_down_s(each, self.pump_down_to_kpa)) for each in machines]
        if np.isfinite(seconds[0]):
            yield from self._residual("capped", PUMP_DOWN, 40.0, *seconds)
        half, most = ([float(steady.pump_down_s(each, share * 101.325)) for each in machines] for share in LATE_SHARES)
        if np.isfinite(most[0]):
            late = [end - begin for begin, end in zip(half, most, strict=True)]
            yield from self._residual("capped", LATE_RISE, 40.0, *late)
        rates = [float(steady.leak_down_kpa_s(each, 60.0)) for each in machines]
        yield from self._residual("capped", LEAK_DOWN, 40.0, *rates)

    def _residual(
        self, state: Name, name: str, setpoint: float, now: float, usual: float, nominal: float
    ) -> Iterator[Residual]:
        known = {channel.name for channel in fitted(self.profile)} | {PUMP_DOWN, LATE_RISE, LEAK_DOWN}
        if name not in known:
            return
        absolute, relative, floor = SENSORS[name]
        yield Residual(
            state=state,
            channel=name,
            setpoint_kpa=setpoint if "setpoint_kpa" in known else None,
            measured=now,
            nominal=nominal,
            healthy=float(transform(name, usual, nominal)),
            residual=float(transform(name, now, usual)),
            error=0.5 * float(np.hypot(absolute, relative * now)) / (now + floor),
            shared=(0.0,),
            is_learned=True,
        )


def _sick(fault: str, profile: Profile = "full", level: float | None = None) -> Patient:
    hypothesis = signatures.hypothesis(fault)
    chosen = hypothesis.medium if level is None else level
    return Patient(profile, hypothesis.change(OWN, chosen), float(hypothesis.bleed(chosen)))


IN_TREATMENT = (
    "exhaust_clogged",
    "return_path_blocked",
    "feed_blocked",
    "leak_clean_side",
    "pump_worn",
    "pump_valve_leak",
    "regulator_shut",
    "regulator_open",
    "filter_missing",
)


@pytest.mark.parametrize("fault", IN_TREATMENT)
def test_every_fault_but_a_leak_before_the_filter_is_named_in_the_second_treatment(fault: str) -> None:
    patient = _sick(fault)

    assert patient.treat() == []
    (told,) = patient.treat()

    assert (told.fault, dict(told.candidates)) == (fault, {})
    assert told.severity in (2, 3)


@pytest.mark.parametrize(("level", "severity"), [(0.5, 2), (1.0, 3)])
def test_a_leak_before_the_filter_is_named_by_the_next_self_test(level: float, severity: int) -> None:
    patient = _sick("leak_dirty_side", level=level)
    for _ in range(6):
        assert patient.treat() == []

    (told,) = patient.test()

    assert (told.fault, told.severity) == ("leak_dirty_side", severity)


@pytest.mark.parametrize("level", [2.6, 3.0, 3.3])
def test_a_pump_down_that_ends_near_its_plateau_does_not_hide_an_open_regulator(level: float) -> None:
    patient = _sick("regulator_open", level=level)
    patient.pump_down_to_kpa = 40.0

    told = [*patient.test(), *patient.test()]

    assert [(each.fault, dict(each.candidates)) for each in told] == [("regulator_open", {})]


@pytest.mark.parametrize("profile", ["minimal", "basic", "standard", "full"])
@pytest.mark.parametrize("index", [1.0, 4.0])
def test_a_healthy_machine_with_poor_seals_raises_nothing(profile: Profile, index: float) -> None:
    patient = Patient(profile, OWN.with_(filter_load=index - 1))

    told = [patient.test(), *(patient.treat(seal) for seal in (0.98, 0.8, 0.95, 0.85, 0.99, 0.8))]

    assert told == [[]] * 7


def test_without_a_pressure_drop_a_clogged_filter_is_told_together_with_the_hose() -> None:
    patient = _sick("filter_clogged", "basic")

    told = [each for _ in range(4) for each in patient.treat()]

    assert {each.fault for each in told} <= {"filter_clogged", "return_path_blocked"}
    assert set(told[-1].candidates) == {"filter_clogged", "return_path_blocked"}
    assert told[-1].severity == 2


BLIND: tuple[Profile, ...] = ("minimal", "basic", "standard")
NOISE = "feed_noise_inlet_kpa"


@pytest.mark.parametrize("profile", BLIND)
def test_without_a_set_point_a_quiet_feed_tells_that_it_is_blocked(profile: Profile) -> None:
    patient = Patient(profile, values={NOISE: 0.5})
    for _ in range(5):
        assert patient.treat() == []

    patient.machine = signatures.hypothesis("feed_blocked").change(OWN, 0.43)
    patient.values = {NOISE: 0.1}
    told = [each for _ in range(4) for each in patient.treat()]

    assert told[0].fault == "feed_blocked"
    assert set(told[-1].candidates) <= {"feed_blocked", "crystals_low"}


def test_an_operator_who_always_seals_poorly_does_not_hide_a_blocked_feed() -> None:
    patient = Patient(values={"feed_noise_handpiece_kpa": 0.4})
    for _ in range(5):
        patient.treat(seal=0.8)

    patient.machine = signatures.hypothesis("feed_blocked").change(OWN, 0.43)
    patient.values = {"feed_noise_handpiece_kpa": 0.05}

    assert {each.fault for _ in range(3) for each in patient.treat(seal=0.8)} == {"feed_blocked"}


def test_less_noise_and_fewer_crystals_with_less_vacuum_are_no_fault() -> None:
    patient = Patient(values={"feed_noise_handpiece_kpa": 1.2}, crystal_g_per_s=0.15)
    for _ in range(5):
        patient.treat()

    patient.values, patient.crystal_g_per_s = {"feed_noise_handpiece_kpa": 0.4}, 0.05

    assert [patient.treat(seal=0.8) for _ in range(6)] == [[]] * 6


def test_a_leak_too_small_to_tell_does_not_explain_a_blocked_feed_away() -> None:
    leaking = signatures.hypothesis("leak_clean_side").change(OWN, 0.2)
    patient = Patient(machine=leaking)
    for _ in range(3):
        assert [patient.test(), patient.treat()] == [[], []]

    patient.machine = signatures.hypothesis("feed_blocked").change(leaking, 0.43)

    assert {each.fault for _ in range(3) for each in patient.treat()} == {"feed_blocked"}


def test_an_empty_jar_draws_nothing_in_silence_and_is_no_blocked_feed() -> None:
    full = {"feed_noise_handpiece_kpa": 1.0, "crystal_jar_first_g": 400.0, "crystal_jar_last_g": 350.0}
    patient = Patient(values=full, crystal_g_per_s=0.15)
    for _ in range(5):
        patient.treat()

    patient.values = {"feed_noise_handpiece_kpa": 0.0, "crystal_jar_first_g": 6.0, "crystal_jar_last_g": 3.0}
    patient.crystal_g_per_s = 0.03

    assert [each.fault for _ in range(6) for each in patient.treat()] == ["crystals_low"]


def test_a_filter_whose_drop_jumps_is_wet_whatever_else_is_told() -> None:
    patient = Patient(machine=OWN, bleed=0.1, architecture="hydra")
    assert [each.fault for each in patient.test()] == ["regulator_shut"]

    patient.machine = OWN.with_(filter_load=30.0)
    assert patient.treat() == []
    assert [(each.fault, each.severity) for each in patient.treat()] == [("liquid_blocked", 3)]
    assert diagnose.holds_back(patient.state)

    patient.machine = OWN
    assert [(each.fault, each.severity) for each in patient.treat()] == [("liquid_blocked", None)]


def test_a_filter_that_grows_is_not_wet() -> None:
    patient = Patient(architecture="hydra")

    for load in (0.0, 1.0, 3.0, 7.0, 15.0, 30.0):
        patient.machine = OWN.with_(filter_load=load)
        assert patient.treat() == []


@pytest.mark.parametrize("profile", BLIND)
def test_a_higher_set_point_of_a_machine_as_loud_as_ever_is_no_fault(profile: Profile) -> None:
    patient = Patient(profile, values={NOISE: 0.5})
    for _ in range(5):
        patient.treat()

    patient.bleed = 0.8

    assert [patient.treat() for _ in range(6)] == [[]] * 6


@pytest.mark.parametrize("profile", BLIND)
def test_without_a_set_point_the_next_self_test_shows_a_shut_regulator(profile: Profile) -> None:
    patient = _sick("regulator_shut", profile)

    (told,) = patient.test()

    assert (told.fault, dict(told.candidates)) == ("regulator_shut", {})


def test_a_repaired_machine_is_cleared() -> None:
    patient = _sick("return_path_blocked")
    for _ in range(3):
        patient.treat()

    patient.machine = OWN
    diagnose.maintained(patient.state, "HOSE_CLEARED")
    (gone,) = patient.treat()

    assert (gone.fault, gone.severity) == ("return_path_blocked", None)


def test_a_record_alone_closes_nothing() -> None:
    patient = _sick("return_path_blocked")
    for _ in range(3):
        patient.treat()

    diagnose.maintained(patient.state, "HOSE_CLEARED")

    assert patient.treat() == []
    assert patient.state.standing.fault == "return_path_blocked"


def test_what_lies_in_jar_and_canister_is_judged_by_weight() -> None:
    patient = Patient(values={"crystal_jar_first_g": 40.0, "crystal_jar_last_g": 8.0})
    assert [(each.fault, each.severity) for each in patient.treat()] == [("crystals_low", 3)]

    patient.values = {
        "crystal_jar_first_g": 400.0,
        "crystal_jar_last_g": 300.0,
        "canister_first_g": 590.0,
        "canister_last_g": 700.0,
    }
    assert [(each.fault, each.severity) for each in patient.treat()] == [("crystals_low", None), ("canister_full", 3)]


def test_a_leak_is_named_behind_a_clogged_filter_though_their_vacua_cancel() -> None:
    patient = Patient(machine=signatures.hypothesis("leak_dirty_side").change(OWN.with_(filter_load=15.0), 1.0))

    told = [patient.treat(), patient.treat(), patient.test()]

    assert [[each.fault for each in session] for session in told] == [[], [], ["leak_dirty_side"]]


def test_of_two_faults_one_that_is_there_is_named() -> None:
    leaking = signatures.hypothesis("leak_clean_side").change(OWN, 1.0)
    patient = Patient(machine=signatures.hypothesis("return_path_blocked").change(leaking, 0.2))

    told = {each.fault for _ in range(4) for each in patient.treat()}

    assert told == {"return_path_blocked"}
