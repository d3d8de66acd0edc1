"""The simulated air and heat of many machines, advanced together in steps of 0.1 s.

Built on the laws of :mod:`dermafleet.physics`, with what that model leaves out: gas volumes and their transients, dust,
masses, the thermal cut-out, and the :class:`Quirks` of real machines. Canister and pump inlet are gas volumes, advanced
by a linearly implicit Euler step; the handpiece follows them without delay. It knows no sensor: see ``sensors.py``.

With 256 machines one CPU-second of a 2020 server core gives some 40 000 machine-seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dermafleet.physics import filters, gas, motor
from dermafleet.physics.machine import EMPTY_JAR_FEED, FIELDS, FULL_CANISTER_SHARE, Machine
from device_agent.simulator.network import Compression, Openings, Pressures, advance

DT_S = 0.1
SUBSTEPS = 4
OPEN, CONTACT, CAPPED = 0, 1, 2

_SPIN_STEP = 1 - float(np.exp(-DT_S / 0.12))  # run-up and run-down of the pump take 0.12 s
_FLOAT_CLOSED = 1e4  # factor of the intake filter's resistance
_LOWEST_MAINS_V = 60.0  # a motor below it does not run
_CRYSTALS_G_PER_S = 0.2  # usual, at 10 L/min of feed air: the feed noise is stated for it
_FEED_FROM_KPA, _FEED_OVER_KPA = 3.0, 5.0  # vacuum at which crystals begin to rise, and by which they all do
_FAST, _SLOW = (float(np.exp(-DT_S * 2 * np.pi * hertz)) for hertz in (5.0, 0.5))  # edges of the feed noise
_NOISE_RMS = float(
    np.sqrt((1 - _FAST) / (1 + _FAST) + (1 - _SLOW) / (1 + _SLOW) - 2 * (1 - _FAST) * (1 - _SLOW) / (1 - _FAST * _SLOW))
)


Switch = gas.Real | NDArray[np.bool_] | NDArray[np.int64]
"""0 or False = off."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """What sets real machines apart from the model; arrays (n,) or numbers.

    Attributes:
        polytropic: exponent of the gas volumes; 1 = isothermal.
        feed_noise_kpa: rms of the handpiece vacuum, 0.5-5 Hz, while crystals flow in contact.
        feed_noise_share: part of that noise that reaches canister and pump inlet.
        hysteresis: by how much the regulator's opening depends on the direction of the last change.
        hysteresis_kpa: change of vacuum that turns it round.
        crystal_loading: mass of crystals per mass of feed air.
        waste_m3_per_g: volume that a gram in the canister takes from its gas.
        dust_unit_kg: dust that adds one clean filter (cake), or by which a depth medium grows e-fold.
        is_depth: the intake filter is a depth medium.
        has_float: the canister closes when liquid fills 95 % of it (hydra).
    """

    polytropic: gas.Real = 1.0
    feed_noise_kpa: gas.Real = 0.0
    feed_noise_share: gas.Real = 0.3
    hysteresis: gas.Real = 0.0
    hysteresis_kpa: gas.Real = 2.0
    crystal_loading: gas.Real = 1.0
    waste_m3_per_g: gas.Real = 0.53e-6
    dust_unit_kg: gas.Real = 0.5e-3
    is_depth: NDArray[np.bool_] | bool = False
    has_float: NDArray[np.bool_] | bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """What is done to the machines during one call of :meth:`Plant.run`.

    Every value is a number or an array that broadcasts to (steps, n): (n,) for constant, (steps, 1) for all alike.

    Attributes:
        steps: of 0.1 s.
        pump_on: the operator's switch.
        tip: OPEN, CONTACT or CAPPED.
        feed_open: crystals may flow; False = pinched.
        mains_v, ambient_pa, room_c: mains, V; room pressure, Pa; room temperature, Cel.
        dust_g_per_s: onto the intake filter, in contact with the pump running.
        fluid_g_per_s: from jar to canister, likewise (hydra).
        changes: fields of :class:`Machine` by name: seal, bleed, and every fault.
    """

    steps: int
    pump_on: Switch
    tip: int | NDArray[np.int64]
    feed_open: Switch = True
    mains_v: gas.Real = 230.0
    ambient_pa: gas.Real = gas.STANDARD_PRESSURE_PA
    room_c: gas.Real = 20.0
    dust_g_per_s: gas.Real = 0.0
    fluid_g_per_s: gas.Real = 0.0
    changes: Mapping[str, gas.Real] = field(default_factory=dict)


SIGNALS: tuple[str, ...] = (
    "vacuum_inlet_kpa",
    "vacuum_handpiece_kpa",
    "filter_dp_kpa",
    "exhaust_dp_kpa",
    "flow_lpm",
    "motor_current_a",
    "pump_temp_c",
    "crystal_jar_g",
    "canister_g",
    "pump_on",
    "ambient_kpa",
    "mains_v",
    "ambient_temp_c",
    "vacuum_canister_kpa",
    "pump_flow_lpm",
    "filter_index",
)
"""The channels that the plant gives, and three that no sensor measures."""

Signals = dict[str, gas.Array]
"""True values by the names of :data:`SIGNALS`, each (steps, n)."""


class Plant:
    """N machines and their state; whatever :meth:`run` leaves behind, the next call goes on from.

    The state between calls is public, because people change it: they empty canisters, fill jars, change filters.

    Attributes:
        dust_kg: on the intake filter, (n,).
        jar_g, canister_g: masses, (n,).
        rise_k: pump over room temperature, (n,).
        speed: of the pump, 1 = nominal, (n,).
        is_tripped: the thermal cut-out is open, (n,).
    """

    def __init__(self, machines: Machine, count: int, quirks: Quirks, rng: np.random.Generator) -> None:
        """Machines at rest.

        Args:
            machines: parameters; each field a number or (count,).
            count: number of machines.
            quirks: likewise.
            rng: for the feed noise.
        """
        self._machines = {name: np.asarray(getattr(machines, name), dtype=np.float64) for name in FIELDS}
        self._quirks = quirks
        self._rng = rng
        self._count = count
        self.dust_kg = np.zeros(count)
        self.jar_g = np.full(count, 500.0)
        self.canister_g = np.zeros(count)
        self.rise_k = np.zeros(count)
        self.speed = np.zeros(count)
        self.is_tripped = np.zeros(count, dtype=np.bool_)
        self._air: Pressures | None = None
        self._running = np.zeros(count, dtype=np.bool_)
        self._index = np.ones(count)
        self._power = np.zeros(count)
        self._turned_kpa = np.zeros(count)
        self._noise = np.zeros((2, count))
        self._noise_kpa = np.zeros(count)
        self._shaken_kpa = np.zeros(count)

    def filter_index(self, filter_load: gas.Real = 0.0) -> gas.Array:
        """Filter index of the dust on the filters, (n,), on top of a load that they have otherwise."""
        return 1 + self._load(np.asarray(filter_load, dtype=np.float64))

    def run(self, control: Control) -> Signals:
        """Advance all machines by ``control.steps`` steps.

        Returns:
            True values at the end of each step.
        """
        shape = (control.steps, self._count)
        rows = _rows(self._machines, control, shape)
        trace = {name: np.empty(shape) for name in _TRACED}
        white = self._rng.standard_normal(shape)
        if self._air is None:
            self._air = _at_rest(rows.ambient[0])
        _follow_weather(self._air, rows.ambient[0])
        for at, row in enumerate(zip(*rows, strict=True)):
            self._step(_Rows._make(row), self._air, white[at])
            self._trace(trace, at)
        return _signals(trace, rows, self._machines)

    def _load(self, filter_load: gas.Array) -> gas.Array:
        share = self.dust_kg / self._quirks.dust_unit_kg
        dust = np.where(self._quirks.is_depth, np.expm1(np.minimum(share, 12.0)), share)
        return np.asarray(filter_load + dust)

    def _step(self, now: "_Rows", air: Pressures, white: gas.Array) -> None:
        running = (now.pump_on > 0) & ~self.is_tripped & (now.mains_v > _LOWEST_MAINS_V)
        self.speed += (np.where(running, now.speed, 0.0) - self.speed) * _SPIN_STEP
        self._running = running
        machines, quirks = self._machines, self._quirks
        empty = self.jar_g <= 0
        feed = now.feed * np.where(empty, EMPTY_JAR_FEED, 1.0)
        self._index = 1 + self._load(now.filter_load)
        waste_m3 = quirks.waste_m3_per_g * self.canister_g
        closed = quirks.has_float & (waste_m3 >= FULL_CANISTER_SHARE * machines["canister_m3"])
        net = Openings(
            ambient=now.ambient,
            gas_heat=now.gas_heat,
            entry=now.tip + feed,
            path=now.path,
            leak_dirty=now.leak_dirty,
            clean=now.leak_clean + now.bleed * self._hysteresis(now.ambient - air.inlet),
            linear=now.linear * self._index * np.where(closed, _FLOAT_CLOSED, 1.0),
            quadratic=now.quadratic,
            swept=now.swept * self.speed,
            valve_leak=np.where(running, now.valve_leak, 0.0),
        )
        canister_m3 = np.maximum(machines["canister_m3"] - waste_m3, 0.1 * machines["canister_m3"])
        hold = SUBSTEPS / (DT_S * quirks.polytropic * now.gas_heat)
        pump = Compression(machines["clearance"], 1 / machines["exponent"])
        for _ in range(SUBSTEPS):
            advance(air, net, pump, (canister_m3 + machines["handpiece_m3"]) * hold, machines["inlet_m3"] * hold)
        blown = np.maximum(air.through_pump, 0.0)
        settled = filters.pressure_before(now.ambient, blown, now.exhaust, now.gas_heat / gas.GAS_CONSTANT)
        air.outlet = air.outlet + (settled - air.outlet) * DT_S / (
            DT_S + machines["outlet_m3"] * now.exhaust / now.ambient
        )
        self._feed(now, air, feed, empty)
        self._warm(now, air, blown)
        self._shake(white)

    def _hysteresis(self, vacuum_pa: gas.Array) -> gas.Array:
        """Factor of the regulator's opening: it hangs behind the vacuum like a part with play."""
        vacuum = vacuum_pa / 1000
        play = np.asarray(self._quirks.hysteresis_kpa)
        self._turned_kpa = np.minimum(np.maximum(self._turned_kpa, vacuum - play), vacuum + play)
        factor: gas.Array = 1 + self._quirks.hysteresis * (vacuum - self._turned_kpa) / play
        return factor

    def _feed(self, now: "_Rows", air: Pressures, feed: gas.Array, empty: NDArray[np.bool_]) -> None:
        """Carry crystals and fluid from the jar to the canister, and dust onto the filter."""
        vacuum = now.ambient - air.handpiece
        lifted = np.minimum(np.maximum(vacuum / 1000 - _FEED_FROM_KPA, 0.0) / _FEED_OVER_KPA, 1.0)
        feed_air = feed * now.ambient * np.sqrt(2 / now.gas_heat * gas.discharge(vacuum / now.ambient))
        rate = 1000 * self._quirks.crystal_loading * feed_air * lifted * now.clear * ~empty
        treating = (now.contact > 0) & self._running
        carried = np.minimum((rate + np.where(treating & ~empty, now.fluid, 0.0)) * DT_S, np.maximum(self.jar_g, 0.0))
        self.jar_g -= carried
        self.canister_g += carried
        self.dust_kg += np.where(treating, now.dust, 0.0) * (DT_S / 1000)
        self._noise_kpa = self._quirks.feed_noise_kpa * np.minimum(rate / _CRYSTALS_G_PER_S, 1.0)

    def _warm(self, now: "_Rows", air: Pressures, blown: gas.Array) -> None:
        """Heat the pump, and let the thermal cut-out decide."""
        machines = self._machines
        friction = machines["friction_w"] * now.friction
        power = motor.electrical_power(air.gas_power, friction, self.speed, machines["motor_efficiency"])
        heat = np.where(self._running, motor.heating_power(power, air.gas_power), 0.0)
        resistance = motor.thermal_resistance(machines["thermal_k_per_w"], gas.standard_lpm(blown), now.cooling)
        self.rise_k += (heat - self.rise_k / resistance) * (DT_S / machines["thermal_j_per_k"])
        winding = now.room_c + self.rise_k
        self.is_tripped = (winding > machines["trip_c"]) | (self.is_tripped & (winding > machines["reset_c"]))
        self._power = np.asarray(power)

    def _shake(self, white: gas.Array) -> None:
        """Move the feed noise on: white noise between 0.5 and 5 Hz, of rms 1 times its amplitude."""
        self._noise[0] += (1 - _FAST) * (white - self._noise[0])
        self._noise[1] += (1 - _SLOW) * (white - self._noise[1])
        self._shaken_kpa = self._noise_kpa * (self._noise[0] - self._noise[1]) / _NOISE_RMS

    def _trace(self, trace: Signals, at: int) -> None:
        air = self._air
        assert air is not None
        share = self._quirks.feed_noise_share * self._shaken_kpa
        trace["handpiece"][at] = air.handpiece - 1000 * self._shaken_kpa
        trace["canister"][at] = air.canister - 1000 * share
        trace["inlet"][at] = air.inlet - 1000 * share
        trace["outlet"][at] = air.outlet
        trace["through_filter"][at] = air.through_filter
        trace["through_pump"][at] = air.through_pump
        trace["power"][at] = self._power
        trace["running"][at] = self._running
        trace["rise"][at] = self.rise_k
        trace["jar"][at] = self.jar_g
        trace["waste"][at] = self.canister_g
        trace["index"][at] = self._index


