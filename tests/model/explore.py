"""Many random runs, and the shortest form of the first that breaks a promise."""

from dataclasses import dataclass
from random import Random

from tests.model.judge import find_violation
from tests.model.rules import DESIGN, Faults, Rules
from tests.model.world import World

STEPS = 120


@dataclass(frozen=True, slots=True)
class Failure:
    """How to see it again: ``fails(seed, steps, faults, rules)``."""

    seed: int
    steps: int
    faults: Faults
    reason: str


def explore(seeds: range, rules: Rules = DESIGN, faults: Faults | None = None) -> Failure | None:
    """The shortest form of the first run that breaks a promise, or None. Without ``faults`` each run draws its own."""
    for seed in seeds:
        chosen = faults or draw_faults(seed)
        if fails(seed, STEPS, chosen, rules):
            for steps in range(STEPS + 1):
                if reason := fails(seed, steps, chosen, rules):
                    return Failure(seed, steps, chosen, reason)
    return None


def fails(seed: int, steps: int, faults: Faults, rules: Rules = DESIGN) -> str | None:
    """Make one run; the promise it broke, or None."""
    world = World(seed, faults, rules)
    try:
        is_calm = world.run(steps)
    except AssertionError as error:
        return str(error)
    return find_violation(world, is_calm=is_calm)


def draw_faults(seed: int) -> Faults:
    rng = Random(seed)
    forget, clone, restore, evict, poison = (rng.random() < chance for chance in (0.4, 0.25, 0.35, 0.35, 0.3))
    return Faults(forget=forget, clone=clone, restore=restore, evict=evict, poison=poison)
