"""Logs of one machine over several epochs, what is lost of them, and what of that arrives after all."""

from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

from tests.unit.alerts.machine import Item, Machine

_RATIOS = (0.2, 0.5, 0.7, 0.9, 1.3)
_LOADS = (0.0, 4.0, 12.0, 20.0)
_STEPS = ("block",) * 4 + ("treatment",) * 3 + ("session", "checkpoint", "drop", "service")


@dataclass(frozen=True)
class Case:
    """A log, what of it is lost and what of that arrives after all; `low` is the oldest entry on the device's disk."""

    log: list[Item]
    lost: frozenset[tuple[str, int]]
    late: list[Item]
    low: tuple[str, int]

    @property
    def kept(self) -> list[Item]:
        return [item for item in self.log if (item.epoch, item.seq) not in self.lost]


def make_case(random: Random) -> Case:
    """A random log; the same for the same choices."""
    machine = Machine()
    lost: list[Item] = []
    for number in range(random.randint(1, 3)):
        machine.open()
        for _ in range(random.randint(1, 10)):
            match random.choice(_STEPS):
                case "session":
                    machine.session("start", f"s{number}")
                    machine.session("end", f"s{number}", 60.0)
                case "treatment":
                    machine.treat(f"t{len(machine.log)}", load=random.choice(_LOADS))
                case "service":
                    machine.maintain(random.choice(["FILTER_INTAKE_REPLACED", "PUMP_KIT_REPLACED", "CANISTER_EMPTIED"]))
                case "checkpoint":
                    machine.session("checkpoint", f"s{number}", 30.0)
                case "drop":
                    blocks = [item for item in machine.log if item.kind == "telemetry" and item not in lost]
                    gone = random.sample(blocks, k=min(len(blocks), random.randint(0, 3)))
                    machine.drop(gone)
                    lost += gone
                case _:
                    machine.block([random.choice(_RATIOS)] * 8)
    first = [item for item in machine.log if item.epoch == machine.log[0].epoch]
    low = random.choice([1, 1, 1, min(3, len(first))])
    lost += [item for item in first if item.seq < low and item not in lost]
    late = random.sample(lost, k=random.randint(0, len(lost)))
    return Case(machine.log, frozenset((item.epoch, item.seq) for item in lost), late, (first[0].epoch, low))


def cases() -> st.SearchStrategy[Case]:
    return st.builds(make_case, st.randoms(use_true_random=False))
