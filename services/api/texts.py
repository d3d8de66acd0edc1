"""What alarms say to people: a title and a statement in plain English, made from the fault and its numbers.

A statement says what was found, how sure that is, and what to do. A number that is missing leaves its sentence out.
"""

from collections.abc import Callable, Mapping
from typing import Literal

Detail = Mapping[str, object]

SeverityName = Literal["info", "advisory", "service due", "fault", "stop"]
SEVERITIES: tuple[SeverityName, ...] = ("info", "advisory", "service due", "fault", "stop")

UNSURE = 0.7
"""Below this confidence an alarm asks to check first."""

_TITLES = {
    "filter_clogged": "Intake filter clogged",
    "evaluation_blocked": "Evaluation waits for missing data",
}


def title_of(fault: str) -> str:
    """The fault in a few words; of an unknown one, its code made readable."""
    return _TITLES.get(fault) or fault.replace("_", " ").capitalize()


def statement_of(fault: str, severity: int, confidence: float, detail: Detail) -> str:
    """The alarm in a few sentences."""
    write = _STATEMENTS.get(fault)
    found = write(severity, detail) if write else f"{title_of(fault)}: see the detail of this alarm."
    doubt = f" This is not certain ({confidence:.0%}): check before you replace a part." if confidence < UNSURE else ""
    return found + doubt


def _filter_clogged(severity: int, detail: Detail) -> str:
    ratio, drop, limit, flow = (_number(detail, name) for name in ("ratio", "dp_kpa", "limit_kpa", "flow_lpm"))
    share = "" if ratio is None else f" at {ratio:.0%} of its rated limit"
    measured = "" if drop is None else f": {drop:.2f} kPa measured" + ("" if flow is None else f" at {flow:.0f} L/min")
    rated = "" if drop is None or limit is None else f", {limit:.2f} kPa allowed at rated flow"
    action = (
        "Replace the filter before the next session."
        if severity >= 3
        else "Plan to replace the filter within three days."
    )
    return f"The pressure drop across the intake filter is{share or ' too high'}{measured}{rated}. {action}"


def _evaluation_blocked(_severity: int, _detail: Detail) -> str:
    return (
        "Entries of this machine's log are missing, and what came after them is stored but not judged yet. "
        "Check that the machine is online; it sends what it still has by itself."
    )


_STATEMENTS: dict[str, Callable[[int, Detail], str]] = {
    "filter_clogged": _filter_clogged,
    "evaluation_blocked": _evaluation_blocked,
}


def _number(detail: Detail, name: str) -> float | None:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
