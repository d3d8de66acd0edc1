"""The ingest transaction on a real PostgreSQL: what is stored, what is answered, and that repeats change nothing."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import psycopg
import pytest

from dermafleet.contracts.ack import Ack
from dermafleet.contracts.topics import Topics
from dermafleet.storage.engine import connect
from dermafleet.storage.ledger import Connection
from services.ingest.decode import Message, decode
from services.ingest.write import Outcome, Rules, write
from tests.unit.ingest.messages import EPOCH_A, EPOCH_B, EPOCH_C, NOW_MS, Machine

RULES = Rules(server="server-1", new_state="active", payload_bytes=256 * 1024)


@dataclass
class Ingest:
    """One ingest worker's connection: stores messages, each call one transaction."""

    connection: Connection
    rules: Rules = RULES

    def store(self, *messages: Message) -> Outcome:
        outcome = write(self.connection, [decode(m, Topics()) for m in messages], self.rules)
        self.connection.commit()
        return outcome

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        found = self.connection.execute(query).fetchall()
        self.connection.rollback()
        return list(found)

    def row(self, query: str) -> tuple[Any, ...]:
        (found,) = self.rows(query)
        return found

    def log(self, epoch: str = EPOCH_A) -> dict[str, Any]:
        names = (
            "upto, received::text, refused::text, lost::text, late::text, head, duplicates, samples, previous, opened"
        )
        row = self.row(f"select {names} from device_log where epoch = '{epoch}'")
        return dict(zip([name.split("::")[0] for name in names.split(", ")], row, strict=True))


@pytest.fixture
def ingest(any_database_url: str) -> Iterator[Ingest]:
    with closing(connect(any_database_url)) as connection:
        yield Ingest(connection)


@pytest.fixture
def open_ingest(database_url: str) -> Iterator[Callable[[], Ingest]]:
    connections: list[Connection] = []

    def open_one() -> Ingest:
        connections.append(connect(database_url))
        return Ingest(connections[-1])

    yield open_one
    for connection in connections:
        connection.close()


def acks(outcome: Outcome, epoch: str = EPOCH_A) -> list[Ack]:
    return [reply.ack for reply in outcome.replies if reply.ack.epoch == epoch]


def ack(outcome: Outcome, epoch: str = EPOCH_A) -> Ack:
    (found,) = acks(outcome, epoch)
    return found


def test_new_entries_are_stored_with_all_they_say(ingest: Ingest) -> None:
    m = Machine()
    channels: dict[str, list[float | None]] = {
        "vacuum_inlet_kpa": [40.5, 300.0],
        "flow_lpm": [None, 12.25],
        "spin_rpm": [7.0, None],
    }
    outcome = ingest.store(m.opened(), m.block(2, channels), m.session(3))

    assert ack(outcome) == Ack(server="server-1", epoch=EPOCH_A, seqs=[(1, 3)])
    assert (outcome.samples, outcome.unknown) == (2, 1)
    samples = ingest.rows(
        "select extract(epoch from event_at) * 1000, vacuum_inlet_kpa, flow_lpm, filter_dp_kpa, extra, marks"
        " from telemetry order by event_at"
    )
    t0 = NOW_MS - 598_000
    assert samples == [
        (t0, 40.5, None, None, {"spin_rpm": 7.0}, None),
        (t0 + 100, 300.0, 12.25, None, {"spin_rpm": None}, 1),
    ]
    entries = ingest.rows("select seq, kind, samples, body ->> 'type', body ->> 'op', time_source, late from log_entry")
    assert sorted(entries) == [
        (1, "event", 0, "opened", None, "device", False),
        (2, "telemetry", 2, None, None, "device", False),
        (3, "session", 0, None, "start", "device", False),
    ]
    assert (
        ingest.rows("select t.entry from telemetry t join log_entry e using (device_id, entry) where e.seq = 2") != []
    )
    assert ingest.log()["upto"] == 3


def test_entry_numbers_rise_in_commit_order(ingest: Ingest) -> None:
    m = Machine()
    ingest.store(m.block(3), m.block(2))
    ingest.store(m.block(1))
    assert ingest.rows("select seq from log_entry order by entry") == [(3,), (2,), (1,)]


