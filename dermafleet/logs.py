"""Logs of the server's processes: a constant sentence plus fields, one line each, on standard error.

A library's stdlib records take the same way and form. Passwords and keys never reach the line (`mask`), whatever field
or traceback they hide in. The agent logs with the standard library alone: it runs without structlog.
"""

import logging
import re
import sys
from collections.abc import Callable
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_HIDDEN = "***"
_SECRET_NAME = re.compile(r"(^|_)(password|secret|token|authorization|cookie|api_?key|private_?key)$", re.IGNORECASE)
_SECRET_TEXT = (
    (re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*://[^\s/:@]*:)\S+(?=@)", re.IGNORECASE), rf"\g<keep>{_HIDDEN}"),
    (re.compile(r"(?P<keep>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\g<keep>{_HIDDEN}"),
    (re.compile(r"(?P<keep>\bpassword['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,;&)]+)", re.I), rf"\g<keep>{_HIDDEN}"),
)
_NOISY = {"uvicorn.access": logging.WARNING, "alembic": logging.WARNING, "sqlalchemy": logging.WARNING}
"""Libraries that log per request or per statement; we count those."""


def configure(process: str, *, json: bool = False, stream: TextIO | None = None) -> None:
    """Send this process's logs, ours and the libraries', to `stream` (default: standard error), from INFO on.

    Args:
        process: the name that every line carries.
        json: one JSON object a line for a log store; otherwise ``time level process: sentence key=value`` for people.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _naming(process),
        _hide_secrets,
    ]
    renderer: Processor = structlog.processors.JSONRenderer(default=str) if json else _human
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _hide_secrets, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name, level in _NOISY.items():
        logging.getLogger(name).setLevel(level)


def get_logger() -> structlog.stdlib.BoundLogger:
    """A logger; may be taken at import, `configure` applies to it when it is used."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
    return logger


def mask(text: str) -> str:
    """The text without the passwords of URLs, bearer keys and ``password=…`` in it."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _naming(process: str) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return name


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key.startswith("_"):  # structlog's own: the stdlib record
            continue
        if _SECRET_NAME.search(key):
            event[key] = _HIDDEN
        elif isinstance(value, str):
            event[key] = mask(value)
        elif not isinstance(value, int | float | None):
            event[key] = mask(str(value))
    return event


def _human(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    fields = dict(event)
    head = " ".join(str(fields.pop(name, "-")) for name in ("timestamp", "level", "process"))
    sentence = fields.pop("event", "")
    trace = fields.pop("exception", None)
    line = f"{head}: {sentence}" + "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
    return f"{line}\n{trace}" if trace else line


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or c in "\"'=" for c in text) else text
