import numpy as np
import pytest

from services.alerts.detectors.supply import SIGNALS
from tests.unit.detectors.signal import START_MS, Signal, told, treatment
from tests.unit.detectors.test_channels import watch


def drop_out(signal: Signal, start_s: float, seconds: float, kind: str) -> None:
    """All signals of the pump's side read zero, stand still or are away for a moment."""
    for name in SIGNALS:
        held = float(signal.values[name][signal.at(start_s) - 1])
        signal.put(name, {"zero": 0.0, "frozen": held, "away": np.nan}[kind], start_s, start_s + seconds)


@pytest.mark.parametrize("kind", ["zero", "frozen", "away"])
def test_all_signals_gone_for_a_moment_is_a_drop_out(kind: str) -> None:
    signal = treatment(300)
    drop_out(signal, 200, 0.8, kind)
    ((fault, severity, at),) = told(watch(signal))
    assert (fault, severity) == ("electrical_dropout", 1)
    assert at - 200 <= 0.8


def test_many_drop_outs_in_a_session_are_a_fault_and_a_day_without_clears_it() -> None:
    signal = treatment(400)
    for start_s in (150, 200, 250, 300, 350):
        drop_out(signal, start_s, 1.0, "zero")
    later = treatment(30, at_ms=START_MS + 2 * 86_400_000, up_ms=2 * 86_400_000)
    severities = [severity for fault, severity, _ in told(watch(signal, later)) if fault == "electrical_dropout"]
    assert severities == [1, 3, None]


def test_the_drop_out_does_not_reach_the_detectors_after_it() -> None:
    signal = treatment(120)
    drop_out(signal, 60, 1.0, "zero")
    assert [fault for fault, *_ in told(watch(signal))] == ["electrical_dropout"]


def test_a_pump_that_is_switched_off_and_on_has_no_drop_out() -> None:
    signal = treatment(200)
    signal.put("pump_on", 0.0, 100, 140)
    for name in SIGNALS:
        signal.put(name, 0.0, 100.1, 140)
    assert watch(signal) == []


def test_one_power_cut_is_no_drop_out_but_three_restarts_a_day_are() -> None:
    parts = []
    for number in range(4):
        part = treatment(60, open_s=60, at_ms=START_MS + number * 90_000, seed=number)
        part.boot = f"boot-{number}"
        parts.append(part)
    assert watch(*parts[:2]) == []
    assert [(fault, severity) for fault, severity, _ in told(watch(*parts))] == [("electrical_dropout", 1)]


@pytest.mark.parametrize("nominal_v", [100.0, 115.0, 230.0])
def test_low_mains_are_an_advisory_and_end_with_it(nominal_v: float) -> None:
    signal = treatment(400)
    signal.values["mains_v"] *= nominal_v / 230
    signal.put("mains_v", signal.values["mains_v"][signal.at(100) : signal.at(200)] * 0.8, 100, 200)
    (low, at), (gone, _) = [(severity, at) for fault, severity, at in told(watch(signal)) if fault == "mains_low"]
    assert (low, gone) == (1, None)
    assert at - 100 <= 31


def test_sags_and_a_tenth_too_little_are_not() -> None:
    signal = treatment(400)
    signal.values["mains_v"] *= 0.9
    for start_s in range(50, 350, 30):
        signal.put("mains_v", 180.0, start_s, start_s + 1.2)
    assert watch(signal) == []


def test_low_mains_for_the_third_time_in_a_week_is_service_due() -> None:
    signal = treatment(900)
    for start_s in (100, 300, 500, 700):
        signal.put("mains_v", 190.0, start_s, start_s + 60)
    severities = [severity for fault, severity, _ in told(watch(signal)) if fault == "mains_low"]
    assert severities == [1, None, 1, None, 2, None, 2, None]