def test_duplicates_are_acked_and_not_stored(ingest: Ingest) -> None:
    m = Machine()
    ingest.store(m.block(1), m.block(3))
    outcome = ingest.store(m.block(1), m.block(2), m.block(2), m.block(3))

    assert ack(outcome).seqs == [(1, 3)]
    assert outcome.counts["new"] == 1
    assert outcome.counts["duplicate"] == 3
    assert ingest.row("select count(*) from telemetry") == (6,)
    assert ingest.log() | {"previous": None} == {
        "upto": 3,
        "received": "{}",
        "refused": "{}",
        "lost": "{}",
        "late": "{}",
        "head": 3,
        "duplicates": 3,
        "samples": 6,
        "previous": None,
        "opened": False,
    }


def test_racing_writers_store_each_entry_once(open_ingest: Callable[[], Ingest]) -> None:
    machines = [Machine(f"D-{d:04d}", epoch) for d in range(4) for epoch in (EPOCH_A, EPOCH_B)]
    workers = [open_ingest() for _ in range(3)]
    failures: list[BaseException] = []

    def work(number: int, ingest: Ingest) -> None:
        try:
            for first in range(1, 40, 3):
                batch = [m.at(broker=number).block(first + i) for i in range(5) for m in machines]
                ingest.store(*(batch if number % 2 else reversed(batch)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    found = workers[0].rows("select device_id, epoch, count(*), count(distinct seq) from log_entry group by 1, 2")
    assert {row[2:] for row in found} == {(41, 41)}
    assert len(found) == 8
    assert workers[0].row("select count(*), count(distinct (entry, event_at)) from telemetry") == (656, 656)
    assert workers[0].rows("select distinct upto from device_log") == [(41,)]


def test_same_number_with_other_content_is_refused_as_forked(ingest: Ingest) -> None:
    m = Machine()
    ingest.store(m.block(1))
    outcome = ingest.store(m.block(1, {"pump_on": [1.0]}), m.block(2))

    assert ack(outcome).refused == [(1, 1)]
    assert ack(outcome).seqs == [(2, 2)]
    assert outcome.counts["forked"] == 1
    epoch, seq, reason = ingest.row("select epoch, seq, reason from quarantine")
    assert (epoch, seq) == (EPOCH_A, 1)
    assert reason.startswith("forked")
    assert ingest.log()["refused"] == "{}"
    assert ingest.row("select samples from log_entry where seq = 1") == (2,)


def test_bad_entry_is_refused_by_its_number_and_kept_whole(ingest: Ingest) -> None:
    m = Machine()
    bad = m.message("telemetry", 2, b'{"boot": "boot-1", "up": -1}')
    outcome = ingest.store(m.block(1), bad, m.block(3))

    assert ack(outcome).seqs == [(1, 1), (3, 3)]
    assert ack(outcome).refused == [(2, 2)]
    kept = ingest.row("select device_id, epoch, seq, field, payload, payload_bytes, count from quarantine")
    assert kept == ("D-0001", EPOCH_A, 2, "telemetry.up", bad.payload, len(bad.payload), 1)
    assert ingest.log()["upto"] == 3

    again = ingest.store(bad)
    assert ack(again).refused == [(2, 2)]
    assert ingest.row("select count(*) from quarantine") == (1,)


def test_entry_that_the_database_refuses_is_found_and_the_others_are_stored(ingest: Ingest) -> None:
    m = Machine()
    ingest.connection.execute("alter table telemetry add check (flow_lpm <> 666)")
    messages = [m.block(seq, {"flow_lpm": [666.0 if seq == 5 else 1.0]}) for seq in range(1, 10)]
    outcome = ingest.store(*messages)

    assert ack(outcome).seqs == [(1, 4), (6, 9)]
    assert ack(outcome).refused == [(5, 5)]
    ((reason,),) = ingest.rows("select reason from quarantine")
    assert reason.startswith("database: ")
    assert ingest.row("select count(*), count(distinct entry) from telemetry") == (8, 8)
    assert ingest.log()["upto"] == 9
    assert ingest.log()["refused"] == "{[5,6)}"


def test_nothing_is_refused_while_refusing_is_stopped(ingest: Ingest) -> None:
    m = Machine()
    ingest.rules = replace(RULES, may_refuse=False)
    bad = m.message("event", 2, b"[]")
    outcome = ingest.store(m.block(1), bad, m.block(3))

    assert ack(outcome).seqs == [(1, 1), (3, 3)]
    assert ack(outcome).refused == []
    assert outcome.counts["withheld"] == 1
    assert ingest.rows("select 1 from quarantine") == []
    ingest.rules = RULES
    assert ack(ingest.store(bad)).refused == [(2, 2)]


def test_garbage_is_counted_but_not_kept_beyond_its_quota(ingest: Ingest) -> None:
    garbage = Message(Topics().up("D-0001", "event"), b"\x00\xff", Machine().received_at)
    elsewhere = Message("dermafleet/v1/0/D-0001/up/event", b"{}", Machine().received_at)
    outcome = ingest.store(garbage, elsewhere)
    assert outcome.replies == []
    kept = ingest.rows("select device_id, field, seq from quarantine order by field")
    assert kept == [("D-0001", "header", None), (None, "topic.shard", None)]

    ingest.rules = replace(RULES, may_keep_garbage=False)
    outcome = ingest.store(replace(garbage, payload=b"more"))
    assert outcome.counts["garbage_dropped"] == 1
    assert ingest.row("select count(*) from quarantine") == (2,)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("suspended", "suspended"), ("revoked", "revoked"), ("retired", "revoked")],
)
def test_device_that_is_not_active_is_put_on_hold(ingest: Ingest, state: str, reason: str) -> None:
    m = Machine()
    ingest.store(m.block(1))
    ingest.connection.execute("update device set state = %s", [state])
    outcome = ingest.store(m.block(2), m.status(1, 1))

    (reply,) = outcome.replies
    assert reply.ack.hold == reason
    assert reply.ack.wait_ms > 0
    assert ingest.row("select count(*) from log_entry") == (1,)
    assert ingest.rows("select 1 from device_status") == []


