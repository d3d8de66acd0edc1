"""Working off the backtests that people ordered: one at a time, beside the follower and on connections of its own."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.contracts.backtests import BacktestRequest
from dermafleet.errors import TransientError
from dermafleet.logs import get_logger
from dermafleet.storage import backtests
from dermafleet.storage.engine import translate
from services.alerts import backtest
from services.alerts.backtest import Bounds

CONNECTIONS = 2
"""One holds the claim on the job, one reads."""
EVERY = timedelta(seconds=2)
REST = timedelta(milliseconds=500)
"""After each chunk: about as long as it takes, so that the follower has at least half of the time."""

_log = get_logger()


async def keep_backtesting(engine: AsyncEngine, bounds: Bounds) -> None:
    """Work off jobs until cancelled; one that was begun is begun anew by the next process."""
    while True:
        try:
            if await work_off_one(engine, bounds, now=datetime.now(UTC)):
                continue
        except TransientError:
            pass  # the follower tells of a database that is away
        except Exception:
            _log.exception("A backtest could not be stored; trying again")
        await asyncio.sleep(EVERY.total_seconds())


async def work_off_one(engine: AsyncEngine, bounds: Bounds, *, now: datetime) -> bool:
    """Work off the oldest job that waits; False = none does.

    Raises:
        DermafleetError: the database; the job waits on.
    """
    committing = engine.execution_options(isolation_level="AUTOCOMMIT")
    with translate():
        async with committing.connect() as connection, backtests.take_job(connection) as taken:
            if taken is None:
                return False
            job, rule = taken
            try:
                request = msgspec.convert(job.request, BacktestRequest)
                result = await backtest.run(engine, rule, request, bounds, now=now)
            except TransientError:
                raise
            except Exception as error:
                _log.exception("A backtest failed", rule=job.key, version=job.version)
                await backtests.fail(connection, job.id, f"{type(error).__name__}: {error}"[:500])
            else:
                await backtests.finish(connection, job.id, result)
                _log.info("A backtest is done", rule=job.key, version=job.version, fired=result.fired)
    return True
