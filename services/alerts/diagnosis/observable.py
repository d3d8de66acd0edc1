"""Which slow faults a set of channels can show, and which it cannot tell apart: the diagnosis asked about itself.

A machine of the type with one fault at its medium level is measured without noise for two days, and goes through the
very comparison that real sessions go through. What would not be raised is not observable.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dermafleet.physics import steady
from dermafleet.physics.machine import Machine
from services.alerts.baselines import Normalised, Residual
from services.alerts.detectors import consumables, intake
from services.alerts.diagnosis import crystals, diagnose, evidence, fit, signatures, verdict
from services.alerts.diagnosis.fit import QUIET, Noise
from services.alerts.diagnosis.hypothesis import Channels, Hypothesis
from services.alerts.diagnosis.signatures import AMBIENT_KPA, MAINS_V, Floats, Signatures
from services.alerts.features.expected import CHANNELS, LATE_RISE, LEAK_DOWN, PUMP_DOWN, SENSORS, transform
from services.alerts.features.expected import State as Name
from services.alerts.features.self_test import LATE_SHARES
from services.alerts.limits import Architecture

TREATMENTS = 6
SETPOINTS_KPA = (30.0, 40.0)
TEST_LIMIT_KPA = 80.0
"""A self-test stops there, to spare the canister, and then shows no plateau."""
LEARNED_SHARE = 0.7
"""Of a sensor's error that is left when the machine's own deviation has been learned."""
SURROUNDINGS_ERROR = 0.02
"""Of the logarithm of a vacuum where the ambient pressure is not measured: weather."""


class Sight(NamedTuple):
    """What can be seen of a fault.

    Attributes:
        is_observable: it would be raised at its medium level.
        reason: why not, for a person; "" when it is.
        ambiguous_with: faults that would stand beside it.
    """

    is_observable: bool
    reason: str = ""
    ambiguous_with: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def find(architecture: Architecture, channels: Channels, *, has_self_test: bool) -> dict[str, Sight]:
    """What can be seen of each slow fault that this architecture can have.

    Args:
        channels: measured and trusted now.
        has_self_test: the tip is capped in a self-test every day.
    """
    table = signatures.compute(architecture)
    if "vacuum_inlet_kpa" not in channels:
        return {each.fault: Sight(False, "vacuum_inlet_kpa is not measured") for each in _hypotheses(table)}
    return {each.fault: _sight(table, architecture, each, channels, has_self_test) for each in _hypotheses(table)}


def _hypotheses(table: Signatures) -> Iterator[Hypothesis]:
    return iter(dict.fromkeys(each for each in table.hypotheses if each is not None))


def _sight(
    table: Signatures, architecture: Architecture, hypothesis: Hypothesis, channels: Channels, has_self_test: bool
) -> Sight:
    if hypothesis.needs and not any(need <= channels for need in hypothesis.needs):
        lacking = sorted(hypothesis.needs[0] - channels)
        return Sight(False, f"{', '.join(lacking)} is not measured")
    if hypothesis.fault in (consumables.CANISTER, consumables.CRYSTALS):
        return Sight(True)
    if hypothesis.fault in intake.BY_DROP and "filter_dp_kpa" in channels:
        return Sight(True)
    if hypothesis.mains(hypothesis.medium) != 1.0 and "mains_v" in channels:
        return Sight(True)
    shares = _shares(table, architecture, hypothesis, channels, has_self_test)
    if not verdict.is_certain(shares):
        tested = "" if has_self_test else " without a self-test"
        return Sight(False, f"cannot be told from a healthy machine with these sensors{tested}")
    return Sight(True, "", tuple(sorted(verdict.likely(shares).keys() - {hypothesis.fault})))


def _shares(
    table: Signatures, architecture: Architecture, hypothesis: Hypothesis, channels: Channels, has_self_test: bool
) -> dict[str, float]:
    """Probabilities after two days with the fault."""
    machine = signatures.type_machine(architecture)
    state = diagnose.State(index=1.0)
    gains, has_crystals = {}, consumables.CRYSTALS in table.faults
    for is_test in (True, False):
        residuals = tuple(_session(machine, hypothesis, channels, is_test=is_test))
        compared = fit.compare(
            table,
            Normalised(residuals, None, None, False, False, (), (), AMBIENT_KPA, MAINS_V, 20.0),
            noise=_noise(machine, hypothesis) if has_crystals and not is_test else None,
        )
        assert compared is not None
        gains[is_test] = diagnose.gain(table, compared, state, channels)
    for _ in range(2):
        if has_self_test:
            evidence.add(state.evidence, gains[True], is_test=True)
        for _ in range(TREATMENTS):
            evidence.add(state.evidence, gains[False], is_test=False)
    odds = evidence.total(state.evidence, table)
    odds[~diagnose.possible(table, channels)] = -np.inf
    return evidence.probabilities(odds, diagnose.names_of(table))


def _noise(machine: Machine, hypothesis: Hypothesis) -> Noise | None:
    """What is heard of the feed with the fault; None for a machine without one."""
    faulty, mains = _faulty(machine, hypothesis)
    usual = float(steady.solve(machine, "contact").feed_lpm)
    if usual <= 0:
        return None
    air = hypothesis.feed * float(steady.solve(faulty, "contact", mains_v=mains).feed_lpm) / usual
    return Noise(float(np.log((min(air, 1.0) + QUIET) / (1 + QUIET))), crystals.NOISE_ERROR)


def _session(machine: Machine, hypothesis: Hypothesis, channels: Channels, *, is_test: bool) -> Iterator[Residual]:
    if is_test:
        yield from _capped(machine, hypothesis, channels)
    for setpoint in (40.0,) if is_test else SETPOINTS_KPA:
        bleed = steady.bleed_for_contact(machine, setpoint)
        states: tuple[Name, ...] = ("open",) if is_test else ("open", "contact")
        for state in states if setpoint == SETPOINTS_KPA[-1] else states[1:]:
            faulty, mains = _faulty(machine.with_(bleed_m2=bleed), hypothesis)
            measured = steady.solve(faulty, state, mains_v=mains)
            nominal = steady.solve(machine.with_(bleed_m2=bleed), state)
            for name in CHANNELS[state]:
                if name in channels:
                    yield _residual(state, name, setpoint, getattr(measured, name), getattr(nominal, name), channels)


def _capped(machine: Machine, hypothesis: Hypothesis, channels: Channels) -> Iterator[Residual]:
    faulty, mains = _faulty(machine, hypothesis)
    measured, nominal = steady.solve(faulty, "capped", mains_v=mains), steady.solve(machine, "capped")
    has_plateau = float(measured.vacuum_inlet_kpa) < TEST_LIMIT_KPA
    for name in CHANNELS["capped"]:
        if has_plateau and name in channels:
            yield _residual("capped", name, 40.0, getattr(measured, name), getattr(nominal, name), channels)
    seconds = [steady.pump_down_s(faulty, 60.0, mains_v=mains), steady.pump_down_s(machine, 60.0)]
    if np.isfinite(seconds[0]):
        yield _residual("capped", PUMP_DOWN, 40.0, seconds[0], seconds[1], channels)
    half, most = (
        [
            steady.pump_down_s(each, share * AMBIENT_KPA, mains_v=volts)
            for each, volts in ((faulty, mains), (machine, MAINS_V))
        ]
        for share in LATE_SHARES
    )
    if np.isfinite(most[0]):
        late = [end - begin for begin, end in zip(half, most, strict=True)]
        yield _residual("capped", LATE_RISE, 40.0, late[0], late[1], channels)
    rates = [steady.leak_down_kpa_s(each, 60.0) for each in (faulty, machine)]
    yield _residual("capped", LEAK_DOWN, 40.0, rates[0], rates[1], channels)


def _faulty(machine: Machine, hypothesis: Hypothesis) -> tuple[Machine, float]:
    level = hypothesis.medium
    opened = machine.with_(bleed_m2=machine.bleed_m2 * hypothesis.bleed(level))
    return hypothesis.change(opened, level), MAINS_V * float(hypothesis.mains(level))


def _residual(
    state: Name, channel: str, setpoint: float, measured: Floats, nominal: Floats, channels: Channels
) -> Residual:
    absolute, relative, floor = SENSORS[channel]
    value, usual = float(measured), float(nominal)
    error = LEARNED_SHARE * float(np.hypot(absolute, relative * value)) / (value + floor)
    weather = SURROUNDINGS_ERROR if channel.startswith("vacuum") and "ambient_kpa" not in channels else 0.0
    return Residual(
        state=state,
        channel=channel,
        setpoint_kpa=setpoint if "setpoint_kpa" in channels else None,
        measured=value,
        nominal=usual,
        healthy=0.0,
        residual=float(transform(channel, value, usual)),
        error=error,
        shared=(weather,),
        is_learned=True,
    )
