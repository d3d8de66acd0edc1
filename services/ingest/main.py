"""The ingest process: brokers → inbox → one transaction per batch → acks. `run` wires it, watches it and stops it."""

import gc
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from dermafleet import metrics as endpoint
from dermafleet.contracts.ack import encode_ack
from dermafleet.logs import get_logger
from dermafleet.mqtt import parse_url
from dermafleet.settings import Settings
from dermafleet.storage import migrate
from services.ingest.ack import Reply
from services.ingest.drain import Drain
from services.ingest.inbox import Inbox
from services.ingest.receive import Receiver

_TICK_S = 0.05
"""How soon a full inbox is noticed; its overrun must last that long."""

_GARBAGE_THRESHOLD = 100_000
"""Objects between two collections: what a batch is decoded into has no cycles, and looking for them at the default of
700 took a sixth of ingest's time."""

_SWITCH_S = 0.001
"""How long one thread may compute while another waits. paho gives way several times per message, so that at the default
of 5 ms a busy drain let in few messages and then waited for them: a fifth less went through."""

_log = get_logger()


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then stop within ``settings.stop_s``.

    Raises:
        SettingError: a setting is missing or wrong.
        PermanentError: the database's schema does not fit.
    """
    gc.freeze()  # the modules live as long as the process
    gc.set_threshold(_GARBAGE_THRESHOLD)
    sys.setswitchinterval(_SWITCH_S)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(settings, stop)


def serve(settings: Settings, stop: threading.Event) -> None:
    """`run` without signals: serve until ``stop`` is set."""
    brokers = [parse_url(url, "DERMAFLEET_MQTT_URL") for url in settings.need_brokers()]
    worker_id = f"ingest-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    inbox = Inbox(settings.inbox_messages, settings.inbox_bytes)
    filters = settings.topics.ingest_filters(settings.shards)
    receivers = [Receiver(broker, number, filters, inbox) for number, broker in enumerate(brokers)]
    drain = Drain(settings, inbox, lambda replies: _send(settings, receivers, replies), worker_id)
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            ready = lambda: _problem(receivers, drain)  # noqa: E731  # a name for the line below
            stack.enter_context(endpoint.serve(settings.metrics_host, settings.metrics_port, ready))
        tell = lambda reason: _log.warning("Waiting for the database", reason=reason)  # noqa: E731  # likewise
        if not migrate.wait(settings.need_database(), is_stopping=stop.is_set, tell=tell):
            return
        worker = threading.Thread(target=drain.run, name="drain", daemon=True)
        worker.start()
        for receiver in receivers:
            receiver.start()
        _log.info("Ingest runs", worker=worker_id, brokers=len(brokers), shards=settings.shards)
        _steer(inbox, drain, receivers, stop)
        _stop(settings.stop_s, drain, worker, receivers)
    _log.info("Ingest has stopped")


def _steer(inbox: Inbox, drain: Drain, receivers: Sequence[Receiver], stop: threading.Event) -> None:
    """Be subscribed while there is room and a database; the devices' disks are the queue otherwise."""
    is_paused = False
    while not stop.wait(_TICK_S):
        reason = drain.trouble or ("the inbox is full" if inbox.is_full else None)
        if reason and not is_paused:
            _log.warning("Unsubscribing until it is better", reason=reason)
            is_paused = True
        elif is_paused and not reason and inbox.is_drained:
            _log.info("Subscribing again")
            is_paused = False
        for receiver in receivers:
            receiver.pause() if is_paused else receiver.resume()


def _stop(stop_s: float, drain: Drain, worker: threading.Thread, receivers: Sequence[Receiver]) -> None:
    """Unsubscribe, store and answer what has arrived, disconnect."""
    ends_at = time.monotonic() + stop_s
    for receiver in receivers:
        receiver.pause()
    for receiver in receivers:
        receiver.await_quiet(min(1.0, stop_s / 4))
    drain.stop(max(ends_at - time.monotonic() - stop_s / 4, 0))
    worker.join(max(ends_at - time.monotonic() - stop_s / 8, 0.1))
    for receiver in receivers:
        receiver.stop(max(ends_at - time.monotonic(), 0.1))


def _send(settings: Settings, receivers: Sequence[Receiver], replies: Sequence[Reply]) -> None:
    for reply in replies:
        topic = settings.topics.down(reply.device_id, "ack")
        receivers[reply.broker].send(topic, encode_ack(reply.ack))


def _problem(receivers: Sequence[Receiver], drain: Drain) -> str | None:
    """Why ingest is not ready: one broker is enough, a database and refusing are necessary."""
    if not drain.has_answered:
        return "the database has not answered yet"
    if drain.trouble:
        return drain.trouble
    if all(receiver.problem for receiver in receivers):
        return "; ".join(f"broker {receiver.name}: {receiver.problem}" for receiver in receivers)
    return f"refusing is stopped: {drain.withholding}" if drain.withholding else None
