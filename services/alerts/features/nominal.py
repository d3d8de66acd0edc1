"""What a healthy machine of the type would do: the physics at its design values.

The device model states an architecture, not a machine, so the design values of that architecture stand in for those of
the type; what differs is learned by the baselines.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dermafleet.physics import gas, motor, pump, steady
from dermafleet.physics.machine import DIAMOND, HYDRA, M1, Machine
from services.alerts.context import Context
from services.alerts.limits import Architecture
from services.alerts.observation import Floats

ZERO_CELSIUS_K = 273.15
STANDARD_C = gas.STANDARD_TEMPERATURE_K - ZERO_CELSIUS_K
NOMINAL_V = 230.0
_SCALE_HEIGHT = 44_330.0
WARMING_STEPS = 101


@dataclass(frozen=True, slots=True)
class Conditions:
    """Surroundings of an operating point; what is not measured is assumed.

    Attributes:
        ambient_kpa, mains_v, temperature_c: of room and supply.
    """

    ambient_kpa: float
    mains_v: float
    temperature_c: float

    @property
    def temperature_k(self) -> float:
        """Of room and gas."""
        return self.temperature_c + ZERO_CELSIUS_K


@dataclass(frozen=True, slots=True)
class Curve:
    """What the pump does at an inlet vacuum and a voltage, whatever the network is.

    Attributes:
        flow_lpm: through the pump, standard L/min, bleed included.
        current_a: of the motor.
        rise_k, settling_s: its settled warming and the time constant of it.
    """

    flow_lpm: float
    current_a: float
    rise_k: float
    settling_s: float


def type_machine(context: Context) -> Machine:
    """Design values of the device's architecture."""
    return _machine(context.limits.architecture)


def _machine(architecture: Architecture) -> Machine:
    return {"diamond": DIAMOND, "hydra": HYDRA}.get(architecture, M1)


def altitude_kpa(altitude_m: float) -> float:
    """Usual ambient pressure at an altitude (standard atmosphere)."""
    return float(gas.STANDARD_PRESSURE_PA / 1000 * (1 - altitude_m / _SCALE_HEIGHT) ** 5.255)


def conditions(
    context: Context, ambient_kpa: float | None, mains_v: float | None, temperature_c: float | None
) -> Conditions:
    """Conditions as measured, else by the site's altitude and usual values."""
    return Conditions(
        altitude_kpa(context.altitude_m) if ambient_kpa is None else ambient_kpa,
        NOMINAL_V if mains_v is None else mains_v,
        STANDARD_C if temperature_c is None else temperature_c,
    )


def tip_name(tip_type: str | None, size_mm: float | None) -> str:
    """What baselines are kept per: code and bore of the fitted tip, as far as they are told."""
    size = "" if size_mm is None else f"{size_mm:g}{_SIZE_UNIT}"
    return " ".join(part for part in (tip_type, size) if part)


def tip_m2(machine: Machine, tip: str) -> float:
    """Opening of a tip named by `tip_name`, m2; the design opening where its size was not told."""
    size = tip.rpartition(" ")[2]
    if not size.endswith(_SIZE_UNIT):
        return float(np.asarray(machine.tip_m2))
    return float(gas.hole_m2(float(size.removesuffix(_SIZE_UNIT))))


def bleed_for(machine: Machine, setpoint_kpa: float | None) -> float:
    """Opening of the regulator at a set point, m2; the design opening where the set point is not known.

    The set point names the inlet vacuum of a healthy machine in contact at sea level.
    """
    if setpoint_kpa is None:
        return float(np.asarray(machine.bleed_m2))
    return float(np.interp(setpoint_kpa, _SETPOINTS, _bleeds(machine)))


_SIZE_UNIT = "mm"
_SETPOINTS = np.arange(4.0, 70.5, 0.5)


@lru_cache(maxsize=64)
def _bleeds(machine: Machine) -> Floats:
    """Openings at `_SETPOINTS`, m2."""
    return steady.bleed_for_contact(machine, _SETPOINTS)


def curve(machine: Machine, vacuum_kpa: float, exhaust_kpa: float, at: Conditions) -> Curve:
    """The pump's curve at one point.

    Args:
        machine: of the type.
        vacuum_kpa: at the inlet.
        exhaust_kpa: over ambient, at the outlet.
        at: ambient pressure, voltage, temperature.
    """
    design = [float(np.asarray(getattr(machine, name))) for name in _DESIGN]
    displacement, clearance, exponent, slip, nominal_v, friction, efficiency, magnetising, resistance, capacity = design
    inlet, outlet = 1000 * max(at.ambient_kpa - vacuum_kpa, 1.0), 1000 * (at.ambient_kpa + exhaust_kpa)
    share = at.mains_v / nominal_v
    speed = float(motor.relative_speed(share, slip))
    swept = pump.swept_flow(displacement * speed, clearance, exponent, outlet / inlet)
    flow = float(gas.standard_lpm(max(float(pump.pump_flow(swept, 0.0, inlet, outlet, at.temperature_k)), 0.0)))
    gas_w = pump.gas_power(swept, exponent, inlet, outlet / inlet)
    power = motor.electrical_power(gas_w, friction, speed, efficiency)
    thermal = float(motor.thermal_resistance(resistance, flow, 1.0))
    return Curve(
        flow_lpm=flow,
        current_a=float(motor.current(power, at.mains_v, magnetising, share)),
        rise_k=float(motor.heating_power(power, gas_w)) * thermal,
        settling_s=thermal * capacity,
    )


_DESIGN = (
    "displacement_m3s",
    "clearance",
    "exponent",
    "slip",
    "mains_nominal_v",
    "friction_w",
    "motor_efficiency",
    "magnetising_a",
    "thermal_k_per_w",
    "thermal_j_per_k",
)


@lru_cache(maxsize=16)
def warming(architecture: Architecture) -> list[tuple[float, float]]:
    """Settled warming (K) and its time constant (s) per hundredth of inlet vacuum over ambient pressure."""
    at = Conditions(gas.STANDARD_PRESSURE_PA / 1000, NOMINAL_V, STANDARD_C)
    machine = _machine(architecture)
    points = [curve(machine, share * at.ambient_kpa, 0.5, at) for share in np.linspace(0, 1, WARMING_STEPS).tolist()]
    return [(point.rise_k, point.settling_s) for point in points]
