"""Random numbers for many machines at once, such that each machine has a stream of its own.

A machine simulated alone sees the same noise as among hundreds of others, whatever happens to those.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray


class Streams:
    """Speaks like a `numpy.random.Generator` whose last axis is the machines."""

    def __init__(self, seeds: Sequence[tuple[int, ...]]) -> None:
        """One stream per row; equal seeds give equal streams."""
        self._seeds = tuple(seeds)
        self._children: list[Streams] = []
        self._streams: list[Generator] = []
        self.restart([0] * len(seeds))

    def restart(self, numbers: Sequence[int]) -> None:
        """Begin anew, with a stream that follows from each row's seed and number alone."""
        self._streams = [
            default_rng(SeedSequence((*seed, number))) for seed, number in zip(self._seeds, numbers, strict=True)
        ]
        for child in self._children:
            child.restart(numbers)

    def spawn(self, count: int) -> list["Streams"]:
        """Further streams for the same rows, which restart with this one."""
        spawned = [Streams([(*seed, number) for seed in self._seeds]) for number in range(count)]
        self._children += spawned
        return spawned

    def standard_normal(self, shape: tuple[int, ...], dtype: type = np.float64) -> NDArray[np.floating]:
        """Normal numbers, (…, n), n being the number of rows."""
        *rest, count = shape
        if count != len(self._streams):
            raise ValueError(f"{count} rows asked of {len(self._streams)} streams")
        drawn: NDArray[np.floating] = np.empty((count, *rest), dtype)
        for row, stream in zip(drawn, self._streams, strict=True):
            stream.standard_normal(out=row, dtype=dtype)
        return np.ascontiguousarray(np.moveaxis(drawn, 0, -1))
