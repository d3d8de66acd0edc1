"""What leaves a full outbox is announced, however often the announcement itself has to leave."""

import json
from pathlib import Path

from device_agent.eviction import evict
from device_agent.outbox_file import FILE_NAME, open_existing
from tests.unit.agent.build import MIB, instant, opened, session, telemetry

_EVERYTHING = 10**9


def test_what_an_evicted_announcement_told_is_told_again(tmp_path: Path) -> None:
    first = opened(tmp_path, budget_bytes=MIB)
    first.append([session(50_000)] * 3, instant())
    first.close()
    outbox = opened(tmp_path, budget_bytes=MIB)
    for _ in range(200):
        outbox.append([session(100_000)], instant())
    entries = outbox.take(10_000, _EVERYTHING, only_fitting=False)
    told: dict[str, set[int]] = {}
    for entry in entries:
        if b'"dropped"' in entry.raw:
            for epoch, ranges in json.loads(entry.raw)["data"]["ranges"].items():
                told.setdefault(epoch, set()).update(n for a, b in ranges for n in range(a, b + 1))
    on_disk = {(entry.epoch, entry.seq) for entry in entries}
    for epoch, head in ((first.epoch, 4), (outbox.epoch, outbox.head()[1])):
        gone = {n for n in range(1, head + 1) if (epoch, n) not in on_disk}
        assert gone <= told[epoch]
    assert (outbox.epoch, 1) in on_disk
    outbox.close()


def test_no_entry_is_dropped_while_less_valuable_ones_are_left_however_small(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([telemetry(1)] * 6000, instant())
    acked = outbox.take(6001, _EVERYTHING, only_fitting=False)
    outbox.settle([entry.id for entry in acked], [], instant())
    outbox.append([*[telemetry(1)] * 6000, session()], instant())
    outbox.close()
    connection = open_existing(tmp_path / FILE_NAME)
    row_bytes = connection.execute("select max(bytes) + 64 from entry where seq = 2").fetchone()[0]

    connection.execute("begin immediate")  # as the outbox does; else each row is a write of its own to the disk
    assert evict(connection, 5500 * row_bytes, []) == {}
    told = evict(connection, 7000 * row_bytes, [])

    assert [len(gone) for gone in told.values()] == [5000]
    assert connection.execute("select count(*) from entry where kind = 'session'").fetchone() == (1,)
    connection.close()
