"""A machine with two circuits: each is judged as what it is."""

import numpy as np
import pytest

from dermafleet.contracts.channels import CHANNELS
from dermafleet.embedded import fleet
from dermafleet.storage.seed import DeviceModel
from device_agent.simulator import models
from services.alerts import evaluate
from services.alerts.context import Context
from services.alerts.diagnosis import observable
from services.alerts.diagnosis.observable import Sight
from services.alerts.evaluate import Memory
from services.alerts.limits import Limits, decode_limits
from services.alerts.observation import Block

DUO = decode_limits(models.limits(models.model_of("crystal-duo")))


def seen(limits: Limits) -> dict[tuple[str, str], str]:
    """While both circuits pull too hard: why a fault cannot be seen on a component; "" = it can."""
    names = [channel.name for channel in CHANNELS]
    names += [name for own in limits.components.values() for name in own.values()]
    values = {name: np.full(600, 90.0 if "vacuum" in name else 1.0) for name in names}
    block = Block("e", 1, "b", 0, 1_790_000_000_000 + 100 * np.arange(600), values)
    found = evaluate.take_block(Memory(), block, Context(limits))
    return {(each.component, each.fault): each.reason for each in found.observability}


def test_a_component_is_judged_by_its_own_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(architecture: str, *_: object, **__: object) -> dict[str, Sight]:
        asked.append(architecture)
        return {}

    monkeypatch.setattr(observable, "find", find)
    reasons = seen(DUO)
    assert "no crystals" in reasons["second", "crystals_low"]
    assert "not applicable" not in reasons["main", "crystals_low"]
    assert list(dict.fromkeys(asked)) == ["crystal", "diamond"]


def test_components_are_alike_unless_the_model_says_otherwise() -> None:
    assert DUO.of("main") is DUO
    assert DUO.of("second").architecture == "diamond"


@pytest.mark.parametrize("model", [model for model in fleet.MODELS if model.id in models.MODELS], ids=lambda m: m.id)
def test_the_demo_states_what_is_simulated(model: DeviceModel) -> None:
    stated, simulated = decode_limits(model.limits), decode_limits(models.limits(models.model_of(model.id)))
    assert {each: stated.of(each).architecture for each in stated.components} == {
        each: simulated.of(each).architecture for each in simulated.components
    }
