"""Scalar quantities of a session, from its means and the physics of the type (docs/features.md has the table)."""

import math

import numpy as np

from dermafleet.physics import gas
from dermafleet.physics.machine import Machine
from services.alerts.features import filter_index, nominal
from services.alerts.features.types import Means


def network(open_: Means, contact: Means, machine: Machine, at: nominal.Conditions) -> dict[str, float]:
    """What the open tip and the well-sealed contact say of pump, hoses and feed; a key is absent without its channels.

    Args:
        open_, contact: channel means with the zeros taken off; empty = it did not occur.
        machine: of the type.
        at: conditions of the session.
    """
    values = {
        "open_vacuum_ratio": _over(open_.get("vacuum_inlet_kpa"), at.ambient_kpa),
        "contact_vacuum_ratio": _over(contact.get("vacuum_inlet_kpa"), at.ambient_kpa),
        "return_resistance": _return_resistance(open_),
        "feed_conductance_mm2": _entry_mm2(contact, at),
        **_pump(open_, machine, at, "open"),
        **_pump(contact, machine, at, "contact"),
    }
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def _over(value: float | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


def _pump(means: Means, machine: Machine, at: nominal.Conditions, state: str) -> dict[str, float | None]:
    """How far flow and current are off the pump's curve."""
    vacuum = means.get("vacuum_inlet_kpa")
    if vacuum is None:
        return {}
    point = nominal.curve(machine, vacuum, means.get("exhaust_dp_kpa", filter_index.EXHAUST_KPA), at)
    values: dict[str, float | None] = {}
    flow, current = means.get("flow_lpm"), means.get("motor_current_a")
    if flow is not None:
        pumped = flow + filter_index.bleed_lpm(machine, means.get("setpoint_kpa"), vacuum, at)
        values[f"pump_residual_{state}_lpm"] = pumped - point.flow_lpm
        values[f"pump_ratio_{state}"] = pumped / point.flow_lpm if point.flow_lpm > 1 else None
    if current is not None:
        values[f"current_residual_{state}_a"] = current - point.current_a
    return values


def _return_resistance(means: Means) -> float | None:
    """Drop from handpiece to canister over the square of the flow, Pa per (L/min)^2."""
    inlet, handpiece = means.get("vacuum_inlet_kpa"), means.get("vacuum_handpiece_kpa")
    dp, flow = means.get("filter_dp_kpa"), means.get("flow_lpm")
    if inlet is None or handpiece is None or dp is None or flow is None or flow < filter_index.MIN_FLOW_LPM:
        return None
    return 1000 * (inlet - dp - handpiece) / flow**2


def _entry_mm2(means: Means, at: nominal.Conditions) -> float | None:
    """Effective opening (discharge coefficient x area) through which feed and gaps let air into the handpiece, mm2."""
    handpiece, flow = means.get("vacuum_handpiece_kpa"), means.get("flow_lpm")
    if handpiece is None or flow is None or handpiece < 1.0:
        return None
    ambient = 1000 * at.ambient_kpa
    inside = ambient - 1000 * min(handpiece, at.ambient_kpa - 1)
    per_area = float(np.asarray(gas.orifice_flow(1.0, ambient, inside, at.temperature_k)))
    return 1e6 * float(gas.mass_flow(flow)) / per_area
