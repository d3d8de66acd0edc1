"""Random numbers for many machines at once, such that each machine has a stream of its own.

A machine simulated alone sees the same noise as among hundreds of others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray


class Streams:
    """Speaks like a `numpy.random.Generator` whose last axis is the machines."""

    def __init__(self, seeds: Sequence[tuple[int, ...]]) -> None:
        """One stream per row; equal seeds give equal streams."""
        self._streams = [default_rng(SeedSequence(seed)) for seed in seeds]

    def spawn(self, count: int) -> list["Streams"]:
        """Further streams for the same rows."""
        spawned = [stream.spawn(count) for stream in self._streams]
        return [Streams._of([children[at] for children in spawned]) for at in range(count)]

    def standard_normal(self, shape: tuple[int, ...], dtype: type = np.float64) -> NDArray[np.floating]:
        """Normal numbers, (…, n), n being the number of rows."""
        *rest, count = shape
        if count != len(self._streams):
            raise ValueError(f"{count} rows asked of {len(self._streams)} streams")
        drawn: NDArray[np.floating] = np.empty((count, *rest), dtype)
        for row, stream in zip(drawn, self._streams, strict=True):
            stream.standard_normal(out=row, dtype=dtype)
        return np.ascontiguousarray(np.moveaxis(drawn, 0, -1))

    @classmethod
    def _of(cls, streams: list[Generator]) -> "Streams":
        made = cls([])
        made._streams = streams
        return made
