"""Sets of sequence numbers as sorted, disjoint, inclusive ranges: the arithmetic of the ledger and of the ack."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from dermafleet.contracts.envelope import Sequence
from dermafleet.errors import InvalidMessage

Range = tuple[int, int]
"""First and last number, both included, as on the wire."""

Ranges = list[tuple[Sequence, Sequence]]
"""Ranges in a message, in any order. One may span 2^53 numbers: never walk through it number by number."""


class RangeSet:
    """An immutable set of integers, cheap where they are contiguous."""

    __slots__ = ("_firsts", "ranges")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """Build from ranges in any order, overlapping or adjacent; empty ones (last < first) are ignored."""
        merged: list[Range] = []
        for first, last in sorted(r for r in ranges if r[0] <= r[1]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self.ranges: tuple[Range, ...] = tuple(merged)
        self._firsts = [first for first, _ in merged]

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "RangeSet":
        return cls((n, n) for n in numbers)

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self._firsts, number) - 1
        return i >= 0 and number <= self.ranges[i][1]

    def __or__(self, other: "RangeSet") -> "RangeSet":
        if not other:
            return self
        return RangeSet((*self.ranges, *other.ranges)) if self else other

    def __sub__(self, other: "RangeSet") -> "RangeSet":
        pieces: list[Range] = []
        for first, last in self.ranges:
            i = max(bisect_right(other._firsts, first) - 1, 0)
            for cut_first, cut_last in other.ranges[i:]:
                if cut_first > last:
                    break
                if cut_last < first:
                    continue
                pieces.append((first, cut_first - 1))
                first = cut_last + 1
            pieces.append((first, last))
        return RangeSet(pieces)

    def __and__(self, other: "RangeSet") -> "RangeSet":
        return self - (self - other)

    def __len__(self) -> int:
        """How many numbers are in the set, not how many ranges."""
        return sum(last - first + 1 for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"RangeSet({list(self.ranges)})"

    def prefix_end(self, start: int) -> int:
        """The last number of the unbroken run from ``start`` on; ``start - 1`` if ``start`` is not in the set."""
        i = bisect_right(self._firsts, start) - 1
        return self.ranges[i][1] if i >= 0 and start <= self.ranges[i][1] else start - 1


NOTHING = RangeSet()


def check_ranges(ranges: Ranges, error: type[InvalidMessage], name: str) -> None:
    """Raise ``error`` for the first range whose last number is before its first."""
    for i, (first, last) in enumerate(ranges):
        if last < first:
            raise error(f"{name}[{i}]", f"ends at {last}, before its first number {first}")
