"""The features that rules may name are those that sessions have."""

import numpy as np

from dermafleet.contracts.records import Session
from dermafleet.contracts.rules import SESSION_VALUES
from dermafleet.contracts.telemetry import Telemetry
from services.alerts import evaluate
from services.alerts.context import Context
from services.alerts.evaluate import Memory
from services.alerts.features.types import SessionFeatures
from services.alerts.limits import Limits
from services.alerts.observation import Block, Origin
from tests.unit.alerts.machine import Item, Machine


def features_of(log: list[Item]) -> list[SessionFeatures]:
    memory, context, found = Memory(), Context(Limits(architecture="bench")), []
    for item in log:
        told = item.content
        if isinstance(told, Telemetry):
            masses = {name: [500.0] * len(told.dt) for name in ("crystal_jar_g", "canister_g")}
            channels = {name: np.array(values, dtype=float) for name, values in {**told.ch, **masses}.items()}
            block = Block(item.epoch, item.seq, told.boot, told.up, told.t0 + np.array(told.dt), channels)
            found += evaluate.take_block(memory, block, context).features
        elif isinstance(told, Session):
            found += evaluate.take_session(memory, told, Origin(item.epoch, item.seq), told.at, context).features
    return found


def test_every_value_of_a_session_can_be_named_by_a_rule_and_no_other() -> None:
    machine = Machine()
    machine.open()
    machine.treat("s1", load=0.5, strokes=20)
    [features] = features_of(machine.log)
    assert set(features.values) == set(SESSION_VALUES)
