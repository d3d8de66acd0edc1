"""The protocol, tried in thousands of random runs of the real ledger, window and order, before any wire is involved."""

from collections import Counter

import pytest

from tests.model.explore import STEPS, Failure, draw_faults, explore, fails
from tests.model.rules import DESIGN, Faults, Rules
from tests.model.world import World

RUNS, CHUNKS = 10_400, 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_confirmed_entry_is_lost_unannounced_stored_twice_or_evaluated_out_of_order(chunk: int) -> None:
    size = RUNS // CHUNKS
    assert explore(range(chunk * size, (chunk + 1) * size)) is None


def test_twins_of_a_running_machine_cannot_overwrite_each_other() -> None:
    assert explore(range(300), faults=Faults(twin=True)) is None


def test_runs_meet_what_they_are_for() -> None:
    met = Counter[str]()
    for seed in range(300):
        world = World(seed, draw_faults(seed), DESIGN)
        world.run(STEPS)
        logs, entries = world.store.logs.values(), world.store.entries.values()
        met["stored"] += len(entries)
        met["late"] += sum(stored.is_late for stored in entries)
        met["lost"] += sum(bool(log.lost) for log in logs)
        met["refused"] += len(world.store.quarantine)
        met["several epochs"] += len(logs) > 2
        met["restored database"] += world.was_restored
        met["two devices on one log"] += len(world.agents) > 1
        met["waited a day"] += world.oracle.days_waited > 0
    assert met["stored"] > 3000
    assert min(met.values()) >= 5, met


@pytest.mark.parametrize(
    ("rules", "faults", "runs"),
    [
        pytest.param(Rules(epoch_per_start=False), Faults(forget=True), 50, id="an epoch per file"),
        pytest.param(Rules(delete_on_ack=False), Faults(), 50, id="deleting what the broker took"),
        pytest.param(Rules(compare_hashes=False), Faults(twin=True), 50, id="numbers without hashes"),
        pytest.param(
            Rules(announce_on_want=False), Faults(evict=True, restore=True), 400, id="silence about what is gone"
        ),
        # Either of the two rules mends most of what the other one misses.
        pytest.param(
            Rules(low_spans_epochs=False, announce_on_want=False),
            Faults(evict=True, restore=True),
            50,
            id="low of one epoch, and silence",
        ),
    ],
)
def test_other_designs_are_found_wrong(rules: Rules, faults: Faults, runs: int) -> None:
    failure = explore(range(runs), rules, faults)
    assert isinstance(failure, Failure)
    assert fails(failure.seed, failure.steps, failure.faults, rules) == failure.reason
    assert fails(failure.seed, failure.steps, failure.faults, DESIGN) is None
