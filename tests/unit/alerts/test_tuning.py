"""Which version of the detectors a device runs, and what a version changes."""

from datetime import UTC, datetime, timedelta

from dermafleet.contracts.releases import Judged, Release, Spell, compare, share_of
from services.alerts.diagnosis import verdict
from services.alerts.diagnosis.signatures import HEALTHY, MILD
from services.alerts.diagnosis.verdict import Standing
from services.alerts.tuning import FIRST, VERSIONS, version_for

SECOND = VERSIONS[2]
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
JUDGED = Judged(devices=2, failing=0, device_days=4.0)
DEVICES = [f"D-{number:04d}" for number in range(2000)]


def test_newest_release_that_covers_a_device_holds() -> None:
    releases = [Release(2, "active", ["m1"]), Release(1, "active"), Release(2, "shadow")]
    assert version_for(releases, "active", "m1", "D-1") is SECOND
    assert version_for(releases, "active", "m2", "D-1") is FIRST
    assert version_for(releases, "shadow", "m2", "D-1") is SECOND
    assert version_for([], "active", "m1", "D-1") is None


def test_release_of_a_version_that_this_program_does_not_know_is_passed_over() -> None:
    assert version_for([Release(999, "active"), Release(2, "active")], "active", None, "D-1") is SECOND


def test_percentage_covers_as_many_devices_and_more_percent_only_adds() -> None:
    covered = {
        percent: {device for device in DEVICES if Release(2, "active", percent=percent).covers(None, device)}
        for percent in (1, 10, 50, 100)
    }
    assert covered[1] < covered[10] < covered[50] < covered[100] == set(DEVICES)
    assert 0.45 < len(covered[50]) / len(DEVICES) < 0.55
    assert share_of("D-0001") == share_of("D-0001")


def test_every_version_is_known_by_its_number_and_says_what_it_changes() -> None:
    assert all(version == tuning.version and tuning.summary for version, tuning in VERSIONS.items())
    assert FIRST.version == 1


def test_a_version_decides_by_its_own_thresholds() -> None:
    shares = {HEALTHY: 0.005, "leak_dirty_side": 0.85, "pump_worn": 0.0}
    shares[MILD] = 1 - sum(shares.values())
    severities = dict.fromkeys(shares, 2)
    assert verdict.decide(Standing(), shares, severities, certain=FIRST.diagnosis_certain).fault == "leak_dirty_side"
    assert verdict.decide(Standing(), shares, severities, certain=SECOND.diagnosis_certain).fault == ""


def spell(
    hours: float, until: float | None = None, *, fault: str = "f", device: str = "D-1", severity: int = 2
) -> Spell:
    until_at = None if until is None else NOON + timedelta(hours=until)
    return Spell(device, "main", fault, NOON + timedelta(hours=hours), until_at, severity, "why")


def test_report_pairs_what_stands_at_one_time_and_counts_the_rest() -> None:
    active = [spell(0, 5), spell(20, 21), spell(50), spell(1, device="D-2"), spell(3, fault="g")]
    shadow = [spell(2, 6, severity=3), spell(40, 45), spell(49), spell(0, device="D-2")]
    found = compare(2, active, shadow, judged=JUDGED)
    f, g = found.faults
    assert (f.fault, f.only_active, f.only_shadow, f.both) == ("f", 1, 1, 3)
    assert (f.earlier, f.later, f.worse, f.milder, f.lead_s) == (2, 1, 1, 0, 3600.0)
    assert (g.fault, g.only_active, g.only_shadow, g.both, g.lead_s) == ("g", 1, 0, 0, None)
    assert [(each.side, each.spell.fault) for each in found.examples] == [
        ("active", "g"),
        ("active", "f"),
        ("shadow", "f"),
    ]


def test_report_says_how_many_examples_it_leaves_out() -> None:
    found = compare(2, [spell(3 * i, 3 * i + 0.1) for i in range(60)], [], judged=JUDGED)
    assert (len(found.examples), found.not_shown, found.faults[0].only_active) == (50, 10, 60)
