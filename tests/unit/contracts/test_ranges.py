"""A `RangeSet` is a set of integers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dermafleet.contracts.ranges import NOTHING, RangeSet

ranges = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=8)
sets = ranges.map(RangeSet)
quick = settings(max_examples=150, deadline=None, database=None)


def numbers(pairs: list[tuple[int, int]]) -> set[int]:
    return {n for first, last in pairs for n in range(first, last + 1)}


@quick
@given(ranges)
def test_it_holds_the_numbers_it_was_made_of(pairs: list[tuple[int, int]]) -> None:
    made, plain = RangeSet(pairs), numbers(pairs)
    assert list(made) == sorted(plain)
    assert len(made) == len(plain)
    assert bool(made) == bool(plain)
    assert all((n in made) == (n in plain) for n in range(42))
    assert RangeSet.of(plain) == made
    assert hash(RangeSet.of(plain)) == hash(made)


@quick
@given(sets)
def test_its_ranges_are_sorted_and_apart(made: RangeSet) -> None:
    assert all(first <= last for first, last in made.ranges)
    assert all(a[1] + 1 < b[0] for a, b in zip(made.ranges, made.ranges[1:], strict=False))


@quick
@given(sets, sets)
def test_its_operators_are_those_of_sets(a: RangeSet, b: RangeSet) -> None:
    assert set(a | b) == set(a) | set(b)
    assert set(a - b) == set(a) - set(b)
    assert set(a & b) == set(a) & set(b)
    assert (a | b) - b == a - b
    assert a - NOTHING == a == a | NOTHING


@quick
@given(sets, st.integers(1, 41))
def test_prefix_end_is_the_end_of_the_unbroken_run(made: RangeSet, start: int) -> None:
    end = made.prefix_end(start)
    assert all(n in made for n in range(start, end + 1))
    assert end + 1 not in made


def test_a_range_of_all_numbers_costs_nothing() -> None:
    everything = RangeSet([(1, 2**53 - 1)])
    assert len(everything - RangeSet([(5, 5)])) == 2**53 - 2
    assert 2**52 in everything
