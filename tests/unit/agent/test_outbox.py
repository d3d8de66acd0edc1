"""What the outbox confirms is there after any end of the process, and a full disk never wedges it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dermafleet.errors import SettingError
from device_agent.outbox import Outbox, open_to_read
from device_agent.outbox_file import FILE_NAME, BrokenOutbox
from tests.unit.agent.build import DAY_MS, MIB, instant, opened, session, telemetry

_EVERYTHING = 10**9


def pending(outbox: Outbox) -> list[tuple[str, int, str]]:
    """All pending entries, oldest first; they count as in flight afterwards."""
    return [(e.epoch, e.seq, e.kind) for e in outbox.take(10_000, _EVERYTHING, only_fitting=False)]


def events(outbox: Outbox, event_type: str) -> list[dict[str, Any]]:
    entries = outbox.take(100_000, _EVERYTHING, only_fitting=False)
    found = [json.loads(e.raw) for e in entries if e.kind == "event"]
    return [event["data"] for event in found if event["type"] == event_type]


def test_every_start_begins_an_epoch_that_names_the_one_before(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([telemetry(), telemetry()], instant())
    first.close()
    second = opened(tmp_path)
    entries = second.take(10, _EVERYTHING, only_fitting=False)
    second.close()
    assert [(e.epoch, e.seq) for e in entries] == [
        (first.epoch, 1),
        (first.epoch, 2),
        (first.epoch, 3),
        (second.epoch, 1),
    ]
    assert first.epoch != second.epoch
    assert json.loads(entries[0].raw)["data"] == {"previous": None}
    assert json.loads(entries[3].raw)["data"] == {"previous": [first.epoch, 3]}
    assert [e.head for e in entries] == [3, 3, 3, 1]


def test_positions_are_returned_in_order_and_bytes_are_kept(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    entries = [telemetry(1), session(2), telemetry(3)]
    positions = outbox.append(entries, instant())
    assert positions == [(outbox.epoch, 2), (outbox.epoch, 3), (outbox.epoch, 4)]
    taken = outbox.take(10, _EVERYTHING, only_fitting=False)
    assert [(e.kind, e.raw) for e in taken[1:]] == [(e.kind, e.raw) for e in entries]
    outbox.close()


def test_an_id_is_never_used_twice_even_when_the_outbox_is_empty(tmp_path: Path) -> None:
    outbox = opened(tmp_path, keep_acked_ms=0)
    ids = [e.id for e in outbox.take(10, _EVERYTHING, only_fitting=False)]
    outbox.settle(ids, [], instant(1))
    outbox.append([telemetry()], instant(120))
    assert outbox.low() == (outbox.epoch, 2)
    assert outbox.take(1, _EVERYTHING, only_fitting=False)[0].id > max(ids)
    outbox.close()


def test_an_entry_in_flight_is_not_taken_twice(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry()], instant())
    assert len(outbox.take(1, _EVERYTHING, only_fitting=False)) == 1
    assert len(outbox.take(5, _EVERYTHING, only_fitting=False)) == 1
    assert outbox.take(5, _EVERYTHING, only_fitting=False) == []
    outbox.close()


def test_take_keeps_to_the_bytes_but_lets_one_large_entry_through(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.settle([outbox.take(1, 1, only_fitting=False)[0].id], [], instant())
    outbox.append([telemetry(1000), telemetry(1000)], instant())
    assert outbox.take(8, 500, only_fitting=True) == []
    assert len(outbox.take(8, 500, only_fitting=False)) == 1
    outbox.close()


def test_acked_entries_stay_until_their_time_is_over(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry()], instant())
    ids = [e.id for e in outbox.take(10, _EVERYTHING, only_fitting=False)]
    outbox.settle(ids, [], instant(1))
    assert not outbox.has_pending()
    outbox.append([telemetry()], instant(DAY_MS / 1000))
    assert outbox.low() == (outbox.epoch, 1)
    outbox.append([telemetry()], instant(3 * DAY_MS / 1000))
    assert outbox.low() == (outbox.epoch, 3)
    outbox.close()


def test_wanted_entries_are_pending_again_and_missing_ones_are_announced_once(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry(), telemetry()], instant())
    ids = [e.id for e in outbox.take(10, _EVERYTHING, only_fitting=False)]
    outbox.settle(ids[:2], ids[2:], instant(1))
    for _ in range(2):
        outbox.want(outbox.epoch, [(2, 3), (50, 60)], instant(2))
        outbox.want("0123456789abcdef", [(7, 9)], instant(2))
    entries = outbox.take(10, _EVERYTHING, only_fitting=False)
    assert [e.seq for e in entries] == [2, 3, 4]
    assert json.loads(entries[2].raw)["data"] == {"ranges": {"0123456789abcdef": [[7, 9]]}}
    outbox.close()


def test_budget_takes_acked_first_then_telemetry_and_never_what_is_in_flight(tmp_path: Path) -> None:
    outbox = opened(tmp_path, budget_bytes=2 * MIB)
    acked = outbox.append([telemetry(10_000)] * 20, instant())
    ids = {e.seq: e.id for e in outbox.take(21, _EVERYTHING, only_fitting=False)}
    outbox.settle([ids[seq] for _, seq in acked], [], instant())
    outbox.append([session(10_000)] * 10, instant())
    in_flight = outbox.take(3, _EVERYTHING, only_fitting=False)
    for _ in range(300):
        outbox.append([telemetry(10_000)], instant(1))
    assert all(outbox.read(e.id) is not None for e in in_flight)
    kept = outbox.take(10_000, _EVERYTHING, only_fitting=False)
    assert sum(e.kind == "session" for e in (*kept, *in_flight)) == 10
    dropped = [json.loads(e.raw)["data"]["ranges"][outbox.epoch] for e in kept if b'"dropped"' in e.raw]
    assert dropped
    gone = {n for ranges in dropped for first, last in ranges for n in range(first, last + 1)}
    assert gone.isdisjoint(seq for _, seq in acked)
    on_disk = {e.seq for e in (*kept, *in_flight)} | {1}
    assert gone.isdisjoint(on_disk)
    assert gone | on_disk | {seq for _, seq in acked} == set(range(1, outbox.head()[1] + 1))
    assert (tmp_path / FILE_NAME).stat().st_size < 2.5 * MIB
    outbox.close()


def test_sessions_are_evicted_when_nothing_else_is_left(tmp_path: Path) -> None:
    outbox = opened(tmp_path, budget_bytes=MIB)
    for _ in range(30):
        outbox.append([session(100_000)], instant())
    assert events(outbox, "dropped")
    outbox.close()


def test_an_entry_larger_than_the_budget_fails_and_the_next_one_works(tmp_path: Path) -> None:
    from dermafleet.errors import TransientError

    outbox = opened(tmp_path, budget_bytes=MIB)
    head = outbox.head()
    with pytest.raises(TransientError, match="full"):
        outbox.append([telemetry(5 * MIB)], instant())
    assert outbox.head() >= head
    position = outbox.append([telemetry()], instant())[0]
    assert position == outbox.head()
    outbox.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "page"])
def test_a_broken_file_is_moved_aside_and_the_agent_goes_on(tmp_path: Path, damage: str) -> None:
    first = opened(tmp_path)
    first.append([telemetry(10_000)] * 50, instant())
    first.close()
    file = tmp_path / FILE_NAME
    content = file.read_bytes()
    file.write_bytes(
        {
            "garbage": b"no database " * 1000,
            "truncated": content[: len(content) // 2],
            "page": content[:8192] + b"\xff" * 8192 + content[16384:],
        }[damage]
    )
    second = opened(tmp_path)
    entries = second.take(10, _EVERYTHING, only_fitting=False)
    assert [json.loads(e.raw)["type"] for e in entries] == ["opened", "outbox_replaced"]
    assert json.loads(entries[0].raw)["data"] == {"previous": None}
    assert len(list(tmp_path.glob("*.broken-????????"))) == 1
    second.close()


def test_two_agents_cannot_share_an_outbox(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    with pytest.raises(SettingError, match="in use by another agent"):
        opened(tmp_path)
    with pytest.raises(SettingError, match="in use by another agent"):
        open_to_read(tmp_path / FILE_NAME)
    outbox.append([telemetry()], instant())
    outbox.close()


def test_looking_into_a_stopped_outbox_begins_no_epoch(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry()], instant())
    outbox.close()
    seen = open_to_read(tmp_path / FILE_NAME)
    assert seen.head() == outbox.head()
    assert [e["state"] for e in seen.list_entries()["entries"]] == ["pending", "pending"]
    assert seen.backlog().entries == 2
    seen.close()


def test_facts_are_remembered_and_the_clock_is_told_its_floor(tmp_path: Path) -> None:
    from device_agent.outbox import open_outbox
    from tests.unit.agent.build import FixedClock

    outbox = opened(tmp_path)
    outbox.append([telemetry()], instant(), {"clock_floor": "1790000000000", "other": "x"})
    outbox.remember({"other": None})
    outbox.close()
    clock = FixedClock()
    again = open_outbox(tmp_path / FILE_NAME, clock, budget_bytes=MIB, keep_acked_ms=0)
    assert clock.floor_ms == 1_790_000_000_000
    assert again.recall("other") is None
    again.close()


def test_entries_from_before_the_clock_was_set_get_the_anchor_of_their_boot(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox._connection.execute("update life set anchor = null")  # as if the clock had not been set at the start
    outbox.note_anchor(instant(5))
    assert outbox.take(1, _EVERYTHING, only_fitting=False)[0].anchor == instant().at - instant().up
    outbox.close()


_APPENDER = """
import sys
from pathlib import Path
from tests.unit.agent.build import opened, telemetry, instant
outbox = opened(Path(sys.argv[1]))
while True:
    for epoch, seq in outbox.append([telemetry(2000)], instant()):
        print(epoch, seq, flush=True)
