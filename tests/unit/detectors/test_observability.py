from collections.abc import Mapping

import msgspec
import pytest

from dermafleet.contracts.channels import Profile, fitted
from services.alerts import observability
from services.alerts.context import Context
from services.alerts.detectors import health as sensors
from services.alerts.detectors.frames import NAMES
from services.alerts.findings import Observability
from services.alerts.limits import Architecture, Limits

DAY_MS = 86_400_000
RATED = Limits(filter_dp_kpa=5.0)


def slow(present: frozenset[str], is_tested: bool) -> Mapping[str, observability.Sight]:
    """A diagnosis that needs a drop for the filter, and a test for leaks."""
    is_leak_seen = is_tested and "vacuum_inlet_kpa" in present
    return {
        "filter_clogged": ("filter_dp_kpa" in present, "filter_dp_kpa is not measured", ()),
        "leak_dirty_side": (is_leak_seen, "poor seals look alike", ("leak_clean_side",) if is_leak_seen else ()),
    }


def healthy(profile: Profile = "full") -> sensors.State:
    state = sensors.State()
    names = {channel.name for channel in fitted(profile)}
    state.seen = [5 if name in names else 0 for name in NAMES]
    return state


def matrix(
    health: sensors.State, profile: Profile = "full", limits: Limits = RATED, *, tested_ms: int | None = 0
) -> dict[str, Observability]:
    state = observability.State(self_test_ms=tested_ms)
    context = Context(limits=limits, profile=profile)
    found = observability.take(state, health, context, slow=slow, at_ms=DAY_MS)
    return {each.fault: each for each in found}


def test_every_fault_stands_in_the_matrix() -> None:
    assert set(matrix(healthy())) == set(observability.FAULTS)
    assert len(observability.FAULTS) == 21


def test_a_stuck_sensor_blinds_what_needs_it_and_says_so() -> None:
    health = healthy()
    health.suspects = {"filter_dp_kpa": sensors.STUCK}
    found = matrix(health)
    assert found["filter_clogged"].reason == "filter_dp_kpa is stuck"
    assert found["leak_dirty_side"].is_observable


@pytest.mark.parametrize(
    ("profile", "fault", "reason"),
    [
        ("minimal", "mains_low", "mains_v is not fitted in profile minimal"),
        ("basic", "motor_overheated", "pump_temp_c is not fitted in profile basic; ambient_temp_c is not fitted"),
        ("basic", "filter_clogged", "filter_dp_kpa is not measured"),
        ("minimal", "motor_overheated", "pump_temp_c is not fitted in profile minimal; ambient_temp_c is not fitted"),
    ],
)
def test_what_the_profile_lacks_is_named(profile: Profile, fault: str, reason: str) -> None:
    assert matrix(healthy(profile), profile)[fault].reason.startswith(reason)


def test_a_channel_that_never_spoke_is_no_evidence() -> None:
    health = healthy()
    health.seen[NAMES.index("mains_v")] = 0
    assert matrix(health)["mains_low"].reason == "mains_v has never reported a value"
    health = healthy()
    health.absent = ["mains_v"]
    assert matrix(health)["mains_low"].reason == "mains_v is missing, with others"


def test_the_inlet_alone_shows_over_vacuum_with_a_doubt() -> None:
    assert matrix(healthy())["over_vacuum"].ambiguous_with == ()
    assert matrix(healthy("standard"), "standard")["over_vacuum"].ambiguous_with == ("return_path_blocked",)


def test_without_a_rated_limit_no_clog() -> None:
    assert not matrix(healthy(), limits=Limits())["filter_clogged"].is_observable


@pytest.mark.parametrize(
    ("architecture", "fault"), [("crystal", "liquid_blocked"), ("diamond", "feed_blocked"), ("bench", "over_vacuum")]
)
def test_what_a_machine_cannot_have_is_not_applicable(architecture: Architecture, fault: str) -> None:
    found = matrix(healthy(), limits=Limits(filter_dp_kpa=5.0, architecture=architecture))[fault]
    assert not found.is_observable
    assert found.reason.startswith("not applicable")


def test_a_self_test_counts_for_thirty_days() -> None:
    assert matrix(healthy())["leak_dirty_side"].is_observable
    assert matrix(healthy(), tested_ms=-31 * DAY_MS)["leak_dirty_side"].reason == "there was no self-test for 30 days"
    assert not matrix(healthy(), tested_ms=None)["leak_dirty_side"].is_observable


def test_only_changes_are_told() -> None:
    state, health, context = observability.State(), healthy(), Context(limits=RATED)

    def take(at_ms: int) -> set[str]:
        nonlocal state
        state = msgspec.json.decode(msgspec.json.encode(state), type=observability.State)
        return {each.fault for each in observability.take(state, health, context, slow=slow, at_ms=at_ms)}

    assert take(0) == set(observability.FAULTS)
    assert take(1) == set()
    observability.note_self_test(state, 2)
    assert take(3) == {"leak_dirty_side"}
    health.suspects = {"filter_dp_kpa": sensors.RAIL}
    assert take(4) == {"filter_clogged"}
    health.suspects = {}
    assert take(5) == {"filter_clogged"}
