"""Sessions are read from pump and vacuum and from what the operator told, and a power cut leaves none open."""

import time
from dataclasses import replace

import pytest

from dermafleet.contracts.records import Session, decode_session, encode_record
from dermafleet.contracts.telemetry import Telemetry, encode_telemetry
from device_agent.circuits import Circuits
from device_agent.counters import Life
from device_agent.drivers import Operator
from device_agent.sessions import SessionRules, SessionTracker, end_after_power_loss
from tests.unit.agent.build import instant, sample

RULES = SessionRules(off_ms=30_000, longest_ms=3_600_000, checkpoint_ms=60_000)
CODED = replace(RULES, privacy="coded")
OPEN = (1.0, 1.0, 2.4)
TREATMENT = (OPEN, (4.0, 1.0, 40.0), OPEN, (2.0, 1.0, 40.0), (5.0, 1.0, 2.4), (31.0, 0.0, 0.0))


class Play:
    """A machine at 10 Hz, from the test's beginning on."""

    def __init__(self, rules: SessionRules = RULES) -> None:
        self.tracker, self.steps, self.tenth = SessionTracker(rules), list[Session](), 0

    def run(self, *phases: tuple[float, float, float], **values: float) -> list[Session]:
        """Spend (seconds, pump_on, vacuum) in each phase; returns all steps so far."""
        for seconds, pump_on, vacuum in phases:
            for _ in range(round(seconds * 10)):
                taken = sample(self.tenth / 10, pump_on=pump_on, vacuum_inlet_kpa=vacuum, **values)
                self.steps += self.tracker.step(taken)
                self.tenth += 1
        return self.steps

    def tell(self, told: Operator, screening: str | None = None) -> None:
        self.steps += self.tracker.tell(told, screening, instant(self.tenth / 10))


def play(*phases: tuple[float, float, float], **values: float) -> list[Session]:
    return Play().run(*phases, **values)


def test_a_treatment_is_one_session_with_its_totals() -> None:
    steps = play((5, 0, 0), (10, 1, 2.4), (4, 1, 40), (1, 1, 2.4), (2, 1, 40), (10, 1, 2.4), (40, 0, 0))
    assert [step.op for step in steps] == ["start", "end"]
    start, end = steps
    assert (start.session, start.at, start.up) == (end.session, instant(15).at, instant(15).up)
    assert end.at == instant(31.9).at
    assert (end.strokes, end.longest_dwell_s, end.outcome) == (2, 4.0, "completed")
    assert end.contact_s == pytest.approx(6, abs=0.2)
    assert end.pump_s == pytest.approx(16.9, abs=0.2)
    assert end.purpose == "treatment"


def test_a_pump_that_runs_without_contact_is_no_session_but_counts_for_life() -> None:
    machine = Play()
    assert machine.run((5, 0, 0), (60, 1, 2.4), (31, 0, 0)) == []
    told = machine.tracker.life.told()
    assert told.pump_s == pytest.approx(60, abs=0.2)
    assert (told.pump_starts, told.sessions, told.strokes) == (1, 0, 0)


def test_a_vacuum_that_rises_slowly_is_no_contact_that_begins_a_session() -> None:
    rising = [(0.5, 1.0, kpa / 2) for kpa in range(5, 40)]
    assert play((1, 0, 0), OPEN, *rising) == []


def test_a_tip_on_skin_when_the_pump_starts_begins_a_session() -> None:
    assert [s.op for s in play((1, 0, 0), (0.2, 1, 4), (3, 1, 40))] == ["start"]


def test_a_short_pause_does_not_end_a_session() -> None:
    steps = play(OPEN, (5, 1, 40), (20, 0, 0), (5, 1, 40), (31, 0, 0))
    assert [s.op for s in steps] == ["start", "end"]


def test_the_button_begins_and_ends_a_session_and_without_contact_it_was_aborted() -> None:
    machine = Play()
    machine.run((2, 0, 0))
    machine.tell(Operator(button="start"))
    machine.run((5, 1, 2.4))
    machine.tell(Operator(button="end"))
    machine.tell(Operator(button="end"))
    assert [(s.op, s.at, s.outcome) for s in machine.steps] == [
        ("start", instant(2).at, None),
        ("end", instant(7).at, "aborted"),
    ]


def test_a_button_without_a_pump_is_over_after_the_same_pause() -> None:
    machine = Play()
    machine.tell(Operator(button="start"))
    assert [s.op for s in machine.run((31, 0, 0))] == ["start", "end"]


