"""What to simulate, stated in one frozen record; everything random follows from its seeds."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from dermafleet.contracts.channels import Profile
from device_agent.simulator.clinic import EVALUATED
from device_agent.simulator.faults import Scheduled


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Machines of one model over some days.

    Any machine of a plan is made again, alone, by ``replace(plan, machine_seeds=(seed,))``; its seed is in its id.

    Attributes:
        seed: of the plan; the machines' seeds follow from it.
        machines: how many.
        machine_seeds: exactly these machines instead; empty = ``machines`` drawn ones.
        model, profile: profile None = the model's own; a smaller one drops channels and changes nothing else.
        first_day, days: opening days of each machine's clinic from this day on.
        sessions_per_day: treatments, at least and at most.
        pump_s: pump time of a treatment, varied by a tenth.
        clinics: keys; each machine stands in one of them.
        idle: also the samples of the powered but idle machine, one a minute.
        self_tests: share of the days that begin with a self-test.
        change_filter_at: filter index from which the operator changes the intake filter before the next treatment.
        told: share of changes that are recorded at the machine.
        faults: what each machine gets.
        nuisances: other operators, poor seals, changing set points and tips, weather, mains drift and sags; without,
            one careful operator at sea level, 40 kPa and steady mains.
        is_drawn: parameters and structure differ from the maker's by up to 15 %; False = every machine is nominal.
        dust: factor of the fines per treatment.
        start_used: filters begin with some dust and machines with some hours; False = all new.
    """

    seed: int = 1
    machines: int = 1
    machine_seeds: tuple[int, ...] = ()
    model: str = "crystal-m1"
    profile: Profile | None = None
    first_day: date = date(2026, 1, 5)
    days: int = 5
    sessions_per_day: tuple[int, int] = (4, 8)
    pump_s: float = 1500.0
    clinics: tuple[str, ...] = EVALUATED
    idle: bool = False
    self_tests: float = 1.0
    change_filter_at: float = 4.0
    told: float = 1.0
    faults: tuple[Scheduled, ...] = ()
    nuisances: bool = True
    is_drawn: bool = True
    dust: float = 1.0
    start_used: bool = True

    def seeds(self) -> tuple[int, ...]:
        """The machines' seeds, below 2^48."""
        if self.machine_seeds:
            return self.machine_seeds
        return tuple(
            int(word) >> 16 for word in np.random.SeedSequence(self.seed).generate_state(self.machines, np.uint64)
        )


def device_id_of(seed: int) -> str:
    return f"SIM-{seed:012x}"


def seed_of(device_id: str) -> int:
    """The seed in the id of a simulated machine."""
    return int(device_id.removeprefix("SIM-"), 16)
