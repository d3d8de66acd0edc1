"""The thread that empties the inbox: decode, write, commit, answer. The one place of ingest that retries."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import psycopg

from dermafleet.contracts.telemetry import Telemetry
from dermafleet.errors import PermanentError, TransientError
from dermafleet.logs import get_logger
from dermafleet.settings import Settings
from dermafleet.storage import ledger, quarantine, workers
from dermafleet.storage.engine import connect, is_transient, translated
from services.ingest import metrics
from services.ingest.ack import Reply
from services.ingest.decode import Decoded, Entry, decode
from services.ingest.inbox import Inbox
from services.ingest.refusals import Refusals, Space
from services.ingest.write import Outcome, Rules, write

MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_BATCH_SAMPLES = 50_000
"""Memory of one transaction: about 100 bytes per value while it is being decoded."""

_CALM_ATTEMPTS = 2
"""A deadlock or a lost race is over by then; only what lasts longer, or a lost connection, makes ingest unsubscribe."""

_TELL_S = 60.0
"""Between two log lines about messages left: each comes again as long as its fault lasts."""

_MAX_PAUSE_S = 5.0
_REGISTER_S = 5.0
_PATIENCE_S = 0.5

_OUR_FAULT = frozenset({"25", "28", "3D", "3F", "42"})
"""SQLSTATE classes that no message can cause: no right, no database, no table. An operator repairs them meanwhile."""

_log = get_logger()

Send = Callable[[Sequence[Reply]], None]


class Drain:
    """Stores what the inbox holds until it is told to stop.

    Attributes:
        trouble: why nothing can be stored now; None = all is well. While it is set, ingest stays unsubscribed.
        has_answered: the database has answered once.
        withholding: why bad entries are not refused now; None = they are.
    """

    def __init__(self, settings: Settings, inbox: Inbox, send: Send, worker_id: str) -> None:
        self.trouble: str | None = None
        self.has_answered = False
        self.withholding: str | None = None
        self._settings = settings
        self._url = settings.need_database()
        self._inbox = inbox
        self._send = send
        self._worker_id = worker_id
        self._stop_at: float | None = None
        self._stopping = threading.Event()
        self._connection: ledger.Connection | None = None
        self._server = ""
        self._warnings: list[str] = []
        self._refusals = Refusals()
        self._space = Space(settings.quarantine_bytes)
        self._register_at = float("-inf")
        self._tell_at = float("-inf")

    def stop(self, within_s: float) -> None:
        """Finish what is in the inbox, but take no longer than that; what is left stays with the devices."""
        self._stop_at = time.monotonic() + within_s
        self._stopping.set()

    def run(self) -> None:
        """Work until stopped. Never raises: whatever a message does to us, the next one is served."""
        while not self._is_over():
            try:
                self._register()
                self._step()
            except Exception:  # the top of the loop: data never ends a process
                _log.exception("Storing a batch failed unexpectedly; its devices will send it again")
        self._unregister()

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        return not len(self._inbox) or self._is_late()

    def _is_late(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _step(self) -> None:
        settings = self._settings
        messages = self._inbox.take(
            settings.batch_entries,
            MAX_BATCH_BYTES,
            patience_s=0 if self._stopping.is_set() else _PATIENCE_S,
            gather_s=0 if self._stopping.is_set() else settings.batch_wait_ms / 1000,
        )
        metrics.INBOX_FILL.set(self._inbox.fill)
        decoded = (decode(message, settings.topics, settings.limits) for message in messages)
        for batch in portions(decoded):
            self._store(batch)

    def _store(self, batch: Sequence[Decoded]) -> None:
        """Write a batch, as often as it takes; halve it when the batch itself is the trouble."""
        for attempt, pause_s in enumerate(_pauses()):
            try:
                outcome = self._write(batch)
            except TransientError as error:
                if attempt >= _CALM_ATTEMPTS or self._connection is None:
                    self._note_trouble(str(error))
                if self._is_late():
                    return
                self._rest(pause_s)
            except Exception as error:  # a fault of one message must not hold up the others
                self._roll_back()
                self._halve(batch, error)
                return
            else:
                self._note_trouble(None)
                self._settle(batch, outcome)
                return

    def _halve(self, batch: Sequence[Decoded], error: Exception) -> None:
        if len(batch) > 1:
            self._store(batch[: len(batch) // 2])
            self._store(batch[len(batch) // 2 :])
            return
        metrics.SET_ASIDE.inc()
        if (now := time.monotonic()) < self._tell_at:
            return
        self._tell_at = now + _TELL_S
        topic = batch[0].message.topic
        _log.error("A message cannot be stored and is left with its device", topic=topic, exc_info=error)

    def _rest(self, pause_s: float) -> None:
        if self._stopping.is_set():
            time.sleep(min(pause_s, 0.2))
        else:
            self._stopping.wait(pause_s)

    def _write(self, batch: Sequence[Decoded]) -> Outcome:
        """One attempt, committed.

        Raises:
            TransientError: repeat it; the outcome may be unknown, which the ledger makes harmless.
            DermafleetError, or anything unforeseen: the batch is at fault.
        """
        started = time.monotonic()
        try:
            connection = self._connect()
            outcome = write(connection, batch, self._rules(connection))
            self._warnings.clear()
            connection.commit()
        except psycopg.Error as error:
            self._roll_back()
            if is_transient(error) or (error.sqlstate or "")[:2] in _OUR_FAULT:
                metrics.RETRIES.labels((error.sqlstate or "none")[:2]).inc()
                raise TransientError(str(translated(error))) from error
            raise translated(error) from error
        if self._warnings:  # a cancelled wait for a standby: committed here, perhaps not there
            metrics.RETRIES.labels("01").inc()
            raise TransientError(f"database: unknown outcome of a commit: {self._warnings[0]}")
        metrics.STORE_SECONDS.observe(time.monotonic() - started)
        return outcome

    def _settle(self, batch: Sequence[Decoded], outcome: Outcome) -> None:
        """Answer and count a committed batch."""
        self._send(outcome.replies)
        self._refusals.note(outcome.seen, outcome.bad, time.monotonic())
        for refused in outcome.refused:
            self._space.note(len(refused.payload), is_numbered=refused.seq is not None)
        metrics.BATCH_ENTRIES.observe(len(batch))
        oldest = min(item.message.received_at for item in batch)
        metrics.WAIT_SECONDS.observe((datetime.now(UTC) - oldest).total_seconds())
        metrics.SAMPLES.inc(outcome.samples)
        metrics.UNKNOWN.inc(outcome.unknown)
        metrics.QUARANTINE_BYTES.set(self._space.numbered + self._space.unnumbered)
        for result, count in outcome.counts.items():
            metrics.MESSAGES.labels(result).inc(count)

    def _rules(self, connection: ledger.Connection) -> Rules:
        if self._space.is_stale(now := time.monotonic()):
            used = quarantine.usage(connection)
            self._space.set(used.numbered, used.unnumbered, now)
        self._note_withholding()
        return Rules(
            server=self._server,
            new_state="active" if self._settings.auto_approve else "pending",
            payload_bytes=self._settings.payload_bytes,
            fill=self._inbox.fill,
            may_refuse=self.withholding is None,
            may_keep_garbage=self._space.has_room_unnumbered(),
        )

    def _note_withholding(self) -> None:
        reason = None
        if not self._space.has_room():
            reason = "the quarantine is full: look at it and empty it with: dermafleet quarantine list, drop"
        elif self._refusals.is_tripped():
            reason = "entries of many devices look bad at once: suspect this server, not the devices"
        if reason != self.withholding:
            if reason:
                _log.error("Refusing is stopped; devices keep what looks bad", reason=reason)
            else:
                _log.info("Refusing again")
        self.withholding = reason
        metrics.REFUSING.set(reason is None)

    def _note_trouble(self, trouble: str | None) -> None:
        if trouble and not self.trouble:
            _log.warning("Storing waits for the database", reason=trouble)
        elif self.trouble and not trouble:
            _log.info("Storing again")
        self.trouble = trouble

    def _connect(self) -> ledger.Connection:
        if self._connection is None or self._connection.closed:
            try:
                connection = connect(self._url, application_name=self._worker_id)
            except PermanentError as error:  # a wrong password, a missing database: an operator repairs it
                raise TransientError(str(error)) from error
            connection.add_notice_handler(self._heed)
            self._server = ledger.server_id(connection)
            self._connection = connection
        return self._connection

    def _heed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "warning")

    def _roll_back(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except psycopg.Error:
            self._connection.close()
            self._connection = None

    def _register(self) -> None:
        """Tell the other processes that this worker lives, now and then; its failure is the database's trouble."""
        if time.monotonic() < self._register_at:
            return
        try:
            connection = self._connect()
            workers.register_worker(connection, self._worker_id, kind="ingest", shards=self._settings.shards)
            connection.commit()
        except (psycopg.Error, TransientError) as error:
            self._roll_back()
            self._note_trouble(str(error))
            self._rest(random.uniform(0.2, 1))  # noqa: S311  # jitter
            return
        self.has_answered = True
        self._note_trouble(None)
        self._register_at = time.monotonic() + _REGISTER_S

    def _unregister(self) -> None:
        if self._connection is None:
            return
        try:
            workers.remove_worker(self._connection, self._worker_id)
            self._connection.commit()
        except psycopg.Error:
            _log.info("Could not sign off at the database")
        self._connection.close()


def portions(decoded: Iterable[Decoded]) -> Iterator[list[Decoded]]:
    """Cut a batch so that no transaction holds more than `MAX_BATCH_SAMPLES`, whatever compression hid."""
    portion: list[Decoded] = []
    samples = 0
    for item in decoded:
        portion.append(item)
        samples += len(item.content.dt) if isinstance(item, Entry) and isinstance(item.content, Telemetry) else 0
        if samples >= MAX_BATCH_SAMPLES:
            yield portion
            portion, samples = [], 0
    if portion:
        yield portion


def _pauses() -> Iterator[float]:
    """Back-off with jitter, without end."""
    longest = 0.05
    while True:
        yield random.uniform(0, longest)  # noqa: S311  # jitter
        longest = min(2 * longest, _MAX_PAUSE_S)
