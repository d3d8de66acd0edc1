"""Forecast libraries across the fleet: learned every hour from the filters that have ended, kept in versions.

A version that learned until T holds for entries whose event time is `HOLDS_AFTER` past T or later. It is stored well
before that, so that a live step and a later replay of the same entries use the same version.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dermafleet.errors import TransientError
from dermafleet.logs import get_logger
from dermafleet.storage import libraries as stored
from dermafleet.storage.engine import translate
from services.alerts.forecast.library import Library, learn
from services.alerts.forecast.life import Life

EVERY = timedelta(minutes=10)
"""How often to look whether the hour has ended for which nothing was learned yet."""
STEP = timedelta(hours=1)
HOLDS_AFTER = timedelta(hours=3)
"""Two hours to learn and store it, while alerts may be down, and an hour in which machines' clocks may differ."""
KNOWN_FOR = timedelta(minutes=10)
"""How long nobody asks again whether there is a newer version: less than `HOLDS_AFTER` gives it."""

_NOTHING = Library()

_log = get_logger()


class Libraries:
    """What is known of the libraries in one process; versions never change, so they are read once."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def at(self, connection: AsyncConnection, model: str | None, at: datetime, *, now: datetime) -> Library:
        """The library that holds for a model's entries of this event time; an empty one if none does."""
        if model is None:
            return _NOTHING
        until = at - HOLDS_AFTER
        known = self._known.get(model)
        if known is None or not known.covers(until, now):
            version, next_until = await stored.version_learned(connection, model, until=until)
            library = _NOTHING if version is None else read_library(version.document)
            known = _Known(version.learned_until if version else None, next_until, library, now)
            self._known[model] = known
        return known.library


class _Known(msgspec.Struct, frozen=True):
    """A version, an empty one before the first, from when it and the next one learned, and when that was looked up."""

    since: datetime | None
    next_until: datetime | None
    library: Library
    looked_at: datetime

    def covers(self, until: datetime, now: datetime) -> bool:
        if self.since is not None and until < self.since:
            return False
        if self.next_until is not None:
            return until < self.next_until
        return now - self.looked_at < KNOWN_FOR


def read_library(document: Mapping[str, object]) -> Library:
    """A stored library; an empty one if another version of this program wrote it in another form."""
    try:
        return msgspec.convert(document, Library)
    except msgspec.ValidationError:
        return _NOTHING


async def keep_learning(engine: AsyncEngine) -> None:
    """Learn once an hour, until cancelled; one process of all does it."""
    while True:
        try:
            with translate():
                if learned := await learn_all(engine, now=datetime.now(UTC)):
                    _log.info("Learned from earlier filters", models=learned)
        except TransientError:
            pass  # the follower tells of a database that is away
        except Exception:
            _log.exception("Learning from earlier filters failed; trying again later")
        await asyncio.sleep(EVERY.total_seconds())


async def learn_all(engine: AsyncEngine, *, now: datetime) -> int:
    """Learn from the filters that had ended by the last full hour; returns how many models have a new version."""
    until = datetime.fromtimestamp(now.timestamp() // STEP.total_seconds() * STEP.total_seconds(), UTC)
    learned = 0
    async with engine.begin() as connection:
        if not await stored.lock_learning(connection):
            return 0
        for model in await stored.models_with_filters(connection, until=until):
            learned += await _learn(connection, model, until)
    return learned


async def _learn(connection: AsyncConnection, model: str, until: datetime) -> bool:
    """Add a version if another filter of the model has ended since the last one."""
    filters = await stored.completed_filters(connection, model, until=until)
    version, learned_from = await stored.last_version(connection, model)
    if len(filters) == learned_from:
        return False
    lives = [msgspec.convert(each.curve, Life) for each in filters]
    library = await asyncio.to_thread(learn, lives, until)
    document = msgspec.json.encode(library).decode()
    await stored.add_version(
        connection, model, version=version + 1, until=until, filters=len(filters), document=document
    )
    return True