def test_what_is_announced_as_another_purpose_begins_with_the_pump_and_is_marked() -> None:
    machine = Play()
    machine.tell(Operator(purpose="cleaning"))
    cleaning = machine.run((1, 0, 0), (20, 1, 2.4), (31, 0, 0))
    assert [(s.op, s.purpose) for s in cleaning] == [("start", "cleaning"), ("end", "cleaning")]
    assert cleaning[-1].outcome == "completed"
    assert {s.purpose for s in machine.run(*TREATMENT)[2:]} == {"treatment"}


def test_what_was_told_is_forgotten_when_no_session_follows_within_a_quarter_of_an_hour() -> None:
    machine = Play()
    machine.tell(Operator(purpose="demo"))
    machine.run((901, 0, 0))
    assert {s.purpose for s in machine.run(*TREATMENT)} == {"treatment"}


def test_what_is_fitted_stays_and_what_belongs_to_a_client_does_not() -> None:
    machine = Play()
    machine.tell(Operator(tip_type="CRYSTAL_STEEL", tip_size_mm=5, abrasive="AL2O3", passes=2), "PASSED")
    first, second = [s for s in machine.run(*TREATMENT, *TREATMENT) if s.op == "end"]
    assert (first.tip_type, first.tip_size_mm, first.abrasive) == ("CRYSTAL_STEEL", 5, "AL2O3")
    assert (first.passes, first.screening_outcome, first.vocabulary) == (2, "PASSED", 1)
    assert (second.tip_type, second.passes, second.screening_outcome) == ("CRYSTAL_STEEL", None, None)


@pytest.mark.parametrize(("rules", "noted"), [(RULES, None), (CODED, ["ACNE_COMEDONAL"])])
def test_indications_are_noted_only_where_the_clinic_has_chosen_coded(
    rules: SessionRules, noted: list[str] | None
) -> None:
    machine = Play(rules)
    machine.tell(Operator(indications=["ACNE_COMEDONAL"], abort_reason="SCHEDULE"))
    end = machine.run(*TREATMENT)[-1]
    assert (end.indications, end.abort_reason, end.outcome) == (noted, "SCHEDULE", "aborted")
    kept, _ = decode_session(encode_record(end))
    assert kept == end


def test_vacuum_in_contact_set_points_and_over_vacuum_are_noted() -> None:
    machine = Play()
    machine.run(OPEN, (3, 1, 30), setpoint_kpa=30.0)
    machine.run((0.5, 1, 2.4), (9, 1, 50), (2, 1, 70), (0.5, 1, 2.4), setpoint_kpa=50.0)
    end = machine.run((31, 0, 0))[-1]
    assert end.setpoints == [(0.0, 30.0), (3.0, 50.0)]
    assert end.vacuum_p50_kpa == pytest.approx(50, abs=0.5)
    assert end.vacuum_p95_kpa == pytest.approx(70, abs=0.5)
    assert end.vacuum_max_kpa == 70
    assert end.over_vacuum_s == pytest.approx(2, abs=0.11)


def test_a_tip_that_draws_more_than_the_set_point_asks_for_is_over_vacuum() -> None:
    assert play(OPEN, (5, 1, 45), (31, 0, 0), setpoint_kpa=30.0)[-1].over_vacuum_s == pytest.approx(4.9, abs=0.11)
    assert play(OPEN, (5, 1, 45), (31, 0, 0), setpoint_kpa=40.0)[-1].over_vacuum_s == 0


def test_crystals_are_what_leaves_the_jar_while_the_pump_runs() -> None:
    machine = Play()
    machine.run((1, 0, 0), OPEN, crystal_jar_g=300.0)
    for tenth in range(300):
        machine.run((0.1, 1, 40), crystal_jar_g=300 - tenth * 0.02 + (0.4 if tenth % 2 else -0.4))
    machine.run((5, 1, 2.4), crystal_jar_g=294.0)
    machine.run((2, 0, 0), crystal_jar_g=0.0)
    end = machine.run((31, 0, 0), crystal_jar_g=400.0)[-1]
    assert end.crystals_used_g == pytest.approx(6, abs=1)
    assert machine.tracker.life.crystals_g == pytest.approx(6, abs=1)
    assert play(*TREATMENT)[-1].crystals_used_g is None