"""


def test_killed_in_the_middle_everything_confirmed_is_there(tmp_path: Path) -> None:
    confirmed = []
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", _APPENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        confirmed += [process.stdout.readline().split() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        confirmed += [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.wait()
        process.stdout.close()
    outbox = opened(tmp_path)
    on_disk = {(epoch, seq) for epoch, seq, _ in pending(outbox)}
    assert {(epoch, int(seq)) for epoch, seq in confirmed} <= on_disk
    assert not list(tmp_path.glob("*.broken-*"))
    outbox.close()


def test_a_file_damaged_while_it_is_open_confirms_nothing_more(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry(3000) for _ in range(1000)], instant())  # more than SQLite keeps in memory
    (tmp_path / FILE_NAME).write_bytes(b"")
    with pytest.raises(BrokenOutbox):
        outbox.take(1000, _EVERYTHING, only_fitting=False)
    with pytest.raises(BrokenOutbox):
        outbox.append([telemetry()], instant())
    outbox.close()


@pytest.mark.parametrize("name", [FILE_NAME, f"{FILE_NAME}-wal"])
def test_a_file_deleted_while_it_is_open_confirms_nothing_more(tmp_path: Path, name: str) -> None:
    outbox = opened(tmp_path)
    (tmp_path / name).unlink()
    for _ in range(2):
        with pytest.raises(BrokenOutbox, match="removed"):
            outbox.append([telemetry()], instant())
    outbox.close()
