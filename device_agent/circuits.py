"""What a sample says about pump and tip, whichever of a machine's circuits works.

The channels of the first circuit have the standard names, those of another begin with its name: ``second_pump_on``.
"""

from typing import NamedTuple

from device_agent.drivers import Values

PUMP_CURRENT_A = 0.2
PUMP_VACUUM_KPA = 1.5
"""Where ``pump_on`` is not measured: the magnetising current alone is 0.4 A, the open tip 2.4 kPa."""


class Reading(NamedTuple):
    """The circuit that works, or the first one.

    Attributes:
        vacuum_kpa: what shows contact: at the handpiece where it is measured, since a clog does not raise it there.
    """

    pump_on: bool
    vacuum_kpa: float | None
    setpoint_kpa: float | None


class Circuits:
    """Reads the samples of one machine."""

    def __init__(self) -> None:
        self._channels = -1
        self._names: list[tuple[str, ...]] = []

    def read(self, values: Values) -> Reading:
        """Of several circuits that work, the one with most vacuum."""
        if len(values) != self._channels:
            self._channels = len(values)
            self._names = [_names(prefix) for prefix in _prefixes(values)]
        readings = [_read(values, *names) for names in self._names]
        return readings[0] if len(readings) == 1 else max(readings, key=_rank)


def _prefixes(values: Values) -> list[str]:
    others = [name.removesuffix("pump_on") for name in values if name.endswith("_pump_on")]
    return ["", *others]


def _names(prefix: str) -> tuple[str, ...]:
    names = ("pump_on", "motor_current_a", "vacuum_inlet_kpa", "vacuum_handpiece_kpa", "setpoint_kpa")
    return tuple(prefix + name for name in names)


def _read(values: Values, pump_on: str, current: str, inlet: str, handpiece: str, setpoint: str) -> Reading:
    get = values.get
    at_inlet, at_handpiece = get(inlet), get(handpiece)
    vacuum = at_inlet if at_handpiece is None else at_handpiece
    if (measured := get(pump_on)) is not None:
        is_on = measured >= 0.5
    elif (amperes := get(current)) is not None:
        is_on = amperes > PUMP_CURRENT_A
    else:
        is_on = at_inlet is not None and at_inlet > PUMP_VACUUM_KPA
    return Reading(is_on, vacuum, get(setpoint))


def _rank(reading: Reading) -> tuple[bool, float]:
    return reading.pump_on, reading.vacuum_kpa or 0.0
