"""The simulated makes of machine: circuits, consumables and sensors of each model.

A machine has one circuit per component: its own pump, filter and handpiece. The channels of the first one have the
standard names, those of the others begin with the component's name; what the circuits share is measured once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from dermafleet.contracts.channels import Profile, fitted
from dermafleet.errors import SettingError
from dermafleet.physics.filters import cake_unit_kg, specific_resistance
from dermafleet.physics.machine import DIAMOND, HYDRA, M1, Machine
from device_agent.simulator.draw import FILTER_M2, FINES_M

Architecture = Literal["crystal", "diamond", "hydra"]

MAIN = "main"
SHARED = frozenset({"ambient_kpa", "mains_v", "ambient_temp_c", "crystal_jar_g"})
"""Channels that a machine has once, whatever the number of its circuits."""

_NOMINAL_M3S = 30e-3 / 60


@dataclass(frozen=True, slots=True)
class Circuit:
    """One pump with what hangs on it.

    Attributes:
        component: name, as in alarms.
        design: parameters as the maker intends them.
        architecture: of the air path.
        dust_g: median of the fines that reach the intake filter in one treatment, g.
        filter_unit_g: dust that adds the resistance of one clean filter to a cake, or e-folds that of a depth medium.
        is_depth: whether the filter loads in its depth (felt, cotton).
        feed_g_s: crystals or fluid drawn per second of contact at 40 kPa.
        tips_mm: openings of the tips that operators choose from.
    """

    component: str
    design: Machine
    architecture: Architecture
    dust_g: float
    filter_unit_g: float
    is_depth: bool
    feed_g_s: float
    tips_mm: tuple[float, ...] = (5.0, 4.0, 6.0)


@dataclass(frozen=True, slots=True)
class Model:
    """One make of machine.

    Attributes:
        id: as in `device_model`.
        circuits: the first is ``main``.
        profile: which sensors it is built with.
        jar_g, canister_g: capacity of the crystal jar (fluid bottle) and of the waste canister, g.
        rated_index: filter index at which the maker rates the filter as clogged.
    """

    id: str
    circuits: tuple[Circuit, ...]
    profile: Profile = "full"
    jar_g: float = 500.0
    canister_g: float = 600.0
    rated_index: float = 20.0


CAKE_G = 1000 * float(cake_unit_kg(M1.filter_r1, FILTER_M2, specific_resistance(FINES_M)))
"""50 cm2 of filter and fines of 10 um: 0.47 g."""

_DIAMOND_TIPS = (5.0, 4.8, 5.2)
"""They differ in grit rather than in their opening, through whose grooves the air comes."""

_CRYSTAL = Circuit(MAIN, M1, "crystal", 0.12, CAKE_G, False, 0.2)
_DIAMOND = Circuit(MAIN, DIAMOND, "diamond", 0.03, 0.15, True, 0.01, _DIAMOND_TIPS)
_HYDRA = Circuit(MAIN, HYDRA, "hydra", 0.004, CAKE_G, False, 0.2)

MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        Model("crystal-m1", (_CRYSTAL,)),
        Model("diamond", (_DIAMOND,)),
        Model("hydra", (_HYDRA,), jar_g=800.0),
        Model(
            "crystal-duo",
            (_CRYSTAL, replace(_DIAMOND, component="second")),
        ),
    )
}


def model_of(model_id: str) -> Model:
    """Raises SettingError for an unknown model; the message lists the known ones."""
    try:
        return MODELS[model_id]
    except KeyError:
        raise SettingError(f"model {model_id!r} is not simulated; there are {', '.join(MODELS)}") from None


def channel_names(model: Model, profile: Profile) -> dict[str, dict[str, str]]:
    """Per component: standard channel → the name under which the machine sends it.

    A channel that the circuits share stands with ``main`` alone.
    """
    standard = [channel.name for channel in fitted(profile)]
    return {
        circuit.component: {
            name: name if circuit.component == MAIN else f"{circuit.component}_{name}"
            for name in standard
            if _is_measured(circuit, name)
        }
        for circuit in model.circuits
    }


def limits(model: Model) -> dict[str, object]:
    """The document for `device_model.limits`: what the maker states about this model."""
    clean = model.circuits[0].design
    viscous, inertial = float(clean.filter_r1) * _NOMINAL_M3S, float(clean.filter_r2) * _NOMINAL_M3S**2
    others = {
        component: {standard: name for standard, name in names.items() if standard != name}
        for component, names in channel_names(model, model.profile).items()
    }
    return {
        "filter_dp_kpa": round((model.rated_index * viscous + inertial) / 1000, 2),
        "filter_flow_lpm": 30.0,
        "architecture": model.circuits[0].architecture,
        "architectures": {circuit.component: circuit.architecture for circuit in model.circuits[1:]},
        "components": others,
        "canister_g": model.canister_g,
        "jar_g": model.jar_g,
    }


def _is_measured(circuit: Circuit, name: str) -> bool:
    if circuit.component != MAIN and name in SHARED:
        return False
    return name != "crystal_jar_g" or circuit.architecture != "diamond"
