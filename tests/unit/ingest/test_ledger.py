"""The ledger: equal to a model of plain sets, whatever the order of delivery."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from dermafleet.contracts.envelope import Header
from dermafleet.contracts.ranges import Range, RangeSet
from services.ingest.ledger import Ledger, Log
from tests.unit.ingest.messages import EPOCH_A, EPOCH_B, EPOCH_C, Machine


def header(seq: int, *, epoch: str = EPOCH_A, low: tuple[str, int] | None = None, head: int = 0) -> Header:
    return Machine(epoch=epoch, low=low or (epoch, 1), head=head).header(seq)


def stored_count(log: Log) -> int:
    """How many entries the ledger has in the database, by its columns."""
    return len(RangeSet([(1, log.upto)]) - log.refused - log.lost) + len(log.received) + len(log.late)


@dataclass
class Model:
    """One epoch with plain sets: what the ledger must say about each number."""

    stored: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)

    def admission(self, seq: int) -> str:
        if seq in self.refused:
            return "refused"
        if seq in self.stored or seq in self.late:
            return "duplicate"
        return "late" if seq in self.lost else "new"

    def lose(self, numbers: set[int]) -> None:
        self.lost |= numbers - self.stored - self.refused


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["store", "refuse", "store then refuse"]), st.integers(1, 30), st.integers(1, 12)),
        st.tuples(st.just("drop"), st.integers(1, 30), st.integers(0, 6)),
    ),
    max_size=60,
)


@given(STEPS)
def test_ledger_equals_a_model_of_sets(steps: list[tuple[str, int, int]]) -> None:
    ledger, model = Ledger(), Model()
    ledger.log(EPOCH_A)
    for step, seq, number in steps:
        if step == "drop":
            ledger.note_dropped(EPOCH_A, [(seq, seq + number)])
            model.lose(set(range(seq, seq + number + 1)))
            continue
        h = header(seq, low=(EPOCH_A, min(number, seq)))
        admission = ledger.admit(h)
        assert admission == model.admission(seq)
        if admission in ("new", "late"):
            if step != "refuse":
                ledger.store(h, late=admission == "late")
                (model.late if admission == "late" else model.stored).add(seq)
            if step != "store":
                ledger.refuse(h)
                model.stored.discard(seq)
                model.late.discard(seq)
                model.refused.add(seq)
        ledger.note_low(h)
        model.lose(set(range(1, min(number, seq))))

    log = ledger.logs[EPOCH_A]
    known = model.stored | model.refused | model.lost
    assert set(log.missing(40)) == set(range(1, 41)) - known
    assert log.upto == next(n for n in range(50) if n + 1 not in known)
    assert set(log.late) == model.late
    assert set(log.lost) - model.refused == model.lost - model.refused
    assert stored_count(log) == len(model.stored | model.late)


@given(st.permutations(list(range(1, 15))), st.lists(st.integers(1, 14)))
def test_what_is_stored_does_not_depend_on_order_or_repeats(order: list[int], repeats: list[int]) -> None:
    ledger = Ledger()
    for seq in [*order, *repeats]:
        if ledger.admit(header(seq)) == "new":
            ledger.store(header(seq))
    log = ledger.logs[EPOCH_A]
    assert (log.upto, log.received, stored_count(log)) == (14, RangeSet(), 14)


def test_gap_is_wanted_until_it_is_filled_or_lost() -> None:
    ledger = Ledger()
    for seq in (1, 2, 5, 9):
        ledger.admit(header(seq))
        ledger.store(header(seq))
    assert ledger.wanted(EPOCH_A, 9) == [(3, 4), (6, 8)]
    assert ledger.wanted(EPOCH_A, 5) == [(3, 4)]
    ledger.note_low(header(9, low=(EPOCH_A, 7)))
    assert ledger.wanted(EPOCH_A, 9) == [(7, 8)]


def test_low_of_a_later_epoch_loses_all_epochs_before_it_once_they_are_linked() -> None:
    ledger = Ledger()
    ledger.admit(header(2, epoch=EPOCH_C, low=(EPOCH_C, 1)))
    ledger.store(header(2, epoch=EPOCH_C))
    ledger.note_low(header(2, epoch=EPOCH_C, low=(EPOCH_C, 1)))
    assert ledger.logs.keys() == {EPOCH_C}

    ledger.admit(header(1, epoch=EPOCH_B))
    ledger.store(header(1, epoch=EPOCH_B))
    ledger.note_opened(EPOCH_B, (EPOCH_A, 7))
    assert ledger.logs[EPOCH_A].upto == 0
    ledger.note_opened(EPOCH_C, (EPOCH_B, 3))
    assert ledger.logs[EPOCH_B].upto == 3
    assert ledger.logs[EPOCH_A].upto == 7
    assert list(ledger.ancestors(ledger.logs[EPOCH_C])) == [ledger.logs[EPOCH_B], ledger.logs[EPOCH_A]]


def test_epochs_that_name_each_other_do_not_hang() -> None:
    ledger = Ledger()
    ledger.log(EPOCH_A)
    ledger.note_opened(EPOCH_A, (EPOCH_B, 1))
    ledger.note_opened(EPOCH_B, (EPOCH_A, 1))
    assert [log.epoch for log in ledger.ancestors(ledger.logs[EPOCH_A])] == [EPOCH_B]


class Counting(Ledger):
    """A ledger that counts how many logs it looks at for losses."""

    looked = 0

    def _lose(self, log: Log, ranges: Iterable[Range]) -> None:
        Counting.looked += 1
        super()._lose(log, ranges)


def test_each_start_of_a_machine_looks_at_its_earlier_epochs_once() -> None:
    ledger, starts, previous = Counting(), 200, None
    for number in range(starts):
        opened = header(1, epoch=f"{number:016x}")
        ledger.admit(opened)
        ledger.store(opened)
        ledger.note_opened(opened.epoch, previous)
        ledger.note_low(opened)
        previous = (opened.epoch, 1)
    assert Counting.looked < 2 * starts**2  # about once each; the sixth part of starts cubed without


def test_numbers_of_epochs_rise_beyond_those_not_loaded() -> None:
    ledger = Ledger(logs={EPOCH_A: Log(EPOCH_A, number=3)}, newest=7)
    assert [ledger.log(EPOCH_B).number, ledger.log(EPOCH_C).number, ledger.log(EPOCH_A).number] == [8, 9, 3]


def test_too_many_epochs_are_not_begun() -> None:
    ledger = Ledger(new_epochs=1)
    assert ledger.admit(header(1, epoch=EPOCH_A)) == "new"
    assert ledger.admit(header(1, epoch=EPOCH_B)) == "fragmented"
    ledger.note_dropped(EPOCH_C, [(1, 2)])
    assert ledger.logs.keys() == {EPOCH_A}


def test_fragmented_log_still_takes_what_closes_a_gap() -> None:
    ledger = Ledger(max_ranges=2)
    for seq in (2, 4):
        ledger.admit(header(seq))
        ledger.store(header(seq))
    assert ledger.admit(header(6)) == "fragmented"
    assert ledger.admit(header(3)) == "new"
