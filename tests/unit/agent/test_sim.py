"""The simulated machine shows the levels of a real one, and its fault."""

from statistics import mean

from dermafleet.contracts.channels import CHANNELS
from device_agent.drivers import Sample
from device_agent.drivers.sim import SimDriver
from device_agent.sessions import SessionRules, SessionTracker
from tests.unit.agent.build import instant


def run(driver: SimDriver, seconds: float) -> list[Sample]:
    samples = []
    for second in range(round(seconds)):
        while (sample := driver.read(instant(second + 0.999))) is not None:
            samples.append(sample)
    return samples


def level(samples: list[Sample], channel: str, low: float, high: float) -> float:
    """Mean of a channel over the samples whose inlet vacuum lies in a range."""
    return mean(s.values[channel] or 0 for s in samples if low < (s.values["vacuum_inlet_kpa"] or 0) < high)


def test_ten_samples_a_second_with_every_channel_in_its_range() -> None:
    samples = run(SimDriver(1), 60)
    assert 590 <= len(samples) <= 600
    for channel in CHANNELS:
        assert all(channel.low <= (s.values[channel.name] or 0) <= channel.high for s in samples), channel.name


def test_open_tip_and_contact_have_the_levels_of_the_model() -> None:
    samples = run(SimDriver(3, fault="filter_clogged", clog_s=1e9), 600)
    assert abs(level(samples, "filter_dp_kpa", 1.8, 3.2) - 0.61) < 0.05
    assert abs(level(samples, "flow_lpm", 1.8, 3.2) - 29.6) < 1
    assert abs(level(samples, "motor_current_a", 1.8, 3.2) - 0.516) < 0.01
    assert abs(level(samples, "filter_dp_kpa", 30, 44) - 0.43) < 0.08
    assert abs(level(samples, "motor_current_a", 30, 44) - 0.60) < 0.02


def test_a_clogging_filter_reaches_sixteen_times_its_resistance() -> None:
    samples = run(SimDriver(3, fault="filter_clogged", clog_s=90), 200)
    assert level(samples[:50], "filter_dp_kpa", 1, 20) < 1.2
    last = samples[-300:]
    assert max(s.values["filter_dp_kpa"] or 0 for s in last) > 5.5
    assert all(s.values["pump_on"] == 1 for s in samples)


def test_the_same_seed_gives_the_same_machine() -> None:
    assert [s.values for s in run(SimDriver(7), 30)] == [s.values for s in run(SimDriver(7), 30)]
    assert run(SimDriver(7), 1)[0].values != run(SimDriver(8), 1)[0].values


def test_sessions_are_recognised_and_most_machines_are_busy() -> None:
    tracker = SessionTracker(SessionRules())
    steps = [step for sample in run(SimDriver(5, rate_hz=2), 3600) for step in tracker.step(sample)]
    ended = [step for step in steps if step.op == "end"]
    assert ended
    assert all((step.strokes or 0) > 100 for step in ended)
    busy = [run(SimDriver(seed), 1)[0].values["pump_on"] for seed in range(60)]
    assert 0.5 < mean(value or 0 for value in busy) < 0.85
