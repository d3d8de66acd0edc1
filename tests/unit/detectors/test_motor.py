import math

import numpy as np

from services.alerts.observation import Floats, Observation
from tests.unit.detectors.signal import START_MS, Signal, told, treatment
from tests.unit.detectors.test_channels import watch

DAY_MS = 86_400_000
LOW = ("vacuum_inlet_kpa", "pump_on", "motor_current_a", "mains_v", "pump_temp_c", "ambient_temp_c")


def day(number: int, plateau_k: float, tau_s: float, room_c: float = 22.0, start_k: float = 0.0) -> list[Signal]:
    """Two treatments of 25 minutes with half an hour between; the pump warms towards a plateau."""
    sessions, rise = [], start_k
    for turn in range(2):
        offset = number * DAY_MS + turn * 55 * 60_000
        signal = treatment(
            1500, period_ms=1000, channels=LOW, at_ms=START_MS + offset, up_ms=offset, seed=number * 2 + turn
        )
        signal.boot = f"boot-{number}"
        time_s = np.arange(1500.0)
        warmth: Floats = plateau_k + (rise - plateau_k) * np.exp(-time_s / tau_s)
        noise = np.random.default_rng(number).normal(0, 0.1, 1500)
        signal.put("ambient_temp_c", room_c + noise)
        signal.put("pump_temp_c", room_c + warmth + noise)
        rise = float(warmth[-1]) * math.exp(-1800 / tau_s)
        sessions.append(signal)
    return sessions


def motor(observations: list[Observation]) -> list[tuple[int | None, bool]]:
    return [(each.severity, bool(each.candidates)) for each in observations if each.fault == "motor_overheated"]


def test_warming_up_in_a_warm_room_raises_nothing() -> None:
    assert watch(*(each for n in range(4) for each in day(n, 29.0, 900.0, room_c=30.0))) == []


def test_a_machine_that_has_always_run_a_fifth_warmer_raises_nothing() -> None:
    assert watch(*(each for n in range(4) for each in day(n, 35.0, 900.0))) == []


def test_a_blocked_fan_is_a_check_at_first_and_a_fault_after_a_night() -> None:
    healthy = [each for n in range(3) for each in day(n, 28.0, 900.0)]
    blocked = [each for n in range(3, 5) for each in day(n, 60.0, 1900.0)]
    found = motor(watch(*healthy, *blocked))
    assert found
    assert found[-1] == (3, False)


def test_near_its_cut_out_it_is_a_fault_at_once() -> None:
    (hot,) = watch(*day(0, 28.0, 900.0)[:1], *day(1, 260.0, 5000.0, room_c=38.0)[:1])[-1:]
    assert (hot.fault, hot.severity) == ("motor_overheated", 3)


def test_a_motor_that_stands_though_it_has_mains_has_tripped_and_twice_is_repeated() -> None:
    signal = treatment(1500, channels=LOW)
    for start_s, end_s in ((300, 700), (900, 1300)):
        signal.put("motor_current_a", 0.0, start_s, end_s)
        signal.put("vacuum_inlet_kpa", 0.0, start_s + 1, end_s)
    found = [(severity, at) for fault, severity, at in told(watch(signal)) if fault == "motor_overheated"]
    assert [severity for severity, _ in found] == [3, 4]
    assert found[0][1] - 300 <= 35


def test_a_temperature_sensor_that_has_drifted_overnight_is_named_by_how_far_it_moved() -> None:
    def drifted(channel: str, by_k: float) -> list[tuple[str, object]]:
        days = [each for n in range(2) for each in day(n, 28.0, 900.0)]
        for signal in days[2:]:
            signal.values[channel] += by_k
        return [(each.fault, each.detail.get("channel")) for each in watch(*days)]

    assert drifted("pump_temp_c", 12.0) == [("sensor_drift", "pump_temp_c")]
    assert drifted("ambient_temp_c", 8.0) == [("sensor_drift", "ambient_temp_c")]
    assert drifted("ambient_temp_c", 3.0) == []
