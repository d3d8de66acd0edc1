"""Real neighbours for the tests: one server of each kind per test process, one database per test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dermafleet.embedded.broker import EmbeddedBroker, open_broker
from dermafleet.embedded.postgres import Cluster, open_cluster
from dermafleet.embedded.program import Child
from tests.servers import Mosquitto, open_mosquitto, postgres_15, users

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running PostgreSQL 18, not durable. `.url(dbname)` is its address."""
    folder = tmp_path_factory.mktemp("postgres")
    cluster = open_cluster(folder, durable=False)
    with Child(cluster.program, folder / "log"):
        yield cluster


@pytest.fixture(scope="session")
def postgres15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Debian's PostgreSQL 15, not durable."""
    folder = tmp_path_factory.mktemp("postgres15")
    cluster = open_cluster(folder, bin_dir=postgres_15(), durable=False)
    with Child(cluster.program, folder / "log"):
        yield cluster


@pytest.fixture(scope="session", params=["postgres", "postgres15"])
def any_postgres(request: pytest.FixtureRequest) -> Cluster:
    """Each PostgreSQL we promise to work with, in turn."""
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def template(postgres: Cluster) -> str:
    """Name of a migrated, empty database to make copies of."""
    return _make_template(postgres)


@pytest.fixture
def database_url(postgres: Cluster, template: str) -> Iterator[str]:
    """A migrated, empty database of one's own."""
    yield from _fresh_database(postgres, template)


@pytest.fixture(scope="session")
def any_template(any_postgres: Cluster) -> str:
    return _make_template(any_postgres)


@pytest.fixture
def any_database_url(any_postgres: Cluster, any_template: str) -> Iterator[str]:
    """A migrated, empty database, on each PostgreSQL in turn."""
    yield from _fresh_database(any_postgres, any_template)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """The embedded broker, running, with the users of `tests.servers`. `.url(username)` is its address for a user."""
    folder = tmp_path_factory.mktemp("broker")
    server = open_broker(folder, users())
    with Child(server.program, folder / "log"):
        yield server


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Debian's Mosquitto, running, with the same users and the same permissions."""
    folder: Path = tmp_path_factory.mktemp("mosquitto")
    server = open_mosquitto(folder, users())
    with Child(server.program, folder / "log"):
        yield server


@pytest.fixture(scope="session", params=["broker", "mosquitto"])
def any_broker(request: pytest.FixtureRequest) -> EmbeddedBroker | Mosquitto:
    """Each broker we promise to work with, in turn."""
    found: EmbeddedBroker | Mosquitto = request.getfixturevalue(request.param)
    return found


def _make_template(cluster: Cluster) -> str:
    from dermafleet.storage import migrate  # slow to import, and not every test needs it

    name = f"template_{next(_numbers)}"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    migrate.upgrade(cluster.url(name))
    return name


def _fresh_database(cluster: Cluster, template: str) -> Iterator[str]:
    name = sql.Identifier(dbname := f"test_{next(_numbers)}")
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template {}").format(name, sql.Identifier(template)))
        yield cluster.url(dbname)
        connection.execute(sql.SQL("drop database {} with (force)").format(name))