def test_unknown_devices_wait_for_approval_and_are_capped(ingest: Ingest) -> None:
    ingest.rules = replace(RULES, new_state="pending", max_pending=2)
    outcomes = [ingest.store(Machine(f"D-{n:04d}").block(1)) for n in range(4)]

    assert [reply.ack.hold for outcome in outcomes for reply in outcome.replies] == ["unknown"] * 4
    assert ingest.rows("select device_id, state from device order by 1") == [
        ("D-0000", "pending"),
        ("D-0001", "pending"),
    ]
    ingest.connection.execute("update device set state = 'active'")
    assert ack(ingest.store(Machine("D-0000").block(1))).seqs == [(1, 1)]


def test_what_low_has_passed_is_lost_and_stored_late_if_it_comes_after_all(ingest: Ingest) -> None:
    m = Machine()
    ingest.store(m.opened())
    ingest.store(m.block(5, low=(EPOCH_A, 4)))
    assert ingest.log()["lost"] == "{[2,4)}"
    assert ingest.log()["received"] == "{[5,6)}"

    outcome = ingest.store(m.block(3))
    assert ack(outcome).seqs == [(3, 3)]
    assert outcome.counts["late"] == 1
    assert ingest.row("select late from log_entry where seq = 3") == (True,)
    assert ingest.log()["late"] == "{[3,4)}"
    assert ingest.store(m.block(3)).counts["duplicate"] == 1


def test_entry_of_an_epoch_that_the_follower_has_left_is_late(ingest: Ingest) -> None:
    m = Machine()
    ingest.store(m.block(1), m.block(2))
    ingest.connection.execute("update device_log set done = true")
    assert ingest.store(m.block(3), m.block(2)).counts == {"late": 1, "duplicate": 1, "waiting": 0, "held": 0}


def test_dropped_event_makes_a_hole_lost(ingest: Ingest) -> None:
    m = Machine()
    dropped = m.event(4, "dropped", {"ranges": {EPOCH_A: [[2, 3]]}})
    ingest.store(m.opened(), dropped)
    assert ingest.log()["lost"] == "{[2,4)}"
    assert ingest.log()["upto"] == 4


