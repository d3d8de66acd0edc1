"""What a benchmark found: names with their unit in them, and values."""

import json
from collections.abc import Mapping, Sequence
from statistics import median

Value = float | int | str | Mapping[str, object]
Result = dict[str, Value]


def rounded(value: float, digits: int = 3) -> float | int:
    """A value with so many significant digits."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) else short


def percentiles(values: Sequence[float], unit: str) -> dict[str, float]:
    """Median, 99th percentile and maximum; ``unit`` ends their names."""
    ordered = sorted(values)
    last = len(ordered) - 1
    found = {"p50": median(ordered), "p99": ordered[min(int(0.99 * len(ordered)), last)], "max": ordered[last]}
    return {f"{name}_{unit}": rounded(value) for name, value in found.items()}


def table(result: Result) -> str:
    """A line per value; of mappings, their items on one line, or as JSON where they nest."""
    width = max(map(len, result))
    return "\n".join(f"{name:{width}}  {_shown(value)}" for name, value in result.items())


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        if any(isinstance(each, Mapping | list) for each in value.values()):
            return json.dumps(value, indent=2)
        return "  ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)