_TRACED = (
    "handpiece",
    "canister",
    "inlet",
    "outlet",
    "through_filter",
    "through_pump",
    "power",
    "running",
    "rise",
    "jar",
    "waste",
    "index",
)


class _Rows(NamedTuple):
    """The control and the machines, step by step: each (steps, n), or (n,) for one step. SI units; areas effective."""

    pump_on: gas.Array
    contact: gas.Array
    ambient: gas.Array
    mains_v: gas.Array
    room_c: gas.Array
    gas_heat: gas.Array
    tip: gas.Array
    feed: gas.Array
    clear: gas.Array
    path: gas.Array
    leak_dirty: gas.Array
    leak_clean: gas.Array
    bleed: gas.Array
    linear: gas.Array
    filter_load: gas.Array
    quadratic: gas.Array
    exhaust: gas.Array
    swept: gas.Array
    valve_leak: gas.Array
    speed: gas.Array
    friction: gas.Array
    cooling: gas.Array
    dust: gas.Array
    fluid: gas.Array


def _rows(machines: Mapping[str, gas.Array], control: Control, shape: tuple[int, int]) -> _Rows:
    """Everything that does not depend on the state, once for the whole call."""
    m = Machine(**{**machines, **control.changes})
    temperature = np.asarray(control.room_c) + 273.15
    tip = np.asarray(control.tip)
    opening = np.where(tip == OPEN, 1.0, np.where(tip == CONTACT, 1 - np.asarray(m.seal), 0.0))
    fitted = np.maximum(1 - np.asarray(m.filter_missing), 0.01)  # some resistance is always left
    rows = _Rows(
        pump_on=np.asarray(control.pump_on, dtype=np.float64),
        contact=(tip == CONTACT).astype(np.float64),
        ambient=np.asarray(control.ambient_pa),
        mains_v=np.asarray(control.mains_v),
        room_c=np.asarray(control.room_c),
        gas_heat=gas.GAS_CONSTANT * temperature,
        tip=m.tip_cd * m.tip_m2 * opening,
        feed=m.feed_cd * m.feed_m2 * m.feed_area * np.asarray(control.feed_open, dtype=np.float64),
        clear=np.square(np.clip(m.feed_area, 0.0, 1.0)),
        path=np.maximum(m.return_cd * m.return_m2 * m.return_area, 1e-10),
        leak_dirty=np.asarray(m.leak_cd * m.leak_dirty_m2),
        leak_clean=np.asarray(m.leak_cd * m.leak_clean_m2),
        bleed=np.asarray(m.bleed_cd * m.bleed_m2),
        linear=np.asarray(fitted * filters.resistance(m.filter_r1, 0.0, temperature)),
        filter_load=np.asarray(m.filter_load),
        quadratic=np.asarray(fitted * m.filter_r2),
        exhaust=np.asarray(filters.resistance(m.exhaust_r1, m.exhaust_load, temperature)),
        swept=np.asarray(m.displacement_m3s * m.displacement),
        valve_leak=np.asarray(m.valve_leak),
        speed=np.asarray(motor.relative_speed(np.asarray(control.mains_v) / m.mains_nominal_v, m.slip)),
        friction=np.asarray(m.friction),
        cooling=np.asarray(m.cooling),
        dust=np.asarray(control.dust_g_per_s),
        fluid=np.asarray(control.fluid_g_per_s),
    )
    return _Rows._make(np.broadcast_to(np.asarray(row, dtype=np.float64), shape) for row in rows)