def test_checkpoints_come_every_minute_and_the_longest_session_ends() -> None:
    assert [step.op for step in play(OPEN, (150, 1, 40))] == ["start", "checkpoint", "checkpoint"]
    assert [s.outcome for s in play(OPEN, (3601, 1, 40)) if s.op == "end"] == ["timeout"]


def test_each_step_tells_what_the_machine_did_in_its_life() -> None:
    machine = Play()
    ends = [s.counters for s in machine.run(*TREATMENT, *TREATMENT) if s.op == "end"]
    assert [(c.sessions, c.strokes, c.pump_starts) for c in ends if c] == [(1, 2, 1), (2, 4, 2)]
    assert ends[-1] == Life(ends[-1]).told()


def test_pump_is_derived_where_it_is_not_measured() -> None:
    assert Circuits().read({"motor_current_a": 0.5}).pump_on
    assert not Circuits().read({"motor_current_a": 0.0, "vacuum_inlet_kpa": 50.0}).pump_on
    assert Circuits().read({"vacuum_inlet_kpa": 2.4}).pump_on
    assert not Circuits().read({"vacuum_inlet_kpa": None}).pump_on


def test_a_treatment_with_another_circuit_of_the_machine_is_a_session_too() -> None:
    machine = Play()
    for phase in TREATMENT:
        machine.run((phase[0], 0.0, 0.0), second_pump_on=phase[1], second_vacuum_handpiece_kpa=phase[2])
    end = machine.steps[-1]
    assert (end.op, end.strokes, end.outcome, end.vacuum_max_kpa) == ("end", 2, "completed", 40)
    assert machine.tracker.life.pump_starts == 1


def open_session() -> Session:
    [start] = play(OPEN, (1, 1, 40))
    return start


def test_after_a_power_cut_the_session_ends_at_the_last_sample_on_disk_with_all_it_said() -> None:
    machine = Play(CODED)
    machine.tell(Operator(purpose="demo", tip_size_mm=4, indications=["DULL_SKIN"]))
    machine.run(OPEN, (1, 1, 40), setpoint_kpa=38.0)
    left = machine.tracker.snapshot()
    assert left is not None
    last = instant(7)
    block = Telemetry(boot=last.boot, up=last.up, t0=last.at, clock="synced", dt=[0, 500], ch={"pump_on": [1.0, 1.0]})
    ended = end_after_power_loss(encode_record(left), encode_telemetry(block), left.counters)
    assert ended is not None
    end, _ = decode_session(ended[0])
    assert (end.op, end.outcome, end.session) == ("end", "power_loss", left.session)
    assert (end.at, end.up) == (last.at + 500, last.up + 500)
    assert (end.purpose, end.tip_size_mm, end.indications) == ("demo", 4, ["DULL_SKIN"])
    assert (end.setpoints, end.strokes, end.vacuum_max_kpa) == ([(0.0, 38.0)], 1, 40)
    assert end.contact_s == pytest.approx(0.9)
    assert end.counters == ended[1]
    assert end.counters is not None
    assert end.counters.sessions == 1


def test_after_a_power_cut_without_later_samples_it_ends_where_it_was() -> None:
    start = open_session()
    ended = end_after_power_loss(encode_record(start), None, None)
    assert ended is not None
    assert decode_session(ended[0])[0].at == start.at
    assert end_after_power_loss(b"not json", None, None) is None


def test_after_a_power_cut_samples_that_a_newer_agent_wrote_count_too() -> None:
    start = open_session()
    block = Telemetry(boot=start.boot, up=start.up + 900, t0=start.at + 900, clock="synced", dt=[0], ch={"x": [1.0]})
    newer = encode_telemetry(block).replace(b"{", b'{"quality":"good",', 1)
    ended = end_after_power_loss(encode_record(start), newer, None)
    assert ended is not None
    assert decode_session(ended[0])[0].at == start.at + 900


def test_a_sample_costs_little_enough_for_a_small_board() -> None:
    tracker = SessionTracker(RULES)
    values = {"pump_on": 1.0, "vacuum_handpiece_kpa": 40.0, "setpoint_kpa": 38.0, "crystal_jar_g": 200.0}
    samples = [sample(n / 10, **values, vacuum_inlet_kpa=40.0 if n % 30 else 2.0) for n in range(5000)]
    began = time.process_time()
    for taken in samples:
        tracker.step(taken)
    assert (time.process_time() - began) / len(samples) < 50e-6
