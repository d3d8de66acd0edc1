"""Machines through their days: what they send, in which order, and what is true of them."""

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dermafleet.contracts.channels import CHANNEL_BY_NAME, PROFILES, fitted
from dermafleet.contracts.records import Event, Session, decode_session, encode_record
from dermafleet.errors import SettingError
from device_agent.simulator.faults import FAULTS, UNTOLD, Scheduled
from device_agent.simulator.plan import device_id_of
from device_agent.simulator.scenario import Plan, Stretch, simulate

FULL = Plan(seed=1, machines=1, days=1, sessions_per_day=(2, 2), pump_s=30.0, self_tests=0.0)
PLAIN = replace(FULL, nuisances=False, is_drawn=False, start_used=False)
TESTED = sorted(FAULTS.keys() - UNTOLD)


def faulty(number: int, fault: str, *others: Scheduled, **more: float) -> Plan:
    """A machine that gets a fault with its second treatment."""
    model = "hydra" if fault == "liquid_blocked" else "crystal-m1"
    first = Scheduled(fault=fault, **{"onset": 1, **more})  # type: ignore[arg-type]
    return replace(PLAIN, machine_seeds=(number,), model=model, faults=(first, *others))


PLANS = {
    "plain": replace(PLAIN, machine_seeds=(1,), self_tests=1.0),
    "hydra": replace(PLAIN, machine_seeds=(2,), model="hydra"),
    "busy": replace(FULL, machine_seeds=(3,), days=2, sessions_per_day=(1, 1), idle=True, self_tests=1.0),
    "standard": replace(FULL, machine_seeds=(4,), profile="standard"),
    "duo": replace(PLAIN, machine_seeds=(5,), model="crystal-duo"),
    "dusty": replace(PLAIN, machine_seeds=(6,), dust=200.0),
    "cut": faulty(7, "power_cut", onset_s=15.0),
    "late": faulty(8, "sensor_rail", onset_s=20.0),
    "over": faulty(9, "regulator_shut", Scheduled(fault="set_point", level=22.0), onset_s=10.0),
    **{fault: faulty(20 + n, fault) for n, fault in enumerate(TESTED)},
    "electrical_dropout": faulty(19, "electrical_dropout", level=3000.0),
}


@pytest.fixture(scope="module")
def days() -> dict[str, list[Stretch]]:
    """What each of the plans gives, all simulated together."""
    names = {device_id_of(plan.machine_seeds[0]): name for name, plan in PLANS.items()}
    found = defaultdict(list)
    for stretch in simulate(*PLANS.values()):
        found[names[stretch.device_id]].append(stretch)
    return found


def sessions(stretch: Stretch) -> list[Session]:
    return [record for _, record in stretch.records if isinstance(record, Session)]


Days = dict[str, list[Stretch]]


def test_stretches_of_a_machine_are_in_order_and_keep_their_boot(days: Days) -> None:
    for before, after in itertools.pairwise(days["busy"]):
        assert before.at_ms[-1] < after.at_ms[0]
        same_boot = after.at_ms[0] - after.up_ms == before.at_ms[0] - before.up_ms
        assert same_boot == (before.boot == after.boot)
    assert len({each.boot for each in days["busy"]}) == 2
    assert any(len(each.records) == 0 for each in days["busy"]), "no idle time"


def test_every_channel_of_the_profile_is_there_and_plausible(days: Days) -> None:
    for name, profile in (("busy", PROFILES[-1]), ("standard", PROFILES[2])):
        for stretch in days[name]:
            assert set(stretch.channels) == {channel.name for channel in fitted(profile)}
            for channel_name, values in stretch.channels.items():
                channel = CHANNEL_BY_NAME[channel_name]
                assert values.dtype == np.float32
                assert len(values) == len(stretch.at_ms)
                assert ((values >= channel.low) & (values <= channel.high)).all(), channel_name


def test_a_machine_is_made_again_from_its_seed(days: Days) -> None:
    alone = list(simulate(PLANS["busy"]))
    for first, second in zip(days["busy"], alone, strict=True):
        assert first.records == second.records
        assert (first.at_ms == second.at_ms).all()
        for name, values in first.channels.items():
            assert np.mean(values != second.channels[name]) < 0.01, name  # the last bit may fall on another step


def test_a_day_begins_with_a_self_test_that_is_capped_until_it_knows(days: Days) -> None:
    test = days["plain"][0]
    start, end = sessions(test)
    vacuum, on = test.channels["vacuum_inlet_kpa"], test.channels["pump_on"]
    assert (start.purpose, end.outcome) == ("self_test", "completed")
    assert not on[:100].any()
    assert 75 < vacuum.max() < 82
    stopped = np.flatnonzero(on)[-1]
    assert vacuum[stopped + 45] > vacuum[stopped] - 5, "it leaks"


