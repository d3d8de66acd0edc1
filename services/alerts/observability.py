"""Which faults could be seen on a device now, and why not the others: silence must not be taken for health.

Every fault code stands in it. One that a machine of this kind cannot have is not applicable, which is not healthy
either.
"""

from collections.abc import Callable, Mapping

import msgspec

from dermafleet.contracts.channels import fitted
from services.alerts.context import Context
from services.alerts.detectors import channels, health, motor, over_vacuum, supply
from services.alerts.detectors.frames import NAMES
from services.alerts.findings import Observability
from services.alerts.limits import MAIN, Architecture

Sight = tuple[bool, str, tuple[str, ...]]
"""Whether a fault is observable, why not, and with which faults it would be confused."""

Slow = Callable[[frozenset[str], bool], Mapping[str, Sight]]
"""What diagnosis sees by these channels, with or without self-tests: fault → `Sight`."""

VERSION = 1
SELF_TEST_MS = 30 * 86_400_000
"""A self-test older than this says nothing about today."""
UNKNOWN = "is not judged on this machine"

FILTER = "filter_clogged"
SLOW = (
    FILTER,
    "exhaust_clogged",
    "return_path_blocked",
    "feed_blocked",
    "leak_dirty_side",
    "leak_clean_side",
    "canister_full",
    "pump_worn",
    "pump_valve_leak",
    "regulator_shut",
    "regulator_open",
    "filter_missing",
    "crystals_low",
    "liquid_blocked",
)
_FAST: Mapping[str, tuple[frozenset[str], ...]] = {
    **motor.NEEDS,
    **supply.NEEDS,
    **channels.NEEDS,
    **over_vacuum.NEEDS,
}
FAULTS = (*SLOW, *_FAST)

_ABSENT: Mapping[Architecture, Mapping[str, str]] = {
    "crystal": {"liquid_blocked": "no liquid"},
    "diamond": {
        "feed_blocked": "no crystal feed",
        "crystals_low": "no crystals",
        "canister_full": "no waste to speak of",
        "liquid_blocked": "no liquid",
    },
    "hydra": {"crystals_low": "no crystals"},
    "bench": {fault: "nothing but a filter" for fault in FAULTS if fault != FILTER},
}
"""What a machine of each architecture has not, and so cannot fail in."""


class State(msgspec.Struct):
    """What is remembered between entries.

    Attributes:
        self_test_ms: event time of the last self-test; None = there was none.
        key: what the last matrix was made of.
        told: the last matrix, by fault.
    """

    version: int = VERSION
    self_test_ms: int | None = None
    key: str = ""
    told: dict[str, Observability] = {}


def note_self_test(state: State, at_ms: int) -> None:
    """A session of purpose self_test has ended."""
    state.self_test_ms = max(at_ms, state.self_test_ms or at_ms)


def take(
    state: State, sensors: health.State, context: Context, *, slow: Slow, at_ms: int, component: str = MAIN
) -> list[Observability]:
    """What has become observable or ceased to be since the last call; changes `state`.

    Args:
        sensors: of the component's sensors, after the entry's samples.
        slow: what diagnosis sees; asked only when channels or self-tests have changed.
        at_ms: event time of the entry's last sample.
    """
    troubles = _troubles(sensors, context)
    is_tested = state.self_test_ms is not None and at_ms - state.self_test_ms <= SELF_TEST_MS
    key = repr((sorted(troubles.items()), is_tested, context.profile, context.limits))
    if key == state.key:
        return []
    state.key = key
    matrix = _matrix(troubles, context, slow, is_tested=is_tested, component=component)
    changes = [each for each in matrix if state.told.get(each.fault) != each]
    state.told = {each.fault: each for each in matrix}
    return changes


def _troubles(sensors: health.State, context: Context) -> dict[str, str]:
    """Channel → why it is of no use now; those that are fine are absent."""
    names = {channel.name for channel in fitted(context.profile)}
    troubles = {}
    for name, seen in zip(NAMES, sensors.seen, strict=True):
        if name not in names:
            troubles[name] = f"is not fitted in profile {context.profile}"
        elif fault := sensors.suspects.get(name):
            troubles[name] = _SAYS[fault]
        elif not seen:
            troubles[name] = "has never reported a value"
        elif name in sensors.absent:
            troubles[name] = "is missing, with others"
    return troubles


_SAYS = {health.RAIL: "is at its rail or missing", health.STUCK: "is stuck", health.DRIFT: "has drifted"}


def _matrix(
    troubles: Mapping[str, str], context: Context, slow: Slow, *, is_tested: bool, component: str
) -> list[Observability]:
    limits = context.limits
    absent = _ABSENT[limits.architecture]
    trusted = frozenset(NAMES) - troubles.keys()
    profile = {channel.name for channel in fitted(context.profile)}
    now = slow(trusted, is_tested)
    whole = slow(frozenset(profile), is_tested)
    tested = now if is_tested else slow(trusted, True)
    matrix = []
    for fault in FAULTS:
        if fault in absent:
            sight: Sight = (False, f"not applicable: it has {absent[fault]}", ())
        elif fault == FILTER and limits.filter_dp_kpa is None:
            sight = (False, "the model states no rated limit of the filter", ())
        elif fault in _FAST:
            sight = _see_fast(fault, troubles, context)
        else:
            sight = _see_slow(fault, troubles, (now, whole, tested))
        is_observable, reason, ambiguous_with = sight
        matrix.append(Observability(component, fault, is_observable, reason, tuple(ambiguous_with)))
    return matrix


def _see_fast(fault: str, troubles: Mapping[str, str], context: Context) -> Sight:
    limits = context.limits
    if fault == over_vacuum.FAULT and limits.over_vacuum_kpa is None and limits.over_vacuum_margin_kpa is None:
        return False, "the model states no limit of the vacuum", ()
    needs = _FAST[fault]
    for choice, need in enumerate(needs):
        if not need & troubles.keys():
            is_ambiguous = fault == over_vacuum.FAULT and choice > 0
            return True, "", tuple(each for each in over_vacuum.AMBIGUOUS if each != fault) if is_ambiguous else ()
    nearest = min(needs, key=lambda need: len(need & troubles.keys()))
    return False, _because(nearest & troubles.keys(), troubles), ()


def _see_slow(
    fault: str,
    troubles: Mapping[str, str],
    sights: tuple[Mapping[str, Sight], Mapping[str, Sight], Mapping[str, Sight]],
) -> Sight:
    """By what diagnosis says of the present state, of the machine with all its sensors well, and of one just tested."""
    nothing: Sight = (False, UNKNOWN, ())
    now, whole, tested = (sight.get(fault, nothing) for sight in sights)
    if now[0]:
        return now
    if whole[0]:
        lame = {name for name, trouble in troubles.items() if not trouble.startswith("is not fitted")}
        return False, _because(lame, troubles), ()
    if tested[0]:
        return False, "there was no self-test for 30 days", ()
    return now


def _because(names: set[str] | frozenset[str], troubles: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {troubles[name]}" for name in NAMES if name in names)
