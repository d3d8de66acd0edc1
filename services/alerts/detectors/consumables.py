"""Faults of what is used up: crystals in the jar and room in the waste canister, by weight and by the air path."""

from collections.abc import Iterator

from dermafleet.physics.gas import Real
from dermafleet.physics.machine import EMPTY_JAR_FEED, Machine
from services.alerts.diagnosis.hypothesis import Hypothesis, falling, rising
from services.alerts.features.types import SessionFeatures
from services.alerts.limits import Limits

CRYSTALS = "crystals_low"
CANISTER = "canister_full"
EMPTIED = 3
"""Severity of a jar from which nothing is drawn, and nothing heard, whatever the feed."""
FULL = 3
"""Severity from which a canister throws what it should hold at the filter."""


def _empty_jar(machine: Machine, level: Real) -> Machine:
    return machine.with_(feed_area=machine.feed_area * EMPTY_JAR_FEED + 0.0 * level)


def _full_canister(machine: Machine, level: Real) -> Machine:
    return machine.with_(filter_load=machine.filter_load + 0.0 * level)


CRYSTALS_LEFT = Hypothesis(
    CRYSTALS,
    "share of the jar",
    (0.0,),
    0.0,
    _empty_jar,
    falling((0.25, 1), (0.1, 2), (0.02, 3)),
    needs=(frozenset({"crystal_jar_g"}),),
    architectures=("crystal",),
    feed=0.0,
)
CANISTER_FILLED = Hypothesis(
    CANISTER,
    "share of the canister",
    (1.0,),
    1.0,
    _full_canister,
    rising((0.8, 2), (0.97, 3)),
    needs=(frozenset({"canister_g"}),),
    architectures=("crystal", "hydra"),
)
HYPOTHESES = (CRYSTALS_LEFT, CANISTER_FILLED)

EMPTY = 0.02
"""Share of the jar that the load cell cannot tell from nothing."""
OVERFULL = 1.05
"""Share of the canister with which a treatment must not end, however it began."""


def weigh(features: SessionFeatures, limits: Limits) -> Iterator[tuple[str, int, float, str]]:
    """What the load cells say after a session: fault, severity (0 = not there), share of the capacity, reason.

    A jar is judged as it was when the treatment began: whoever starts with less than a quarter did not refill it. Only
    an empty one is judged at the end too.
    """
    first, last = features.values.get("crystal_jar_first_g"), features.values.get("crystal_jar_last_g")
    if limits.jar_g and first is not None and last is not None:
        began, ended = first / limits.jar_g, last / limits.jar_g
        share = ended if ended <= EMPTY else began
        severity = CRYSTALS_LEFT.severity(share)
        yield CRYSTALS, severity, round(share, 3), f"{max(share, 0.0):.0%} of the crystal jar left"
    first, last = features.values.get("canister_first_g"), features.values.get("canister_last_g")
    if limits.canister_g and first is not None and last is not None:
        began, ended = first / limits.canister_g, last / limits.canister_g
        share = ended if ended >= OVERFULL else began
        yield CANISTER, CANISTER_FILLED.severity(share), round(share, 3), f"waste canister {share:.0%} full"
