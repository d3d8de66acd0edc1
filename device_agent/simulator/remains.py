"""What is left of a machine's past when it goes live: dust, wear, masses and what is wrong with it."""

from dataclasses import replace
from pathlib import Path

import msgspec

from device_agent.simulator.faults import Scheduled
from device_agent.simulator.life import Life

_FILE_NAME = "past.json"
_BEFORE = -1
"""A session before the first one: what is wrong was wrong before."""


class _CircuitRemains(msgspec.Struct, frozen=True):
    """``dust`` in the units of `CircuitLife.unit_g`."""

    dust: float
    exhaust_load: float
    hours: float


class Remains(msgspec.Struct, frozen=True):
    """A machine at the end of its past."""

    circuits: list[_CircuitRemains]
    jar_g: float
    canister_g: float
    faults: list[Scheduled]

    def apply(self, life: Life) -> None:
        """Let a machine that was just begun go on from here."""
        for circuit, left in zip(life.circuits, self.circuits, strict=True):
            circuit.dust_g = left.dust * circuit.unit_g
            circuit.exhaust_load, circuit.hours = left.exhaust_load, left.hours
        life.jar_g, life.canister_g = self.jar_g, self.canister_g
        life.suffer(self.faults)


def remains_of(life: Life) -> Remains:
    """What is left of a machine now; a fault stays as severe as it is."""
    levels = ((each, each.level_at(life.treatments)) for each in life.schedule)
    return Remains(
        circuits=[
            _CircuitRemains(dust=each.dust_g / each.unit_g, exhaust_load=each.exhaust_load, hours=each.hours)
            for each in life.circuits
        ],
        jar_g=life.jar_g,
        canister_g=life.canister_g,
        faults=[
            replace(each, level=level, onset=_BEFORE, onset_s=0.0, growing=0, growing_s=0.0)
            for each, level in levels
            if level is not None
        ],
    )


def write_remains(folder: Path, remains: Remains) -> None:
    """Keep it in a machine's folder: its past is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{_FILE_NAME}-part"
    unfinished.write_bytes(msgspec.json.encode(remains))
    unfinished.rename(folder / _FILE_NAME)


def read_remains(folder: Path) -> Remains | None:
    """None: the machine has no past, or not all of it."""
    file = folder / _FILE_NAME
    return msgspec.json.decode(file.read_bytes(), type=Remains) if file.exists() else None
