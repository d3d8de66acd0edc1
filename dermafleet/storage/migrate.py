"""The schema's revision: bring it up to date, read it, wait for it.

alembic takes half a second to import, so only `upgrade` does.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine

from dermafleet.errors import PermanentError, TransientError
from dermafleet.storage.engine import connect, translate

REVISION = "0001"
"""The newest revision; a test compares it with the files."""

SUPPORTED = frozenset({REVISION})
"""Revisions this code works on. While a migration expands before the deploy, the older one stays in here."""

FOLDER = Path(__file__).parent / "migrations"

_POLL_S = 0.2


def upgrade(url: str) -> None:
    """Create or migrate the schema to `REVISION`. Safe to call from several processes at once.

    Raises:
        TransientError: the database is not reachable.
        PermanentError: a migration failed, or the schema is newer than this code.
    """
    from alembic import command, config
    from alembic.util import CommandError

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url, application_name="dermafleet-migrate", statement_timeout=timedelta(0)),
    )
    try:
        with translate(), engine.begin() as connection:
            settings = config.Config()
            settings.set_main_option("script_location", str(FOLDER))
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
    except CommandError as error:
        raise PermanentError(f"database schema: {error}") from error
    finally:
        engine.dispose()


def current(url: str) -> str | None:
    """The revision of the database's schema; None if it has none yet.

    Raises:
        TransientError: the database is not reachable.
    """
    with connect(url) as connection, translate():
        found = connection.execute("select to_regclass('alembic_version')").fetchone()
        if found is None or found[0] is None:
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return None if row is None else str(row[0])


def check(url: str) -> None:
    """Return if this code can work on the database's schema.

    Raises:
        TransientError: the database is not reachable.
        PermanentError: the schema is missing or of another revision; the message says what to do.
    """
    revision = current(url)
    if revision is None:
        raise PermanentError("the database has no schema yet; create it with: dermafleet db upgrade")
    if revision not in SUPPORTED:
        raise PermanentError(
            f"the database's schema is revision {revision}, this version needs {', '.join(sorted(SUPPORTED))}; "
            "migrate it with: dermafleet db upgrade, or run the version that fits"
        )


def wait(
    url: str,
    *,
    database: timedelta = timedelta.max,
    schema: timedelta = timedelta(minutes=1),
    is_stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda reason: None,
) -> bool:
    """Wait until the database answers and its schema fits; processes may start in any order.

    Args:
        database, schema: how long it may take until the one is reachable, and until another process migrated the other.
        is_stopping: asked now and then whether to wait on.
        tell: called with each new reason for waiting.

    Returns:
        Whether it fits; False = stopped before.

    Raises:
        TransientError, PermanentError: what `check` said last, once it took too long.
    """
    started, told = time.monotonic(), ""
    while not is_stopping():
        try:
            check(url)
        except (TransientError, PermanentError) as error:
            patience = database if isinstance(error, TransientError) else schema
            if time.monotonic() - started >= patience.total_seconds():
                raise
            if str(error) != told:
                tell(told := str(error))
        else:
            return True
        time.sleep(_POLL_S)
    return False
