"""Status messages in any order give the same presence."""

import itertools
from datetime import timedelta

from dermafleet.contracts.status import Status
from services.ingest.presence import advance, is_change
from tests.unit.ingest.messages import NOW, NOW_MS

BIRTH = Status(connection=7, n=0, online=True, state="idle", at=NOW_MS, latest={"pump_on": 0.0}, agent="1.0.0")
BEAT = Status(connection=7, n=1, online=True, state="treating", at=NOW_MS + 30_000, latest={"pump_on": 1.0})
WILL = Status(connection=7, n=None, online=False)
OLD_WILL = Status(connection=6, n=None, online=False)
NEXT_BIRTH = Status(connection=8, n=0, online=True, state="ready")


def test_every_order_of_delivery_ends_in_the_same_state() -> None:
    everything = [BIRTH, BEAT, WILL, OLD_WILL, NEXT_BIRTH]
    for order in itertools.permutations(everything):
        known = None
        for status in order:
            known = advance(known, [(status, NOW)])
        assert known is not None
        assert (known.connection, known.n, known.online, known.state) == (8, 0, True, "ready")


def test_will_keeps_what_was_known() -> None:
    known = advance(None, [(BIRTH, NOW), (BEAT, NOW)])
    gone = advance(known, [(WILL, NOW + timedelta(seconds=40))])
    assert known is not None
    assert gone is not None
    assert (gone.online, gone.latest, gone.latest_at) == (False, {"pump_on": 1.0}, known.latest_at)
    assert gone.changed_at == NOW + timedelta(seconds=40)
    assert is_change(known, gone)


def test_heartbeat_is_no_change_and_keeps_since_when() -> None:
    known = advance(None, [(BEAT, NOW)])
    after = advance(known, [(Status(connection=7, n=2, online=True, state="treating"), NOW + timedelta(seconds=30))])
    assert after is not None
    assert not is_change(known, after)
    assert after.changed_at == NOW


def test_repeat_changes_nothing() -> None:
    known = advance(None, [(BEAT, NOW)])
    assert advance(known, [(BEAT, NOW + timedelta(days=1)), (BIRTH, NOW)]) is known


def test_impossible_device_time_is_not_kept() -> None:
    known = advance(None, [(Status(connection=1, n=1, online=True, at=0, latest={"pump_on": 1.0}), NOW)])
    assert known is not None
    assert known.latest_at == NOW
