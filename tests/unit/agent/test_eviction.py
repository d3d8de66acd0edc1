"""What leaves a full outbox is announced, however often the announcement itself has to leave."""

import json
from pathlib import Path

from tests.unit.agent.build import MIB, instant, opened, session

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
