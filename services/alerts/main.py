"""The alerts process: follows the devices' logs in the database and keeps their alarms."""

import asyncio
import signal
import threading
from contextlib import ExitStack
from datetime import timedelta

from dermafleet.logs import get_logger
from dermafleet.metrics import serve
from dermafleet.settings import Settings
from dermafleet.storage import migrate
from dermafleet.storage.engine import make_engine
from services.alerts import backtest_jobs
from services.alerts.backtest import Bounds
from services.alerts.diagnosis import signatures
from services.alerts.follow import WORKERS, Follower
from services.alerts.libraries import keep_learning
from services.alerts.prune import keep_pruning
from services.alerts.step import Patience

_log = get_logger()


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; returns within `settings.stop_s` of it.

    Raises:
        SettingError: before any work, a setting is missing or wrong.
        PermanentError: the database's schema does not fit.
    """
    url = settings.need_database()
    asyncio.run(_run(settings, url))


async def _run(settings: Settings, url: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = make_engine(url, WORKERS + 2, application_name="dermafleet-alerts")
    aside = make_engine(url, backtest_jobs.CONNECTIONS, application_name="dermafleet-backtest")
    patience = Patience(timedelta(seconds=settings.hole_alarm_s), timedelta(seconds=settings.hole_lost_s))
    follower = Follower(engine, patience=patience, poll=timedelta(milliseconds=settings.poll_ms))
    # Beside the loop, and no reason to stay: a process that stops at once does not wait for its tables.
    threading.Thread(target=signatures.warm, name="warm", daemon=True).start()
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            stack.enter_context(serve(settings.metrics_host, settings.metrics_port, lambda: follower.trouble))
        if await asyncio.to_thread(migrate.wait, url, is_stopping=stop.is_set, tell=_tell):
            bounds = Bounds.of(settings, rest=backtest_jobs.REST)
            beside = {
                asyncio.create_task(keep_pruning(engine)),
                asyncio.create_task(keep_learning(engine)),
                asyncio.create_task(backtest_jobs.keep_backtesting(aside, bounds)),
            }
            await _run_until(follower, stop, stop_s=settings.stop_s)
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
    await engine.dispose()
    await aside.dispose()
    _log.info("Alerts stopped")


def _tell(reason: str) -> None:
    _log.warning("Waiting for the database", reason=reason)


async def _run_until(follower: Follower, stop: asyncio.Event, *, stop_s: float) -> None:
    """Run the follower; after `stop` it may finish its steps; one that takes too long is cancelled, that is, undone."""
    work = asyncio.create_task(follower.run(stop))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    _, late = await asyncio.wait({work}, timeout=stop_s * 0.8)
    if late:
        _log.warning("Cancelling a step that takes too long to stop")
        work.cancel()
        await asyncio.wait({work}, timeout=stop_s * 0.1)
    if work.done() and not work.cancelled():
        work.result()
