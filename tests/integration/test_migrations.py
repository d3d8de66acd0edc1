"""The migrations make the schema that `tables.py` describes, on each PostgreSQL we promise to work with."""

import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine

from dermafleet.embedded.postgres import Cluster
from dermafleet.errors import PermanentError, TransientError
from dermafleet.storage import migrate
from dermafleet.storage.engine import connect
from dermafleet.storage.migrations import timescale
from dermafleet.storage.schema import metadata

_numbers = itertools.count(1)


@pytest.fixture
def empty_url(any_postgres: Cluster) -> Iterator[str]:
    """A database without a schema."""
    name = sql.Identifier(dbname := f"empty_{next(_numbers)}")
    with psycopg.connect(any_postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(name))
        yield any_postgres.url(dbname)
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


def test_migrated_schema_is_the_one_of_the_tables(any_database_url: str) -> None:
    with closing(connect(any_database_url)) as raw:
        engine = create_engine("postgresql+psycopg://", creator=lambda: raw)
        with engine.connect() as connection, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Did not recognize type 'xid8'")
            options = {"compare_type": True, "compare_server_default": True}
            assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        engine.dispose()


def test_newest_revision_is_the_one_the_code_names() -> None:
    assert ScriptDirectory(str(migrate.FOLDER)).get_current_head() == migrate.REVISION


def test_empty_database_is_named_and_then_migrated_by_whoever_comes_first(empty_url: str) -> None:
    assert migrate.current(empty_url) is None
    with pytest.raises(PermanentError, match="dermafleet db upgrade"):
        migrate.check(empty_url)

    program = "import sys; from dermafleet.storage import migrate; migrate.upgrade(sys.argv[1])"
    rivals = [subprocess.Popen([sys.executable, "-c", program, empty_url]) for _ in range(2)]
    assert migrate.wait(empty_url)
    assert [rival.wait(60) for rival in rivals] == [0, 0]

    assert migrate.current(empty_url) == migrate.REVISION
    with closing(connect(empty_url)) as connection:
        rows = connection.execute("select server_id from server").fetchall()
    assert [len(server_id) for (server_id,) in rows] == [32]


def test_schema_of_another_version_is_refused(any_database_url: str) -> None:
    with closing(connect(any_database_url, autocommit=True)) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(PermanentError, match="revision 9999"):
        migrate.check(any_database_url)
    with pytest.raises(PermanentError, match="9999"):
        migrate.upgrade(any_database_url)


def test_waiting_for_a_database_that_is_not_there_ends_with_its_reason() -> None:
    with pytest.raises(TransientError, match="database"):
        migrate.wait("postgresql://nobody@127.0.0.1:1/nowhere", database=timedelta(0))


def test_waiting_tells_each_reason_once_and_ends_when_told_to_stop() -> None:
    reasons: list[str] = []
    answers = iter([False, False, True])
    url = "postgresql://nobody@127.0.0.1:1/nowhere"
    assert not migrate.wait(url, is_stopping=lambda: next(answers), tell=reasons.append)
    assert len(reasons) == 1


def test_plain_postgresql_is_left_without_a_hypertable(any_database_url: str) -> None:
    with closing(connect(any_database_url)) as raw:
        engine = create_engine("postgresql+psycopg://", creator=lambda: raw)
        with engine.connect() as connection:
            assert timescale.statements(connection) == []
        engine.dispose()


def test_hypertable_is_compressed_by_device_after_the_last_entry_may_arrive() -> None:
    create, columns, policy, retention = timescale.HYPERTABLE[1:]
    assert "create_hypertable('telemetry', by_range('event_at'" in create
    assert "segmentby = 'device_id'" in columns
    assert "orderby = 'event_at'" in columns
    assert f"interval '{(timescale.OUTBOX_AGE + timedelta(days=7)).days} days'" in policy
    assert "add_retention_policy('telemetry'" in retention
    assert timescale.OUTBOX_AGE + timedelta(days=7) <= timescale.RETENTION


def test_hypertable_on_a_real_timescaledb() -> None:
    url = os.environ.get("DERMAFLEET_TEST_TIMESCALE_URL")
    if not url:
        pytest.skip("DERMAFLEET_TEST_TIMESCALE_URL is not set: an empty database of a server with TimescaleDB")
    migrate.upgrade(url)
    with closing(connect(url)) as connection:
        found = connection.execute("select hypertable_name from timescaledb_information.hypertables").fetchall()
    assert found == [("telemetry",)]
