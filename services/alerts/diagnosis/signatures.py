"""What each fault does to a machine of one architecture, computed once: tables of channel logarithms over a grid.

The grid: *nodes* (a fault at a level; node 0 = no fault), *loads* of the intake filter, and per state
  open, capped   the regulator's set point;
  contact        the vacuum at the pump inlet and the tip's *gap*. The regulator is no axis there: the measured vacuum
                 replaces it, and what the regulator must let in for it becomes one of the quantities.

Not here: what was measured, and how wrong it may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dermafleet.physics import gas, steady
from dermafleet.physics.machine import DIAMOND, HYDRA, M1, Machine
from services.alerts.detectors import consumables, intake, network, pump
from services.alerts.diagnosis.hypothesis import Hypothesis
from services.alerts.features.expected import LONGEST_S, SENSORS
from services.alerts.features.self_test import LATE_SHARES
from services.alerts.limits import Architecture

Floats = NDArray[np.float64]

HEALTHY = ""
"""Fault of node 0."""
MILD = "mild"
"""Stands for every fault at a level too mild to tell anybody."""

ALL: tuple[Hypothesis, ...] = (
    *network.HYPOTHESES,
    *pump.HYPOTHESES,
    *intake.HYPOTHESES,
    *consumables.HYPOTHESES,
)

_BY_FAULT = {each.fault: each for each in ALL}

BLEED = "bleed"
"""Share of the pump's flow that the regulator must let in for the measured vacuum, beyond what its set point would."""
FEED = "feed"
"""Crystals drawn from the jar."""

OPEN = (
    "vacuum_inlet_kpa",
    "filter_dp_kpa",
    "flow_lpm",
    "motor_current_a",
    "exhaust_dp_kpa",
    "vacuum_handpiece_kpa",
)
CONTACT = (BLEED, FEED, *OPEN[1:])
CAPPED = (*OPEN[:-1], "pump_down_s", "late_rise_s", "leak_down_kpa_s")

FLOORS = {name: floor for name, (_, _, floor) in SENSORS.items()} | {FEED: 1.0}
"""Added before the logarithm: a channel's error is absolute below, relative above."""

LOADS = 2.0 ** (np.arange(-1, 13) / 2)
"""Filter index, in steps of the square root of 2; below 1 because a clean filter may be better than its type."""
CLEAN = 1
"""Where `LOADS` is 1."""
SETPOINTS = np.array([12.0, 20.0, 28.0, 36.0, 40.0, 44.0, 52.0])
"""With the mark that self-tests are run at: there a machine that hardly reaches a vacuum differs much from its
neighbours."""
VACUA = np.linspace(0.06, 0.84, 27)
"""Vacuum over ambient pressure."""
GAPS = np.array([0.1, 0.4, 1.0, 2.0, 4.0, 8.0, 14.0, 24.0])
"""Open share of the tip relative to the usual one of the architecture."""
USUAL_GAP = 2
"""Where `GAPS` is 1."""

ARCHITECTURES: tuple[Architecture, ...] = ("crystal", "diamond", "hydra", "bench")

AMBIENT_KPA = gas.STANDARD_PRESSURE_PA / 1000
MAINS_V = 230.0
LONGEST_PUMP_DOWN_S = 60.0
PUMP_DOWN_KPA = (30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0, 70.0, 75.0, 80.0)
"""Vacua to which the pump-down is timed, at standard ambient pressure."""
LEAK_DOWN_KPA = 60.0


@dataclass(frozen=True)
class Signatures:
    """Tables of one architecture. H nodes, K loads, S set points, V vacua, G gaps.

    Attributes:
        faults, levels: of each node, (H,).
        hypotheses: of each node; None for node 0.
        open: (S, H, K, len(OPEN)), logarithms.
        contact: (V, H, K, G, len(CONTACT)), logarithms, but `BLEED`: L/min.
        capped: (S, H, len(CAPPED)), logarithms; the pump-down to 60 kPa.
        pump_down: (S, H, len(PUMP_DOWN_KPA)), logarithms.
        pump: (V,) pump flow of the healthy machine, L/min.
        dial: (S,) opening of the regulator, as L/min it lets in when choked.
        opening: (H,) factor of the regulator's opening.
    """

    faults: tuple[str, ...]
    levels: Floats
    hypotheses: tuple[Hypothesis | None, ...]
    open: Floats
    contact: Floats
    capped: Floats
    pump_down: Floats
    pump: Floats
    dial: Floats
    opening: Floats


def type_machine(architecture: Architecture) -> Machine:
    """The machine as its maker means it; a bench rig counts as a crystal machine."""
    return {"diamond": DIAMOND, "hydra": HYDRA}.get(architecture, M1)


def hypothesis(fault: str) -> Hypothesis:
    """What is stated about a fault; KeyError for one that is not diagnosed here."""
    return _BY_FAULT[fault]