def test_a_treatment_starts_at_the_first_contact_and_its_records_can_be_sent(days: Days) -> None:
    stretch = days["plain"][1]
    (first, start), (last, end) = [each for each in stretch.records if isinstance(each[1], Session)]
    assert isinstance(start, Session)
    assert isinstance(end, Session)
    vacuum = stretch.channels["vacuum_handpiece_kpa"]
    assert vacuum[first - 1] < 5 < vacuum[first + 8]
    assert last == len(stretch.at_ms)
    assert (start.op, end.op, end.purpose) == ("start", "end", "treatment")
    assert 0 < (end.contact_s or 0) < (end.pump_s or 0) <= 33
    assert decode_session(encode_record(end))[0] == end


@pytest.mark.parametrize("fault", TESTED)
def test_every_fault_is_in_the_truth_and_in_the_data(days: Days, fault: str) -> None:
    before, after = days[fault][-2:]
    assert fault not in {each.fault for each in before.truth}
    truth = next(each for each in after.truth if each.fault == fault)
    assert truth.level == pytest.approx(PLANS[fault].faults[0].final_level)
    assert truth.since_ms == after.at_ms[0]
    healthy = days["hydra" if fault == "liquid_blocked" else "plain"][-1]
    assert any(_differs(after.channels[name], values) for name, values in healthy.channels.items())


def _differs(values: NDArray[np.float32], healthy: NDArray[np.float32]) -> bool:
    """One of some usual summaries is more than a fiftieth of the healthy span off."""
    span = float(np.ptp(healthy)) + 0.01
    summaries = (np.mean, np.std, np.min, np.max)
    return any(abs(float(each(values)) - float(each(healthy))) > span / 50 for each in summaries)


def test_a_healthy_machine_has_no_truth(days: Days) -> None:
    assert not any(stretch.truth for name in ("plain", "busy", "hydra", "duo", "cut") for stretch in days[name])


def test_a_sudden_fault_begins_at_its_second(days: Days) -> None:
    stretch = days["late"][-1]
    (truth,) = [each for each in stretch.truth if each.fault == "sensor_rail"]
    assert truth.since_ms == stretch.at_ms[0] + 20_000
    values = stretch.channels[truth.channel]
    assert len(set(values[200:].tolist())) == 1
    assert values[199] != values[200]


def test_a_stuck_regulator_makes_over_vacuum_that_the_truth_dates(days: Days) -> None:
    stretch = days["over"][-1]
    (over,) = [each for each in stretch.truth if each.fault == "over_vacuum"]
    at = int((over.since_ms - stretch.at_ms[0]) // 100)
    assert at > 100
    assert stretch.channels["vacuum_handpiece_kpa"][at : at + 10].mean() > 32


def test_a_growing_fault_grows_from_session_to_session() -> None:
    fault = Scheduled(fault="pump_worn", onset=1, growing=2)
    assert [fault.level_at(session) for session in range(4)] == [None, 0.875, 0.75, 0.75]


def test_a_filter_is_changed_as_the_policy_says_and_recorded(days: Days) -> None:
    first, second = days["dusty"]
    assert first.filter_index > PLANS["dusty"].change_filter_at
    events = [record.data["type"] for _, record in second.records if isinstance(record, Event)]
    assert "FILTER_INTAKE_REPLACED" in events
    assert second.channels["filter_dp_kpa"][50:80].mean() < first.channels["filter_dp_kpa"][200:300].mean()


def test_a_power_cut_ends_the_session_at_the_next_start() -> None:
    _, cut, after = simulate(replace(PLANS["cut"], sessions_per_day=(3, 3)))
    assert [each.op for each in sessions(cut)] == ["start"]
    (place, end), *_ = after.records
    assert isinstance(end, Session)
    assert (place, end.op, end.outcome, end.boot) == (0, "end", "power_loss", cut.boot)
    assert end.at == cut.at_ms[-1]
    assert after.boot != cut.boot


def test_two_circuits_send_channels_of_their_own(days: Days) -> None:
    stretch = days["duo"][-1]
    first, second = stretch.channels["vacuum_handpiece_kpa"], stretch.channels["second_vacuum_handpiece_kpa"]
    used, other = np.flatnonzero(first > 15), np.flatnonzero(second > 15)
    assert min(len(used), len(other)) > 30
    assert used.max() < other.min()
    assert "second_ambient_kpa" not in stretch.channels


@pytest.mark.parametrize(
    "plan",
    [
        replace(FULL, model="steam"),
        replace(FULL, clinics=("moon",)),
        replace(FULL, model="diamond", faults=(Scheduled(fault="crystals_low"),)),
        replace(FULL, faults=(Scheduled(fault="pump_worn", component="second"),)),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan: Plan) -> None:
    with pytest.raises(SettingError):
        next(iter(simulate(plan)))


def test_two_plans_must_not_make_the_same_machine() -> None:
    with pytest.raises(SettingError, match="different seeds"):
        next(iter(simulate(PLAIN, PLAIN)))
