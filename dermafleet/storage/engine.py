"""Connecting to PostgreSQL, and what its errors mean.

A URL is handed to libpq as the operator wrote it: ``postgresql://user:password@host:port/dermafleet`` or, over a
socket, ``postgresql://user:password@/dermafleet?host=/socket/folder``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dermafleet.errors import DermafleetError, PermanentError, TransientError

TRANSIENT_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
"""SQLSTATE classes that pass by themselves: connection, rollback, resources, locks, operator, system."""

TRANSIENT_STATES = frozenset({"25006", "25P02", "25P03", "25P04"})
"""Likewise: a standby that is not yet promoted, and transactions ended by a time limit."""

STATEMENT_TIMEOUT = timedelta(seconds=60)
LOCK_TIMEOUT = timedelta(seconds=20)
IDLE_IN_TRANSACTION_TIMEOUT = timedelta(seconds=30)
"""A process that hangs inside a transaction, or whose host died, must free its rows."""

_KEEPALIVES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

_SERVER_KEEPALIVES = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""The same for the server's end, in which a host that died in the middle of a COPY is else waited for for two hours."""


def connect(
    url: str,
    *,
    application_name: str = "dermafleet",
    autocommit: bool = False,
    statement_timeout: timedelta = STATEMENT_TIMEOUT,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a blocking connection whose dead peer is noticed within 30 s; its session speaks UTC.

    Raises:
        TransientError: there is no server, or it does not let us in now.
        PermanentError: it does not let us in with this URL.
    """
    with translate():
        return psycopg.connect(url, autocommit=autocommit, **_arguments(application_name, statement_timeout))


def make_engine(url: str, pool_size: int = 5, *, application_name: str = "dermafleet") -> AsyncEngine:
    """An asyncio engine on psycopg; connections are tested before use and replaced after half an hour."""

    async def open_connection(*_: object, **__: object) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await psycopg.AsyncConnection.connect(url, **_arguments(application_name, STATEMENT_TIMEOUT))

    return create_async_engine(
        "postgresql+psycopg://",
        async_creator=open_connection,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        pool_pre_ping=True,
    )


@contextmanager
def translate() -> Iterator[None]:
    """Turn a driver's error raised inside into `TransientError` or `PermanentError`; the cause is kept."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error
    except exc.DBAPIError as error:
        cause = error.orig
        raise (translated(cause) if isinstance(cause, psycopg.Error) else PermanentError(str(error))) from error
    except exc.TimeoutError as error:
        raise TransientError(f"database: no free connection: {error}") from error


def translated(error: psycopg.Error) -> DermafleetError:
    """What a driver's error means to us; its message is one line and starts with ``database:``."""
    kind = TransientError if is_transient(error) else PermanentError
    return kind(f"database: {' '.join(str(error).split()) or type(error).__name__}")


def is_transient(error: psycopg.Error) -> bool:
    """Whether the same work may succeed later. An operational error without a state is a lost connection."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_STATES


def _arguments(application_name: str, statement_timeout: timedelta) -> dict[str, Any]:
    """Keyword arguments of libpq (strings and integers; psycopg types them as Any)."""
    session = {
        "timezone": "UTC",
        "statement_timeout": _ms(statement_timeout),
        "lock_timeout": _ms(LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": _ms(IDLE_IN_TRANSACTION_TIMEOUT),
        **_SERVER_KEEPALIVES,
    }
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    return {**_KEEPALIVES, "application_name": application_name, "options": options}


def _ms(duration: timedelta) -> int:
    return int(duration / timedelta(milliseconds=1))
