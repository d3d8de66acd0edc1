"""Which entry comes next, case by case."""

import pytest

from dermafleet.storage.follow import OpenLog
from services.alerts.order import IDLE, Blocked, Move, Next, Position, Read, find_next

A, B, C = "a" * 16, "b" * 16, "c" * 16


def log(
    epoch: str,
    number: int,
    *,
    upto: int,
    head: int | None = None,
    previous: str | None = None,
    opened: bool = True,
    gapped: bool = False,
    stored: bool = True,
) -> OpenLog:
    return OpenLog(epoch, number, opened, previous, upto if head is None else head, upto, gapped, stored)


AT_END_OF_A = Position(A, 5)

CASES: dict[str, tuple[list[OpenLog], Position, Next]] = {
    "nothing at all": ([], Position(), IDLE),
    "first epoch": ([log(A, 1, upto=5)], Position(), Move(A)),
    "first entry missing": ([log(A, 1, upto=0, head=3, gapped=True)], Position(), Blocked(A, 1)),
    "newly resolved": ([log(A, 1, upto=5)], Position(A, 2), Read(A, 2, 5)),
    "all read": ([log(A, 1, upto=5)], AT_END_OF_A, IDLE),
    "the newest are on their way": ([log(A, 1, upto=5, head=9)], AT_END_OF_A, IDLE),
    "a hole": ([log(A, 1, upto=5, head=9, gapped=True)], AT_END_OF_A, Blocked(A, 6)),
    "the end is missing and the next epoch is there": (
        [log(A, 1, upto=5, head=7), log(B, 2, upto=2, previous=A)],
        AT_END_OF_A,
        Blocked(A, 6),
    ),
    "the next epoch": (
        [log(A, 1, upto=5), log(B, 2, upto=2, previous=A)],
        AT_END_OF_A,
        Move(B, leaving=A, left_at=5),
    ),
    "a child before a new disk": (
        [log(A, 1, upto=5), log(C, 2, upto=2), log(B, 3, upto=2, previous=A)],
        AT_END_OF_A,
        Move(B, leaving=A, left_at=5),
    ),
    "a new disk": ([log(A, 1, upto=5), log(C, 2, upto=2)], AT_END_OF_A, Move(C, leaving=A, left_at=5)),
    "a later epoch waits for the one between": (
        [log(A, 1, upto=5), log(C, 2, upto=2, previous=B), log(B, 3, upto=0, head=4, stored=False)],
        AT_END_OF_A,
        Blocked(B, 1),
    ),
    "a later epoch is first heard of": (
        [log(B, 1, upto=2, previous=A), log(A, 2, upto=0, head=5, stored=False)],
        Position(),
        Blocked(A, 1),
    ),
    "a predecessor that is done": ([log(B, 2, upto=2, previous=A)], Position(), Move(B)),
    "entry 1 lost, but a later epoch names it": (
        [log(A, 1, upto=5), log(B, 2, upto=4, opened=False), log(C, 3, upto=1, previous=B)],
        AT_END_OF_A,
        Move(B, leaving=A, left_at=5),
    ),
    "entry 1 lost and nothing tells its place": (
        [log(A, 1, upto=5), log(B, 2, upto=4, opened=False)],
        AT_END_OF_A,
        Blocked(B, 1, otherwise=Move(B, leaving=A, left_at=5)),
    ),
    "an epoch of which nothing is left does not end the running one": (
        [log(A, 1, upto=5), log(B, 2, upto=4, opened=False, stored=False)],
        AT_END_OF_A,
        IDLE,
    ),
    "epochs that name each other": (
        [log(A, 1, upto=5, previous=B), log(B, 2, upto=4, previous=A)],
        Position(),
        Move(A),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_next_is(case: tuple[list[OpenLog], Position, Next]) -> None:
    logs, position, expected = case
    assert find_next(logs, position) == expected
    assert find_next(logs[::-1], position) == expected
