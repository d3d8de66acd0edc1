"""Load cells: what jar and canister weighed in the first and in the last minute of a session."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.alerts.features import signals
from services.alerts.observation import Floats

SPAN_MS = 15_000
SPANS = 4
"""A minute: the pump's vibration (5 g) averages out."""


class State(msgspec.Struct):
    """Spans of event time with their number of samples and sum (1/`signals.GRID` g).

    Attributes:
        first, last: the first and the last `SPANS` that had a value: (number of the span, samples, sum).
    """

    first: list[tuple[int, int, float]] = []
    last: list[tuple[int, int, float]] = []


def take(state: State, at_ms: NDArray[np.int64], grams: Floats) -> None:
    """Show samples; changes ``state``. Shapes (n,); NaN = not measured."""
    valid = np.flatnonzero(~np.isnan(grams))
    if not len(valid):
        return
    number = at_ms[valid] // SPAN_MS
    edges = signals.edges(number)
    sums = np.add.reduceat(signals.whole(grams[valid]), edges).tolist()
    counts = (np.append(edges[1:], len(valid)) - edges).tolist()
    for span in zip(number[edges].tolist(), counts, sums, strict=True):
        state.last = _append(state.last, span)[-SPANS:]
        state.first = _append(state.first, span)[:SPANS]


def first_and_last(state: State) -> tuple[float, float] | None:
    """Means over the first and the last minute, g; None = never measured."""
    return (_mean(state.first), _mean(state.last)) if state.first else None


def _append(spans: list[tuple[int, int, float]], span: tuple[int, int, float]) -> list[tuple[int, int, float]]:
    if spans and spans[-1][0] == span[0]:
        return [*spans[:-1], (span[0], spans[-1][1] + span[1], spans[-1][2] + span[2])]
    return [*spans, span]


def _mean(spans: list[tuple[int, int, float]]) -> float:
    return sum(total for _, _, total in spans) / sum(count for _, count, _ in spans) / signals.GRID