def test_new_epoch_names_the_one_before_and_wants_what_is_missing_of_it(ingest: Ingest) -> None:
    a, b = Machine(epoch=EPOCH_A), Machine(epoch=EPOCH_B, low=(EPOCH_A, 1))
    ingest.store(a.opened(), a.block(2), a.block(5))
    outcome = ingest.store(b.opened((EPOCH_A, 7)))

    assert ack(outcome, EPOCH_A).want == [(3, 4), (6, 7)]
    assert ack(outcome, EPOCH_B).want == []
    assert ingest.log(EPOCH_A)["head"] == 7
    assert ingest.log(EPOCH_B)["previous"] == EPOCH_A
    assert ingest.rows("select epoch, number from device_log order by number") == [(EPOCH_A, 1), (EPOCH_B, 2)]


def test_low_in_a_later_epoch_loses_the_rest_of_the_earlier_ones(ingest: Ingest) -> None:
    a, b, c = Machine(epoch=EPOCH_A), Machine(epoch=EPOCH_B), Machine(epoch=EPOCH_C)
    ingest.store(a.opened(low=(EPOCH_A, 1)), b.opened((EPOCH_A, 9), low=(EPOCH_A, 1)))
    ingest.store(c.opened((EPOCH_B, 4), low=(EPOCH_C, 1)))
    assert ingest.log(EPOCH_A)["lost"] == "{[2,10)}"
    assert ingest.log(EPOCH_B)["lost"] == "{[2,5)}"


def test_database_restored_to_an_earlier_point_wants_everything_again(ingest: Ingest) -> None:
    a, b = Machine(epoch=EPOCH_A), Machine(epoch=EPOCH_B, low=(EPOCH_A, 1))
    acknowledged = [a.opened(), *(a.block(n) for n in range(2, 9)), b.opened((EPOCH_A, 8)), b.block(2), b.block(3)]
    ingest.store(*acknowledged[:4])  # the backup was taken here
    sent = {(EPOCH_A, n + 1): message for n, message in enumerate(acknowledged[:8])}
    sent |= {(EPOCH_B, n + 1): message for n, message in enumerate(acknowledged[8:])}
    waiting: list[Message] = [b.block(4)]
    rounds = 0
    while waiting and (rounds := rounds + 1) < 10:
        outcome = ingest.store(*waiting)
        wanted = [(r.ack.epoch, n) for r in outcome.replies for lo, hi in r.ack.want for n in range(lo, hi + 1)]
        waiting = [sent[epoch, n] for epoch, n in wanted if epoch is not None]
    assert rounds <= 4
    assert ingest.rows("select epoch, upto from device_log order by 1") == [(EPOCH_A, 8), (EPOCH_B, 4)]
    assert ingest.row("select count(*), count(distinct (epoch, seq)) from log_entry") == (12, 12)


def test_entries_with_a_wrong_clock_are_dated_by_the_anchor_of_their_boot(ingest: Ingest) -> None:
    m = Machine()
    ingest.store(m.block(1, t0=0), m.block(2, clock="unset"), m.block(3, t0=4_102_444_800_000))
    # The header tells: one hour up at NOW; the blocks were taken at 3 000 s + seq of uptime.
    expected = [("anchor", NOW_MS - 3_600_000 + 3_000_000 + seq * 1000) for seq in (1, 2, 3)]
    assert (
        ingest.rows("select time_source, extract(epoch from first_at) * 1000 from log_entry order by seq") == expected
    )

    ingest.store(m.later(50).block(4, clock="unset"))
    assert ingest.row("select extract(epoch from first_at) * 1000 from log_entry where seq = 4") == (
        NOW_MS - 3_600_000 + 3_000_000 + 4000,
    )
    ingest.store(m.at(boot="boot-0").block(5, clock="unset", now_boot="boot-1"))
    assert ingest.row("select time_source, last_at = received_at from log_entry where seq = 5") == ("received", True)


