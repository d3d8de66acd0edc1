"""What alarms say to people: a title and a statement in plain English, made from the fault and its numbers.

A statement says what was found, how sure that is, and what to do. A number that is missing leaves its sentence out.
Where the machine's sensors cannot tell faults apart, title and statement name all of them.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from services.api.faults import FAULTS

Detail = Mapping[str, object]

SeverityName = Literal["info", "advisory", "service due", "fault", "stop"]
SEVERITIES: tuple[SeverityName, ...] = ("info", "advisory", "service due", "fault", "stop")

UNSURE = 0.7
"""Below this confidence an alarm asks to check first."""
RULE_PREFIX = "rule_"
"""Of the faults that users' rules raise."""
LEAST_LIKELY = 0.1
"""Candidates below this probability are listed but not named in a title."""


def title_of(fault: str, candidates: Mapping[str, float] | None = None, detail: Detail | None = None) -> str:
    """The fault in a few words, with those it may be instead; of an unknown one, its code made readable.

    Args:
        detail: of the alarm; a user's rule has its own name there.
    """
    if fault.startswith(RULE_PREFIX) and (name := (detail or {}).get("rule")):
        return str(name)
    named = _named(fault, candidates or {})
    if len(named) == 1:
        return _title(fault)
    parts, states = [], set()
    for each in named:
        parts.append(FAULTS[each].part if each in FAULTS else _title(each).lower())
        states.add(FAULTS[each].state if each in FAULTS else "")
    if len(states) == 1 and len(set(parts)) > 1:
        return f"{_either(list(dict.fromkeys(parts)))} {states.pop()}".strip().capitalize()
    return _either([_title(each).lower() for each in named]).capitalize()


def statement_of(
    fault: str, severity: int, confidence: float, detail: Detail, candidates: Mapping[str, float] | None = None
) -> str:
    """The alarm in a few sentences."""
    write = _STATEMENTS.get(fault, _rule if fault.startswith(RULE_PREFIX) else _plain)
    text = write(fault, severity, detail)
    named = _named(fault, candidates or {})
    if len(named) > 1:
        others = _either([_title(each).lower() for each in named if each != fault])
        text += f" The sensors of this machine cannot tell it from: {others}."
    if confidence < UNSURE:
        text += f" This is not certain ({confidence:.0%}): check before you replace a part."
    return text


def candidates_of(detail: Detail) -> dict[str, float]:
    """The ambiguity set in an alarm's detail, most probable first; empty if there is no doubt about the name."""
    found = detail.get("candidates")
    if not isinstance(found, Mapping):
        return {}
    rated = {str(name): float(p) for name, p in found.items() if isinstance(p, int | float)}
    return dict(sorted(rated.items(), key=lambda item: (-item[1], item[0])))


def _named(fault: str, candidates: Mapping[str, float]) -> list[str]:
    """The fault and what it may be instead, the fault first."""
    return [fault, *(name for name, p in candidates.items() if name != fault and p >= LEAST_LIKELY)]


def _title(fault: str) -> str:
    known = FAULTS.get(fault)
    return known.title if known else fault.replace("_", " ").capitalize()


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _plain(fault: str, _severity: int, detail: Detail) -> str:
    known = FAULTS.get(fault)
    if known is None:
        return f"{_title(fault)}: see the detail of this alarm."
    return f"{known.found} {known.action}"


def _filter_clogged(fault: str, severity: int, detail: Detail) -> str:
    ratio, drop, limit, flow = (_number(detail, name) for name in ("ratio", "dp_kpa", "limit_kpa", "flow_lpm"))
    if ratio is None and drop is None:
        return f"With the tip open the pump needs more vacuum than with a clean filter. {_when(severity)}"
    share = "" if ratio is None else f" at {ratio:.0%} of its rated limit"
    measured = "" if drop is None else f": {drop:.2f} kPa measured" + ("" if flow is None else f" at {flow:.0f} L/min")
    rated = "" if drop is None or limit is None else f", {limit:.2f} kPa allowed at rated flow"
    return f"The pressure drop across the intake filter is{share or ' too high'}{measured}{rated}. {_when(severity)}"


def _when(severity: int) -> str:
    if severity >= 3:
        return "Replace the filter before the next session."
    return "Plan to replace the filter within three days." if severity == 2 else "Have a new filter ready."


def _over_vacuum(fault: str, severity: int, detail: Detail) -> str:
    vacuum, limit = _number(detail, "vacuum_kpa"), _number(detail, "limit_kpa")
    measured = "" if vacuum is None else f": {vacuum:.1f} kPa"
    allowed = "" if vacuum is None or limit is None else f", {limit:.1f} kPa allowed"
    return f"{FAULTS[fault].found}{measured}{allowed}. {FAULTS[fault].action}"


def _sensor(fault: str, severity: int, detail: Detail) -> str:
    channels = detail.get("channels") or [detail.get("channel")]
    names = [str(name) for name in channels if name] if isinstance(channels, list | tuple) else []
    which = f" Channel: {', '.join(names)}." if names else ""
    return f"{FAULTS[fault].found}{which} What needs it is not observable until then. {FAULTS[fault].action}"


_STATEMENTS: dict[str, Callable[[str, int, Detail], str]] = {
    "filter_clogged": _filter_clogged,
    "over_vacuum": _over_vacuum,
    "sensor_drift": _sensor,
    "sensor_stuck": _sensor,
    "sensor_rail": _sensor,
}


def _rule(fault: str, severity: int, detail: Detail) -> str:
    """The rule's own message, and the number that made it speak."""
    message, quantity = detail.get("message"), detail.get("quantity")
    value, level = _number(detail, "value"), _number(detail, "level")
    if not message:
        return _plain(fault, severity, detail)
    measured = "" if quantity is None or value is None else f" {quantity} was {value:.6g}"
    allowed = f"; the rule's level is {level:.6g}." if measured and level is not None else "." if measured else ""
    return f"{message}{measured}{allowed}"


def _number(detail: Detail, name: str) -> float | None:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