@cache
def compute(architecture: Architecture) -> Signatures:
    """The tables; about a second at the first call in a process."""
    machine = type_machine(architecture)
    chosen = [each for each in ALL if architecture in each.architectures or architecture == "bench"]
    nodes: list[tuple[Hypothesis | None, float]] = [(None, 0.0)]
    nodes += [(each, level) for each in chosen for level in each.levels]
    bleeds = steady.bleed_for_contact(machine, SETPOINTS)
    parts = [_node(machine, each, level, bleeds) for each, level in nodes]
    healthy = steady.contact_at(machine, VACUA * AMBIENT_KPA)
    return Signatures(
        faults=tuple(each.fault if each else HEALTHY for each, _ in nodes),
        levels=np.array([level for _, level in nodes]),
        hypotheses=tuple(each for each, _ in nodes),
        open=np.stack([part[0] for part in parts], axis=1),
        contact=np.stack([part[1] for part in parts], axis=1),
        capped=np.stack([part[2] for part in parts], axis=1),
        pump_down=np.stack([part[3] for part in parts], axis=1),
        pump=healthy.pump_flow_lpm,
        dial=_choked_lpm(machine, bleeds),
        opening=np.array([float(each.bleed(level)) if each else 1.0 for each, level in nodes]),
    )


def warm() -> None:
    """Compute the tables of all architectures now, so that no machine's first session waits for them.

    A bench is not diagnosed.
    """
    for architecture in ARCHITECTURES:
        if architecture != "bench":
            compute(architecture)


def _choked_lpm(machine: Machine, bleed_m2: Floats) -> Floats:
    pressure, kelvin = gas.STANDARD_PRESSURE_PA, gas.STANDARD_TEMPERATURE_K
    return np.asarray(gas.standard_lpm(gas.orifice_flow(machine.bleed_cd * bleed_m2, pressure, 0.0, kelvin)))


def _node(machine: Machine, hypothesis: Hypothesis | None, level: float, bleeds: Floats) -> tuple[Floats, ...]:
    mains, bleed, feed = MAINS_V, 1.0, 1.0
    loaded = machine.with_(filter_load=LOADS - 1)
    clean = machine
    if hypothesis is not None:
        mains, bleed, feed = MAINS_V * float(hypothesis.mains(level)), float(hypothesis.bleed(level)), hypothesis.feed
        loaded, clean = hypothesis.change(loaded, level), hypothesis.change(clean, level)
    opened = steady.solve(loaded.with_(bleed_m2=bleed * bleeds[:, None]), "open", mains_v=mains)
    gaps = np.minimum((1 - np.asarray(machine.seal)) * GAPS, 1.0)
    vacua = VACUA[:, None, None] * AMBIENT_KPA
    touching = loaded.with_(seal=1 - gaps, filter_load=np.asarray(loaded.filter_load)[..., None])
    contact = steady.contact_at(touching, vacua, mains_v=mains)
    tight = clean.with_(bleed_m2=bleed * bleeds)
    down = _pump_down(tight, mains)
    return _table(opened, OPEN, feed), _table(contact, CONTACT, feed), _capped(tight, mains, down), down


def _table(points: steady.Operating, quantities: Sequence[str], feed: float) -> Floats:
    columns = []
    for name in quantities:
        if name == BLEED:
            columns.append(points.bleed_lpm)
        else:
            values = feed * points.feed_lpm if name == FEED else getattr(points, name)
            columns.append(logarithm(name, values))
    return np.stack(columns, axis=-1)


def _capped(machine: Machine, mains_v: float, pump_down: Floats) -> Floats:
    points = steady.solve(machine, "capped", mains_v=mains_v)
    rate = steady.leak_down_kpa_s(machine, LEAK_DOWN_KPA)
    half, most = (steady.pump_down_s(machine, share * AMBIENT_KPA, mains_v=mains_v) for share in LATE_SHARES)
    late = np.minimum(np.where(np.isfinite(half), most, np.inf) - np.where(np.isfinite(half), half, 0.0), LONGEST_S)
    columns = [logarithm(name, getattr(points, name)) for name in CAPPED[:-3]]
    columns += [pump_down[:, PUMP_DOWN_KPA.index(60.0)], logarithm("late_rise_s", late)]
    columns.append(logarithm("leak_down_kpa_s", rate))
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _pump_down(machine: Machine, mains_v: float) -> Floats:
    """(S, len(PUMP_DOWN_KPA)), logarithms."""
    seconds = [steady.pump_down_s(machine, target, mains_v=mains_v) for target in PUMP_DOWN_KPA]
    return logarithm("pump_down_s", np.minimum(np.stack(seconds, axis=-1), LONGEST_PUMP_DOWN_S))


def logarithm(quantity: str, value: float | Floats) -> Floats:
    """The value as it stands in the tables."""
    return np.asarray(np.log(np.maximum(value, 0.0) + FLOORS[quantity]))
