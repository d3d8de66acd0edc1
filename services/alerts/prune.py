"""Removing what the change feed keeps no longer. Here, because this process always runs; an API need not."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.errors import TransientError
from dermafleet.logs import get_logger
from dermafleet.storage import changes
from dermafleet.storage.engine import translate

EVERY = timedelta(minutes=1)

_log = get_logger()


async def keep_pruning(engine: AsyncEngine) -> None:
    """Remove old changes now and then, until cancelled; one process of all does it."""
    while True:
        try:
            with translate():
                async with engine.begin() as connection:
                    await changes.prune(connection, now=datetime.now(UTC))
        except TransientError:
            pass  # the follower tells of a database that is away
        except Exception:
            _log.exception("Removing old changes failed; trying again in a minute")
        await asyncio.sleep(EVERY.total_seconds())
