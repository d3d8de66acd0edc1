"""What each profile can see, against the table of sensor sets in the domain research (section 2.9)."""

import pytest

from dermafleet.contracts.channels import PROFILES, Profile, fitted
from services.alerts.diagnosis import observable
from services.alerts.diagnosis.observable import Sight
from services.alerts.diagnosis.signatures import ALL


def _sights(profile: Profile, *, without: str = "", has_self_test: bool = True) -> dict[str, Sight]:
    channels = frozenset(channel.name for channel in fitted(profile)) - {without}
    return observable.find("crystal", channels, has_self_test=has_self_test)


def test_the_full_profile_separates_every_fault_a_crystal_machine_has() -> None:
    sights = _sights("full")

    assert sights.keys() == {each.fault for each in ALL if "crystal" in each.architectures}
    assert {fault for fault, sight in sights.items() if not sight.is_observable or sight.ambiguous_with} == set()


def test_only_a_self_test_tells_a_leak_before_the_filter_from_a_poor_seal() -> None:
    assert not _sights("full", has_self_test=False)["leak_dirty_side"].is_observable
    assert _sights("full")["leak_dirty_side"] == Sight(True)


def test_without_a_pressure_drop_filter_and_hose_are_one() -> None:
    sights = _sights("basic")

    assert sights["filter_clogged"].ambiguous_with == ("return_path_blocked",)
    assert sights["return_path_blocked"].ambiguous_with == ("filter_clogged",)
    assert _sights("standard")["return_path_blocked"] == Sight(True)


def test_inlet_vacuum_alone_sees_no_leak_no_wear_of_valves_and_no_exhaust_filter_during_treatments() -> None:
    sights = _sights("minimal", has_self_test=False)

    for fault in ("leak_dirty_side", "leak_clean_side", "pump_valve_leak", "exhaust_clogged", "regulator_open"):
        assert not sights[fault].is_observable


def test_the_motor_current_shows_a_clogged_exhaust() -> None:
    assert not _sights("minimal")["exhaust_clogged"].is_observable
    assert _sights("basic")["exhaust_clogged"].is_observable


@pytest.mark.parametrize("profile", PROFILES)
def test_a_missing_vacuum_sensor_blinds_everything_and_says_so(profile: Profile) -> None:
    sights = _sights(profile, without="vacuum_inlet_kpa")

    assert {sight for sight in sights.values()} == {Sight(False, "vacuum_inlet_kpa is not measured")}


def test_what_is_weighed_needs_its_load_cell() -> None:
    assert _sights("standard")["crystals_low"] == Sight(False, "crystal_jar_g is not measured")
    assert _sights("standard")["canister_full"] == Sight(False, "canister_g is not measured")