def _at_rest(ambient: gas.Array) -> Pressures:
    zero = np.zeros_like(ambient)
    return Pressures(ambient.copy(), ambient.copy(), ambient.copy(), ambient.copy(), zero, zero, zero)


def _follow_weather(air: Pressures, ambient: gas.Array) -> None:
    """The room's pressure has fallen since the last call: no machine keeps more than that."""
    for name in ("handpiece", "canister", "inlet"):
        setattr(air, name, np.minimum(getattr(air, name), ambient))


def _signals(trace: Signals, rows: _Rows, machines: Mapping[str, gas.Array]) -> Signals:
    running = trace["running"] > 0
    share = rows.mains_v / machines["mains_nominal_v"]
    current = motor.current(trace["power"], rows.mains_v, machines["magnetising_a"], share)
    return {
        "vacuum_inlet_kpa": (rows.ambient - trace["inlet"]) / 1000,
        "vacuum_handpiece_kpa": (rows.ambient - trace["handpiece"]) / 1000,
        "filter_dp_kpa": (trace["canister"] - trace["inlet"]) / 1000,
        "exhaust_dp_kpa": (trace["outlet"] - rows.ambient) / 1000,
        "flow_lpm": np.asarray(gas.standard_lpm(trace["through_filter"])),
        "motor_current_a": np.where(running, current, 0.0),
        "pump_temp_c": rows.room_c + trace["rise"],
        "crystal_jar_g": trace["jar"],
        "canister_g": trace["waste"],
        "pump_on": trace["running"],
        "ambient_kpa": rows.ambient / 1000,
        "mains_v": np.array(rows.mains_v),
        "ambient_temp_c": np.array(rows.room_c),
        "vacuum_canister_kpa": (rows.ambient - trace["canister"]) / 1000,
        "pump_flow_lpm": np.asarray(gas.standard_lpm(np.maximum(trace["through_pump"], 0.0))),
        "filter_index": trace["index"],
    }
