"""What a simulated machine is given, by name: a name and a machine's id make the same machine again.

A case is written ``FAULT[=LEVEL][~SESSIONS]``, several joined by ``+``, then ``@MODEL`` or ``@MODEL/COMPONENT``:
``leak_dirty_side``, ``filter_clogged=16+leak_dirty_side``, ``pump_worn~4`` (growing over four sessions),
``exhaust_clogged@crystal-duo/second``, ``healthy@hydra``. Without a level it is the medium one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dermafleet.errors import SettingError
from device_agent.simulator import models
from device_agent.simulator.faults import FAULTS, UNTOLD, Scheduled
from device_agent.simulator.plan import Plan
from services.alerts.limits import MAIN, Limits, decode_limits

HEALTHY = "healthy"
CRYSTAL, DIAMOND, HYDRA, DUO = "crystal-m1", "diamond", "hydra", "crystal-duo"

PUMP_S = 200.0
"""Of a treatment, in place of 25 min: strokes, lifts, set points and pauses are the same, there are fewer of them."""
ONSET = 5
"""Treatments without the fault before it: more than the learning window of three."""
DAYS, A_DAY = 3, 3
"""Opening days of a run, and treatments a day; each day begins with a self-test."""

SLOW_PUMP_S, SLOW_ONSET, SLOW_DAYS = 1500.0, 3, 2
"""The same of `SLOW` faults."""
SLOW = frozenset({"motor_overheated"})
"""A pump warms with a time constant of a quarter of an hour: in short treatments it does not overheat."""

SINGLE = tuple(code for code in FAULTS if code not in UNTOLD)
_NETWORK = tuple(code for code in SINGLE if FAULTS[code].kind == "machine" and code not in SLOW)

PAIRS = (
    "filter_clogged=16+leak_dirty_side",
    "filter_clogged=13+pump_worn",
    "filter_clogged=13+return_path_blocked",
    "feed_blocked+leak_dirty_side",
    "leak_clean_side+pump_worn",
    "exhaust_clogged+pump_valve_leak",
    "regulator_open+filter_clogged=10",
    "mains_low+leak_dirty_side",
)
GROWING = tuple(f"{code}~4" for code in _NETWORK if code != "liquid_blocked")
"""The whole way to the medium level within a run, learning window and all."""


@dataclass(frozen=True, slots=True)
class Case:
    """A parsed name.

    Attributes:
        faults: codes, empty = healthy. component: that has them.
        scheduled: the same for the simulator.
    """

    name: str
    faults: tuple[str, ...]
    model: str
    component: str
    scheduled: tuple[Scheduled, ...]

    @property
    def is_slow(self) -> bool:
        return not SLOW.isdisjoint(self.faults)

    def plan(self, seed: int, machines: int, pump_s: float = PUMP_S) -> Plan:
        """Machines with this case; with every nuisance. ``pump_s``: of a treatment, more for `SLOW` faults."""
        return Plan(
            seed=seed,
            machines=machines,
            model=self.model,
            days=SLOW_DAYS if self.is_slow else DAYS,
            sessions_per_day=(A_DAY, A_DAY),
            pump_s=SLOW_PUMP_S if self.is_slow else pump_s,
            faults=self.scheduled,
        )


_FAULT = re.compile(r"(?P<code>[a-z_]+)(=(?P<level>[-\d.]+))?(~(?P<growing>\d+))?")


@lru_cache(maxsize=256)
def case_of(name: str) -> Case:
    """Raises SettingError for what is not written like a case, or names a fault or model that is not simulated."""
    parts, _, place = name.partition("@")
    model, _, component = place.partition("/")
    found = [] if parts == HEALTHY else [_FAULT.fullmatch(part) for part in parts.split("+")]
    codes = tuple(each["code"] for each in found if each is not None)
    if len(codes) < len(found):
        raise SettingError(f"case {name!r}: write it like leak_dirty_side=0.5+pump_worn~4@diamond, or healthy")
    onset = ONSET if SLOW.isdisjoint(codes) else SLOW_ONSET
    scheduled = tuple(
        Scheduled(
            fault=each["code"],
            level=float(each["level"]) if each["level"] else None,
            onset=onset,
            growing=int(each["growing"] or 0),
            component=component or MAIN,
        )
        for each in found
        if each is not None
    )
    usual = HYDRA if "liquid_blocked" in codes else CRYSTAL
    return Case(name, codes, models.model_of(model or usual).id, component or MAIN, scheduled)


def others() -> tuple[str, ...]:
    """The faults of the air path on the other models, and healthy ones; of two circuits, the second has the fault."""
    return tuple(
        f"{code}@{place}"
        for place, architecture in _OTHERS.items()
        for code in (*_NETWORK, HEALTHY)
        if code == HEALTHY or architecture in FAULTS[code].architectures
    )


_OTHERS: Mapping[str, str] = {DIAMOND: "diamond", HYDRA: "hydra", f"{DUO}/second": "diamond"}


@lru_cache(maxsize=8)
def limits_of(model: str) -> Limits:
    """What the maker of a simulated model states."""
    return decode_limits(models.limits(models.model_of(model)))
