"""The demo's device models are those that are simulated, with the same limits."""

import pytest

from dermafleet.embedded import fleet
from device_agent.simulator import models
from services.alerts.limits import Limits, decode_limits

MADE = {model.id: model for model in fleet.MODELS}


@pytest.mark.parametrize("model_id", models.MODELS)
def test_limits_are_those_of_the_simulated_machine(model_id: str) -> None:
    model = models.model_of(model_id)
    assert decode_limits(MADE[model_id].limits) == decode_limits(models.limits(model))
    assert MADE[model_id].profile == model.profile


def test_crystal_machine_is_rated_at_twenty_times_the_clean_resistance() -> None:
    limits = decode_limits(fleet.CRYSTAL.limits)
    assert limits.filter_dp_kpa == pytest.approx(20 * 0.48 + 0.12)
    assert limits.filter_flow_lpm == 30.0


def test_benches_have_a_filter_and_no_client() -> None:
    benches = [decode_limits(model.limits) for model in (fleet.BENCH, fleet.LIQUID_RIG)]
    assert [bench.architecture for bench in benches] == ["bench", "bench"]
    assert benches[1].filter_dp_kpa == pytest.approx(20 * 6.894757, rel=1e-3)
    assert benches[1] != Limits()
