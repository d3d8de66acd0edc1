"""What a benchmark found: names with their unit in them, and values."""

from collections.abc import Mapping, Sequence
from statistics import median

Value = float | int | str | Mapping[str, float]
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
    """A line per value; of mappings, their items on one line."""
    width = max(map(len, result))
    return "\n".join(f"{name:{width}}  {_shown(value)}" for name, value in result.items())


def _shown(value: Value) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else value