def test_older_status_is_ignored_and_a_will_ends_only_its_own_connection(ingest: Ingest) -> None:
    m = Machine()
    latest = {"vacuum_inlet_kpa": 40.0}
    ingest.store(m.status(2, 1, state="ready", latest=latest, head=(EPOCH_A, 9), agent="1.0.0", at=NOW_MS))
    ingest.store(m.later(5).status(1, None, online=False), m.later(5).status(2, 0, state="idle"))
    query = "select connection, n, online, state, latest, head_seq from device_status"
    assert ingest.row(query) == (2, 1, True, "ready", latest, 9)

    ingest.store(m.later(9).status(2, None, online=False))
    assert ingest.row(query)[:3] == (2, None, False)
    assert ingest.row("select changed_at = received_at, latest from device_status") == (True, latest)
    ingest.store(m.later(9).status(2, 7))
    assert ingest.row(query)[:3] == (2, None, False)


def test_feed_tells_changes_of_presence_but_no_heartbeats(ingest: Ingest) -> None:
    m = Machine()
    for n, state in enumerate(["idle", "idle", "treating", "treating"], start=1):
        ingest.store(m.status(1, n, state=state))
    ingest.store(m.status(1, None, online=False))
    bodies = [body for (body,) in ingest.rows("select body from change where topic = 'device' order by id")]
    assert bodies == [
        {"registered": "active"},
        {"online": True, "state": "idle"},
        {"online": True, "state": "treating"},
        {"online": False, "state": "treating"},
    ]


def test_acks_go_back_over_the_broker_the_entry_came_by(ingest: Ingest) -> None:
    m = Machine()
    outcome = ingest.store(m.block(1), m.at(broker=1).block(2), m.at(broker=1).block(1))
    assert {reply.broker: reply.ack.seqs for reply in outcome.replies} == {0: [(1, 1)], 1: [(1, 2)]}


def test_device_far_behind_is_told_to_pause_while_the_inbox_is_full(ingest: Ingest) -> None:
    ingest.rules = replace(RULES, fill=1.0)
    behind, live = Machine("D-0001", head=5000), Machine("D-0002")
    outcome = ingest.store(behind.block(1), live.block(1))
    waits = {reply.device_id: reply.ack.wait_ms for reply in outcome.replies}
    assert waits == {"D-0001": 30_000, "D-0002": 0}


def test_log_that_is_too_fragmented_is_not_answered(ingest: Ingest) -> None:
    m = Machine()
    numbers: Sequence[int] = range(2, 2 + 2 * 1001, 2)
    outcome = ingest.store(*(m.block(n, head=9999) for n in numbers))
    assert outcome.counts["waiting"] == 1
    assert len(ack(outcome).seqs) == 1000
    assert len(ack(outcome).want) == 16


def test_device_may_begin_so_many_epochs_a_day(ingest: Ingest) -> None:
    messages = [Machine(epoch=f"{n:016x}").opened() for n in range(502)]
    outcome = ingest.store(*messages[:400])
    assert outcome.counts["new"] == 400
    outcome = ingest.store(*messages[400:])
    assert outcome.counts["new"] == 100
    assert outcome.counts["waiting"] == 2


def test_oversize_entry_is_kept_cut_with_its_true_size(ingest: Ingest) -> None:
    m = Machine()
    message = m.message("event", 1, b" " * 300_000)
    ingest.store(message)
    assert ingest.row("select octet_length(payload), payload_bytes, field from quarantine") == (
        256 * 1024,
        len(message.payload),
        "entry",
    )


def test_unknown_fields_are_kept(ingest: Ingest) -> None:
    m = Machine()
    header, raw = m.block(1).payload.split(b"\n", 1)
    document = msgspec.json.decode(raw) | {"firmware": {"rev": [1, 2]}}
    ingest.store(
        Message(Topics().up("D-0001", "telemetry"), header + b"\n" + msgspec.json.encode(document), m.received_at)
    )
    assert ingest.row("select body from log_entry") == ({"firmware": {"rev": [1, 2]}},)


def test_failed_transaction_leaves_nothing_behind(ingest: Ingest) -> None:
    m = Machine()
    write(ingest.connection, [decode(m.block(1), Topics())], RULES)
    ingest.connection.rollback()
    assert ingest.rows("select 1 from device") == []
    with pytest.raises(psycopg.Error):
        ingest.connection.execute("select 1/0")
    ingest.connection.rollback()
    assert ingest.store(m.block(1)).counts["new"] == 1
