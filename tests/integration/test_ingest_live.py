"""Ingest between a real broker and a real database."""

import signal
from contextlib import closing

import psycopg
import pytest
from psycopg import sql

from dermafleet.embedded.broker import EmbeddedBroker
from dermafleet.embedded.postgres import Cluster
from dermafleet.storage.engine import connect
from services.ingest import metrics
from tests.integration.ingest_device import Device, is_subscribed, process, running, settings
from tests.servers import Mosquitto
from tests.unit.ingest.messages import EPOCH_A, Machine
from tests.unit.ingest.waiting import wait_until


def count(database_url: str, query: str) -> int:
    with closing(connect(database_url)) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload,unused-ignore]
        assert row is not None
        return int(row[0])


def test_published_entries_are_stored_and_acked(any_broker: EmbeddedBroker | Mosquitto, database_url: str) -> None:
    m = Machine()
    with (
        running(settings(database_url, any_broker.url("ingest"))),
        Device(any_broker.url("D-0001"), "D-0001") as device,
    ):
        device.publish(m.status(1, 1, state="ready"), qos=1, retain=True)
        device.publish(m.opened(), m.block(2), m.block(3), m.session(4), m.block(3))
        device.await_acked(EPOCH_A, {1, 2, 3, 4})
        wait_until(
            lambda: count(database_url, "select count(*) from device_status where online") == 1, what="status is stored"
        )
        assert count(database_url, "select count(*) from log_entry") == 4
        assert count(database_url, "select count(*) from telemetry") == 4
        assert count(database_url, "select count(*) from worker where kind = 'ingest'") == 1
    assert count(database_url, "select count(*) from worker") == 0


def test_ingest_listens_to_several_brokers_and_answers_over_each(
    broker: EmbeddedBroker, mosquitto: Mosquitto, database_url: str
) -> None:
    m = Machine("D-0002")
    urls = (broker.url("ingest"), mosquitto.url("ingest"))
    with (
        running(settings(database_url, *urls)),
        Device(broker.url("D-0002"), "D-0002") as one,
        Device(mosquitto.url("D-0002"), "D-0002") as other,
    ):
        one.publish(m.block(1), m.block(2))
        other.publish(m.block(2), m.block(3))
        one.await_acked(EPOCH_A, {1, 2})
        other.await_acked(EPOCH_A, {2, 3})
        assert count(database_url, "select count(*) from log_entry") == 3


def test_workers_that_split_the_shards_serve_every_device(broker: EmbeddedBroker, database_url: str) -> None:
    halves = [settings(database_url, broker.url("ingest"), shards=shards) for shards in ("01234567", "89abcdef")]
    with running(halves[0]), running(halves[1]):
        for number in range(1, 7):
            name = f"D-{number:04d}"
            with Device(broker.url(name), name) as device:
                device.publish(Machine(name).block(1))
                device.await_acked(EPOCH_A, {1})
        assert count(database_url, "select count(*) from log_entry") == 6
        assert count(database_url, "select sum(duplicates) from device_log") == 0


def allow_connections(postgres: Cluster, database_url: str, *, allowed: bool) -> None:
    """Take a database away, with all its connections, or give it back."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    assert isinstance(name, str)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        statement = sql.SQL("alter database {} allow_connections {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Literal(allowed)))
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])


def test_ingest_unsubscribes_while_the_database_is_gone(
    broker: EmbeddedBroker, postgres: Cluster, database_url: str
) -> None:
    m = Machine("D-0003")
    of = settings(database_url, broker.url("ingest"))
    with running(of), Device(broker.url("D-0003"), "D-0003") as device:
        device.publish(m.block(1))
        device.await_acked(EPOCH_A, {1})

        allow_connections(postgres, database_url, allowed=False)
        device.publish(m.block(2))
        wait_until(lambda: not is_subscribed(of), what="ingest unsubscribes")
        device.publish(m.block(3))  # nobody listens: stays on the device
        allow_connections(postgres, database_url, allowed=True)

        wait_until(lambda: is_subscribed(of), what="ingest subscribes again")
        device.await_acked(EPOCH_A, {1, 2})
        device.publish(m.block(3))
        device.await_acked(EPOCH_A, {1, 2, 3})
    assert count(database_url, "select count(*) from log_entry") == 3


def test_full_inbox_makes_ingest_unsubscribe_until_it_is_drained(broker: EmbeddedBroker, database_url: str) -> None:
    m = Machine("D-0004")
    of = settings(database_url, broker.url("ingest"), inbox_messages=100, batch_entries=10)
    with running(of), Device(broker.url("D-0004"), "D-0004") as device:
        device.publish(m.block(1))
        device.await_acked(EPOCH_A, {1})
        with closing(connect(database_url)) as blocker:
            blocker.execute("select * from device for update")
            unacked = set(range(2, 160))
            for number in sorted(unacked):
                device.publish(m.block(number))
            wait_until(lambda: not is_subscribed(of), what="ingest unsubscribes")
        wait_until(lambda: is_subscribed(of), what="ingest subscribes again")
        device.deliver({number: m.block(number) for number in unacked}, EPOCH_A)
    assert count(database_url, "select count(*) from log_entry") == 159
    assert count(database_url, "select count(distinct seq) from log_entry") == 159


def on_insert(database_url: str, condition: str, complaint: str, *, at_commit: bool = False) -> None:
    """Make the database complain about inserted log entries; `tries` counts the inserts, committed or not."""
    kind, when = ("constraint trigger", "after") if at_commit else ("trigger", "before")
    with closing(connect(database_url, autocommit=True)) as connection:
        connection.execute("create sequence tries")
        connection.execute(
            f"""
            create function complain() returns trigger language plpgsql as
            $$ begin if {condition} then raise {complaint}; end if; return new; end $$
            """
        )
        connection.execute(
            f"create {kind} complain {when} insert on log_entry {'deferrable initially deferred' * at_commit}"
            " for each row execute function complain()"
        )


def test_entry_that_cannot_be_stored_alone_is_left_with_its_device_and_holds_up_nobody(
    broker: EmbeddedBroker, database_url: str
) -> None:
    on_insert(database_url, "new.seq = 13", "exception 'unforeseen' using errcode = 'XX000'")
    m = Machine("D-0005")
    before = metrics.SET_ASIDE._value.get()
    with running(settings(database_url, broker.url("ingest"))), Device(broker.url("D-0005"), "D-0005") as device:
        device.publish(*(m.block(n) for n in range(1, 21)))
        device.await_acked(EPOCH_A, set(range(1, 21)) - {13})
        assert device.numbers("refused", EPOCH_A) == set()
    assert metrics.SET_ASIDE._value.get() == before + 1


@pytest.mark.parametrize("state", ["40001", "40P01", "53100", "57014", "42501"])
def test_batch_is_repeated_until_the_database_takes_it(broker: EmbeddedBroker, database_url: str, state: str) -> None:
    on_insert(database_url, "nextval('tries') < 4", f"exception 'not now' using errcode = '{state}'")
    m = Machine("D-0007")
    with running(settings(database_url, broker.url("ingest"))), Device(broker.url("D-0007"), "D-0007") as device:
        device.publish(m.block(1))
        device.await_acked(EPOCH_A, {1})
    assert count(database_url, "select count(*) from telemetry") == 2
    assert count(database_url, "select sum(duplicates) from device_log") == 0


def test_commit_with_a_warning_is_an_unknown_outcome_and_is_repeated_before_the_ack(
    broker: EmbeddedBroker, database_url: str
) -> None:
    on_insert(database_url, "nextval('tries') = 1", "warning 'canceling wait for replication'", at_commit=True)
    m = Machine("D-0008")
    with running(settings(database_url, broker.url("ingest"))), Device(broker.url("D-0008"), "D-0008") as device:
        device.publish(m.block(1))
        device.await_acked(EPOCH_A, {1})
    assert count(database_url, "select count(*) from telemetry") == 2
    assert count(database_url, "select sum(duplicates) from device_log") == 1


def test_sigterm_stops_ingest_in_order(broker: EmbeddedBroker, database_url: str) -> None:
    m = Machine("D-0006")
    with process(database_url, broker.url("ingest")) as ingest, Device(broker.url("D-0006"), "D-0006") as device:
        device.publish(*(m.block(n) for n in range(1, 200)))
        device.await_acked(EPOCH_A, {1})
        ingest.send_signal(signal.SIGTERM)
        assert ingest.wait(5) == 0
        stored = count(database_url, "select count(*) from log_entry")
        wait_until(lambda: len(device.numbers("seqs", EPOCH_A)) >= stored, what="what is stored is acked")
